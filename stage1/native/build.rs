//! Compiles the default system call filter, so that no start of a pod has to.

use std::path::Path;

use sandbox::seccomp::{Arch, Policy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let archs = Arch::of_target(&std::env::var("CARGO_CFG_TARGET_ARCH")?);
    let out = std::env::var("OUT_DIR")?;
    let program = Policy::default().compile(archs)?;
    std::fs::write(Path::new(&out).join("default.bpf"), program.as_bytes())?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

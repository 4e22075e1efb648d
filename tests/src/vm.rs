//! A virtual machine with what this machine may lack: systemd as PID 1, control groups of
//! version 2 with their controllers, Debian's kernel with its modules.
//!
//! It runs one script as root and ends. QEMU emulates the processor, since no hypervisor can be
//! counted on: ten to thirty times slower than here.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::aci::{Aci, Compression};
use crate::dir::TempDir;
use crate::fixtures::{self, Guest};
use crate::selinux::Policy;
use crate::tpm::Emulator;

/// The longest that a machine may take, in seconds: booting takes fifteen.
const LIMIT: &str = "220";

/// Kernel parameters: what makes an emulated machine quick, and version 2 alone.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check \
    nokaslr apparmor=0 selinux=0 audit=0 init_on_alloc=0 net.ifnames=0 cgroup_no_v1=all \
    systemd.unified_cgroup_hierarchy=1";

/// A machine that is not started yet, with a directory that it sees as `/share`.
#[derive(Debug)]
pub struct Machine {
    guest: Guest,
    share: TempDir,
    /// Its Trusted Platform Module, if it has one.
    tpm: Option<Emulator>,
    /// Kernel parameters of the security module that confines programs.
    module: Option<&'static str>,
}

impl Machine {
    /// A machine that has `rkt`, `probe` and the images `busybox.aci` and `probe.aci` in
    /// `/share`.
    pub fn new() -> Self {
        let guest = fixtures::guest().unwrap();
        let machine = Self {
            guest,
            share: TempDir::new(),
            tpm: None,
            module: None,
        };
        for program in ["rkt", "probe"] {
            machine.give(&fixtures::program(program), program);
        }
        machine.give_image(&fixtures::busybox(), "busybox.aci");
        machine.give_image(&fixtures::probe(), "probe.aci");
        machine
    }

    /// Puts an image into `/share`.
    pub fn give_image(&self, image: &Aci, name: &str) {
        image
            .write(&self.share.join(name), Compression::None)
            .unwrap();
    }

    /// Puts a file into `/share`.
    pub fn give(&self, file: &Path, name: &str) {
        fs::copy(file, self.share.join(name)).unwrap();
    }

    /// Gives it a TPM 2.0 (`swtpm`).
    pub fn with_tpm(mut self) -> Self {
        self.tpm = Some(Emulator::of_machine());
        self
    }

    /// Lets its kernel confine programs by AppArmor profiles.
    pub fn with_apparmor(mut self) -> Self {
        self.module = Some(" apparmor=1 security=apparmor");
        self
    }

    /// Lets its kernel have SELinux, with a policy that the script loads from `/share/policy`.
    pub fn with_selinux(mut self, policy: &Policy) -> Self {
        self.give(&policy.path(), "policy");
        self.module = Some(" selinux=1 security=selinux");
        self
    }

    /// Boots, runs a shell script, and returns what it printed under each of its headings
    /// (`echo == NAME`).
    ///
    /// # Panics
    /// If the machine does not end by itself or the script did not come to its end.
    pub fn run(self, script: &str) -> Report {
        fs::write(self.share.join("script"), script).unwrap();
        let output = Command::new("timeout")
            .args(["--signal=KILL", LIMIT, "qemu-system-x86_64"])
            .args(["-M", "q35", "-accel", "tcg,thread=multi", "-smp", "2"])
            .args(["-m", "1024", "-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.guest.kernel)
            .arg("-initrd")
            .arg(&self.guest.initrd)
            .args(["-drive", &self.disk(), "-fsdev", &self.shared()])
            .args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"])
            .args(self.tpm_device())
            .args(["-append", &self.parameters()])
            .output()
            .unwrap_or_else(|e| panic!("timeout qemu-system-x86_64: {e}"));
        let text = fs::read_to_string(self.share.join("output")).unwrap_or_default();
        let ended = fs::read_to_string(self.share.join("status")).unwrap_or_default();
        assert!(
            output.status.success() && ended.trim() == "0",
            "the machine: {}, the script: {ended:?}\n{text}\n--- console\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Report(text)
    }

    /// The root file system, which keeps nothing of what is written to it.
    fn disk(&self) -> String {
        format!(
            "file={},format=raw,if=virtio,snapshot=on",
            self.guest.root.display()
        )
    }

    /// With a TPM the firmware's tables grow into where QEMU puts the initrd: that machine does
    /// without them, and its script ends with a reboot.
    fn parameters(&self) -> String {
        let more = match self.tpm {
            Some(_) => " acpi=off tpm_tis.force=1 tpm_tis.interrupts=0",
            None => "",
        };
        // The kernel takes what stands last.
        let module = self.module.unwrap_or_default();
        format!("{PARAMETERS}{more}{module}")
    }

    fn tpm_device(&self) -> Vec<String> {
        let Some(emulator) = &self.tpm else {
            return Vec::new();
        };
        let control = emulator.control();
        let words = [
            "-chardev",
            &format!("socket,id=tpm,path={}", control.display()),
            "-tpmdev",
            "emulator,id=tpm0,chardev=tpm",
            "-device",
            "tpm-tis,tpmdev=tpm0",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn shared(&self) -> String {
        format!(
            "local,id=share,path={},security_model=none",
            self.share.path().display()
        )
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// What a script printed.
#[derive(Debug)]
pub struct Report(String);

impl Report {
    /// The text under one heading.
    ///
    /// # Panics
    /// If there is no such heading.
    pub fn under(&self, heading: &str) -> &str {
        let start = format!("== {heading}\n");
        let text = self.0.split_once(&start).map(|(_, rest)| rest);
        let text = text.unwrap_or_else(|| panic!("no {heading:?} in:\n{}", self.0));
        text.find("\n== ").map_or(text, |end| &text[..=end])
    }

    /// Panics unless the text under that heading contains all of these.
    #[track_caller]
    pub fn expect(&self, heading: &str, words: &[&str]) {
        for word in words {
            assert!(
                self.under(heading).contains(word),
                "no {word:?} under {heading:?} in:\n{}",
                self.0
            );
        }
    }
}

//! Data directories where overlays do not work.

use std::ffi::CString;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_data_directory_on_an_overlay_is_found_out() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let path = |name: &str| temp.path().join(name).display().to_string();
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        path("lower"),
        path("upper"),
        path("work")
    );
    let options = CString::new(options).unwrap();
    let merged = path("merged");
    let merged = Path::new(&merged);
    mount(
        "overlay",
        merged,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .unwrap();
    let _mounted = Mounted(merged);
    let reason = store::overlay_supported(merged).unwrap_err();
    assert!(
        reason.starts_with("unsupported filesystem: overlay"),
        "{reason}"
    );
    assert_eq!(merged.read_dir().unwrap().count(), 0);
    // The store itself works there.
    let store = store::Store::open(&merged.join("data"));
    assert!(store.list().unwrap().is_empty());
}

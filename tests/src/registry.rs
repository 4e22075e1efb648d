//! Debian's `docker-registry`, with a directory and a port of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::dir::TempDir;
use crate::wait::until;

/// A running registry; stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    address: String,
    dir: TempDir,
}

impl Registry {
    /// Starts one that gives everybody everything.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts one that wants a password: the user is `me`, the password `secret-word`.
    pub fn with_password() -> Self {
        Self::with("auth: {htpasswd: {realm: tests, path: DIR/users}}\n")
    }

    /// Starts one that wants tokens of a server, signed by the holder of a certificate.
    pub fn with_tokens(realm: &str, service: &str, issuer: &str, certificate: &str) -> Self {
        Self::with(&format!(
            "auth: {{token: {{realm: \"{realm}\", service: \"{service}\", \
             issuer: \"{issuer}\", rootcertbundle: \"{certificate}\"}}}}\n"
        ))
    }

    fn with(more: &str) -> Self {
        let dir = TempDir::new();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let path = dir.join("").display().to_string();
        // What `htpasswd -nbB -C 5 me secret-word` prints.
        let users = "me:$2y$05$J4OEHyFnM.dAYbNmZy8jE.YWU4SIDl2fY8enjIui8wyR9TAL0JAly";
        fs::write(dir.join("users"), users).unwrap();
        let more = more.replace("DIR/", &path);
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {path}data}}}}\n\
             http: {{addr: \"{address}\"}}\n{more}"
        );
        let file = dir.join("config.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            address,
            dir,
        };
        until(Duration::from_secs(60), "the registry", || {
            TcpStream::connect(&registry.address).is_ok()
        });
        registry
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.address
    }

    /// How rkt names one of its images.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address)
    }

    /// Pushes an image with skopeo.
    pub fn push(&self, from: &str, name: &str, args: &[&str]) {
        let to = self.image(name);
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
        let output = skopeo.args(args).args([from, &to]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo: {stderr}");
    }

    /// Requests that it has answered.
    pub fn answered(&self) -> usize {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().filter(|l| l.contains("\"GET /v2/")).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

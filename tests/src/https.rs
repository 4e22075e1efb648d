//! Host names and certificates of a test's own: a certificate authority, hosts that lead to
//! loopback addresses, and rkt in a mount namespace where it sees them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::dir::TempDir;
use crate::server::{Reply, Request, Server};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Some hosts of the Internet, as one test has it.
pub struct Internet {
    dir: TempDir,
    hosts: Vec<String>,
    servers: Vec<Server>,
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {stderr}");
}

impl Internet {
    /// One without hosts.
    pub fn new() -> Self {
        let dir = TempDir::new();
        let path = |name: &str| dir.join(name).display().to_string();
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
            "-keyout",
            &path("ca.key"),
            "-out",
            &path("ca.pem"),
        ]);
        fs::write(dir.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        Self {
            dir,
            hosts: Vec::new(),
            servers: Vec::new(),
        }
    }

    /// Adds a host that answers over HTTPS, and as the first one over HTTP too.
    pub fn host(
        &mut self,
        name: &str,
        answer: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static,
    ) {
        self.host_certified(name, name, answer);
    }

    /// Adds a host whose certificate is for another name.
    pub fn host_certified(
        &mut self,
        name: &str,
        certified: &str,
        answer: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static,
    ) {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Every process and every host of it has an address of its own.
        let pid = std::process::id();
        let address = format!(
            "127.{}.{}.{}",
            1 + (pid >> 8) % 250,
            pid % 256,
            2 + number % 250
        );
        let tls = self.certificate(certified);
        let secure = Server::listen(&format!("{address}:443"), Some(tls), answer.clone());
        let plain = Server::listen(&format!("{address}:80"), None, answer);
        self.servers.extend([secure, plain]);
        self.hosts.push(name.to_owned());
        let hosts = self.dir.join("hosts");
        let text = fs::read_to_string(&hosts).unwrap();
        fs::write(&hosts, format!("{text}{address} {name}\n")).unwrap();
    }

    /// A certificate for a name, as a server wants it.
    pub fn certificate(&self, name: &str) -> Arc<rustls::ServerConfig> {
        let path = |file: &str| self.dir.join(file).display().to_string();
        let (key, request, leaf) = (path("leaf.key"), path("leaf.csr"), path("leaf.pem"));
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=leaf",
            "-addext",
            &format!("subjectAltName=DNS:{name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &request,
            "-CA",
            &path("ca.pem"),
            "-CAkey",
            &path("ca.key"),
            "-CAcreateserial",
            "-copy_extensions",
            "copy",
            "-out",
            &leaf,
        ]);
        let chain: Vec<_> = CertificateDer::pem_file_iter(&leaf)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A command that sees these hosts and trusts their authority.
    pub fn inside(&self, command: &Command) -> Command {
        let hosts = self.dir.join("hosts");
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
        let own = ["--mount", "sh", "-c", &script, "sh"];
        let mut unshare = crate::through("unshare", &own, command);
        unshare.env("SSL_CERT_FILE", self.authority());
        unshare
    }

    /// Address and port of a host's secure server.
    pub fn authority_of(&self, host: &str) -> String {
        let at = self.hosts.iter().position(|h| h == host).unwrap();
        self.servers[2 * at].authority()
    }

    /// What a host was asked over HTTPS, in the order in which the hosts were added.
    pub fn asked(&self, host: &str) -> Vec<Request> {
        let at = self.hosts.iter().position(|h| h == host).unwrap();
        self.servers[2 * at].requests()
    }

    /// Forgets what all hosts were asked.
    pub fn forget(&self) {
        self.servers.iter().for_each(Server::forget);
    }
}

impl Default for Internet {
    fn default() -> Self {
        Self::new()
    }
}

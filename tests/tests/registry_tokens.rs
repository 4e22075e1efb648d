//! Debian's registry where it believes nothing but tokens, and a server that signs them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::oci::Layout;
use e2e::server::{Reply, Request, Server};
use e2e::{Registry, Rkt, Running};
use serde_json::{Value, json};

use super::cosign::openssl;
use super::oci::script;

const SERVICE: &str = "tests";
const ISSUER: &str = "a server of tests";

/// Who signs tokens: a key, and a certificate that the registry trusts.
struct Signer {
    dir: PathBuf,
}

impl Signer {
    /// Keeps its files in a directory of the test's: the server, which has it too, ends with the
    /// process, when nothing is cleaned up any more.
    fn new(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        let signer = Self { dir };
        let (key, certificate) = (signer.path("key"), signer.path("certificate"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=tokens",
            "-days",
            "2",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        signer
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A token that opens what `access` says, as the registry's specification wants it.
    fn token(&self, access: &Value, number: usize) -> String {
        let pem = fs::read_to_string(self.path("certificate")).unwrap();
        let certificate: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = now.as_secs();
        let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]});
        let claims = json!({"iss": ISSUER, "sub": "me", "aud": SERVICE, "jti": number.to_string(),
            "iat": now, "nbf": now - 60, "exp": now + 600, "access": access});
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{head}.{claims}");
        let (file, out) = (
            self.path(&format!("{number}.text")),
            self.path(&format!("{number}.signature")),
        );
        fs::write(&file, &signed).unwrap();
        openssl(&[
            "dgst",
            "-sha256",
            "-sign",
            &self.path("key"),
            "-out",
            &out,
            &file,
        ]);
        let signature = URL_SAFE_NO_PAD.encode(fs::read(&out).unwrap());
        format!("{signed}.{signature}")
    }
}

/// What the scopes of a request ask for.
fn access(request: &Request) -> Vec<Value> {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let query = query.replace("%3A", ":").replace("%2C", ",");
    let query = query.replace("%2F", "/");
    let scopes = query.split('&').filter_map(|p| p.strip_prefix("scope="));
    let parts = scopes.filter_map(|scope| {
        let mut parts = scope.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let made = parts.map(|(kind, name, actions)| {
        let actions: Vec<_> = actions.split(',').collect();
        json!({"type": kind, "name": name, "actions": actions})
    });
    made.collect()
}

/// Gives tokens to whoever knows the password, and to everybody else those that read `public/`.
fn tokens(signer: Arc<Signer>) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let password = format!("Basic {}", STANDARD.encode("me:secret-word"));
    Server::start(move |request| {
        let mut access = access(request);
        match request.header("authorization") {
            Some(given) if given == password => {}
            Some(_) => return Reply::status(401),
            None => access.retain(|wanted| {
                let name = wanted["name"].as_str().unwrap_or_default();
                name.starts_with("public/") && wanted["actions"] == json!(["pull"])
            }),
        }
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = signer.token(&json!(access), number);
        Reply::ok(json!({"token": token, "expires_in": 600}).to_string())
    })
}

#[test]
fn a_real_registry_believes_the_tokens_that_were_got_for_it() {
    let rkt = Rkt::new();
    let signer = Arc::new(Signer::new(rkt.path("signer")));
    let tokens = tokens(signer.clone());
    let registry = Registry::with_tokens(
        &tokens.url("/token"),
        SERVICE,
        ISSUER,
        &signer.path("certificate"),
    );
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo came", &[]), "it");
    let login = ["--dest-creds=me:secret-word"];
    for name in ["public/app:v1", "private/app:v1"] {
        registry.push(&layout.reference("it"), name, &login);
    }
    let with = |rkt: &Rkt, what: &str, name: &str, password: Option<&str>| {
        let docker = rkt.path("docker");
        fs::create_dir_all(&docker).unwrap();
        let auths = password.map_or(json!({}), |password| {
            let encoded = STANDARD.encode(format!("me:{password}"));
            json!({"auths": {registry.authority(): {"auth": encoded}}})
        });
        fs::write(docker.join("config.json"), auths.to_string()).unwrap();
        let image = registry.image(name);
        let net: &[&str] = if what == "run" { &["--net=none"] } else { &[] };
        let args = [&["--insecure-options=image,http", what], net, &[&image]].concat();
        let mut command = rkt.strict_command(&args);
        command.env("DOCKER_CONFIG", &docker);
        Running::start(command).finish()
    };
    // Whoever is nobody reads what everybody may, with one token for all of it.
    tokens.forget();
    let ran = with(&rkt, "run", "public/app:v1", None).expect(0);
    assert_eq!(ran.app_lines(), ["came"]);
    let asked = tokens.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    // The registry does not take that token for more than it says.
    let fresh = Rkt::new();
    with(&fresh, "fetch", "private/app:v1", None).refused(&["token does not allow"]);
    let refused = with(&fresh, "fetch", "private/app:v1", Some("wrong-word"));
    let refused = refused.refused(&["does not accept the credentials"]);
    assert!(!refused.all().contains("wrong-word"));
    assert!(
        fresh
            .ok(&["image", "list", "--no-legend"])
            .lines()
            .all(|l| !l.contains("private"))
    );
    let ran = with(&fresh, "run", "private/app:v1", Some("secret-word")).expect(0);
    assert_eq!(ran.app_lines(), ["came"]);
}

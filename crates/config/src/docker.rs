//! Credentials that Docker's own configuration holds (`config.json`), for registries that rkt's does
//! not name: in the file, or from a credential helper.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::auth::{Basic, Secret};
use crate::{Error, Result};

/// Bytes of the file, and of a helper's answer.
const LIMIT: u64 = 1 << 20;
/// Docker's registry as Docker's tools file it.
const HUB: [&str; 3] = [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
];
const HUB_HOST: &str = "registry-1.docker.io";
/// The user name that says that the password is a token.
const TOKEN_USER: &str = "<token>";

/// Who the user is to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Basic(Basic),
    /// A token that buys tokens.
    Identity(Secret),
}

impl Login {
    /// What Docker's configuration says about a registry: `$DOCKER_CONFIG/config.json`, or the one
    /// in the home directory.
    ///
    /// # Errors
    /// The file is no configuration; a helper that it names fails.
    pub fn from_docker(registry: &str) -> Result<Option<Self>> {
        let own = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let directory = own("DOCKER_CONFIG").map(PathBuf::from);
        let directory = directory.or_else(|| Some(PathBuf::from(own("HOME")?).join(".docker")));
        match directory {
            Some(directory) => from_file(&directory.join("config.json"), registry),
            None => Ok(None),
        }
    }
}

fn from_file(path: &Path, registry: &str) -> Result<Option<Login>> {
    use std::io::{ErrorKind, Read};
    let io = |source| Error::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(io)?,
        // Another user's home is none of ours.
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(io(e)),
    };
    if bytes.len() as u64 > LIMIT {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit: LIMIT,
        });
    }
    let fields: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|source| Error::Syntax {
            path: path.to_owned(),
            source,
        })?;
    let helpers = fields.get("credHelpers").and_then(Value::as_object);
    let names = names(registry);
    for name in &names {
        let helper = helpers.and_then(|h| h.get(name)).and_then(Value::as_str);
        if let Some(helper) = helper.filter(|h| !h.is_empty()) {
            return ask(path, helper, name);
        }
    }
    if let Some(store) = fields.get("credsStore").and_then(Value::as_str)
        && !store.is_empty()
    {
        for name in &names {
            if let Some(login) = ask(path, store, name)? {
                return Ok(Some(login));
            }
        }
    }
    let auths = fields.get("auths").and_then(Value::as_object);
    let entry = names.iter().find_map(|name| auths?.get(name));
    match entry {
        Some(entry) => read(path, entry),
        None => Ok(None),
    }
}

/// The names that a registry may have in the file.
fn names(registry: &str) -> Vec<String> {
    let mut names = vec![registry.to_owned()];
    if registry == HUB_HOST {
        names.extend(HUB.map(str::to_owned));
    }
    names.extend(["https://", "http://"].map(|scheme| format!("{scheme}{registry}")));
    names
}

fn read(path: &Path, entry: &Value) -> Result<Option<Login>> {
    let bad = |reason| Error::Field {
        path: path.to_owned(),
        field: "auths",
        reason,
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let identity = text("identitytoken");
    if !identity.is_empty() {
        return Ok(Some(Login::Identity(Secret::new(identity))));
    }
    let (user, password) = match text("auth") {
        "" => (text("username").to_owned(), text("password").to_owned()),
        auth => {
            let decoded = STANDARD.decode(auth.trim()).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or_else(|| bad("must hold base64 of USER:PASSWORD"))?;
            let pair = decoded.split_once(':');
            let (user, password) = pair.ok_or_else(|| bad("must hold base64 of USER:PASSWORD"))?;
            (user.to_owned(), password.trim_end_matches('\0').to_owned())
        }
    };
    Ok((!user.is_empty()).then(|| Login::basic(user, &password)))
}

impl Login {
    fn basic(user: String, password: &str) -> Self {
        Self::Basic(Basic {
            user,
            password: Secret::new(password),
        })
    }
}

/// Asks `docker-credential-HELPER`.
fn ask(path: &Path, helper: &str, registry: &str) -> Result<Option<Login>> {
    use std::io::Read;
    let word = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !helper.bytes().all(word) {
        return Err(Error::Field {
            path: path.to_owned(),
            field: "credHelpers",
            reason: "must be the last part of a program's name",
        });
    }
    let program = format!("docker-credential-{helper}");
    let failed = |operation, source| Error::Io {
        operation,
        path: PathBuf::from(&program),
        source,
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| failed("execute", e))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A helper that has gone says so by its status.
        let _ = pipe.write_all(registry.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let read = pipe.take(LIMIT).read_to_end(&mut answer);
        read.map_err(|e| failed("read the answer of", e))?;
    }
    let status = child.wait().map_err(|e| failed("wait for", e))?;
    if !status.success() {
        // All helpers say this in these words.
        if String::from_utf8_lossy(&answer).contains("credentials not found") {
            return Ok(None);
        }
        let told = std::io::Error::other(format!("it ended with {status}"));
        return Err(failed("get credentials from", told));
    }
    let answer: Value = serde_json::from_slice(&answer).map_err(|source| Error::Syntax {
        path: PathBuf::from(&program),
        source,
    })?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(match (text("Username"), text("Secret")) {
        (_, "") => None,
        (TOKEN_USER, token) => Some(Login::Identity(Secret::new(token))),
        (user, secret) => Some(Login::basic(user.to_owned(), secret)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str, registry: &str) -> Result<Option<Login>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        from_file(&path, registry)
    }

    #[test]
    fn the_forms_of_a_login() {
        // "me:pass:word"
        let text = r#"{"auths": {"r.example:5000": {"auth": "bWU6cGFzczp3b3Jk"},
            "https://index.docker.io/v1/": {"identitytoken": "tok"},
            "bad.example": {"auth": "!"}}}"#;
        let login = in_file(text, "r.example:5000").unwrap().unwrap();
        assert_eq!(login, Login::basic("me".to_owned(), "pass:word"));
        let hub = in_file(text, HUB_HOST).unwrap().unwrap();
        assert_eq!(hub, Login::Identity(Secret::new("tok")));
        assert_eq!(in_file(text, "other.example").unwrap(), None);
        in_file(text, "bad.example").unwrap_err();
        in_file("[]", "x").unwrap_err();
        in_file(r#"{"credHelpers": {"x": "../evil"}}"#, "x").unwrap_err();
        assert!(!format!("{login:?}").contains("pass:word"));
    }
}

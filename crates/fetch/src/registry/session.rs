//! Talking to a registry as somebody (Docker token authentication specification).

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use config::Login;
use distribution::Docker;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Logins, basic};
use crate::http::{Challenge, Request, Response};
use crate::{Client, Error, Result};

/// Bytes of a token's answer.
const TOKEN: usize = 1 << 20;
/// How often a registry may say that it is busy.
const BUSY: u32 = 3;
/// The longest wait that a registry may ask for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A repository and who the user is to it.
pub(super) struct Session<'a> {
    client: &'a Client,
    registry: String,
    repository: String,
    logins: &'a Logins<'a>,
    /// `https`, or `http` where that is all there is and it is allowed.
    scheme: OnceLock<&'static str>,
    /// The header that showed who the user is.
    shown: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a Client, image: &Docker, logins: &'a Logins<'a>) -> Self {
        Self {
            client,
            registry: image.registry.clone(),
            repository: image.repository.clone(),
            logins,
            scheme: OnceLock::new(),
            shown: Mutex::new(None),
        }
    }

    /// Gets something of the repository.
    pub(super) fn get(&self, path: &str, headers: &[(&'static str, String)]) -> Result<Response> {
        let mut asked = false;
        let mut busy = 0;
        loop {
            let shown = self.shown.lock().ok().and_then(|s| s.clone());
            let response = self.ask(path, headers, shown.clone())?;
            match response.status {
                401 if !asked => {
                    asked = true;
                    self.show(&response, shown.as_deref())?;
                }
                401 | 403 => return Err(self.denied(path, &response)),
                429 | 502 | 503 | 504 if busy < BUSY => {
                    busy += 1;
                    let wait = response.header("retry-after").and_then(|v| v.parse().ok());
                    let wait = wait.map_or(Duration::from_secs(1), Duration::from_secs);
                    std::thread::sleep(wait.min(PATIENCE));
                }
                _ => return response.good(),
            }
        }
    }

    fn ask(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        shown: Option<String>,
    ) -> Result<Response> {
        let at = |scheme: &str| {
            let url = format!("{scheme}://{}/v2/{}/{path}", self.registry, self.repository);
            self.client.ask(&Request {
                url,
                headers: headers.to_vec(),
                secrets: shown.iter().map(|s| ("authorization", s.clone())).collect(),
                form: None,
            })
        };
        if let Some(scheme) = self.scheme.get() {
            return at(scheme);
        }
        match at("https") {
            Err(Error::Network { .. }) if self.client.insecure().http => {
                let answer = at("http")?;
                let _ = self.scheme.set("http");
                Ok(answer)
            }
            Err(other) => Err(other),
            Ok(answer) => {
                let _ = self.scheme.set("https");
                Ok(answer)
            }
        }
    }

    /// Finds out how to show who the user is.
    fn show(&self, response: &Response, before: Option<&str>) -> Result<()> {
        // Another thread may have done it meanwhile.
        if let Ok(shown) = self.shown.lock()
            && shown.is_some()
            && shown.as_deref() != before
        {
            return Ok(());
        }
        let challenges: Vec<Challenge> = response
            .all("www-authenticate")
            .flat_map(Challenge::parse)
            .collect();
        let login = (self.logins)(&self.registry)?;
        let bearer = challenges.iter().find(|c| c.scheme == "bearer");
        let shown = match (bearer, login) {
            (Some(challenge), login) => {
                format!("Bearer {}", self.token(challenge, login.as_ref())?)
            }
            (None, Some(Login::Basic(login))) if challenges.iter().any(|c| c.scheme == "basic") => {
                basic(&login)
            }
            (None, Some(_)) => {
                return Err(self.refusal(
                    "it asks for a kind of authentication that rkt does not know".to_owned(),
                ));
            }
            (None, None) => {
                return Err(self.refusal(
                    "it asks for a user and a password (rktKind dockerAuth, or docker login)"
                        .to_owned(),
                ));
            }
        };
        if let Ok(mut place) = self.shown.lock() {
            *place = Some(shown);
        }
        Ok(())
    }

    /// Gets a token from where the registry says.
    fn token(&self, challenge: &Challenge, login: Option<&Login>) -> Result<String> {
        let realm = challenge.get("realm").unwrap_or_default();
        if !realm.starts_with("https://") && !realm.starts_with("http://") {
            return Err(self.refusal("it does not say where tokens are".to_owned()));
        }
        let own = format!("repository:{}:pull", self.repository);
        let scope = challenge.get("scope").unwrap_or(&own);
        let mut fields = vec![("scope", scope)];
        fields.extend(challenge.get("service").map(|service| ("service", service)));
        let request = match login {
            Some(Login::Identity(token)) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "rkt"),
                    ("refresh_token", token.reveal()),
                ]);
                Request {
                    url: realm.to_owned(),
                    form: Some(form(&fields)),
                    ..Request::default()
                }
            }
            other => {
                let mark = if realm.contains('?') { '&' } else { '?' };
                let secret = match other {
                    Some(Login::Basic(login)) => Some(("authorization", basic(login))),
                    _ => None,
                };
                Request {
                    url: format!("{realm}{mark}{}", form(&fields)),
                    secrets: secret.into_iter().collect(),
                    ..Request::default()
                }
            }
        };
        let response = self.client.ask(&request)?;
        if matches!(response.status, 401 | 403) {
            return Err(self.refusal(match login {
                Some(_) => "it does not accept the credentials".to_owned(),
                None => "it gives no token without credentials".to_owned(),
            }));
        }
        let answer = response.good()?.whole(TOKEN)?;
        let token: Token = serde_json::from_slice(&answer)
            .map_err(|e| self.refusal(format!("its token cannot be understood: {e}")))?;
        let token = token.token.or(token.access_token).unwrap_or_default();
        let plain = |b: u8| b.is_ascii_graphic();
        match !token.is_empty() && token.bytes().all(plain) {
            true => Ok(token),
            false => Err(self.refusal("it gives no token".to_owned())),
        }
    }

    fn denied(&self, path: &str, response: &Response) -> Error {
        let wrong_scope = response
            .all("www-authenticate")
            .flat_map(Challenge::parse)
            .any(|c| c.get("error") == Some("insufficient_scope"));
        let shown = self.shown.lock().is_ok_and(|s| s.is_some());
        let reason = match (wrong_scope, shown) {
            (true, _) => "its token does not allow that".to_owned(),
            (_, true) => format!("it answers {} to the credentials", response.status),
            (_, false) => format!("it answers {}", response.status),
        };
        Error::Denied {
            registry: self.registry.clone(),
            what: format!("{}/{path}", self.repository),
            reason,
        }
    }

    fn refusal(&self, reason: String) -> Error {
        Error::Denied {
            registry: self.registry.clone(),
            what: self.repository.clone(),
            reason,
        }
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = fields.iter().map(|(n, v)| format!("{n}={}", escape(v)));
    pairs.collect::<Vec<_>>().join("&")
}

//! HTTP, as far as fetching needs it: GET and POST, redirects that take no credentials along to
//! another host, certificates of the machine, proxies of the environment.

mod auth;
mod forward;
mod headers;
mod patience;
mod persistence;
mod proxy;
mod resolve;
mod tls;
mod url;

use std::io::Read;
use std::sync::OnceLock;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{self, StatusCode};
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, Body, ProxyProtocol};

use crate::{Error, Result};

pub(crate) use auth::{Headers, headers as headers_for};
pub(crate) use headers::{Challenge, max_age};
pub(crate) use patience::Patience;
pub(crate) use persistence::Persistence;
pub(crate) use url::{authority, is_https, join};

use forward::{Forwarded, ToProxy};
use patience::Steady;
use proxy::Proxy;

/// Redirects in a row.
const REDIRECTS: usize = 10;
/// Connecting, with the handshake of TLS.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection that lay idle for longer is not used again.
const IDLE: Duration = Duration::from_secs(15);

/// What the user allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Plain HTTP.
    pub http: bool,
    /// Certificates that nobody vouches for.
    pub tls: bool,
}

/// A client, with its open connections.
#[derive(Debug, Clone)]
pub struct Client {
    plain: Agents,
    secure: Agents,
    insecure: Insecure,
    patience: Patience,
}

/// What asks the servers of one scheme, made when it is needed: reading the machine's certificates
/// takes longer than a request to a near registry.
#[derive(Debug, Clone, Default)]
struct Agents {
    proxy: OnceLock<Proxy>,
    direct: OnceLock<Agent>,
    proxied: OnceLock<Agent>,
}

/// One question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) url: String,
    /// Sent to every host that a redirect leads to.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Sent only to the host of `url`.
    pub(crate) secrets: Vec<(&'static str, String)>,
    /// What is posted, as a form; without it, the question is a GET.
    pub(crate) form: Option<String>,
}

/// An answer, whatever its status.
pub(crate) struct Response {
    /// Where it came from in the end.
    pub(crate) url: String,
    pub(crate) status: u16,
    headers: http::HeaderMap,
    body: Box<dyn Read + Send>,
}

impl Client {
    /// A client that allows so much.
    pub fn new(insecure: Insecure) -> Self {
        Self::with_patience(insecure, Patience::default())
    }

    pub(crate) fn with_patience(insecure: Insecure, patience: Patience) -> Self {
        Self {
            plain: Agents::default(),
            secure: Agents::default(),
            insecure,
            patience,
        }
    }

    /// The agent for a URL.
    fn agent(&self, url: &str) -> Result<&Agent> {
        let secure = is_https(url);
        let agents = if secure { &self.secure } else { &self.plain };
        let proxy = match agents.proxy.get() {
            Some(proxy) => proxy,
            None => {
                let named = Proxy::of_environment(secure)?;
                agents.proxy.get_or_init(|| named)
            }
        };
        let (place, proxy) = match proxy.is_for(url) {
            true => (&agents.proxied, proxy.proxy()),
            false => (&agents.direct, None),
        };
        Ok(place.get_or_init(|| match proxy {
            Some(proxy) if !secure && proxy.protocol() == ProxyProtocol::Http => {
                let config = self.config(secure, None);
                let connector = DefaultConnector::default().chain(Forwarded(proxy.clone()));
                Agent::with_parts(config, connector, ToProxy(proxy))
            }
            proxy => {
                let connector = DefaultConnector::default();
                Agent::with_parts(self.config(secure, proxy), connector, resolve::Names)
            }
        }))
    }

    fn config(&self, secure: bool, proxy: Option<ureq::Proxy>) -> Config {
        let tls = tls::config(!secure || self.insecure.tls);
        let patience = self.patience;
        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("rkt/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(proxy)
            .tls_config(tls)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .max_response_header_size(64 << 10)
            .input_buffer_size(256 << 10)
            .max_idle_connections_per_host(8)
            .build()
    }

    /// What it allows.
    pub fn insecure(&self) -> Insecure {
        self.insecure
    }

    /// Asks, and follows redirects.
    pub(crate) fn ask(&self, request: &Request) -> Result<Response> {
        self.ask_as(request, &|_| Vec::new())
    }

    /// The same, where every server on the way gets the headers that are its own.
    pub(crate) fn ask_as(
        &self,
        request: &Request,
        own: &dyn Fn(&str) -> Headers,
    ) -> Result<Response> {
        let mut url = request.url.clone();
        let mut known = true;
        for _ in 0..=REDIRECTS {
            let response = self.once(&url, request, known, own(&url))?;
            let Some(target) = response.redirect() else {
                return Ok(response);
            };
            let next = join(&url, &target).ok_or_else(|| Error::Http {
                url: url.clone(),
                reason: "it redirects to what is no URL".to_owned(),
            })?;
            if is_https(&url) && !is_https(&next) && !self.insecure.http {
                return Err(Error::PlainHttp { url: next });
            }
            // A host that was left once has no claim to the secrets any more.
            known &= authority(&url) == authority(&next) && is_https(&url) == is_https(&next);
            url = next;
        }
        Err(Error::Http {
            url: request.url.clone(),
            reason: format!("it redirects more than {REDIRECTS} times"),
        })
    }

    fn once(&self, url: &str, request: &Request, known: bool, own: Headers) -> Result<Response> {
        if !is_https(url) && !self.insecure.http {
            return Err(Error::PlainHttp {
                url: url.to_owned(),
            });
        }
        let agent = self.agent(url)?;
        let headers = || {
            let secrets = request.secrets.iter().filter(|_| known);
            request.headers.iter().chain(secrets).chain(&own)
        };
        let form = request.form.as_deref();
        let answer = match send(agent, url, headers(), form, form.is_some()) {
            Err(Error::Network { source, .. }) if form.is_none() && broke_off(&source) => {
                send(agent, url, headers(), None, true)
            }
            other => other,
        }?;
        let (parts, body) = answer.into_parts();
        Ok(Response {
            url: url.to_owned(),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: Box::new(Steady::new(body.into_reader(), self.patience)),
        })
    }
}

/// Asks once. A server may close a connection that lay idle in the very moment in which it is used
/// again; a `fresh` one it has just opened itself. So only what may be asked twice goes over others
/// (RFC 9110, section 9.2.2).
fn send<'a>(
    agent: &Agent,
    url: &str,
    headers: impl Iterator<Item = &'a (&'static str, String)>,
    form: Option<&str>,
    fresh: bool,
) -> Result<http::Response<Body>> {
    let bad = |e: http::Error| Error::Http {
        url: url.to_owned(),
        reason: e.to_string(),
    };
    let mut builder = http::Request::builder().uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    let idle = if fresh { Duration::ZERO } else { IDLE };
    let answer = match form {
        None => {
            let request = builder.method("GET").body(()).map_err(bad)?;
            agent.run(agent.configure_request(request).max_idle_age(idle).build())
        }
        Some(form) => {
            let kind = "application/x-www-form-urlencoded";
            let builder = builder.method("POST").header("content-type", kind);
            let request = builder.body(form).map_err(bad)?;
            agent.run(agent.configure_request(request).max_idle_age(idle).build())
        }
    };
    answer.map_err(|source| Error::Network {
        url: url.to_owned(),
        source: Box::new(source),
    })
}

/// Whether the connection ended before there was an answer.
fn broke_off(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(e) => matches!(
            e.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        _ => false,
    }
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where the part begins that this answer holds.
    pub(crate) fn begins(&self) -> Option<u64> {
        let range = self.header("content-range")?.strip_prefix("bytes ")?;
        range.split('-').next()?.parse().ok()
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// Bytes of the body, if the server says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The body.
    pub(crate) fn body(self) -> Box<dyn Read + Send> {
        self.body
    }

    /// The whole body, if it is no larger than that.
    pub(crate) fn whole(self, limit: usize) -> Result<Vec<u8>> {
        let url = self.url;
        let mut bytes = Vec::new();
        let read = self.body.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::Http {
            url: url.clone(),
            reason: e.to_string(),
        })?;
        match bytes.len() > limit {
            false => Ok(bytes),
            true => Err(Error::Http {
                url,
                reason: format!("it sends more than {limit} bytes"),
            }),
        }
    }

    /// The answer, if it is a good one.
    pub(crate) fn good(self) -> Result<Self> {
        match self.status {
            200..=299 => Ok(self),
            status => Err(Error::Status {
                url: self.url,
                status,
                text: StatusCode::from_u16(status)
                    .ok()
                    .and_then(|s| s.canonical_reason())
                    .unwrap_or_default(),
            }),
        }
    }

    fn redirect(&self) -> Option<String> {
        match self.status {
            301 | 302 | 303 | 307 | 308 => self.header("location").map(str::to_owned),
            _ => None,
        }
    }
}

//! The proxies that the environment names: `http_proxy`, `https_proxy`, `all_proxy`, and the hosts
//! that `no_proxy` excepts, each in lower or upper case; read as Go's programs read them.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::{Error, Result};

/// The proxy for one scheme; none if the environment names none.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxy {
    proxy: Option<ureq::Proxy>,
    exceptions: Vec<Exception>,
}

/// A host, or several, that are asked without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`: all.
    All,
    /// A network, by its first address and the bits that count.
    Network(IpAddr, u8),
    /// A host and everything below it, or with a dot in front only what is below it; perhaps with a
    /// port.
    Domain(String, Option<u16>),
}

impl Proxy {
    /// Reads the environment for `http` or `https`.
    ///
    /// # Errors
    /// What it names is no proxy: better no answer than one past the proxy.
    pub(super) fn of_environment(secure: bool) -> Result<Self> {
        Self::read(secure, |name| std::env::var(name).ok())
    }

    fn read(secure: bool, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let either = |name: &str| {
            let values = [variable(name), variable(&name.to_ascii_uppercase())];
            let mut values = values.into_iter().flatten();
            values.find(|v| !v.trim().is_empty())
        };
        let own = if secure { "https_proxy" } else { "http_proxy" };
        let named = [own, "all_proxy"].into_iter();
        let Some((name, value)) = named.filter_map(|n| Some((n, either(n)?))).next() else {
            return Ok(Self::default());
        };
        let bad = |_| Error::Proxy {
            variable: name,
            // What may stand before an @ is a password.
            value: value.rsplit('@').next().unwrap_or_default().to_owned(),
        };
        let exceptions = either("no_proxy").unwrap_or_default();
        Ok(Self {
            proxy: Some(ureq::Proxy::new(value.trim()).map_err(bad)?),
            exceptions: exceptions
                .split([',', ' '])
                .filter_map(Exception::parse)
                .collect(),
        })
    }

    /// The proxy, for an agent.
    pub(super) fn proxy(&self) -> Option<ureq::Proxy> {
        self.proxy.clone()
    }

    /// Whether a URL is asked for through the proxy. This machine itself never is.
    pub(super) fn is_for(&self, url: &str) -> bool {
        let Some((host, port)) = host_and_port(url).filter(|_| self.proxy.is_some()) else {
            return false;
        };
        let address = host.parse::<IpAddr>().ok();
        let own = host == "localhost" || address.is_some_and(|a| a.is_loopback());
        !own && !self.exceptions.iter().any(|e| e.has(&host, address, port))
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let bare = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let usual = if super::is_https(url) { 443 } else { 80 };
    let host = bare.trim_end_matches('.').to_ascii_lowercase();
    Some((host, uri.port_u16().unwrap_or(usual)))
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Some(Self::Network(address.parse().ok()?, bits.parse().ok()?));
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network(address, 128));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        // "*.example.com" is ".example.com".
        let host = host.trim_start_matches('*').trim_end_matches('.');
        (!host.is_empty()).then(|| Self::Domain(host.to_owned(), port))
    }

    fn has(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, bits) => address.is_some_and(|a| is_in(a, *network, *bits)),
            Self::Domain(domain, only) => {
                let below = match domain.starts_with('.') {
                    true => host.ends_with(domain.as_str()),
                    false => host
                        .strip_suffix(domain.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                };
                below && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let number = |a: IpAddr| match a {
        IpAddr::V4(a) => u128::from(a.to_bits()) << 96,
        IpAddr::V6(a) => a.to_bits(),
    };
    let differ = number(address) ^ number(network);
    let same = differ.leading_zeros() >= u32::from(bits.min(128));
    address.is_ipv4() == network.is_ipv4() && (same || differ == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)]) -> Result<Proxy> {
        Proxy::read(true, |name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn hosts_that_are_asked_without_a_proxy() {
        let except = |list: &str, url: &str| {
            let variables = [
                ("HTTPS_PROXY", "http://proxy.example:3128"),
                ("no_proxy", list),
            ];
            !proxy(&variables).unwrap().is_for(url)
        };
        for (list, url, excepted) in [
            ("", "https://a.example/x", false),
            ("", "https://localhost:5000/", true),
            ("", "https://127.8.0.1/", true),
            ("", "https://[::1]/", true),
            ("*", "https://a.example/", true),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://a.EXAMPLE.com/", true),
            ("example.com", "https://badexample.com/", false),
            (".example.com", "https://example.com/", false),
            ("*.example.com", "https://a.example.com/", true),
            ("x, example.com:8443", "https://example.com:8443/", true),
            ("example.com:8443", "https://example.com/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.1.2.3", "https://10.1.2.3:5000/", true),
            ("10.1.2.3", "https://10.1.2.4/", false),
            ("fd00::/8", "https://[fd12::1]/", true),
            ("fd00::/8", "https://10.1.2.3/", false),
            ("nonsense/x,,/", "https://a.example/", false),
        ] {
            assert_eq!(except(list, url), excepted, "{list:?} {url}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_without_its_password() {
        assert!(!proxy(&[]).unwrap().is_for("https://a.example/"));
        assert!(!proxy(&[("https_proxy", " ")]).unwrap().is_for("https://a/"));
        assert!(
            proxy(&[("ALL_PROXY", "socks5://p:1")])
                .unwrap()
                .is_for("https://a/")
        );
        let wrong = [("https_proxy", "gopher://me:secret@proxy:99999")];
        let error = proxy(&wrong).unwrap_err().to_string();
        assert!(
            error.contains("https_proxy") && error.contains("proxy:99999"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

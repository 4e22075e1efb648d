//! URLs, as far as redirects and credentials need them.

use ureq::http::Uri;

/// Whether a URL is one of HTTPS.
pub(crate) fn is_https(url: &str) -> bool {
    url.get(..8)
        .is_some_and(|s| s.eq_ignore_ascii_case("https://"))
}

/// Host, and port where one is given: what credentials are for.
pub(crate) fn authority(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let host = authority.host().to_ascii_lowercase();
    match (authority.port_u16(), is_https(url)) {
        (None, _) | (Some(443), true) | (Some(80), false) => Some(host),
        (Some(port), _) => Some(format!("{host}:{port}")),
    }
}

/// Where a redirect leads (RFC 3986, section 5, without the rarer forms). None for what is no URL
/// of HTTP, or one that carries a name and a password.
pub(crate) fn join(base: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    let base: Uri = base.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let joined = if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.contains("://") && !target.starts_with('/') {
        target.to_owned()
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{}{target}", base.path())
    } else {
        let path = base.path();
        let folder = &path[..=path.rfind('/')?];
        format!("{scheme}://{authority}{folder}{target}")
    };
    let parsed: Uri = joined.parse().ok()?;
    let http = matches!(parsed.scheme_str(), Some("http" | "https"));
    let plain = parsed
        .authority()
        .is_some_and(|a| !a.as_str().contains('@'));
    (http && plain).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined() {
        let base = "https://a.example:8443/one/two?x=1";
        for (target, expected) in [
            ("https://b.example/y", Some("https://b.example/y")),
            ("//b.example/y", Some("https://b.example/y")),
            ("/y?z=1#part", Some("https://a.example:8443/y?z=1")),
            ("y", Some("https://a.example:8443/one/y")),
            ("?q", Some("https://a.example:8443/one/two?q")),
            ("ftp://b.example/", None),
            ("file:///etc/passwd", None),
            ("https://me:secret@b.example/", None),
        ] {
            assert_eq!(join(base, target).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn a_default_port_says_nothing() {
        assert_eq!(authority("https://A.example:443/x").unwrap(), "a.example");
        assert_eq!(
            authority("http://a.example:443/x").unwrap(),
            "a.example:443"
        );
        assert_eq!(authority("https://[::1]:5000/").unwrap(), "[::1]:5000");
    }
}

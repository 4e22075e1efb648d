//! Header values that have a grammar of their own.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a server wants to know before it answers (RFC 7235, `WWW-Authenticate`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Challenge {
    /// `basic`, `bearer`, in lower case.
    pub(crate) scheme: String,
    /// The parameters, their names in lower case.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Reads a header with one or several challenges.
    pub(crate) fn parse(header: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for part in commas(header) {
            let (word, rest) = match part.split_once(char::is_whitespace) {
                Some((word, rest)) if !word.contains('=') => (Some(word), rest.trim()),
                None if !part.contains('=') => (Some(part), ""),
                _ => (None, part),
            };
            if let Some(scheme) = word {
                found.push(Self {
                    scheme: scheme.to_ascii_lowercase(),
                    ..Self::default()
                });
            }
            if let (Some(challenge), Some((name, value))) = (found.last_mut(), rest.split_once('='))
            {
                let name = name.trim().to_ascii_lowercase();
                challenge.parameters.insert(name, unquoted(value.trim()));
            }
        }
        found
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.parameters.get(name).map(String::as_str);
        value.filter(|v| !v.is_empty())
    }
}

/// Splits at commas that are not quoted.
fn commas(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    match inner {
        None => text.to_owned(),
        Some(inner) => {
            let mut out = String::new();
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                out.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            out
        }
    }
}

/// For how long an answer may be used again without asking (RFC 9111, `Cache-Control`).
pub(crate) fn max_age(header: Option<&str>) -> Duration {
    let mut age = 0;
    for directive in header.unwrap_or_default().split(',') {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.split_once('=') {
            None if directive == "no-cache" || directive == "no-store" => return Duration::ZERO,
            Some(("max-age", value)) => age = unquoted(value).parse().unwrap_or(0),
            _ => {}
        }
    }
    Duration::from_secs(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let header = r#"Bearer realm="https://auth.example/token",service="a, \"b\"",scope="repository:x:pull", Basic realm="y""#;
        let found = Challenge::parse(header);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("realm"), Some("https://auth.example/token"));
        assert_eq!(found[0].get("service"), Some("a, \"b\""));
        assert_eq!(found[0].get("scope"), Some("repository:x:pull"));
        assert_eq!(found[1].scheme, "basic");
        assert_eq!(Challenge::parse("Negotiate")[0].scheme, "negotiate");
        assert!(Challenge::parse("").is_empty());
        Challenge::parse("\"\\");
    }

    #[test]
    fn ages() {
        let age = |h| max_age(Some(h)).as_secs();
        assert_eq!(age("public, max-age=60"), 60);
        assert_eq!(age("max-age=60, no-cache"), 0);
        assert_eq!(age("max-age=nonsense"), 0);
        assert_eq!(max_age(None).as_secs(), 0);
    }
}

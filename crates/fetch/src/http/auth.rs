//! Who the user is to servers of images (page "rkt configuration", "rktKind: auth").

use std::collections::BTreeMap;

use config::Auth;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use sha::Sha256;
use ureq::http::Uri;

use super::url::authority;
use crate::registry::basic;

/// What AWS wants escaped.
const AWS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// The same for a path, whose parts stay apart.
const AWS_PATH: &AsciiSet = &AWS.remove(b'/');
const SERVICE: &str = "s3";
const DEFAULT_REGION: &str = "us-east-1";

/// Headers of a request.
pub(crate) type Headers = Vec<(&'static str, String)>;

/// The headers that show a server who the user is.
pub(crate) fn headers(hosts: &BTreeMap<String, Auth>, url: &str) -> Headers {
    let auth = authority(url).and_then(|authority| hosts.get(&authority));
    match auth {
        None => Vec::new(),
        Some(Auth::Basic(login)) => vec![("authorization", basic(login))],
        Some(Auth::OAuth { token }) => {
            vec![("authorization", format!("Bearer {}", token.reveal()))]
        }
        Some(Auth::Aws {
            access_key_id,
            secret_access_key,
            region,
        }) => {
            let signer = Signer {
                id: access_key_id,
                secret: secret_access_key.reveal(),
                region: region.as_deref(),
                time: jiff::Timestamp::now()
                    .strftime("%Y%m%dT%H%M%SZ")
                    .to_string(),
            };
            signer.sign(url).unwrap_or_default()
        }
    }
}

/// Signs requests as AWS wants it (Signature Version 4).
struct Signer<'a> {
    id: &'a str,
    secret: &'a str,
    region: Option<&'a str>,
    time: String,
}

impl Signer<'_> {
    /// The headers of a GET.
    fn sign(&self, url: &str) -> Option<Headers> {
        let uri: Uri = url.parse().ok()?;
        let host = authority(url)?;
        let empty = hex(&Sha256::of(b""));
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "GET\n{}\n{}\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{}\n\n{signed}\n{empty}",
            path(uri.path()),
            query(uri.query().unwrap_or_default()),
            self.time,
        );
        let date = &self.time[..8];
        let region = self.region.filter(|r| !r.is_empty());
        let region = region.map_or_else(|| region_of(&host), str::to_owned);
        let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
            self.time,
            hex(&Sha256::of(canonical.as_bytes()))
        );
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [date, &region, SERVICE, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={signed},Signature={signature}",
            self.id
        );
        Some(vec![
            ("authorization", authorization),
            ("x-amz-content-sha256", empty),
            ("x-amz-date", self.time.clone()),
        ])
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A path as AWS sees it: what the URL leaves as it is may have to be escaped, such as the plus sign
/// of a version.
fn path(path: &str) -> String {
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    percent_encoding::percent_encode(&decoded, AWS_PATH).to_string()
}

/// A query with its fields sorted, each with a value.
fn query(query: &str) -> String {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let encode = |text: &str| percent_encoding::percent_encode(&decode(text), AWS).to_string();
    let fields = query.split('&').filter(|f| !f.is_empty());
    let mut fields: Vec<String> = fields
        .map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            format!("{}={}", encode(name), encode(value))
        })
        .collect();
    fields.sort_unstable();
    fields.join("&")
}

/// The region in the name of a host such as `bucket.s3.eu-west-1.amazonaws.com` or
/// `s3-us-west-2.amazonaws.com`.
fn region_of(host: &str) -> String {
    let Some(name) = host.strip_suffix(".amazonaws.com") else {
        return DEFAULT_REGION.to_owned();
    };
    let mut words = name.rsplit('.');
    let last = words.next().unwrap_or_default();
    let region = match last.strip_prefix("s3-") {
        Some(region) => region,
        None if last != "s3" && words.next() == Some("s3") => last,
        None => DEFAULT_REGION,
    };
    utf8_percent_encode(region, AWS).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "GET Bucket Lifecycle" of AWS's documentation.
    #[test]
    fn signatures_of_version_4() {
        let signer = Signer {
            id: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region: None,
            time: "20130524T000000Z".to_owned(),
        };
        let headers = signer.sign("https://examplebucket.s3.amazonaws.com/?lifecycle");
        let authorization = &headers.unwrap()[0].1;
        let signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        assert!(authorization.ends_with(signature), "{authorization}");
    }

    #[test]
    fn paths() {
        assert_eq!(path("/a/b-1.0+git%20x~%7e.aci"), "/a/b-1.0%2Bgit%20x~~.aci");
        assert_eq!(path("/"), "/");
    }

    #[test]
    fn regions() {
        for (host, region) in [
            ("b.s3.amazonaws.com", "us-east-1"),
            ("b.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("b.s3-us-west-2.amazonaws.com", "us-west-2"),
            ("example.com", "us-east-1"),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }
}

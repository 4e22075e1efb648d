//! Credentials for servers of images, and ways to fetch that need permission.

use std::fs;

use e2e::server::{Reply, Request};
use e2e::{Internet, Rkt, Running};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::fetching::{app, bytes, inside};

/// Checks a signature as AWS does (Signature Version 4), from nothing but the request.
fn accepted_by_aws(request: &Request, id: &str, secret: &str, region: &str) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let told = request.header("authorization").unwrap_or_default();
    let Some(fields) = told.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return false;
    };
    let field = |name: &str| {
        let mut all = fields.split(',').filter_map(|f| f.trim().split_once('='));
        all.find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    };
    let time = request.header("x-amz-date").unwrap_or_default();
    let date = time.get(..8).unwrap_or_default();
    let scope = format!("{date}/{region}/s3/aws4_request");
    let names = field("SignedHeaders");
    let must = ["host", "x-amz-date"];
    if field("Credential") != format!("{id}/{scope}")
        || !must.iter().all(|m| names.split(';').any(|n| n == *m))
    {
        return false;
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(name, value)| format!("{}={}", escaped(name, ""), escaped(value, "")))
        .collect();
    pairs.sort_unstable();
    let mut text = format!("GET\n{}\n{}\n", escaped(path, "/"), pairs.join("&"));
    for name in names.split(';') {
        let value = request.header(name).unwrap_or_default();
        text.push_str(&format!("{name}:{value}\n"));
    }
    let body = request.header("x-amz-content-sha256").unwrap_or_default();
    text.push_str(&format!("\n{names}\n{body}"));
    let canonical = hex(&Sha256::digest(text));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, "s3", "aws4_request", &text] {
        key = hmac(&key, part.as_bytes());
    }
    hex(&key) == field("Signature")
}

/// Escapes all but what RFC 3986 calls unreserved, and what else is allowed.
fn escaped(text: &str, more: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.as_bytes().first() {
        let code = rest.strip_prefix('%').and_then(|r| r.get(..2));
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = &rest[if code.is_some() { 3 } else { 1 }..];
        bytes.push(code.unwrap_or(*first));
    }
    bytes.iter().fold(String::new(), |out, byte| {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        match plain || more.as_bytes().contains(byte) {
            true => out + &char::from(*byte).to_string(),
            false => out + &format!("%{byte:02X}"),
        }
    })
}

/// HMAC-SHA256 (RFC 2104) with a key of at most 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}

#[test]
fn credentials_go_to_their_own_hosts_and_nowhere_else() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = bytes(&rkt, &app("example.com/app", "1"));
    internet.host("files.test", move |request| {
        match request.header("authorization") {
            Some("Bearer files-token") => Reply::ok(image.clone()),
            other => panic!("files.test was told {other:?}"),
        }
    });
    internet.host("start.test", |request| {
        match request.header("authorization") {
            // "me:word"
            Some("Basic bWU6d29yZA==") => {
                Reply::status(302).header("location", "https://files.test/app.aci")
            }
            _ => Reply::status(401),
        }
    });
    let signed = bytes(&rkt, &app("example.com/signed", "1"));
    internet.host("aws.test", move |request| {
        match accepted_by_aws(request, "id", "key", "eu-north-1") {
            true => Reply::ok(signed.clone()),
            false => Reply::status(403),
        }
    });
    internet.host("other.test", |request| {
        match accepted_by_aws(request, "id", "another key", "eu-north-1") {
            true => Reply::status(410),
            false => Reply::status(403),
        }
    });
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    for (host, kind, credentials) in [
        (
            "start.test",
            "basic",
            json!({"user": "me", "password": "word"}),
        ),
        ("files.test", "oauth", json!({"token": "files-token"})),
        (
            "aws.test",
            "aws",
            json!({"accessKeyID": "id", "secretAccessKey": "key", "awsRegion": "eu-north-1"}),
        ),
        (
            "other.test",
            "aws",
            json!({"accessKeyID": "id", "secretAccessKey": "key", "awsRegion": "eu-north-1"}),
        ),
    ] {
        let text = json!({"rktKind": "auth", "rktVersion": "v1", "domains": [host],
            "type": kind, "credentials": credentials});
        fs::write(auth.join(format!("{host}.json")), text.to_string()).unwrap();
    }
    let fetch = |url: &str| inside(&internet, &rkt, &["--insecure-options=image", "fetch", url]);
    fetch("https://start.test/app.aci").expect(0);
    for path in ["app.aci", "a-1.0+git%20x.aci", "b.aci?versionId=a/b+c&list"] {
        fetch(&format!("https://aws.test/{path}")).expect(0);
    }
    fetch("https://other.test/app.aci").refused(&["403"]);
}

#[test]
fn insecure_ways_need_permission() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = bytes(&rkt, &app("example.com/app", "1"));
    let served = move |request: &Request| match request.path.as_str() {
        "/down.aci" => Reply::status(301).header("location", "http://good.test/app.aci"),
        "/circle.aci" => Reply::status(301).header("location", "/circle.aci"),
        "/file.aci" => Reply::status(301).header("location", "file:///etc/passwd"),
        _ => Reply::ok(image.clone()),
    };
    internet.host("good.test", served.clone());
    internet.host_certified("wrong.test", "other.test", served);
    let fetch = |options: &str, url: &str| {
        let options = format!("--insecure-options={options}");
        inside(&internet, &rkt, &[&options, "fetch", url])
    };
    fetch("image", "https://good.test/app.aci").expect(0);
    fetch("image", "http://good.test/app.aci").refused(&["plain HTTP", "--insecure-options=http"]);
    fetch("image,http", "http://good.test/app.aci").expect(0);
    fetch("image", "https://good.test/down.aci").refused(&["plain HTTP"]);
    fetch("image,http", "https://good.test/down.aci").expect(0);
    fetch("image", "https://good.test/circle.aci").refused(&["redirects more than"]);
    fetch("image,http", "https://good.test/file.aci").refused(&["no URL"]);
    fetch("image", "https://wrong.test/app.aci").refused(&["wrong.test", "ertificate"]);
    fetch("image,tls", "https://wrong.test/app.aci").expect(0);
    // Whose authority nobody knows.
    let mut command = internet.inside(&rkt.command(&["fetch", "https://good.test/app.aci"]));
    command.env_remove("SSL_CERT_FILE");
    Running::start(command)
        .finish()
        .refused(&["good.test", "ertificate"]);
    fetch("none", "https://good.test/app.aci").refused(&["signature"]);
}

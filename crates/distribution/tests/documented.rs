//! References and URIs, with the examples of the page "Distribution points".

use distribution::{Distribution, Location, Reference};

fn parse(text: &str) -> Reference {
    Reference::parse(text, |path| path == "here").unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn uri(text: &str) -> String {
    match parse(text) {
        Reference::Distribution(point) => point.to_uri(),
        Reference::Hash(text) | Reference::Digest(text) => text,
    }
}

#[test]
fn references_are_read_in_the_originals_order() {
    let library = "cimd:docker:v=0:registry-1.docker.io/library";
    for (text, expected) in [
        ("sha512-ab", "sha512-ab"),
        (
            "file:///x.aci",
            "cimd:aci-archive:v=0:file%3A%2F%2F%2Fx.aci",
        ),
        ("/x y", "cimd:aci-archive:v=0:file%3A%2F%2F%2Fx%2520y"),
        (
            "https://example.com/app.aci",
            "cimd:aci-archive:v=0:https%3A%2F%2Fexample.com%2Fapp.aci",
        ),
        ("example.com/a:v1", "cimd:appc:v=0:example.com/a?version=v1"),
        ("example.com/a", "cimd:appc:v=0:example.com/a"),
        (
            "coreos.com/etcd:v3.0.3,os=linux,arch=amd64",
            "cimd:appc:v=0:coreos.com/etcd?arch=amd64&os=linux&version=v3.0.3",
        ),
        ("docker://busybox", &format!("{library}/busybox:latest")),
        ("docker:///redis", &format!("{library}/redis:latest")),
        ("docker:busybox:1", &format!("{library}/busybox:1")),
        (
            "docker://docker.io/busybox",
            &format!("{library}/busybox:latest"),
        ),
        (
            "docker://localhost:5000/a/b:c",
            "cimd:docker:v=0:localhost:5000/a/b:c",
        ),
        ("oci:/a/b:v1", "cimd:oci-layout:v=0:%2Fa%2Fb%3Av1"),
        ("oci-archive:x.tar", "cimd:oci-archive:v=0:x.tar"),
        (
            "docker-archive:x.tar:docker.io/library/redis:7",
            "cimd:docker-archive:v=0:x.tar%3Adocker.io%2Flibrary%2Fredis%3A7",
        ),
        (
            "docker://quay.io/coreos/etcd",
            "cimd:docker:v=0:quay.io/coreos/etcd:latest",
        ),
    ] {
        assert_eq!(uri(text), expected, "{text}");
    }
    for path in ["./x", "here", "x.aci", "../x"] {
        let file = Distribution::AciArchive(Location::File(path.to_owned()));
        assert_eq!(parse(path), Reference::Distribution(file), "{path}");
    }
}

#[test]
fn uris_come_back_as_they_went() {
    let digest = "a59906e33509d14c036c8678d687bd4eec81ed7c4b8ce907b888c607f6a1e0e6";
    for uri in [
        "cimd:appc:v=0:coreos.com/etcd?arch=amd64&os=linux&version=v3.0.3",
        "cimd:appc:v=0:example.com/a?version=1%2B2%20%26",
        "cimd:aci-archive:v=0:file%3A%2F%2F%2Fabsolute%2Fpath%2Fto%2Ffile",
        "cimd:aci-archive:v=0:https%3A%2F%2Fexample.com%2Fapp.aci",
        "cimd:oci-layout:v=0:%2Fa%2Fb%3Av1",
        "cimd:docker-archive:v=0:x.tar",
        &format!("cimd:docker:v=0:registry-1.docker.io/library/busybox@sha256:{digest}"),
    ] {
        let point = Distribution::from_uri(uri).unwrap();
        assert_eq!(point.to_uri(), uri);
        assert_eq!(parse(uri), Reference::Distribution(point.clone()));
        let typed = point.to_string();
        assert_eq!(self::uri(&typed), uri, "{typed}");
    }
}

#[test]
fn what_means_nothing_is_refused() {
    let long = "a".repeat(9000);
    for text in [
        "",
        &long,
        "ftp://x",
        "https://",
        "file://relative",
        "https://x/a b",
        "cimd:",
        "cimd:appc",
        "cimd:appc:v=1:a",
        "cimd:appc:v=x:a",
        "cimd:appc:v=0:a?b",
        "cimd:appc:v=0:a?b=1&b=2",
        "cimd:oci:v=0:x",
        "cimd:oci-layout:v=0:",
        "oci:",
        "oci::v1",
        "oci-archive:x:",
        "docker://",
        "docker://Upper",
        "docker://a/../b",
        "docker://a:b:c",
        "docker://a@sha256:12",
        "UPPER",
    ] {
        assert!(Reference::parse(text, |_| false).is_err(), "{text:?}");
    }
}

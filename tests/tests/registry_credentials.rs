//! Who one is to a registry: passwords, identity tokens, and where they do not go.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::oci::Layout;
use e2e::server::{Reply, Server};
use e2e::{Registry, Rkt};
use serde_json::json;

use super::oci::script;
use super::registry::{OPEN, at, fetch, image, run};

#[test]
fn credentials_come_from_rkts_configuration_and_from_dockers() {
    let registry = Registry::with_password();
    let rkt = Rkt::new();
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo secret", &[]), "it");
    let login = ["--dest-creds=me:secret-word"];
    registry.push(&layout.reference("it"), "private:v1", &login);
    let image = registry.image("private:v1");
    let empty = rkt.path("home");
    fs::create_dir_all(empty.join(".docker")).unwrap();
    let with = |rkt: &Rkt| {
        let mut command = rkt.strict_command(&[OPEN, "fetch", &image]);
        command.env("HOME", &empty).env_remove("DOCKER_CONFIG");
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", empty.display()));
        e2e::Running::start(command).finish()
    };
    with(&rkt).refused(&[registry.authority(), "user and a password"]);
    // rkt's own.
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    let file = auth.join("docker.json");
    let write = |password: &str| {
        let text = json!({"rktKind": "dockerAuth", "rktVersion": "v1",
            "registries": [registry.authority()],
            "credentials": {"user": "me", "password": password}});
        fs::write(&file, text.to_string()).unwrap();
    };
    write("wrong");
    let refused = with(&rkt).refused(&["401"]);
    assert!(!refused.all().contains("wrong"));
    write("secret-word");
    with(&rkt).expect(0);
    // Docker's file.
    let rkt = Rkt::new();
    let config = empty.join(".docker/config.json");
    let encoded = "bWU6c2VjcmV0LXdvcmQ=";
    let text = json!({"auths": {registry.authority(): {"auth": encoded}}});
    fs::write(&config, text.to_string()).unwrap();
    with(&rkt).expect(0);
    // A helper.
    let rkt = Rkt::new();
    let text = json!({"credHelpers": {registry.authority(): "test"}});
    fs::write(&config, text.to_string()).unwrap();
    with(&rkt).refused(&["docker-credential-test"]);
    let helper = empty.join("docker-credential-test");
    let answer = r#"#!/bin/sh
read host
echo "{\"ServerURL\":\"$host\",\"Username\":\"me\",\"Secret\":\"secret-word\"}""#;
    fs::write(&helper, answer).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    with(&rkt).expect(0);
    // A helper for all registries.
    let rkt = Rkt::new();
    fs::write(&config, json!({"credsStore": "test"}).to_string()).unwrap();
    with(&rkt).expect(0);
    // rkt's own word goes first, even a wrong one.
    let rkt = Rkt::new();
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    fs::copy(&file, auth.join("docker.json")).unwrap();
    let wrong = fs::read_to_string(&file)
        .unwrap()
        .replace("secret-word", "wrong");
    fs::write(auth.join("docker.json"), wrong).unwrap();
    with(&rkt).refused(&["401"]);
    // Docker's file may be elsewhere.
    let rkt = Rkt::new();
    let elsewhere = rkt.path("docker");
    fs::create_dir(&elsewhere).unwrap();
    let text = json!({"auths": {registry.authority(): {"auth": encoded}}});
    fs::write(elsewhere.join("config.json"), text.to_string()).unwrap();
    let mut command = rkt.strict_command(&[OPEN, "fetch", &image]);
    command.env("DOCKER_CONFIG", &elsewhere).env_remove("HOME");
    e2e::Running::start(command).finish().expect(0);
}

/// A login that Docker keeps as a token buys the tokens of the registry.
#[test]
fn an_identity_token_buys_tokens() {
    let published = image().published();
    let tokens = Server::start(|request| {
        let body = request.body.replace("%5F", "_").replace("%2D", "-");
        let field = |text: &str| body.split('&').any(|f| f == text);
        match request.method == "POST"
            && field("grant_type=refresh_token")
            && field("refresh_token=long-lived")
        {
            true => Reply::ok(r#"{"access_token": "good-token"}"#),
            false => Reply::status(401),
        }
    });
    let realm = tokens.url("/token");
    let registry = Server::start(move |request| match request.header("authorization") {
        Some("Bearer good-token") => published.answer(request),
        _ => Reply::status(401).header(
            "www-authenticate",
            &format!(r#"Bearer realm="{realm}",service="reg""#),
        ),
    });
    let rkt = Rkt::new();
    let fetch = |token: &str| {
        let entry = json!({"auths": {registry.authority(): {"identitytoken": token}}});
        let config = rkt.path("docker");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("config.json"), entry.to_string()).unwrap();
        let mut command = rkt.strict_command(&[OPEN, "fetch", &at(&registry)]);
        command.env("DOCKER_CONFIG", &config);
        e2e::Running::start(command).finish()
    };
    let told = fetch("stale").refused(&["does not accept the credentials"]);
    assert!(!told.all().contains("stale"));
    fetch("long-lived").expect(0);
}

#[test]
fn tokens_are_got_where_the_registry_says() {
    let published = image().published();
    let tokens = Server::start(|request| {
        assert!(request.path.contains("service=reg"), "{}", request.path);
        assert!(request.path.contains("scope=repository%3Ait%3Apull"));
        Reply::ok(r#"{"access_token": "good-token"}"#)
    });
    let realm = tokens.url("/token?a=b");
    let answer = published.clone();
    let registry = Server::start(move |request| match request.header("authorization") {
        Some("Bearer good-token") => answer.answer(request),
        _ => Reply::status(401).header(
            "www-authenticate",
            &format!(r#"Bearer realm="{realm}",service="reg",scope="repository:it:pull""#),
        ),
    });
    let rkt = Rkt::new();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    assert_eq!(tokens.requests().len(), 1);
}

#[test]
fn tokens_that_open_nothing_end_the_fetch() {
    let tokens = Server::start(|_| Reply::ok(r#"{"token": "poor"}"#));
    let realm = tokens.url("/token");
    let challenge = format!(
        r#"Bearer realm="{realm}",scope="repository:other:pull",error="insufficient_scope""#
    );
    let registry =
        Server::start(move |_| Reply::status(401).header("www-authenticate", &challenge));
    let rkt = Rkt::new();
    fetch(&rkt, &at(&registry)).refused(&["token does not allow"]);
    // Two questions, not a loop.
    assert_eq!(registry.requests().len(), 2);
    let endless =
        Server::start(|_| Reply::status(401).header("www-authenticate", "Basic realm=\"x\""));
    fetch(&rkt, &at(&endless)).refused(&["user and a password"]);
}

#[test]
fn redirects_take_no_credentials_along() {
    let published = image().published();
    let answer = published.clone();
    let storage = Server::start(move |request| {
        assert_eq!(request.header("authorization"), None, "the secret leaked");
        answer.answer(request)
    });
    let elsewhere = storage.url("");
    let answer = published.clone();
    let registry = Server::start(move |request| match request.header("authorization") {
        None => Reply::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) if request.path.contains("/blobs/") => {
            Reply::status(307).header("location", &format!("{elsewhere}{}", request.path))
        }
        Some(_) => answer.answer(request),
    });
    let rkt = Rkt::new();
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    let text = json!({"rktKind": "dockerAuth", "rktVersion": "v1",
        "registries": [registry.authority()],
        "credentials": {"user": "me", "password": "word"}});
    fs::write(auth.join("docker.json"), text.to_string()).unwrap();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    assert!(!storage.requests().is_empty());
    let circle = Server::start(|r| Reply::status(302).header("location", &r.path));
    fetch(&rkt, &at(&circle)).refused(&["redirects more than"]);
}

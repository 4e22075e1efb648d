//! Proxies that the environment names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::server::{Reply, Server};
use e2e::{Internet, Rkt, Running, until};

use super::fetching::{OPEN, app, bytes};

/// A proxy that knows one host and port, and passes everything on to one server.
fn tunnel(host: &'static str, to: String) -> (String, Arc<AtomicUsize>) {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let used = Arc::new(AtomicUsize::new(0));
    let count = used.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            head.read_line(&mut first).unwrap();
            let mut line = String::new();
            while head.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            if !first.starts_with(&format!("CONNECT {host} ")) {
                continue;
            }
            count.fetch_add(1, Ordering::Relaxed);
            let mut back = stream.try_clone().unwrap();
            back.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .unwrap();
            let mut server = TcpStream::connect(&to).unwrap();
            let mut answers = server.try_clone().unwrap();
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || std::io::copy(&mut head, &mut server));
        }
    });
    (address, used)
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let rkt = Rkt::new();
    let image = bytes(&rkt, &app("example.com/app", "1"));
    let forwarded = image.clone();
    // Asked for the whole URL, and told nothing but that.
    let proxy = Server::start(move |request| match request.path.as_str() {
        "http://hidden.test/app.aci" if request.header("host") == Some("hidden.test") => {
            Reply::ok(forwarded.clone())
        }
        _ => Reply::status(400),
    });
    let used = || proxy.requests().len();
    let server = Server::start(move |_| Reply::ok(image.clone()));
    let fetch = |url: &str, variables: &[(&str, &str)]| {
        let mut command = rkt.strict_command(&[OPEN, "fetch", url]);
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "no_proxy",
            "NO_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        Running::start(command).finish()
    };
    let proxied = format!("http://{}", proxy.authority());
    fetch("http://hidden.test/app.aci", &[("http_proxy", &proxied)]).expect(0);
    assert_eq!(used(), 1);
    // Not for hosts that are excepted, nor for another scheme.
    let excepted = [
        ("HTTP_PROXY", proxied.as_str()),
        ("NO_PROXY", "127.0.0.1,a.test"),
    ];
    fetch(&server.url("/app.aci"), &excepted).expect(0);
    fetch(&server.url("/app.aci"), &[("https_proxy", &proxied)]).expect(0);
    assert_eq!(used(), 1);
    // This machine is never asked for by way of another; what is no proxy is told.
    fetch(&server.url("/app.aci"), &[("http_proxy", &proxied)]).expect(0);
    assert_eq!(used(), 1);
    let wrong = [("http_proxy", "gopher://me:secret@x:1")];
    let output = fetch("http://hidden.test/app.aci", &wrong).refused(&["http_proxy", "x:1"]);
    assert!(!output.all().contains("secret"));
}

/// What goes through a proxy to a secure server is for that server's eyes only.
#[test]
fn a_proxy_sees_no_more_than_the_hosts_name() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = bytes(&rkt, &app("example.com/app", "1"));
    internet.host("hidden.test", move |_| Reply::ok(image.clone()));
    let (address, used) = tunnel("hidden.test:443", internet.authority_of("hidden.test"));
    let proxied = format!("http://{address}");
    let fetch = |exceptions: &str| {
        let url = "https://hidden.test/app.aci";
        let mut command = internet.inside(&rkt.strict_command(&[OPEN, "fetch", url]));
        command
            .env("HTTPS_PROXY", &proxied)
            .env("NO_PROXY", exceptions);
        Running::start(command).finish()
    };
    fetch("").expect(0);
    assert_eq!(used.load(Ordering::Relaxed), 1);
    fetch("x.test,.test").expect(0);
    assert_eq!(used.load(Ordering::Relaxed), 1);
}

/// One as others run it: with a password, and with tunnels to secure servers only.
#[test]
fn tinyproxy_is_used_for_both_schemes() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = bytes(&rkt, &app("example.com/app", "1"));
    internet.host("hidden.test", move |_| Reply::ok(image.clone()));
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let config = rkt.path("tinyproxy.conf");
    let text = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nBasicAuth me secret\nConnectPort 443\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut proxy = std::process::Command::new("tinyproxy");
    proxy.arg("-d").arg("-c").arg(&config);
    // It knows the host; rkt, which does not, cannot go past it.
    let _proxy = Running::start(internet.inside(&proxy));
    until(Duration::from_secs(30), "the proxy to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let fetch = |url: &str, login: &str| {
        let mut command = rkt.strict_command(&[OPEN, "fetch", "--no-store", url]);
        let named = format!("http://{login}127.0.0.1:{port}");
        for name in ["http_proxy", "https_proxy"] {
            command.env(name, &named);
        }
        for name in ["no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.env("SSL_CERT_FILE", internet.authority());
        Running::start(command).finish()
    };
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://hidden.test/{scheme}.aci");
        fetch(&url, "").refused(&["407"]);
        fetch(&url, "me:secret@").expect(0);
    }
}

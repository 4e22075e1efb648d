//! For tests: servers that wear one out, and a client that is soon worn out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use crate::http::Patience;
use crate::{Client, Insecure};

/// A server with a large file whose version has a name. It sends so many bytes of it, one after the
/// other, and then waits, or closes the connection. Its address and port.
pub(crate) fn server(bytes: usize, pause: Duration, wait: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
                let mut stream = &stream;
                let head = "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 1000000\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..bytes {
                    if stream.write_all(b"x").is_err() {
                        return;
                    }
                    std::thread::sleep(pause);
                }
                if wait {
                    let _ = stream.read(&mut [0]);
                }
            });
        }
    });
    address
}

/// A client without patience, over plain HTTP.
pub(crate) fn client() -> Client {
    let patience = Patience {
        silence: Duration::from_millis(300),
        window: Duration::from_millis(300),
        least: 1000,
    };
    let insecure = Insecure {
        http: true,
        tls: false,
    };
    Client::with_patience(insecure, patience)
}

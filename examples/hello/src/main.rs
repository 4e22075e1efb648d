//! The getting-started guide's hello web server, in Rust and without a dependency:
//! every request on port 5000 is answered with `hello`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 5000))?;
    println!("listening on port 5000");
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(answer) {
            eprintln!("request failed: {error}");
        }
    }
    Ok(())
}

/// Reads one request's head, logs where it came from and answers it.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    println!("request from {}", stream.peer_addr()?);
    for line in BufReader::new(&stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n",
    )
}

//! A small HTTP server that answers as a test tells it to, also badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A question.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// What was posted.
    pub body: String,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte that a Range header asks for.
    pub fn range(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    endless: bool,
    stalls: bool,
    last: bool,
}

impl Reply {
    /// A good answer.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    /// Another answer.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether it has this status.
    pub fn is(&self, status: u16) -> bool {
        self.status == status
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Sends no more after so many bytes of the body, and keeps the connection.
    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self.stalls = true;
        self
    }

    /// Closes the connection when something else is asked on it, without saying so before.
    pub fn last(mut self) -> Self {
        self.last = true;
        self
    }

    /// Repeats the body until nobody listens.
    pub fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// The part of a file that was asked for, with the right status.
    pub fn part(bytes: &[u8], request: &Request) -> Self {
        match request.range() {
            Some(from) if from < bytes.len() => Self {
                status: 206,
                ..Self::ok(&bytes[from..])
            }
            .header(
                "content-range",
                &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()),
            ),
            Some(_) => Self::status(416),
            None => Self::ok(bytes),
        }
    }

    fn write(&self, mut to: impl Read + Write) -> std::io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} it\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.endless {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        to.write_all(head.as_bytes())?;
        if self.endless {
            loop {
                to.write_all(&self.body)?;
            }
        }
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        to.write_all(&self.body[..end])?;
        to.flush()?;
        if self.stalls {
            // Until the other end closes it, or the server's time is up.
            let _ = to.read(&mut [0]);
        }
        Ok(self.cut.is_none())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server; stops when dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    secure: bool,
}

impl Server {
    /// Starts one on a free port.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("127.0.0.1:0", None, answer)
    }

    /// Starts one at an address, with TLS if there is a certificate for it.
    pub fn listen(
        at: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener =
            TcpListener::bind(at).unwrap_or_else(|e| panic!("cannot listen at {at}: {e}"));
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            stop: Arc::default(),
            secure: tls.is_some(),
        };
        let answer: Arc<Handler> = Arc::new(answer);
        let (requests, stop) = (Arc::clone(&server.requests), Arc::clone(&server.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    let _ = stream.set_write_timeout(Some(Duration::from_secs(60)));
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => serve(stream, &*answer, &requests),
                        Some(config) => {
                            if let Ok(connection) = rustls::ServerConnection::new(config) {
                                let stream = rustls::StreamOwned::new(connection, stream);
                                serve(stream, &*answer, &requests);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.requests.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener notices with the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers on one connection until it is closed.
fn serve(stream: impl Read + Write, answer: &Handler, requests: &Mutex<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        requests.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        match reply.write(stream.get_mut()) {
            Ok(true) if !reply.last => {}
            Ok(true) => {
                let _ = stream.fill_buf();
                return;
            }
            _ => return,
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: String::new(),
    };
    let length: usize = request
        .header("content-length")
        .map_or(0, |l| l.parse().unwrap_or(0));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

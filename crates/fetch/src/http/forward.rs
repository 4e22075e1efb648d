//! Plain HTTP by way of a proxy: it is asked for whole URLs ("absolute-form", RFC 9112, section
//! 3.2.2). ureq opens a tunnel for every scheme, which ordinary proxies only allow to port 443.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::resolve::Names;

/// Leads every connection to the proxy.
#[derive(Debug)]
pub(super) struct ToProxy(pub(super) ureq::Proxy);

impl Resolver for ToProxy {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let proxy = &self.0;
        let place = format!("http://{}:{}", proxy.host(), proxy.port());
        let place = place.parse().map_err(|_| ureq::Error::HostNotFound)?;
        Names.resolve(&place, config, timeout)
    }
}

/// Makes the connections to the proxy ask as it expects.
#[derive(Debug)]
pub(super) struct Forwarded(pub(super) ureq::Proxy);

impl<In: Transport> Connector<In> for Forwarded {
    type Out = Forwarding<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let authority = details.uri.authority().ok_or(ureq::Error::HostNotFound)?;
        let login = match (self.0.username(), self.0.password()) {
            (None, None) => String::new(),
            (user, password) => {
                let login = [user, password].map(Option::unwrap_or_default).join(":");
                let login = BASE64_STANDARD.encode(login);
                format!("Proxy-Authorization: Basic {login}\r\n")
            }
        };
        Ok(chained.map(|inner| Forwarding {
            inner,
            server: format!("http://{authority}"),
            login,
            begins: true,
        }))
    }
}

/// A connection to the proxy for the requests to one server.
pub(super) struct Forwarding<In> {
    inner: In,
    server: String,
    login: String,
    /// What is sent next is the head of a request.
    begins: bool,
}

// The login is nobody's to read.
impl<In> std::fmt::Debug for Forwarding<In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Forwarding({:?})", self.server)
    }
}

impl<In: Transport> Transport for Forwarding<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if !std::mem::take(&mut self.begins) {
            return self.inner.transmit_output(amount, timeout);
        }
        let head = whole(
            &self.inner.buffers().output()[..amount],
            &self.server,
            &self.login,
        );
        let mut rest = head.as_slice();
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let part = rest.len().min(output.len());
            output[..part].copy_from_slice(&rest[..part]);
            self.inner.transmit_output(part, timeout)?;
            rest = &rest[part..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // The connection may serve another request when this one is answered.
        self.begins = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// The head of a request with the server in its first line, and the login after that.
fn whole(head: &[u8], server: &str, login: &str) -> Vec<u8> {
    let path = head.iter().position(|b| *b == b' ').map_or(0, |at| at + 1);
    let line = head.windows(2).position(|two| two == b"\r\n");
    let line = line.map_or(head.len(), |at| at + 2).max(path);
    let parts = [
        &head[..path],
        server.as_bytes(),
        &head[path..line],
        login.as_bytes(),
        &head[line..],
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_names_its_server() {
        let head = b"GET /a?b=c d HTTP/1.1\r\nhost: x\r\n\r\n";
        let whole = whole(head, "http://x:81", "Proxy-Authorization: Basic bQ==\r\n");
        let expected = "GET http://x:81/a?b=c d HTTP/1.1\r\nProxy-Authorization: Basic bQ==\r\nhost: x\r\n\r\n";
        assert_eq!(String::from_utf8(whole).unwrap(), expected);
    }
}

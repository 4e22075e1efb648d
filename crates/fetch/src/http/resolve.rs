//! Names of hosts: numbers, `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
//!
//! libc is not asked: linked statically, it would load the machine's own name service modules, which
//! belong to another libc.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Addresses that are tried.
const ADDRESSES: usize = 8;
/// Bytes of a file that is read.
const FILE: u64 = 4 << 20;

/// Looks names up.
#[derive(Debug)]
pub(super) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut found = self.empty();
        for address in addresses(host).into_iter().take(ADDRESSES) {
            found.push(SocketAddr::new(address, port));
        }
        match found.is_empty() {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(found),
        }
    }
}

fn addresses(host: &str) -> Vec<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return vec![address];
    }
    let found = in_hosts(&file("/etc/hosts"), host);
    if !found.is_empty() {
        return found;
    }
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let settings = resolv_conf::Config::parse(file("/etc/resolv.conf").as_bytes());
    settings.map_or_else(|_| Vec::new(), |settings| ask_servers(&settings, host))
}

fn file(path: &str) -> String {
    let mut text = String::new();
    let read = std::fs::File::open(path).map(|f| f.take(FILE).read_to_string(&mut text));
    // A missing or odd file is an empty one.
    drop(read);
    text
}

fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let lines = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default());
    let fitting = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then_some(address)
    });
    fitting.collect()
}

/// The host itself, then below each domain that is searched, where it has few enough dots.
fn ask_servers(settings: &resolv_conf::Config, host: &str) -> Vec<IpAddr> {
    let whole = host.trim_end_matches('.');
    let dots = whole.matches('.').count();
    let mut names = vec![whole.to_owned()];
    if !host.ends_with('.') {
        let search = settings.get_last_search_or_domain();
        let below = search.map(|domain| format!("{whole}.{domain}"));
        match dots >= settings.ndots as usize {
            true => names.extend(below),
            false => names = below.chain(names).collect(),
        }
    }
    for name in names {
        let mut found = ask_all(settings, &name, TYPE::A);
        found.extend(ask_all(settings, &name, TYPE::AAAA));
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Asks one server after the other until one knows.
fn ask_all(settings: &resolv_conf::Config, name: &str, kind: TYPE) -> Vec<IpAddr> {
    let patience = Duration::from_secs(u64::from(settings.timeout.clamp(1, 10)));
    for _ in 0..settings.attempts.clamp(1, 3) {
        for server in &settings.nameservers {
            let server = SocketAddr::new(server.into(), 53);
            if let Some(found) = ask(server, name, kind, patience) {
                return found;
            }
        }
    }
    Vec::new()
}

/// One question to one server; `None` if it does not answer it.
fn ask(server: SocketAddr, name: &str, kind: TYPE, patience: Duration) -> Option<Vec<IpAddr>> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).ok()?;
    let id = u16::from_ne_bytes(id);
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let asked = Name::new(name).ok()?;
    let question = Question::new(asked, QTYPE::TYPE(kind), CLASS::IN.into(), false);
    query.questions.push(question);
    let query = query.build_bytes_vec().ok()?;
    let answer = datagram(server, &query, id, patience)?;
    let truncated = Packet::parse(&answer)
        .ok()?
        .has_flags(PacketFlag::TRUNCATION);
    let answer = match truncated {
        true => stream(server, &query, patience)?,
        false => answer,
    };
    let answer = Packet::parse(&answer).ok()?;
    match answer.rcode() {
        _ if answer.id() != id => None,
        RCODE::NoError => Some(answer.answers.iter().filter_map(address).collect()),
        RCODE::NameError => Some(Vec::new()),
        _ => None,
    }
}

fn address(record: &simple_dns::ResourceRecord<'_>) -> Option<IpAddr> {
    match &record.rdata {
        RData::A(a) => Some(Ipv4Addr::from(a.address).into()),
        RData::AAAA(a) => Some(Ipv6Addr::from(a.address).into()),
        _ => None,
    }
}

fn datagram(server: SocketAddr, query: &[u8], id: u16, patience: Duration) -> Option<Vec<u8>> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).ok()?;
    // Connected, so that only the server is heard.
    socket.connect(server).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.send(query).ok()?;
    let mut buffer = vec![0; 4096];
    for _ in 0..4 {
        let length = socket.recv(&mut buffer).ok()?;
        if length > 12 && buffer[..2] == id.to_be_bytes() {
            buffer.truncate(length);
            return Some(buffer);
        }
    }
    None
}

fn stream(server: SocketAddr, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let length = u16::try_from(query.len()).ok()?;
    stream.write_all(&length.to_be_bytes()).ok()?;
    stream.write_all(query).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_hosts_file() {
        let text = "127.0.0.1 localhost # here\n10.1.2.3  A.example a\n::1 a.example\nnonsense a\n";
        let found = in_hosts(text, "a.example");
        assert_eq!(
            found,
            [
                "10.1.2.3".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert!(in_hosts(text, "here").is_empty());
        assert_eq!(addresses("[::1]"), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }

    #[test]
    fn a_server_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            let query = Packet::parse(&buffer[..length]).unwrap();
            let mut reply = Packet::new_reply(query.id());
            let data = RData::A(simple_dns::rdata::A {
                address: 0x0a01_0203,
            });
            let name = query.questions[0].qname.clone();
            let record = simple_dns::ResourceRecord::new(name, CLASS::IN, 5, data);
            reply.answers.push(record);
            server
                .send_to(&reply.build_bytes_vec().unwrap(), from)
                .unwrap();
        });
        let found = ask(place, "a.example", TYPE::A, Duration::from_secs(30)).unwrap();
        thread.join().unwrap();
        assert_eq!(found, ["10.1.2.3".parse::<IpAddr>().unwrap()]);
    }
}

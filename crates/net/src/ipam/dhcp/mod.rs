//! `dhcp`: an address from a server of the network. A client of our own, without a daemon: the
//! pod's main process renews the lease for as long as the pod lives, and gives it back.

mod client;
mod keeper;
mod message;
mod offer;
mod record;

use std::net::Ipv4Addr;

pub use keeper::Keeper;
pub(crate) use record::{Record, forget, leases};

use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, IFF_UP};
use client::Client;
use message::option;

/// The configuration (reference plugin's `request` and `provide`).
#[derive(Debug)]
pub(crate) struct Dhcp {
    wanted: Vec<u8>,
    told: Vec<(u8, Told)>,
}

/// The value of an option that the server is told.
#[derive(Debug)]
enum Told {
    Text(String),
    /// A network argument of the user's.
    Argument(String),
}

/// What is asked for unless the configuration says otherwise.
const USUAL: [u8; 9] = [
    option::MASK,
    option::ROUTERS,
    option::DNS,
    option::DOMAIN,
    option::STATIC_ROUTES,
    option::SEARCH,
    option::CLASSLESS_ROUTES,
    option::T1,
    option::T2,
];

/// Options by name, as the reference plugin takes them beside numbers.
const NAMES: [(&str, u8); 10] = [
    ("subnet-mask", 1),
    ("routers", 3),
    ("domain-name-servers", 6),
    ("host-name", 12),
    ("domain-name", 15),
    ("interface-mtu", 26),
    ("static-routes", 33),
    ("vendor-class-identifier", 60),
    ("user-class", 77),
    ("classless-static-routes", 121),
];

impl Dhcp {
    /// Reads `request` and `provide`; `daemonSocketPath` and `priority` have nothing to say here.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let mut wanted = USUAL.to_vec();
        for entry in fields.objects("request")? {
            if entry.flag("skipDefault")? {
                wanted.retain(|code| !USUAL.contains(code));
            }
            if entry.value("option").is_some() {
                wanted.push(code(&entry)?);
            }
        }
        wanted.dedup();
        let mut told = Vec::new();
        for entry in fields.objects("provide")? {
            let text = |field: &str| -> Result<Option<String>> {
                Ok(entry
                    .text(field)?
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned))
            };
            let value = match (text("value")?, text("fromArg")?) {
                (Some(value), _) if value.len() > 255 => {
                    return Err(entry.error("value", "is longer than 255 bytes"));
                }
                (Some(value), None) => Told::Text(value),
                (None, Some(name)) => Told::Argument(name),
                _ => return Err(entry.error("value", "or fromArg must be there, and not both")),
            };
            told.push((code(&entry)?, value));
        }
        Ok(Self { wanted, told })
    }

    fn client(&self, at: &Attachment<'_>, mac: [u8; 6]) -> Client {
        let told = self.told.iter().filter_map(|(code, value)| {
            let text = match value {
                Told::Text(text) => text.as_str(),
                Told::Argument(name) => at.arg(name)?,
            };
            Some((*code, text.as_bytes().to_vec()))
        });
        // Type 0, "not a hardware address", and who it is, as the reference plugin has it.
        let id = format!("\0{}/{}/{}", at.container, at.network.name, at.ifname);
        let hint = at.arg("IP").and_then(|text| text.parse::<Ipv4Addr>().ok());
        Client {
            mac,
            id: id.bytes().take(254).collect(),
            wanted: self.wanted.clone(),
            told: told.collect(),
            hint,
        }
    }

    /// Gets an address over the pod's interface, which is there and up.
    pub(crate) fn allocate(&self, at: &mut Attachment<'_>) -> Result<CniResult> {
        bring_up(at)?;
        let (socket, mac) = open(at)?;
        let client = self.client(at, mac);
        let path = record::path(at);
        let mut written = None;
        let answered = client.acquire(&socket, |(offer, server_mac)| {
            let address = offer::address(offer).ok_or("the offer has no address")?;
            let record = Record {
                container: at.container.to_owned(),
                interface: at.ifname.to_owned(),
                address,
                server: offer
                    .address(option::SERVER_ID)
                    .unwrap_or(Ipv4Addr::UNSPECIFIED),
                server_mac: *server_mac,
                mac,
                client_id: client.id.clone(),
                result: CniResult::default(),
                times: None,
            };
            // First of all: who cleans up after a kill must find what there may be.
            record.write(&path).map_err(|error| error.to_string())?;
            written = Some(record);
            Ok(())
        });
        let failed = |problem: String| Error::Address {
            network: at.network.name.clone(),
            problem,
        };
        let (message, _) = match answered {
            Ok(answered) => answered,
            Err(problem) => {
                record::remove(&path)?;
                return Err(failed(problem));
            }
        };
        let no_address = || failed("the DHCP server gave no address that can be used".to_owned());
        let mut record = written.ok_or_else(no_address)?;
        record.address = offer::address(&message).ok_or_else(no_address)?;
        let result = offer::result(&message, record.address);
        record.result = result.clone();
        record.times = Some(keeper::given(&message));
        record.write(&path)?;
        let netns = at.need_netns()?.try_clone_to_owned();
        let netns = netns.map_err(Error::io("keep", at.netns_path))?;
        let keeper = Keeper::resumed(netns, client, (record, path));
        at.kernel.keepers.push(keeper);
        Ok(result)
    }

    /// The keeper of a lease that another process got.
    pub(crate) fn resume(&self, at: &Attachment<'_>) -> Result<Keeper> {
        let path = record::path(at);
        let record = record::read(&path)?;
        let record = record.ok_or_else(|| at.error("dhcp", "there is no lease to keep"))?;
        let netns = at.need_netns()?.try_clone_to_owned();
        let netns = netns.map_err(Error::io("keep", at.netns_path))?;
        let client = self.client(at, record.mac);
        Ok(Keeper::resumed(netns, client, (record, path)))
    }

    /// The lease that is still to be given back, where one is written down.
    pub(crate) fn owed(at: &Attachment<'_>) -> Result<Option<Record>> {
        record::read(&record::path(at))
    }

    /// Gives the lease back over the pod's interface, where that is still there, and forgets it.
    pub(crate) fn release(at: &mut Attachment<'_>) -> Result<()> {
        let path = record::path(at);
        if let (Some(record), Some(_)) = (record::read(&path)?, at.netns) {
            send_release(at, &record, false);
        }
        record::remove(&path)
    }
}

/// Tells the server over the attachment's interface. Where nobody hears it, the lease ends by
/// itself.
pub(crate) fn send_release(at: &mut Attachment<'_>, record: &Record, new_link: bool) {
    if let Ok((socket, _)) = open(at) {
        client::release(&socket, record, new_link);
    }
}

/// Network types of others leave the interface down until there is an address; a socket that was
/// opened then would not send.
fn bring_up(at: &mut Attachment<'_>) -> Result<()> {
    let name = at.ifname.to_owned();
    let link = at.pod()?.need_link(&name)?;
    let mut changes = Changes::new();
    if link.flags & IFF_UP == 0 {
        changes.link_up(link.index);
    }
    at.pod()?.apply(changes)
}

/// A socket on the pod's interface, and the interface's hardware address.
fn open(at: &mut Attachment<'_>) -> Result<(sandbox::packet::PacketSocket, [u8; 6])> {
    let name = at.ifname.to_owned();
    let link = at.pod()?.need_link(&name)?;
    let mac = link.mac.as_deref().and_then(crate::mac::parse);
    let mac = mac.ok_or_else(|| at.error("dhcp", format!("{name} has no hardware address")))?;
    let netns = at.need_netns()?;
    let socket = sandbox::netns::within(netns, || client::open(link.index));
    let failed = || crate::rtnl::kernel(format!("open a packet socket on {name}"));
    Ok((socket.map_err(failed())?.map_err(failed())?, mac))
}

/// The number of the option that an entry names.
fn code(entry: &Fields<'_>) -> Result<u8> {
    let text = entry.need_text("option")?;
    let named = NAMES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, code)| *code);
    let code = named.or_else(|| text.parse().ok().filter(|code| (1..255).contains(code)));
    code.ok_or_else(|| entry.error("option", format!("{text:?} is no option of DHCP")))
}

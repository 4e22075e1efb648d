//! Traffic control: token buckets, and sending what comes in through another interface.

use super::Changes;
use crate::netlink::Batch;

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

const ROOT: u32 = 0xffff_ffff;
const INGRESS: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;

const ETH_P_ALL: u16 = 3;

/// The kernel counts packets' times in ticks of 64 ns (`PSCHED_SHIFT` is 6).
const TICK_NANOSECONDS: u64 = 64;

/// `tcmsg`.
fn header(link: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[4..8].copy_from_slice(&link.to_ne_bytes());
    bytes[8..12].copy_from_slice(&handle.to_ne_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes[16..20].copy_from_slice(&info.to_ne_bytes());
    bytes
}

impl Changes {
    /// Limits what an interface sends to `rate` bits a second after a burst of `burst` bits.
    pub(crate) fn token_bucket(&mut self, link: u32, rate: u64, burst: u64) -> &mut Self {
        let what = || format!("limit network interface {link} to {rate} bit/s");
        let flags = crate::netlink::flag::CREATE | crate::netlink::flag::REPLACE;
        self.add(
            what,
            RTM_NEWQDISC,
            flags,
            &header(link, 0x1_0000, ROOT, 0),
            |m| {
                m.text(TCA_KIND, "tbf")
                    .nest(TCA_OPTIONS, |m| bucket(m, rate / 8, burst / 8));
            },
        )
    }

    /// Sends everything that an interface receives out through another.
    pub(crate) fn redirect_incoming(&mut self, link: u32, to: u32) -> &mut Self {
        let flags = crate::netlink::flag::CREATE | crate::netlink::flag::EXCL;
        let what = || format!("watch what network interface {link} receives");
        self.add(
            what,
            RTM_NEWQDISC,
            flags,
            &header(link, INGRESS_HANDLE, INGRESS, 0),
            |m| {
                m.text(TCA_KIND, "ingress").nest(TCA_OPTIONS, |_| {});
            },
        );
        let what = || format!("redirect what network interface {link} receives");
        let info = 1 << 16 | u32::from(ETH_P_ALL.to_be());
        self.add(
            what,
            RTM_NEWTFILTER,
            flags,
            &header(link, 0, INGRESS_HANDLE, info),
            |m| {
                m.text(TCA_KIND, "u32")
                    .nest(TCA_OPTIONS, |m| match_all_and_redirect(m, to));
            },
        )
    }
}

fn bucket(m: &mut Batch, rate: u64, burst: u64) {
    let rate = rate.max(1);
    let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    // Packets may wait 25 ms for their turn, as with the reference plugin.
    let limit = short(rate.saturating_mul(25) / 1000 + burst);
    let buffer = short(burst.saturating_mul(1_000_000_000) / rate / TICK_NANOSECONDS);
    // tc_tbf_qopt: rate and peak rate (12 bytes each: cell_log, linklayer, overhead, cell_align,
    // mpu, rate), limit, buffer, mtu.
    let mut parms = [0; 36];
    parms[1] = 1; // Ethernet
    parms[8..12].copy_from_slice(&short(rate).to_ne_bytes());
    parms[24..28].copy_from_slice(&limit.to_ne_bytes());
    parms[28..32].copy_from_slice(&buffer.to_ne_bytes());
    m.attr(TCA_TBF_PARMS, &parms);
    m.u32(TCA_TBF_BURST, short(burst));
    if rate > u64::from(u32::MAX) {
        m.attr(TCA_TBF_RATE64, &rate.to_ne_bytes());
    }
}

fn match_all_and_redirect(m: &mut Batch, to: u32) {
    const TCA_U32_SEL: u16 = 5;
    const TCA_U32_ACT: u16 = 7;
    const TC_U32_TERMINAL: u8 = 1;
    const TC_ACT_STOLEN: u32 = 4;
    const TCA_EGRESS_REDIR: u32 = 1;
    // tc_u32_sel with one key of mask 0, which every packet has.
    let mut selector = [0; 32];
    selector[0] = TC_U32_TERMINAL;
    selector[2] = 1;
    m.attr(TCA_U32_SEL, &selector);
    // tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
    let mut mirred = [0; 28];
    mirred[8..12].copy_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
    mirred[20..24].copy_from_slice(&TCA_EGRESS_REDIR.to_ne_bytes());
    mirred[24..28].copy_from_slice(&to.to_ne_bytes());
    m.nest(TCA_U32_ACT, |m| {
        m.nest(1, |m| {
            m.text(1, "mirred").nest(2, |m| {
                m.attr(2, &mirred);
            });
        });
    });
}

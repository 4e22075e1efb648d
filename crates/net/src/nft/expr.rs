//! The expressions of a rule, as nf_tables' virtual machine executes them.

use crate::netlink::Batch;

const LIST_ELEM: u16 = 1;

/// The verdict register and two of the 4-byte registers; each expression may use those that
/// follow for longer values.
pub(crate) const VERDICT: u32 = 0;
pub(crate) const REG: u32 = 8;

/// `NFT_RETURN`.
pub(crate) const RETURN: i32 = -5;
/// `NFT_JUMP`.
pub(crate) const JUMP: i32 = -3;

/// `NF_DROP`.
pub(crate) const DROP: i32 = 0;

pub(crate) const META_IIFNAME: u32 = 6;
pub(crate) const META_L4PROTO: u32 = 16;

/// Where a payload expression counts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// Writes the expressions of one rule.
pub(crate) struct Rule<'a> {
    batch: &'a mut Batch,
}

/// The expression list of a rule.
pub(crate) fn rule(batch: &mut Batch, fill: impl FnOnce(&mut Rule<'_>)) {
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    batch.nest(NFTA_RULE_EXPRESSIONS, |batch| fill(&mut Rule { batch }));
}

/// Data that is a value.
pub(crate) fn value(batch: &mut Batch, kind: u16, bytes: &[u8]) {
    batch.nest(kind, |m| {
        m.attr(1, bytes);
    });
}

/// Data that is a verdict, with the chain to jump to.
pub(crate) fn verdict(batch: &mut Batch, kind: u16, code: i32, chain: Option<&str>) {
    batch.nest(kind, |m| {
        m.nest(2, |m| {
            m.attr(1, &code.to_be_bytes());
            if let Some(chain) = chain {
                m.text(2, chain);
            }
        });
    });
}

impl Rule<'_> {
    fn expr(&mut self, name: &str, fill: impl FnOnce(&mut Batch)) -> &mut Self {
        self.batch.nest(LIST_ELEM, |m| {
            m.text(1, name);
            m.nest(2, fill);
        });
        self
    }

    /// Loads packet metadata.
    pub(crate) fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expr("meta", |m| {
            m.be32(1, register).be32(2, key);
        })
    }

    /// Loads bytes of the packet.
    pub(crate) fn payload(
        &mut self,
        base: Base,
        offset: u32,
        length: u32,
        register: u32,
    ) -> &mut Self {
        self.expr("payload", |m| {
            m.be32(1, register)
                .be32(2, base as u32)
                .be32(3, offset)
                .be32(4, length);
        })
    }

    /// Goes on only if the register equals the bytes.
    pub(crate) fn equal(&mut self, register: u32, bytes: &[u8]) -> &mut Self {
        self.compare(register, 0, bytes)
    }

    /// Goes on only if the register differs from the bytes.
    pub(crate) fn differs(&mut self, register: u32, bytes: &[u8]) -> &mut Self {
        self.compare(register, 1, bytes)
    }

    fn compare(&mut self, register: u32, operation: u32, bytes: &[u8]) -> &mut Self {
        self.expr("cmp", |m| {
            m.be32(1, register).be32(2, operation);
            value(m, 3, bytes);
        })
    }

    /// Masks a register.
    pub(crate) fn mask(&mut self, register: u32, mask: &[u8]) -> &mut Self {
        let length = u32::try_from(mask.len()).unwrap_or_default();
        self.expr("bitwise", |m| {
            m.be32(1, register).be32(2, register).be32(3, length);
            value(m, 4, mask);
            value(m, 5, &vec![0; mask.len()]);
        })
    }

    /// Goes on only if the destination is one of this machine's own addresses.
    pub(crate) fn for_this_host(&mut self) -> &mut Self {
        const ADDRTYPE: u32 = 3;
        const DADDR: u32 = 2;
        const RTN_LOCAL: u32 = 2;
        self.expr("fib", |m| {
            m.be32(1, REG).be32(2, ADDRTYPE).be32(3, DADDR);
        });
        self.equal(REG, &RTN_LOCAL.to_ne_bytes())
    }

    /// Goes on only if the connection's destination was rewritten.
    pub(crate) fn forwarded(&mut self) -> &mut Self {
        const STATUS: u32 = 2;
        const IPS_DST_NAT: u32 = 0x20;
        self.expr("ct", |m| {
            m.be32(1, REG).be32(2, STATUS);
        });
        self.mask(REG, &IPS_DST_NAT.to_ne_bytes())
            .differs(REG, &[0; 4])
    }

    /// Looks the value from register `key` on up in a map; goes on only if it is there, with
    /// what it maps to from register `to` on (or done, if that is a verdict).
    pub(crate) fn lookup(&mut self, map: &str, key: u32, to: u32) -> &mut Self {
        self.expr("lookup", |m| {
            m.text(1, map).be32(2, key).be32(3, to);
        })
    }

    /// Goes on only if the value from register `key` on is in a set.
    pub(crate) fn member(&mut self, set: &str, key: u32) -> &mut Self {
        self.expr("lookup", |m| {
            m.text(1, set).be32(2, key);
        })
    }

    /// Rewrites the destination to the address and port in two registers.
    pub(crate) fn dnat(&mut self, version: u8, address: u32, port: u32) -> &mut Self {
        let family = if version == 4 { 2 } else { 10 };
        self.expr("nat", |m| {
            m.be32(1, 1).be32(2, family).be32(3, address).be32(5, port);
        })
    }

    /// Rewrites the source to the outgoing link's address.
    pub(crate) fn masquerade(&mut self) -> &mut Self {
        self.expr("masq", |_| {})
    }

    /// Ends with a verdict.
    pub(crate) fn end(&mut self, code: i32, chain: Option<&str>) -> &mut Self {
        self.expr("immediate", |m| {
            m.be32(1, VERDICT);
            verdict(m, 2, code, chain);
        })
    }
}

//! The expressions that rules are made of. nft(8) calls them statements and expressions; `nft --debug=netlink` shows them.

use super::attribute::Attributes;

/// Registers by number (linux/netfilter/nf_tables.h). Values longer than four bytes take the following ones too.
pub mod register {
    /// The first 16-byte register; overlays [`PART_0`] and the three behind it.
    pub const FIRST: u32 = 1;
    /// The second 16-byte register.
    pub const SECOND: u32 = 2;
    /// The first of sixteen 4-byte registers, for concatenated keys.
    pub const PART_0: u32 = 8;
    pub(super) const VERDICT: u32 = 0;
}

/// Bits of [`Expression::DestinationNat`] and its like that say what is translated (linux/netfilter/nf_nat.h).
pub mod nat_flags {
    /// The address, NF_NAT_RANGE_MAP_IPS.
    pub const ADDRESS: u32 = 1;
    /// The port, NF_NAT_RANGE_PROTO_SPECIFIED.
    pub const PORT: u32 = 2;
}

/// What `meta` can load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// Name of the interface the packet came in by, 16 bytes.
    InputInterfaceName = 6,
    /// Name of the interface it leaves by, 16 bytes.
    OutputInterfaceName = 7,
    /// Hardware type (ARPHRD_…) of the interface the packet came in by, 2 bytes in host order.
    InputInterfaceType = 8,
    /// Address family, 1 byte.
    Protocol = 15,
    /// Transport protocol number, 1 byte.
    TransportProtocol = 16,
}

/// What `ct` can load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The state bits, 4 bytes in host order.
    State = 0,
    /// The status bits (IPS_…), 4 bytes in host order.
    Status = 2,
}

/// How `cmp` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal = 0,
    /// `!=`
    NotEqual = 1,
    /// `<=`
    AtMost = 3,
    /// `>=`
    AtLeast = 5,
}

/// What a payload offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    /// The Ethernet header.
    Link = 0,
    /// The IP header.
    Network = 1,
    /// The TCP, UDP or ICMP header.
    Transport = 2,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ends this hook's chain: the packet goes on.
    Accept,
    /// Ends everything: the packet is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// On in the named chain, and back here after it.
    Jump(String),
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads a property of the packet into a register.
    Meta {
        /// Which property.
        key: Meta,
        /// Where to.
        to: u32,
    },
    /// Loads a property of the connection into a register.
    Connection {
        /// Which property.
        key: Connection,
        /// Where to.
        to: u32,
    },
    /// Loads bytes of the packet into a register.
    Payload {
        /// Counted from where.
        base: PayloadBase,
        /// Bytes behind the base.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// Where to.
        to: u32,
    },
    /// Masks a register in place.
    Mask {
        /// Which register.
        register: u32,
        /// The bits that stay.
        mask: Vec<u8>,
    },
    /// Ends the rule unless the register compares so.
    Compare {
        /// Which register.
        from: u32,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Vec<u8>,
    },
    /// Ends the rule unless the register's value is in the set (or, inverted, is not).
    Lookup {
        /// The set's name, in the same table.
        set: String,
        /// The key.
        from: u32,
        /// For "is not in".
        inverted: bool,
    },
    /// Looks the register's value up in a map and loads what it leads to; ends the rule where there is nothing.
    Map {
        /// The map's name, in the same table.
        map: String,
        /// The key.
        from: u32,
        /// Where to.
        to: u32,
    },
    /// The same, but only an address of the interface that the packet came in by counts as local.
    DestinationKindHere {
        /// Where to.
        to: u32,
    },
    /// Loads what kind of address the packet's destination is (RTN_… of linux/rtnetlink.h), 4 bytes in host order.
    DestinationKind {
        /// Where to.
        to: u32,
    },
    /// Looks the register's value up in a map whose data is verdicts, and acts on what it finds.
    VerdictMap {
        /// The map's name, in the same table.
        map: String,
        /// The key.
        from: u32,
    },
    /// Puts a constant into a register.
    Constant {
        /// Which register.
        to: u32,
        /// The value.
        value: Vec<u8>,
    },
    /// Loads whether a socket of this machine with IP_TRANSPARENT is meant, 1 byte. Ends the rule where there is no socket.
    TransparentSocket {
        /// Where to.
        to: u32,
    },
    /// Marks the packet with the register's value, 4 bytes in host order.
    SetMark {
        /// Which register.
        from: u32,
    },
    /// Counts packets and bytes.
    Counter,
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Translates the destination of an IPv4 connection.
    DestinationNat {
        /// The register that holds the new address.
        address: u32,
        /// The register that holds the new port.
        port: u32,
    },
    /// Translates the destination of an IPv6 connection.
    DestinationNatIpv6 {
        /// The register that holds the new address.
        address: u32,
        /// The register that holds the new port.
        port: u32,
    },
    /// Translates an IPv4 address and no port.
    NatAddress {
        /// The source's rather than the destination's.
        is_source: bool,
        /// The register that holds the new address.
        address: u32,
    },
    /// Translates the source to the address of the interface that the packet leaves by.
    Masquerade,
}

impl Expression {
    /// Encodes as an element of an expression list.
    pub(super) fn encode(&self, list: &mut Attributes) {
        match self {
            Self::Meta { key, to } => expression(list, "meta", |data| {
                data.u32(1, *to).u32(2, *key as u32);
            }),
            Self::Connection { key, to } => expression(list, "ct", |data| {
                data.u32(1, *to).u32(2, *key as u32);
            }),
            Self::Payload { base, offset, length, to } => expression(list, "payload", |data| {
                data.u32(1, *to).u32(2, *base as u32).u32(3, *offset).u32(4, *length);
            }),
            Self::Mask { register, mask } => expression(list, "bitwise", |data| {
                data.u32(1, *register).u32(2, *register).u32(3, mask.len() as u32);
                value(data, 4, mask);
                value(data, 5, &vec![0; mask.len()]);
            }),
            Self::Compare { from, comparison, value: with } => expression(list, "cmp", |data| {
                data.u32(1, *from).u32(2, *comparison as u32);
                value(data, 3, with);
            }),
            Self::Lookup { set, from, inverted } => expression(list, "lookup", |data| {
                data.text(1, set).u32(2, *from);
                if *inverted {
                    data.u32(5, 1);
                }
            }),
            Self::Map { map, from, to } => expression(list, "lookup", |data| {
                data.text(1, map).u32(2, *from).u32(3, *to);
            }),
            Self::DestinationKind { to } => expression(list, "fib", |data| {
                const ADDRESS_TYPE: u32 = 3;
                const DESTINATION_ADDRESS: u32 = 1 << 1;
                data.u32(1, *to).u32(2, ADDRESS_TYPE).u32(3, DESTINATION_ADDRESS);
            }),
            Self::DestinationKindHere { to } => expression(list, "fib", |data| {
                const ADDRESS_TYPE: u32 = 3;
                const DESTINATION_ADDRESS: u32 = 1 << 1;
                const INPUT_INTERFACE: u32 = 1 << 3;
                data.u32(1, *to).u32(2, ADDRESS_TYPE).u32(3, DESTINATION_ADDRESS | INPUT_INTERFACE);
            }),
            Self::VerdictMap { map, from } => expression(list, "lookup", |data| {
                data.text(1, map).u32(2, *from).u32(3, register::VERDICT);
            }),
            Self::Constant { to, value: constant } => expression(list, "immediate", |data| {
                data.u32(1, *to);
                value(data, 2, constant);
            }),
            Self::TransparentSocket { to } => expression(list, "socket", |data| {
                // NFTA_SOCKET_KEY, of which NFT_SOCKET_TRANSPARENT is the first; NFTA_SOCKET_DREG.
                const TRANSPARENT: u32 = 0;
                data.u32(1, TRANSPARENT).u32(2, *to);
            }),
            Self::SetMark { from } => expression(list, "meta", |data| {
                // NFTA_META_KEY and NFTA_META_SREG.
                const MARK: u32 = 3;
                data.u32(2, MARK).u32(3, *from);
            }),
            Self::Counter => expression(list, "counter", |_| {}),
            Self::Verdict(verdict) => expression(list, "immediate", |data| {
                data.u32(1, register::VERDICT);
                data.nested(2, |data| encode_verdict(data, verdict));
            }),
            Self::DestinationNat { address, port } => expression(list, "nat", |data| {
                const DESTINATION: u32 = 1;
                data.u32(1, DESTINATION).u32(2, libc::NFPROTO_IPV4 as u32);
                data.u32(3, *address).u32(5, *port);
                data.u32(7, nat_flags::ADDRESS | nat_flags::PORT);
            }),
            Self::DestinationNatIpv6 { address, port } => expression(list, "nat", |data| {
                const DESTINATION: u32 = 1;
                data.u32(1, DESTINATION).u32(2, libc::NFPROTO_IPV6 as u32);
                data.u32(3, *address).u32(5, *port);
                data.u32(7, nat_flags::ADDRESS | nat_flags::PORT);
            }),
            Self::NatAddress { is_source, address } => expression(list, "nat", |data| {
                data.u32(1, u32::from(!is_source)).u32(2, libc::NFPROTO_IPV4 as u32);
                data.u32(3, *address).u32(7, nat_flags::ADDRESS);
            }),
            Self::Masquerade => expression(list, "masq", |_| {}),
        }
    }
}

/// An interface's name as `meta` loads it: padded with zero bytes to 16.
pub fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }
fn expression(list: &mut Attributes, name: &str, fill: impl FnOnce(&mut Attributes)) {
    list.nested(1, |element| {
        element.text(1, name).nested(2, fill);
    });
}

/// NFTA_DATA_VALUE
fn value(data: &mut Attributes, kind: u16, bytes: &[u8]) {
    data.nested(kind, |data| {
        data.bytes(1, bytes);
    });
}

/// NFTA_DATA_VERDICT { NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN }
pub(super) fn encode_verdict(data: &mut Attributes, verdict: &Verdict) {
    const JUMP: i32 = -3;
    const RETURN: i32 = -5;
    data.nested(2, |data| {
        match verdict {
            Verdict::Drop => data.u32(1, libc::NF_DROP as u32),
            Verdict::Accept => data.u32(1, libc::NF_ACCEPT as u32),
            Verdict::Return => data.u32(1, RETURN as u32),
            Verdict::Jump(chain) => data.u32(1, JUMP as u32).text(2, chain),
        };
    });
}

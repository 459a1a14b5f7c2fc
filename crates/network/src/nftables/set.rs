//! Sets and maps, and their elements.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use base::{Ipv4Cidr, Ipv6Cidr};

use super::attribute::Attributes;
use super::expression::{Verdict, encode_verdict};

/// Bytes of an address and a port, each padded to four.
const ENDPOINT_BYTES: usize = 8;

/// The type of a key or of one part of it. The kernel only needs the length; the number tells `nft list` how to print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// `ipv4_addr`, 4 bytes.
    Ipv4Address = 7,
    /// `ipv6_addr`, 16 bytes.
    Ipv6Address = 8,
    /// `ether_addr`, 6 bytes.
    EthernetAddress = 9,
    /// `inet_proto`, 1 byte.
    TransportProtocol = 12,
    /// `inet_service`, 2 bytes: a port.
    Port = 13,
    /// `ifname`, 16 bytes.
    InterfaceName = 41,
}

impl KeyType {
    /// Bytes of a value.
    pub const fn length(self) -> usize {
        match self {
            Self::Ipv4Address => 4,
            Self::EthernetAddress => 6,
            Self::TransportProtocol => 1,
            Self::Port => 2,
            Self::InterfaceName | Self::Ipv6Address => 16,
        }
    }
}

/// What the elements of a set lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetData {
    /// Nothing: a plain set.
    None,
    /// Verdicts: a map for [`super::Expression::VerdictMap`].
    Verdict,
    /// An address and a port: a map for [`super::Expression::Map`].
    Endpoint,
    /// An address: a map for [`super::Expression::Map`].
    Address,
}

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name, unique in the table.
    pub name: String,
    /// The key's parts; several make a concatenation, each part padded to four bytes.
    pub key: Vec<KeyType>,
    /// Whether elements are ranges (see [`interval`]).
    pub interval: bool,
    /// What elements lead to.
    pub data: SetData,
}

impl Set {
    pub(super) fn encode(&self, table: &str, id: u32, attributes: &mut Attributes) {
        const INTERVAL: u32 = 0x4;
        const MAP: u32 = 0x8;
        const CONCATENATION: u32 = 0x80;
        /// NFT_DATA_VERDICT
        const VERDICT_DATA: u32 = 0xffff_ff00;
        /// Bits that one part's type takes in the type of a concatenation (libnftables).
        const TYPE_BITS: u32 = 6;
        let mut flags = if self.interval { INTERVAL } else { 0 };
        if self.data != SetData::None {
            flags |= MAP;
        }
        if self.interval && self.key.len() > 1 {
            flags |= CONCATENATION;
        }
        let key_type = self.key.iter().fold(0, |folded, part| (folded << TYPE_BITS) | *part as u32);
        attributes.text(1, table).text(2, &self.name).u32(3, flags);
        attributes.u32(4, key_type).u32(5, self.key_length() as u32);
        if self.data == SetData::Endpoint {
            let data_type = ((KeyType::Ipv4Address as u32) << TYPE_BITS) | KeyType::Port as u32;
            attributes.u32(6, data_type).u32(7, ENDPOINT_BYTES as u32);
        }
        if self.data == SetData::Address {
            attributes.u32(6, KeyType::Ipv4Address as u32).u32(7, KeyType::Ipv4Address.length() as u32);
        }
        if self.data == SetData::Verdict {
            attributes.u32(6, VERDICT_DATA).u32(7, 0);
        }
        attributes.u32(10, id);
        if self.key == [KeyType::InterfaceName] {
            // User data, for `nft list` alone: the key's byte order (0, of length 4) is the host's (1).
            let mut user_data = vec![0, 4];
            user_data.extend_from_slice(&1_u32.to_ne_bytes());
            attributes.bytes(13, &user_data);
        }
    }

    /// Bytes of a whole key.
    pub fn key_length(&self) -> usize {
        match self.key.as_slice() {
            [only] => only.length(),
            parts => parts.iter().map(|part| part.length().next_multiple_of(4)).sum(),
        }
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    key: Vec<u8>,
    interval_end: bool,
    data: Option<Data>,
}

/// What an element of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    Verdict(Verdict),
    Endpoint([u8; ENDPOINT_BYTES]),
    Address([u8; 4]),
}

impl Element {
    /// The element with this key: one part, or several that are padded as a concatenation needs it.
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut key = Vec::new();
        for part in parts {
            key.extend_from_slice(part);
            if parts.len() > 1 {
                key.resize(key.len().next_multiple_of(4), 0);
            }
        }
        Self { key, interval_end: false, data: None }
    }

    /// The element of a map, with what it leads to.
    pub fn leading_to(self, verdict: Verdict) -> Self {
        Self { data: Some(Data::Verdict(verdict)), ..self }
    }

    /// The element of a map of addresses and ports, with what it leads to.
    pub fn leading_to_endpoint(self, endpoint: SocketAddrV4) -> Self {
        let ([a, b, c, d], [high, low]) = (endpoint.ip().octets(), endpoint.port().to_be_bytes());
        Self { data: Some(Data::Endpoint([a, b, c, d, high, low, 0, 0])), ..self }
    }

    /// The element of a map of addresses, with what it leads to.
    pub fn leading_to_address(self, address: Ipv4Addr) -> Self {
        Self { data: Some(Data::Address(address.octets())), ..self }
    }

    pub(super) fn encode(&self, list: &mut Attributes) {
        const INTERVAL_END: u32 = 1;
        list.nested(1, |element| {
            element.nested(1, |key| {
                key.bytes(1, &self.key);
            });
            match &self.data {
                None => {}
                Some(Data::Verdict(verdict)) => {
                    element.nested(2, |data| encode_verdict(data, verdict));
                }
                Some(Data::Endpoint(bytes)) => {
                    element.nested(2, |data| {
                        data.bytes(1, bytes);
                    });
                }
                Some(Data::Address(bytes)) => {
                    element.nested(2, |data| {
                        data.bytes(1, bytes);
                    });
                }
            }
            if self.interval_end {
                element.u32(3, INTERVAL_END);
            }
        });
    }
}

/// As [`interval`].
pub fn interval_ipv6(cidr: Ipv6Cidr) -> Vec<Element> {
    let mut elements = vec![Element::new(&[&cidr.base().octets()])];
    if let Some(end) = u128::from(cidr.last()).checked_add(1) {
        let end = Element::new(&[&Ipv6Addr::from(end).octets()]);
        elements.push(Element { interval_end: true, ..end });
    }
    elements
}

/// The elements that make an interval set hold `cidr`: where it starts, and where it is over.
pub fn interval(cidr: Ipv4Cidr) -> Vec<Element> {
    let mut elements = vec![Element::new(&[&cidr.base().octets()])];
    if let Some(end) = u32::from(cidr.last()).checked_add(1) {
        let end = Element::new(&[&Ipv4Addr::from(end).octets()]);
        elements.push(Element { interval_end: true, ..end });
    }
    elements
}

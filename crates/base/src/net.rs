//! IPv4 and IPv6 networks and hardware addresses, as EC2 writes them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no network or hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Not of the form `172.31.0.0/16`, or with bits set behind the prefix.
    #[error(
        "{0:?} is not an IPv4 network: it needs the form 172.31.0.0/16, with no bit set behind the prefix"
    )]
    Cidr(String),
    /// Not of the form `2001:db8::/56`, or with bits set behind the prefix.
    #[error(
        "{0:?} is not an IPv6 network: it needs the form 2001:db8::/56, with no bit set behind the prefix"
    )]
    Ipv6Cidr(String),
    /// Not six pairs of hexadecimal digits.
    #[error("{0:?} is not a hardware address: it needs the form 02:00:5e:00:53:01")]
    Mac(String),
}

/// An IPv4 network: an address whose bits behind the prefix are zero, and the prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Cidr {
    base: u32,
    prefix_length: u8,
}

impl Ipv4Cidr {
    /// The network of `prefix_length` bits that `address` lies in; `None` above 32 bits.
    pub fn containing(address: Ipv4Addr, prefix_length: u8) -> Option<Self> {
        if prefix_length > 32 {
            return None;
        }
        Some(Self { base: u32::from(address) & mask(prefix_length), prefix_length })
    }

    /// The first address.
    pub fn base(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// The last address: the broadcast address of a subnet.
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base | !mask(self.prefix_length))
    }

    /// Bits of the prefix, 0 to 32.
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// How many addresses it holds.
    pub fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix_length))
    }

    /// The address `offset` places behind the first; `None` outside.
    pub fn nth(&self, offset: u32) -> Option<Ipv4Addr> {
        (u64::from(offset) < self.size()).then(|| Ipv4Addr::from(self.base + offset))
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix_length) == self.base
    }

    /// Whether all of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_length <= other.prefix_length && self.contains(other.base())
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask(prefix_length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0)
}

impl FromStr for Ipv4Cidr {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let refused = || NetError::Cidr(text.chars().take(64).collect());
        let (address, prefix_length) = text.split_once('/').ok_or_else(refused)?;
        let address: Ipv4Addr = address.parse().map_err(|_| refused())?;
        if prefix_length.is_empty() || !prefix_length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let cidr =
            Self::containing(address, prefix_length.parse().map_err(|_| refused())?).ok_or_else(refused)?;
        if cidr.base() == address { Ok(cidr) } else { Err(refused()) }
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix_length)
    }
}

impl TryFrom<String> for Ipv4Cidr {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Ipv4Cidr> for String {
    fn from(cidr: Ipv4Cidr) -> Self {
        cidr.to_string()
    }
}

/// An IPv6 network: an address whose bits behind the prefix are zero, and the prefix length. Written as RFC 5952 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv6Cidr {
    base: u128,
    prefix_length: u8,
}

impl Ipv6Cidr {
    /// The network of `prefix_length` bits that `address` lies in; `None` above 128 bits.
    pub fn containing(address: Ipv6Addr, prefix_length: u8) -> Option<Self> {
        if prefix_length > 128 {
            return None;
        }
        Some(Self { base: u128::from(address) & mask_v6(prefix_length), prefix_length })
    }

    /// The first address.
    pub fn base(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.base)
    }

    /// The last address.
    pub fn last(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.base | !mask_v6(self.prefix_length))
    }

    /// Bits of the prefix, 0 to 128.
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// The address `offset` places behind the first; `None` outside.
    pub fn nth(&self, offset: u64) -> Option<Ipv6Addr> {
        let address = self.base.checked_add(u128::from(offset)).map(Ipv6Addr::from)?;
        self.contains(address).then_some(address)
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        u128::from(address) & mask_v6(self.prefix_length) == self.base
    }

    /// Whether all of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_length <= other.prefix_length && self.contains(other.base())
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask_v6(prefix_length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_length)).unwrap_or(0)
}

impl FromStr for Ipv6Cidr {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let refused = || NetError::Ipv6Cidr(text.chars().take(64).collect());
        let (address, prefix_length) = text.split_once('/').ok_or_else(refused)?;
        let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
        if prefix_length.is_empty() || !prefix_length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let cidr =
            Self::containing(address, prefix_length.parse().map_err(|_| refused())?).ok_or_else(refused)?;
        if cidr.base() == address { Ok(cidr) } else { Err(refused()) }
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix_length)
    }
}

impl TryFrom<String> for Ipv6Cidr {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Ipv6Cidr> for String {
    fn from(cidr: Ipv6Cidr) -> Self {
        cidr.to_string()
    }
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let refused = || NetError::Mac(text.chars().take(64).collect());
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2).ok_or_else(refused)?;
            hex::decode_to_slice(pair, std::slice::from_mut(byte)).map_err(|_| refused())?;
        }
        if pairs.next().is_some() { Err(refused()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for MacAddress {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_written_and_compared() {
        let vpc: Ipv4Cidr = "172.31.0.0/16".parse().unwrap();
        let subnet: Ipv4Cidr = "172.31.16.0/20".parse().unwrap();
        assert_eq!(subnet.to_string(), "172.31.16.0/20");
        assert!(vpc.covers(&subnet) && !subnet.covers(&vpc) && subnet.overlaps(&vpc));
        assert!(!subnet.overlaps(&"172.31.32.0/20".parse().unwrap()));
        assert_eq!((subnet.size(), subnet.last().to_string()), (4096, "172.31.31.255".to_owned()));
        assert_eq!(subnet.nth(1).unwrap().to_string(), "172.31.16.1");
        assert_eq!(subnet.nth(4096), None);
        let everything: Ipv4Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(everything.covers(&vpc) && everything.contains(Ipv4Addr::BROADCAST));
        for bad in
            ["", "172.31.0.0", "172.31.0.1/16", "172.31.0.0/33", "172.31.0.0/+8", "::/0", "172.31.0.0/"]
        {
            assert!(bad.parse::<Ipv4Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_networks_are_read_written_and_compared() {
        let vpc: Ipv6Cidr = "2001:DB8:0:100::/56".parse().unwrap();
        let subnet: Ipv6Cidr = "2001:db8:0:1ff::/64".parse().unwrap();
        assert_eq!(vpc.to_string(), "2001:db8:0:100::/56");
        assert!(vpc.covers(&subnet) && !subnet.covers(&vpc) && subnet.overlaps(&vpc));
        assert!(!subnet.overlaps(&"2001:db8:0:200::/64".parse().unwrap()));
        assert_eq!(subnet.nth(16).unwrap().to_string(), "2001:db8:0:1ff::10");
        assert_eq!(subnet.last().to_string(), "2001:db8:0:1ff:ffff:ffff:ffff:ffff");
        assert_eq!("2001:db8::/128".parse::<Ipv6Cidr>().unwrap().nth(1), None);
        let everything: Ipv6Cidr = "::/0".parse().unwrap();
        assert!(everything.covers(&vpc));
        assert_eq!(everything.to_string(), "::/0");
        for bad in ["", "2001:db8::", "2001:db8::1/56", "2001:db8::/129", "2001:db8::/+8", "0.0.0.0/0", "::/"]
        {
            assert!(bad.parse::<Ipv6Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hardware_addresses_are_read_and_written() {
        assert_eq!("02:Fc:00:00:00:01".parse::<MacAddress>().unwrap().to_string(), "02:fc:00:00:00:01");
        for bad in ["", "02:fc:00:00:00", "02:fc:00:00:00:01:02", "2:fc:00:00:00:01", "02-fc-00-00-00-01"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }
}

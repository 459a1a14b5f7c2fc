//! Which addresses a default VPC gets: AWS's 172.31.0.0/16 unless this machine already routes some of it elsewhere.

use std::net::Ipv4Addr;

use base::Ipv4Cidr;

/// Every private network of a VPC's biggest size, best first (RFC 1918): from AWS's own down, then the rest from the top
/// down, for people number their networks from the bottom up.
fn candidates() -> impl Iterator<Item = Ipv4Cidr> {
    const PREFIX_LENGTH: u8 = 16;
    let in_172 = (16..=31).rev().map(|second| Ipv4Addr::new(172, second, 0, 0));
    let in_10 = (0..=255).rev().map(|second| Ipv4Addr::new(10, second, 0, 0));
    let in_192 = std::iter::once(Ipv4Addr::new(192, 168, 0, 0));
    in_172.chain(in_10).chain(in_192).filter_map(|base| Ipv4Cidr::containing(base, PREFIX_LENGTH))
}

/// The networks that overlap nothing of `taken`, best first: a pool for the default VPCs of all accounts and regions.
/// The default route (of prefix length 0) does not count. See [`crate::host_networks`] for what a machine has taken.
pub fn usable_vpc_cidrs(taken: &[Ipv4Cidr]) -> Vec<Ipv4Cidr> {
    candidates().filter(|candidate| is_free(*candidate, taken)).collect()
}

/// `preferred` where it is free, else the first usable network; `None` where all are taken.
pub fn choose_vpc_cidr(preferred: Option<Ipv4Cidr>, taken: &[Ipv4Cidr]) -> Option<Ipv4Cidr> {
    let preferred = preferred.filter(|preferred| is_free(*preferred, taken));
    preferred.or_else(|| usable_vpc_cidrs(taken).into_iter().next())
}

fn is_free(candidate: Ipv4Cidr, taken: &[Ipv4Cidr]) -> bool {
    taken.iter().filter(|taken| taken.prefix_length() > 0).all(|taken| !taken.overlaps(&candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Ipv4Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn awss_network_is_taken_where_it_is_free() {
        let choose = |taken: &[&str]| choose_vpc_cidr(None, &cidrs(taken)).map(|cidr| cidr.to_string());
        assert_eq!(choose(&["0.0.0.0/0", "192.0.2.0/24"]).unwrap(), "172.31.0.0/16");
        assert_eq!(choose(&["172.31.7.0/24"]).unwrap(), "172.30.0.0/16");
        assert_eq!(choose(&["172.16.0.0/12", "10.255.8.1/32"]).unwrap(), "10.254.0.0/16");
        assert_eq!(choose(&["172.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"]), None);
    }

    #[test]
    fn a_wish_is_granted_where_it_is_free() {
        let wish = "10.5.0.0/16".parse().ok();
        assert_eq!(choose_vpc_cidr(wish, &[]), wish);
        assert_eq!(choose_vpc_cidr(wish, &cidrs(&["10.0.0.0/8"])).unwrap().to_string(), "172.31.0.0/16");
    }

    #[test]
    fn the_pool_is_large() {
        assert_eq!(usable_vpc_cidrs(&cidrs(&["172.17.0.0/16"])).len(), 16 - 1 + 256 + 1);
    }
}

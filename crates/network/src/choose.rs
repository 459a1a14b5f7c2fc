//! Which addresses a default VPC gets: AWS's 172.31.0.0/16 unless this machine already routes some of it elsewhere.

use base::Ipv4Cidr;

/// What is tried, in this order. Documentation, benchmark and carrier ranges are left alone.
pub const VPC_CIDR_CANDIDATES: [&str; 24] = [
    "172.31.0.0/16",
    "172.30.0.0/16",
    "172.29.0.0/16",
    "172.28.0.0/16",
    "172.27.0.0/16",
    "172.26.0.0/16",
    "172.25.0.0/16",
    "172.24.0.0/16",
    "10.231.0.0/16",
    "10.230.0.0/16",
    "10.229.0.0/16",
    "10.228.0.0/16",
    "10.227.0.0/16",
    "10.226.0.0/16",
    "10.225.0.0/16",
    "10.224.0.0/16",
    "10.223.0.0/16",
    "10.222.0.0/16",
    "10.221.0.0/16",
    "10.220.0.0/16",
    "192.168.0.0/16",
    "172.23.0.0/16",
    "172.22.0.0/16",
    "172.21.0.0/16",
];

/// The candidates that overlap nothing of `taken`: this machine's routes, and the VPCs that exist.
/// The default route (of prefix length 0) does not count.
pub fn usable_vpc_cidrs(taken: &[Ipv4Cidr]) -> Vec<Ipv4Cidr> {
    let candidates = VPC_CIDR_CANDIDATES.iter().filter_map(|text| text.parse().ok());
    candidates.filter(|candidate| is_free(candidate, taken)).collect()
}

/// `preferred` where it is free, else the first free candidate; `None` where all are taken.
pub fn choose_vpc_cidr(preferred: Option<Ipv4Cidr>, taken: &[Ipv4Cidr]) -> Option<Ipv4Cidr> {
    let preferred = preferred.filter(|preferred| is_free(preferred, taken));
    preferred.or_else(|| usable_vpc_cidrs(taken).into_iter().next())
}

fn is_free(candidate: &Ipv4Cidr, taken: &[Ipv4Cidr]) -> bool {
    taken.iter().filter(|taken| taken.prefix_length() > 0).all(|taken| !taken.overlaps(candidate))
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
        assert_eq!(choose(&["172.16.0.0/12", "10.231.8.1/32"]).unwrap(), "10.230.0.0/16");
        assert_eq!(choose(&["172.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"]), None);
    }

    #[test]
    fn a_wish_is_granted_where_it_is_free() {
        let wish = "10.5.0.0/16".parse().ok();
        assert_eq!(choose_vpc_cidr(wish, &[]), wish);
        assert_eq!(choose_vpc_cidr(wish, &cidrs(&["10.0.0.0/8"])).unwrap().to_string(), "172.31.0.0/16");
    }

    #[test]
    fn all_candidates_are_networks() {
        assert_eq!(usable_vpc_cidrs(&[]).len(), VPC_CIDR_CANDIDATES.len());
    }
}

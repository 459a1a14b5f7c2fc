//! The hosted zones that AWS keeps the names of load balancers in: what an alias record names. Source: "Elastic Load
//! Balancing endpoints and quotas", AWS General Reference.

use base::Region;

use crate::{LoadBalancer, LoadBalancerType};

/// Region, zone of application load balancers, zone of network load balancers. The first is also for regions that are not
/// listed.
const HOSTED_ZONES: [(&str, &str, &str); 25] = [
    ("us-east-1", "Z35SXDOTRQ7X7K", "Z26RNL4JYFTOTI"),
    ("us-east-2", "Z3AADJGX6KTTL2", "ZLMOA37VPKANP"),
    ("us-west-1", "Z368ELLRRE2KJ0", "Z24FKFUX50B4VW"),
    ("us-west-2", "Z1H1FL5HABSF5", "Z18D5FSROUN65G"),
    ("ca-central-1", "ZQSVJUPU6J1EY", "Z2EPGBW3API2WT"),
    ("ap-east-1", "Z3DQVH9N71FHZ0", "Z12Y7K3UBGUAD1"),
    ("ap-south-1", "ZP97RAFLXTNZK", "ZVDDRBQ08TROA"),
    ("ap-northeast-1", "Z14GRHDCWA56QT", "Z31USIVHYNEOWT"),
    ("ap-northeast-2", "ZWKZPGTI48KDX", "ZIBE1TIR4HY56"),
    ("ap-northeast-3", "Z5LXEXXYW11ES", "Z1GWIQ4HH19I5X"),
    ("ap-southeast-1", "Z1LMS91P8CMLE5", "ZKVM4W9LS7TM"),
    ("ap-southeast-2", "Z1GM3OXH4ZPM65", "ZCT6FZBF4DROD"),
    ("eu-central-1", "Z215JYRZR1TBD5", "Z3F0SRJ5LGBH90"),
    ("eu-west-1", "Z32O12XQLNTSW2", "Z2IFOLAFXWLO4F"),
    ("eu-west-2", "ZHURV8PSTC4K8", "ZD4D7Y8KGAS4G"),
    ("eu-west-3", "Z3Q77PNBQS71R4", "Z1CMS0P5QUZ6D5"),
    ("eu-north-1", "Z23TAZ6LKFMNIO", "Z1UDT6IFJ4EJM"),
    ("eu-south-1", "Z3ULH7SSC9OV64", "Z23146JA1KNAFP"),
    ("sa-east-1", "Z2P70J7HTTTPLU", "ZTK26PT1VY4CU"),
    ("cn-north-1", "Z1GDH35T77C1KE", "Z3QFB96KMJ7ED6"),
    ("cn-northwest-1", "ZM7IZAIOVVDZF", "ZQEIKTCZ8352D"),
    ("us-gov-west-1", "Z33AYJ8TM3BH4J", "ZMG1MZ2THAWF1"),
    ("us-gov-east-1", "Z166TLBEWOO7G0", "Z1ZSMQQ6Q24QQ8"),
    ("me-south-1", "ZS929ML54UICD", "Z3QSRYVP46NYYV"),
    ("af-south-1", "Z268VQBMOI5EKX", "Z203XCE67M25HM"),
];

/// The zone of a region's load balancers of a kind.
fn hosted_zone(region: &Region, kind: LoadBalancerType) -> &'static str {
    let found = HOSTED_ZONES.iter().find(|(name, ..)| *name == region.as_str());
    let (_, application, network) = found.unwrap_or(&HOSTED_ZONES[0]);
    match kind {
        LoadBalancerType::Application => application,
        LoadBalancerType::Network => network,
    }
}

impl LoadBalancer {
    /// `CanonicalHostedZoneId`: the hosted zone that AWS keeps its name in.
    pub fn canonical_hosted_zone_id(&self) -> &'static str {
        hosted_zone(&self.scope.region, self.load_balancer_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_two_zones() {
        let zone = |region: &str, kind| hosted_zone(&region.parse().unwrap(), kind);
        assert_eq!(zone("eu-west-1", LoadBalancerType::Application), "Z32O12XQLNTSW2");
        assert_eq!(zone("eu-west-1", LoadBalancerType::Network), "Z2IFOLAFXWLO4F");
        assert_eq!(zone("local", LoadBalancerType::Application), "Z35SXDOTRQ7X7K");
        let mut ids: Vec<_> = HOSTED_ZONES.iter().flat_map(|(_, one, other)| [one, other]).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), HOSTED_ZONES.len() * 2);
    }
}

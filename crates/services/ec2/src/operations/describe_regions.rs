//! DescribeRegions: tells the regions. Source: Amazon EC2 API reference, "DescribeRegions".
//!
//! Differs from AWS: a region of any name works here and shares this server, so any name that is asked for is told; a
//! call without names gets those that AWS enables for everybody, the caller's own, and those that the account has used.

use std::collections::BTreeSet;

use api::ec2::operations::DescribeRegions;
use api::ec2::{DescribeRegionsRequest, DescribeRegionsResult};
use base::{Region, Tag};
use domain::Vpc;
use store::Prefix;
use wire::{Call, Fault, Operation, Permission};

use crate::filter::{FilterName, Filterable, Filters};
use crate::resources::value;
use crate::{Ec2, faults};

const FILTERS: &[FilterName] = &[("endpoint", &[]), ("opt-in-status", &[]), ("region-name", &[])];
const OPT_IN_STATUS: &str = "opt-in-not-required";
/// Regions that need no opting in. Source: "AWS Regions", AWS account management guide.
const COMMON: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

impl Operation<DescribeRegions> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeRegionsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeRegions", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeRegionsRequest,
    ) -> Result<DescribeRegionsResult, Fault> {
        let filters = Filters::parse(input.filters, FILTERS, false)?;
        let names = input.region_names.unwrap_or_default();
        let named: Result<BTreeSet<Region>, Fault> = names.iter().map(|name| parse(name)).collect();
        let named = named?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }

        let regions = if named.is_empty() { self.regions(call) } else { named };
        // All regions are served from where the call came in.
        let endpoint = call.endpoint.split_once("://").map_or(call.endpoint.as_str(), |(_, host)| host);
        let regions = regions.into_iter().map(|region| Described { region, endpoint });
        let regions = regions.filter(|region| filters.match_row(region));

        Ok(DescribeRegionsResult { regions: Some(regions.map(|region| describe(&region)).collect()) })
    }
}

impl Ec2 {
    fn regions(&self, call: &Call) -> BTreeSet<Region> {
        let mut regions: BTreeSet<Region> = COMMON.iter().filter_map(|name| name.parse().ok()).collect();
        regions.insert(call.scope.region.clone());
        let vpcs = self.store.snapshot();
        let vpcs = vpcs.scan::<Vpc>(Prefix::everything(), None);
        let ours = vpcs.filter(|vpc| vpc.scope.account == call.scope.account);
        regions.extend(ours.map(|vpc| vpc.scope.region.clone()));
        regions
    }
}

fn parse(name: &str) -> Result<Region, Fault> {
    name.parse().map_err(|_| faults::invalid_value(format!("Invalid region provided: [{name}]")))
}

struct Described<'a> {
    region: Region,
    endpoint: &'a str,
}

impl Filterable for Described<'_> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "endpoint" => value(self.endpoint),
            "opt-in-status" => value(OPT_IN_STATUS),
            "region-name" => value(&self.region),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &[]
    }
}

fn describe(described: &Described) -> api::ec2::Region {
    api::ec2::Region {
        endpoint: Some(described.endpoint.to_owned()),
        opt_in_status: Some(OPT_IN_STATUS.to_owned()),
        region_name: Some(described.region.to_string()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn any_region_works() {
        let server = Server::new();
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <regionInfo>
                <item>
                  <regionEndpoint>127.0.0.1:4566</regionEndpoint>
                  <optInStatus>opt-in-not-required</optInStatus>
                  <regionName>eu-west-9</regionName>
                </item>
              </regionInfo>
            </DescribeRegionsResponse>"#]]
        .assert_eq(&server.ask("Action=DescribeRegions&RegionName.1=eu-west-9").await);
        let common = server.ask_for("regionName", "Action=DescribeRegions").await;
        assert_eq!(common.len(), super::COMMON.len());
        let more = server.ask_in("local", "regionName", "Action=DescribeRegions").await;
        assert_eq!(more.len(), common.len() + 1);
        let query = "Action=DescribeRegions&Filter.1.Name=region-name&Filter.1.Value.1=eu-*";
        assert_eq!(server.ask_for("regionName", query).await.len(), 5);
        server.ask_in("here-1", "vpcId", "Action=DescribeVpcs").await;
        let used = server.ask_for("regionName", "Action=DescribeRegions").await;
        assert!(used.contains(&"here-1".to_owned()), "{used:?}");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("RegionName.1=No", "400 InvalidParameterValue: Invalid region provided: [No]"),
            ("Filter.1.Name=x&Filter.1.Value.1=y", "400 InvalidParameterValue: The filter 'x' is invalid"),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeRegions&{query}")).await, fault);
        }
    }
}

//! DescribeAvailabilityZones: tells the zones of the region. Source: Amazon EC2 API reference, "DescribeAvailabilityZones".
//!
//! Differs from AWS: every region, whatever its name, has the zones a, b and c.

use api::ec2::operations::DescribeAvailabilityZones;
use api::ec2::{DescribeAvailabilityZonesRequest, DescribeAvailabilityZonesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::filter::Filters;
use crate::resources::zone::{self, Zone};
use crate::{Ec2, faults};

impl Operation<DescribeAvailabilityZones> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeAvailabilityZonesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeAvailabilityZones", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeAvailabilityZonesRequest,
    ) -> Result<DescribeAvailabilityZonesResult, Fault> {
        let filters = Filters::parse(input.filters, zone::FILTERS, false)?;
        let mut zones = zone::all(&call.scope.region);
        let (names, ids) = (input.zone_names.unwrap_or_default(), input.zone_ids.unwrap_or_default());
        check_known(&names, &zones, "availability zone", |zone| &zone.name)?;
        check_known(&ids, &zones, "availability zone-id", |zone| &zone.id)?;
        if input.dry_run == Some(true) {
            return Err(faults::dry_run());
        }

        zones.retain(|zone| names.is_empty() || names.contains(&zone.name));
        zones.retain(|zone| ids.is_empty() || ids.contains(&zone.id));
        zones.retain(|zone| filters.match_row(zone));

        let zones = zones.iter().map(zone::describe).collect();
        Ok(DescribeAvailabilityZonesResult { availability_zones: Some(zones) })
    }
}

fn check_known(
    wanted: &[String],
    zones: &[Zone],
    noun: &str,
    property: impl Fn(&Zone) -> &String,
) -> Result<(), Fault> {
    match wanted.iter().find(|wanted| !zones.iter().any(|zone| property(zone) == *wanted)) {
        Some(unknown) => Err(faults::invalid_value(format!("Invalid {noun}: [{unknown}]"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_region_has_three() {
        let server = Server::new();
        let query = "Action=DescribeAvailabilityZones&ZoneName.1=us-east-1a";
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <availabilityZoneInfo>
                <item>
                  <groupName>us-east-1-zg-1</groupName>
                  <messageSet></messageSet>
                  <networkBorderGroup>us-east-1</networkBorderGroup>
                  <optInStatus>opt-in-not-required</optInStatus>
                  <regionName>us-east-1</regionName>
                  <zoneState>available</zoneState>
                  <zoneId>use1-az1</zoneId>
                  <zoneName>us-east-1a</zoneName>
                  <zoneType>availability-zone</zoneType>
                </item>
              </availabilityZoneInfo>
            </DescribeAvailabilityZonesResponse>"#]]
        .assert_eq(&server.ask(query).await);
        let names = server.ask_in("eu-central-1", "zoneName", "Action=DescribeAvailabilityZones").await;
        assert_eq!(names, ["eu-central-1a", "eu-central-1b", "eu-central-1c"]);
        let query = "Action=DescribeAvailabilityZones&Filter.1.Name=zone-id&Filter.1.Value.1=use1-az2";
        assert_eq!(server.ask_for("zoneName", query).await, ["us-east-1b"]);
        let query = "Action=DescribeAvailabilityZones&ZoneId.1=use1-az3&AllAvailabilityZones=true";
        assert_eq!(server.ask_for("zoneName", query).await, ["us-east-1c"]);
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("ZoneName.1=us-east-1z", "400 InvalidParameterValue: Invalid availability zone: [us-east-1z]"),
            ("ZoneId.1=x", "400 InvalidParameterValue: Invalid availability zone-id: [x]"),
            (
                "Filter.1.Name=tag:x&Filter.1.Value.1=y",
                "400 InvalidParameterValue: The filter 'tag:x' is invalid",
            ),
            ("DryRun=true", "412 DryRunOperation: Request would have succeeded, but DryRun flag is set."),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeAvailabilityZones&{query}")).await, fault);
        }
    }
}

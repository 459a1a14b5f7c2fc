//! DescribeInstanceTypeOfferings: tells where there are machines of which type. Source: Amazon EC2 API reference, "DescribeInstanceTypeOfferings".
//!
//! Differs from AWS: it tells the types of the machines that registered themselves, with what they registered, and no others.

use api::ec2::operations::DescribeInstanceTypeOfferings;
use api::ec2::{
    DescribeInstanceTypeOfferingsRequest, DescribeInstanceTypeOfferingsResult, InstanceTypeOffering,
};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::{instance, instance_type};

impl Operation<DescribeInstanceTypeOfferings> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeInstanceTypeOfferingsRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeInstanceTypeOfferings", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInstanceTypeOfferingsRequest,
    ) -> Result<DescribeInstanceTypeOfferingsResult, Fault> {
        let by = input.location_type.unwrap_or_else(|| "region".to_owned());
        let instances = instance::all(&self.snapshot(call).await?, &call.scope);
        let rows = instance_type::offerings(&instances, &call.scope.region, &by)?;
        let question = Question {
            dry_run: input.dry_run,
            ids: None,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = instance_type::OFFERINGS.answer(question, rows)?;
        let told = |offering: &instance_type::Offering| InstanceTypeOffering {
            instance_type: Some(offering.instance_type.clone()),
            location: Some(offering.location.clone()),
            location_type: Some(by.clone()),
        };
        Ok(DescribeInstanceTypeOfferingsResult {
            instance_type_offerings: Some(page.rows.iter().map(told).collect()),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn locations_are_those_of_machines() {
        let server = Server::new();
        server.add_instance("i-0123456789abcdef0").await;
        for (by, location) in [
            ("", "us-east-1"),
            ("&LocationType=availability-zone", "us-east-1b"),
            ("&LocationType=availability-zone-id", "use1-az2"),
        ] {
            let query = format!("Action=DescribeInstanceTypeOfferings{by}");
            assert_eq!(server.ask_for("location", &query).await, [location]);
        }
        assert_eq!(
            server.ask_for("location", "Action=DescribeInstanceTypeOfferings&LocationType=outpost").await,
            [""; 0]
        );
        let query = "Action=DescribeInstanceTypeOfferings&Filter.1.Name=instance-type&Filter.1.Value.1=c5.*";
        assert_eq!(server.ask_for("location", query).await, [""; 0]);
    }
}

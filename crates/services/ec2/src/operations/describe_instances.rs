//! DescribeInstances: tells the instances: machines that registered as container instances with an instance id of EC2. Source: Amazon EC2 API reference, "DescribeInstances".
//!
//! Differs from AWS: it tells machines that registered as container instances, what they said of themselves, and nothing else:
//! the machines are not of a VPC. A machine is running as long as it is
//! registered; it was launched when it registered.

use api::ec2::operations::DescribeInstances;
use api::ec2::{DescribeInstancesRequest, DescribeInstancesResult};
use wire::{Call, Fault, Operation, Permission};

use crate::Ec2;
use crate::listing::Question;
use crate::resources::instance::{self, KIND};

impl Operation<DescribeInstances> for Ec2 {
    fn permissions(&self, _call: &Call, _input: &DescribeInstancesRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:DescribeInstances", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeInstancesRequest,
    ) -> Result<DescribeInstancesResult, Fault> {
        let rows = instance::all(&self.snapshot(call).await?, &call.scope);
        let question = Question {
            dry_run: input.dry_run,
            ids: input.instance_ids,
            filters: input.filters,
            max_results: input.max_results,
            next_token: input.next_token,
        };
        let page = KIND.answer(question, rows)?;
        Ok(DescribeInstancesResult {
            next_token: page.next_token,
            reservations: Some(page.rows.iter().map(instance::describe).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn machines_are_told() {
        let server = Server::new();
        assert_eq!(server.ask_for("instanceId", "Action=DescribeInstances").await, [""; 0]);
        server.add_instance("i-0123456789abcdef0").await;
        server.add_instance("mi-0123456789abcdef0").await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <reservationSet>
                <item>
                  <instancesSet>
                    <item>
                      <architecture>x86_64</architecture>
                      <instanceId>i-0123456789abcdef0</instanceId>
                      <instanceType>m5.large</instanceType>
                      <launchTime>2023-11-14T22:13:20Z</launchTime>
                      <monitoring>
                        <state>disabled</state>
                      </monitoring>
                      <placement>
                        <availabilityZone>us-east-1b</availabilityZone>
                        <availabilityZoneId>use1-az2</availabilityZoneId>
                        <tenancy>default</tenancy>
                      </placement>
                      <instanceState>
                        <code>16</code>
                        <name>running</name>
                      </instanceState>
                    </item>
                  </instancesSet>
                  <ownerId>123456789012</ownerId>
                  <reservationId>r-0123456789abcdef0</reservationId>
                </item>
              </reservationSet>
            </DescribeInstancesResponse>"#]]
        .assert_eq(&server.ask("Action=DescribeInstances").await);
        for (name, value, count) in [
            ("instance-type", "m5.*", 1),
            ("instance-state-name", "running", 1),
            ("instance-state-name", "stopped", 0),
            ("availability-zone", "us-east-1b", 1),
            ("vpc-id", "*", 0),
        ] {
            let query = format!("Action=DescribeInstances&Filter.1.Name={name}&Filter.1.Value.1={value}");
            assert_eq!(server.ask_for("instanceId", &query).await.len(), count, "{name}={value}");
        }
        for (id, fault) in [
            ("i-0", "400 InvalidInstanceID.NotFound: The instance ID 'i-0' does not exist"),
            ("x", "400 InvalidInstanceID.Malformed: Invalid id: \"x\" (expecting \"i-...\")"),
        ] {
            assert_eq!(server.fault(&format!("Action=DescribeInstances&InstanceId.1={id}")).await, fault);
        }
    }
}

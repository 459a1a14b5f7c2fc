//! DescribeTargetHealth: tells what the balancer last saw of the targets of a group. Source: Elastic Load Balancing API
//! reference, "DescribeTargetHealth".
//!
//! Differs from AWS: a load balancer sends to targets of every zone, so none is unused because of its zone. Anomalies are
//! not looked for: with `Include`, every target is `normal`.

use api::elasticloadbalancing::operations::DescribeTargetHealth;
use api::elasticloadbalancing::{DescribeTargetHealthInput, DescribeTargetHealthOutput};
use domain::TargetRegistration;
use store::rows_load_balancing;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::resources::target::{self, DescribedTarget};
use crate::resources::target_group;

impl Operation<DescribeTargetHealth> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeTargetHealthInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeTargetHealth", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeTargetHealthInput,
    ) -> Result<DescribeTargetHealthOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let snapshot = self.store.snapshot();
        let group = target_group::find(&snapshot, &call.scope, &arn)?;
        let described = DescribedTarget {
            group: &group,
            is_in_use: !rows_load_balancing::rules_of_target_group(&snapshot, &group).is_empty(),
            has_anomalies: input.include.is_some_and(|include| !include.is_empty()),
        };
        let told = match input.targets.filter(|targets| !targets.is_empty()) {
            None => {
                let rows = rows_load_balancing::targets_of(&snapshot, &group);
                rows.iter().map(|row| described.registered(row)).collect()
            }
            Some(targets) => {
                let describe = |target: &domain::TargetDescription| {
                    let key = rows_load_balancing::target_registration_key(
                        &group.scope,
                        &group.name,
                        &target.target,
                        target.port,
                    );
                    match snapshot.get::<TargetRegistration>(&key) {
                        Some(row) => described.registered(&row),
                        None => described.unregistered(target),
                    }
                };
                target::parse(&group, targets)?.iter().map(describe).collect()
            }
        };
        Ok(DescribeTargetHealthOutput { target_health_descriptions: Some(told) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_target_is_unused_until_a_rule_forwards_to_its_group() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let address = server.vpc.subnets[0].cidr.nth(9).unwrap();
        server
            .ok(&format!("Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={address}"))
            .await;
        let query = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeTargetHealthResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <DescribeTargetHealthResult>
                <TargetHealthDescriptions>
                  <member>
                    <HealthCheckPort>80</HealthCheckPort>
                    <Target>
                      <AvailabilityZone>us-east-1a</AvailabilityZone>
                      <Id>172.31.0.9</Id>
                      <Port>80</Port>
                    </Target>
                    <TargetHealth>
                      <Description>Target group is not configured to receive traffic from the load balancer</Description>
                      <Reason>Target.NotInUse</Reason>
                      <State>unused</State>
                    </TargetHealth>
                  </member>
                </TargetHealthDescriptions>
              </DescribeTargetHealthResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </DescribeTargetHealthResponse>"#]].assert_eq(&server.ok(&query).await);
        let front = server.load_balancer("front").await;
        server.listener(&front, 80, &group).await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <DescribeTargetHealthResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <DescribeTargetHealthResult>
                <TargetHealthDescriptions>
                  <member>
                    <AdministrativeOverride>
                      <Description>No override is currently active on target</Description>
                      <Reason>AdministrativeOverride.NoOverride</Reason>
                      <State>no_override</State>
                    </AdministrativeOverride>
                    <AnomalyDetection>
                      <MitigationInEffect>no</MitigationInEffect>
                      <Result>normal</Result>
                    </AnomalyDetection>
                    <HealthCheckPort>80</HealthCheckPort>
                    <Target>
                      <AvailabilityZone>us-east-1a</AvailabilityZone>
                      <Id>172.31.0.9</Id>
                      <Port>80</Port>
                    </Target>
                    <TargetHealth>
                      <Description>Target registration is in progress</Description>
                      <Reason>Elb.RegistrationInProgress</Reason>
                      <State>initial</State>
                    </TargetHealth>
                  </member>
                </TargetHealthDescriptions>
              </DescribeTargetHealthResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </DescribeTargetHealthResponse>"#]]
        .assert_eq(&server.ok(&format!("{query}&Include.member.1=AnomalyDetection")).await);
        let other = format!("{query}&Targets.member.1.Id={address}&Targets.member.1.Port=81");
        assert_eq!(server.ask_for("Reason", &other).await[1], "Target.NotRegistered");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let told = server.fault(&format!("Action=DescribeTargetHealth&TargetGroupArn={group}0")).await;
        assert_eq!(told, format!("400 TargetGroupNotFound: Target group '{group}0' not found"));
        let query = format!("Action=DescribeTargetHealth&TargetGroupArn={group}&Include.member.1=x");
        assert!(server.fault(&query).await.starts_with("400 ValidationError: 1 validation error detected"));
    }
}

//! CreateTargetGroup: makes a target group, whose targets are checked as it says. Source: Elastic Load Balancing API
//! reference, "CreateTargetGroup".
//!
//! Differs from AWS: not served, and refused by name: targets that are Lambda functions or load balancers, the protocols
//! GENEVE, QUIC and TCP_QUIC, IPv6 targets, target control ports.

use api::elasticloadbalancing::operations::CreateTargetGroup;
use api::elasticloadbalancing::{CreateTargetGroupInput, CreateTargetGroupOutput, faults};
use base::{Ids, Tag};
use domain::{TargetGroup, TargetGroupHealthCheck, Vpc};
use store::{Key, Snapshot, Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, unsupported, validation};
use crate::resources::health_check::{self, HealthCheckWish, is_http};
use crate::resources::{name, tag, target_group};
use crate::{Elasticloadbalancing, quotas};

impl Operation<CreateTargetGroup> for Elasticloadbalancing {
    fn permissions(&self, call: &Call, input: &CreateTargetGroupInput) -> Vec<Permission> {
        let name = input.name.as_deref().unwrap_or_default();
        let arn = base::Arn::new("elasticloadbalancing", &call.scope, format!("targetgroup/{name}/*"));
        vec![Permission::new("elasticloadbalancing:CreateTargetGroup", arn.as_str())]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateTargetGroupInput,
    ) -> Result<CreateTargetGroupOutput, Fault> {
        let wish = Wish::parse(input)?;
        let made = self.store.update(|snapshot| wish.make(snapshot, call, &*self.ids));
        let made = made.await.map_err(of_update)?;
        let told = target_group::describe(&self.store.snapshot(), &made);
        Ok(CreateTargetGroupOutput { target_groups: Some(vec![told]) })
    }
}

/// What the call asks for.
struct Wish {
    name: String,
    protocol: String,
    protocol_version: Option<String>,
    port: u16,
    vpc: String,
    target_type: String,
    health_check: TargetGroupHealthCheck,
    tags: Vec<Tag>,
}

impl Wish {
    fn parse(input: CreateTargetGroupInput) -> Result<Self, Fault> {
        let name = input.name.unwrap_or_default();
        name::check("target group", &name)?;
        let target_type = input.target_type.unwrap_or_else(|| "instance".to_owned());
        if matches!(target_type.as_str(), "lambda" | "alb") {
            return Err(unsupported(&format!("The target type '{target_type}'")));
        }
        if input.target_control_port.is_some() {
            return Err(unsupported("TargetControlPort"));
        }
        if let Some(other) = input.ip_address_type.filter(|kind| kind != "ipv4") {
            return Err(unsupported(&format!("The target group IP address type '{other}'")));
        }
        let protocol = input.protocol.ok_or_else(|| validation("A protocol must be specified"))?;
        if matches!(protocol.as_str(), "GENEVE" | "QUIC" | "TCP_QUIC") {
            return Err(unsupported(&format!("The target group protocol '{protocol}'")));
        }
        let port = input.port.ok_or_else(|| validation("A port must be specified"))?;
        let vpc = input.vpc_id.ok_or_else(|| validation("A VPC ID must be specified"))?;
        let protocol_version = protocol_version(input.protocol_version, &protocol)?;
        let health_check = HealthCheckWish {
            enabled: input.health_check_enabled,
            interval_seconds: input.health_check_interval_seconds,
            path: input.health_check_path,
            port: input.health_check_port,
            protocol: input.health_check_protocol,
            timeout_seconds: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: input.matcher,
        };
        let health_check = health_check::of_new_group(health_check, &protocol, protocol_version.as_deref())?;
        let port = u16::try_from(port).unwrap_or_default();
        let tags = tag::parse(input.tags)?;
        Ok(Self { name, protocol, protocol_version, port, vpc, target_type, health_check, tags })
    }

    fn make(
        &self,
        snapshot: &Snapshot,
        call: &Call,
        ids: &dyn Ids,
    ) -> Result<(Transaction, TargetGroup), Fault> {
        let mut transaction = Transaction::new();
        let key = rows_load_balancing::target_group_key(&call.scope, &self.name);
        if let Some(known) = snapshot.get::<TargetGroup>(&key) {
            let message = format!(
                "A target group with the same name '{}' exists, but with different settings",
                self.name
            );
            return if self.is_same(&known) {
                Ok((transaction, TargetGroup::clone(&known)))
            } else {
                Err(faults::duplicate_target_group_name_exception(message))
            };
        }
        if snapshot.get::<Vpc>(&Key::new(&call.scope, &[&self.vpc])).is_none() {
            return Err(validation(format!("The VPC ID '{}' is not found", self.vpc)));
        }
        let groups = snapshot.scan::<TargetGroup>(Key::prefix(&call.scope, &[]), None);
        if groups.count() >= quotas::TARGET_GROUPS {
            let maximum = quotas::TARGET_GROUPS;
            return Err(faults::too_many_target_groups_exception(format!(
                "The maximum number of target groups '{maximum}' has been reached"
            )));
        }
        let row = TargetGroup {
            scope: call.scope.clone(),
            name: self.name.clone(),
            id: ids.hex(16),
            protocol: self.protocol.clone(),
            protocol_version: self.protocol_version.clone(),
            port: self.port,
            vpc: Some(self.vpc.clone()),
            target_type: self.target_type.clone(),
            ip_address_type: "ipv4".to_owned(),
            health_check: self.health_check.clone(),
            attributes: [].into(),
            created_at: call.now,
            tags: self.tags.clone(),
        };
        transaction.insert(row.clone());
        Ok((transaction, row))
    }

    /// Whether the call is one that was answered before.
    fn is_same(&self, known: &TargetGroup) -> bool {
        known.protocol == self.protocol
            && known.protocol_version == self.protocol_version
            && known.port == self.port
            && known.vpc.as_ref() == Some(&self.vpc)
            && known.target_type == self.target_type
            && known.health_check == self.health_check
            && known.tags == self.tags
    }
}

fn protocol_version(asked: Option<String>, protocol: &str) -> Result<Option<String>, Fault> {
    match asked {
        None => Ok(is_http(protocol).then(|| "HTTP1".to_owned())),
        Some(_) if !is_http(protocol) => Err(validation(format!(
            "A protocol version cannot be specified for target groups with protocol '{protocol}'"
        ))),
        Some(version) if matches!(version.as_str(), "HTTP1" | "HTTP2" | "GRPC") => Ok(Some(version)),
        Some(version) => {
            Err(validation(format!("Protocol version '{version}' must be one of 'HTTP1, HTTP2, GRPC'")))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_group_has_the_defaults_of_its_protocol() {
        let server = Server::new().await;
        let vpc = &server.vpc.vpc.id;
        let query =
            format!("Action=CreateTargetGroup&Name=web&Protocol=HTTP&Port=80&VpcId={vpc}&TargetType=ip");
        let answer = server.ok(&query).await;
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateTargetGroupResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <CreateTargetGroupResult>
                <TargetGroups>
                  <member>
                    <HealthCheckEnabled>true</HealthCheckEnabled>
                    <HealthCheckIntervalSeconds>30</HealthCheckIntervalSeconds>
                    <HealthCheckPath>/</HealthCheckPath>
                    <HealthCheckPort>traffic-port</HealthCheckPort>
                    <HealthCheckProtocol>HTTP</HealthCheckProtocol>
                    <HealthCheckTimeoutSeconds>5</HealthCheckTimeoutSeconds>
                    <HealthyThresholdCount>5</HealthyThresholdCount>
                    <IpAddressType>ipv4</IpAddressType>
                    <LoadBalancerArns></LoadBalancerArns>
                    <Matcher>
                      <HttpCode>200</HttpCode>
                    </Matcher>
                    <Port>80</Port>
                    <Protocol>HTTP</Protocol>
                    <ProtocolVersion>HTTP1</ProtocolVersion>
                    <TargetGroupArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/822d5fe3b5885a80</TargetGroupArn>
                    <TargetGroupName>web</TargetGroupName>
                    <TargetType>ip</TargetType>
                    <UnhealthyThresholdCount>2</UnhealthyThresholdCount>
                    <VpcId>vpc-befba86ae9e0c2078</VpcId>
                  </member>
                </TargetGroups>
              </CreateTargetGroupResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </CreateTargetGroupResponse>"#]].assert_eq(&answer);
        assert_eq!(server.ask(&query).await, answer, "the same again is the same group");
        assert_eq!(
            server.fault(&query.replace("Port=80", "Port=81")).await,
            "400 DuplicateTargetGroupName: A target group with the same name 'web' exists, but with different settings"
        );
        let query = format!("Action=CreateTargetGroup&Name=tcp&Protocol=TCP&Port=80&VpcId={vpc}");
        let answer = server.ok(&query).await;
        assert!(answer.contains("<TargetType>instance<"), "{answer}");
        assert!(answer.contains("<HealthCheckProtocol>TCP<"), "{answer}");
        assert!(answer.contains("<HealthCheckTimeoutSeconds>10<"), "{answer}");
        assert!(!answer.contains("<Matcher>") && !answer.contains("<HealthCheckPath>"), "{answer}");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let vpc = &server.vpc.vpc.id;
        let good = format!("Name=web&Protocol=HTTP&Port=80&VpcId={vpc}");
        for (query, fault) in [
            ("Name=web&Port=80&VpcId=v".to_owned(), "ValidationError: A protocol must be specified"),
            ("Name=web&Protocol=HTTP&VpcId=v".to_owned(), "ValidationError: A port must be specified"),
            ("Name=web&Protocol=HTTP&Port=80".to_owned(), "ValidationError: A VPC ID must be specified"),
            (
                "Name=web&Protocol=HTTP&Port=80&VpcId=vpc-0".to_owned(),
                "ValidationError: The VPC ID 'vpc-0' is not found",
            ),
            (
                "Name=web&Protocol=HTTP&Port=0&VpcId=vpc-0".to_owned(),
                "ValidationError: 1 validation error detected: Value '0' at 'port'",
            ),
            (
                format!("{good}&TargetType=lambda"),
                "InvalidConfigurationRequest: The target type 'lambda' is not supported by",
            ),
            (
                format!("{good}&TargetType=alb"),
                "InvalidConfigurationRequest: The target type 'alb' is not supported by",
            ),
            (
                format!("{good}&IpAddressType=ipv6"),
                "InvalidConfigurationRequest: The target group IP address type 'ipv6' is not",
            ),
            (
                format!("{good}&TargetControlPort=9"),
                "InvalidConfigurationRequest: TargetControlPort is not supported by",
            ),
            (
                good.replace("HTTP", "GENEVE"),
                "InvalidConfigurationRequest: The target group protocol 'GENEVE' is not",
            ),
            (good.replace("web", "a.b"), "ValidationError: Target group name 'a.b' can only contain"),
            (
                format!("{good}&ProtocolVersion=HTTP3"),
                "ValidationError: Protocol version 'HTTP3' must be one of",
            ),
            (
                format!("{}&ProtocolVersion=HTTP1", good.replace("HTTP", "TCP")),
                "ValidationError: A protocol version cannot be",
            ),
            (
                format!("{good}&HealthCheckProtocol=TCP"),
                "ValidationError: Health check protocol 'TCP' must be one of 'HTTP, HTTPS'",
            ),
            (
                format!("{good}&HealthCheckTimeoutSeconds=30"),
                "ValidationError: Health check timeout '30' must be smaller than the interval '30'",
            ),
            (format!("{good}&HealthCheckPort=x"), "ValidationError: Health check port 'x' must be"),
            (format!("{good}&HealthCheckPath=x"), "ValidationError: Health check path 'x' must begin with"),
            (
                format!("{good}&HealthCheckPath=/a%20HTTP"),
                "ValidationError: Health check path '/a HTTP' must begin with",
            ),
            (
                format!("{good}&HealthCheckEnabled=false"),
                "ValidationError: Health check enabled must be true",
            ),
            (
                format!("{good}&Matcher.HttpCode=600"),
                "ValidationError: Health check matcher HTTP code '600' must be within '200-499' inclusive",
            ),
            (format!("{good}&Matcher.GrpcCode=0"), "ValidationError: You can specify gRPC codes"),
        ] {
            let told = server.fault(&format!("Action=CreateTargetGroup&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}

//! SetSecurityGroups: replaces the security groups of a load balancer, on all of its addresses. Source: Elastic Load
//! Balancing API reference, "SetSecurityGroups".
//!
//! Differs from AWS: there is no PrivateLink, so the groups are enforced on all traffic, and only `on` is taken for
//! `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`.

use api::elasticloadbalancing::operations::SetSecurityGroups;
use api::elasticloadbalancing::{SetSecurityGroupsInput, SetSecurityGroupsOutput, faults};
use domain::{LoadBalancer, LoadBalancerType, NetworkInterface};
use store::{Transaction, rows_vpc};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, unsupported, validation};
use crate::resources::{load_balancer, subnet};

impl Operation<SetSecurityGroups> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &SetSecurityGroupsInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:SetSecurityGroups", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: SetSecurityGroupsInput,
    ) -> Result<SetSecurityGroupsOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        let ids = input.security_groups.unwrap_or_default();
        let enforced = input.enforce_security_group_inbound_rules_on_private_link_traffic;
        if enforced.as_deref() == Some("off") {
            return Err(unsupported(
                "The value 'off' of EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic",
            ));
        }
        let changed = self.store.update(|snapshot| {
            let found = load_balancer::find(snapshot, &call.scope, &arn)?;
            check(&found, &ids, enforced.is_some())?;
            let security_groups = subnet::security_groups(snapshot, &call.scope, &found.vpc, &ids)?;
            let row = LoadBalancer { security_groups, ..LoadBalancer::clone(&found) };
            let mut transaction = Transaction::new();
            for id in row.subnets.iter().filter_map(|subnet| subnet.network_interface.as_ref()) {
                if let Some(interface) = rows_vpc::network_interface(snapshot, &row.scope, id) {
                    let security_groups = row.security_groups.clone();
                    let changed = NetworkInterface { security_groups, ..NetworkInterface::clone(&interface) };
                    transaction.replace(&interface, changed);
                }
            }
            transaction.replace(&found, row.clone());
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        let is_network = row.load_balancer_type == LoadBalancerType::Network;
        Ok(SetSecurityGroupsOutput {
            enforce_security_group_inbound_rules_on_private_link_traffic: is_network.then(|| "on".to_owned()),
            security_group_ids: Some(row.security_groups),
        })
    }
}

fn check(row: &LoadBalancer, ids: &[String], is_enforcement_told: bool) -> Result<(), Fault> {
    let is_network = row.load_balancer_type == LoadBalancerType::Network;
    if is_network && row.security_groups.is_empty() {
        return Err(faults::invalid_configuration_request_exception(
            "You cannot set security groups for a network load balancer that was created without security groups",
        ));
    }
    if !is_network && is_enforcement_told {
        return Err(validation(
            "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic is supported for load balancers of type 'network' only",
        ));
    }
    if ids.is_empty() {
        return Err(validation("At least one security group must be specified"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::{NetworkInterface, SecurityGroup};
    use store::{Prefix, Transaction};

    async fn other_group(server: &Server) -> String {
        let group = SecurityGroup {
            id: "sg-1".to_owned(),
            name: "web".to_owned(),
            ..server.vpc.security_group.clone()
        };
        let mut transaction = Transaction::new();
        transaction.insert(group);
        server.store.transact(transaction).await.unwrap();
        "sg-1".to_owned()
    }

    #[tokio::test]
    async fn they_are_on_every_address() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let group = other_group(&server).await;
        let query = format!("Action=SetSecurityGroups&LoadBalancerArn={arn}&SecurityGroups.member.1={group}");
        assert_eq!(server.ask_for("member", &query).await.concat(), group);
        let snapshot = server.store.snapshot();
        for interface in snapshot.scan::<NetworkInterface>(Prefix::everything(), None) {
            assert_eq!(interface.security_groups.concat(), group);
        }
        let described =
            server.ok(&format!("Action=DescribeLoadBalancers&LoadBalancerArns.member.1={arn}")).await;
        assert!(described.contains("<member>sg-1</member>"), "{described}");
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let (front, back) = (server.load_balancer("front").await, server.network_load_balancer("back").await);
        let group = &server.vpc.security_group.id;
        let enforce = "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic";
        for (query, fault) in [
            (
                format!("LoadBalancerArn={front}&SecurityGroups.member.1=sg-0"),
                "InvalidSecurityGroup: Security group 'sg-0' does not exist",
            ),
            (
                format!("LoadBalancerArn={front}&SecurityGroups="),
                "ValidationError: At least one security group must be",
            ),
            (
                format!("LoadBalancerArn={front}&SecurityGroups.member.1={group}&{enforce}=on"),
                "ValidationError: EnforceSecurityGroup",
            ),
            (
                format!("LoadBalancerArn={front}&SecurityGroups.member.1={group}&{enforce}=off"),
                "InvalidConfigurationRequest: The value 'off' of Enforce",
            ),
            (
                format!("LoadBalancerArn={back}&SecurityGroups.member.1={group}"),
                "InvalidConfigurationRequest: You cannot set security groups for",
            ),
            (format!("LoadBalancerArn={front}0&SecurityGroups.member.1={group}"), "LoadBalancerNotFound: "),
        ] {
            let told = server.fault(&format!("Action=SetSecurityGroups&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}

//! SetSubnets: replaces the subnets of a load balancer. It keeps its address in those that stay. Source: Elastic Load
//! Balancing API reference, "SetSubnets".
//!
//! Differs from AWS: not served, and refused by name: address types other than `ipv4`, IPv6 source NAT.

use api::elasticloadbalancing::operations::SetSubnets;
use api::elasticloadbalancing::{SetSubnetsInput, SetSubnetsOutput};
use base::Ids;
use domain::{LoadBalancer, LoadBalancerSubnet, LoadBalancerType, Subnet};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{of_update, unsupported, validation};
use crate::resources::subnet::{InterfaceWish, SubnetWish};
use crate::resources::{load_balancer, subnet};

impl Operation<SetSubnets> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &SetSubnetsInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:SetSubnets", arn)]
    }

    async fn handle(&self, call: &Call, input: SetSubnetsInput) -> Result<SetSubnetsOutput, Fault> {
        let arn = input.load_balancer_arn.clone().unwrap_or_default();
        if let Some(other) = input.ip_address_type.as_deref().filter(|kind| *kind != "ipv4") {
            return Err(unsupported(&format!("The IP address type '{other}'")));
        }
        if input.enable_prefix_for_ipv6_source_nat.as_deref() == Some("on") {
            return Err(unsupported("EnablePrefixForIpv6SourceNat"));
        }
        let changed = self.store.update(|snapshot| {
            let found = load_balancer::find(snapshot, &call.scope, &arn)?;
            let kind = found.load_balancer_type;
            let wishes =
                subnet::parse(input.subnets.clone(), input.subnet_mappings.clone(), kind, &found.scheme)?;
            let subnets = subnet::resolve(snapshot, &call.scope, &wishes, kind)?;
            if let Some(other) = subnets.iter().find(|subnet| subnet.vpc != found.vpc) {
                let message = format!("Subnet '{}' is not in the VPC of the load balancer", other.id);
                return Err(validation(message));
            }
            let mut row = LoadBalancer::clone(&found);
            let mut transaction = Transaction::new();
            row.subnets = moved(snapshot, &mut transaction, &row, &wishes, &subnets, call, &*self.ids)?;
            transaction.replace(&found, row.clone());
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        let is_network = row.load_balancer_type == LoadBalancerType::Network;
        Ok(SetSubnetsOutput {
            availability_zones: Some(load_balancer::describe_zones(&self.store.snapshot(), &row)),
            enable_prefix_for_ipv6_source_nat: is_network.then(|| "off".to_owned()),
            ip_address_type: Some(row.ip_address_type),
        })
    }
}

fn moved(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    row: &LoadBalancer,
    wishes: &[SubnetWish],
    subnets: &[Subnet],
    call: &Call,
    ids: &dyn Ids,
) -> Result<Vec<LoadBalancerSubnet>, Fault> {
    let stays = |known: &&LoadBalancerSubnet, wish: &SubnetWish| {
        let is_wished = wish.private_address.is_none() || wish.private_address == known.address;
        known.subnet == wish.subnet && is_wished && wish.allocation == known.allocation
    };
    for known in &row.subnets {
        if !wishes.iter().any(|wish| stays(&known, wish)) {
            subnet::release(snapshot, transaction, &row.scope, known, call.now);
        }
    }
    let place = |(wish, subnet): (&SubnetWish, &Subnet)| {
        if let Some(known) = row.subnets.iter().find(|known| stays(known, wish)) {
            return Ok(known.clone());
        }
        let wish = InterfaceWish { load_balancer: row, subnet, wish, now: call.now };
        wish.make(snapshot, transaction, ids)
    };
    wishes.iter().zip(subnets).map(place).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::NetworkInterface;
    use store::Prefix;

    fn interfaces(server: &Server) -> Vec<(String, String)> {
        let snapshot = server.store.snapshot();
        let rows = snapshot.scan::<NetworkInterface>(Prefix::everything(), None);
        let mut found: Vec<_> = rows.map(|row| (row.subnet.clone(), row.id.clone())).collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn what_stays_keeps_its_address() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let before = interfaces(&server);
        let [a, b, c] = [0, 1, 2].map(|n| server.vpc.subnets[n].id.clone());
        let query =
            format!("Action=SetSubnets&LoadBalancerArn={arn}&Subnets.member.1={a}&Subnets.member.2={c}");
        assert_eq!(server.ask_for("SubnetId", &query).await, [a.clone(), c.clone()]);
        let after = interfaces(&server);
        let of = |rows: &[(String, String)], subnet: &str| {
            rows.iter().find(|(known, _)| known == subnet).map(|(_, id)| id.clone())
        };
        assert_eq!(of(&before, &a), of(&after, &a));
        assert!(of(&after, &c).is_some() && of(&after, &b).is_none());
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let [a, b] = [0, 1].map(|n| server.vpc.subnets[n].id.clone());
        let before = interfaces(&server);
        for (query, fault) in [
            (
                format!("LoadBalancerArn={arn}&Subnets.member.1={a}"),
                "ValidationError: At least two subnets in two different",
            ),
            (format!("LoadBalancerArn={arn}"), "ValidationError: Either subnets or subnet mappings must be"),
            (
                format!("LoadBalancerArn={arn}&Subnets.member.1={a}&Subnets.member.2=subnet-0"),
                "SubnetNotFound: The subnet ID 'subnet-0' does",
            ),
            (
                format!(
                    "LoadBalancerArn={arn}&IpAddressType=dualstack&Subnets.member.1={a}&Subnets.member.2={b}"
                ),
                "InvalidConfigurationRequest: The IP address type 'dualstack' is not",
            ),
            (
                format!("LoadBalancerArn={arn}0&Subnets.member.1={a}&Subnets.member.2={b}"),
                "LoadBalancerNotFound: Load balancer '",
            ),
        ] {
            let told = server.fault(&format!("Action=SetSubnets&{query}")).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
        assert_eq!(interfaces(&server), before);
    }
}

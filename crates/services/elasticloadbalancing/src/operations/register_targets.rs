//! RegisterTargets: registers targets with a target group. Source: Elastic Load Balancing API reference, "RegisterTargets".
//!
//! Differs from AWS: an address outside the VPC is refused also where it is one of another VPC of this machine, for VPCs do
//! not reach one another; instances are the machines that are registered with a cluster. A target that is registered stays
//! as it is, one that drains is taken back.

use api::elasticloadbalancing::operations::RegisterTargets;
use api::elasticloadbalancing::{RegisterTargetsInput, RegisterTargetsOutput};
use domain::NewTarget;
use store::{Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, validation};
use crate::resources::{target, target_group};
use crate::{Elasticloadbalancing, quotas};

impl Operation<RegisterTargets> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &RegisterTargetsInput) -> Vec<Permission> {
        let arn = input.target_group_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:RegisterTargets", arn)]
    }

    async fn handle(&self, call: &Call, input: RegisterTargetsInput) -> Result<RegisterTargetsOutput, Fault> {
        let arn = input.target_group_arn.unwrap_or_default();
        let targets = input.targets.filter(|targets| !targets.is_empty());
        let targets = targets.ok_or_else(|| validation("Targets cannot be empty"))?;
        let registered = self.store.update(|snapshot| {
            let group = target_group::find(snapshot, &call.scope, &arn)?;
            let targets = target::parse(&group, targets.clone())?;
            let check = |asked| target::check(snapshot, &group, asked);
            let targets = targets.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
            let known = rows_load_balancing::targets_of(snapshot, &group);
            let is_known = |target: &domain::TargetDescription| {
                known.iter().any(|row| row.target == target.target && row.port == target.port)
            };
            let arn = group.arn();
            let added: Vec<_> = targets
                .iter()
                .filter(|target| !is_known(target))
                .map(|target| NewTarget {
                    target_group: arn.as_str(),
                    target: &target.target,
                    zone: target.zone.as_deref(),
                })
                .collect();
            let mut counts = rows_load_balancing::target_counts(snapshot, [&*group]);
            counts.enter(&added).map_err(|quota| quotas::of_targets(&quota))?;
            let mut transaction = Transaction::new();
            rows_load_balancing::register_targets(snapshot, &mut transaction, &group, &targets, call.now);
            Ok((transaction, ()))
        });
        registered.await.map_err(of_update)?;
        Ok(RegisterTargetsOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn addresses_are_registered_with_their_zones() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let (a, b) = (server.vpc.subnets[0].cidr.nth(9).unwrap(), server.vpc.subnets[1].cidr.nth(9).unwrap());
        let query = format!(
            "Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={a}&Targets.member.2.Id={b}\
             &Targets.member.2.Port=8080&Targets.member.3.Id=192.168.7.7&Targets.member.3.AvailabilityZone=all"
        );
        server.ok(&query).await;
        server.ok(&query).await;
        let query = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
        assert_eq!(
            server.ask_for("Id", &query).await,
            [a.to_string(), b.to_string(), "192.168.7.7".to_owned()]
        );
        assert_eq!(server.ask_for("Port", &query).await, ["80", "8080", "80"]);
        assert_eq!(server.ask_for("AvailabilityZone", &query).await, ["us-east-1a", "us-east-1b", "all"]);
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let ip = server.target_group("web").await;
        let instance = server.target_group_with("instances", "Protocol=HTTP&Port=80").await;
        let inside = server.vpc.subnets[0].cidr.nth(9).unwrap();
        for (group, target, fault) in [
            (&ip, "Id=x".to_owned(), "ValidationError: The IP address 'x' is not a valid IPv4 address".to_owned()),
            (&ip, "Id=192.168.7.7".to_owned(), "ValidationError: The Availability Zone is required for IP address '192.168.7.7' because it is not in the VPC".to_owned()),
            (&ip, "Id=192.168.7.7&Targets.member.1.AvailabilityZone=us-east-1a".to_owned(), "ValidationError: The Availability Zone for IP address '192.168.7.7' must be 'all' when not within the VPC".to_owned()),
            (&ip, format!("Id={inside}&Targets.member.1.AvailabilityZone=all"), format!("ValidationError: The IP address '{inside}' is within the VPC, and cannot have its Availability Zone overridden to 'all' from 'us-east-1a'")),
            (&ip, "Id=127.0.0.1&Targets.member.1.AvailabilityZone=all".to_owned(), "InvalidTarget: The IP address '127.0.0.1' is not within the VPC".to_owned()),
            (&ip, "Id=169.254.170.2&Targets.member.1.AvailabilityZone=all".to_owned(), "InvalidTarget: The IP address '169.254.170.2' is not".to_owned()),
            (&ip, "Id=8.8.8.8&Targets.member.1.AvailabilityZone=all".to_owned(), "InvalidTarget: The IP address '8.8.8.8' is not".to_owned()),
            (&ip, format!("Id={inside}&Targets.member.1.QuicServerId=0x1"), "InvalidConfigurationRequest: QuicServerId is not supported by".to_owned()),
            (&ip, format!("Id={inside}&Targets.member.1.Port=0"), "ValidationError: 1 validation error detected".to_owned()),
            (&instance, "Id=i-0123456789abcdef0".to_owned(), "InvalidTarget: The following targets are not in a running state and cannot be registered: 'i-0123456789abcdef0'".to_owned()),
            (&instance, "Id=10.0.0.1".to_owned(), "ValidationError: Instance ID '10.0.0.1' is not valid".to_owned()),
        ] {
            let query = format!("Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.{target}");
            let told = server.fault(&query).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{target}: {told}");
        }
        let gone = format!("{ip}0");
        assert_eq!(
            server
                .fault(&format!("Action=RegisterTargets&TargetGroupArn={gone}&Targets.member.1.Id={inside}"))
                .await,
            format!("400 TargetGroupNotFound: Target group '{gone}' not found")
        );
    }

    /// `count` targets, each at another port, and the parameters that register them.
    fn at_ports(address: &str, ports: std::ops::Range<u32>) -> String {
        let target = |(n, port)| format!("&Targets.member.{n}.Id={address}&Targets.member.{n}.Port={port}");
        (1..).zip(ports).map(target).collect()
    }

    #[tokio::test]
    async fn a_load_balancer_has_so_many_targets_at_most() {
        let server = Server::new().await;
        let address = |subnet: usize, n: u32| server.vpc.subnets[subnet].cidr.nth(n).unwrap().to_string();
        let register =
            |group: &str, targets: &str| format!("Action=RegisterTargets&TargetGroupArn={group}{targets}");
        let listener = |arn: &str, protocol: &str, group: &str| {
            format!(
                "Action=CreateListener&LoadBalancerArn={arn}&Protocol={protocol}&Port=99\
                 &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
            )
        };
        let (one, two) = (server.target_group("one").await, server.target_group("two").await);
        let arn = server.load_balancer("app").await;
        server.listener(&arn, 80, &one).await;
        server.listener(&arn, 81, &two).await;
        server.ok(&register(&one, &at_ports(&address(0, 9), 1..600))).await;
        server.ok(&register(&two, &at_ports(&address(0, 9), 1000..1401))).await;
        let many = format!(
            "The maximum number of targets per load balancer '1000' has been reached on load balancer '{arn}'"
        );
        assert_eq!(
            server.fault(&register(&two, &at_ports(&address(1, 9), 1..2))).await,
            format!("400 TooManyTargets: {many}")
        );
        let again = server.fault(&register(&two, &at_ports(&address(0, 9), 2000..2001))).await;
        assert!(again.starts_with("400 TooManyRegistrationsForTargetId: "), "{again}");
        // A group that comes with its targets.
        let three = server.target_group("three").await;
        server.ok(&register(&three, &at_ports(&address(1, 9), 1..2))).await;
        assert_eq!(
            server.fault(&listener(&arn, "HTTP", &three)).await,
            format!("400 TooManyTargets: {many}")
        );

        let tcp = server.target_group_with("tcp", "Protocol=TCP&Port=80&TargetType=ip").await;
        let arn = server.network_load_balancer("net").await;
        server.ok(&listener(&arn, "TCP", &tcp)).await;
        server.ok(&register(&tcp, &at_ports(&address(0, 9), 1..501))).await;
        server.ok(&register(&tcp, &at_ports(&address(1, 9), 1..2))).await;
        let full = server.fault(&register(&tcp, &at_ports(&address(0, 10), 1..2))).await;
        assert!(
            full.ends_with(&format!("per Availability Zone '500' has been reached on load balancer '{arn}'")),
            "{full}"
        );
    }

    #[tokio::test]
    async fn a_group_has_a_thousand_targets_at_most() {
        let server = Server::new().await;
        let group = server.target_group("web").await;
        let address = |n: u32| server.vpc.subnets[0].cidr.nth(n).unwrap();
        for start in [10, 510] {
            let targets: Vec<_> =
                (0..500).map(|n| format!("Targets.member.{}.Id={}", n + 1, address(start + n))).collect();
            server.ok(&format!("Action=RegisterTargets&TargetGroupArn={group}&{}", targets.join("&"))).await;
        }
        let more =
            format!("Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={}", address(1010));
        assert_eq!(
            server.fault(&more).await,
            format!(
                "400 TooManyTargets: The maximum number of targets per target group '1000' has been reached on target group '{group}'"
            )
        );
    }
}

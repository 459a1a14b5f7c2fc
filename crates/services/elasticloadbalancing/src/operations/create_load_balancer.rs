//! CreateLoadBalancer: makes a load balancer, with an address in each of its subnets. Source: Elastic Load Balancing API
//! reference, "CreateLoadBalancer".
//!
//! Differs from AWS: the state stays `provisioning` until the balancer listens, as there, which takes milliseconds. Not
//! served, and refused by name: load balancers of type `gateway`, the address types `dualstack` and
//! `dualstack-without-public-ipv4`, IPv6 source NAT, IPAM pools, customer-owned addresses. Names in DNS are in lower case.
//! Tags of a repeated call must be the same too. An internet-facing load balancer has public addresses only where elastic
//! ones are given, which needs security groups; this machine reaches it at its private ones.

use api::elasticloadbalancing::operations::CreateLoadBalancer;
use api::elasticloadbalancing::{CreateLoadBalancerInput, CreateLoadBalancerOutput, faults};
use base::{Ids, Scope, Tag};
use domain::{LoadBalancer, LoadBalancerState, LoadBalancerType, Subnet};
use store::{Key, Snapshot, Transaction, rows_load_balancing};
use wire::{Call, Fault, Operation, Permission};

use crate::faults::{of_update, unsupported, validation};
use crate::resources::subnet::{InterfaceWish, SubnetWish};
use crate::resources::{load_balancer, name, subnet, tag};
use crate::{Elasticloadbalancing, quotas};

impl Operation<CreateLoadBalancer> for Elasticloadbalancing {
    fn permissions(&self, call: &Call, input: &CreateLoadBalancerInput) -> Vec<Permission> {
        let kind = if input.type_.as_deref() == Some("network") { "net" } else { "app" };
        let name = input.name.as_deref().unwrap_or_default();
        let arn =
            base::Arn::new("elasticloadbalancing", &call.scope, format!("loadbalancer/{kind}/{name}/*"));
        vec![Permission::new("elasticloadbalancing:CreateLoadBalancer", arn.as_str())]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateLoadBalancerInput,
    ) -> Result<CreateLoadBalancerOutput, Fault> {
        let wish = Wish::parse(input)?;
        let made = self.store.update(|snapshot| wish.make(snapshot, call, &*self.ids));
        let made = made.await.map_err(of_update)?;
        let told = load_balancer::describe(&self.store.snapshot(), &made);
        Ok(CreateLoadBalancerOutput { load_balancers: Some(vec![told]) })
    }
}

/// What the call asks for.
struct Wish {
    name: String,
    kind: LoadBalancerType,
    scheme: String,
    subnets: Vec<SubnetWish>,
    security_groups: Vec<String>,
    tags: Vec<Tag>,
}

impl Wish {
    fn parse(input: CreateLoadBalancerInput) -> Result<Self, Fault> {
        let name = input.name.unwrap_or_default();
        name::check("load balancer", &name)?;
        if name.starts_with("internal-") {
            return Err(validation(format!("Load balancer name '{name}' cannot begin with 'internal-'")));
        }
        let kind = match input.type_.as_deref() {
            None | Some("application") => LoadBalancerType::Application,
            Some("network") => LoadBalancerType::Network,
            Some(other) => return Err(unsupported(&format!("The load balancer type '{other}'"))),
        };
        if let Some(other) = input.ip_address_type.filter(|kind| kind != "ipv4") {
            return Err(unsupported(&format!("The IP address type '{other}'")));
        }
        if input.customer_owned_ipv4_pool.is_some() {
            return Err(unsupported("CustomerOwnedIpv4Pool"));
        }
        if input.ipam_pools.is_some() {
            return Err(unsupported("IpamPools"));
        }
        match (input.enable_prefix_for_ipv6_source_nat.as_deref(), kind) {
            (Some("on"), _) => return Err(unsupported("EnablePrefixForIpv6SourceNat")),
            (Some(_), LoadBalancerType::Application) => {
                return Err(validation(
                    "EnablePrefixForIpv6SourceNat is supported for load balancers of type 'network' only",
                ));
            }
            _ => {}
        }
        let scheme = input.scheme.unwrap_or_else(|| "internet-facing".to_owned());
        let subnets = subnet::parse(input.subnets, input.subnet_mappings, kind, &scheme)?;
        let tags = tag::parse(input.tags)?;
        let security_groups = input.security_groups.unwrap_or_default();
        Ok(Self { name, kind, scheme, subnets, security_groups, tags })
    }

    fn make(
        &self,
        snapshot: &Snapshot,
        call: &Call,
        ids: &dyn Ids,
    ) -> Result<(Transaction, LoadBalancer), Fault> {
        let subnets = subnet::resolve(snapshot, &call.scope, &self.subnets, self.kind)?;
        let vpc = subnets[0].vpc.clone();
        let mut security_groups =
            subnet::security_groups(snapshot, &call.scope, &vpc, &self.security_groups)?;
        if security_groups.is_empty() && self.kind == LoadBalancerType::Application {
            security_groups = subnet::default_security_group(snapshot, &call.scope, &vpc);
        }
        let key = rows_load_balancing::load_balancer_key(&call.scope, &self.name);
        if let Some(known) = snapshot.get::<LoadBalancer>(&key) {
            let is_same = self.is_same(&known, &security_groups);
            let message = format!(
                "A load balancer with the same name '{}' exists, but with different settings",
                self.name
            );
            return if is_same {
                Ok((Transaction::new(), LoadBalancer::clone(&known)))
            } else {
                Err(faults::duplicate_load_balancer_name_exception(message))
            };
        }
        check_count(snapshot, &call.scope, self.kind)?;
        if self.scheme == "internet-facing" {
            subnet::check_gateway(snapshot, &call.scope, &vpc)?;
        }
        let id = ids.hex(16);
        let is_internal = self.scheme == "internal";
        let mut row = LoadBalancer {
            scope: call.scope.clone(),
            name: self.name.clone(),
            dns_name: load_balancer::dns_name(self.kind, &call.scope, &self.name, &id, is_internal, ids),
            id,
            load_balancer_type: self.kind,
            scheme: self.scheme.clone(),
            ip_address_type: "ipv4".to_owned(),
            vpc,
            subnets: Vec::new(),
            security_groups,
            state: LoadBalancerState::Provisioning,
            state_reason: None,
            attributes: [].into(),
            created_at: call.now,
            tags: self.tags.clone(),
        };
        let mut transaction = Transaction::new();
        row.subnets = self.place(snapshot, &mut transaction, &row, &subnets, call, ids)?;
        transaction.insert(row.clone());
        Ok((transaction, row))
    }

    fn place(
        &self,
        snapshot: &Snapshot,
        transaction: &mut Transaction,
        row: &LoadBalancer,
        subnets: &[Subnet],
        call: &Call,
        ids: &dyn Ids,
    ) -> Result<Vec<domain::LoadBalancerSubnet>, Fault> {
        let wishes = self.subnets.iter().zip(subnets);
        let place = |(wish, subnet)| {
            let wish = InterfaceWish { load_balancer: row, subnet, wish, now: call.now };
            wish.make(snapshot, transaction, ids)
        };
        wishes.map(place).collect()
    }

    /// Whether the call is one that was answered before.
    fn is_same(&self, known: &LoadBalancer, security_groups: &[String]) -> bool {
        let sorted = |groups: &[String]| {
            let mut groups = groups.to_vec();
            groups.sort();
            groups
        };
        let mut wishes = self.subnets.clone();
        let mut subnets: Vec<_> = known
            .subnets
            .iter()
            .map(|subnet| SubnetWish {
                subnet: subnet.subnet.clone(),
                private_address: subnet.address.filter(|_| subnet.is_address_chosen),
                allocation: subnet.allocation.clone(),
            })
            .collect();
        wishes.sort_by(|one, other| one.subnet.cmp(&other.subnet));
        subnets.sort_by(|one, other| one.subnet.cmp(&other.subnet));
        known.load_balancer_type == self.kind
            && known.scheme == self.scheme
            && wishes == subnets
            && sorted(&known.security_groups) == sorted(security_groups)
            && known.tags == self.tags
    }
}

fn check_count(snapshot: &Snapshot, scope: &Scope, kind: LoadBalancerType) -> Result<(), Fault> {
    let rows = snapshot.scan::<LoadBalancer>(Key::prefix(scope, &[]), None);
    if rows.filter(|row| row.load_balancer_type == kind).count() < quotas::LOAD_BALANCERS {
        return Ok(());
    }
    let maximum = quotas::LOAD_BALANCERS;
    Err(faults::too_many_load_balancers_exception(format!(
        "The maximum number of load balancers '{maximum}' has been reached"
    )))
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::NetworkInterface;
    use expect_test::expect;
    use store::{Key, Prefix};

    #[tokio::test]
    async fn an_application_load_balancer_has_an_address_in_each_subnet() {
        let server = Server::new().await;
        let query = format!(
            "Action=CreateLoadBalancer&Name=Front&{}&Tags.member.1.Key=team&Tags.member.1.Value=a",
            server.two_subnets()
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateLoadBalancerResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
              <CreateLoadBalancerResult>
                <LoadBalancers>
                  <member>
                    <AvailabilityZones>
                      <member>
                        <LoadBalancerAddresses></LoadBalancerAddresses>
                        <SubnetId>subnet-ad61c245e06bb0bc4</SubnetId>
                        <ZoneName>us-east-1a</ZoneName>
                      </member>
                      <member>
                        <LoadBalancerAddresses></LoadBalancerAddresses>
                        <SubnetId>subnet-d2f49798ab0deb2c8</SubnetId>
                        <ZoneName>us-east-1b</ZoneName>
                      </member>
                    </AvailabilityZones>
                    <CanonicalHostedZoneId>Z35SXDOTRQ7X7K</CanonicalHostedZoneId>
                    <CreatedTime>2023-11-14T22:13:20Z</CreatedTime>
                    <DNSName>front-5907144046.us-east-1.elb.amazonaws.com</DNSName>
                    <IpAddressType>ipv4</IpAddressType>
                    <LoadBalancerArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/Front/822d5fe3b5885a80</LoadBalancerArn>
                    <LoadBalancerName>Front</LoadBalancerName>
                    <Scheme>internet-facing</Scheme>
                    <SecurityGroups>
                      <member>sg-6b717e602f2534b9d</member>
                    </SecurityGroups>
                    <State>
                      <Code>provisioning</Code>
                    </State>
                    <Type>application</Type>
                    <VpcId>vpc-befba86ae9e0c2078</VpcId>
                  </member>
                </LoadBalancers>
              </CreateLoadBalancerResult>
              <ResponseMetadata>
              </ResponseMetadata>
            </CreateLoadBalancerResponse>"#]].assert_eq(&server.ask(&query).await);
        let interfaces: Vec<_> =
            server.store.snapshot().scan::<NetworkInterface>(Prefix::everything(), None).collect();
        assert_eq!(interfaces.len(), 2);
        for interface in &interfaces {
            assert!(interface.description.starts_with("ELB app/Front/"), "{}", interface.description);
            assert!(interface.requester_managed && interface.owner_task.is_none());
            assert_eq!(interface.security_groups.concat(), server.vpc.security_group.id);
        }
        assert_ne!(interfaces[0].subnet, interfaces[1].subnet);
    }

    #[tokio::test]
    async fn a_network_load_balancer_has_no_groups_unless_told() {
        let server = Server::new().await;
        let subnet = &server.vpc.subnets[0];
        let address = subnet.cidr.nth(77).unwrap();
        let query = format!(
            "Action=CreateLoadBalancer&Name=Back&Type=network&Scheme=internal\
             &SubnetMappings.member.1.SubnetId={}&SubnetMappings.member.1.PrivateIPv4Address={address}",
            subnet.id
        );
        let answer = server.ask(&query).await;
        assert!(answer.contains(&format!("<PrivateIPv4Address>{address}</PrivateIPv4Address>")), "{answer}");
        assert!(!answer.contains("<SecurityGroups>"), "{answer}");
        assert!(answer.contains(".elb.us-east-1.amazonaws.com</DNSName>"), "{answer}");
        let taken = query.replace("Name=Back", "Name=Other");
        assert_eq!(
            server.fault(&taken).await,
            format!("400 InvalidConfigurationRequest: The address '{address}' is in use or reserved")
        );
        assert_eq!(server.ask(&query).await, answer, "the same again is the same load balancer");
    }

    #[tokio::test]
    async fn an_elastic_address_is_one_load_balancers() {
        let server = Server::new().await;
        let elastic = domain::ElasticAddress {
            scope: crate::testing::scope(),
            allocation_id: "eipalloc-1".to_owned(),
            address: [203, 0, 113, 9].into(),
            tags: Vec::new(),
        };
        let mut transaction = store::Transaction::new();
        transaction.insert(elastic);
        server.store.transact(transaction).await.unwrap();
        let query = |name: &str, group: &str| {
            format!(
                "Action=CreateLoadBalancer&Name={name}&Type=network&SubnetMappings.member.1.SubnetId={}\
                 &SubnetMappings.member.1.AllocationId=eipalloc-1{group}",
                server.vpc.subnets[0].id
            )
        };
        let group = format!("&SecurityGroups.member.1={}", server.vpc.security_group.id);
        let answer = server.ok(&query("bare", "")).await;
        assert!(
            answer.contains("<IpAddress>203.0.113.9</IpAddress>"),
            "it needs no security group: {answer}"
        );
        let arn = server.ask_for("LoadBalancerArn", &query("bare", "")).await.concat();
        server.ok(&format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}")).await;
        let answer = server.ok(&query("one", &group)).await;
        assert!(answer.contains("<IpAddress>203.0.113.9</IpAddress>"), "{answer}");
        assert_eq!(
            server.fault(&query("two", &group)).await,
            "400 ResourceInUse: The allocation ID 'eipalloc-1' is already associated"
        );
        let interfaces = server.store.snapshot();
        let interface = interfaces.scan::<NetworkInterface>(Prefix::everything(), None).next().unwrap();
        assert_eq!(interface.interface_type.to_string(), "network_load_balancer");
        assert_eq!(interface.requester.as_deref(), Some("amazon-elb"));
        let arn = server.ask_for("LoadBalancerArn", &query("one", &group)).await.concat();
        server.ok(&format!("Action=DeleteLoadBalancer&LoadBalancerArn={arn}")).await;
        server.ok(&query("two", &group)).await;
    }

    #[tokio::test]
    async fn what_faces_the_internet_needs_a_gateway() {
        let server = Server::new().await;
        let mut transaction = store::Transaction::new();
        let snapshot = server.store.snapshot();
        for gateway in snapshot.scan::<domain::InternetGateway>(Prefix::everything(), None) {
            transaction.remove(&gateway);
        }
        server.store.transact(transaction).await.unwrap();
        let query = format!("Action=CreateLoadBalancer&Name=x&{}", server.two_subnets());
        assert_eq!(
            server.fault(&query).await,
            format!("400 InvalidSubnet: VPC {} has no internet gateway", server.vpc.vpc.id)
        );
        server.ok(&format!("{query}&Scheme=internal")).await;
    }

    #[tokio::test]
    async fn the_same_name_is_the_same_load_balancer_or_a_fault() {
        let server = Server::new().await;
        let subnets = server.two_subnets();
        let query = format!("Action=CreateLoadBalancer&Name=front&{subnets}");
        let arn = server.ask_for("LoadBalancerArn", &query).await;
        assert_eq!(server.ask_for("LoadBalancerArn", &query).await, arn);
        assert_eq!(
            server.fault(&format!("{query}&Scheme=internal")).await,
            "400 DuplicateLoadBalancerName: A load balancer with the same name 'front' exists, but with different \
             settings"
        );
        let count = server.store.snapshot().scan::<NetworkInterface>(Prefix::everything(), None).count();
        assert_eq!(count, 2);
    }

    #[tokio::test]
    async fn faults() {
        let server = Server::new().await;
        let (one, two) = (&server.vpc.subnets[0].id, &server.vpc.subnets[1].id);
        let subnets = server.two_subnets();
        for (query, fault) in [
            (
                format!("Name=-x&{subnets}"),
                "400 ValidationError: Load balancer name '-x' cannot begin or end with a hyphen(-)",
            ),
            (
                format!("Name=a_b&{subnets}"),
                "400 ValidationError: Load balancer name 'a_b' can only contain characters that are alphanumeric characters and hyphens(-)",
            ),
            (
                format!("Name=internal-x&{subnets}"),
                "400 ValidationError: Load balancer name 'internal-x' cannot begin with 'internal-'",
            ),
            (format!("Name={}&{subnets}", "x".repeat(33)), "400 ValidationError: Load balancer name "),
            (
                format!("Name=x&Subnets.member.1={one}"),
                "400 ValidationError: At least two subnets in two different Availability Zones must be specified",
            ),
            (
                "Name=x&Subnets.member.1=subnet-0".to_owned(),
                "400 SubnetNotFound: The subnet ID 'subnet-0' does not exist",
            ),
            (format!("Name=x&Subnets.member.1={one}&Subnets.member.2={one}"), "400 ValidationError: Subnet "),
            ("Name=x".to_owned(), "400 ValidationError: Either subnets or subnet mappings must be specified"),
            (
                format!("Name=x&{subnets}&SubnetMappings.member.1.SubnetId={two}"),
                "400 ValidationError: You cannot specify both subnets and subnet mappings",
            ),
            (
                format!("Name=x&{subnets}&SecurityGroups.member.1=sg-0"),
                "400 InvalidSecurityGroup: Security group 'sg-0' does not exist",
            ),
            (
                format!("Name=x&{subnets}&Type=gateway"),
                "400 InvalidConfigurationRequest: The load balancer type 'gateway' is not supported by this release of Roadstead.",
            ),
            (
                format!("Name=x&{subnets}&IpAddressType=dualstack"),
                "400 InvalidConfigurationRequest: The IP address type 'dualstack' is not",
            ),
            (
                format!("Name=x&{subnets}&Scheme=other"),
                "400 ValidationError: 1 validation error detected: Value 'other' at 'scheme' failed",
            ),
            (
                format!("Name=x&{subnets}&Tags.member.1.Key=a&Tags.member.2.Key=a"),
                "400 DuplicateTagKeys: Tag key was specified more than once: 'a'",
            ),
            (
                format!(
                    "Name=x&SubnetMappings.member.1.SubnetId={one}&SubnetMappings.member.1.AllocationId=eipalloc-0"
                ),
                "400 InvalidConfigurationRequest: Static addresses are supported for load balancers of type 'network' only",
            ),
            (
                format!(
                    "Name=x&Type=network&SubnetMappings.member.1.SubnetId={one}&SubnetMappings.member.1.AllocationId=eipalloc-0"
                ),
                "400 AllocationIdNotFound: The allocation ID 'eipalloc-0' does not exist",
            ),
            (
                format!(
                    "Name=x&Type=network&Scheme=internal&SubnetMappings.member.1.SubnetId={one}&SubnetMappings.member.1.PrivateIPv4Address=9.9.9.9"
                ),
                "400 InvalidConfigurationRequest: The address '9.9.9.9' is not in the range of subnet",
            ),
        ] {
            let told = server.fault(&format!("Action=CreateLoadBalancer&{query}")).await;
            assert!(told.starts_with(fault), "{query}: {told}");
        }
        let rows = server
            .store
            .snapshot()
            .scan::<domain::LoadBalancer>(Key::prefix(&crate::testing::scope(), &[]), None)
            .count();
        assert_eq!(rows, 0);
    }

    #[tokio::test]
    async fn there_are_fifty_at_most_of_a_kind() {
        let server = Server::new().await;
        let subnet = &server.vpc.subnets[0].id;
        for n in 0..50 {
            server
                .ok(&format!("Action=CreateLoadBalancer&Type=network&Name=n{n}&Subnets.member.1={subnet}"))
                .await;
        }
        let query = format!("Action=CreateLoadBalancer&Type=network&Name=more&Subnets.member.1={subnet}");
        assert_eq!(
            server.fault(&query).await,
            "400 TooManyLoadBalancers: The maximum number of load balancers '50' has been reached"
        );
        server.load_balancer("other").await;
    }
}

//! CreateNatGateway: makes a NAT gateway in a subnet, with a network interface of its own. Source: Amazon EC2 API reference, "CreateNatGateway".
//!
//! Differs from AWS: a gateway is available at once, and no packet passes it: tasks reach the outside through the machine, which
//! translates their addresses anyway (see the README). One without an internet gateway is refused, where AWS makes it and
//! lets it fail. There are no regional gateways and no secondary addresses. `ClientToken` does not keep a call from being
//! done twice.

use api::ec2::operations::CreateNatGateway;
use api::ec2::{CreateNatGatewayRequest, CreateNatGatewayResult};
use wire::{Call, Fault, Operation, Permission};

use domain::{
    NatGateway, NatGatewayState, NetworkInterface, NetworkInterfaceAttachment, NetworkInterfaceStatus,
    NetworkInterfaceType, Subnet,
};
use store::{Key, Snapshot, Transaction};

use crate::resources::network_interface::{self, NewInterface};
use crate::resources::tag::{self, TaggedKind};
use crate::resources::{elastic_address, nat_gateway, resource_arn, route_table, subnet};
use crate::{Ec2, faults};

/// Source: "Amazon VPC quotas", NAT gateways per Availability Zone.
const GATEWAYS_PER_ZONE: usize = 5;
/// Who is named as the maker of its interface.
const REQUESTER: &str = "amazon-nat";

impl Operation<CreateNatGateway> for Ec2 {
    fn permissions(&self, call: &Call, input: &CreateNatGatewayRequest) -> Vec<Permission> {
        vec![
            Permission::new("ec2:CreateNatGateway", resource_arn(call, "natgateway", Some("*"))),
            Permission::new("ec2:CreateNatGateway", resource_arn(call, "subnet", input.subnet_id.as_deref())),
        ]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateNatGatewayRequest,
    ) -> Result<CreateNatGatewayResult, Fault> {
        check_unsupported(&input)?;
        let subnet_id = input.subnet_id.ok_or_else(|| faults::missing("subnetId"))?;
        let is_private = input.connectivity_type.as_deref() == Some("private");
        let allocation = input.allocation_id;
        match (is_private, &allocation) {
            (false, None) => return Err(faults::missing("AllocationId")),
            (true, Some(_)) => {
                let message = "A private NAT gateway cannot have an Elastic IP address.";
                return Err(faults::invalid_combination(message));
            }
            _ => {}
        }
        let address = input.private_ip_address.as_deref().map(network_interface::ipv4_address).transpose()?;
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::NatGateway)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let subnet = subnet::KIND.find::<Subnet>(snapshot, &call.scope, &subnet_id)?;
                check_quota(snapshot, call, &subnet)?;
                let mut transaction = Transaction::new();
                nat_gateway::forget(snapshot, &mut transaction, &call.scope, call.now);
                let public = match &allocation {
                    Some(id) => {
                        let elastic = elastic_address::find(snapshot, &call.scope, Some(id), None)?;
                        if elastic_address::interface_of(snapshot, &elastic).is_some() {
                            return Err(elastic_address::already_associated(&elastic));
                        }
                        route_table::check_gateway(snapshot, &call.scope, &subnet.vpc)?;
                        transaction.require_unchanged(&elastic);
                        let association = format!("eipassoc-{}", self.ids.hex(17));
                        Some(elastic_address::of_interface(&elastic, association))
                    }
                    None => None,
                };
                let id = format!("nat-{}", self.ids.hex(17));
                let description = format!("Interface for NAT Gateway {id}");
                let new = NewInterface { address, groups: Vec::new(), description, tags: Vec::new() };
                let interface = NetworkInterface {
                    status: NetworkInterfaceStatus::InUse,
                    requester_managed: true,
                    requester: Some(REQUESTER.to_owned()),
                    interface_type: NetworkInterfaceType::NatGateway,
                    public_address: public.clone(),
                    attachment: Some(NetworkInterfaceAttachment {
                        id: format!("ela-attach-{}", self.ids.hex(17)),
                        attached_at: call.now,
                    }),
                    ..new.make(snapshot, call, &subnet, &*self.ids)?
                };
                let made = NatGateway {
                    scope: call.scope.clone(),
                    id,
                    vpc: subnet.vpc.clone(),
                    subnet: subnet_id.clone(),
                    state: NatGatewayState::Available,
                    is_private,
                    network_interface: interface.id.clone(),
                    private_address: interface.private_address,
                    allocation_id: public.as_ref().and_then(|public| public.allocation_id.clone()),
                    association_id: public.as_ref().and_then(|public| public.association_id.clone()),
                    public_address: public.map(|public| public.address),
                    created_at: call.now,
                    deleted_at: None,
                    tags: tags.clone(),
                };
                transaction.require_unchanged(&subnet).insert(interface).insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(CreateNatGatewayResult {
            client_token: input.client_token,
            nat_gateway: Some(nat_gateway::describe(&made)),
        })
    }
}

fn check_unsupported(input: &CreateNatGatewayRequest) -> Result<(), Fault> {
    let refused = [
        ("AvailabilityMode", input.availability_mode.as_deref().is_some_and(|mode| mode != "zonal")),
        ("AvailabilityZoneAddresses", input.availability_zone_addresses.is_some()),
        ("SecondaryAllocationIds", input.secondary_allocation_ids.is_some()),
        (
            "SecondaryPrivateIpAddressCount",
            input.secondary_private_ip_address_count.is_some_and(|count| count > 0),
        ),
        ("SecondaryPrivateIpAddresses", input.secondary_private_ip_addresses.is_some()),
        ("VpcId", input.vpc_id.is_some()),
    ];
    match refused.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(faults::unsupported(format!("{name} is not supported."))),
        None => Ok(()),
    }
}

fn check_quota(snapshot: &Snapshot, call: &Call, subnet: &Subnet) -> Result<(), Fault> {
    let zone = &subnet.availability_zone;
    let is_there = |gateway: &NatGateway| {
        let of = snapshot.get::<Subnet>(&Key::new(&call.scope, &[&gateway.subnet]));
        gateway.state == NatGatewayState::Available && of.is_some_and(|of| of.availability_zone == *zone)
    };
    let all = snapshot.scan::<NatGateway>(Key::prefix(&call.scope, &[]), None);
    if all.filter(|gateway| is_there(gateway)).count() < GATEWAYS_PER_ZONE {
        return Ok(());
    }
    let message = format!(
        "Performing this operation would exceed the limit of {GATEWAYS_PER_ZONE} NAT gateways in {zone}"
    );
    Err(Fault::new("NatGatewayLimitExceeded", message, 400))
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use expect_test::expect;

    #[tokio::test]
    async fn a_gateway_has_an_interface_and_an_address() {
        let server = Server::new();
        let subnet = server.default_vpc().await.subnets[0].id.clone();
        let id = server.allocate_address().await;
        let create = format!(
            "Action=CreateNatGateway&SubnetId={subnet}&PrivateIpAddress=172.31.0.9&AllocationId={id}"
        );
        expect![[r#"
            200
            <?xml version="1.0" encoding="UTF-8"?>
            <CreateNatGatewayResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15">
              <natGateway>
                <availabilityMode>zonal</availabilityMode>
                <connectivityType>public</connectivityType>
                <createTime>2023-11-14T22:13:20Z</createTime>
                <natGatewayAddressSet>
                  <item>
                    <allocationId>eipalloc-822d5fe3b5885a806</allocationId>
                    <associationId>eipassoc-23dd9e1f687ddc692</associationId>
                    <isPrimary>true</isPrimary>
                    <networkInterfaceId>eni-895ffa3bbc9f3ad98</networkInterfaceId>
                    <privateIp>172.31.0.9</privateIp>
                    <publicIp>198.18.9.4</publicIp>
                    <status>succeeded</status>
                  </item>
                </natGatewayAddressSet>
                <natGatewayId>nat-c856da6036cd2e004</natGatewayId>
                <state>available</state>
                <subnetId>subnet-ad61c245e06bb0bc4</subnetId>
                <vpcId>vpc-befba86ae9e0c2078</vpcId>
              </natGateway>
            </CreateNatGatewayResponse>"#]]
        .assert_eq(&server.ask(&create).await);
        let query =
            "Action=DescribeNetworkInterfaces&Filter.1.Name=interface-type&Filter.1.Value.1=nat_gateway";
        assert_eq!(server.ask_for("privateIpAddress", query).await, ["172.31.0.9", "172.31.0.9"]);
        assert_eq!(server.ask_for("allocationId", query).await, [id.as_str(), id.as_str()]);
        let again = format!("Action=CreateNatGateway&SubnetId={subnet}&AllocationId={id}");
        assert!(server.fault(&again).await.starts_with("400 Resource.AlreadyAssociated: "));
        let delete = format!("Action=DeleteSubnet&SubnetId={subnet}");
        assert!(server.fault(&delete).await.starts_with("400 DependencyViolation: "));
    }

    #[tokio::test]
    async fn there_are_at_most_five_in_a_zone() {
        let server = Server::new();
        let subnets = server.default_vpc().await.subnets;
        let create = |zone: usize| {
            format!("Action=CreateNatGateway&ConnectivityType=private&SubnetId={}", subnets[zone].id)
        };
        for _ in 0..5 {
            server.done(&create(0)).await;
        }
        assert!(server.fault(&create(0)).await.starts_with("400 NatGatewayLimitExceeded: "));
        server.done(&create(1)).await;
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        let vpc = server.create_vpc("10.0.0.0/16").await;
        let subnet = server.create_subnet(&vpc, "10.0.0.0/24").await;
        let id = server.allocate_address().await;
        for (query, fault) in [
            (
                format!("AllocationId={id}"),
                "400 MissingParameter: The request must contain the parameter subnetId",
            ),
            (
                format!("SubnetId={subnet}"),
                "400 MissingParameter: The request must contain the parameter AllocationId",
            ),
            (format!("SubnetId={subnet}&AllocationId=eipalloc-0"), "400 InvalidAllocationID.NotFound: "),
            (format!("SubnetId={subnet}&AllocationId={id}"), "400 Gateway.NotAttached: Network vpc-"),
            (
                format!("SubnetId={subnet}&AllocationId={id}&ConnectivityType=private"),
                "400 InvalidParameterCombination: ",
            ),
            ("SubnetId=subnet-0&ConnectivityType=private".to_owned(), "400 InvalidSubnetID.NotFound: "),
            (
                format!("SubnetId={subnet}&ConnectivityType=private&PrivateIpAddress=10.0.0.1"),
                "400 InvalidParameterValue: Address is in subnet's reserved address range",
            ),
            (format!("SubnetId={subnet}&AvailabilityMode=regional"), "400 UnsupportedOperation: "),
        ] {
            let found = server.fault(&format!("Action=CreateNatGateway&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}

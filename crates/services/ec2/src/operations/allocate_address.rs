//! AllocateAddress: gives the account an elastic address. Source: Amazon EC2 API reference, "AllocateAddress".
//!
//! Differs from AWS: the addresses come from the pool of this machine (`decisions/0021`), and cannot be chosen.

use api::ec2::operations::AllocateAddress;
use api::ec2::{AllocateAddressRequest, AllocateAddressResult};
use wire::{Call, Fault, Operation, Permission};

use domain::ElasticAddress;
use store::{Key, Transaction, rows_addresses};

use crate::resources::tag::{self, TaggedKind};
use crate::resources::{elastic_address, resource_arn};
use crate::{Ec2, faults};

/// Source: "Elastic IP address quota".
const ADDRESSES_PER_REGION: usize = 5;

impl Operation<AllocateAddress> for Ec2 {
    fn permissions(&self, call: &Call, _input: &AllocateAddressRequest) -> Vec<Permission> {
        vec![Permission::new("ec2:AllocateAddress", resource_arn(call, "elastic-ip", Some("*")))]
    }

    async fn handle(
        &self,
        call: &Call,
        input: AllocateAddressRequest,
    ) -> Result<AllocateAddressResult, Fault> {
        if let Some(address) = &input.address {
            return Err(elastic_address::unknown(address));
        }
        if let Some(pool) = &input.public_ipv4_pool
            && pool != "amazon"
        {
            let message = format!("The pool ID '{pool}' does not exist.");
            return Err(Fault::new("InvalidPoolID.NotFound", message, 400));
        }
        if let Some(pool) = &input.ipam_pool_id {
            let message = format!("The ipam-pool ID '{pool}' does not exist");
            return Err(Fault::new("InvalidIpamPoolId.NotFound", message, 400));
        }
        if input.customer_owned_ipv4_pool.is_some() {
            return Err(faults::unsupported("There are no Outposts, and no addresses of customers."));
        }
        if input.domain.as_deref().is_some_and(|domain| domain != "vpc") {
            return Err(faults::invalid_value("The domain must be vpc: there is no EC2-Classic."));
        }
        let border = call.scope.region.as_str();
        if input.network_border_group.as_deref().is_some_and(|group| group != border) {
            return Err(faults::invalid_value(format!("The network border group must be {border}.")));
        }
        let tags = tag::of_specifications(input.tag_specifications, TaggedKind::ElasticAddress)?;
        let made = self
            .change(call, input.dry_run, |snapshot| {
                let known = snapshot.scan::<ElasticAddress>(Key::prefix(&call.scope, &[]), None);
                if known.count() >= ADDRESSES_PER_REGION {
                    let message = "The maximum number of addresses has been reached.";
                    return Err(Fault::new("AddressLimitExceeded", message, 400));
                }
                let allocation_id = format!("eipalloc-{}", self.ids.hex(17));
                let mut transaction = Transaction::new();
                let owner = (&call.scope, allocation_id.as_str());
                let taken = rows_addresses::take_public_address(
                    snapshot,
                    &mut transaction,
                    &*self.ids,
                    owner,
                    call.now,
                );
                let address = taken.ok_or_else(|| {
                    let message = "There are not enough free public addresses.";
                    Fault::new("InsufficientAddressCapacity", message, 400)
                })?;
                let made =
                    ElasticAddress { scope: call.scope.clone(), allocation_id, address, tags: tags.clone() };
                transaction.insert(made.clone());
                Ok((transaction, made))
            })
            .await?;
        Ok(AllocateAddressResult {
            allocation_id: Some(made.allocation_id),
            domain: Some("vpc".to_owned()),
            network_border_group: Some(border.to_owned()),
            public_ip: Some(made.address.to_string()),
            public_ipv4_pool: Some("amazon".to_owned()),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    #[tokio::test]
    async fn addresses_are_the_accounts_own() {
        let server = Server::new();
        let answer = server.ask("Action=AllocateAddress&Domain=vpc").await;
        let text = |name| crate::testing::texts(&answer, name).concat();
        assert!(text("publicIp").starts_with("198.18."), "{answer}");
        assert_eq!((text("domain"), text("networkBorderGroup")), ("vpc".to_owned(), "us-east-1".to_owned()));
        for _ in 1..5 {
            server.allocate_address().await;
        }
        let mut all = server.ask_for("publicIp", "Action=DescribeAddresses").await;
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5);
        let fault = server.fault("Action=AllocateAddress").await;
        assert_eq!(fault, "400 AddressLimitExceeded: The maximum number of addresses has been reached.");
    }

    #[tokio::test]
    async fn faults_are_awss() {
        let server = Server::new();
        for (query, fault) in [
            ("Address=1.2.3.4", "400 InvalidAddress.NotFound: Address '1.2.3.4' not found."),
            ("PublicIpv4Pool=ipv4pool-ec2-0", "400 InvalidPoolID.NotFound: "),
            ("IpamPoolId=ipam-pool-0", "400 InvalidIpamPoolId.NotFound: "),
            ("CustomerOwnedIpv4Pool=x", "400 UnsupportedOperation: "),
            ("Domain=standard", "400 InvalidParameterValue: "),
            ("NetworkBorderGroup=us-west-2", "400 InvalidParameterValue: "),
            ("DryRun=true", "412 DryRunOperation: "),
        ] {
            let found = server.fault(&format!("Action=AllocateAddress&{query}")).await;
            assert!(found.starts_with(fault), "{query}: {found}");
        }
    }
}

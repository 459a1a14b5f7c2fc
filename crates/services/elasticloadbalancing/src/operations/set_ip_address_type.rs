//! SetIpAddressType: sets the type of a load balancer's addresses, which is `ipv4`. Source: Elastic Load Balancing API
//! reference, "SetIpAddressType".
//!
//! Differs from AWS: the types `dualstack` and `dualstack-without-public-ipv4` are refused by name.

use api::elasticloadbalancing::operations::SetIpAddressType;
use api::elasticloadbalancing::{SetIpAddressTypeInput, SetIpAddressTypeOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::unsupported;
use crate::resources::load_balancer;

impl Operation<SetIpAddressType> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &SetIpAddressTypeInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:SetIpAddressType", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: SetIpAddressTypeInput,
    ) -> Result<SetIpAddressTypeOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        let found = load_balancer::find(&self.store.snapshot(), &call.scope, &arn)?;
        match input.ip_address_type {
            Some(other) if other != found.ip_address_type => {
                Err(unsupported(&format!("The IP address type '{other}'")))
            }
            _ => Ok(SetIpAddressTypeOutput { ip_address_type: Some(found.ip_address_type.clone()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn there_is_one_type() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let query = |arn: &str, kind: &str| {
            format!("Action=SetIpAddressType&LoadBalancerArn={arn}&IpAddressType={kind}")
        };
        assert_eq!(server.ask_for("IpAddressType", &query(&arn, "ipv4")).await, ["ipv4"]);
        for (arn, kind, fault) in [
            (
                &arn,
                "dualstack",
                "InvalidConfigurationRequest: The IP address type 'dualstack' is not supported by",
            ),
            (&arn, "x", "ValidationError: 1 validation error detected: Value 'x' at 'ipAddressType' failed"),
            (&format!("{arn}0"), "ipv4", "LoadBalancerNotFound: "),
        ] {
            let told = server.fault(&query(arn, kind)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{told}");
        }
    }
}

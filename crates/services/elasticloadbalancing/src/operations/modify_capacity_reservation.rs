//! ModifyCapacityReservation: reserves capacity for a load balancer, or gives it back. Source: Elastic Load Balancing API reference, "ModifyCapacityReservation".
//!
//! Differs from AWS: no capacity can be reserved: all load balancers share this machine. There is never any to give back.

use api::elasticloadbalancing::operations::ModifyCapacityReservation;
use api::elasticloadbalancing::{ModifyCapacityReservationInput, ModifyCapacityReservationOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::{unsupported, validation};
use crate::resources::load_balancer;

impl Operation<ModifyCapacityReservation> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyCapacityReservationInput) -> Vec<Permission> {
        let arn = input.load_balancer_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyCapacityReservation", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyCapacityReservationInput,
    ) -> Result<ModifyCapacityReservationOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        load_balancer::find(&self.store.snapshot(), &call.scope, &arn)?;
        match (input.minimum_load_balancer_capacity, input.reset_capacity_reservation) {
            (Some(_), _) => Err(unsupported("MinimumLoadBalancerCapacity")),
            (None, Some(true)) => Ok(ModifyCapacityReservationOutput {
                capacity_reservation_state: Some(Vec::new()),
                ..Default::default()
            }),
            (None, _) => Err(validation(
                "Either a minimum load balancer capacity or a reset of the reservation must be specified",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn nothing_can_be_reserved() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let query = format!("Action=ModifyCapacityReservation&LoadBalancerArn={arn}");
        server.ok(&format!("{query}&ResetCapacityReservation=true")).await;
        for (query, fault) in [
            (
                format!("{query}&MinimumLoadBalancerCapacity.CapacityUnits=100"),
                "InvalidConfigurationRequest: MinimumLoadBalancerCapacity is not supported by",
            ),
            (query.clone(), "ValidationError: Either a minimum load balancer capacity or"),
            (format!("{query}0&ResetCapacityReservation=true"), "LoadBalancerNotFound: "),
        ] {
            let told = server.fault(&query).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{query}: {told}");
        }
    }
}

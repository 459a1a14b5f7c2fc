//! DescribeCapacityReservation: tells the capacity that is reserved for a load balancer, which is none. Source: Elastic Load Balancing API reference, "DescribeCapacityReservation".
//!
//! Differs from AWS: no capacity can be reserved: all load balancers share this machine.

use api::elasticloadbalancing::operations::DescribeCapacityReservation;
use api::elasticloadbalancing::{DescribeCapacityReservationInput, DescribeCapacityReservationOutput};
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::resources::load_balancer;

impl Operation<DescribeCapacityReservation> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeCapacityReservationInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeCapacityReservation", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeCapacityReservationInput,
    ) -> Result<DescribeCapacityReservationOutput, Fault> {
        let arn = input.load_balancer_arn.unwrap_or_default();
        load_balancer::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(DescribeCapacityReservationOutput {
            capacity_reservation_state: Some(Vec::new()),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn nothing_is_reserved() {
        let server = Server::new().await;
        let arn = server.load_balancer("front").await;
        let query = format!("Action=DescribeCapacityReservation&LoadBalancerArn={arn}");
        let answer = server.ok(&query).await;
        assert!(answer.contains("<CapacityReservationState></CapacityReservationState>"), "{answer}");
        assert_eq!(
            server.fault(&format!("{query}0")).await,
            format!("400 LoadBalancerNotFound: Load balancer '{arn}0' not found")
        );
    }
}

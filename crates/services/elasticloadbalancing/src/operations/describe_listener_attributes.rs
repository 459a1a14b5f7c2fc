//! DescribeListenerAttributes: tells all attributes of a listener, set or not. Source: Elastic Load Balancing API reference,
//! "DescribeListenerAttributes".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DescribeListenerAttributes;
use api::elasticloadbalancing::{DescribeListenerAttributesInput, DescribeListenerAttributesOutput};
use wire::{Call, Fault, Operation, Permission};

use super::modify_listener_attributes::describe;
use crate::Elasticloadbalancing;
use crate::resources::listener;

impl Operation<DescribeListenerAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, _input: &DescribeListenerAttributesInput) -> Vec<Permission> {
        vec![Permission::new("elasticloadbalancing:DescribeListenerAttributes", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: DescribeListenerAttributesInput,
    ) -> Result<DescribeListenerAttributesOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let found = listener::find(&self.store.snapshot(), &call.scope, &arn)?;
        Ok(DescribeListenerAttributesOutput { attributes: Some(describe(&found)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn an_http_listener_tells_the_server() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let web = server.target_group("web").await;
        let listener = server.listener(&front, 80, &web).await;
        let query = format!("Action=DescribeListenerAttributes&ListenerArn={listener}");
        let keys = server.ask_for("Key", &query).await;
        assert_eq!(keys.len(), 11);
        let at = keys.iter().position(|key| key == "routing.http.response.server.enabled").unwrap();
        assert_eq!(server.ask_for("Value", &query).await[at], "true");
        assert_eq!(
            server.fault(&format!("{query}0")).await,
            format!("400 ListenerNotFound: Listener '{listener}0' not found")
        );
    }
}

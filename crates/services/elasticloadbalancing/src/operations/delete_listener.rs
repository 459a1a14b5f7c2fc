//! DeleteListener: deletes a listener with its rules. Source: Elastic Load Balancing API reference, "DeleteListener".
//!
//! Differs from AWS: nothing known.

use api::elasticloadbalancing::operations::DeleteListener;
use api::elasticloadbalancing::{DeleteListenerInput, DeleteListenerOutput};
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::listener;

impl Operation<DeleteListener> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &DeleteListenerInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:DeleteListener", arn)]
    }

    async fn handle(&self, call: &Call, input: DeleteListenerInput) -> Result<DeleteListenerOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let deleted = self.store.update(|snapshot| {
            let found = listener::find(snapshot, &call.scope, &arn)?;
            let mut transaction = Transaction::new();
            listener::remove(snapshot, &mut transaction, &found);
            Ok((transaction, ()))
        });
        deleted.await.map_err(of_update)?;
        Ok(DeleteListenerOutput {})
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use domain::ListenerRule;
    use store::Prefix;

    #[tokio::test]
    async fn it_goes_with_its_rules() {
        let server = Server::new().await;
        let front = server.load_balancer("front").await;
        let group = server.target_group("web").await;
        let listener = server.listener(&front, 80, &group).await;
        server.rule(&listener, 1, "/a", &group).await;
        let query = format!("Action=DeleteListener&ListenerArn={listener}");
        server.ok(&query).await;
        assert_eq!(server.store.snapshot().scan::<ListenerRule>(Prefix::everything(), None).count(), 0);
        assert_eq!(
            server.fault(&query).await,
            format!("400 ListenerNotFound: Listener '{listener}' not found")
        );
    }
}

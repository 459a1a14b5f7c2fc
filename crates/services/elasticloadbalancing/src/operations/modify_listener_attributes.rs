//! ModifyListenerAttributes: sets attributes of a listener; those that the call leaves out stay. Source: Elastic Load
//! Balancing API reference, "ModifyListenerAttributes".
//!
//! Differs from AWS: of listeners for HTTP and HTTPS nothing but the defaults acts: headers that the load balancer would add
//! to answers, or would name otherwise in requests, are refused by name.

use api::elasticloadbalancing::operations::ModifyListenerAttributes;
use api::elasticloadbalancing::{
    ListenerAttribute, ModifyListenerAttributesInput, ModifyListenerAttributesOutput,
};
use domain::Listener;
use store::Transaction;
use wire::{Call, Fault, Operation, Permission};

use crate::Elasticloadbalancing;
use crate::faults::of_update;
use crate::resources::{attribute, listener};

impl Operation<ModifyListenerAttributes> for Elasticloadbalancing {
    fn permissions(&self, _call: &Call, input: &ModifyListenerAttributesInput) -> Vec<Permission> {
        let arn = input.listener_arn.as_deref().unwrap_or_default();
        vec![Permission::new("elasticloadbalancing:ModifyListenerAttributes", arn)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: ModifyListenerAttributesInput,
    ) -> Result<ModifyListenerAttributesOutput, Fault> {
        let arn = input.listener_arn.unwrap_or_default();
        let asked: Vec<_> =
            input.attributes.into_iter().flatten().map(|asked| (asked.key, asked.value)).collect();
        let changed = self.store.update(|snapshot| {
            let found = listener::find(snapshot, &call.scope, &arn)?;
            let attributes = attribute::changed(&*found, asked.iter().cloned())?;
            let row = Listener { attributes, ..Listener::clone(&found) };
            let mut transaction = Transaction::new();
            if *found != row {
                transaction.replace(&found, row.clone());
            }
            Ok((transaction, row))
        });
        let row = changed.await.map_err(of_update)?;
        Ok(ModifyListenerAttributesOutput { attributes: Some(describe(&row)) })
    }
}

/// The wire form of all attributes.
pub(super) fn describe(row: &Listener) -> Vec<ListenerAttribute> {
    attribute::all(row).into_iter().map(|(key, value)| ListenerAttribute { key, value }).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[tokio::test]
    async fn a_tcp_listener_has_an_idle_timeout() {
        let server = Server::new().await;
        let back = server.network_load_balancer("back").await;
        let group = server.target_group_with("tcp", "Protocol=TCP&Port=9&TargetType=ip").await;
        let query = format!(
            "Action=CreateListener&LoadBalancerArn={back}&Protocol=TCP&Port=9\
             &DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        );
        let listener = server.ask_for("ListenerArn", &query).await.concat();
        let set = |arn: &str, key: &str, value: &str| {
            format!(
                "Action=ModifyListenerAttributes&ListenerArn={arn}&Attributes.member.1.Key={key}\
                 &Attributes.member.1.Value={value}"
            )
        };
        server.ok(&set(&listener, "tcp.idle_timeout.seconds", "60")).await;
        let query = format!("Action=DescribeListenerAttributes&ListenerArn={listener}");
        assert_eq!(server.ask_for("Value", &query).await, ["60"]);

        let front = server.load_balancer("front").await;
        let web = server.target_group("web").await;
        let http = server.listener(&front, 80, &web).await;
        for (arn, key, value, fault) in [
            (
                &listener,
                "tcp.idle_timeout.seconds",
                "59",
                "ValidationError: Listener attribute 'tcp.idle_timeout.seconds' must be between '60' and '6000' inclusive",
            ),
            (
                &http,
                "tcp.idle_timeout.seconds",
                "60",
                "InvalidConfigurationRequest: Listener attribute key 'tcp.idle_timeout.seconds' is not supported by listeners with the HTTP protocol",
            ),
            (&http, "x", "60", "ValidationError: Listener attribute key 'x' is not recognized"),
            (
                &http,
                "routing.http.response.server.enabled",
                "false",
                "InvalidConfigurationRequest: The value 'false' of the attribute 'routing.http.response.server.enabled' is not supported by",
            ),
            (&format!("{http}0"), "x", "60", "ListenerNotFound: Listener '"),
        ] {
            let told = server.fault(&set(arn, key, value)).await;
            assert!(told.starts_with(&format!("400 {fault}")), "{key}={value}: {told}");
        }
    }
}

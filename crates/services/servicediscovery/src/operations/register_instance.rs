//! Registers an instance, or changes its attributes. AWS: RegisterInstance.
//!
//! Differs from AWS: it is done in the transaction of the call, so that no request meets another one under way
//! (DuplicateRequest, ResourceInUse). AWS_EC2_INSTANCE_ID is refused. Of AWS's faults for attributes that do not fit only the
//! code is known, not the wording.

use api::servicediscovery::operations::RegisterInstance;
use api::servicediscovery::{RegisterInstanceRequest, RegisterInstanceResponse, faults as modelled};
use domain::{DiscoveryInstance, DiscoveryOperation, DiscoveryOperationType};
use store::Transaction;
use store::rows_service_discovery::change_instances;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{instance, operation, service};
use crate::{Servicediscovery, faults};

/// Instances of a service. Source: "AWS Cloud Map service quotas".
const INSTANCES_MAXIMUM: u32 = 1_000;

impl Operation<RegisterInstance> for Servicediscovery {
    fn permissions(&self, _call: &Call, input: &RegisterInstanceRequest) -> Vec<Permission> {
        let service = input.service_id.as_deref().unwrap_or("*");
        vec![Permission::new("servicediscovery:RegisterInstance", service)]
    }

    async fn handle(
        &self,
        call: &Call,
        input: RegisterInstanceRequest,
    ) -> Result<RegisterInstanceResponse, Fault> {
        let given = input.service_id.unwrap_or_default();
        let id = input.instance_id.unwrap_or_default();
        let attributes = input.attributes.unwrap_or_default();
        let made =
            operation::done(&*self.ids, &call.scope, DiscoveryOperationType::RegisterInstance, call.now);

        let outcome = self.store.update(|snapshot| {
            let of = service::get(snapshot, &call.scope, &given)?;
            instance::check(&of, &attributes)?;
            let there = instance::get(snapshot, &of, &id).ok();
            if there.is_none() && of.instance_count >= INSTANCES_MAXIMUM {
                return Err(modelled::resource_limit_exceeded(format!(
                    "The maximum number of instances of a service is {INSTANCES_MAXIMUM}."
                )));
            }
            let registered = DiscoveryInstance {
                scope: call.scope.clone(),
                service: of.id.clone(),
                id: id.clone(),
                attributes: attributes.clone(),
                creator_request_id: input.creator_request_id.clone(),
                // Health that was told of an instance stays when only its attributes change.
                custom_health: there
                    .and_then(|there| there.custom_health)
                    .or_else(|| instance::initial_health(&of, &attributes)),
                registered_at: call.now,
            };
            let mut transaction = Transaction::new();
            change_instances(snapshot, &mut transaction, &of, vec![registered], &[]);
            transaction.insert(DiscoveryOperation {
                service: Some(of.id.clone()),
                instance: Some(id.clone()),
                ..made.clone()
            });
            Ok((transaction, ()))
        });
        outcome.await.map_err(faults::of_update)?;

        Ok(RegisterInstanceResponse { operation_id: Some(made.id) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    fn body(service: &str, attributes: Value) -> Value {
        json!({"ServiceId": service, "InstanceId": "a", "Attributes": attributes})
    }

    #[tokio::test]
    async fn an_instance_is_registered_and_changed() {
        let world = World::new();
        let service = world.backend(&[("a", "10.0.0.1", "UNHEALTHY")]).await;
        let again = body(&service, json!({"AWS_INSTANCE_IPV4": "10.0.0.9", "color": "blue"}));
        world.operation("RegisterInstance", again).await;
        let found = world.ok("GetInstance", json!({"ServiceId": service, "InstanceId": "a"})).await;
        assert_eq!(
            found["Instance"]["Attributes"],
            json!({"AWS_INSTANCE_IPV4": "10.0.0.9", "color": "blue"})
        );
        let health = world.ok("GetInstancesHealthStatus", json!({"ServiceId": service})).await;
        assert_eq!(health["Status"], json!({"a": "UNHEALTHY"}));
        let count = world.ok("GetService", json!({"Id": service})).await["Service"]["InstanceCount"].clone();
        assert_eq!(count, 1);
    }

    #[tokio::test]
    async fn attributes_must_fit_the_records() {
        let world = World::new();
        let namespace = world.private_namespace().await;
        let records = |records: Value, policy: &str| json!({"DnsConfig": {"DnsRecords": records, "RoutingPolicy": policy}});
        let name = |name: &str, more: Value| {
            let mut body = more;
            body["Name"] = json!(name);
            body
        };
        let a = records(json!([{"Type": "A", "TTL": 1}]), "MULTIVALUE");
        let a = world.service(&namespace, name("a", a)).await;
        let srv = records(json!([{"Type": "SRV", "TTL": 1}]), "MULTIVALUE");
        let srv = world.service(&namespace, name("srv", srv)).await;
        let cname = records(json!([{"Type": "CNAME", "TTL": 1}]), "WEIGHTED");
        let cname = world.service(&namespace, name("cname", cname)).await;
        let alias = records(json!([{"Type": "A", "TTL": 1}]), "WEIGHTED");
        let alias = world.service(&namespace, name("alias", alias)).await;
        for bad in [
            body(&a, json!({})),
            body(&a, json!({"AWS_INSTANCE_IPV4": "10.0.0"})),
            body(&a, json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "65536"})),
            body(&a, json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INIT_HEALTH_STATUS": "HEALTHY"})),
            body(&a, json!({"AWS_ALIAS_DNS_NAME": "x.elb.amazonaws.com"})),
            body(&a, json!({"AWS_EC2_INSTANCE_ID": "i-0123"})),
            body(&srv, json!({"AWS_INSTANCE_IPV4": "10.0.0.1"})),
            body(&srv, json!({"AWS_INSTANCE_PORT": "80"})),
            body(&cname, json!({"AWS_INSTANCE_IPV4": "10.0.0.1"})),
            body(&alias, json!({"AWS_ALIAS_DNS_NAME": "x", "AWS_INSTANCE_IPV4": "10.0.0.1"})),
        ] {
            let refused = world.refused("RegisterInstance", bad.clone()).await;
            assert!(refused.starts_with("InvalidInput: "), "{bad}: {refused}");
        }
        for good in [
            body(&srv, json!({"AWS_INSTANCE_IPV6": "::1", "AWS_INSTANCE_PORT": "80"})),
            body(&cname, json!({"AWS_INSTANCE_CNAME": "example.com"})),
            body(&alias, json!({"AWS_ALIAS_DNS_NAME": "x.elb.amazonaws.com"})),
        ] {
            world.ok("RegisterInstance", good).await;
        }
        assert!(
            world
                .refused("RegisterInstance", body("srv-x", json!({})))
                .await
                .starts_with("ServiceNotFound: ")
        );
    }

    #[tokio::test]
    async fn a_service_has_a_thousand_instances_at_most() {
        let world = World::new();
        let namespace = world.http_namespace().await;
        let service = world.service(&namespace, json!({})).await;
        for number in 0..1000 {
            let body =
                json!({"ServiceId": service, "InstanceId": format!("i{number}"), "Attributes": {"n": "1"}});
            world.ok("RegisterInstance", body).await;
        }
        let refused = world.refused("RegisterInstance", body(&service, json!({"n": "1"}))).await;
        assert_eq!(refused, "ResourceLimitExceeded: The maximum number of instances of a service is 1000.");
        let again = json!({"ServiceId": service, "InstanceId": "i7", "Attributes": {"n": "2"}});
        world.ok("RegisterInstance", again).await;
    }
}

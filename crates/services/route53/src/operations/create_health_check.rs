//! Makes a health check. AWS: CreateHealthCheck.
//!
//! Differs from AWS: all looks come from this machine, whatever the regions, and reach private addresses too. Types
//! CLOUDWATCH_METRIC and RECOVERY_CONTROL are refused by name.

use api::route53::operations::CreateHealthCheck;
use api::route53::{CreateHealthCheckRequest, CreateHealthCheckResponse, faults as modelled};
use domain::HealthCheck;
use store::Transaction;
use store::rows_dns::HEALTH_CHECKS_BY_CALLER_REFERENCE;
use wire::{Call, Fault, Operation, Permission};

use crate::resources::health_check;
use crate::{Route53, faults};

impl Operation<CreateHealthCheck> for Route53 {
    fn permissions(&self, _call: &Call, _input: &CreateHealthCheckRequest) -> Vec<Permission> {
        vec![Permission::new("route53:CreateHealthCheck", "*")]
    }

    async fn handle(
        &self,
        call: &Call,
        input: CreateHealthCheckRequest,
    ) -> Result<CreateHealthCheckResponse, Fault> {
        let reference = input.caller_reference.unwrap_or_default();
        let parsed = health_check::parse(call, &input.health_check_config.unwrap_or_default())?;
        let made = self.store.update(|snapshot| {
            let parts = [call.scope.account.as_str(), reference.as_str()];
            let known = snapshot.index::<HealthCheck>(HEALTH_CHECKS_BY_CALLER_REFERENCE, &parts, None).next();
            if let Some(known) = known {
                if health_check::is_same(&known, &parsed) {
                    return Ok((Transaction::new(), HealthCheck::clone(&known)));
                }
                return Err(modelled::health_check_already_exists(
                    "A health check has already been created with the specified caller reference.",
                ));
            }
            if health_check::all(snapshot, call).len() >= health_check::HEALTH_CHECKS_MAXIMUM {
                return Err(modelled::too_many_health_checks(format!(
                    "You have reached your limit of {} health checks.",
                    health_check::HEALTH_CHECKS_MAXIMUM
                )));
            }
            health_check::check_children(snapshot, call, &parsed)?;
            let row =
                HealthCheck { id: self.ids.uuid(), caller_reference: reference.clone(), ..parsed.clone() };
            let mut transaction = Transaction::new();
            transaction.insert(row.clone());
            Ok((transaction, row))
        });
        let row = made.await.map_err(faults::of_update)?;
        Ok(CreateHealthCheckResponse {
            location: Some(format!("https://route53.amazonaws.com/2013-04-01/healthcheck/{}", row.id)),
            health_check: Some(health_check::describe(&row)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, texts};

    fn request(reference: &str, config: &str) -> String {
        format!(
            "<CreateHealthCheckRequest><CallerReference>{reference}</CallerReference><HealthCheckConfig>{config}\
             </HealthCheckConfig></CreateHealthCheckRequest>"
        )
    }

    const TCP: &str = "<IPAddress>127.0.0.1</IPAddress><Port>80</Port><Type>TCP</Type>";

    #[tokio::test]
    async fn health_checks_are_made_told_changed_and_removed() {
        let world = World::new();
        let made = world.ok("POST", "healthcheck", &request("r", TCP)).await;
        let id = texts(&made, "Id").concat();
        assert_eq!(texts(&made, "RequestInterval"), ["30"]);
        assert_eq!(
            world.ok("POST", "healthcheck", &request("r", TCP)).await,
            made,
            "the same call, the same check"
        );
        let told = world.ok("GET", &format!("healthcheck/{id}"), "").await;
        assert_eq!(texts(&told, "Port"), ["80"]);
        let change = "<UpdateHealthCheckRequest><HealthCheckVersion>1</HealthCheckVersion><Port>81</Port>\
            <Inverted>true</Inverted></UpdateHealthCheckRequest>";
        let told = world.ok("POST", &format!("healthcheck/{id}"), change).await;
        assert_eq!(
            (texts(&told, "Port").concat(), texts(&told, "HealthCheckVersion").concat()),
            ("81".into(), "2".into())
        );
        let again = world.refused("POST", &format!("healthcheck/{id}"), change).await;
        assert!(again.starts_with("409 HealthCheckVersionMismatch"), "{again}");
        let parent = format!(
            "<Type>CALCULATED</Type><HealthThreshold>1</HealthThreshold><ChildHealthChecks><ChildHealthCheck>{id}\
             </ChildHealthCheck></ChildHealthChecks>"
        );
        world.ok("POST", "healthcheck", &request("p", &parent)).await;
        assert_eq!(texts(&world.ok("GET", "healthcheckcount", "").await, "HealthCheckCount"), ["2"]);
        assert_eq!(texts(&world.ok("GET", "healthcheck", "").await, "CallerReference").len(), 2);
        let status = world.ok("GET", &format!("healthcheck/{id}/status"), "").await;
        assert!(texts(&status, "Status").is_empty(), "nobody has looked yet");
        world.ok("DELETE", &format!("healthcheck/{id}"), "").await;
        let gone = world.refused("GET", &format!("healthcheck/{id}"), "").await;
        assert_eq!(gone, format!("404 NoSuchHealthCheck: A health check with id {id} does not exist."));
    }

    #[tokio::test]
    async fn what_cannot_be_looked_at_is_refused() {
        let world = World::new();
        world.ok("POST", "healthcheck", &request("r", TCP)).await;
        for (reference, config, words) in [
            (
                "r",
                "<IPAddress>127.0.0.1</IPAddress><Port>81</Port><Type>TCP</Type>",
                "409 HealthCheckAlreadyExists",
            ),
            (
                "x",
                "<Type>CLOUDWATCH_METRIC</Type>",
                "400 InvalidInput: The health check type 'CLOUDWATCH_METRIC' is not",
            ),
            ("x", "<Type>HTTP</Type>", "400 InvalidInput: Either IPAddress or FullyQualifiedDomainName"),
            ("x", "<IPAddress>127.0.0.1</IPAddress><Type>TCP</Type>", "400 InvalidInput: Port is required"),
            (
                "x",
                "<IPAddress>127.0.0.1</IPAddress><Type>HTTP_STR_MATCH</Type>",
                "400 InvalidInput: SearchString is",
            ),
            (
                "x",
                "<IPAddress>127.0.0.1</IPAddress><Type>HTTP</Type><RequestInterval>20</RequestInterval>",
                "400 InvalidInput: RequestInterval must",
            ),
            ("x", "<Type>CALCULATED</Type>", "400 InvalidInput: HealthThreshold is required"),
        ] {
            let refused = world.refused("POST", "healthcheck", &request(reference, config)).await;
            assert!(refused.starts_with(words), "{refused}\nis not\n{words}");
        }
    }
}

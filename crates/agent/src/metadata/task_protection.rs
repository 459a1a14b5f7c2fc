//! `/api/<endpoint id>/task-protection/v1/state`: a task protects itself from scale-in. Source: "Amazon ECS task scale-in
//! protection endpoint"; what is not said there is as the stock agent has it.
//!
//! Differs from AWS: the control plane is called with the node's own key, which speaks for the node's tasks only, so that the
//! task needs no task role.

use std::time::Duration;

use api::ecs::operations::{GetTaskProtection, UpdateTaskProtection};
use api::ecs::{Failure, GetTaskProtectionRequest, ProtectedTask, UpdateTaskProtectionRequest};
use bytes::Bytes;
use client::{Client, ClientError};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::task_engine::Shared;
use crate::task_engine::view::TaskView;

/// Time limit of asking the control plane. The stock agent's.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest body that is read; a right one has about 50 bytes.
pub(super) const BODY_BYTES_MAXIMUM: usize = 4096;

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// GET.
    Get,
    /// PUT.
    Put {
        /// Absent: the request is refused, by name.
        enabled: Option<bool>,
        /// Absent: two hours.
        expires_in_minutes: Option<i32>,
    },
}

/// Status and document.
pub(super) type Answer = (StatusCode, Value);

/// Reads the body of a PUT. As the stock agent's JSON reader does, upper and lower case in names are one, and unknown names are
/// refused.
pub(super) fn read(body: &Bytes) -> Result<Wish, Answer> {
    let refused = || {
        error(
            StatusCode::BAD_REQUEST,
            None,
            "InvalidParameterException",
            "UpdateTaskProtection: failed to decode request",
        )
    };
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(|_| refused())?;
    let (mut enabled, mut expires_in_minutes) = (None, None);
    for (name, value) in members {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("protectionenabled" | "expiresinminutes", Value::Null) => {}
            ("protectionenabled", Value::Bool(value)) => enabled = Some(value),
            ("expiresinminutes", Value::Number(value)) => {
                let minutes = value.as_i64().ok_or_else(refused)?;
                // What no i32 holds is out of the service's bounds as well: let it say so.
                expires_in_minutes = Some(i32::try_from(minutes).unwrap_or(i32::MAX));
            }
            _ => return Err(refused()),
        }
    }
    Ok(Wish::Put { enabled, expires_in_minutes })
}

/// The answer to a caller that is no task, or gives another's id.
pub(super) fn no_task() -> Answer {
    error(StatusCode::NOT_FOUND, None, "ResourceNotFoundException", "Failed to find a task for the request")
}

/// Carries a wish to the control plane.
pub(super) async fn answer(shared: &Shared, view: &TaskView, wish: Wish) -> Answer {
    let arn = view.plan.arn.to_string();
    // A machine is Fargate capacity for every region: the call is the task's region's.
    let client = match view.plan.arn.region() {
        Some(region) => shared.client.with_region(region.to_string()),
        None => shared.client.clone(),
    };
    let call = ask(&client, view, &arn, wish);
    let Ok(outcome) = tokio::time::timeout(CALL_TIMEOUT, call).await else {
        let message = "Timed out calling ECS Task Protection API";
        return error(StatusCode::GATEWAY_TIMEOUT, Some(&arn), "RequestCanceled", message);
    };
    match outcome {
        Ok((protected, failures)) => told(&arn, &protected, &failures),
        Err(Refused::Here(message)) => {
            error(StatusCode::BAD_REQUEST, Some(&arn), "InvalidParameterException", message)
        }
        Err(Refused::There(fault)) => {
            tracing::warn!(
                task = arn,
                error = crate::words(&fault),
                "the task's protection could not be asked for"
            );
            of_fault(&arn, fault)
        }
    }
}

enum Refused {
    Here(&'static str),
    There(ClientError),
}

async fn ask(
    client: &Client,
    view: &TaskView,
    arn: &str,
    wish: Wish,
) -> Result<(Vec<ProtectedTask>, Vec<Failure>), Refused> {
    let (cluster, tasks) = (Some(view.plan.cluster.clone()), Some(vec![arn.to_owned()]));
    match wish {
        Wish::Get => {
            let request = GetTaskProtectionRequest { cluster, tasks };
            let answer = client.call::<GetTaskProtection>(&request).await.map_err(Refused::There)?;
            Ok((answer.protected_tasks.unwrap_or_default(), answer.failures.unwrap_or_default()))
        }
        Wish::Put { enabled: None, .. } => {
            Err(Refused::Here("Invalid request: does not contain 'ProtectionEnabled' field"))
        }
        Wish::Put { enabled, expires_in_minutes } => {
            let request = UpdateTaskProtectionRequest {
                cluster,
                tasks,
                protection_enabled: enabled,
                expires_in_minutes,
            };
            let answer = client.call::<UpdateTaskProtection>(&request).await.map_err(Refused::There)?;
            Ok((answer.protected_tasks.unwrap_or_default(), answer.failures.unwrap_or_default()))
        }
    }
}

/// A failure comes with status 200, as with the API.
fn told(arn: &str, protected: &[ProtectedTask], failures: &[Failure]) -> Answer {
    match (protected, failures) {
        (_, [failure]) => {
            let failure = json!({"Arn": failure.arn, "Detail": failure.detail, "Reason": failure.reason});
            (StatusCode::OK, json!({"failure": failure}))
        }
        ([task], []) => {
            let protection = json!({
                "ExpirationDate": task.expiration_date.map(|at| at.to_string()),
                "ProtectionEnabled": task.protection_enabled.unwrap_or(false),
                "TaskArn": task.task_arn,
            });
            (StatusCode::OK, json!({"protection": protection}))
        }
        _ => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            Some(arn),
            "ServerException",
            "Unexpected error occurred",
        ),
    }
}

fn of_fault(arn: &str, fault: ClientError) -> Answer {
    match fault {
        ClientError::Fault { code, message, status, request_id } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let (status, mut document) = error(status, Some(arn), &code, &message);
            if let (Some(id), Some(members)) = (request_id, document.as_object_mut()) {
                members.insert("requestID".to_owned(), json!(id));
            }
            (status, document)
        }
        other => error(StatusCode::INTERNAL_SERVER_ERROR, Some(arn), "ServerException", &other.to_string()),
    }
}

fn error(status: StatusCode, arn: Option<&str>, code: &str, message: &str) -> Answer {
    let mut error = json!({"Code": code, "Message": message});
    if let (Some(arn), Some(members)) = (arn, error.as_object_mut()) {
        members.insert("Arn".to_owned(), json!(arn));
    }
    (status, json!({"error": error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_the_stock_agent_reads_them() {
        let put = |enabled, expires_in_minutes| Ok(Wish::Put { enabled, expires_in_minutes });
        let read = |text: &'static str| {
            read(&Bytes::from_static(text.as_bytes())).map_err(|answer| answer.0.as_u16())
        };
        assert_eq!(read(r#"{"ProtectionEnabled": true}"#), put(Some(true), None));
        assert_eq!(read(r#"{"protectionEnabled": false, "EXPIRESINMINUTES": 5}"#), put(Some(false), Some(5)));
        assert_eq!(read(r#"{"ExpiresInMinutes": 99999999999}"#), put(None, Some(i32::MAX)));
        assert_eq!(read(r#"{"ProtectionEnabled": null}"#), put(None, None));
        for wrong in [
            "",
            "[]",
            "true",
            r#"{"ProtectionEnabled": "true"}"#,
            r#"{"ExpiresInMinutes": 1.5}"#,
            r#"{"Other": 1}"#,
            r#"{"ProtectionEnabled": true"#,
        ] {
            assert_eq!(read(wrong), Err(400), "{wrong}");
        }
    }

    #[test]
    fn answers_have_the_stock_agents_form() {
        let (status, document) = told(
            "a",
            &[],
            &[Failure { arn: Some("a".into()), detail: None, reason: Some("MISSING".into()) }],
        );
        assert_eq!(
            (status, document),
            (StatusCode::OK, json!({"failure": {"Arn": "a", "Detail": null, "Reason": "MISSING"}}))
        );
        let task = ProtectedTask {
            expiration_date: None,
            protection_enabled: Some(false),
            task_arn: Some("a".into()),
        };
        let protection =
            json!({"protection": {"ExpirationDate": null, "ProtectionEnabled": false, "TaskArn": "a"}});
        assert_eq!(told("a", &[task], &[]), (StatusCode::OK, protection));
        assert_eq!(told("a", &[], &[]).0, StatusCode::INTERNAL_SERVER_ERROR);
        let fault = ClientError::Fault {
            code: "ThrottlingException".into(),
            message: "slow".into(),
            status: 400,
            request_id: Some("7".into()),
        };
        let document = json!({"requestID": "7", "error": {"Arn": "a", "Code": "ThrottlingException", "Message": "slow"}});
        assert_eq!(of_fault("a", fault), (StatusCode::BAD_REQUEST, document));
    }
}

//! GetCallerIdentity: tells who signed the call. Source: AWS STS API reference, "GetCallerIdentity".
//!
//! Differs from AWS: nothing known.

use api::sts::operations::GetCallerIdentity;
use api::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use wire::{Call, Fault, Operation, Permission};

use crate::Sts;

impl Operation<GetCallerIdentity> for Sts {
    /// None is needed, and none can be denied.
    fn permissions(&self, _call: &Call, _input: &GetCallerIdentityRequest) -> Vec<Permission> {
        Vec::new()
    }

    async fn handle(
        &self,
        call: &Call,
        _input: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, Fault> {
        Ok(GetCallerIdentityResponse {
            account: Some(call.principal.account.to_string()),
            arn: Some(call.principal.arn.to_string()),
            user_id: Some(call.principal.user_id.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Scope, SeededIds, Timestamp};
    use expect_test::expect;
    use wire::{Authentication, Gateway, GatewaySettings, RootAndNodes};

    use crate::Sts;

    #[tokio::test]
    async fn the_caller_is_told() {
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![api::sts::service(Arc::new(Sts))],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000))),
            ids: Arc::new(SeededIds::new(1)),
            default_scope: Scope::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap()),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(bytes::Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15"))
            .unwrap();
        let response = gateway.call(request, None).await;
        assert_eq!(response.status(), 200);
        let answer = String::from_utf8(response.body().to_vec()).unwrap();
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <GetCallerIdentityResult>
            <Account>123456789012</Account>
            <Arn>arn:aws:iam::123456789012:root</Arn>
            <UserId>123456789012</UserId>
            </GetCallerIdentityResult>
            <ResponseMetadata>
            <RequestId>611830d3-641a-48f9-8a69-0dcc25d1f4b0</RequestId>
            </ResponseMetadata>
            </GetCallerIdentityResponse>"#]]
        .assert_eq(&answer.replace("><", ">\n<"));
    }
}

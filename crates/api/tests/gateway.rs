//! The generated tables through the gateway: requests as they come from clients, answers as they go out.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{ec2, ecs, sts};
use base::{ManualClock, Scope, SeededIds, Timestamp};
use bytes::Bytes;
use serde_json::{Value, json};
use wire::sigv4::{Credentials, KnownKey, SecretKey, SigningKey, sign};
use wire::{
    Authentication, Call, Fault, Gateway, GatewaySettings, Operation, Permission, Principal, RootAndNodes,
    ServiceTable,
};

const NOW: Timestamp = Timestamp::from_millis(1_440_938_160_000);

struct Stub;

impl Operation<ecs::operations::CreateCluster> for Stub {
    fn permissions(&self, _: &Call, _: &ecs::CreateClusterRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:CreateCluster", "*")]
    }
    async fn handle(
        &self,
        call: &Call,
        input: ecs::CreateClusterRequest,
    ) -> Result<ecs::CreateClusterResponse, Fault> {
        let name = input.cluster_name.unwrap_or_else(|| "default".to_owned());
        assert_ne!(name, "panic", "a failing operation");
        if name == "missing" {
            return Err(ecs::faults::cluster_contains_tasks_exception("The Cluster cannot be deleted."));
        }
        let cluster = ecs::Cluster {
            cluster_arn: Some(format!(
                "arn:aws:ecs:{}:{}:cluster/{name}",
                call.scope.region, call.scope.account
            )),
            status: Some(call.endpoint.clone()),
            tags: input.tags,
            ..ecs::Cluster::default()
        };
        Ok(ecs::CreateClusterResponse { cluster: Some(cluster) })
    }
}

impl Operation<ecs::operations::DeleteCluster> for Stub {
    fn permissions(&self, _: &Call, _: &ecs::DeleteClusterRequest) -> Vec<Permission> {
        vec![Permission::new("ecs:DeleteCluster", "arn:aws:ecs:us-east-1:000000000000:cluster/x")]
    }
    async fn handle(
        &self,
        _: &Call,
        _: ecs::DeleteClusterRequest,
    ) -> Result<ecs::DeleteClusterResponse, Fault> {
        Ok(ecs::DeleteClusterResponse::default())
    }
}

impl Operation<sts::operations::GetCallerIdentity> for Stub {
    fn permissions(&self, _: &Call, _: &sts::GetCallerIdentityRequest) -> Vec<Permission> {
        Vec::new()
    }
    async fn handle(
        &self,
        call: &Call,
        _: sts::GetCallerIdentityRequest,
    ) -> Result<sts::GetCallerIdentityResponse, Fault> {
        Ok(sts::GetCallerIdentityResponse {
            account: Some(call.principal.account.to_string()),
            arn: Some(call.principal.arn.to_string()),
            user_id: Some(call.principal.user_id.clone()),
        })
    }
}

impl Operation<ec2::operations::DescribeVpcs> for Stub {
    fn permissions(&self, _: &Call, _: &ec2::DescribeVpcsRequest) -> Vec<Permission> {
        Vec::new()
    }
    async fn handle(
        &self,
        _: &Call,
        input: ec2::DescribeVpcsRequest,
    ) -> Result<ec2::DescribeVpcsResult, Fault> {
        let filters = input.filters.unwrap_or_default();
        if let Some(id) = input.vpc_ids.and_then(|ids| ids.into_iter().next()) {
            return Err(Fault::new(
                "InvalidVpcID.NotFound",
                format!("The vpc ID '{id}' does not exist"),
                400,
            ));
        }
        let vpcs = filters.into_iter().map(|filter| ec2::Vpc {
            vpc_id: filter.name,
            cidr_block: filter.values.map(|values| values.join("|")),
            is_default: Some(true),
            ..ec2::Vpc::default()
        });
        Ok(ec2::DescribeVpcsResult { vpcs: Some(vpcs.collect()), next_token: None })
    }
}

struct Keys;

impl Credentials for Keys {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        let account = "000000000000".parse().unwrap();
        let principal = match access_key_id {
            "ROOT" => Principal::root(&account, access_key_id),
            "NODE" => Principal::node(&account, "i-1", access_key_id),
            _ => return None,
        };
        Some(KnownKey { secret_access_key: SecretKey::new("secret"), session_token: None, principal })
    }
}

fn gateway(authentication: Authentication) -> Gateway {
    let stub = Arc::new(Stub);
    let tables = vec![
        ServiceTable::new(&ecs::SERVICE)
            .with::<ecs::operations::CreateCluster, Stub>(&stub)
            .with::<ecs::operations::DeleteCluster, Stub>(&stub),
        ServiceTable::new(&sts::SERVICE).with::<sts::operations::GetCallerIdentity, Stub>(&stub),
        ServiceTable::new(&ec2::SERVICE).with::<ec2::operations::DescribeVpcs, Stub>(&stub),
    ];
    Gateway::new(GatewaySettings {
        tables,
        authentication,
        authorizer: Arc::new(RootAndNodes),
        clock: Arc::new(ManualClock::new(NOW)),
        ids: Arc::new(SeededIds::new(1)),
        default_scope: Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap()),
        endpoint: "http://localhost:4566".to_owned(),
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn send(gateway: &Gateway, request: http::Request<Bytes>) -> (u16, String) {
    let response = block_on(gateway.call(request, None));
    assert!(response.headers().contains_key("x-amzn-requestid"));
    (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
}

fn json_request(operation: &str, body: impl Into<Bytes>) -> http::Request<Bytes> {
    http::Request::post("/")
        .header("host", "ecs.local:99")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
        .body(body.into())
        .unwrap()
}

/// The status, `__type` and message of a JSON call.
fn json_call(operation: &str, body: impl Into<Bytes>) -> (u16, String, String) {
    let (status, body) = send(&gateway(Authentication::Any), json_request(operation, body));
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (status, text("__type"), text("message"))
}

fn form_request(body: &str) -> http::Request<Bytes> {
    http::Request::post("/")
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

#[test]
fn a_json_call_is_answered() {
    let body =
        r#"{"clusterName":"prod","tags":[{"key":"a","value":"b"}],"unknown":[1,{"x":null}],"settings":null}"#;
    let (status, body) = send(&gateway(Authentication::Any), json_request("CreateCluster", body));
    let cluster = json!({
        "clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/prod",
        "status": "http://ecs.local:99",
        "tags": [{"key": "a", "value": "b"}],
    });
    assert_eq!((status, serde_json::from_str(&body).unwrap()), (200, json!({ "cluster": cluster })));
}

#[test]
fn faults_have_their_code_and_status() {
    let said = json_call("CreateCluster", r#"{"clusterName":"missing"}"#);
    let expected = (400, "ClusterContainsTasksException".into(), "The Cluster cannot be deleted.".into());
    assert_eq!(said, expected);
    let (status, code, _) = json_call("CreateCluster", r#"{"clusterName":"panic"}"#);
    assert_eq!((status, code.as_str()), (500, "ServerException"));
}

#[test]
fn operations_that_are_not_there_are_named() {
    let (status, code, message) = json_call("CreateService", "{}");
    assert_eq!((status, code.as_str()), (501, "NotImplementedException"));
    assert_eq!(message, "CreateService is not implemented by Roadstead yet; docs/coverage.md lists what is");
    for name in ["MakeCoffee", "", "Create\u{e9}"] {
        let Ok(value) = http::HeaderValue::from_str(&format!("AmazonEC2ContainerServiceV20141113.{name}"))
        else {
            continue;
        };
        let mut request = json_request("X", "{}");
        request.headers_mut().insert("x-amz-target", value);
        let (status, body) = send(&gateway(Authentication::Any), request);
        assert_eq!(status, 400);
        assert!(body.contains("UnknownOperationException"), "{body}");
    }
    let (status, body) = send(&gateway(Authentication::Any), form_request("Action=Nope&Version=2016-11-15"));
    assert_eq!(status, 400);
    assert!(body.contains("<Code>InvalidAction</Code>"), "{body}");
    assert!(body.contains("The action Nope is not valid for this web service."), "{body}");
    let (_, body) =
        send(&gateway(Authentication::Any), form_request("Action=RunInstances&Version=2016-11-15"));
    assert!(body.contains("RunInstances is not implemented by Roadstead yet"), "{body}");
    let (_, body) =
        send(&gateway(Authentication::Any), form_request("Action=%3Cscript%3E&Version=2011-06-15"));
    assert!(body.contains("Could not find operation") || body.contains("MissingAction"), "{body}");
    assert!(!body.contains("script"), "{body}");
}

#[test]
fn wrong_types_and_bad_json_are_serialization_exceptions() {
    for (body, message) in [
        (r#"{"clusterName":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"clusterName":true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"clusterName":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"clusterName":[]}"#, "Start of list found where not expected"),
        (r#"{"tags":"x"}"#, "Expected list or null, found STRING_VALUE"),
        (r#"{"tags":["x"]}"#, "Expected structure or null, found STRING_VALUE"),
        (r#"{"tags":[null]}"#, "A list may not hold null"),
        (r#"{"clusterName":"a","clusterName":"b"}"#, "Duplicate member clusterName"),
        ("[]", "Start of list found where not expected"),
        ("null", "Expected structure, found null"),
        ("{", "The request body is not valid JSON (line 1, column 1)"),
        ("{}x", "The request body is not valid JSON (line 1, column 3)"),
        ("\u{feff}{}", "The request body is not valid JSON (line 1, column 1)"),
        (r#"{"clusterName":NaN}"#, "The request body is not valid JSON (line 1, column 16)"),
    ] {
        let (status, code, said) = json_call("CreateCluster", body);
        assert_eq!(
            (status, code.as_str(), said.as_str()),
            (400, "SerializationException", message),
            "{body}"
        );
    }
    let deep = format!("{{\"unknown\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let (status, code, _) = json_call("CreateCluster", deep);
    assert_eq!((status, code.as_str()), (400, "SerializationException"));
    let (status, code, _) = json_call("CreateCluster", vec![b' '; base::limits::REQUEST_BODY_BYTES + 1]);
    assert_eq!((status, code.as_str()), (413, "RequestEntityTooLargeException"));
}

#[test]
fn numbers_keep_to_their_ranges() {
    let read = |text: &str| wire::json::from_str::<ecs::RunTaskRequest>(&format!("{{\"count\":{text}}}"));
    assert_eq!(read("2147483647").unwrap().count, Some(i32::MAX));
    assert_eq!(read("1e1").unwrap().count, Some(10));
    for bad in
        ["2147483648", "-2147483649", "1.5", "1e400", "9223372036854775808", "18446744073709551616", "\"1\""]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_model_is_held_against_requests() {
    let (status, code, message) = json_call("DeleteCluster", "{}");
    assert_eq!((status, code.as_str()), (400, "InvalidParameterException"));
    assert_eq!(
        message,
        "1 validation error detected: Value null at 'cluster' failed to satisfy constraint: Member must not be null"
    );
    let long = "k".repeat(129);
    let body = json!({"tags": [{"key": "", "value": "ok"}, {"key": long, "value": "a\u{1}"}]}).to_string();
    let (_, _, message) = json_call("CreateCluster", body);
    assert!(
        message
            .starts_with("3 validation errors detected: Value '' at 'tags.1.member.key' failed to satisfy ")
    );
    assert!(message.contains("Member must have length greater than or equal to 1; "), "{message}");
    assert!(
        message
            .contains("'tags.2.member.key' failed to satisfy constraint: Member must have length less than")
    );
    assert!(message.contains(
        "Value at 'tags.2.member.value' failed to satisfy constraint: Member must satisfy regular"
    ));
    let (_, code, message) = json_call("CreateCluster", r#"{"settings":[{"name":"secrets","value":"x"}]}"#);
    assert_eq!(code, "InvalidParameterException");
    assert_eq!(
        message,
        "1 validation error detected: Value 'secrets' at 'settings.1.member.name' failed to satisfy constraint: \
         Member must satisfy enum value set: [containerInsights]"
    );
}

#[test]
fn ec2_speaks_its_own_dialect() {
    let body = "Action=DescribeVpcs&Version=2016-11-15&Filter.1.Name=vpc%2Did&Filter.1.Value.1=a%26b&Filter.1.Value.2=%3Cc+d%3E";
    let (status, body) = send(&gateway(Authentication::Any), form_request(body));
    assert_eq!(status, 200);
    let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeVpcsResponse \
                 xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15\"><requestId>";
    assert!(body.starts_with(start), "{body}");
    assert!(
        body.contains("<vpcSet><item>") && body.contains("<cidrBlock>a&amp;b|&lt;c d&gt;</cidrBlock>"),
        "{body}"
    );
    assert!(body.contains("<isDefault>true</isDefault>") && body.contains("<vpcId>vpc-id</vpcId>"), "{body}");
    let (status, body) = send(
        &gateway(Authentication::Any),
        form_request("Action=DescribeVpcs&Version=2016-11-15&VpcId.1=vpc-1"),
    );
    assert_eq!(status, 400);
    assert!(body.contains("<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code>"), "{body}");
    let (_, body) = send(
        &gateway(Authentication::Any),
        form_request("Action=DescribeVpcs&Version=2016-11-15&MaxResults=1"),
    );
    assert!(body.contains("<Code>InvalidParameterValue</Code>") && body.contains("MaxResults"), "{body}");
    let (_, body) = send(
        &gateway(Authentication::Any),
        form_request("Action=DescribeVpcs&Version=2016-11-15&DryRun=maybe"),
    );
    assert!(body.contains("The value of dryRun is not a Boolean") || body.contains("DryRun"), "{body}");
    for odd in ["VpcId=vpc-1", "VpcId.x=vpc-1", "Filter.1=x", "VpcId.1=a&VpcId.1=b", "Filter.1.Name.2=x"] {
        let (status, body) = send(
            &gateway(Authentication::Any),
            form_request(&format!("Action=DescribeVpcs&Version=2016-11-15&{odd}")),
        );
        assert!(status == 400 && body.contains("<Code>InvalidParameterValue</Code>"), "{odd}: {body}");
    }
}

fn signed(key: &str, service: &str, region: &str, request: http::Request<Bytes>) -> http::Request<Bytes> {
    let (mut parts, body) = request.into_parts();
    let signing_key = SigningKey {
        access_key_id: key.to_owned(),
        secret_access_key: SecretKey::new("secret"),
        session_token: None,
    };
    sign(&mut parts, &body, &signing_key, service, region, NOW);
    http::Request::from_parts(parts, body)
}

#[test]
fn signatures_decide_who_and_where() {
    let gateway = gateway(Authentication::Keys(Arc::new(Keys)));
    let form = || form_request("Action=GetCallerIdentity&Version=2011-06-15");
    let (status, body) = send(&gateway, signed("ROOT", "sts", "us-east-1", form()));
    assert_eq!(status, 200);
    let identity = "<GetCallerIdentityResult><Account>000000000000</Account>\
                    <Arn>arn:aws:iam::000000000000:root</Arn><UserId>000000000000</UserId></GetCallerIdentityResult>";
    assert!(body.contains(identity), "{body}");
    let (status, body) =
        send(&gateway, signed("ROOT", "ecs", "eu-west-3", json_request("CreateCluster", "{}")));
    assert_eq!(status, 200);
    assert!(body.contains("arn:aws:ecs:eu-west-3:000000000000:cluster/default"), "{body}");

    let refused: BTreeMap<&str, (http::Request<Bytes>, u16)> = [
        ("\"MissingAuthenticationTokenException\"", (json_request("CreateCluster", "{}"), 400)),
        (
            "\"UnrecognizedClientException\"",
            (signed("X", "ecs", "us-east-1", json_request("CreateCluster", "{}")), 400),
        ),
        (
            "Credential should be scoped to correct service: 'ecs'.",
            (signed("ROOT", "ec2", "us-east-1", json_request("CreateCluster", "{}")), 400),
        ),
        (
            "Credential should be scoped to a valid region.",
            (signed("ROOT", "ecs", "Mars", json_request("CreateCluster", "{}")), 400),
        ),
        ("<Code>MissingAuthenticationToken</Code>", (form(), 403)),
        ("<Code>InvalidClientTokenId</Code>", (signed("X", "sts", "us-east-1", form()), 403)),
        (
            "<Code>AuthFailure</Code>",
            (signed("X", "ec2", "us-east-1", form_request("Action=DescribeVpcs")), 401),
        ),
    ]
    .into();
    for (text, (request, expected)) in refused {
        let (status, body) = send(&gateway, request);
        assert_eq!(status, expected, "{body}");
        assert!(body.contains(text), "{text}: {body}");
    }
    let mut changed = signed("ROOT", "ecs", "us-east-1", json_request("CreateCluster", "{}"));
    *changed.body_mut() = Bytes::from_static(b"{ }");
    let (_, body) = send(&gateway, changed);
    assert!(
        body.contains("InvalidSignatureException")
            && body.contains("does not match the signature you provided")
    );
}

#[test]
fn a_presigned_url_is_a_call() {
    let gateway = gateway(Authentication::Keys(Arc::new(Keys)));
    let signing_key = SigningKey {
        access_key_id: "ROOT".to_owned(),
        secret_access_key: SecretKey::new("secret"),
        session_token: None,
    };
    let url = "http://localhost/?Action=GetCallerIdentity&Version=2011-06-15";
    let url = wire::sigv4::presign(url, &signing_key, "sts", "us-east-1", NOW, 60).unwrap();
    let get = |url: &str| http::Request::get(url).header("host", "localhost").body(Bytes::new()).unwrap();
    let (status, body) = send(&gateway, get(&url));
    assert!(status == 200 && body.contains("<UserId>000000000000</UserId>"), "{body}");
    let (status, body) = send(&gateway, get(&url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")));
    assert!(status == 403 && body.contains("<Code>SignatureDoesNotMatch</Code>"), "{body}");
}

#[test]
fn pages_of_other_sites_are_refused_where_nobody_signs() {
    let gateway = gateway(Authentication::Any);
    let from = |origin: &'static str| {
        let mut request = form_request("Action=GetCallerIdentity&Version=2011-06-15");
        request.headers_mut().insert("origin", http::HeaderValue::from_static(origin));
        send(&gateway, request).0
    };
    assert_eq!(from("http://evil.example"), 403);
    assert_eq!(from("null"), 403);
    assert_eq!(from("http://localhost"), 200);
}

#[test]
fn a_get_calls_no_json_operation() {
    let mut request = json_request("CreateCluster", "{}");
    *request.method_mut() = http::Method::GET;
    let (status, body) = send(&gateway(Authentication::Any), request);
    assert!(status == 400 && body.contains("UnknownOperationException"), "{body}");
}

#[test]
fn a_node_may_do_only_what_an_agent_needs() {
    let gateway = gateway(Authentication::Keys(Arc::new(Keys)));
    let request = |operation: &str, body: &'static str| {
        signed("NODE", "ecs", "us-east-1", json_request(operation, body))
    };
    assert_eq!(send(&gateway, request("CreateCluster", "{}")).0, 200);
    let (status, body) = send(&gateway, request("DeleteCluster", r#"{"cluster":"x"}"#));
    assert_eq!(status, 400);
    let text = "is not authorized to perform: ecs:DeleteCluster on resource: arn:aws:ecs:us-east-1:000000000000:cluster/x";
    assert!(body.contains("AccessDeniedException") && body.contains(text), "{body}");
}

#[test]
fn a_document_is_stored_and_read_back() {
    let text = r#"{"containerDefinitions":[{"environment":[{"name":"A","value":"é\n"}],"image":"busybox","memory":16,"name":"c"}],"family":"f","volumes":[]}"#;
    let read: ecs::RegisterTaskDefinitionRequest = wire::json::from_str(text).unwrap();
    assert_eq!(wire::json::to_string(&read), text);
    assert!(format!("{read:?}").contains("busybox"));
}

#[test]
fn secrets_are_not_shown() {
    let text =
        r#"{"containerDefinitions":[{"environment":[{"name":"PASSWORD","value":"hunter2"}]}],"family":"f"}"#;
    let read: ecs::RegisterTaskDefinitionRequest = wire::json::from_str(text).unwrap();
    let shown = format!("{read:?}");
    assert!(shown.contains("family: \"f\"") && !shown.contains("hunter2"), "{shown}");
    let pair = ecs::KeyValuePair { name: Some("PASSWORD".to_owned()), value: Some("hunter2".to_owned()) };
    assert_eq!(format!("{pair:?}"), r#"KeyValuePair { name: "PASSWORD", value: <sensitive> }"#);
    assert_eq!(
        format!(
            "{:?}",
            ecs::ListClustersResponse { cluster_arns: Some(vec!["a".to_owned()]), next_token: None }
        ),
        r#"ListClustersResponse { clusterArns: ["a"] }"#
    );
}

/// Every pattern of the models that are served can be checked.
#[test]
fn patterns_compile() {
    use wire::schema::{Kind, ShapeSchema};
    fn walk(shape: &'static ShapeSchema, seen: &mut Vec<*const ShapeSchema>, patterns: &mut usize) {
        if seen.contains(&std::ptr::from_ref(shape)) {
            return;
        }
        seen.push(shape);
        if let Some(pattern) = shape.constraints.pattern {
            assert!(wire::validate::compiled(pattern).is_some(), "{}: {pattern}", shape.name);
            *patterns += 1;
        }
        match shape.kind {
            Kind::Structure(structure) => {
                structure.members.iter().for_each(|member| walk(member.shape, seen, patterns));
            }
            Kind::List(member) => walk(member.shape, seen, patterns),
            Kind::Map(key, value) => {
                for member in [key, value] {
                    walk(member.shape, seen, patterns);
                }
            }
            _ => {}
        }
    }
    let (mut seen, mut patterns) = (Vec::new(), 0);
    for shape in [
        &api::ecs::schemas::CREATE_CLUSTER_REQUEST,
        &api::ecs::schemas::RUN_TASK_REQUEST,
        &api::ecs::schemas::REGISTER_TASK_DEFINITION_REQUEST,
        &api::logs::schemas::CREATE_LOG_GROUP_REQUEST,
        &api::logs::schemas::PUT_LOG_EVENTS_REQUEST,
        &api::logs::schemas::FILTER_LOG_EVENTS_REQUEST,
        &api::logs::schemas::TAG_RESOURCE_REQUEST,
    ] {
        walk(shape, &mut seen, &mut patterns);
    }
    assert!(patterns >= 5, "{patterns}");
}

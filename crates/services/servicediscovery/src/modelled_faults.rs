//! Every fault that the model names for an operation: what brings it about, or why nothing does here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::testing::World;

/// What nothing brings about, and why; the operation is `*` where that holds for all.
const NEVER: &[(&str, &str, &str)] = &[
    ("*", "DuplicateRequest", "operations are done when they are answered"),
    ("*", "RequestLimitExceeded", "nothing is throttled"),
    ("RegisterInstance", "ResourceInUse", "operations are done when they are answered"),
    ("DeregisterInstance", "ResourceInUse", "operations are done when they are answered"),
    ("UpdateHttpNamespace", "ResourceInUse", "operations are done when they are answered"),
    ("UpdatePrivateDnsNamespace", "ResourceInUse", "operations are done when they are answered"),
    ("UpdatePublicDnsNamespace", "ResourceInUse", "operations are done when they are answered"),
    ("CreateService", "ResourceLimitExceeded", "AWS has no quota on services"),
    ("CreateHttpNamespace", "ResourceLimitExceeded", "see limits_are_told"),
    ("CreatePrivateDnsNamespace", "ResourceLimitExceeded", "see limits_are_told"),
    ("CreatePublicDnsNamespace", "ResourceLimitExceeded", "see limits_are_told"),
    ("RegisterInstance", "ResourceLimitExceeded", "see limits_are_told"),
];

/// More tags than a resource may have.
fn many_tags() -> Value {
    (0..51).map(|number| json!({"Key": number.to_string(), "Value": ""})).collect()
}

/// As many attributes as a service may have.
fn many_attributes() -> Value {
    (0..30).map(|number| (number.to_string(), Value::from("x"))).collect::<serde_json::Map<_, _>>().into()
}

/// Calls and the faults that they are answered with. `web` and `insurance.local` are there with a service `backend` each; that
/// in `web` has neither instances nor health of its own.
#[rustfmt::skip]
fn cases(vpc: &str, plain: &str, service: &str, namespace: &str) -> Vec<(&'static str, Value, &'static str)> {
    let tags = many_tags();
    let arn = "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-gone";
    let real = format!("arn:aws:servicediscovery:us-east-1:123456789012:namespace/{namespace}");
    let soa = json!({"Description": "x"});
    vec![
        ("CreateHttpNamespace", json!({"Name": ""}), "InvalidInput"),
        ("CreateHttpNamespace", json!({"Name": "arn:x"}), "InvalidInput"),
        ("CreateHttpNamespace", json!({"Name": "web"}), "NamespaceAlreadyExists"),
        ("CreateHttpNamespace", json!({"Name": "other", "Tags": tags}), "TooManyTagsException"),
        ("CreatePrivateDnsNamespace", json!({"Name": "a..b", "Vpc": vpc}), "InvalidInput"),
        ("CreatePrivateDnsNamespace", json!({"Name": "insurance.local", "Vpc": vpc}), "NamespaceAlreadyExists"),
        ("CreatePrivateDnsNamespace", json!({"Name": "other.local", "Vpc": vpc, "Tags": tags}), "TooManyTagsException"),
        ("CreatePublicDnsNamespace", json!({"Name": "a..b"}), "InvalidInput"),
        ("CreatePublicDnsNamespace", json!({"Name": "public.test"}), "NamespaceAlreadyExists"),
        ("CreatePublicDnsNamespace", json!({"Name": "other.test", "Tags": tags}), "TooManyTagsException"),
        ("CreateService", json!({"Name": "x"}), "InvalidInput"),
        ("CreateService", json!({"Name": "x", "NamespaceId": "ns-gone"}), "NamespaceNotFound"),
        ("CreateService", json!({"Name": "backend", "NamespaceId": namespace}), "ServiceAlreadyExists"),
        ("CreateService", json!({"Name": "x", "NamespaceId": namespace, "Tags": tags}), "TooManyTagsException"),
        ("DeleteNamespace", json!({"Id": "ns-gone"}), "NamespaceNotFound"),
        ("DeleteNamespace", json!({"Id": namespace}), "ResourceInUse"),
        ("DeleteNamespace", json!({}), "InvalidInput"),
        ("DeleteService", json!({"Id": "srv-gone"}), "ServiceNotFound"),
        ("DeleteService", json!({"Id": service}), "ResourceInUse"),
        ("DeleteService", json!({}), "InvalidInput"),
        ("DeleteServiceAttributes", json!({"ServiceId": "srv-gone", "Attributes": ["a"]}), "ServiceNotFound"),
        ("DeleteServiceAttributes", json!({"ServiceId": service}), "InvalidInput"),
        ("DeregisterInstance", json!({"ServiceId": "srv-gone", "InstanceId": "i"}), "ServiceNotFound"),
        ("DeregisterInstance", json!({"ServiceId": service, "InstanceId": "gone"}), "InstanceNotFound"),
        ("DeregisterInstance", json!({"ServiceId": service}), "InvalidInput"),
        ("DiscoverInstances", json!({"NamespaceName": "gone", "ServiceName": "backend"}), "NamespaceNotFound"),
        ("DiscoverInstances", json!({"NamespaceName": "web", "ServiceName": "gone"}), "ServiceNotFound"),
        ("DiscoverInstances", json!({"NamespaceName": "web"}), "InvalidInput"),
        ("DiscoverInstancesRevision", json!({"NamespaceName": "gone", "ServiceName": "backend"}), "NamespaceNotFound"),
        ("DiscoverInstancesRevision", json!({"NamespaceName": "web", "ServiceName": "gone"}), "ServiceNotFound"),
        ("DiscoverInstancesRevision", json!({"NamespaceName": "web"}), "InvalidInput"),
        ("GetInstance", json!({"ServiceId": "srv-gone", "InstanceId": "i"}), "ServiceNotFound"),
        ("GetInstance", json!({"ServiceId": service, "InstanceId": "gone"}), "InstanceNotFound"),
        ("GetInstance", json!({"ServiceId": service}), "InvalidInput"),
        ("GetInstancesHealthStatus", json!({"ServiceId": "srv-gone"}), "ServiceNotFound"),
        ("GetInstancesHealthStatus", json!({"ServiceId": service, "Instances": ["gone"]}), "InstanceNotFound"),
        ("GetInstancesHealthStatus", json!({"ServiceId": service, "NextToken": "x"}), "InvalidInput"),
        ("GetNamespace", json!({"Id": "ns-gone"}), "NamespaceNotFound"),
        ("GetNamespace", json!({}), "InvalidInput"),
        ("GetOperation", json!({"OperationId": "gone"}), "OperationNotFound"),
        ("GetOperation", json!({}), "InvalidInput"),
        ("GetService", json!({"Id": "srv-gone"}), "ServiceNotFound"),
        ("GetService", json!({}), "InvalidInput"),
        ("GetServiceAttributes", json!({"ServiceId": "srv-gone"}), "ServiceNotFound"),
        ("GetServiceAttributes", json!({}), "InvalidInput"),
        ("ListInstances", json!({"ServiceId": "srv-gone"}), "ServiceNotFound"),
        ("ListInstances", json!({"ServiceId": service, "NextToken": "x"}), "InvalidInput"),
        ("ListNamespaces", json!({"NextToken": "x"}), "InvalidInput"),
        ("ListOperations", json!({"NextToken": "x"}), "InvalidInput"),
        ("ListServices", json!({"NextToken": "x"}), "InvalidInput"),
        ("ListTagsForResource", json!({"ResourceARN": arn}), "ResourceNotFoundException"),
        ("ListTagsForResource", json!({}), "InvalidInput"),
        ("RegisterInstance", json!({"ServiceId": "srv-gone", "InstanceId": "i", "Attributes": {"a": "b"}}), "ServiceNotFound"),
        ("RegisterInstance", json!({"ServiceId": service, "InstanceId": "i", "Attributes": {"AWS_INSTANCE_IPV4": "x"}}), "InvalidInput"),
        ("TagResource", json!({"ResourceARN": arn, "Tags": [{"Key": "a", "Value": ""}]}), "ResourceNotFoundException"),
        ("TagResource", json!({"ResourceARN": real, "Tags": tags}), "TooManyTagsException"),
        ("TagResource", json!({"ResourceARN": real, "Tags": [{"Key": "aws:a", "Value": ""}]}), "InvalidInput"),
        ("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["a"]}), "ResourceNotFoundException"),
        ("UntagResource", json!({"ResourceARN": real}), "InvalidInput"),
        ("UpdateHttpNamespace", json!({"Id": "ns-gone", "Namespace": soa}), "NamespaceNotFound"),
        ("UpdateHttpNamespace", json!({"Id": namespace}), "InvalidInput"),
        ("UpdateInstanceCustomHealthStatus", json!({"ServiceId": "srv-gone", "InstanceId": "i", "Status": "HEALTHY"}), "ServiceNotFound"),
        ("UpdateInstanceCustomHealthStatus", json!({"ServiceId": service, "InstanceId": "gone", "Status": "HEALTHY"}), "InstanceNotFound"),
        ("UpdateInstanceCustomHealthStatus", json!({"ServiceId": plain, "InstanceId": "i", "Status": "HEALTHY"}), "CustomHealthNotFound"),
        ("UpdateInstanceCustomHealthStatus", json!({"ServiceId": service, "InstanceId": "one", "Status": "x"}), "InvalidInput"),
        ("UpdatePrivateDnsNamespace", json!({"Id": "ns-gone", "Namespace": soa}), "NamespaceNotFound"),
        ("UpdatePrivateDnsNamespace", json!({"Id": namespace, "Namespace": soa}), "InvalidInput"),
        ("UpdatePublicDnsNamespace", json!({"Id": "ns-gone", "Namespace": soa}), "NamespaceNotFound"),
        ("UpdatePublicDnsNamespace", json!({"Id": namespace, "Namespace": soa}), "InvalidInput"),
        ("UpdateService", json!({"Id": "srv-gone", "Service": {"Description": "x"}}), "ServiceNotFound"),
        ("UpdateService", json!({"Id": service}), "InvalidInput"),
        ("UpdateServiceAttributes", json!({"ServiceId": "srv-gone", "Attributes": {"a": "b"}}), "ServiceNotFound"),
        ("UpdateServiceAttributes", json!({"ServiceId": service, "Attributes": {"more": "x"}}), "ServiceAttributesLimitExceededException"),
        ("UpdateServiceAttributes", json!({"ServiceId": service}), "InvalidInput"),
    ]
}

#[tokio::test]
async fn each_is_brought_about() {
    let world = World::new();
    let service = world.backend(&[("one", "10.0.0.1", "HEALTHY")]).await;
    let vpc = world.vpc().await;
    world.made("CreatePublicDnsNamespace", json!({"Name": "public.test"})).await;
    let namespace = world.http_namespace().await;
    let plain = world.service(&namespace, json!({})).await;
    let body = json!({"ServiceId": plain, "InstanceId": "i", "Attributes": {"a": "b"}});
    assert_eq!(world.operation("RegisterInstance", body).await["Status"], "SUCCESS");
    world.ok("UpdateServiceAttributes", json!({"ServiceId": service, "Attributes": many_attributes()})).await;
    let mut wrong = Vec::new();
    for (operation, body, fault) in cases(&vpc, &plain, &service, &namespace) {
        let (status, answer) = world.ask(operation, body.clone()).await;
        let told = if status == 200 {
            // Some are told by the operation that the call began.
            let id = json!({"OperationId": answer["OperationId"]});
            let done = world.ask("GetOperation", id).await.1["Operation"].clone();
            format!("{status} {}: {}", done["ErrorCode"], done["ErrorMessage"])
        } else {
            world.refused(operation, body.clone()).await
        };
        if told.strip_prefix(&format!("{fault}: ")).is_none_or(str::is_empty) {
            wrong.push(format!("{operation} {body}: {told}, not {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn none_is_left_out() {
    let model: Value =
        serde_json::from_str(include_str!("../../../../models/servicediscovery.json")).unwrap();
    let built = include_str!("../../../../models/servicediscovery.operations").lines();
    let cases: BTreeSet<(&str, &str)> =
        cases("", "", "", "").into_iter().map(|(operation, _, fault)| (operation, fault)).collect();
    let mut left = Vec::new();
    for operation in built.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        for error in model["operations"][operation]["errors"].as_array().into_iter().flatten() {
            let error = error["shape"].as_str().unwrap();
            let never = NEVER.iter().any(|(of, name, _)| *name == error && (*of == "*" || *of == operation));
            if never == cases.contains(&(operation, error)) {
                left.push(format!("{operation}: {error}"));
            }
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn limits_are_told() {
    let world = World::new();
    let vpc = world.vpc().await;
    let namespace = world.http_namespace().await;
    let service = world.service(&namespace, json!({})).await;
    for number in 1..50 {
        world.made("CreateHttpNamespace", json!({"Name": format!("n{number}")})).await;
    }
    let dns = json!({"Name": "more.test", "Vpc": vpc});
    for (operation, body) in [
        ("CreateHttpNamespace", json!({"Name": "more"})),
        ("CreatePrivateDnsNamespace", dns),
        ("CreatePublicDnsNamespace", json!({"Name": "more.test"})),
    ] {
        let told = world.refused(operation, body).await;
        assert!(told.starts_with("ResourceLimitExceeded: "), "{operation}: {told}");
    }
    let instance = |number: usize| json!({"ServiceId": service, "InstanceId": number.to_string(), "Attributes": {"a": "b"}});
    for number in 0..1000 {
        world.ok("RegisterInstance", instance(number)).await;
    }
    let told = world.refused("RegisterInstance", instance(1000)).await;
    assert!(told.starts_with("ResourceLimitExceeded: "), "{told}");
}

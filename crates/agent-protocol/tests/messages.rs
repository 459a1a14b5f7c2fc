//! Every message of the stock agent's protocol, as it stands on the wire: read, and written back the same.

#![recursion_limit = "512"]

use agent_protocol::docker::{ContainerConfig, DockerConfig, HealthConfig, HostConfig, LogConfig};
use agent_protocol::payload::{Container, DependencyCondition, DesiredStatus, RoleType};
use agent_protocol::{FRAME_BYTES_MAXIMUM, FrameError, acs, tcs};
use proptest::prelude::*;
use serde_json::{Value, json};

const CLUSTER: &str = "arn:aws:ecs:us-east-1:000000000000:cluster/default";
const INSTANCE: &str =
    "arn:aws:ecs:us-east-1:000000000000:container-instance/default/0123456789abcdef0123456789abcdef";
const TASK: &str = "arn:aws:ecs:us-east-1:000000000000:task/default/fedcba9876543210fedcba9876543210";

fn credentials() -> Value {
    json!({
        "credentialsId": "5f0b3a1e-0000-4000-8000-000000000001",
        "roleArn": "arn:aws:iam::000000000000:role/web",
        "accessKeyId": "ASIAEXAMPLE",
        "secretAccessKey": "very-secret",
        "sessionToken": "token-secret",
        "expiration": "2026-11-22T21:00:00Z",
    })
}

fn interface() -> Value {
    json!({
        "attachmentArn": "arn:aws:ecs:us-east-1:000000000000:attachment/1",
        "ec2Id": "eni-0123456789abcdef0",
        "macAddress": "02:00:5e:00:53:01",
        "index": 0,
        "name": "eth0",
        "ipv4Addresses": [{"primary": true, "privateAddress": "172.31.0.5"}],
        "ipv6Addresses": [{"primary": true, "address": "2001:db8::5"}],
        "subnetGatewayIpv4Address": "172.31.0.1/20",
        "domainName": ["ec2.internal"],
        "domainNameServers": ["172.31.0.2"],
        "privateDnsName": "ip-172-31-0-5.ec2.internal",
        "interfaceAssociationProtocol": "default",
    })
}

/// A task with every member that the protocol has.
fn full_task() -> Value {
    json!({
        "arn": TASK,
        "taskClusterArn": CLUSTER,
        "family": "web",
        "version": "7",
        "desiredStatus": "RUNNING",
        "overrides": "{}",
        "taskDefinitionAccountId": "000000000000",
        "zone": "us-east-1a",
        "launchType": "EC2",
        "networkMode": "awsvpc",
        "pidMode": "task",
        "ipcMode": "task",
        "cpu": 0.25,
        "memory": 512,
        "roleCredentials": credentials(),
        "executionRoleCredentials": credentials(),
        "elasticNetworkInterfaces": [interface()],
        "associations": [{"name": "GPU-1", "type": "gpu", "containers": ["app"], "content": {"encoding": "base64", "value": ""}}],
        "proxyConfiguration": {"type": "APPMESH", "containerName": "envoy", "properties": {"IgnoredUID": "1337"}},
        "attachments": [{"attachmentArn": "arn:aws:ecs:us-east-1:000000000000:attachment/2", "attachmentType": "amazonebs",
                         "attachmentProperties": [{"name": "volumeId", "value": "vol-1"}]}],
        "serviceName": "web",
        "group": "service:web",
        "enableFaultInjection": false,
        "volumes": [
            {"name": "scratch", "type": "host", "host": {}},
            {"name": "data", "type": "host", "host": {"sourcePath": "/srv/data"}},
            {"name": "named", "type": "docker", "dockerVolumeConfiguration":
                {"scope": "shared", "autoprovision": true, "driver": "local", "driverOpts": {"type": "tmpfs"}, "labels": {"a": "b"}}},
            {"name": "efs", "type": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/", "transitEncryption": "ENABLED",
                "transitEncryptionPort": 2999, "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}},
        ],
        "containers": [{
            "name": "app",
            "image": "nginx:1.29",
            "containerArn": "arn:aws:ecs:us-east-1:000000000000:container/default/f/1",
            "essential": true,
            "command": ["nginx", "-g", "daemon off;"],
            "entryPoint": ["/entry"],
            "environment": {"AWS_EXECUTION_ENV": "AWS_ECS_EC2", "A": ""},
            "overrides": "{\"command\":[\"x\"]}",
            "cpu": 256,
            "memory": 512,
            "links": ["db:database"],
            "volumesFrom": [{"sourceContainer": "db", "readOnly": true}],
            "mountPoints": [{"sourceVolume": "data", "containerPath": "/data", "readOnly": false}],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}, {"containerPortRange": "8000-8010", "protocol": "udp"}],
            "secrets": [{"name": "S", "valueFrom": "arn:x", "region": "us-east-1", "provider": "ssm", "type": "ENVIRONMENT_VARIABLE", "target": "CONTAINER", "containerPath": "/s"}],
            "environmentFiles": [{"value": "arn:aws:s3:::b/k.env", "type": "s3"}],
            "registryAuthentication": {"type": "asm", "asmAuthData": {"credentialsParameter": "arn:x", "region": "us-east-1"},
                "ecrAuthData": {"region": "us-east-1", "registryId": "000000000000", "endpointOverride": "http://127.0.0.1", "useExecutionRole": true}},
            "logsAuthStrategy": "ExecutionRole",
            "healthCheckType": "docker",
            "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
            "startTimeout": 120,
            "stopTimeout": 86400,
            "restartPolicy": {"enabled": true, "ignoredExitCodes": [0, 143], "restartAttemptPeriod": 60},
            "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true"}},
            "managedAgents": [{"name": "ExecuteCommandAgent", "properties": {"sessionLimit": "2"}}],
            "dockerConfig": {"version": "1.17", "config": "{\"User\":\"nobody\"}", "hostConfig": "{\"ReadonlyRootfs\":true}"},
        }],
        "roadstead": {"generation": 3, "launchType": "FARGATE", "ephemeralStorageGib": 21, "vpcId": "vpc-1"},
    })
}

fn server_messages() -> Vec<(&'static str, Value)> {
    let order = |more: Value| {
        let mut message = json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": "m-1", "generatedAt": 1_700_000_000_000_i64});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let task = json!({"taskArn": TASK, "taskClusterArn": CLUSTER});
    let for_task = |more: Value| {
        let mut message = order(more);
        message.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
        message
    };
    vec![
        ("HeartbeatMessage", json!({"healthy": true, "messageId": "m-1"})),
        ("PayloadMessage", order(json!({"seqNum": 12, "timeline": 1, "tasks": [full_task()]}))),
        (
            "IAMRoleCredentialsMessage",
            json!({"messageId": "m-1", "taskArn": TASK, "taskClusterArn": CLUSTER, "roleType": "TaskApplication", "roleCredentials": credentials()}),
        ),
        (
            "TaskManifestMessage",
            order(
                json!({"timeline": 13, "tasks": [{"taskArn": TASK, "taskClusterArn": CLUSTER, "desiredStatus": "RUNNING"}]}),
            ),
        ),
        (
            "TaskStopVerificationAck",
            json!({"messageId": "m-1", "generatedAt": 1, "stopTasks": [{"taskArn": TASK, "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}]}),
        ),
        (
            "AttachTaskNetworkInterfacesMessage",
            for_task(json!({"waitTimeoutMs": 60000, "elasticNetworkInterfaces": [interface()]})),
        ),
        (
            "AttachInstanceNetworkInterfacesMessage",
            order(json!({"waitTimeoutMs": 60000, "elasticNetworkInterfaces": [interface()]})),
        ),
        (
            "ConfirmAttachmentMessage",
            for_task(
                json!({"waitTimeoutMs": 60000, "attachment": {"attachmentArn": "arn:x", "attachmentType": "amazonebs", "attachmentProperties": [{"name": "volumeId", "value": "vol-1"}]}}),
            ),
        ),
        (
            "StageUpdateMessage",
            json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": "m-1", "updateInfo": {"location": "https://x", "signature": "y"}}),
        ),
        (
            "PerformUpdateMessage",
            json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": "m-1", "updateInfo": {"location": "https://x", "signature": "y"}}),
        ),
        ("CloseMessage", json!({"message": "ConnectionExpired: Reconnect to continue"})),
        ("ErrorMessage", json!({"message": "x"})),
        ("InactiveInstanceException", json!({"message": "deregistered"})),
        ("ServerException", json!({"message": "x"})),
    ]
}

fn agent_messages() -> Vec<(&'static str, Value)> {
    vec![
        ("AckRequest", json!({"cluster": CLUSTER, "containerInstance": INSTANCE, "messageId": "m-1"})),
        (
            "NackRequest",
            json!({"cluster": CLUSTER, "containerInstance": INSTANCE, "messageId": "m-1", "reason": "Updates are disabled"}),
        ),
        ("HeartbeatAckRequest", json!({"messageId": "m-1"})),
        (
            "IAMRoleCredentialsAckRequest",
            json!({"messageId": "m-1", "expiration": "2026-11-22T21:00:00Z", "credentialsId": "c"}),
        ),
        (
            "TaskStopVerificationMessage",
            json!({"messageId": "m-1", "stopCandidates": [{"taskArn": TASK, "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}]}),
        ),
    ]
}

fn telemetry_messages() -> Vec<(&'static str, Value)> {
    let set = json!({"min": 0.5, "max": 2.5, "sampleCount": 2, "sum": 3.0});
    let long = json!({"min": 1, "max": 2, "sampleCount": 2, "sum": 3, "overflowMin": 0, "overflowMax": 0, "overflowSum": 0});
    vec![
        (
            "PublishMetricsRequest",
            json!({
                "metadata": {"cluster": "default", "containerInstance": INSTANCE, "messageId": "m", "idle": false, "fin": true},
                "instanceMetrics": {"some": ["thing"]},
                "taskMetrics": [{
                    "taskArn": TASK, "clusterArn": CLUSTER, "taskDefinitionFamily": "web", "taskDefinitionVersion": "7",
                    "containerMetrics": [{
                        "containerName": "app", "containerArn": "arn:x", "cpuStatsSet": set, "memoryStatsSet": set,
                        "networkStatsSet": {"rxBytes": long, "rxPackets": long, "rxErrors": long, "rxDropped": long, "txBytes": long,
                            "txPackets": long, "txErrors": long, "txDropped": long, "rxBytesPerSecond": set, "txBytesPerSecond": set},
                        "storageStatsSet": {"readSizeBytes": long, "writeSizeBytes": long},
                        "restartStatsSet": {"restartCount": 2},
                    }],
                    "ephemeralStorageMetrics": {"bytesUtilized": long},
                    "volumeMetrics": [{"volumeId": "vol-1", "volumeName": "v", "utilized": long, "size": long}],
                    "serviceConnectMetricsWrapper": [{"metricType": "1"}],
                }],
                "timestamp": 1_700_000_000.123,
            }),
        ),
        (
            "PublishHealthRequest",
            json!({
                "metadata": {"cluster": "default", "containerInstance": INSTANCE, "messageId": "m", "fin": true},
                "tasks": [{"taskArn": TASK, "clusterArn": CLUSTER, "taskDefinitionFamily": "web", "taskDefinitionVersion": "7",
                    "containers": [{"containerName": "app", "healthStatus": "HEALTHY", "statusSince": 1_700_000_000.5, "statusMessage": "ok"}]}],
                "timestamp": 1_700_000_000.123,
            }),
        ),
        (
            "PublishInstanceStatusRequest",
            json!({
                "metadata": {"cluster": "default", "containerInstance": INSTANCE, "requestId": "r"},
                "statuses": [{"type": "ContainerRuntime", "status": "OK", "lastUpdated": 1.5, "lastStatusChange": 1.25, "statusReason": "x"}],
                "timestamp": 1_700_000_000.123,
            }),
        ),
    ]
}

fn envelope(kind: &str, message: &Value) -> String {
    json!({"type": kind, "message": message}).to_string()
}

fn assert_same(kind: &str, written: &str, message: &Value) {
    let written: Value = serde_json::from_str(written).unwrap();
    assert_eq!(written, json!({"type": kind, "message": message}), "{kind}");
}

#[test]
fn every_acs_message_of_the_server_survives_a_round_trip() {
    for (kind, message) in server_messages() {
        let parsed = acs::ServerMessage::parse(&envelope(kind, &message)).unwrap();
        assert!(!matches!(parsed, acs::ServerMessage::Unknown(_)), "{kind}");
        assert_same(kind, &parsed.to_text(), &message);
    }
}

#[test]
fn every_acs_message_of_the_agent_survives_a_round_trip() {
    for (kind, message) in agent_messages() {
        let parsed = acs::AgentMessage::parse(&envelope(kind, &message)).unwrap();
        assert!(!matches!(parsed, acs::AgentMessage::Unknown(_)), "{kind}");
        assert_same(kind, &parsed.to_text(), &message);
    }
}

#[test]
fn every_tcs_message_survives_a_round_trip() {
    for (kind, message) in telemetry_messages() {
        let parsed = tcs::AgentMessage::parse(&envelope(kind, &message)).unwrap();
        assert!(!matches!(parsed, tcs::AgentMessage::Unknown(_)), "{kind}");
        assert_same(kind, &parsed.to_text(), &message);
    }
    for kind in [
        "AckPublishMetric",
        "AckPublishHealth",
        "AckPublishInstanceStatus",
        "StopTelemetrySessionMessage",
        "BadRequestException",
    ] {
        let message = json!({"message": "ok"});
        let parsed = tcs::ServerMessage::parse(&envelope(kind, &message)).unwrap();
        assert!(!matches!(parsed, tcs::ServerMessage::Unknown(_)), "{kind}");
        assert_same(kind, &parsed.to_text(), &message);
    }
    let heartbeat = json!({"healthy": true});
    let parsed = tcs::ServerMessage::parse(&envelope("HeartbeatMessage", &heartbeat)).unwrap();
    assert_same("HeartbeatMessage", &parsed.to_text(), &heartbeat);
}

#[test]
fn members_land_where_they_belong() {
    let text = envelope("PayloadMessage", &server_messages()[1].1);
    let acs::ServerMessage::Payload(payload) = acs::ServerMessage::parse(&text).unwrap() else {
        panic!("no payload")
    };
    assert_eq!(payload.seq_num, Some(12));
    let task = &payload.tasks[0];
    assert_eq!(task.desired_status, DesiredStatus::Running);
    assert_eq!(task.cpu, Some(0.25));
    assert_eq!(task.elastic_network_interfaces[0].subnet_gateway_ipv4_address, "172.31.0.1/20");
    let container = &task.containers[0];
    assert_eq!(container.depends_on[0].condition, DependencyCondition::Healthy);
    assert_eq!(container.stop_timeout, Some(86400));
    let docker = container.docker_config.as_ref().unwrap();
    assert_eq!(docker.container_config().unwrap().user.as_deref(), Some("nobody"));
    assert_eq!(docker.host_configuration().unwrap().readonly_rootfs, Some(true));
}

#[test]
fn an_order_to_stop_may_be_bare() {
    let text = envelope(
        "PayloadMessage",
        &json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": "m-1",
                "tasks": [{"arn": TASK, "desiredStatus": "STOPPED", "containers": null}]}),
    );
    let acs::ServerMessage::Payload(payload) = acs::ServerMessage::parse(&text).unwrap() else {
        panic!("no payload")
    };
    assert_eq!(payload.tasks[0].desired_status, DesiredStatus::Stopped);
    assert!(payload.tasks[0].containers.is_empty());
}

#[test]
fn docker_configurations_use_dockers_words() {
    let config = ContainerConfig {
        working_dir: Some("/srv".into()),
        open_stdin: Some(true),
        healthcheck: Some(HealthConfig {
            test: vec!["CMD-SHELL".into(), "true".into()],
            interval: Some(5_000_000_000),
            timeout: None,
            retries: Some(3),
            start_period: Some(0),
        }),
        ..ContainerConfig::default()
    };
    let host = HostConfig {
        log_config: Some(LogConfig {
            kind: "awslogs".into(),
            config: [("awslogs-group".to_owned(), "/ecs/x".to_owned())].into(),
        }),
        readonly_rootfs: Some(true),
        shm_size: Some(1 << 20),
        ..HostConfig::default()
    };
    let docker = DockerConfig::new(&config, &host);
    assert_eq!(
        serde_json::from_str::<Value>(docker.config.as_deref().unwrap()).unwrap(),
        json!({"WorkingDir": "/srv", "OpenStdin": true,
               "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Retries": 3, "StartPeriod": 0}})
    );
    assert_eq!(
        serde_json::from_str::<Value>(docker.host_config.as_deref().unwrap()).unwrap(),
        json!({"LogConfig": {"Type": "awslogs", "Config": {"awslogs-group": "/ecs/x"}}, "ReadonlyRootfs": true, "ShmSize": 1_048_576})
    );
    assert_eq!(docker.container_config().unwrap(), config);
    assert_eq!(docker.host_configuration().unwrap(), host);
}

#[test]
fn unknown_types_keys_and_words_are_let_pass() {
    let parsed = acs::ServerMessage::parse(r#"{"type":"FutureMessage","message":{"x":1}}"#).unwrap();
    assert_eq!(parsed, acs::ServerMessage::Unknown("FutureMessage".into()));
    let parsed =
        acs::ServerMessage::parse(r#"{"type":"HeartbeatMessage","message":{"healthy":true,"new":[1]}}"#)
            .unwrap();
    assert!(matches!(parsed, acs::ServerMessage::Heartbeat(_)));
    let container: Container =
        agent_protocol::from_json(r#"{"name":"a","dependsOn":[{"containerName":"b","condition":"LUCKY"}]}"#)
            .unwrap();
    assert_eq!(container.depends_on[0].condition, DependencyCondition::Other("LUCKY".into()));
}

#[test]
fn malformed_messages_are_refused() {
    for bad in ["", "x", "[]", "{}", r#"{"message":{}}"#, r#"{"type":1,"message":{}}"#] {
        assert!(matches!(acs::ServerMessage::parse(bad), Err(FrameError::Envelope(_))), "{bad}");
    }
    for bad in [
        r#"{"type":"PayloadMessage","message":{}}"#,
        r#"{"type":"PayloadMessage","message":[]}"#,
        r#"{"type":"TaskManifestMessage","message":{"timeline":"x"}}"#,
    ] {
        assert!(matches!(acs::ServerMessage::parse(bad), Err(FrameError::Message { .. })), "{bad}");
    }
    let deep = format!(r#"{{"type":"X","message":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(acs::ServerMessage::parse(&deep).is_err());
    let long = " ".repeat(FRAME_BYTES_MAXIMUM + 1);
    assert!(matches!(acs::AgentMessage::parse(&long), Err(FrameError::TooLong(_))));
    assert!(matches!(tcs::AgentFrame::split(&long), Err(FrameError::TooLong(_))));
}

#[test]
fn a_telemetry_frame_is_split_at_its_first_blank_line() {
    let headers = [
        ("Authorization".to_owned(), "AWS4-HMAC-SHA256 x".to_owned()),
        ("Host".to_owned(), "h:1".to_owned()),
    ];
    let text = tcs::AgentFrame::join(&headers, "{\"a\":\"\\r\\n\\r\\n\"}\r\n\r\n");
    let frame = tcs::AgentFrame::split(&text).unwrap();
    assert_eq!(frame.header("authorization"), Some("AWS4-HMAC-SHA256 x"));
    assert_eq!(frame.header("host"), Some("h:1"));
    assert_eq!(frame.body, "{\"a\":\"\\r\\n\\r\\n\"}\r\n\r\n");
    for bad in ["", "{}", "Host: x\r\n{}", "no colon\r\n\r\n{}"] {
        assert!(tcs::AgentFrame::split(bad).is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let text = envelope("PayloadMessage", &server_messages()[1].1);
    let shown = format!("{:?}", acs::ServerMessage::parse(&text).unwrap());
    for secret in ["very-secret", "token-secret", "AWS_ECS_EC2", "5f0b3a1e"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(shown.contains("role/web") && shown.contains("AWS_EXECUTION_ENV"));
    let acs::ServerMessage::RoleCredentials(message) =
        acs::ServerMessage::parse(&envelope("IAMRoleCredentialsMessage", &server_messages()[2].1)).unwrap()
    else {
        panic!("no credentials")
    };
    assert_eq!(message.role_type, RoleType::TaskApplication);
    assert_eq!(message.role_credentials.secret_access_key, "very-secret");
}

#[test]
fn statistics_sum_up() {
    assert_eq!(tcs::CwStatsSet::of(&[]), None);
    assert_eq!(
        tcs::CwStatsSet::of(&[2.0, 1.0]),
        Some(tcs::CwStatsSet { min: 1.0, max: 2.0, sample_count: 2, sum: 3.0 })
    );
    let set = tcs::UlongStatsSet::of(&[u64::MAX, 1]).unwrap();
    assert_eq!((set.min, set.max, set.overflow_max), (1, i64::MAX, Some(i64::MAX)));
}

/// Any JSON value, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((member_name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn member_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("tasks".to_owned()),
        Just("arn".to_owned()),
        Just("containers".to_owned()),
        Just("messageId".to_owned()),
        Just("metadata".to_owned()),
        Just("taskMetrics".to_owned()),
        Just("desiredStatus".to_owned()),
        "[a-z]{1,6}",
    ]
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,200}") {
        let _ = acs::ServerMessage::parse(&text);
        let _ = acs::AgentMessage::parse(&text);
        let _ = tcs::ServerMessage::parse(&text);
        let _ = tcs::AgentMessage::parse(&text);
        let _ = tcs::AgentFrame::split(&text);
    }

    #[test]
    fn no_body_makes_a_reader_panic(body in any_json()) {
        for (kind, _) in server_messages() {
            if let Ok(message) = acs::ServerMessage::parse(&envelope(kind, &body)) {
                prop_assert_eq!(acs::ServerMessage::parse(&message.to_text()).unwrap(), message);
            }
        }
        for (kind, _) in telemetry_messages() {
            let _ = tcs::AgentMessage::parse(&envelope(kind, &body));
        }
        for (kind, _) in agent_messages() {
            let _ = acs::AgentMessage::parse(&envelope(kind, &body));
        }
    }
}

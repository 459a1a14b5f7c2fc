//! What tasks may ask their node, and what they may not.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{CLUSTER, World, container, task, task_arn, with};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";
const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 0, 1));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 0, 2));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 0, 3));

fn role(id: &str) -> Value {
    json!({"credentialsId": id, "roleArn": "arn:aws:iam::000000000000:role/web", "accessKeyId": "ASIA", "secretAccessKey": format!("secret-{id}"),
           "sessionToken": "token", "expiration": "2030-01-01T00:00:00Z"})
}

fn interface(address: IpAddr) -> Value {
    json!([{"ec2Id": "eni-1", "macAddress": "02:00:5e:00:53:01", "ipv4Addresses": [{"primary": true, "privateAddress": address}],
            "subnetGatewayIpv4Address": "127.9.0.254/24", "privateDnsName": "ip-127-9-0-1.ec2.internal"}])
}

/// Two tasks of mode awsvpc, each with a role, and which of their containers' ids are in the URLs.
async fn world() -> (World, [String; 2]) {
    let world = World::new().await;
    world.machine.callers.lock().unwrap().extend([(FIRST, ONE.to_owned()), (SECOND, TWO.to_owned())]);
    let mut endpoints = Vec::new();
    for (id, name, address) in [(ONE, "first", FIRST), (TWO, "second", SECOND)] {
        let order = with(
            task(id, vec![container(name, &["run"])]),
            json!({"networkMode": "awsvpc", "elasticNetworkInterfaces": interface(address), "cpu": 0.25, "memory": 512,
                   "taskClusterArn": CLUSTER, "roleCredentials": role(&format!("role-{name}")),
                   "executionRoleCredentials": role(&format!("execution-{name}")),
                   "roadstead": {"generation": 1, "launchType": "FARGATE", "vpcId": "vpc-1",
                                 "vpc": {"id": "vpc-1", "cidr": "127.9.0.0/16", "subnets": [{"id": "subnet-1", "cidr": "127.9.0.0/24"}]}}}),
        );
        world.control_plane.order(vec![order]).await;
        world.control_plane.state(id, "RUNNING").await;
        let spec = world.machine.spec(name);
        let uri = spec.environment.iter().find(|(key, _)| key == "ECS_CONTAINER_METADATA_URI_V4").unwrap();
        endpoints.push(uri.1.strip_prefix("http://169.254.170.2/v4/").unwrap().to_owned());
        let credentials =
            spec.environment.iter().find(|(key, _)| key == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").unwrap();
        assert_eq!(credentials.1, format!("/v2/credentials/role-{name}"));
    }
    let endpoints = endpoints.try_into().unwrap();
    (world, endpoints)
}

/// Asks from an address of this machine; gives status and body.
async fn ask(world: &World, from: IpAddr, path: &str) -> (u16, Value) {
    ask_with(world, from, &format!("GET {path} HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\n\r\n"))
        .await
}

async fn ask_with(world: &World, from: IpAddr, request: &str) -> (u16, Value) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut stream = socket.connect(world.machine.metadata().into()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
}

#[tokio::test]
async fn a_task_sees_itself() {
    let (world, [endpoint, _]) = world().await;
    let (status, document) = ask(&world, FIRST, &format!("/v4/{endpoint}/task")).await;
    assert_eq!(status, 200);
    assert_eq!(document["TaskARN"], task_arn(ONE));
    assert_eq!(document["Cluster"], CLUSTER);
    assert_eq!((&document["LaunchType"], &document["VPCID"]), (&json!("FARGATE"), &json!("vpc-1")));
    assert_eq!(document["Limits"], json!({"CPU": 0.25, "Memory": 512}));
    assert_eq!(
        (&document["KnownStatus"], &document["DesiredStatus"]),
        (&json!("RUNNING"), &json!("RUNNING"))
    );
    let (_, container) = ask(&world, FIRST, &format!("/v4/{endpoint}")).await;
    assert_eq!(document["Containers"][0], container);
    assert_eq!((&container["Name"], &container["ImageID"]), (&json!("first"), &json!("sha256:id-pulled")));
    assert_eq!(container["Networks"][0]["IPv4Addresses"], json!(["127.9.0.1"]));
    assert_eq!(container["Networks"][0]["IPv4SubnetCIDRBlock"], "127.9.0.0/24");
    assert!(container["StartedAt"].as_str().unwrap().ends_with('Z'));
    let (_, old) = ask(&world, FIRST, &format!("/v3/{endpoint}")).await;
    assert_eq!((&old["Name"], &old["ContainerARN"]), (&json!("first"), &Value::Null));
    let (_, by_address) = ask(&world, FIRST, "/v2/metadata").await;
    assert_eq!(by_address["TaskARN"], task_arn(ONE));
    let (_, tagged) = ask(&world, FIRST, &format!("/v4/{endpoint}/taskWithTags")).await;
    assert_eq!(tagged["TaskTags"], json!({"team": "harbour"}));
    assert_eq!(tagged["ContainerInstanceTags"], json!({"team": "harbour"}));
}

#[tokio::test]
async fn a_task_sees_its_statistics() {
    let (world, [endpoint, _]) = world().await;
    let id = world.machine.spec("first").id.to_string();
    for _ in 0..100 {
        let (status, statistics) = ask(&world, FIRST, &format!("/v4/{endpoint}/task/stats")).await;
        assert_eq!(status, 200);
        if statistics[&id].is_object() {
            assert_eq!(statistics[&id]["memory_stats"]["usage"], 3 << 20);
            assert!(statistics[&id]["cpu_stats"]["system_cpu_usage"].as_u64().unwrap() > 0);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no statistics");
}

#[tokio::test]
async fn a_task_gets_the_keys_of_its_role_and_refreshed_ones() {
    let (world, _) = world().await;
    let (status, keys) = ask(&world, FIRST, "/v2/credentials/role-first").await;
    assert_eq!(status, 200);
    assert_eq!(
        keys,
        json!({"RoleArn": "arn:aws:iam::000000000000:role/web", "AccessKeyId": "ASIA", "SecretAccessKey": "secret-role-first",
               "Token": "token", "Expiration": "2030-01-01T00:00:00Z"})
    );
    assert_eq!(ask(&world, FIRST, "/v1/credentials?id=role-first").await.0, 200);
    let mut refreshed = role("role-first");
    refreshed["secretAccessKey"] = json!("newer");
    world.control_plane.send(
        "IAMRoleCredentialsMessage",
        json!({"messageId": "refresh", "taskArn": task_arn(ONE), "roleType": "TaskApplication", "roleCredentials": refreshed}),
    );
    let ack =
        world.control_plane.acs("IAMRoleCredentialsAckRequest", |message| message["messageId"] == "refresh");
    assert_eq!(ack.await["credentialsId"], "role-first");
    assert_eq!(ask(&world, FIRST, "/v2/credentials/role-first").await.1["SecretAccessKey"], "newer");
    // Keys are in memory only.
    for file in std::fs::read_dir(world.data_dir.path().join("agent/tasks")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("secret-") && !text.contains("newer"));
    }
}

#[tokio::test]
async fn a02_no_task_gets_anothers_keys_nor_the_execution_roles() {
    let (world, _) = world().await;
    for (from, path) in [
        (FIRST, "/v2/credentials/role-second"),
        (SECOND, "/v2/credentials/role-first"),
        (FIRST, "/v2/credentials/execution-first"),
        (FIRST, "/v2/credentials/"),
        (FIRST, "/v2/credentials"),
        (FIRST, "/v1/credentials"),
        (FIRST, "/v1/credentials?id=role-second"),
        (FIRST, "/v2/credentials/../credentials/role-second"),
        (FIRST, "/v2/credentials/role-first/x"),
        (FIRST, "/v2/credentials/ROLE-FIRST"),
        (STRANGER, "/v2/credentials/role-first"),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), "/v2/credentials/role-first"),
    ] {
        let (status, body) = ask(&world, from, path).await;
        assert!(status >= 400, "{from} {path}: {status}");
        assert!(!body.to_string().contains("secret"), "{from} {path}");
    }
    let forged = "GET /v2/credentials/role-second HTTP/1.1\r\nHost: 127.9.0.2\r\nX-Forwarded-For: 127.9.0.2\r\nForwarded: for=127.9.0.2\r\nConnection: close\r\n\r\n";
    assert_eq!(ask_with(&world, FIRST, forged).await.0, 400);
    let post = "POST /v2/credentials/role-first HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask_with(&world, FIRST, post).await.0, 405);
}

#[tokio::test]
async fn a03_no_task_sees_anothers_metadata() {
    let (world, [first, second]) = world().await;
    for (from, path) in [
        (FIRST, format!("/v4/{second}")),
        (FIRST, format!("/v4/{second}/task")),
        (FIRST, format!("/v3/{second}/stats")),
        (STRANGER, format!("/v4/{first}")),
        (STRANGER, "/v2/metadata".to_owned()),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), format!("/v4/{first}")),
        (FIRST, "/v1/tasks".to_owned()),
        (FIRST, "/".to_owned()),
        (FIRST, format!("/v4/{}", "x".repeat(2000))),
    ] {
        let (status, body) = ask(&world, from, &path).await;
        assert!(status == 404 || status == 414, "{from} {path}: {status}");
        assert!(!body.to_string().contains("arn:aws:ecs"), "{from} {path}");
    }
}

#[tokio::test]
async fn a02_who_asks_too_often_is_held_back() {
    let (world, [endpoint, _]) = world().await;
    let mut refused = 0;
    for _ in 0..200 {
        if ask(&world, FIRST, &format!("/v4/{endpoint}")).await.0 == 429 {
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(ask(&world, SECOND, "/v2/metadata").await.0, 200, "the neighbour is served");
}

#[tokio::test]
async fn a_task_of_the_hosts_network_asks_on_loopback() {
    let world = World::new().await;
    let order = with(task(ONE, vec![container("web", &["run"])]), json!({"networkMode": "host"}));
    world.control_plane.order(vec![order]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    let spec = world.machine.spec("web");
    let uri = &spec.environment.iter().find(|(key, _)| key == "ECS_CONTAINER_METADATA_URI_V4").unwrap().1;
    let (address, path) = uri.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path}/task HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&task_arn(ONE)), "{answer}");
}

async fn put(world: &World, from: IpAddr, path: &str, body: &str) -> (u16, Value) {
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    ask_with(world, from, &(head + body)).await
}

#[tokio::test]
async fn a_task_protects_itself() {
    let (world, [endpoint, other]) = world().await;
    let uri = world
        .machine
        .spec("first")
        .environment
        .into_iter()
        .find(|(key, _)| key == "ECS_AGENT_URI")
        .unwrap()
        .1;
    assert_eq!(uri, format!("http://169.254.170.2/api/{endpoint}"));
    let path = format!("/api/{endpoint}/task-protection/v1/state");
    let arn = task_arn(ONE);
    let protection = |enabled: bool, until: Value| json!({"protection": {"ExpirationDate": until, "ProtectionEnabled": enabled, "TaskArn": arn}});
    assert_eq!(ask(&world, FIRST, &path).await, (200, protection(false, Value::Null)));
    let set = put(&world, FIRST, &path, r#"{"ProtectionEnabled": true, "ExpiresInMinutes": 60}"#).await;
    assert_eq!(set, (200, protection(true, json!("2026-11-22T12:00:00.000Z"))));
    let call = world.control_plane.call("UpdateTaskProtection", |_| true).await;
    assert_eq!(
        call,
        json!({"cluster": "default", "tasks": [arn], "protectionEnabled": true, "expiresInMinutes": 60})
    );

    // Refused here, and there.
    let (status, told) = put(&world, FIRST, &path, r#"{"ExpiresInMinutes": 60}"#).await;
    assert_eq!(
        (status, &told["error"]["Code"], &told["error"]["Arn"]),
        (400, &json!("InvalidParameterException"), &json!(arn))
    );
    let (status, told) = put(&world, FIRST, &path, &"x".repeat(100_000)).await;
    assert_eq!(
        (status, &told["error"]["Message"]),
        (400, &json!("UpdateTaskProtection: failed to decode request"))
    );
    let (status, told) =
        put(&world, FIRST, &path, r#"{"ProtectionEnabled": true, "ExpiresInMinutes": 2881}"#).await;
    assert_eq!((status, &told["error"]["Message"]), (400, &json!("too long")));
    // Another task's id, and a caller that is no task.
    for (from, endpoint) in [(FIRST, &other), (SECOND, &endpoint), (STRANGER, &endpoint)] {
        let path = format!("/api/{endpoint}/task-protection/v1/state");
        for (status, told) in
            [ask(&world, from, &path).await, put(&world, from, &path, r#"{"ProtectionEnabled": true}"#).await]
        {
            assert_eq!((status, &told["error"]["Code"]), (404, &json!("ResourceNotFoundException")));
        }
    }
    assert_eq!(put(&world, FIRST, &format!("/v4/{endpoint}"), "{}").await.0, 405);
    world.control_plane.set_down(true);
    let (status, told) = ask(&world, FIRST, &path).await;
    assert!(status >= 500 && told["error"]["Arn"] == arn, "{status} {told}");
}

#[tokio::test]
async fn a03_containers_on_the_bridge_are_told_apart_and_see_their_own_task_alone() {
    let world = World::new().await;
    let mut endpoints = Vec::new();
    for (id, name, address) in [(ONE, "first", FIRST), (TWO, "second", SECOND)] {
        let mappings = json!([{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}]);
        let web = with(container(name, &["run"]), json!({"portMappings": mappings}));
        let more = json!({"networkMode": "bridge", "roleCredentials": role(&format!("role-{name}"))});
        world.control_plane.order(vec![with(task(id, vec![web]), more)]).await;
        world.control_plane.state(id, "RUNNING").await;
        let spec = world.machine.spec(name);
        world.machine.callers.lock().unwrap().insert(address, spec.id.to_string());
        let uri = spec.environment.iter().find(|(key, _)| key == "ECS_CONTAINER_METADATA_URI_V4").unwrap();
        endpoints.push(uri.1.strip_prefix("http://169.254.170.2/v4/").unwrap().to_owned());
    }
    let (status, document) = ask(&world, FIRST, &format!("/v4/{}", endpoints[0])).await;
    assert_eq!(status, 200);
    let network = json!({"NetworkMode": "bridge", "IPv4Addresses": ["192.168.240.4"]});
    assert_eq!(document["Networks"], json!([network]));
    let port = json!({"ContainerPort": 80, "Protocol": "tcp", "HostPort": 49153, "HostIp": "0.0.0.0"});
    assert_eq!(document["Ports"], json!([port]));
    assert_eq!(
        ask(&world, FIRST, "/v2/credentials/role-first").await.1["SecretAccessKey"],
        "secret-role-first"
    );
    // Nothing of another task, whatever is known of it; version 2 is for tasks with an interface of their own.
    assert_eq!(ask(&world, FIRST, &format!("/v4/{}/task", endpoints[1])).await.0, 404);
    assert_eq!(ask(&world, FIRST, "/v2/credentials/role-second").await.0, 400);
    assert_eq!(ask(&world, FIRST, "/v2/metadata").await.0, 404);
    assert_eq!(ask(&world, STRANGER, &format!("/v4/{}", endpoints[0])).await.0, 404);
}

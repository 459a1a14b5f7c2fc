//! The control plane's side of the agent protocol, spoken to by a client that sends and expects raw frames, as the stock
//! agent does.

use std::sync::Arc;
use std::time::Duration;

use base::{Ids as _, ManualClock, Scope, SeededIds, Timestamp};
use control::{Control, ControlConfig};
use domain::{Cluster, ContainerInstance, OutboxMessage, OutboxOrder, Task, TaskDefinition};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use store::rows::{container_instance_key, task_key};
use store::{Options, Prefix, Store, Transaction};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use wire::Principal;

const TASK_ID: &str = "0123456789abcdef0123456789abcdef";
const INSTANCE: &str =
    "arn:aws:ecs:us-east-1:000000000000:container-instance/default/11111111111111111111111111111111";
/// Far above what any step needs: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

fn scope() -> Scope {
    Scope::new("000000000000".parse().unwrap(), "us-east-1".parse().unwrap())
}

fn root() -> Principal {
    Principal::root(&scope().account, "AKIAROOT")
}

struct World {
    store: Store,
    control: Control,
    stop: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let options = store::rows_vpc::register(store::rows::register(Options::ephemeral()));
        let store = Store::ephemeral(options);
        let mut transaction = Transaction::new();
        let row = json!({"scope": scope(), "name": "default", "status": "ACTIVE", "created_at": 0});
        transaction.put(serde_json::from_value::<Cluster>(row).unwrap());
        let row = json!({
            "scope": scope(), "id": "11111111111111111111111111111111", "cluster": "default",
            "ec2_instance_id": "mi-1", "status": "ACTIVE", "agent_connected": false, "version": 1,
            "registered": {"cpu_units": 2048, "memory_mib": 4096}, "attributes": [], "registered_at": 0
        });
        transaction.put(serde_json::from_value::<ContainerInstance>(row).unwrap());
        let row = json!({
            "scope": scope(), "family": "web", "revision": 1, "status": "ACTIVE", "registered_at": 0, "registered_by": "",
            "document": "{\"containerDefinitions\":[{\"name\":\"app\",\"image\":\"busybox\",\"memory\":64,\"command\":[\"true\"]}]}",
            "projection": {"network_mode": "none", "requires_compatibilities": [], "compatibilities": [], "containers": []}
        });
        transaction.put(serde_json::from_value::<TaskDefinition>(row).unwrap());
        store.transact(transaction).await.unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let control =
            Control::new(store.clone(), clock, Arc::new(SeededIds::new(1)), ControlConfig::default());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(control.clone().run(stopped));
        // The loops subscribe before the first order is written, or find it in the snapshot they start from.
        tokio::task::yield_now().await;
        Self { store, control, stop }
    }

    async fn put_task(&self, id: &str, desired: &str, order: Option<OutboxOrder>) {
        let mut transaction = Transaction::new();
        Self::add_task(&mut transaction, id, desired, order);
        self.store.transact(transaction).await.unwrap();
    }

    fn add_task(transaction: &mut Transaction, id: &str, desired: &str, order: Option<OutboxOrder>) {
        let task = task(id, desired);
        if let Some(order) = order {
            transaction.put(OutboxMessage {
                container_instance: INSTANCE.parse().unwrap(),
                scope: scope(),
                cluster: "default".to_owned(),
                task_id: id.to_owned(),
                order,
                generation: task.generation,
                written_at: Timestamp::from_millis(0),
            });
        }
        transaction.put(task);
    }

    fn query(send_credentials: bool) -> String {
        format!(
            "agentHash=4023248&agentVersion=1.105.1&clusterArn=default&containerInstanceArn={}&dockerVersion=DockerVersion%3A+20.10.24\
             &protocolVersion=2&sendCredentials={send_credentials}&seqNum=1",
            INSTANCE.replace(':', "%3A").replace('/', "%2F")
        )
    }

    async fn connect(&self) -> Client {
        let admission = self.control.admit_acs(&Self::query(true), &root()).await.unwrap();
        let (client, server) = tokio::io::duplex(1 << 20);
        let control = self.control.clone();
        tokio::spawn(async move {
            let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
            control.serve_acs(admission, socket).await;
        });
        Client(WebSocketStream::from_raw_socket(client, Role::Client, None).await)
    }

    fn outbox(&self) -> usize {
        self.store.snapshot().scan::<OutboxMessage>(Prefix::everything(), None).count()
    }

    fn instance(&self) -> ContainerInstance {
        let key = container_instance_key(&scope(), "default", "11111111111111111111111111111111");
        ContainerInstance::clone(&self.store.snapshot().get::<ContainerInstance>(&key).unwrap())
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what} did not come"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn task(id: &str, desired: &str) -> Task {
    let row = json!({
        "scope": scope(), "id": id, "cluster": "default",
        "task_definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1", "family": "web", "revision": 1,
        "launch_type": "EC2", "container_instance": INSTANCE, "last_status": "PENDING", "desired_status": desired,
        "version": 1, "generation": if desired == "RUNNING" { 1 } else { 2 }, "group": "family:web", "network_mode": "none",
        "resources": {"cpu_units": 0, "memory_mib": 64}, "health_status": "UNKNOWN", "times": {"created_at": 0},
        "containers": [{"id": "c", "name": "app", "image": "busybox", "last_status": "PENDING", "health_status": "UNKNOWN"}]
    });
    serde_json::from_value(row).unwrap()
}

struct Client(WebSocketStream<DuplexStream>);

impl Client {
    async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message of this type; others are passed over.
    async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the connection ended before {kind}"));
            if frame["type"] == kind {
                return frame["message"].clone();
            }
        }
    }

    async fn send(&mut self, kind: &str, message: Value) {
        let text = json!({"type": kind, "message": message}).to_string();
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn ack(&mut self, message: &Value) {
        let ack = json!({"cluster": message["clusterArn"], "containerInstance": message["containerInstanceArn"],
            "messageId": message["messageId"]});
        self.send("AckRequest", ack).await;
    }
}

#[tokio::test]
async fn an_order_is_sent_acknowledged_and_leaves_the_outbox() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let manifest = client.expect("TaskManifestMessage").await;
    world.put_task(TASK_ID, "RUNNING", Some(OutboxOrder::Start)).await;
    let payload = client.expect("PayloadMessage").await;
    assert!(payload["seqNum"].as_i64() > manifest["timeline"].as_i64(), "one rising counter for both");
    let task = &payload["tasks"][0];
    assert_eq!(task["arn"], format!("arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}"));
    assert_eq!((task["family"].as_str(), task["version"].as_str()), (Some("web"), Some("1")));
    assert_eq!(task["desiredStatus"], "RUNNING");
    assert_eq!(task["networkMode"], "none");
    let container = &task["containers"][0];
    assert_eq!((container["name"].as_str(), container["image"].as_str()), (Some("app"), Some("busybox")));
    assert_eq!(container["environment"]["AWS_EXECUTION_ENV"], "AWS_ECS_EC2");
    assert_eq!(container["overrides"], "{}");
    assert!(container["dockerConfig"]["hostConfig"].is_string(), "Docker's parameters are texts of JSON");
    assert_eq!(world.outbox(), 1, "unacknowledged orders stay");
    client.ack(&payload).await;
    world.until("an empty outbox", |world| world.outbox() == 0).await;
}

#[tokio::test]
async fn all_orders_of_one_transaction_are_sent() {
    let world = World::new().await;
    let mut client = world.connect().await;
    client.expect("TaskManifestMessage").await;
    let mut transaction = Transaction::new();
    let ids: Vec<String> = (0..10).map(|number| format!("{number:032x}")).collect();
    for id in &ids {
        World::add_task(&mut transaction, id, "RUNNING", Some(OutboxOrder::Start));
    }
    world.store.transact(transaction).await.unwrap();
    for id in &ids {
        let payload = client.expect("PayloadMessage").await;
        assert_eq!(
            payload["tasks"][0]["arn"],
            format!("arn:aws:ecs:us-east-1:000000000000:task/default/{id}")
        );
    }
}

#[tokio::test]
async fn f16_an_unacknowledged_order_is_sent_again_after_a_reconnect() {
    let world = World::new().await;
    world.put_task(TASK_ID, "RUNNING", Some(OutboxOrder::Start)).await;
    let mut first = world.connect().await;
    let before = first.expect("PayloadMessage").await;
    drop(first);
    world.until("the lost session", |world| !world.instance().agent_connected).await;
    let mut second = world.connect().await;
    let after = second.expect("PayloadMessage").await;
    assert_eq!(before["tasks"], after["tasks"], "the same order");
    assert_eq!(before["seqNum"], after["seqNum"], "under the same number, so that the agent knows it");
}

#[tokio::test]
async fn a_stop_takes_the_place_of_a_start() {
    let world = World::new().await;
    world.put_task(TASK_ID, "RUNNING", Some(OutboxOrder::Start)).await;
    world.put_task(TASK_ID, "STOPPED", Some(OutboxOrder::Stop)).await;
    let mut client = world.connect().await;
    let payload = client.expect("PayloadMessage").await;
    assert_eq!(payload["tasks"][0]["desiredStatus"], "STOPPED");
    assert_eq!(payload["tasks"][0]["containers"], json!([]));
    client.ack(&payload).await;
    world.until("an empty outbox", |world| world.outbox() == 0).await;
    let key = task_key(&scope(), "default", TASK_ID);
    let task = world.store.snapshot().get::<Task>(&key).unwrap();
    assert_eq!(task.last_status.as_str(), "STOPPING");
}

#[tokio::test]
async fn the_manifest_lists_what_should_run_and_strangers_are_confirmed_to_stop() {
    let world = World::new().await;
    world.put_task(TASK_ID, "RUNNING", None).await;
    let mut client = world.connect().await;
    let manifest = client.expect("TaskManifestMessage").await;
    let wanted = format!("arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}");
    assert_eq!(
        manifest["tasks"],
        json!([{"taskArn": wanted, "desiredStatus": "RUNNING",
            "taskClusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default"}])
    );
    let stranger = "arn:aws:ecs:us-east-1:000000000000:task/default/ffffffffffffffffffffffffffffffff";
    let candidate = |arn: &str| {
        json!({"taskArn": arn, "desiredStatus": "STOPPED",
            "taskClusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/default"})
    };
    let candidates = json!({"messageId": manifest["messageId"],
        "stopCandidates": [candidate(stranger), candidate(&wanted), candidate("nonsense")]});
    client.send("TaskStopVerificationMessage", candidates).await;
    let confirmed = client.expect("TaskStopVerificationAck").await;
    assert_eq!(confirmed["messageId"], manifest["messageId"]);
    assert_eq!(confirmed["stopTasks"], json!([candidate(stranger), candidate("nonsense")]));
}

#[tokio::test]
async fn heartbeats_carry_an_id_and_malformed_frames_do_no_harm() {
    let world = World::new().await;
    let mut client = world.connect().await;
    for frame in [
        "",
        "{",
        "[]",
        "{\"type\":1}",
        "{\"type\":\"AckRequest\",\"message\":[]}",
        "{\"type\":\"New\",\"message\":{}}",
    ] {
        client.0.send(Message::text(frame)).await.unwrap();
    }
    let heartbeat = client.expect("HeartbeatMessage").await;
    assert_eq!(heartbeat["healthy"], true);
    client.send("HeartbeatAckRequest", json!({"messageId": heartbeat["messageId"]})).await;
    world.put_task(TASK_ID, "RUNNING", Some(OutboxOrder::Start)).await;
    client.expect("PayloadMessage").await;
}

#[tokio::test]
async fn f17_a_second_session_fences_the_first() {
    let world = World::new().await;
    let mut first = world.connect().await;
    first.expect("TaskManifestMessage").await;
    let epoch = world.instance().session_epoch;
    let mut second = world.connect().await;
    second.expect("TaskManifestMessage").await;
    while first.next().await.is_some() {}
    assert_eq!(world.instance().session_epoch, epoch + 1);
    assert!(
        world.instance().agent_connected,
        "the end of the fenced session is not the end of the newer one"
    );
    world.put_task(TASK_ID, "RUNNING", Some(OutboxOrder::Start)).await;
    second.expect("PayloadMessage").await;
}

#[tokio::test]
async fn the_agents_own_close_is_answered() {
    let world = World::new().await;
    let mut client = world.connect().await;
    client.expect("TaskManifestMessage").await;
    client.0.close(None).await.unwrap();
    while client.next().await.is_some() {}
    world.until("the lost session", |world| !world.instance().agent_connected).await;
}

#[tokio::test]
async fn strangers_are_refused_in_the_stock_agents_words() {
    let world = World::new().await;
    let refused = |query: String, caller: Principal| {
        let control = world.control.clone();
        async move { control.admit_acs(&query, &caller).await.unwrap_err() }
    };
    let unknown = World::query(true).replace("11111111111111111111111111111111", &SeededIds::new(2).hex(32));
    assert_eq!(refused(unknown, root()).await.kind, "InvalidInstanceException");
    let elsewhere = World::query(true).replace("clusterArn=default", "clusterArn=other");
    assert_eq!(refused(elsewhere, root()).await.kind, "InvalidClusterException");
    let foreign =
        refused(World::query(true), Principal::root(&"111111111111".parse().unwrap(), "AKIAOTHER")).await;
    assert_eq!((foreign.kind, foreign.status), ("AccessDeniedException", 403));
    assert_eq!(refused("%zz".to_owned(), root()).await.kind, "BadRequestException");
    let body: Value = serde_json::from_str(&foreign.body()).unwrap();
    assert_eq!(body["type"], "AccessDeniedException");
    assert!(body["message"]["message"].is_string());
}

#[tokio::test]
async fn a01_a_node_opens_the_sessions_of_its_own_instance_only() {
    let world = World::new().await;
    let node = |key: &str| Principal::node(&scope().account, "node", key);
    let stolen = world.control.admit_acs(&World::query(true), &node("AKIAOTHER")).await.unwrap_err();
    assert_eq!((stolen.kind, stolen.status), ("AccessDeniedException", 403));
    let telemetry = World::query(false)
        .replace("clusterArn", "cluster")
        .replace("containerInstanceArn", "containerInstance");
    assert_eq!(world.control.admit_tcs(&telemetry, &node("AKIAOTHER")).unwrap_err().status, 403);
    assert!(!world.instance().agent_connected);

    let own = ContainerInstance { node_access_key_id: Some("AKIAOWN".to_owned()), ..world.instance() };
    let mut transaction = Transaction::new();
    transaction.put(own);
    world.store.transact(transaction).await.unwrap();
    world.control.admit_acs(&World::query(true), &node("AKIAOWN")).await.unwrap();
    world.control.admit_tcs(&telemetry, &node("AKIAOWN")).unwrap();
}

#[tokio::test]
async fn health_goes_into_the_tasks_row_and_is_acknowledged() {
    let world = World::new().await;
    let mut row = task(TASK_ID, "RUNNING");
    row.containers[0].has_health_check = true;
    row.containers[0].essential = true;
    let mut transaction = Transaction::new();
    transaction.put(row);
    world.store.transact(transaction).await.unwrap();
    let query = World::query(false)
        .replace("clusterArn", "cluster")
        .replace("containerInstanceArn", "containerInstance");
    let instance = world.control.admit_tcs(&query, &root()).unwrap();
    let (client, server) = tokio::io::duplex(1 << 20);
    let control = world.control.clone();
    tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        control.serve_tcs(instance, socket).await;
    });
    let mut client = Client(WebSocketStream::from_raw_socket(client, Role::Client, None).await);
    let report = json!({"type": "PublishHealthRequest", "message": {
        "metadata": {"cluster": "default", "containerInstance": INSTANCE, "messageId": "m", "fin": true},
        "tasks": [{"taskArn": format!("arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}"),
            "taskDefinitionFamily": "web", "taskDefinitionVersion": "1",
            "containers": [{"containerName": "app", "healthStatus": "UNHEALTHY", "statusSince": 1.5}]}],
        "timestamp": 2.5}});
    let frame = format!("Authorization: AWS4-HMAC-SHA256 x\r\nHost: h\r\nX-Amz-Date: d\r\n\r\n{report}");
    client.0.send(Message::text(frame)).await.unwrap();
    client.expect("AckPublishHealth").await;
    let key = task_key(&scope(), "default", TASK_ID);
    let task = world.store.snapshot().get::<Task>(&key).unwrap();
    assert_eq!(task.health_status.as_str(), "UNHEALTHY");
    assert_eq!(task.containers[0].health_status.as_str(), "UNHEALTHY");
}

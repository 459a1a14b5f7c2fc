//! Network mode `bridge` against a control plane in memory: addresses, ports, links, what is told of them, and what is left.

mod common;

use agent::ShutdownMode;
use common::{World, container, stop, task, with};
use serde_json::{Value, json};

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";

fn bridge(id: &str, containers: Vec<Value>) -> Value {
    with(task(id, containers), json!({"networkMode": "bridge"}))
}

fn published(name: &str, command: &[&str], mappings: Value) -> Value {
    with(container(name, command), json!({"portMappings": mappings}))
}

fn bindings(state: &Value, name: &str) -> Value {
    let containers = state["containers"].as_array().unwrap();
    let found = containers.iter().find(|container| container["containerName"] == name).unwrap();
    found["networkBindings"].clone()
}

fn binding(container_port: u16, host_port: u16, protocol: &str) -> Value {
    json!({"bindIP": "0.0.0.0", "containerPort": container_port, "hostPort": host_port, "protocol": protocol})
}

#[tokio::test]
async fn ports_are_told_and_given_back() {
    let world = World::new().await;
    let mappings = json!([
        {"containerPort": 80, "hostPort": 8080, "protocol": "tcp"},
        {"containerPort": 81, "hostPort": 0, "protocol": "tcp"},
        {"containerPortRange": "7000-7002", "protocol": "udp"},
    ]);
    world.control_plane.order(vec![bridge(ONE, vec![published("web", &["run"], mappings)])]).await;
    let running = world.control_plane.state(ONE, "RUNNING").await;
    let range = json!({"bindIP": "0.0.0.0", "containerPortRange": "7000-7002", "hostPortRange": "49154-49156",
                       "protocol": "udp"});
    assert_eq!(
        bindings(&running, "web"),
        json!([binding(80, 8080, "tcp"), binding(81, 49153, "tcp"), range])
    );
    let spec = world.machine.spec("web");
    assert_eq!(spec.addresses, ["192.168.240.4"]);
    // Fixed ports are had once; the other task does not start, and says so in Docker's words.
    let same = published("web", &["run"], json!([{"containerPort": 80, "hostPort": 8080}]));
    world.control_plane.order(vec![bridge(TWO, vec![same])]).await;
    let stopped = world.control_plane.state(TWO, "STOPPED").await;
    let reason = "CannotStartContainerError: Bind for 0.0.0.0:8080 failed: port is already allocated";
    assert_eq!(stopped["containers"][0]["reason"], reason);
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    world.control_plane.state(ONE, "STOPPED").await;
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn what_is_found_keeps_out_of_what_is_promised() {
    let world = World::new().await;
    // It waits for a dependency: its port is promised and not yet had.
    let first = container("first", &["exit", "0", "600"]);
    let first = with(first, json!({"essential": false}));
    let web = published("web", &["run"], json!([{"containerPort": 80, "hostPort": 49153}]));
    let web = with(web, json!({"dependsOn": [{"containerName": "first", "condition": "COMPLETE"}]}));
    world.control_plane.order(vec![bridge(ONE, vec![first, web])]).await;
    let any = published("any", &["run"], json!([{"containerPort": 80}]));
    world.control_plane.order(vec![bridge(TWO, vec![any])]).await;
    let running = world.control_plane.state(TWO, "RUNNING").await;
    assert_eq!(bindings(&running, "any"), json!([binding(80, 49154, "tcp")]));
    let running = world.control_plane.state(ONE, "RUNNING").await;
    assert_eq!(bindings(&running, "web"), json!([binding(80, 49153, "tcp")]));
}

#[tokio::test]
async fn a_container_that_ends_gives_its_port_back_before_its_task_does() {
    let world = World::new().await;
    let side = published("side", &["exit", "0", "50"], json!([{"containerPort": 80, "hostPort": 8080}]));
    let side = with(side, json!({"essential": false}));
    world.control_plane.order(vec![bridge(ONE, vec![side, container("main", &["run"])])]).await;
    world
        .control_plane
        .call("SubmitTaskStateChange", |input| {
            input["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|container| container["containerName"] == "side" && container["status"] == "STOPPED")
        })
        .await;
    let web = published("web", &["run"], json!([{"containerPort": 80, "hostPort": 8080}]));
    world.control_plane.order(vec![bridge(TWO, vec![web])]).await;
    let running = world.control_plane.state(TWO, "RUNNING").await;
    assert_eq!(bindings(&running, "web"), json!([binding(80, 8080, "tcp")]));
}

#[tokio::test]
async fn a_restart_of_container_or_agent_keeps_address_and_ports() {
    let mut world = World::new().await;
    let mappings = json!([{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}]);
    let policy = json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 0}});
    let web = with(published("web", &["run"], mappings), policy);
    world.control_plane.order(vec![bridge(ONE, vec![web])]).await;
    let running = world.control_plane.state(ONE, "RUNNING").await;
    assert_eq!(bindings(&running, "web"), json!([binding(80, 49153, "tcp")]));
    world.agent.shutdown(ShutdownMode::LeaveTasksRunning).await;
    world.restart().await;
    let started = |log: Vec<String>| log.iter().filter(|line| *line == "start web").count();
    let before = started(world.machine.log());
    world.machine.end("web", 1);
    while started(world.machine.log()) == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(world.machine.spec("web").addresses, ["192.168.240.4"]);
    assert!(!world.machine.log().contains(&"detach container".to_owned()), "{:?}", world.machine.log());
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(bindings(&stopped, "web"), json!([binding(80, 49153, "tcp")]));
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn links_are_names_and_variables() {
    let world = World::new().await;
    let database =
        published("db", &["run"], json!([{"containerPort": 5432, "hostPort": 0, "protocol": "tcp"}]));
    let database = with(database, json!({"environment": {"USER": "me"}}));
    let web = with(container("web", &["run"]), json!({"links": ["db:store"]}));
    world.control_plane.order(vec![bridge(ONE, vec![web, database])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    let (spec, database) = (world.machine.spec("web"), world.machine.spec("db"));
    let address = database.addresses[0].clone();
    assert!(spec.extra_hosts.contains(&("store".to_owned(), address.clone())), "{:?}", spec.extra_hosts);
    let short: String = database.id.as_str().chars().take(12).collect();
    assert!(spec.extra_hosts.contains(&(short, address.clone())), "{:?}", spec.extra_hosts);
    for (name, value) in [
        ("STORE_PORT", format!("tcp://{address}:5432")),
        ("STORE_PORT_5432_TCP_ADDR", address),
        ("STORE_ENV_USER", "me".to_owned()),
    ] {
        assert!(spec.environment.contains(&(name.to_owned(), value)), "{name}: {:?}", spec.environment);
    }
}

#[tokio::test]
async fn a_link_to_what_has_ended_leads_nowhere() {
    let world = World::new().await;
    let gone = with(container("gone", &["exit", "0", "0"]), json!({"essential": false}));
    let first = with(
        container("first", &["exit", "0", "300"]),
        json!({"essential": false, "dependsOn": [{"containerName": "gone", "condition": "COMPLETE"}]}),
    );
    let web = with(
        container("web", &["run"]),
        json!({"links": ["gone"], "dependsOn": [{"containerName": "first", "condition": "COMPLETE"}]}),
    );
    world.control_plane.order(vec![bridge(ONE, vec![gone, first, web])]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    let containers = stopped["containers"].as_array().unwrap();
    let web = containers.iter().find(|container| container["containerName"] == "web").unwrap();
    let reason = web["reason"].as_str().unwrap();
    let words = "CannotStartContainerError: Cannot link to a non running container: /gone AS /ecs-";
    assert!(reason.starts_with(words), "{reason}");
    world.machine.assert_empty().await;
}

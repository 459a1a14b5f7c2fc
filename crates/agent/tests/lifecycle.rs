//! A task's whole life against a control plane in memory: what is reported, in which order, and what is left.

mod common;

use std::time::Duration;

use agent::ShutdownMode;
use common::{CLUSTER, INSTANCE, World, container, stop, task, task_arn, with};
use serde_json::{Value, json};

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";

fn moment(value: &Value) -> f64 {
    value.as_f64().expect("a moment")
}

#[tokio::test]
async fn a_task_runs_ends_and_leaves_nothing() {
    let world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["exit", "0", "50"])])]).await;
    let running = world.control_plane.state(ONE, "RUNNING").await;
    assert_eq!(running["containers"][0]["status"], "RUNNING");
    assert_eq!(running["containers"][0]["imageDigest"], "sha256:pulled");
    assert_eq!(running["containers"][0]["runtimeId"].as_str().unwrap().len(), 64);
    assert_eq!(running["reason"], "");
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(world.control_plane.states(ONE), ["RUNNING web=RUNNING", "STOPPED web=STOPPED(0)"]);
    assert_eq!(stopped["reason"], "Essential container in task exited");
    assert!(moment(&stopped["pullStartedAt"]) <= moment(&stopped["pullStoppedAt"]));
    assert!(moment(&stopped["executionStoppedAt"]) >= moment(&stopped["pullStoppedAt"]));
    world.machine.assert_empty().await;
    assert_eq!(world.images.leased(), 0);
}

#[tokio::test]
async fn a_stop_order_stops_and_is_told_truthfully() {
    let world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 143);
    assert_eq!(stopped["reason"], "");
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn f22_a_container_that_ignores_sigterm_is_killed_at_its_stop_timeout() {
    let world = World::new().await;
    let deaf = with(container("web", &["deaf"]), json!({"stopTimeout": 1}));
    world.control_plane.order(vec![task(ONE, vec![deaf])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    let asked = std::time::Instant::now();
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert!(asked.elapsed() >= Duration::from_secs(1) && asked.elapsed() < Duration::from_millis(1300));
    assert_eq!(stopped["containers"][0]["exitCode"], 137);
}

#[tokio::test]
async fn failures_are_told_in_the_words_of_ecs() {
    let world = World::new().await;
    for (number, container, reason) in [
        (
            1,
            with(container("web", &["run"]), json!({"image": "missing"})),
            "CannotPullContainerError: missing: not found",
        ),
        (2, container("web", &["fail-create"]), "CannotCreateContainerError: no such user"),
        (3, container("web", &["fail-start"]), "CannotStartContainerError: exec: \"nonsense\""),
        (
            4,
            with(
                container("web", &["run"]),
                json!({"dockerConfig": {"hostConfig": "{\"LogConfig\":{\"Type\":\"syslog\"}}"}}),
            ),
            "CannotCreateContainerError: Invalid option value: 'logDriver'",
        ),
        (
            5,
            with(
                container("web", &["run"]),
                json!({"dockerConfig": {"hostConfig": "{\"SecurityOpt\":[\"nonsense\"]}"}}),
            ),
            "CannotCreateContainerError: dockerSecurityOptions",
        ),
    ] {
        let id = format!("{number:032}");
        world.control_plane.order(vec![task(&id, vec![container])]).await;
        let stopped = world.control_plane.state(&id, "STOPPED").await;
        let told = stopped["containers"][0]["reason"].as_str().unwrap();
        let word = reason.split(':').next().unwrap();
        assert!(told.starts_with(word), "{told}");
        assert!(told.starts_with(reason) || number == 4, "{told}");
        assert!(stopped["reason"].as_str().unwrap().starts_with(word), "{stopped}");
        assert_eq!(stopped["containers"][0]["exitCode"], Value::Null);
        assert_eq!(stopped["executionStoppedAt"], Value::Null, "it never ran");
        assert_eq!(world.control_plane.states(&id).len(), 1, "never RUNNING");
    }
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn f19_out_of_memory_is_told() {
    let world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["oom"])])]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(world.control_plane.states(ONE), ["RUNNING web=RUNNING", "STOPPED web=STOPPED(137)"]);
    assert_eq!(stopped["containers"][0]["reason"], "OutOfMemoryError: Container killed due to memory usage");
    assert_eq!(stopped["reason"], "Essential container in task exited");
}

#[tokio::test]
async fn an_invalid_task_is_refused_with_the_stock_agents_words() {
    let world = World::new().await;
    let circle = vec![
        with(container("a", &["run"]), json!({"dependsOn": [{"containerName": "b", "condition": "START"}]})),
        with(container("b", &["run"]), json!({"dependsOn": [{"containerName": "a", "condition": "START"}]})),
    ];
    world.control_plane.order(vec![task(ONE, circle)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    let reason = stopped["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("UnrecogniedTaskError: Error loading task - the containers depend on each other")
    );
    assert_eq!(stopped["containers"], json!([]));
}

#[tokio::test]
async fn containers_come_and_go_in_the_order_of_their_dependencies() {
    let world = World::new().await;
    let containers = vec![
        with(
            container("web", &["run"]),
            json!({"dependsOn": [{"containerName": "db", "condition": "HEALTHY"},
                                                             {"containerName": "init", "condition": "SUCCESS"}]}),
        ),
        with(container("init", &["exit", "0", "20"]), json!({"essential": false})),
        with(
            container("db", &["run"]),
            json!({"dockerConfig": {"config": "{\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"ready\"],\"Interval\":20000000}}",
                                    "hostConfig": "{\"LogConfig\":{\"Type\":\"none\"}}"}}),
        ),
    ];
    *world.machine.health.lock().unwrap() = 1;
    world.control_plane.order(vec![task(ONE, containers)]).await;
    // What is known is told before the task as a whole runs.
    world.control_plane.state(ONE, "PENDING").await;
    let log = world.machine.log();
    assert!(!log.contains(&"create web".to_owned()), "{log:?}");
    *world.machine.health.lock().unwrap() = 0;
    world.control_plane.state(ONE, "RUNNING").await;
    let health = world.control_plane.tcs("PublishHealthRequest", |message| {
        message["tasks"][0]["containers"][0]["healthStatus"] == "HEALTHY"
    });
    assert_eq!(health.await["tasks"][0]["containers"][0]["containerName"], "db");
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    world.control_plane.state(ONE, "STOPPED").await;
    let log = world.machine.log();
    let place =
        |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what} in {log:?}"));
    assert!(place("start init") < place("create web") && place("start db") < place("create web"));
    assert!(place("stop web") < place("stop db"), "{log:?}");
}

#[tokio::test]
async fn a_dependency_that_cannot_be_met_stops_the_task() {
    let world = World::new().await;
    let on = |condition: &str| json!({"dependsOn": [{"containerName": "init", "condition": condition}]});
    let cases = [
        (
            "SUCCESS",
            with(container("init", &["exit", "3", "1"]), json!({"essential": false})),
            "did not succeed",
        ),
        (
            "COMPLETE",
            with(container("init", &["run"]), json!({"essential": false, "startTimeout": 1})),
            "did not complete within its start timeout of 1 seconds",
        ),
    ];
    for (number, (condition, init, words)) in cases.into_iter().enumerate() {
        let id = format!("{number:032}");
        world
            .control_plane
            .order(vec![task(&id, vec![with(container("web", &["run"]), on(condition)), init])])
            .await;
        world.control_plane.state(&id, "STOPPED").await;
        let of_web = |input: &Value| {
            let mut containers = input["containers"].as_array().into_iter().flatten();
            containers.find(|container| container["containerName"] == "web").cloned()
        };
        let arn = task_arn(&id);
        let told = world.control_plane.call("SubmitTaskStateChange", |input| {
            input["task"] == arn.as_str() && of_web(input).is_some_and(|web| web["status"] == "STOPPED")
        });
        let web = of_web(&told.await).unwrap();
        assert!(web["reason"].as_str().unwrap().contains(words), "{web}");
        assert_eq!(web["exitCode"], Value::Null);
        assert!(!world.machine.log().contains(&"create web".to_owned()));
    }
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn an_essential_containers_end_stops_the_others() {
    let world = World::new().await;
    let containers = vec![container("web", &["exit", "1", "30"]), container("side", &["run"])];
    world.control_plane.order(vec![task(ONE, containers)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(world.control_plane.states(ONE)[1], "STOPPED web=STOPPED(1) side=STOPPED(143)");
    assert_eq!(stopped["reason"], "Essential container in task exited");
}

#[tokio::test]
async fn a_container_is_started_again_in_place() {
    let world = World::new().await;
    let restarting = with(
        container("web", &["exit", "1", "20"]),
        json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [7], "restartAttemptPeriod": 0}}),
    );
    world.control_plane.order(vec![task(ONE, vec![restarting])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let starts = world.machine.log().iter().filter(|line| *line == "start web").count();
    assert!(starts >= 3, "{starts}");
    assert_eq!(world.control_plane.states(ONE), ["RUNNING web=RUNNING"]);
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    world.control_plane.state(ONE, "STOPPED").await;
    world.machine.assert_empty().await;

    let ignored = with(
        container("web", &["exit", "7", "20"]),
        json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [7], "restartAttemptPeriod": 0}}),
    );
    world.control_plane.order(vec![task(TWO, vec![ignored])]).await;
    world.control_plane.state(TWO, "STOPPED").await;
    assert_eq!(world.control_plane.states(TWO), ["RUNNING web=RUNNING", "STOPPED web=STOPPED(7)"]);
}

#[tokio::test]
async fn f15_f16_repeated_and_outdated_orders_are_acknowledged_and_void() {
    let world = World::new().await;
    let order = task(ONE, vec![container("web", &["run"])]);
    world.control_plane.order(vec![order.clone()]).await;
    world.control_plane.order(vec![order.clone(), order.clone()]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    world.control_plane.state(ONE, "STOPPED").await;
    world.machine.assert_empty().await;
    // The start of generation 1 comes late: it must not run again.
    world.control_plane.order(vec![order]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.machine.log().iter().filter(|line| *line == "start web").count(), 1);
    // A stop that overtook its start.
    world.control_plane.order(vec![stop(TWO, 2)]).await;
    world.control_plane.state(TWO, "STOPPED").await;
    world.control_plane.order(vec![task(TWO, vec![container("late", &["run"])])]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!world.machine.log().contains(&"create late".to_owned()));
}

#[tokio::test]
async fn f11_a_restarted_agent_takes_up_what_runs_and_tells_what_ended_meanwhile() {
    let mut world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    world.control_plane.order(vec![task(TWO, vec![container("job", &["run"])])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.control_plane.state(TWO, "RUNNING").await;
    world.agent.shutdown(ShutdownMode::LeaveTasksRunning).await;
    assert_eq!(world.machine.running(), 2);
    world.machine.end("job", 5);
    world.restart().await;
    world.control_plane.state(TWO, "STOPPED").await;
    assert_eq!(world.control_plane.states(TWO).last().unwrap(), "STOPPED job=STOPPED(5)");
    assert_eq!(world.machine.running(), 1, "the other runs on");
    // A report on its way when the first agent ended may be sent again; nothing else is.
    assert!(world.control_plane.states(ONE).iter().all(|state| state == "RUNNING web=RUNNING"));
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    world.control_plane.state(ONE, "STOPPED").await;
    world.machine.assert_empty().await;
    let registrations = world
        .control_plane
        .call("RegisterContainerInstance", |input| input["containerInstanceArn"] == INSTANCE);
    registrations.await;
}

#[tokio::test]
async fn f12_after_a_reboot_tasks_are_stopped_with_a_reason() {
    let mut world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.agent.shutdown(ShutdownMode::LeaveTasksRunning).await;
    world.machine.reboot();
    world.restart().await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert!(stopped["containers"][0]["reason"].as_str().unwrap().contains("was lost"), "{stopped}");
    world.machine.assert_empty().await;
}

#[tokio::test]
async fn f10_with_the_control_plane_away_tasks_go_on_and_changes_wait() {
    let world = World::new().await;
    let job = container("job", &["exit", "0", "300"]);
    world.control_plane.order(vec![task(ONE, vec![job])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.control_plane.set_down(true);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(world.machine.running(), 0, "it ended by itself");
    world.control_plane.set_down(false);
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["exitCode"], 0);
    let handshakes = world.control_plane.handshakes(2).await;
    assert!(
        handshakes[0].contains("sendCredentials=true") && handshakes[1].contains("sendCredentials=false")
    );
    assert!(handshakes[0].contains("protocolVersion=2") && handshakes[0].contains("seqNum=1"));
}

#[tokio::test]
async fn what_is_not_in_the_manifest_is_asked_about_and_then_stopped() {
    let world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    world.control_plane.order(vec![task(TWO, vec![container("web2", &["run"])])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    world.control_plane.state(TWO, "RUNNING").await;
    let manifest = |id: &str, timeline: i64| {
        json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": id, "timeline": timeline,
               "tasks": [{"taskArn": task_arn(TWO), "taskClusterArn": CLUSTER, "desiredStatus": "RUNNING"}]})
    };
    world.control_plane.send("TaskManifestMessage", manifest("old", 1));
    world.control_plane.send("TaskManifestMessage", manifest("new", world.control_plane.next_sequence()));
    let asked = world.control_plane.acs("TaskStopVerificationMessage", |_| true).await;
    assert_eq!(asked["messageId"], "new", "the old one is silently dropped");
    assert_eq!(
        asked["stopCandidates"],
        json!([{"taskArn": task_arn(ONE), "taskClusterArn": CLUSTER, "desiredStatus": "STOPPED"}])
    );
    assert_eq!(world.machine.running(), 2, "asked first");
    let ack = |id: &str| json!({"messageId": id, "stopTasks": [{"taskArn": task_arn(ONE), "desiredStatus": "STOPPED"}]});
    world.control_plane.send("TaskStopVerificationAck", ack("old"));
    world.control_plane.send("TaskStopVerificationAck", ack("new"));
    world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(world.machine.running(), 1);
}

#[tokio::test]
async fn heartbeats_updates_and_strangers_are_answered_as_the_stock_agent_does() {
    let world = World::new().await;
    world.control_plane.send("FutureMessage", json!({"x": 1}));
    world.control_plane.send("HeartbeatMessage", json!({"healthy": true, "messageId": "beat"}));
    world.control_plane.acs("HeartbeatAckRequest", |message| message["messageId"] == "beat").await;
    let update = json!({"clusterArn": CLUSTER, "containerInstanceArn": INSTANCE, "messageId": "up"});
    world.control_plane.send("PerformUpdateMessage", update);
    let nack = world.control_plane.acs("NackRequest", |message| message["messageId"] == "up").await;
    assert_eq!(nack["reason"], "Updates are disabled");
    // A payload for another instance gets no answer.
    let stranger = json!({"clusterArn": CLUSTER, "containerInstanceArn": "arn:aws:ecs:us-east-1:000000000000:container-instance/default/other",
                          "messageId": "stranger", "tasks": []});
    world.control_plane.send("PayloadMessage", stranger);
    world.control_plane.order(vec![]).await;
    assert_eq!(world.control_plane.count_acs("AckRequest"), 1);
    let metrics = world.control_plane.tcs("PublishMetricsRequest", |_| true).await;
    assert_eq!((&metrics["metadata"]["idle"], &metrics["metadata"]["fin"]), (&json!(true), &json!(true)));
    world
        .control_plane
        .tcs("PublishInstanceStatusRequest", |message| message["statuses"][0]["status"] == "OK")
        .await;
}

#[tokio::test]
async fn images_are_pulled_by_the_default_behavior() {
    let world = World::new().await;
    // Loaded from an archive: no registry is asked.
    world.images.load("loaded");
    let of = |image: &str| with(container("web", &["exit", "0", "1"]), json!({"image": image}));
    world.control_plane.order(vec![task(ONE, vec![of("loaded")])]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(stopped["containers"][0]["imageDigest"], "sha256:loaded");
    assert!(world.images.pulls.lock().unwrap().is_empty());
    // Two at once are one pull.
    *world.images.delay.lock().unwrap() = Duration::from_millis(200);
    let containers = vec![of("app"), with(of("app"), json!({"name": "web2"}))];
    world.control_plane.order(vec![task(TWO, containers)]).await;
    world.control_plane.state(TWO, "STOPPED").await;
    assert_eq!(*world.images.pulls.lock().unwrap(), ["app"]);
    // f21: the registry is away, the image that was pulled before is taken.
    *world.images.registry_away.lock().unwrap() = true;
    let id = "33333333333333333333333333333333";
    world.control_plane.order(vec![task(id, vec![of("app")])]).await;
    world.control_plane.state(id, "STOPPED").await;
    assert_eq!(*world.images.pulls.lock().unwrap(), ["app", "app"]);
    assert_eq!(world.control_plane.states(id)[1], "STOPPED web=STOPPED(0)");
}

#[tokio::test]
async fn a_stop_during_a_pull_ends_the_task_at_once() {
    let world = World::new().await;
    *world.images.delay.lock().unwrap() = Duration::from_secs(60);
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    world.control_plane.order(vec![stop(ONE, 2)]).await;
    let stopped = world.control_plane.state(ONE, "STOPPED").await;
    assert_eq!(world.control_plane.states(ONE), ["STOPPED web=STOPPED"]);
    assert_eq!(stopped["executionStoppedAt"], Value::Null);
}

#[tokio::test]
async fn a_reset_kills_everything_and_forgets_it() {
    let world = World::new().await;
    world.control_plane.order(vec![task(ONE, vec![container("web", &["deaf"])])]).await;
    world.control_plane.state(ONE, "RUNNING").await;
    tokio::time::timeout(Duration::from_secs(2), world.agent.stop_all_tasks()).await.expect("at once");
    world.machine.assert_empty().await;
    assert_eq!(std::fs::read_dir(world.data_dir.path().join("agent/tasks")).unwrap().count(), 0);
    assert_eq!(world.control_plane.states(ONE), ["RUNNING web=RUNNING"], "nothing is told");
    // The same task may run again.
    world.control_plane.order(vec![task(ONE, vec![container("web", &["run"])])]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.machine.running(), 1);
}

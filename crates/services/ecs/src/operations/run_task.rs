//! Starts tasks where there is room. AWS: RunTask.
//!
//! Differs from AWS: see [`crate::launch`]. With a strategy of several Fargate providers each task's provider is settled
//! in this call; FARGATE_SPOT is never taken back.

use api::ecs::operations::RunTask;
use api::ecs::{ConflictException, RunTaskRequest, RunTaskResponse, faults as modelled};
use base::Arn;
use base::limits::RUN_TASK_COUNT_MAXIMUM;
use domain::{ClientTokenUse, Task};
use sha2::{Digest, Sha256};
use store::rows::{CLIENT_TOKENS_BY_TIME, client_token_key};
use store::{Snapshot, Transaction};
use wire::{Call, Fault, Operation, Permission};

use crate::resources::{cluster, task, task_definition};
use crate::{Ecs, faults, launch};

/// Hours for which a client token is remembered. Source: "Ensuring idempotency" (ECS API reference).
const CLIENT_TOKEN_HOURS: i64 = 24;
/// Characters of a client token. Source: RunTask, `clientToken`.
const CLIENT_TOKEN_CHARACTERS: usize = 64;
/// Forgotten tokens that one call clears away.
const CLIENT_TOKENS_CLEARED: usize = 16;

impl Operation<RunTask> for Ecs {
    fn permissions(&self, call: &Call, input: &RunTaskRequest) -> Vec<Permission> {
        let definition = task_definition::arn_for_permission(
            &self.store.snapshot(),
            call,
            input.task_definition.as_deref(),
        );
        let cluster = cluster::arn_for_permission(call, input.cluster.as_deref());
        let mut permissions = vec![Permission::new("ecs:RunTask", definition).when("ecs:cluster", cluster)];
        if let Some(overrides) = &input.overrides {
            let roles = [&overrides.task_role_arn, &overrides.execution_role_arn];
            permissions.extend(roles.into_iter().flatten().map(|role| Permission::new("iam:PassRole", role)));
        }
        permissions
    }

    async fn handle(&self, call: &Call, input: RunTaskRequest) -> Result<RunTaskResponse, Fault> {
        let count = input.count.unwrap_or(1);
        if !(1..=RUN_TASK_COUNT_MAXIMUM).contains(&count) {
            return Err(faults::invalid(format!("Count must be between 1 and {RUN_TASK_COUNT_MAXIMUM}.")));
        }
        let count = usize::try_from(count).unwrap_or(1);
        let token = client_token(input.client_token.as_deref())?;
        let digest = digest(&input);

        let _turn = launch::turn(&self.store).await;
        let update = self.store.update(|snapshot| {
            if let Some(tasks) = repeated(snapshot, call, token.as_deref(), &digest)? {
                return Ok((Transaction::new(), (tasks, Vec::new())));
            }
            let launch = launch::check(snapshot, call, &input)?;
            if launch::Wishes::of(&launch.tags, &[])?.explain {
                let explained = launch::explanation(snapshot, call, self.ids.as_ref(), &launch, count);
                return Ok((Transaction::new(), (Vec::new(), explained)));
            }
            let mut placed = launch::queue::start(snapshot, call, self.ids.as_ref(), &launch, count)?;
            if let Some(token) = token.as_deref().filter(|_| !placed.tasks.is_empty()) {
                remember(snapshot, &mut placed.transaction, call, token, &digest, &placed.tasks);
            }
            Ok((placed.transaction, (placed.tasks, placed.failures)))
        });
        let (tasks, failures) = update.await.map_err(faults::of_update)?;

        let tasks = tasks.iter().map(|started| task::describe(started, true)).collect::<Result<_, _>>()?;
        Ok(RunTaskResponse { tasks: Some(tasks), failures: Some(failures) })
    }
}

fn client_token(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > CLIENT_TOKEN_CHARACTERS || !text.bytes().all(|byte| (33..=126).contains(&byte)) {
        return Err(faults::invalid(format!(
            "clientToken must have at most {CLIENT_TOKEN_CHARACTERS} characters in the range of 33-126, inclusive."
        )));
    }
    Ok(Some(text.to_owned()))
}

fn digest(input: &RunTaskRequest) -> String {
    let without_token = RunTaskRequest { client_token: None, ..input.clone() };
    let digest = Sha256::digest(wire::json::to_string(&without_token).as_bytes());
    hex::encode(digest)
}

/// The tasks that an earlier call with the same token started.
fn repeated(
    snapshot: &Snapshot,
    call: &Call,
    token: Option<&str>,
    digest: &str,
) -> Result<Option<Vec<Task>>, Fault> {
    let Some(token) = token else { return Ok(None) };
    let Some(used) = snapshot.get::<ClientTokenUse>(&client_token_key(&call.scope, "RunTask", token)) else {
        return Ok(None);
    };
    if is_forgotten(&used, call) {
        return Ok(None);
    }
    if used.parameters_digest != digest {
        let arns = used.made.iter();
        let arns =
            arns.map(|made| Arn::new("ecs", &call.scope, format!("task/{made}")).to_string()).collect();
        let message =
            "The request could not be processed because of conflict in the current state of the resource.";
        return Err(modelled::conflict_exception(message).with_details(ConflictException {
            message: Some(message.to_owned()),
            resource_ids: Some(arns),
        }));
    }
    let tasks = used.made.iter().filter_map(|made| {
        let (cluster, id) = made.split_once('/')?;
        task::get(snapshot, call, cluster, id).map(|there| Task::clone(&there))
    });
    Ok(Some(tasks.collect()))
}

fn is_forgotten(used: &ClientTokenUse, call: &Call) -> bool {
    call.now >= used.used_at.plus_seconds(CLIENT_TOKEN_HOURS * 3600)
}

fn remember(
    snapshot: &Snapshot,
    transaction: &mut Transaction,
    call: &Call,
    token: &str,
    digest: &str,
    tasks: &[Task],
) {
    let old = snapshot.index::<ClientTokenUse>(CLIENT_TOKENS_BY_TIME, &[], None);
    for used in old.take(CLIENT_TOKENS_CLEARED).take_while(|used| is_forgotten(used, call)) {
        transaction.delete::<ClientTokenUse>(&store::Row::key(used.value.as_ref()));
    }
    let key = client_token_key(&call.scope, "RunTask", token);
    let there = snapshot.get::<ClientTokenUse>(&key).map(|used| used.revision);
    transaction.require_revision::<ClientTokenUse>(&key, there);
    transaction.put(ClientTokenUse {
        scope: call.scope.clone(),
        operation: "RunTask".to_owned(),
        token: token.to_owned(),
        parameters_digest: digest.to_owned(),
        made: tasks.iter().map(|task| format!("{}/{}", task.cluster, task.id)).collect(),
        used_at: call.now,
    });
}

#[cfg(test)]
mod tests {
    use domain::TaskStatus;
    use serde_json::json;

    use crate::testing::{World, text};

    #[tokio::test]
    async fn a_task_lives_and_ends() {
        let (world, instance) = World::with_instance(2048, 1024, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "startedBy": "me"})).await;
        let task = text(&run, "/tasks/0/taskArn");
        assert_eq!(text(&run, "/tasks/0/lastStatus"), "PENDING");
        assert_eq!(text(&run, "/tasks/0/containerInstanceArn"), instance);
        assert_eq!(text(&run, "/tasks/0/group"), "family:web");
        let listed = world.ok("ListTasks", json!({"startedBy": "me"})).await;
        assert_eq!(listed["taskArns"], json!([task]));

        world
            .report(
                &task,
                TaskStatus::Running,
                json!([{"containerName": "app", "status": "RUNNING", "runtimeId": "abc"}]),
            )
            .await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(text(&described, "/tasks/0/lastStatus"), "RUNNING");
        assert_eq!(text(&described, "/tasks/0/containers/0/runtimeId"), "abc");

        let stopped = world.ok("StopTask", json!({"task": task, "reason": "enough"})).await;
        assert_eq!(text(&stopped, "/task/desiredStatus"), "STOPPED");
        assert_eq!(text(&stopped, "/task/stopCode"), "UserInitiated");
        world
            .report(
                &task,
                TaskStatus::Stopped,
                json!([{"containerName": "app", "status": "STOPPED", "exitCode": 137}]),
            )
            .await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(text(&described, "/tasks/0/lastStatus"), "STOPPED");
        assert_eq!(described["tasks"][0]["containers"][0]["exitCode"], json!(137));
        assert_eq!(text(&described, "/tasks/0/stoppedReason"), "enough");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_a_failure() {
        let (world, instance) = World::with_instance(1024, 300, &[]).await;
        world.register("web").await;
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "count": 5})).await;
        assert_eq!(run["tasks"].as_array().unwrap().len(), 2);
        assert_eq!(run["failures"], json!([{"arn": instance, "reason": "RESOURCE:MEMORY"}]));
        let described =
            world.ok("DescribeContainerInstances", json!({"containerInstances": [instance]})).await;
        let instance = &described["containerInstances"][0];
        assert_eq!(instance["remainingResources"][1]["integerValue"], json!(300 - 256));
        assert_eq!(instance["pendingTasksCount"], json!(2));
    }

    #[tokio::test]
    async fn a_placement_is_explained_instance_by_instance() {
        let (world, full) = World::with_instance(1024, 100, &[("rack", Some("a"))]).await;
        let small = world.add_instance(1024, 500, &[("rack", Some("b"))]).await;
        let large = world.add_instance(1024, 900, &[("rack", Some("b"))]).await;
        world.register("web").await;
        let explain = |value: &str| {
            json!({
                "taskDefinition": "web", "count": 3, "tags": [{"key": "roadstead:explain", "value": value}],
                "placementStrategy": [{"type": "spread", "field": "attribute:rack"}, {"type": "binpack", "field": "memory"}],
            })
        };
        let explained = world.ok("RunTask", explain("enabled")).await;
        assert_eq!(explained["tasks"], json!([]));
        let spread = "spread(attribute:rack): 0 tasks of the group where it has this value";
        assert_eq!(
            explained["failures"],
            json!([
                {"arn": small, "reason": "FIT",
                    "detail": format!("3 of 3 tasks would go here; {spread}, binpack(memory): 500 MiB left")},
                {"arn": large, "reason": "FIT",
                    "detail": format!("0 of 3 tasks would go here; {spread}, binpack(memory): 900 MiB left")},
                {"arn": full, "reason": "RESOURCE:MEMORY", "detail": "128 MiB are wanted, 100 are left"},
            ])
        );
        assert_eq!(world.ok("ListTasks", json!({})).await["taskArns"], json!([]));
        let run = world.ok("RunTask", explain("disabled")).await;
        assert_eq!(run["tasks"].as_array().unwrap().len(), 3);
        let refused = world.refused("RunTask", explain("maybe")).await;
        assert_eq!(
            refused,
            "InvalidParameterException: Invalid value for the tag roadstead:explain: maybe. It must be enabled or disabled."
        );
    }

    #[tokio::test]
    async fn a_limit_goes_with_the_task() {
        let (world, _) = World::with_instance(4096, 4096, &[]).await;
        let definition = json!({
            "family": "web", "networkMode": "host",
            "tags": [{"key": "roadstead:max-runtime-seconds", "value": "60"}],
            "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 128}],
        });
        world.ok("RegisterTaskDefinition", definition).await;
        for (tags, limit) in
            [(json!([]), 60), (json!([{"key": "roadstead:max-runtime-seconds", "value": "5"}]), 5)]
        {
            let run = world.ok("RunTask", json!({"taskDefinition": "web", "tags": tags})).await;
            let id = text(&run, "/tasks/0/taskArn").rsplit('/').next().unwrap().to_owned();
            let key = store::rows::task_key(&crate::testing::scope(), "default", &id);
            let row = world.store.snapshot().get::<domain::Task>(&key).unwrap();
            assert_eq!((row.max_runtime_seconds, row.deadline()), (Some(limit), None));
        }
        let refused = world
            .refused(
                "RunTask",
                json!({"taskDefinition": "web",
            "tags": [{"key": "roadstead:max-runtime", "value": "5"}]}),
            )
            .await;
        assert!(
            refused.starts_with("InvalidParameterException: The tag key roadstead:max-runtime is reserved"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn many_at_once_never_take_more_than_there_is() {
        let (world, _) = World::with_instance(100_000, 10 * 128, &[]).await;
        world.register("web").await;
        let calls = (0..40).map(|_| world.ok("RunTask", json!({"taskDefinition": "web"})));
        let mut placed = 0;
        for call in futures_of(calls).await {
            placed += call["tasks"].as_array().unwrap().len();
        }
        assert_eq!(placed, 10);
        let snapshot = world.store.snapshot();
        let machine =
            snapshot.scan::<domain::ContainerInstance>(store::Prefix::everything(), None).next().unwrap();
        let tasks: Vec<_> = snapshot.scan::<domain::Task>(store::Prefix::everything(), None).collect();
        let tasks = tasks.iter().map(|task| task.value.as_ref());
        assert_eq!(scheduler::laws::nothing_is_promised_twice(&machine, tasks), Ok(()));
    }

    /// All of them at once, in one task.
    async fn futures_of<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        let mut done = Vec::new();
        std::future::poll_fn(|context| {
            calls.retain_mut(|call| match call.as_mut().poll(context) {
                std::task::Poll::Ready(value) => {
                    done.push(value);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        done
    }

    #[tokio::test]
    async fn the_same_token_gives_the_same_tasks() {
        let (world, _) = World::with_instance(8192, 8192, &[]).await;
        world.register("web").await;
        let body = json!({"taskDefinition": "web", "count": 2, "clientToken": "once"});
        let one = world.ok("RunTask", body.clone()).await;
        let two = world.ok("RunTask", body.clone()).await;
        assert_eq!(one, two);
        let mut other = body.clone();
        other["count"] = json!(1);
        let (status, conflict) = world.call("RunTask", other).await;
        assert_eq!((status, conflict["__type"].as_str()), (400, Some("ConflictException")), "{conflict}");
        assert_eq!(conflict["resourceIds"], json!([one["tasks"][0]["taskArn"], one["tasks"][1]["taskArn"]]));
        world.clock.advance_millis(25 * 3600 * 1000);
        let later = world.ok("RunTask", body).await;
        assert_ne!(one["tasks"][0]["taskArn"], later["tasks"][0]["taskArn"]);
    }

    #[tokio::test]
    async fn overrides_count() {
        let (world, instance) = World::with_instance(1024, 1024, &[]).await;
        world.register("web").await;
        let overrides = json!({
            "cpu": "512", "memory": "600",
            "containerOverrides": [{"name": "app", "command": ["sleep", "1"], "memory": 500,
                "environment": [{"name": "A", "value": "b"}]}],
            "taskRoleArn": "arn:aws:iam::000000000000:role/other",
        });
        let run = world.ok("RunTask", json!({"taskDefinition": "web", "overrides": overrides})).await;
        let task = &run["tasks"][0];
        assert_eq!((text(task, "/cpu"), text(task, "/memory")), ("512".into(), "600".into()));
        assert_eq!(task["overrides"]["containerOverrides"], overrides["containerOverrides"]);
        assert_eq!(text(task, "/overrides/taskRoleArn"), "arn:aws:iam::000000000000:role/other");
        assert_eq!(text(task, "/containers/0/memory"), "500");
        let described =
            world.ok("DescribeContainerInstances", json!({"containerInstances": [instance]})).await;
        assert_eq!(described["containerInstances"][0]["remainingResources"][1]["integerValue"], json!(424));

        let refused = |overrides| {
            let world = &world;
            async move { world.refused("RunTask", json!({"taskDefinition": "web", "overrides": overrides})).await }
        };
        assert_eq!(
            refused(json!({"containerOverrides": [{"name": "ghost"}]})).await,
            "InvalidParameterException: Override for container named ghost is not a container in the TaskDefinition."
        );
        refused(json!({"containerOverrides": [{"name": "app"}, {"name": "app"}]})).await;
        refused(json!({"containerOverrides": [{"name": "app", "command": ["x".repeat(9000)]}]})).await;
        refused(json!({"containerOverrides": [{"name": "app", "environmentFiles": [{"type": "s3", "value": "x"}]}]})).await;
        refused(json!({"inferenceAcceleratorOverrides": [{"deviceName": "d"}]})).await;
        refused(json!({"memory": "100"})).await;
        refused(json!({"ephemeralStorage": {"sizeInGiB": 30}})).await;
    }

    #[tokio::test]
    async fn fargate_takes_any_account_of_the_machine() {
        let world = World::with_fargate().await;
        let run =
            world.run_on_fargate(json!({"platformVersion": "LATEST", "enableECSManagedTags": true})).await;
        let task = &run["tasks"][0];
        assert_eq!(text(task, "/launchType"), "FARGATE");
        assert_eq!(text(task, "/platformVersion"), "1.4.0");
        assert_eq!(text(task, "/lastStatus"), "PROVISIONING");
        assert_eq!(task["ephemeralStorage"], json!({"sizeInGiB": 20}));
        assert!(task.get("containerInstanceArn").is_none());
        assert_eq!(task["tags"], json!([{"key": "aws:ecs:clusterName", "value": "default"}]));
        assert_eq!(text(task, "/attachments/0/details/0/name"), "subnetId");
        // 2,048 MiB are there, and a task takes 512.
        let more = world.run_on_fargate(json!({"count": 10})).await;
        assert_eq!(more["tasks"].as_array().unwrap().len(), 3);
        assert_eq!(
            more["failures"],
            json!([{"reason": "Capacity is unavailable at this time. Please try again later or in a different availability zone"}])
        );
    }

    #[tokio::test]
    async fn fargate_tasks_of_a_group_are_spread_over_the_zones() {
        let world = World::with_fargate().await;
        let mut zones = std::collections::BTreeMap::new();
        for count in [1, 1, 1] {
            let run = world.run_on_fargate(json!({"count": count})).await;
            *zones.entry(text(&run, "/tasks/0/availabilityZone")).or_insert(0) += 1;
        }
        assert_eq!(zones.into_values().collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[tokio::test]
    async fn what_aws_refuses() {
        let world = World::with_fargate().await;
        world.register("web").await;
        let network = |subnet: &str| json!({"awsvpcConfiguration": {"subnets": [subnet]}});
        for (body, wanted) in [
            (
                json!({"taskDefinition": "web", "cluster": "ghost"}),
                "ClusterNotFoundException: Cluster not found.",
            ),
            (json!({"taskDefinition": "ghost"}), "ClientException: TaskDefinition not found."),
            (
                json!({"taskDefinition": "fargate", "launchType": "FARGATE"}),
                "InvalidParameterException: Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            ),
            (
                json!({"taskDefinition": "web", "networkConfiguration": network("subnet-1")}),
                "InvalidParameterException: Network Configuration is not valid for the given networkMode of this task definition.",
            ),
            (
                json!({"taskDefinition": "web", "launchType": "FARGATE"}),
                "InvalidParameterException: Task definition does not support launch_type FARGATE.",
            ),
            (
                json!({"taskDefinition": "fargate", "launchType": "FARGATE", "networkConfiguration": network("subnet-x")}),
                "InvalidParameterException: Error retrieving subnet information for [subnet-x]: The subnet ID 'subnet-x' does not exist (ErrorCode: InvalidSubnetID.NotFound)",
            ),
            (
                json!({"taskDefinition": "web", "launchType": "EC2", "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
                "InvalidParameterException: Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
            ),
            (
                json!({"taskDefinition": "web", "platformVersion": "LATEST"}),
                "InvalidParameterException: The platform version must be null when specifying an EC2 launch type.",
            ),
            (
                json!({"taskDefinition": "fargate", "launchType": "FARGATE", "platformVersion": "9.9.9"}),
                "PlatformUnknownException: The specified platform does not exist.",
            ),
            (
                json!({"taskDefinition": "web", "group": "service:web"}),
                "InvalidParameterException: Invalid namespace for group.",
            ),
        ] {
            assert_eq!(world.refused("RunTask", body.clone()).await, wanted, "{body}");
        }
        let with = |key: &str, value: serde_json::Value| json!({"taskDefinition": "web", key: value});
        for body in [
            with("group", json!("daemon:watch")),
            with("count", json!(0)),
            with("count", json!(11)),
            with("startedBy", json!("x".repeat(129))),
            with("startedBy", json!("a b")),
            with("clientToken", json!("x".repeat(65))),
            with("clientToken", json!("a b")),
            with("tags", json!([{"key": "aws:x", "value": "y"}])),
            with("propagateTags", json!("SERVICE")),
            with("enableExecuteCommand", json!(true)),
            with("placementStrategy", json!([{"type": "spread"}])),
            with("placementStrategy", json!([{"type": "binpack", "field": "disk"}])),
            with("placementStrategy", json!(vec![json!({"type": "random"}); 6])),
            with("placementConstraints", json!([{"type": "memberOf", "expression": "colour == red"}])),
            with("placementConstraints", json!(vec![json!({"type": "distinctInstance"}); 11])),
            with("capacityProviderStrategy", json!([{"capacityProvider": "FARGATE", "weight": 1}])),
            with("volumeConfigurations", json!([{"name": "v"}])),
            with("launchType", json!("MANAGED_INSTANCES")),
        ] {
            world.refused("RunTask", body).await;
        }
        let tasks = world.ok("ListTasks", json!({})).await;
        assert_eq!(tasks["taskArns"], json!([]), "what is refused leaves nothing");
    }

    #[tokio::test]
    async fn bridge_is_the_network_mode_where_none_is_given() {
        let (world, _) =
            World::with_instance(4096, 4096, &[("ecs.capability.network.container-port-range", None)]).await;
        let register = async |family: &str, mappings: serde_json::Value| {
            let container = json!({"name": "a", "image": "i", "memory": 64, "portMappings": mappings});
            let definition = json!({"family": family, "containerDefinitions": [container]});
            world.ok("RegisterTaskDefinition", definition).await
        };
        let registered = register("fixed", json!([{"containerPort": 80, "hostPort": 8080}])).await;
        assert_eq!(registered["taskDefinition"]["compatibilities"], json!(["EXTERNAL", "EC2"]));
        register(
            "any",
            json!([{"containerPort": 80}, {"containerPortRange": "7000-7001", "protocol": "udp"}]),
        )
        .await;
        register("taken", json!([{"containerPort": 80, "hostPort": 49153}])).await;
        register("range", json!([{"containerPort": 80, "hostPort": 49161, "protocol": "udp"}])).await;
        let run = async |family: &str| world.ok("RunTask", json!({"taskDefinition": family})).await;
        // A port of the host is had once; those that the machine finds are not known before.
        assert_eq!(run("fixed").await["failures"], json!([]));
        assert_eq!(text(&run("fixed").await, "/failures/0/reason"), "RESOURCE:PORTS");
        let any = run("any").await;
        assert_eq!(any["failures"], json!([]));
        assert_eq!(run("any").await["failures"], json!([]));
        // Once they are, nobody else gets them who asks for them by number; they do not count as reserved.
        let bindings = json!([
            {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 49153, "protocol": "tcp"},
            {"bindIP": "0.0.0.0", "containerPortRange": "7000-7001", "hostPortRange": "49160-49161", "protocol": "udp"},
        ]);
        let container = json!({"containerName": "a", "status": "RUNNING", "networkBindings": bindings});
        let task = text(&any, "/tasks/0/taskArn");
        let body =
            json!({"cluster": "default", "task": task, "status": "RUNNING", "containers": [container]});
        world.ok("SubmitTaskStateChange", body).await;
        let described = world.ok("DescribeTasks", json!({"tasks": [task]})).await;
        assert_eq!(described["tasks"][0]["containers"][0]["networkBindings"], bindings);
        for family in ["taken", "range"] {
            assert_eq!(text(&run(family).await, "/failures/0/reason"), "RESOURCE:PORTS", "{family}");
        }
        let instances = world.ok("ListContainerInstances", json!({})).await;
        let described = world
            .ok(
                "DescribeContainerInstances",
                json!({"containerInstances": instances["containerInstanceArns"]}),
            )
            .await;
        let remaining = described["containerInstances"][0]["remainingResources"].as_array().unwrap();
        let ports = remaining.iter().find(|resource| resource["name"] == "PORTS").unwrap();
        assert_eq!(ports["stringSetValue"], json!(["22", "8080", "51678"]));
    }
}

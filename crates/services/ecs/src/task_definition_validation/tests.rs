//! Definitions that are refused, and what they are refused with; and one that is filled in.

use serde_json::{Value, json};

use crate::testing::World;

/// A definition that is fine, with `change` merged into it; and into its container, what stands under `container`.
fn definition(change: Value) -> Value {
    let mut definition = json!({
        "family": "web",
        "networkMode": "host",
        "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 128}],
    });
    for (key, value) in change.as_object().unwrap() {
        if key == "container" {
            for (key, value) in value.as_object().unwrap() {
                definition["containerDefinitions"][0][key] = value.clone();
            }
        } else {
            definition[key] = value.clone();
        }
    }
    definition
}

async fn refusal(world: &World, change: Value) -> String {
    world.refused("RegisterTaskDefinition", definition(change)).await
}

#[tokio::test]
async fn what_aws_says() {
    let world = World::new();
    let fargate = json!({"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]});
    let on_fargate = |change: Value| {
        let mut merged = fargate.clone();
        merged["cpu"] = json!("256");
        merged["memory"] = json!("512");
        for (key, value) in change.as_object().unwrap() {
            merged[key] = value.clone();
        }
        merged
    };
    let side = |essential: bool, depends_on: Value| {
        json!({"containerDefinitions": [
            {"name": "app", "image": "busybox", "memory": 128, "dependsOn": depends_on},
            {"name": "side", "image": "busybox", "memory": 128, "essential": essential},
        ]})
    };
    for (change, message) in [
        (
            json!({"family": "a b"}),
            "Family contains invalid characters. Allowed characters are letters, numbers, hyphens, and underscores.",
        ),
        (json!({"containerDefinitions": []}), "Container list cannot be empty."),
        (json!({"container": {"essential": false}}), "Task definition doesn't have any essential container."),
        (json!({"container": {"name": "a b"}}), "Container.name contains invalid characters."),
        (json!({"container": {"image": ""}}), "Container.image should not be null or empty."),
        (json!({"container": {"image": "a b"}}), "Container.image contains invalid characters."),
        (
            json!({"container": {"memory": null}}),
            "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.",
        ),
        (
            json!({"cpu": "x"}),
            "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
        ),
        (fargate.clone(), "Fargate requires that 'cpu' be defined at the task level."),
        (json!({"requiresCompatibilities": ["FARGATE"]}), "Fargate only supports network mode ‘awsvpc’."),
        (
            on_fargate(json!({"cpu": "1024", "memory": "1024"})),
            "No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the Amazon ECS documentation for the valid values.",
        ),
        (
            on_fargate(json!({"ipcMode": "task"})),
            "Tasks using the Fargate launch type do not support ipcMode.",
        ),
        (
            on_fargate(json!({"container": {"privileged": true}})),
            "Tasks using the Fargate launch type do not support privileged.",
        ),
        (
            on_fargate(json!({"volumes": [{"name": "v", "host": {"sourcePath": "/x"}}]})),
            "host.sourcePath should not be set for volumes in Fargate.",
        ),
        (
            json!({"networkMode": "awsvpc", "container": {"links": ["app"]}}),
            "Links are not supported when networkMode=awsvpc.",
        ),
        (
            json!({"networkMode": "awsvpc", "container": {"hostname": "h"}}),
            "hostname is not supported on container when networkMode=awsvpc.",
        ),
        (
            json!({"networkMode": "awsvpc", "container": {"portMappings": [{"containerPort": 80, "hostPort": 8080}]}}),
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ),
        (
            json!({"container": {"portMappings": [{"containerPort": 80, "hostPort": 8080}]}}),
            "When networkMode=host, the host ports and container ports in port mappings must match.",
        ),
        (
            json!({"container": {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}}),
            "Unknown volume 'v'.",
        ),
        (
            side(true, json!([{"containerName": "side", "condition": "SUCCESS"}])),
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
        ),
        (
            side(false, json!([{"containerName": "ghost", "condition": "START"}])),
            "Cannot depend on container + 'ghost' because it does not exist",
        ),
        (
            json!({"container": {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-region": "us-east-1"}}}}),
            "Log driver awslogs requires options: awslogs-group",
        ),
        (json!({"taskRoleArn": "arn:aws:s3:::bucket"}), "Role is not valid: taskRoleArn arn:aws:s3:::bucket"),
    ] {
        assert_eq!(refusal(&world, change.clone()).await, format!("ClientException: {message}"), "{change}");
    }
    let links = json!({"networkMode": "bridge", "containerDefinitions": [
        {"name": "a", "image": "busybox", "memory": 128, "links": ["b"]},
        {"name": "b", "image": "busybox", "memory": 128, "links": ["a"]},
    ]});
    assert_eq!(refusal(&world, links).await, "ClientException: Container links should not have a cycle");
    let long = json!({"container": {"command": ["x".repeat(70_000)]}});
    assert!(refusal(&world, long).await.contains("Max allowed length is '65536' bytes."));
}

#[tokio::test]
async fn every_member_is_looked_at() {
    let world = World::new();
    let container = |key: &str, value: Value| json!({"container": {key: value}});
    let linux = |key: &str, value: Value| json!({"container": {"linuxParameters": {key: value}}});
    let cycle = json!({"containerDefinitions": [
        {"name": "a", "image": "i", "memory": 64, "dependsOn": [{"containerName": "b", "condition": "START"}]},
        {"name": "b", "image": "i", "memory": 64, "dependsOn": [{"containerName": "a", "condition": "START"}]},
    ]});
    let twice = json!({"containerDefinitions": [
        {"name": "a", "image": "i", "memory": 64}, {"name": "a", "image": "i", "memory": 64},
    ]});
    let same_port = json!({"containerDefinitions": [
        {"name": "a", "image": "i", "memory": 64, "portMappings": [{"containerPort": 80}]},
        {"name": "b", "image": "i", "memory": 64, "portMappings": [{"containerPort": 80}]},
    ]});
    let bridge = |mappings: Value| json!({"networkMode": "bridge", "container": {"portMappings": mappings}});
    let too_many: Vec<Value> =
        (0..11).map(|number| json!({"name": format!("c{number}"), "image": "i", "memory": 64})).collect();
    let bad = [
        cycle,
        twice,
        same_port,
        json!({ "containerDefinitions": too_many }),
        json!({"networkMode": "host", "volumes": [{"name": ""}]}),
        json!({"volumes": [{"name": "v"}, {"name": "v"}]}),
        json!({"volumes": [{"name": "v", "host": {"sourcePath": "relative"}}]}),
        json!({"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}),
        json!({"volumes": [{"name": "v", "configuredAtLaunch": true}]}),
        json!({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"scope": "task", "autoprovision": true}}]}),
        json!({"placementConstraints": [{"type": "memberOf", "expression": "colour == red"}]}),
        json!({"placementConstraints": [{"type": "memberOf"}]}),
        json!({"proxyConfiguration": {"type": "APPMESH", "containerName": "app"}}),
        json!({"enableFaultInjection": true}),
        json!({"trustedExecutionConfiguration": {"isolationMode": "CONFIDENTIAL_SANDBOX"}}),
        json!({"trustedExecutionConfiguration": {"isolationMode": "ISOLATED_SANDBOX"}}),
        json!({"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}),
        json!({"ephemeralStorage": {"sizeInGiB": 20}}),
        json!({"inferenceAccelerators": [{"deviceName": "d", "deviceType": "eia1.large"}]}),
        json!({"cpu": "64"}),
        json!({"cpu": "128", "container": {"cpu": 129}}),
        json!({"memory": "100", "container": {"memory": 101}}),
        container("essential", json!(false)),
        container("memory", json!(5)),
        container("memoryReservation", json!(129)),
        container("cpu", json!(-1)),
        container("environment", json!([{"name": "", "value": "x"}])),
        container("environment", json!([{"name": "a=b", "value": "x"}])),
        container("environmentFiles", json!([{"value": "arn:aws:s3:::b/e.env", "type": "s3"}])),
        container("secrets", json!([{"name": "S", "valueFrom": "p"}])),
        container("repositoryCredentials", json!({"credentialsParameter": "arn"})),
        container("workingDirectory", json!("relative")),
        container("user", json!("a:b:c")),
        container("hostname", json!("-bad-")),
        container("dnsServers", json!(["nowhere"])),
        container("dnsSearchDomains", json!(["a b"])),
        container("extraHosts", json!([{"hostname": "h", "ipAddress": "x"}])),
        container("dockerSecurityOptions", json!(["seccomp:unconfined"])),
        container("ulimits", json!([{"name": "nofile", "softLimit": 2, "hardLimit": 1}])),
        container(
            "ulimits",
            json!([{"name": "nofile", "softLimit": 1, "hardLimit": 1}, {"name": "nofile", "softLimit": 1, "hardLimit": 1}]),
        ),
        container("systemControls", json!([{"namespace": "kernel.hostname", "value": "x"}])),
        container("healthCheck", json!({"command": ["true"]})),
        container("healthCheck", json!({"command": ["CMD", "true"], "interval": 4})),
        container("healthCheck", json!({"command": ["CMD", "true"], "retries": 11})),
        container("restartPolicy", json!({"enabled": true, "restartAttemptPeriod": 59})),
        container("restartPolicy", json!({"enabled": true, "restartAttemptPeriod": 1801})),
        container("restartPolicy", json!({"enabled": true, "ignoredExitCodes": [256]})),
        container("startTimeout", json!(-1)),
        container("portMappings", json!([{"containerPort": 0}])),
        container("portMappings", json!([{"containerPort": 65536}])),
        container("portMappings", json!([{"containerPortRange": "1-2"}])),
        container("portMappings", json!([{"hostPort": 1}])),
        bridge(json!([{"containerPortRange": "8-8"}])),
        bridge(json!([{"containerPortRange": "8-9", "hostPort": 8}])),
        bridge(json!([{"containerPortRange": "8-9"}, {"containerPort": 9}])),
        bridge(json!([{"containerPortRange": "8-9"}, {"containerPortRange": "9-10"}])),
        bridge(json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}])),
        bridge(json!([{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}])),
        container("volumesFrom", json!([{"sourceContainer": "ghost"}])),
        container("firelensConfiguration", json!({"type": "fluentbit"})),
        container("credentialSpecs", json!(["x"])),
        container("resourceRequirements", json!([{"type": "GPU", "value": "none"}])),
        container("resourceRequirements", json!([{"type": "NeuronDevice", "value": "1"}])),
        linux("capabilities", json!({"add": ["FLY"]})),
        linux("devices", json!([{"hostPath": "relative"}])),
        linux("sharedMemorySize", json!(0)),
        linux("maxSwap", json!(-1)),
        linux("swappiness", json!(101)),
        linux("tmpfs", json!([{"containerPath": "t", "size": 1}])),
        linux("tmpfs", json!([{"containerPath": "/t", "size": 0}])),
        linux("tmpfs", json!([{"containerPath": "/t", "size": 1, "mountOptions": ["huge"]}])),
    ];
    for change in bad {
        let refused = refusal(&world, change.clone()).await;
        assert!(refused.starts_with("ClientException: "), "{change}: {refused}");
    }
    let none = world.ok("ListTaskDefinitions", json!({})).await;
    assert_eq!(none["taskDefinitionArns"], json!([]), "what is refused leaves nothing");
}

#[tokio::test]
async fn what_is_silent_is_filled_in() {
    let world = World::new();
    let given = json!({
        "family": "web",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": ".25 vCPU",
        "memory": "0.5 GB",
        "taskRoleArn": "arn:aws:iam::000000000000:role/app",
        "volumes": [{"name": "scratch"}],
        "containerDefinitions": [{
            "name": "app",
            "image": "busybox",
            "portMappings": [{"containerPort": 80}],
            "healthCheck": {"command": ["CMD-SHELL", "true"]},
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}],
        }],
        "tags": [{"key": "team", "value": "blue"}],
    });
    let answer = world.ok("RegisterTaskDefinition", given).await;
    let mut definition = answer["taskDefinition"].clone();
    definition.as_object_mut().unwrap().remove("registeredAt").unwrap();
    assert_eq!(
        definition,
        json!({
            "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
            "family": "web",
            "revision": 1,
            "status": "ACTIVE",
            "networkMode": "awsvpc",
            "taskRoleArn": "arn:aws:iam::000000000000:role/app",
            "requiresCompatibilities": ["FARGATE"],
            "compatibilities": ["EC2", "FARGATE"],
            "cpu": "256",
            "memory": "512",
            "volumes": [{"name": "scratch", "host": {}}],
            "placementConstraints": [],
            "registeredBy": "arn:aws:iam::000000000000:root",
            "requiresAttributes": [
                {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.17"},
                {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
                {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.24"},
                {"name": "com.amazonaws.ecs.capability.task-iam-role"},
                {"name": "ecs.capability.container-health-check"},
                {"name": "ecs.capability.task-eni"},
            ],
            "containerDefinitions": [{
                "name": "app",
                "image": "busybox",
                "cpu": 0,
                "essential": true,
                "environment": [],
                "volumesFrom": [],
                "systemControls": [],
                "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
                "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}],
                "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3},
            }],
        })
    );
    assert_eq!(answer["tags"], json!([{"key": "team", "value": "blue"}]));
    let described = world.ok("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(described["taskDefinition"], answer["taskDefinition"]);
}

#[tokio::test]
async fn log_drivers() {
    let world = World::new();
    for driver in ["json-file", "none"] {
        let given = definition(json!({"container": {"logConfiguration": {"logDriver": driver}}}));
        let answer = world.ok("RegisterTaskDefinition", given).await;
        let attribute = json!({"name": format!("com.amazonaws.ecs.capability.logging-driver.{driver}")});
        assert!(answer["taskDefinition"]["requiresAttributes"].as_array().unwrap().contains(&attribute));
    }
    let firelens = json!({"container": {"logConfiguration": {"logDriver": "awsfirelens"}}});
    assert!(refusal(&world, firelens).await.contains("awsfirelens is not supported"));
}

#[tokio::test]
async fn stop_timeouts_have_no_cap_where_that_is_asked_for() {
    let world = World::with_cluster().await;
    let definition = |seconds: i32, tags: Value| {
        json!({
            "family": "patient", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "cpu": "256", "memory": "512", "tags": tags,
            "containerDefinitions": [{"name": "app", "image": "busybox", "stopTimeout": seconds}],
        })
    };
    let asked = || json!([{"key": "roadstead:uncapped-stop-timeout", "value": "enabled"}]);
    assert_eq!(
        world.refused("RegisterTaskDefinition", definition(7200, json!([]))).await,
        "ClientException: The stopTimeout on Fargate must be between 2 and 120 seconds."
    );
    let registered = world.ok("RegisterTaskDefinition", definition(7200, asked())).await;
    assert_eq!(registered["taskDefinition"]["containerDefinitions"][0]["stopTimeout"], json!(7200));
    world.refused("RegisterTaskDefinition", definition(1, asked())).await;
    let tags = json!([{"key": "roadstead:uncapped-stop-timeout", "value": "disabled"}]);
    world.refused("RegisterTaskDefinition", definition(121, tags)).await;
}

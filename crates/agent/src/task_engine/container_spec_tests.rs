//! Every parameter of a container, from the order to what the engine is asked for.

use std::path::Path;
use std::sync::Arc;

use agent_protocol::payload::Task;
use expect_test::expect;
use image::{Image, ImageConfig};
use serde_json::{Value, json};

use super::super::record::ContainerRecord;
use super::*;

/// Maps the one container of a task. `config` and `host` are Docker's configurations.
fn mapped(task: Value, container: Value, config: &Value, host: &Value) -> Result<ContainerSpec, String> {
    let mut full = json!({"name": "web", "image": "app", "essential": true,
                          "dockerConfig": {"config": config.to_string(), "hostConfig": host.to_string()}});
    full.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut message = json!({"arn": "arn:aws:ecs:eu-west-1:000000000000:task/blue/1", "desiredStatus": "RUNNING", "family": "f",
                             "version": "3", "networkMode": "none", "containers": [full]});
    message.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
    let message: Task = serde_json::from_value(message).unwrap();
    let plan = Arc::new(TaskPlan::read(&message).map_err(|error| error.to_string())?);
    let id = ContainerId::new("1").unwrap();
    let group = task_group(&plan, id.clone());
    let handle = TaskGroupHandle {
        id,
        cgroup: "c".to_owned(),
        pid_namespace: group.share_pid_namespace.then(|| PathBuf::from("/pid")),
        ipc_namespace: group.share_ipc_namespace.then(|| PathBuf::from("/ipc")),
        shared_memory: group.share_ipc_namespace.then(|| PathBuf::from("/shm")),
        storage: group.storage.map(|_| PathBuf::from("/storage")),
    };
    let image = LocalImage {
        image: Image {
            references: Vec::new(),
            manifest_digest: "sha256:m".to_owned(),
            image_id: "sha256:i".to_owned(),
            config: ImageConfig {
                user: "www".to_owned(),
                env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
                entrypoint: Some(vec!["/entry".to_owned()]),
                cmd: Some(vec!["default".to_owned()]),
                working_dir: "/srv".to_owned(),
                stop_signal: Some("SIGQUIT".to_owned()),
                ..ImageConfig::default()
            },
            layers: Vec::new(),
            size_bytes: 0,
            created: None,
        },
        lower_directories: vec![PathBuf::from("/layer")],
    };
    let network = ContainerNetwork {
        namespace: PathBuf::from("/container"),
        address: "192.168.240.4".parse().unwrap(),
        prefix_length: 20,
        gateway: "192.168.240.1".parse().unwrap(),
        mac: base::MacAddress([2; 6]),
    };
    let linked = Linked {
        alias: "db".to_owned(),
        docker_name: "ecs-db".to_owned(),
        hostname: "0123456789ab".to_owned(),
        address: "192.168.240.5".parse().unwrap(),
        ports: vec![(network::Protocol::Tcp, 5432)],
        environment: Vec::new(),
    };
    container_spec(&Ingredients {
        task: &plan,
        plan: &plan.containers[0],
        record: &ContainerRecord::new("web", "r".into(), "endpoint".into(), "d".into()),
        image: &image,
        group: &handle,
        network_namespace: Some(PathBuf::from("/netns")),
        container_network: Some(&network).filter(|_| plan.containers[0].is_on_bridge(&plan)),
        links: std::slice::from_ref(&linked).get(..usize::from(plan.network == NetworkPlan::Bridge)).unwrap(),
        mounts: Vec::new(),
        log: LogOutput::Discard,
        credentials_id: Some("role"),
        region: "eu-west-1",
        metadata_port: 51679,
        cluster: "blue",
        resolver: Some("169.254.171.9:53".parse().unwrap()),
    })
}

fn plain() -> Value {
    json!({})
}

#[test]
fn the_image_fills_in_what_the_order_does_not_say() {
    let spec = mapped(plain(), plain(), &plain(), &plain()).unwrap();
    assert_eq!(spec.arguments, ["/entry", "default"]);
    assert_eq!((spec.user.as_str(), spec.working_directory.as_path()), ("www", Path::new("/srv")));
    assert_eq!(spec.stop_signal.number(), 3);
    expect![[r"
        PATH=/bin
        A=image
        AWS_REGION=eu-west-1
        AWS_DEFAULT_REGION=eu-west-1
        ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/endpoint
        ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/endpoint
        ECS_AGENT_URI=http://169.254.170.2/api/endpoint
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/role
    "]]
    .assert_eq(
        &(spec
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("\n")
            + "\n"),
    );
    assert_eq!(spec.labels["com.amazonaws.ecs.task-definition-version"], "3");
    assert_eq!(spec.labels["com.amazonaws.ecs.cluster"], "blue");
}

#[test]
fn commands_follow_dockers_rules() {
    for (order, arguments) in [
        (json!({"command": ["run"]}), vec!["/entry", "run"]),
        (json!({"entryPoint": ["/mine"]}), vec!["/mine"]),
        (json!({"entryPoint": ["/mine"], "command": ["run"]}), vec!["/mine", "run"]),
        (json!({"command": ["a"], "overrides": "{\"command\":[\"b\"]}"}), vec!["/entry", "b"]),
    ] {
        assert_eq!(mapped(plain(), order, &plain(), &plain()).unwrap().arguments, arguments);
    }
    assert!(mapped(plain(), json!({"overrides": "{\"cpu\":1}"}), &plain(), &plain()).is_err());
}

#[test]
fn every_parameter_of_dockers_configurations_arrives() {
    let config = json!({"User": "1:2", "WorkingDir": "/w", "Hostname": "h", "Domainname": "d", "Tty": true, "OpenStdin": true,
                        "StopSignal": "SIGINT", "Labels": {"a": "b"}});
    let host = json!({
        "MemoryReservation": 1 << 24, "MemorySwap": 1 << 26, "MemorySwappiness": 5, "Privileged": true, "ReadonlyRootfs": true,
        "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "Init": true, "ShmSize": 1 << 20, "CpusetCpus": "0",
        "Devices": [{"PathOnHost": "/dev/fuse"}, {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
        "Tmpfs": {"/run": "size=64m,noexec,mode=755", "/t": ""}, "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "Dns": ["10.0.0.2"], "DnsSearch": ["example.com"], "ExtraHosts": ["db:10.0.0.3", "six:fe80::1"],
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "apparmor:custom", "label:type:x"], "Sysctls": {"net.core.somaxconn": "9"},
    });
    let order = json!({"cpu": 512, "memory": 128, "environment": {"AWS_REGION": "mine", "A": "order"}});
    let spec = mapped(json!({"pidMode": "task", "ipcMode": "task"}), order, &config, &host).unwrap();
    assert_eq!((spec.user.as_str(), spec.working_directory.as_path()), ("1:2", Path::new("/w")));
    assert_eq!((spec.hostname.as_deref(), spec.domainname.as_deref()), (Some("h"), Some("d")));
    assert!(
        spec.terminal
            && spec.open_stdin
            && spec.privileged
            && spec.root.readonly
            && spec.init
            && spec.no_new_privileges
    );
    assert_eq!(spec.stop_signal.number(), 2);
    assert_eq!(spec.labels["a"], "b");
    assert_eq!(
        (spec.capabilities_add.as_slice(), spec.capabilities_drop.as_slice()),
        (&["NET_ADMIN".to_owned()][..], &["MKNOD".to_owned()][..])
    );
    assert_eq!(spec.shared_memory_bytes, Some(1 << 20));
    let devices: Vec<_> = spec
        .devices
        .iter()
        .map(|device| (device.container.to_str().unwrap(), device.permissions.as_str()))
        .collect();
    assert_eq!(devices, [("/dev/fuse", "rwm"), ("/dev/b", "r")]);
    assert_eq!(spec.tmpfs[0].size_bytes, Some(64 << 20));
    assert_eq!(spec.tmpfs[0].options, ["noexec", "mode=755"]);
    assert_eq!((spec.ulimits.len(), spec.ulimits[0].soft), (1, 10));
    assert_eq!(
        (spec.dns.servers.as_slice(), spec.dns.search.as_slice()),
        (&["10.0.0.2".to_owned()][..], &["example.com".to_owned()][..])
    );
    assert_eq!(spec.extra_hosts[1], ("six".to_owned(), "fe80::1".to_owned()));
    assert_eq!(spec.seccomp, SeccompProfile::Unconfined);
    assert_eq!(
        (spec.apparmor_profile.as_deref(), spec.selinux_label.as_deref()),
        (Some("custom"), Some("type:x"))
    );
    assert_eq!(spec.sysctls["net.core.somaxconn"], "9");
    assert_eq!(
        spec.resources,
        Resources {
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".to_owned()),
            memory_bytes: Some(128 << 20),
            memory_reservation_bytes: Some(1 << 24),
            memory_swap_bytes: Some(1 << 26),
            memory_swappiness: Some(5),
            ..Resources::default()
        }
    );
    assert_eq!(spec.namespaces.pid, SharedNamespace::Path("/pid".into()));
    let shared_memory = Some("/shm".into());
    assert_eq!(spec.namespaces.ipc, IpcNamespace::Path { namespace: "/ipc".into(), shared_memory });
    let environment = |name: &str| {
        spec.environment
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(environment("AWS_REGION"), ["mine"]);
    assert!(environment("AWS_DEFAULT_REGION").is_empty());
    assert_eq!(environment("A"), ["image", "order"], "the later wins");
}

#[test]
fn the_network_mode_decides_namespace_names_and_addresses() {
    let interface = json!({"networkMode": "awsvpc", "elasticNetworkInterfaces": [{"ec2Id": "eni-1", "macAddress": "02:00:00:00:00:01",
        "ipv4Addresses": [{"primary": true, "privateAddress": "172.31.0.5"}], "subnetGatewayIpv4Address": "172.31.0.1/20",
        "privateDnsName": "ip-172-31-0-5.ec2.internal", "domainNameServers": ["172.31.0.2"], "domainName": ["ec2.internal"]}]});
    let spec = mapped(interface, plain(), &plain(), &plain()).unwrap();
    assert_eq!(spec.namespaces.network, NetworkNamespace::Path("/netns".into()));
    assert_eq!(spec.hostname.as_deref(), Some("ip-172-31-0-5.ec2.internal"));
    assert_eq!(
        (spec.addresses.as_slice(), spec.dns.servers.as_slice()),
        (&["172.31.0.5".to_owned()][..], &["172.31.0.2".to_owned()][..])
    );
    let spec = mapped(json!({"networkMode": "host"}), plain(), &plain(), &plain()).unwrap();
    assert_eq!(spec.namespaces.network, NetworkNamespace::Host);
    assert!(spec.environment.contains(&(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI".into(),
        "http://127.0.0.1:51679/v2/credentials/role".into()
    )));
    let spec =
        mapped(json!({"networkMode": "host"}), plain(), &json!({"NetworkDisabled": true}), &plain()).unwrap();
    assert_eq!(spec.namespaces.network, NetworkNamespace::None);
}

#[test]
fn on_the_bridge_a_container_has_an_address_and_knows_its_links() {
    let bridge = json!({"networkMode": "bridge"});
    let environment = json!({"environment": {"DB_NAME": "mine"}});
    let spec = mapped(bridge.clone(), environment, &plain(), &json!({"ExtraHosts": ["x:1.2.3.4"]})).unwrap();
    assert_eq!(spec.namespaces.network, NetworkNamespace::Path("/container".into()));
    assert_eq!(spec.dns.servers, ["169.254.169.253"]);
    assert_eq!((spec.addresses.as_slice(), spec.hostname), (["192.168.240.4".to_owned()].as_slice(), None));
    let hosts = [
        ("x", "1.2.3.4"),
        ("0123456789ab", "192.168.240.5"),
        ("db", "192.168.240.5"),
        ("ecs-db", "192.168.240.5"),
    ];
    assert_eq!(spec.extra_hosts, hosts.map(|(name, address)| (name.to_owned(), address.to_owned())));
    let values = |name: &str| -> Vec<&str> {
        spec.environment.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(values("DB_PORT_5432_TCP"), ["tcp://192.168.240.5:5432"]);
    assert_eq!(values("DB_NAME"), ["/d/db", "mine"], "later ones win");
    let spec = mapped(bridge, plain(), &json!({"NetworkDisabled": true}), &plain()).unwrap();
    assert_eq!(spec.namespaces.network, NetworkNamespace::None);
}

#[test]
fn small_numbers_are_raised_to_what_the_kernel_takes() {
    let spec = mapped(plain(), json!({"cpu": 0, "memory": 1}), &plain(), &plain()).unwrap();
    assert_eq!((spec.resources.cpu_shares, spec.resources.memory_bytes), (Some(2), Some(4 << 20)));
    let fargate = json!({"roadstead": {"launchType": "FARGATE"}});
    let spec = mapped(fargate, plain(), &plain(), &plain()).unwrap();
    let open_files = &spec.ulimits[0];
    assert_eq!((open_files.name.as_str(), open_files.soft), ("nofile", open_files.hard));
    assert!((1024..=65_535).contains(&open_files.hard), "AWS's, or what this machine allows");
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    for (config, host) in [
        (plain(), json!({"SecurityOpt": ["seccomp=/profile.json"]})),
        (plain(), json!({"ExtraHosts": ["nonsense"]})),
        (plain(), json!({"ExtraHosts": ["db:not-an-address"]})),
        (plain(), json!({"Tmpfs": {"/t": "size=many"}})),
        (json!({"StopSignal": "SIGNONSENSE"}), plain()),
    ] {
        assert!(mapped(plain(), plain(), &config, &host).is_err(), "{config} {host}");
    }
    for member in [
        json!({"secrets": [{"name": "s", "valueFrom": "v"}]}),
        json!({"environmentFiles": [{"value": "../../etc", "type": "s3"}]}),
        json!({"managedAgents": [{"name": "ExecuteCommandAgent"}]}),
        json!({"firelensConfiguration": {"type": "fluentbit"}}),
        json!({"mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]}),
        json!({"dependsOn": [{"containerName": "none", "condition": "START"}]}),
        json!({"dependsOn": [{"containerName": "web", "condition": "START"}]}),
        json!({"healthCheckType": "docker"}),
    ] {
        assert!(mapped(plain(), member.clone(), &plain(), &plain()).is_err(), "{member}");
    }
    for volume in [
        json!({"name": "../x", "host": {}}),
        json!({"name": ".x", "host": {}}),
        json!({"name": "x", "host": {"sourcePath": "relative"}}),
        json!({"name": "x", "type": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}),
        json!({"name": "x", "type": "docker", "dockerVolumeConfiguration": {"driver": "rexray"}}),
    ] {
        assert!(mapped(json!({"volumes": [volume]}), plain(), &plain(), &plain()).is_err(), "{volume}");
    }
    for arn in [
        "nonsense",
        "arn:aws:ecs:us-east-1:000000000000:task/only",
        "arn:aws:ecs:us-east-1:000000000000:task/c/../../x",
    ] {
        assert!(mapped(json!({"arn": arn}), plain(), &plain(), &plain()).is_err(), "{arn}");
    }
}

#[test]
fn the_task_group_carries_the_tasks_limits() {
    let message: Task = serde_json::from_value(json!({
        "arn": "arn:aws:ecs:us-east-1:000000000000:task/c/1", "desiredStatus": "RUNNING", "networkMode": "none", "cpu": 0.5, "memory": 512,
        "containers": [{"name": "a", "image": "x"}],
    }))
    .unwrap();
    let plan = TaskPlan::read(&message).unwrap();
    let resources = task_group(&plan, ContainerId::new("1").unwrap()).resources;
    assert_eq!((resources.cpu_quota_microseconds, resources.cpu_shares), (Some(50_000), Some(512)));
    assert_eq!((resources.memory_bytes, resources.pids_limit), (Some(512 << 20), Some(TASK_PIDS_MAXIMUM)));
}

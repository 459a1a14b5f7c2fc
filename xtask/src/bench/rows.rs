//! A store full of tasks, written through its own API before the control plane starts on it.

use std::path::Path;

use domain::{ContainerInstance, Task};
use serde_json::json;
use store::{Options, Store, Transaction};

/// Rows of one transaction.
const ROWS_A_TRANSACTION: usize = 500;
/// Container instances.
const MACHINES: usize = 100;
/// The revision that the tasks run.
const DEFINITION: &str = "arn:aws:ecs:us-east-1:000000000000:task-definition/bench:1";

/// The id of a task.
pub fn task_id(number: usize) -> String {
    format!("{:032x}", (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The ARN of a task.
pub fn task_arn(number: usize) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:task/default/{}", task_id(number))
}

/// Fills the store of a data directory with `count` tasks that have ended, as a day's history has them: nobody's loops
/// have anything left to do with them.
pub fn write_tasks(data_directory: &Path, count: usize) -> Result<(), String> {
    write(data_directory, 0, count, task)
}

fn write(
    data_directory: &Path,
    machines_there: usize,
    count: usize,
    row: impl Fn(usize) -> Result<Task, String>,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // A data directory is its owner's only; the control plane makes it so when it starts.
    std::fs::create_dir_all(data_directory).map_err(|error| text(&error))?;
    let options =
        store::rows_logs::register(store::rows_vpc::register(store::rows::register(Options::durable())));
    let store = Store::open(&data_directory.join("store"), options).map_err(|error| text(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| text(&error))?;
    let mut machines = Transaction::new();
    for number in 0..machines_there {
        machines.put(machine(number)?);
    }
    runtime.block_on(store.transact(machines)).map_err(|error| text(&error))?;
    for first in (0..count).step_by(ROWS_A_TRANSACTION) {
        let mut transaction = Transaction::new();
        for number in first..count.min(first + ROWS_A_TRANSACTION) {
            transaction.put(row(number)?);
        }
        runtime.block_on(store.transact(transaction)).map_err(|error| text(&error))?;
    }
    Ok(())
}

/// Fills the store of a data directory with `count` tasks that run, on a hundred container instances whose agents are away.
pub fn write_running_tasks(data_directory: &Path, count: usize) -> Result<(), String> {
    write(data_directory, MACHINES, count, |number| {
        let mut task = task(number)?;
        let machine = number % MACHINES;
        let container_instance = format!("container-instance/default/{}", machine_id(machine));
        let scope = task.scope.clone();
        task.container_instance = Some(base::Arn::new("ecs", &scope, container_instance));
        task.last_status = domain::TaskStatus::Running;
        task.desired_status = domain::DesiredStatus::Running;
        (task.stop_code, task.stopped_reason) = (None, None);
        task.times.stopping_at = None;
        task.times.execution_stopped_at = None;
        task.times.stopped_at = None;
        for container in &mut task.containers {
            container.last_status = domain::TaskStatus::Running;
            container.exit_code = None;
        }
        for attachment in &mut task.attachments {
            "ATTACHED".clone_into(&mut attachment.status);
        }
        Ok(task)
    })
}

fn machine_id(number: usize) -> String {
    task_id(number + 1_000_000)
}

fn machine(number: usize) -> Result<ContainerInstance, String> {
    let row = json!({
        "scope": {"account": "000000000000", "region": "us-east-1"},
        "id": machine_id(number), "cluster": "default", "ec2_instance_id": format!("i-{number:017x}"),
        "status": "ACTIVE", "agent_connected": false, "version": 1,
        "registered": {"cpu_units": 10_000_000, "memory_mib": 10_000_000}, "attributes": [], "registered_at": 0,
    });
    serde_json::from_value(row).map_err(|error| format!("the row of a container instance: {error}"))
}

fn task(number: usize) -> Result<Task, String> {
    let id = task_id(number);
    let (container, attachment, container_instance) =
        (uuid(number, 1), uuid(number, 2), task_id(number % 10));
    let now = base::SystemClock;
    let now = serde_json::to_value(base::Clock::now(&now)).map_err(|error| error.to_string())?;
    let row = json!({
        "scope": {"account": "000000000000", "region": "us-east-1"},
        "id": id, "cluster": "default", "task_definition": DEFINITION, "family": "bench", "revision": 1,
        "launch_type": "FARGATE",
        "container_instance": format!("arn:aws:ecs:us-east-1:000000000000:container-instance/default/{container_instance}"),
        "last_status": "STOPPED", "desired_status": "STOPPED", "version": 5, "generation": 2, "group": "family:bench",
        "cpu_units": 256, "memory_mib": 512, "network_mode": "awsvpc",
        "resources": {"cpu_units": 256, "memory_mib": 512},
        "containers": [{
            "id": container, "name": "main", "image": "busybox:latest",
            "image_digest": format!("sha256:{id}{id}"), "runtime_id": format!("{id}-1234567890"),
            "last_status": "STOPPED", "exit_code": 0, "health_status": "UNKNOWN", "cpu": "0", "memory": "256",
        }],
        "attachments": [{
            "id": attachment, "attachment_type": "ElasticNetworkInterface", "status": "DELETED",
            "details": {
                "subnetId": "subnet-0123456789abcdef0", "networkInterfaceId": format!("eni-{}", &id[..17]),
                "macAddress": "02:42:ac:11:00:02", "privateIPv4Address": "172.31.0.10",
            },
        }],
        "attributes": [["ecs.cpu-architecture", "x86_64"]],
        "availability_zone": "us-east-1a", "platform_version": "1.4.0", "platform_family": "Linux",
        "health_status": "UNKNOWN",
        "times": {
            "created_at": now, "connectivity_at": now, "pull_started_at": now, "pull_stopped_at": now,
            "started_at": now, "stopping_at": now, "execution_stopped_at": now, "stopped_at": now,
        },
        "stop_code": "EssentialContainerExited", "stopped_reason": "Essential container in task exited",
    });
    serde_json::from_value(row).map_err(|error| format!("the row of a task: {error}"))
}

fn uuid(number: usize, salt: u64) -> String {
    let digits = task_id(number.wrapping_mul(7).wrapping_add(salt as usize));
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

"""A Fargate task's own file system: it outlives Roadstead, and never its task."""

import pathlib

from conftest import busybox_archive, wait_for

SCRIPT = "trap 'exit 0' TERM; echo kept > /file; while :; do cat /file; sleep 0.2; done"


def start(roadstead):
    roadstead.load(busybox_archive(), tag="busybox:latest")
    ecs = roadstead.client("ecs")
    log = {"awslogs-group": "/storage", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "s", "awslogs-create-group": "true"}
    container = {
        "name": "app",
        "image": "busybox:latest",
        "command": ["sh", "-c", SCRIPT],
        "logConfiguration": {"logDriver": "awslogs", "options": log},
    }
    ecs.register_task_definition(
        family="storage", networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512", containerDefinitions=[container]
    )
    subnets = [subnet["SubnetId"] for subnet in roadstead.client("ec2").describe_subnets()["Subnets"]]
    network = {"awsvpcConfiguration": {"subnets": subnets}}
    (task,) = ecs.run_task(taskDefinition="storage", launchType="FARGATE", networkConfiguration=network)["tasks"]
    ecs.get_waiter("tasks_running").wait(tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})
    return task["taskArn"]


def storage(roadstead):
    """What the kernel has of it: mounts and loop devices of this data directory."""
    mounts = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if str(roadstead.data_dir) in line and " ext4 " in line]
    backing = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
    loops = [path for path in backing if str(roadstead.data_dir) in path.read_text()]
    return len(mounts), len(loops)


def test_storage_outlives_kill_9_and_goes_with_its_task(fresh):
    roadstead = fresh("--over-commit", "1000")
    task = start(roadstead)
    before = roadstead.live_containers()
    assert storage(roadstead) == (1, 1)
    roadstead.kill()
    assert storage(roadstead) == (1, 1) and roadstead.live_containers() == before
    roadstead.start()
    assert storage(roadstead) == (1, 1) and roadstead.live_containers() == before, "the same, not another"
    ecs, logs = roadstead.client("ecs"), roadstead.client("logs")
    stream = {"logGroupName": "/storage", "logStreamName": f"s/app/{task.rsplit('/', 1)[1]}"}
    said = {event["message"].strip() for event in logs.get_log_events(**stream, startFromHead=True)["events"]}
    assert said == {"kept"}
    ecs.stop_task(task=task)
    wait_for(lambda: storage(roadstead) == (0, 0), 30, "the end of the storage")


def test_down_removes_storage_after_kill_9(fresh):
    roadstead = fresh("--over-commit", "1000")
    start(roadstead)
    roadstead.kill()
    assert storage(roadstead) == (1, 1)
    roadstead.cli("down")
    wait_for(lambda: storage(roadstead) == (0, 0), 5, "the end of the storage")
    assert roadstead.live_containers() == {}
    doctor = roadstead.cli("doctor").stdout
    assert "ok       task-storage" in doctor, doctor

"""What becomes of a task: order and health of containers, ends and their reasons, timestamps, waiters."""

import subprocess
import time

import pytest
from conftest import wait_for
from task_cases import all_ran, configured_archive, linux, ran, runs, shell  # noqa: F401 - fixtures

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
# The machine's clock since boot, in hundredths: finer than what busybox's date gives, and the same in all containers.
CLOCK = "read now rest < /proc/uptime; echo $now"


def side(script, name="side", **parameters):
    return shell(script, name=name, essential=False, **parameters)


def depends(on, condition):
    return {"dependsOn": [{"containerName": on, "condition": condition}]}


def health(*command, **more):
    return {"healthCheck": {"command": list(command), "interval": 5, "timeout": 2, "retries": 1, **more}}


def clock(lines):
    return [float(line) for line in lines]


# ---- Order


@runs(
    shell(f"{CLOCK}; sleep 5", **depends("first", "START")),
    side(f"{CLOCK}; sleep 4; {CLOCK}", name="first"),
    label="start",
)
@runs(shell(CLOCK, **depends("first", "COMPLETE")), side(f"sleep 0.8; {CLOCK}; exit 5", name="first"), label="complete")
@runs(shell(CLOCK, **depends("first", "SUCCESS")), side(f"sleep 0.8; {CLOCK}", name="first"), label="success")
@runs(
    shell(CLOCK, **depends("first", "HEALTHY")),
    side(f"sleep 6; {CLOCK}; touch /tmp/healthy; {SLEEP}", name="first", **health("CMD", "test", "-e", "/tmp/healthy", retries=10)),
    label="healthy",
)
@runs(shell("echo never", **depends("first", "SUCCESS")), side("exit 5", name="first"), label="no_success")
def test_depends_on(ran):
    first, (main,) = clock(ran["start"].lines("first")), clock(ran["start"].lines())
    assert first[0] <= main < first[1], "after the start, not after the end"
    for label in ("complete", "success"):
        assert clock(ran[label].lines("first")) <= clock(ran[label].lines()), label
        assert ran[label].exit_code() == 0
    healthy = clock(ran["healthy"].lines("first", count=1))
    assert healthy[0] <= clock(ran["healthy"].lines())[0]
    task = ran["no_success"].stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "first did not succeed" in task["stoppedReason"]
    assert ran["no_success"].events() == []
    assert "exitCode" not in ran["no_success"].container()


@runs(
    shell("echo never", **depends("first", "HEALTHY")),
    side(SLEEP, name="first", startTimeout=2, stopTimeout=2, **health("CMD", "false", retries=10)),
)
def test_start_timeout(ran):
    task = ran.stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "within its start timeout of 2 seconds" in task["stoppedReason"]
    assert ran.events() == []


@runs(
    shell(f"{SLEEP}", name="base"),
    shell(f"trap 'sleep 0.5; {CLOCK}; exit 0' TERM; echo up; while :; do sleep 0.1; done", **depends("base", "START")),
    shell(f"trap '{CLOCK}; exit 0' TERM; echo up; while :; do sleep 0.1; done", name="under"),
    label="task",
)
def test_containers_stop_in_the_reverse_order(ran):
    ran.running()
    ran.lines(count=1)
    ran.lines("under", count=1)
    ran.stop()
    task = ran.stopped()
    assert sorted(container["exitCode"] for container in task["containers"]) == [0, 0, 0]
    assert float(ran.lines()[1]) - float(ran.lines("under")[1]) > 0.2, "each on its own unless it is depended on"


@pytest.mark.parametrize("what", ["circle", "itself", "stranger"])
def test_impossible_dependencies_are_refused(shared, what):
    containers = {
        "circle": [shell("true", **depends("other", "START")), side("true", name="other", **depends("main", "START"))],
        "itself": [shell("true", **depends("main", "START"))],
        "stranger": [shell("true", **depends("nobody", "START"))],
    }[what]
    ecs = shared.client("ecs")
    with pytest.raises(ecs.exceptions.ClientException):
        ecs.register_task_definition(family="impossible", containerDefinitions=containers)


# ---- Health and restart


@runs(shell(SLEEP, **health("CMD-SHELL", "exit 0 || exit 1")), label="healthy")
@runs(shell(SLEEP, **health("CMD", "sh", "-c", "echo sick; exit 1")), label="unhealthy")
@runs(shell(SLEEP, **health("CMD", "sleep", "60")), label="hangs")
@runs({"name": "main", "image": "configured:latest", "memory": 32, "entryPoint": ["sh", "-c", SLEEP]}, label="image_only")
@runs(shell(SLEEP, **health("CMD", "true")), side(SLEEP, **health("CMD", "false")), label="not_essential")
def test_health_check(ran):
    assert ran["healthy"].started["containers"][0]["healthStatus"] == "UNKNOWN"

    def status(label):
        return ran[label].container()["healthStatus"]

    wait_for(lambda: status("healthy") == "HEALTHY", 60, "HEALTHY")
    assert ran["healthy"].describe()["healthStatus"] == "HEALTHY"
    for label in ("unhealthy", "hangs"):
        wait_for(lambda: status(label) == "UNHEALTHY", 60, f"UNHEALTHY ({label})")
        assert ran[label].describe()["healthStatus"] == "UNHEALTHY"
        assert ran[label].describe()["lastStatus"] == "RUNNING", "nothing stops a task of no service for its health"
    wait_for(lambda: ran["not_essential"].container("side")["healthStatus"] == "UNHEALTHY", 60, "UNHEALTHY")
    assert ran["not_essential"].describe()["healthStatus"] == "HEALTHY", "only essential containers count"
    assert status("image_only") == "UNKNOWN", "ECS does not look at the image's own health check"


@runs(
    shell("echo life >> /root/lives; cat /root/lives; sleep 61; exit 1", restartPolicy={"enabled": True, "restartAttemptPeriod": 60}),
    label="late",
)
@runs(shell("exit 1", restartPolicy={"enabled": True, "restartAttemptPeriod": 60}), label="early")
@runs(
    shell("sleep 61; exit 9", restartPolicy={"enabled": True, "restartAttemptPeriod": 60, "ignoredExitCodes": [9]}),
    label="ignored",
)
def test_restart_policy(ran):
    assert ran["early"].exit_code() == 1, "it had not run for the attempt period"
    first = ran["late"].running()["containers"][0]
    lines = ran["late"].lines(count=4)
    task = ran["late"].describe()
    assert task["lastStatus"] == "RUNNING" and task["containers"][0]["runtimeId"] == first["runtimeId"]
    assert lines == ["life", "-- end", "life", "life"], "in place, its files kept, into the same log stream"
    assert ran["late"].roadstead.live_containers().get(ran["late"].id)
    assert ran["ignored"].exit_code() == 9


@runs(shell("sleep 3; exit 0"), side("exit 3"), label="side_ends")
@runs(shell("exit 3"), side(SLEEP, stopTimeout=5), label="main_ends")
def test_essential(ran):
    wait_for(lambda: ran["side_ends"].container("side")["lastStatus"] == "STOPPED", 60, "the end of the side")
    assert ran["side_ends"].container("side")["exitCode"] == 3
    task = ran["side_ends"].describe()
    assert task["lastStatus"] in ("RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED")
    assert ran["side_ends"].exit_code() == 0
    assert "-- end" in [event["message"] for event in ran["side_ends"].events()]
    assert ran["main_ends"].exit_code() == 3
    assert ran["main_ends"].exit_code("side") == 0, "the others are stopped with it"


# ---- Ends


@runs(shell("exit 0"), label="zero")
@runs(shell("exit 3"), label="three")
@runs({"name": "main", "image": "busybox:latest", "memory": 16, "command": ["sh", "-c", "kill -TERM $$; sleep 5"]}, label="ignores_own_term")
@runs({"name": "main", "image": "busybox:latest", "memory": 16, "command": ["sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"]}, label="signal")
@runs(shell("kill -9 $PPID; sleep 0.3; exit 4", **linux(initProcessEnabled=True)), label="kills_init")
def test_exit_codes(ran):
    for label, code in (("zero", 0), ("three", 3), ("ignores_own_term", 0), ("signal", 139), ("kills_init", 4)):
        task = ran[label].stopped()
        (container,) = task["containers"]
        assert (label, container["exitCode"]) == (label, code)
        assert (task["stopCode"], task["stoppedReason"]) == ("EssentialContainerExited", "Essential container in task exited")
        assert (container["lastStatus"], task["desiredStatus"]) == ("STOPPED", "STOPPED")
        assert "reason" not in container


@runs(shell("trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.1; done"), label="trap")
@runs(shell("trap '' TERM; echo up; while :; do sleep 0.1; done", stopTimeout=2), label="stubborn")
@runs({"name": "main", "image": "configured:latest", "memory": 32, "stopTimeout": 10, "entryPoint": ["sh", "-c", "trap 'exit 55' USR1; trap 'exit 56' TERM; echo up; while :; do sleep 0.1; done"]}, label="signal")
def test_stop_task(ran):
    for label in ran:
        ran[label].running()
        ran[label].lines(count=1)
    asked = time.time()
    for label in ran:
        ran[label].stop(f"because of {label}")
    for label, code in (("trap", 7), ("stubborn", 137), ("signal", 55)):
        task = ran[label].stopped()
        assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", f"because of {label}")
        assert (label, task["containers"][0]["exitCode"]) == (label, code)
        took = task["executionStoppedAt"].timestamp() - asked
        if label == "stubborn":
            assert took >= 1.9, "SIGKILL comes after the stop timeout"
        else:
            assert took < 9, f"{label}: the signal alone ended it"


CLOSED = "127.0.0.1:1/nobody/nothing:latest"


@runs({**shell("true"), "image": CLOSED}, label="pull")
@runs({**shell("true"), "image": "127.0.0.1:1/nobody/other@sha256:" + "0" * 64}, side("true"), label="digest")
@runs({"name": "main", "image": "busybox:latest", "memory": 16, "command": ["/no/such/program"]}, label="program")
@runs({"name": "main", "image": "busybox:latest", "memory": 16, "command": ["no-such-program"]}, label="in_path")
@runs({"name": "main", "image": "busybox:latest", "memory": 16, "command": ["/etc/passwd"]}, label="not_a_program")
def test_tasks_that_fail_to_start(ran):
    for label, begin, within in (
        ("pull", "CannotPullContainerError: ", CLOSED.split("/")[0]),
        ("digest", "CannotPullContainerError: ", "127.0.0.1:1"),
        ("program", "CannotStartContainerError: ", "/no/such/program"),
        ("in_path", "CannotStartContainerError: ", "executable file not found in $PATH"),
        ("not_a_program", "CannotStartContainerError: ", "permission denied"),
    ):
        task = ran[label].stopped()
        container = ran[label].container()
        assert task["stopCode"] == "TaskFailedToStart", label
        assert container["reason"].startswith(begin) and within in container["reason"], container["reason"]
        assert "startedAt" not in task, label
        # CannotPull is the task's reason too, since AWS tells it there.
        if begin.startswith("CannotPull"):
            assert task["stoppedReason"].startswith(begin), task["stoppedReason"]


@runs(shell("sleep 1"), networkMode="awsvpc")
def test_timestamps(ran):
    task = ran.stopped()
    names = ["createdAt", "pullStartedAt", "pullStoppedAt", "startedAt", "executionStoppedAt", "stoppingAt", "stoppedAt"]
    missing = [name for name in [*names, "connectivityAt"] if name not in task]
    assert missing == []
    order = [task[name] for name in names]
    assert order == sorted(order), dict(zip(names, order))
    assert task["createdAt"] <= task["connectivityAt"] <= task["stoppedAt"]
    assert task["startedAt"] < task["executionStoppedAt"] <= task["stoppedAt"]
    assert task["stoppingAt"] <= task["stoppedAt"]
    assert 0.9 < (task["executionStoppedAt"] - task["startedAt"]).total_seconds() < 15
    assert task["connectivity"] == "CONNECTED"
    (attachment,) = task["attachments"]
    assert attachment["status"] == "DELETED"


@runs(shell(SLEEP), label="runs")
@runs(shell("exit 0"), label="ends")
def test_waiters(ran):
    roadstead = ran["runs"].roadstead
    roadstead.aws("ecs", "wait", "tasks-running", "--tasks", ran["runs"].arn)
    roadstead.aws("ecs", "wait", "tasks-stopped", "--tasks", ran["ends"].stopped()["taskArn"])
    ran["runs"].ecs.get_waiter("tasks_running").wait(tasks=[ran["runs"].arn], WaiterConfig={"Delay": 1})
    ran["runs"].stop()
    ran["runs"].ecs.get_waiter("tasks_stopped").wait(tasks=[ran["runs"].arn], WaiterConfig={"Delay": 1})
    # A task that ended is a failure to the waiter for running ones.
    done = roadstead.aws("ecs", "wait", "tasks-running", "--tasks", ran["ends"].arn, check=False)
    assert done.returncode != 0 and "STOPPED" in done.stderr


def test_a_stopped_task_leaves_nothing_on_the_machine(all_ran, shared):
    """What the kernel has of tasks that ended, once their cleaning is over."""
    everything = [one for tasks in all_ran.values() for one in tasks.values() if not isinstance(one, Exception)]
    ended = [one.id for one in everything if one.describe()["lastStatus"] == "STOPPED"]
    assert ended

    def left():
        mounts = open("/proc/self/mountinfo").read()
        cgroups = subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "-name", "*-*"], capture_output=True, text=True).stdout
        live = shared.live_containers()
        return [task for task in ended if task in mounts or task in cgroups or task in live]

    wait_for(lambda: not left(), 30, "the cleaning")

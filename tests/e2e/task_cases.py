"""Tasks as test cases: a test says with `@runs(...)` which task definitions it needs, and all of a module's run at once.

The fixtures `all_ran` and `ran` do it; a module imports them. A module's containers log to CloudWatch Logs unless the
definition says otherwise, one stream prefix per task.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess

import pytest
from conftest import IMAGES, ROOT, wait_for

GROUP = "/cases"
END = "-- end"
# Generous, since all tasks of a module share two cores; a case that takes longer has failed.
STOP_SECONDS = 100


def shell(script, name="main", **parameters):
    """A busybox container that runs `script` and prints END at last, whatever its exit code."""
    command = ["sh", "-c", f"trap 'echo \"{END}\"' EXIT\n{script}"]
    return {"name": name, "image": "busybox:latest", "memory": 32, "command": command, **parameters}


def linux(**parameters):
    """The container parameter linuxParameters."""
    return {"linuxParameters": parameters}


def runs(*containers, label="task", run=None, **task_parameters):
    """Marks a test: its task of this label has these containers, task definition parameters and RunTask parameters."""

    def mark(test):
        wanted = test.__dict__.setdefault("tasks", {})
        assert label not in wanted
        wanted[label] = {"containers": containers, "run": run or {}, "task": task_parameters}
        return test

    return mark


class Ran:
    """A task that a test asked for."""

    def __init__(self, roadstead, prefix, task):
        self.roadstead, self.prefix = roadstead, prefix
        self.arn = task["taskArn"]
        self.id = self.arn.rsplit("/", 1)[1]
        self.started = task
        self.ecs, self.logs = roadstead.shared_clients

    def describe(self):
        (task,) = self.ecs.describe_tasks(tasks=[self.arn], include=["TAGS"])["tasks"]
        return task

    def container(self, name="main"):
        (container,) = [one for one in self.describe()["containers"] if one["name"] == name]
        return container

    def running(self, seconds=STOP_SECONDS):
        """The task once it is RUNNING."""

        def look():
            task = self.describe()
            assert task["lastStatus"] != "STOPPED", (self.prefix, task.get("stoppedReason"), task["containers"])
            return task if task["lastStatus"] == "RUNNING" else None

        return wait_for(look, seconds, f"RUNNING of {self.prefix}")

    def stopped(self, seconds=STOP_SECONDS):
        """The task once it is STOPPED."""

        def look():
            task = self.describe()
            return task if task["lastStatus"] == "STOPPED" else None

        return wait_for(look, seconds, f"STOPPED of {self.prefix}")

    def stop(self, reason="asked by the test"):
        self.ecs.stop_task(task=self.arn, reason=reason)

    def exit_code(self, name="main"):
        self.stopped()
        container = self.container(name)
        assert "exitCode" in container, container
        return container["exitCode"]

    def events(self, name="main"):
        """The log events of a container so far."""
        try:
            pages = self.logs.get_log_events(
                logGroupName=GROUP, logStreamName=f"{self.prefix}/{name}/{self.id}", startFromHead=True
            )
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return pages["events"]

    def lines(self, name="main", count=None, seconds=STOP_SECONDS):
        """The lines of a container: all up to END, or as soon as there are `count` of them."""

        def look():
            lines = [event["message"].rstrip("\r") for event in self.events(name)]
            if count is not None:
                return lines if len(lines) >= count else None
            return lines[: lines.index(END)] if END in lines else None

        found = []

        def look_and_remember():
            found[:] = [look()]
            return found[0] is not None

        try:
            wait_for(look_and_remember, seconds, f"the output of {self.prefix}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.describe()}, {self.events(name)}") from None
        return found[0]

    def pid(self):
        """The host's id of process 1 of the task's only container, once it is up."""
        self.running()
        return wait_for(lambda: self.roadstead.live_containers().get(self.id), 20, "process 1")[0]

    def cgroup(self, v1, v2, of="container"):
        """What a control file says, `v1` as `controller/file` or `v2` as `file`; of the container or of its task."""
        pid = self.pid()
        controller, file = v1.split("/")
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                directory = pathlib.Path(f"/sys/fs/cgroup/{controller}{path}")
                break
            if number == "0":
                unified = pathlib.Path(f"/sys/fs/cgroup{path}")
        else:
            directory, file = unified, v2
        if of == "task":
            while self.id in str(directory.parent):
                directory = directory.parent
        return (directory / file).read_text().strip()


def run_one(roadstead, prefix, *containers, run=None, **task):
    """Registers a task definition and runs it once; what `runs` says holds here too."""
    if not hasattr(roadstead, "shared_clients"):
        roadstead.shared_clients = (roadstead.client("ecs"), roadstead.client("logs"))
    ecs = roadstead.shared_clients[0]
    log = {"awslogs-group": GROUP, "awslogs-stream-prefix": prefix, "awslogs-region": "us-east-1"}
    logging = {"logConfiguration": {"logDriver": "awslogs", "options": log}}
    task = {"networkMode": "none", **task}
    run = {"launchType": "EC2", **(run or {})}
    if task["networkMode"] == "awsvpc":
        subnets = [subnet["SubnetId"] for subnet in roadstead.client("ec2").describe_subnets()["Subnets"]]
        run.setdefault("networkConfiguration", {"awsvpcConfiguration": {"subnets": subnets}})
    registered = ecs.register_task_definition(
        family=prefix, containerDefinitions=[{**logging, **container} for container in containers], **task
    )
    answer = ecs.run_task(taskDefinition=registered["taskDefinition"]["taskDefinitionArn"], **run)
    assert not answer["failures"], (prefix, answer["failures"])
    return Ran(roadstead, prefix, answer["tasks"][0])


def run_all(roadstead, items):
    """Registers and runs everything that the tests among `items` want; answers test name → label → Ran."""
    roadstead.shared_clients = (roadstead.client("ecs"), roadstead.client("logs"))
    wanted = {}
    for item in items:
        for label, one in getattr(item.function, "tasks", {}).items():
            wanted[item.originalname, label] = one

    def attempt(key):
        test, label = key
        prefix = re.sub(r"^test_", "", test) + ("" if label == "task" else f"-{label}")
        one = wanted[key]
        try:
            return run_one(roadstead, prefix, *one["containers"], run=one["run"], **one["task"])
        except Exception as error:  # noqa: BLE001 - the test that wanted the task shows it
            return error

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ran = dict(zip(wanted, pool.map(attempt, wanted)))
    tests = {}
    for (test, label), one in ran.items():
        tests.setdefault(test, {})[label] = one
    return tests


@pytest.fixture(scope="module")
def all_ran(shared, request):
    """The tasks of all tests of this module that were selected."""
    shared.reset()
    shared.load(configured_archive(), tag="configured:latest")
    shared.client("logs").create_log_group(logGroupName=GROUP)
    items = [item for item in request.session.items if item.module is request.module]
    yield run_all(shared, items)
    shared.reset()


@pytest.fixture
def ran(all_ran, request):
    """The test's task, or its tasks by label."""
    tasks = all_ran[request.node.originalname]
    for one in tasks.values():
        if isinstance(one, Exception):
            raise one
    return tasks["task"] if list(tasks) == ["task"] else tasks


def configured_archive():
    """A busybox image whose configuration sets everything that a task definition can override."""
    archive = IMAGES / "configured.tar"
    script = ROOT / "tests/images/busybox.sh"
    stamp = json.dumps(ARGUMENTS)
    note = archive.with_suffix(".arguments")
    if not archive.exists() or not note.exists() or note.read_text() != stamp:
        subprocess.run([script, archive, *ARGUMENTS], check=True, capture_output=True)
        note.write_text(stamp)
    return archive


ARGUMENTS = [
    *("--tag", "configured:latest"),
    *("--entrypoint", '["echo","image entry point"]'),
    *("--cmd", '["image command"]'),
    *("--env", "FROM_IMAGE=image", "--env", "OVERRIDDEN=image"),
    *("--user", "app", "--workdir", "/srv/work"),
    *("--volume", "/data", "--text", "data/seed=from the image"),
    *("--label", "from-image=yes", "--label", "overridden=image"),
    *("--stop-signal", "SIGUSR1"),
    *("--healthcheck", '{"Test":["CMD","false"],"Interval":1000000000,"Timeout":1000000000,"Retries":1}'),
]


def scratch_directory(name):
    """A directory of the host to mount, to be made by the module; under /var/lib, since /tmp may be mounted noexec."""
    return pathlib.Path(f"/var/lib/roadstead-cases-{name}-{os.getpid()}")

"""Services on real containers: the examples as their READMEs tell them, and what keeps a service's word when things break."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import botocore.loaders
import pytest
from conftest import BINARY, ROOT, busybox_archive, left_behind, machine_state, wait_for

WAIT = {"Delay": 1, "MaxAttempts": 90}
COMMAND_SECONDS = 75
SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def quick_waiters(directory):
    """The AWS CLI's own waiters for ECS, but that they look every second instead of every six or fifteen."""
    loader = botocore.loaders.Loader()
    waiters = loader.load_service_model("ecs", "waiters-2")
    for waiter in waiters["waiters"].values():
        waiter["maxAttempts"] *= waiter["delay"]
        waiter["delay"] = 1
    folder = directory / "ecs" / loader.determine_latest_version("ecs", "waiters-2")
    folder.mkdir(parents=True)
    (folder / "waiters-2.json").write_text(json.dumps(waiters))
    return directory


class Readme:
    """The commands of an example, section by section, in one shell."""

    def __init__(self, example, roadstead, directory):
        text = (ROOT / "examples" / example / "README.md").read_text()
        self.sections = {}
        for section in re.split(r"^## ", text, flags=re.M)[1:]:
            heading, body = section.split("\n", 1)
            self.sections[heading] = re.findall(r"```sh\n(.*?)```", body, re.S)
        self.left = list(self.sections)
        (directory / "examples").symlink_to(ROOT / "examples")
        environment = {
            **os.environ,
            **roadstead.environment(),
            "PATH": f"{ROOT}/target/venv/bin:{BINARY.parent}:{os.environ['PATH']}",
            "ROADSTEAD_DATA_DIR": str(roadstead.data_dir),
            "AWS_PAGER": "",
        }
        environment["AWS_DATA_PATH"] = str(quick_waiters(directory / "models"))
        # `roadstead` by name, whatever the binary under test is called.
        (directory / "bin").mkdir()
        (directory / "bin/roadstead").symlink_to(BINARY)
        environment["PATH"] = f"{directory}/bin:{environment['PATH']}"
        self.shell = subprocess.Popen(
            ["bash", "-uo", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env=environment,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shell.kill()
        self.shell.wait()

    def run(self, heading):
        """Runs the next section, which has this heading, and checks what it claims to print."""
        assert self.left.pop(0) == heading
        for block in self.sections[heading]:
            lines = block.splitlines()
            while lines:
                stop = next((i for i, line in enumerate(lines) if line.startswith("# prints:")), len(lines))
                command, claim, lines = lines[:stop], lines[stop : stop + 1], lines[stop + 1 :]
                printed, status = self.execute("\n".join(command))
                assert status == 0, f"{command} ended with {status}: {printed}"
                for text in claim:
                    text = text.removeprefix("# prints:").strip(" ")
                    assert text in printed, f"{heading}: {command} claims {text!r}, and printed {printed!r}"

    def execute(self, command):
        mark = f"<<{time.monotonic_ns()}>>"
        impatience = threading.Timer(COMMAND_SECONDS, self.shell.kill)
        impatience.start()
        self.shell.stdin.write(f"{command}\necho; echo '{mark}' $?\n")
        self.shell.stdin.flush()
        printed = []
        for line in self.shell.stdout:
            if line.startswith(mark):
                impatience.cancel()
                return "".join(printed), int(line.split()[1])
            printed.append(line)
        raise AssertionError(f"{command} took more than {COMMAND_SECONDS} s: {''.join(printed)}")


class Watch:
    """Counts a service's tasks all the time: as the API tells it, and as the kernel has them."""

    def __init__(self, roadstead, service):
        self.roadstead, self.service = roadstead, service
        self.ecs = roadstead.client("ecs")
        self.running, self.live, self.over = [], [], threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.over.is_set():
            (service,) = self.ecs.describe_services(services=[self.service])["services"]
            self.running.append(service["runningCount"])
            self.live.append(len(self.roadstead.live_containers()))
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.live, 10, "the first look")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def describe(ecs, name):
    (service,) = ecs.describe_services(services=[name])["services"]
    return service


def stable(ecs, name):
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig=WAIT)
    return describe(ecs, name)


def messages(ecs, name):
    return [event["message"] for event in describe(ecs, name)["events"]]


def register(ecs, family, script=SLEEP, **container):
    container = {"name": "app", "image": "busybox:latest", "memory": 16, "command": ["sh", "-c", script], **container}
    answer = ecs.register_task_definition(family=family, networkMode="none", containerDefinitions=[container])
    return answer["taskDefinition"]["taskDefinitionArn"]


# ---- The examples


def test_example_rolling(roadstead, tmp_path):
    ecs = roadstead.client("ecs")
    with Readme("rolling", roadstead, tmp_path) as readme:
        readme.run("Start")
        # Somebody kills a container: the service has a new one in its place.
        before = roadstead.live_containers()
        assert len(before) == 2
        victim, (pid,) = next(iter(before.items()))
        os.kill(pid, signal.SIGKILL)
        replaced = wait_for(lambda: (now := set(roadstead.live_containers())) != set(before) and len(now) == 2 and now, 30, "the replacement")
        assert victim not in replaced
        (lost,) = ecs.describe_tasks(tasks=[victim])["tasks"]
        assert (lost["stopCode"], lost["containers"][0]["exitCode"]) == ("EssentialContainerExited", 137)
        stable(ecs, "rolling")
        readme.run("Scale")
        with Watch(roadstead, "rolling") as watch:
            readme.run("Deploy")
        assert min(watch.running) >= 3 and max(watch.live) <= 6, (min(watch.running), max(watch.live))
        assert min(watch.live) >= 3, "the kernel had three at every moment"
        with Watch(roadstead, "rolling") as watch:
            readme.run("Deploy something broken")
        assert min(watch.running) >= 3 and min(watch.live) >= 3, "a broken version takes nothing away"
        readme.run("Clean up")
        assert readme.left == []
    wait_for(lambda: roadstead.live_containers() == {}, 30, "the end of all containers")


def test_example_blue_green(roadstead, tmp_path):
    ecs = roadstead.client("ecs")
    with Readme("blue-green", roadstead, tmp_path) as readme:
        readme.run("Start")
        with Watch(roadstead, "blue-green") as watch:
            readme.run("Deploy green, look at it, and let it go on")
        assert min(watch.live) >= 2 and max(watch.live) == 4, "blue stays in full until green has taken over"
        readme.run("Change your mind")
        (revision,) = {task["taskDefinitionArn"].rsplit(":", 1)[1] for task in tasks_of(ecs, "blue-green")}
        assert revision == "2"
        readme.run("Clean up")
        assert readme.left == []


def tasks_of(ecs, service):
    arns = ecs.list_tasks(serviceName=service)["taskArns"]
    return ecs.describe_tasks(tasks=arns)["tasks"] if arns else []


def test_example_daemon_service(roadstead, tmp_path):
    with Readme("daemon-service", roadstead, tmp_path) as readme:
        for heading in list(readme.left):
            readme.run(heading)


# ---- What breaks


def test_a_broken_first_version_is_tried_again_ever_more_slowly(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs, "broken", command=["/no/such/program"])
    ecs.create_service(serviceName="broken", taskDefinition="broken", desiredCount=1)
    said = "(service broken) is unable to consistently start tasks successfully."
    wait_for(lambda: any(message.startswith(said) for message in messages(ecs, "broken")), 60, "the event")
    counts = []
    for _ in range(2):
        counts.append(len(ecs.list_tasks(family="broken", desiredStatus="STOPPED")["taskArns"]))
        time.sleep(3)
    assert counts[1] - counts[0] <= 1, "starts are held back"
    ecs.update_service(service="broken", desiredCount=0)
    assert stable(ecs, "broken")["runningCount"] == 0


def test_a_deployment_goes_on_after_kill_9(fresh):
    before = machine_state()
    roadstead = fresh("--over-commit", "1000")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    ecs = roadstead.client("ecs")
    # Each version takes a moment to stop, so that the deployment lasts.
    slow = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    register(ecs, "web", slow)
    ecs.create_service(
        serviceName="web",
        taskDefinition="web",
        desiredCount=4,
        deploymentConfiguration={"minimumHealthyPercent": 75, "maximumPercent": 125},
    )
    stable(ecs, "web")
    first = roadstead.live_containers()
    assert len(first) == 4
    two = register(ecs, "web", slow)
    ecs.update_service(service="web", taskDefinition="web")
    least = []
    for pause in (0.3, 0.6, 0.9):
        time.sleep(pause)
        roadstead.kill()
        least.append(len(roadstead.live_containers()))
        roadstead.start()
    assert min(least) >= 3, "nobody is below the floor while Roadstead is away"
    with Watch(roadstead, "web") as watch:
        service = stable(ecs, "web")
    # Those that are being stopped live on for a second and count for no ceiling.
    assert min(watch.live) >= 3, min(watch.live)
    assert [one["status"] for one in service["deployments"]] == ["PRIMARY"]
    assert {task["taskDefinitionArn"] for task in tasks_of(ecs, "web")} == {two}
    # Not one task more than were needed: 4 of each version.
    started = len(ecs.list_tasks(family="web", desiredStatus="STOPPED")["taskArns"]) + 4
    assert started == 8, started
    wait_for(lambda: len(now := roadstead.live_containers()) == 4 and not set(now) & set(first), 30, "the new tasks alone")
    ecs.delete_service(service="web", force=True)
    ecs.get_waiter("services_inactive").wait(services=["web"], WaiterConfig=WAIT)
    roadstead.destroy()
    assert left_behind(before) == {}


# ---- Task protection, from within

PROTECT = """
state() {
  body="$2"
  path=/api/${ECS_AGENT_URI##*/}/task-protection/v1/state
  printf '%s %s HTTP/1.1\\r\\nHost: 169.254.170.2\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \\
    "$1" "$path" "${#body}" "$body" | nc -w 5 169.254.170.2 80 | tail -n 1; echo
}
"""


@pytest.fixture
def network(roadstead):
    subnets = [subnet["SubnetId"] for subnet in roadstead.client("ec2").describe_subnets()["Subnets"]]
    return {"awsvpcConfiguration": {"subnets": subnets}}


def fargate(ecs, family, script):
    log = {"awslogs-group": "/protection", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p", "awslogs-create-group": "true"}
    container = {
        "name": "app",
        "image": "busybox:latest",
        "command": ["sh", "-c", script],
        "logConfiguration": {"logDriver": "awslogs", "options": log},
    }
    ecs.register_task_definition(
        family=family, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512", containerDefinitions=[container]
    )


def lines(roadstead, task, count):
    logs = roadstead.client("logs")
    name = f"p/app/{task.rsplit('/', 1)[1]}"

    def look():
        try:
            events = logs.get_log_events(logGroupName="/protection", logStreamName=name, startFromHead=True)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        found = [event["message"].strip() for event in events if event["message"].strip()]
        return found if len(found) >= count else None

    return wait_for(look, 60, "the task's lines")


def test_a_task_protects_itself_from_scale_in(roadstead, network):
    ecs = roadstead.client("ecs")
    script = PROTECT + "state GET ''; state PUT '{\"ProtectionEnabled\":true,\"ExpiresInMinutes\":5}'; state GET ''; " + SLEEP
    fargate(ecs, "worker", script)
    ecs.create_service(serviceName="worker", taskDefinition="worker", desiredCount=1, launchType="FARGATE", networkConfiguration=network)
    stable(ecs, "worker")
    (protected,) = ecs.list_tasks(serviceName="worker")["taskArns"]
    got, put, again = lines(roadstead, protected, 3)
    assert got == f'{{"protection":{{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"{protected}"}}}}'
    assert '"ProtectionEnabled":true' in put and again == put
    (shown,) = ecs.get_task_protection(cluster="default", tasks=[protected])["protectedTasks"]
    assert shown["protectionEnabled"] and 200 < (shown["expirationDate"].timestamp() - time.time()) <= 300
    # Scaled to none, it stays, until its protection is taken away.
    ecs.update_service(service="worker", desiredCount=0)
    time.sleep(3)
    assert ecs.list_tasks(serviceName="worker")["taskArns"] == [protected]
    assert ecs.describe_tasks(tasks=[protected])["tasks"][0]["lastStatus"] == "RUNNING"
    ecs.update_task_protection(cluster="default", tasks=[protected], protectionEnabled=False)
    wait_for(lambda: ecs.list_tasks(serviceName="worker")["taskArns"] == [], 60, "the scale-in")


def test_a_task_of_no_service_cannot_be_protected(roadstead, network):
    ecs = roadstead.client("ecs")
    fargate(ecs, "alone", PROTECT + "state PUT '{\"ProtectionEnabled\":true}'; state PUT '{}'; state PUT 'nonsense'; " + SLEEP)
    (task,) = ecs.run_task(taskDefinition="alone", launchType="FARGATE", networkConfiguration=network)["tasks"]
    failure, missing, nonsense = lines(roadstead, task["taskArn"], 3)
    assert '"Reason":"TASK_NOT_VALID"' in failure and task["taskArn"] in failure
    assert "does not contain 'ProtectionEnabled' field" in missing
    assert "failed to decode request" in nonsense
    ecs.stop_task(task=task["taskArn"])

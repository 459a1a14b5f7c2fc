"""Faults: what breaks, is killed, hangs or floods, and what must hold all the same. Each test is named after its item."""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import pytest
from conftest import BINARY, Roadstead, busybox_archive, left_behind, machine_state, wait_for
from task_cases import GROUP, Ran, shell

STEADY = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
# Restart policies wait at least a minute, by ECS's own rule: the longest wait of this file, which all of its tests share.
RESTART_SECONDS = 60


def own_directory():
    """A directory of the host to mount; under /var/lib, since /tmp may be mounted noexec."""
    return pathlib.Path(tempfile.mkdtemp(prefix="faults-", dir="/var/lib"))


def run(roadstead, prefix, *containers, run=None, **task):
    """Registers and runs one task that logs to GROUP; answers its Ran."""
    ecs, logs = roadstead.shared_clients = roadstead.client("ecs"), roadstead.client("logs")
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=GROUP)
    options = {"awslogs-group": GROUP, "awslogs-stream-prefix": prefix, "awslogs-region": "us-east-1"}
    definitions = []
    for container in containers:
        log = {"logDriver": "awslogs", "options": {**options, **container.pop("log_options", {})}}
        definitions.append({"logConfiguration": log, **container})
    task = {"networkMode": "none", **task}
    request = {"launchType": "EC2", **(run or {})}
    if task["networkMode"] == "awsvpc":
        subnets = [subnet["SubnetId"] for subnet in roadstead.client("ec2").describe_subnets()["Subnets"]]
        request["networkConfiguration"] = {"awsvpcConfiguration": {"subnets": subnets}}
        roadstead.let_in(80)
    ecs.register_task_definition(family=prefix, containerDefinitions=definitions, **task)
    answer = ecs.run_task(taskDefinition=prefix, **request)
    assert not answer["failures"], answer["failures"]
    return Ran(roadstead, prefix, answer["tasks"][0])


def address_of(ran):
    (interface,) = ran.describe()["attachments"]
    return {detail["name"]: detail["value"] for detail in interface["details"]}["privateIPv4Address"]


def page(address):
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        return answer.read().decode().strip()


def serving(text):
    """A container that serves `text`."""
    return {**shell("true"), "command": ["sh", "-c", f"mkdir -p /www; echo {text} > /www/index.html; exec httpd -f -h /www"]}


def traces(task_id):
    """Where the machine still knows a task: mounts, cgroups, processes."""
    mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if task_id in line]
    cgroups = [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/roadstead-*/**/*{task_id}*")]
    processes = subprocess.run(["pgrep", "-f", task_id], capture_output=True, text=True).stdout.split()
    return mounts + cgroups + processes


def shims_of(roadstead):
    """The processes that hold the containers of a Roadstead."""
    found = subprocess.run(["pgrep", "-f", f"internal-shim.*{roadstead.data_dir}"], capture_output=True, text=True)
    return found.stdout.split()


class Halves:
    """A control plane and a node, each a process of its own."""

    def __init__(self):
        self.control = Roadstead()
        self.node = Roadstead(data_dir=tempfile.mkdtemp(prefix="roadstead-node-", dir="/var/lib"))
        self.node.cli("image", "load", busybox_archive(), "--tag", "busybox:latest")
        self.start_control()
        environment = {**os.environ, **self.control.environment()}
        with open(self.node.log, "ab") as log:
            command = [BINARY, "agent", "--data-dir", self.node.data_dir, "--over-commit", "1000"]
            self.node.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.wait_connected()

    def start_control(self):
        listen = f"127.0.0.1:{self.control.port}"
        with open(self.control.log, "ab") as log:
            command = [BINARY, "server", "--data-dir", self.control.data_dir, "--listen", listen]
            self.control.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.control.wait_ready()

    def connected(self):
        ecs = self.control.client("ecs")
        arns = ecs.list_container_instances()["containerInstanceArns"]
        if not arns:
            return False
        return ecs.describe_container_instances(containerInstances=arns)["containerInstances"][0]["agentConnected"]

    def wait_connected(self):
        wait_for(self.connected, 60, "the agent's connection")

    def destroy(self):
        for process in (self.node.process, self.control.process):
            if process:
                process.send_signal(signal.SIGCONT)
        self.node.destroy()
        self.control.destroy()


@pytest.fixture(scope="module")
def halves():
    """Control plane and node apart, with a steady task and one whose containers end and turn sick when they are told to."""
    both = Halves()
    both.told = own_directory()
    restarting = {"enabled": True, "restartAttemptPeriod": RESTART_SECONDS}
    both.began = time.monotonic()
    both.steady = run(both.control, "steady", shell(f"n=0; {STEADY.replace('sleep 0.2', 'n=$((n+1)); echo $n; sleep 0.2')}"))
    health = {"command": ["CMD-SHELL", "! test -e /tmp/sick"], "interval": 5, "retries": 1, "timeout": 5}
    until_told = "until test -e /told/end; do sleep 0.2; done"
    told = {"mountPoints": [{"sourceVolume": "told", "containerPath": "/told"}]}
    both.restarts = run(
        both.control,
        "restarts",
        # Its second life, which finds the mark of the first, stays.
        {**shell(f"echo start; mkdir /told/first || sleep 600; {until_told}"), "restartPolicy": restarting, **told},
        {**shell(f"{until_told}; touch /tmp/sick; sleep 600", name="sick"), "healthCheck": health, **told},
        volumes=[{"name": "told", "host": {"sourcePath": str(both.told)}}],
    )
    both.steady.running()
    both.restarts.running()
    yield both
    both.destroy()
    shutil.rmtree(both.told)


def test_f13_agent_hangs_and_does_late_orders_once(halves, tmp_path):
    halves.wait_connected()
    doomed = run(halves.control, "doomed", shell(STEADY))
    doomed.running()
    witness = own_directory()
    try:
        halves.node.process.send_signal(signal.SIGSTOP)
        doomed.stop()
        late = run(
            halves.control,
            "late",
            {**shell("echo once >> /witness/starts; " + STEADY), "mountPoints": [{"sourceVolume": "w", "containerPath": "/witness"}]},
            volumes=[{"name": "w", "host": {"sourcePath": str(witness)}}],
        )
        wait_for(lambda: not halves.connected(), 30, "the loss is noticed")
        assert late.describe()["lastStatus"] in ("PROVISIONING", "PENDING")
        assert doomed.describe()["lastStatus"] != "STOPPED", "nobody has seen it stop"
        halves.node.process.send_signal(signal.SIGCONT)
        assert doomed.stopped(60)["stopCode"] == "UserInitiated"
        late.running(60)
        time.sleep(1)
        assert (witness / "starts").read_text() == "once\n"
        assert len(halves.node.live_containers()[late.id]) == 1
        late.stop()
        late.stopped()
    finally:
        halves.node.process.send_signal(signal.SIGCONT)
        shutil.rmtree(witness)


def test_f20_log_service_hangs_and_no_line_is_lost(halves):
    chatty = run(
        halves.control,
        "chatty",
        {**shell("for n in $(seq 3000); do echo line $n; done; sleep 1; for n in $(seq 3001 6000); do echo line $n; done")},
    )
    wait_for(lambda: chatty.events(), 60, "first lines")
    resident = memory_of(halves.node.process.pid)
    halves.control.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(6)
    finally:
        halves.control.process.send_signal(signal.SIGCONT)
    chatty.stopped()
    found = []

    def all_there():
        pages = halves.control.client("logs").get_paginator("filter_log_events")
        prefix = f"{chatty.prefix}/main/{chatty.id}"
        events = [e for p in pages.paginate(logGroupName=GROUP, logStreamNames=[prefix]) for e in p["events"]]
        found[:] = [event["message"] for event in events]
        return len(found) >= 6001

    wait_for(all_there, 60, "every line")
    assert found == [f"line {n}" for n in range(1, 6001)] + ["-- end"]
    assert memory_of(halves.node.process.pid) < resident + (64 << 20)


def memory_of(pid):
    """Resident bytes."""
    (pages,) = re.findall(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(pages) << 10


@pytest.fixture
def up(fresh):
    roadstead = fresh("--over-commit", "1000")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    return roadstead


def test_f11_agent_killed_and_restarted(up):
    trigger = own_directory()
    waiting = "while ! test -e /trigger/go; do sleep 0.1; done"
    mount = {"mountPoints": [{"sourceVolume": "t", "containerPath": "/trigger"}]}
    volumes = {"volumes": [{"name": "t", "host": {"sourcePath": str(trigger)}}]}
    try:
        steady = run(up, "steady", serving("steady"), networkMode="awsvpc")
        exits = run(up, "exits", {**shell(f"{waiting}; exit 7"), **mount}, **volumes)
        bloats = run(up, "bloats", {**shell(f"{waiting}; x=a; while :; do x=$x$x; done"), **mount}, **volumes)
        for task in (steady, exits, bloats):
            task.running()
        address, pids = address_of(steady), up.live_containers()
        up.kill()
        (trigger / "go").touch()
        wait_for(lambda: set(up.live_containers()) == {steady.id}, 60, "the ends")
        assert page(address) == "steady", "served while nobody watches"
        up.start()
        task = exits.stopped(60)
        assert (task["stopCode"], task["stoppedReason"]) == ("EssentialContainerExited", "Essential container in task exited")
        assert task["containers"][0]["exitCode"] == 7
        task = bloats.stopped(60)
        assert task["stopCode"] == "EssentialContainerExited"
        assert task["containers"][0]["exitCode"] == 137
        assert task["containers"][0]["reason"].startswith("OutOfMemoryError")
        assert steady.describe()["lastStatus"] == "RUNNING"
        assert up.live_containers() == {steady.id: pids[steady.id]}
        assert address_of(steady) == address and page(address) == "steady"
        assert exits.lines() == []
    finally:
        shutil.rmtree(trigger)


def test_f12_host_reboot(fresh):
    before = machine_state()
    up = fresh("--over-commit", "1000")
    up.load(busybox_archive(), tag="busybox:latest")
    tasks = [run(up, "steady", shell(STEADY)), run(up, "web", serving("x"), networkMode="awsvpc")]
    for task in tasks:
        task.running()
    up.kill()
    # Everything that Roadstead started ends, shims first, so that nobody notes how.
    name = (up.data_dir / "instance-name").read_text().strip()
    shims = shims_of(up)
    assert len(shims) >= 2
    inside = []
    for cgroup in pathlib.Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if f"roadstead-{name}/" in cgroup.read_text():
                inside.append(cgroup.parent.name)
    for pid in [*shims, *inside]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: not up.live_containers(), 20, "the end of everything")
    up.start()
    for task in tasks:
        described = task.stopped(60)
        assert described["stoppedReason"], described
        assert described["stopCode"] in ("EssentialContainerExited", "TaskFailedToStart"), described
        wait_for(lambda: not traces(task.id), 20, f"the last trace of {task.prefix}: {traces(task.id)}")
    again = run(up, "web", serving("again"), networkMode="awsvpc")
    again.running()
    assert wait_for(lambda: _page_or_none(address_of(again)), 20, "the page") == "again"
    up.destroy()
    # Others may be at work on this machine: what bears this instance's name counts.
    assert [entry for entries in left_behind(before).values() for entry in entries if name in entry] == []


def _page_or_none(address):
    try:
        return page(address)
    except OSError:
        return None


def test_f18_killed_at_any_moment_of_its_start(up):
    rng = random.Random(18)
    tasks, killed = [], 0
    for number in range(12):
        task = run(up, f"brief-{number}", shell(STEADY))
        tasks.append(task)
        # From 0 to 150 ms after the order: before, while and after its process 1 is made.
        time.sleep(rng.uniform(0, 0.15))
        shims = wait_for(lambda: shims_of(up), 30, "anything of the task")
        victims = shims if number % 2 else (up.live_containers().get(task.id) or shims)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
                killed += 1
        described = task.stopped(60)
        assert described["stopCode"] in ("TaskFailedToStart", "EssentialContainerExited"), described
        assert described["stoppedReason"], described
        wait_for(lambda: not traces(task.id) and not shims_of(up), 20, f"the last trace of {task.prefix}: {traces(task.id)}")
    assert killed >= len(tasks)
    assert up.live_containers() == {}


def test_f19_fork_bomb_and_the_neighbour_goes_on(up):
    neighbour = run(up, "neighbour", {**serving("here"), "cpu": 512}, networkMode="awsvpc")
    neighbour.running()
    address = address_of(neighbour)
    bomb = run(
        up,
        "bomb",
        {**shell("bomb() { bomb | bomb & }; bomb; sleep 4; echo alive"), "memory": 48, "essential": True, "stopTimeout": 2},
    )
    bomb.running()
    worst, until = 0.0, time.monotonic() + 4
    while time.monotonic() < until:
        began = time.monotonic()
        assert page(address) == "here"
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.05)
    assert worst < 3, "the neighbour answers all the while"
    bomb.stop()
    bomb.stopped(60)
    wait_for(lambda: not traces(bomb.id), 30, "the end of every process of the bomb")
    assert neighbour.describe()["lastStatus"] == "RUNNING"


def test_f19_log_flood_is_bounded(up):
    """200 MB of lines, faster than any log service takes them: non-blocking loses lines and says so, within bounds."""
    flood = run(
        up,
        "flood",
        {
            **shell("yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 200000000; echo over"),
            "log_options": {"mode": "non-blocking", "max-buffer-size": "1m"},
        },
    )
    start, most_memory, most_disk = memory_of(up.process.pid), 0, 0
    while flood.describe()["lastStatus"] != "STOPPED":
        most_memory = max(most_memory, memory_of(up.process.pid))
        # Directories come and go under the walk.
        with contextlib.suppress(OSError):
            spools = [path for path in up.data_dir.glob("**/*spool*/**/*") if path.is_file()]
            most_disk = max(most_disk, sum(path.stat().st_size for path in spools))
        time.sleep(0.1)
    assert flood.exit_code() == 0, "the writer is not slowed into failure"
    assert most_memory - start < 128 << 20
    assert most_disk < 8 << 20
    marker = {"filterPattern": '"were dropped here"'}
    logs = up.client("logs")
    found = wait_for(lambda: logs.filter_log_events(logGroupName=GROUP, **marker)["events"], 30, "the marker")
    assert re.match(r"\[\d+ log records \(\d+ bytes\) were dropped here", found[0]["message"])


class Registry(http.server.ThreadingHTTPServer):
    """A registry that is wrong in the way that the repository's name says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.seen.append(self.path)
            if self.path in ("/v2/", "/v2"):
                return self.answer(200, b"{}")
            _, _, name, kind, _ = self.path.split("/", 4)
            if name == "failing":
                return self.answer(500, b'{"errors":[{"code":"UNKNOWN","message":"out of order"}]}')
            if name == "busy":
                return self.answer(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', retry="0")
            content = self.server.blobs.get(self.path.rsplit("/", 1)[1])
            if kind == "manifests":
                return self.answer(200, self.server.manifest, kind="application/vnd.oci.image.manifest.v1+json")
            if content is None:
                return self.answer(404, b"{}")
            if name == "altered":
                content = bytes(len(content))
            if name == "cut":
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                return self.connection.close()
            return self.answer(200, content)

        do_HEAD = do_GET

        def answer(self, status, body, kind="application/json", retry=None):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if retry is not None:
                self.send_header("Retry-After", retry)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.seen, self.blobs = [], {}
        layer = os.urandom(4096)
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [self.keep(layer)]}})
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": self.descriptor("application/vnd.oci.image.config.v1+json", config.encode()),
                "layers": [self.descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            }
        ).encode()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def keep(self, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def descriptor(self, kind, content):
        return {"mediaType": kind, "digest": self.keep(content), "size": len(content)}


def test_f21_registries_that_fail(up):
    registry = Registry()
    port = registry.server_address[1]
    expected = {
        "failing": r"50\d|Internal Server Error",
        "busy": r"429|toomanyrequests|Too Many Requests",
        "altered": r"digest",
        "cut": r".+",
        f"pinned@sha256:{'0' * 64}": r"digest",
    }
    try:
        tasks = {
            name: run(up, f"pull-{number}", {**shell("true"), "image": f"127.0.0.1:{port}/{name}"})
            for number, name in enumerate(expected)
        }
        for name, words in expected.items():
            task = tasks[name].stopped(90)
            assert task["stopCode"] == "TaskFailedToStart", task
            reason = task["containers"][0]["reason"]
            assert reason.startswith("CannotPullContainerError"), reason
            assert re.search(words, reason, re.I), reason
            assert task["stoppedReason"].startswith("CannotPullContainerError"), task["stoppedReason"]
        for name in ("failing", "busy"):
            tries = [path for path in registry.seen if f"/{name}/manifests/" in path]
            assert 2 <= len(tries) <= 20, "tried again, and not for ever"
        images = up.cli("image", "ls").stdout
        assert str(port) not in images, "nothing of a failed pull is kept as an image"
    finally:
        registry.shutdown()
        registry.server_close()


def test_f22_sigterm_is_ignored(up):
    deaf = run(up, "deaf", {**shell("trap '' TERM; echo up; while :; do sleep 0.1; done"), "stopTimeout": 3})
    deaf.running()
    deaf.lines(count=1)
    (pid,) = up.live_containers()[deaf.id]
    began = time.monotonic()
    deaf.stop()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 20, "SIGKILL")
    took = time.monotonic() - began
    task = deaf.stopped()
    assert 2.9 < took < 4.5, f"killed after {took:.2f} s"
    assert (task["containers"][0]["exitCode"], task["stopCode"]) == (137, "UserInitiated")


def test_f39_few_file_descriptors(up):
    """With 256 descriptors for everything it refuses what is too much, drops nothing that runs, and recovers."""
    steady = run(up, "steady", serving("steady"), networkMode="awsvpc")
    steady.running()
    address, pids = address_of(steady), up.live_containers()
    resource.prlimit(up.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    clients = []
    try:
        for _ in range(340):
            client = socket.socket()
            client.settimeout(1)
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect(("127.0.0.1", up.port))
        time.sleep(1)
        assert up.process.poll() is None, up.log_text()[-2000:]
        assert len(os.listdir(f"/proc/{up.process.pid}/fd")) <= 256
        assert page(address) == "steady"
    finally:
        for client in clients:
            client.close()

    def answers():
        try:
            with urllib.request.urlopen(up.endpoint + "/_roadstead/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    wait_for(answers, 30, "its recovery")
    late = run(up, "late", shell("echo recovered"))
    assert late.exit_code() == 0
    assert late.lines() == ["recovered"]
    assert up.live_containers() == pids


def test_f10_control_plane_down(halves):
    halves.wait_connected()
    # A container is restarted only when it has run for as long as its policy says.
    time.sleep(max(0.0, RESTART_SECONDS + 2 - (time.monotonic() - halves.began)))
    before = halves.node.live_containers()
    halves.control.kill()
    away = time.monotonic()
    first_pid = set(before[halves.restarts.id])
    (halves.told / "end").touch()
    wait_for(lambda: set(halves.node.live_containers().get(halves.restarts.id, [])) - first_pid, 40, "the restart")
    time.sleep(max(0.0, 20 - (time.monotonic() - away)))
    assert halves.node.live_containers()[halves.steady.id] == before[halves.steady.id], "runs on"
    restarted = halves.node.live_containers()[halves.restarts.id]
    halves.start_control()
    halves.wait_connected()
    task = halves.restarts.describe()
    assert task["lastStatus"] == "RUNNING"
    wait_for(lambda: halves.restarts.container("sick")["healthStatus"] == "UNHEALTHY", 30, "what the health check found")
    now = halves.node.live_containers()
    assert now[halves.steady.id] == before[halves.steady.id], "the return restarts nothing"
    assert now[halves.restarts.id] == restarted
    assert halves.steady.describe()["lastStatus"] == "RUNNING"
    wait_for(lambda: [e["message"] for e in halves.restarts.events()].count("start") == 2, 30, "the restart's line")
    # Every line that was written meanwhile, and in order.
    count = len(halves.steady.lines(count=1))
    numbers = [int(line) for line in halves.steady.lines(count=count + 5)]
    assert numbers == list(range(1, len(numbers) + 1))

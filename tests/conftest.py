"""What the tests with real clients share: a running Roadstead, clients for it, images, and a look at what is left behind."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import boto3
import botocore.config
import pytest

# A shell that starts the tests in the background has SIGINT ignored, by them and by all that they start; some press Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("ROADSTEAD", ROOT / "target/debug/roadstead"))
IMAGES = ROOT / "target/test-images"
READY_SECONDS = 30
# What one `roadstead up` calls its cgroup; tests of single crates use other names.
INSTANCE = re.compile(r"roadstead-[0-9a-f]{6}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Roadstead:
    """One `roadstead up`, its data directory, and clients for it."""

    def __init__(self, *arguments, data_dir=None, env=None):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.data_dir = pathlib.Path(data_dir or tempfile.mkdtemp(prefix="roadstead-test-", dir="/var/lib"))
        self.arguments = [str(argument) for argument in arguments]
        self.extra_env = env or {}
        self.process = None
        self.log = self.data_dir.with_suffix(".log")

    def start(self):
        command = [str(BINARY), "up", "--data-dir", str(self.data_dir), "--listen", f"127.0.0.1:{self.port}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command + self.arguments, stdout=log, stderr=log, env={**os.environ, **self.extra_env}
            )
        self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"roadstead ended early:\n{self.log_text()[-4000:]}"
            try:
                with urllib.request.urlopen(self.endpoint + "/_roadstead/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"roadstead is not ready after {READY_SECONDS} s:\n{self.log_text()[-4000:]}")

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self):
        """kill -9: containers run on."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM, and wait."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def destroy(self):
        """Stops, and removes whatever it made."""
        self.stop()
        if self.data_dir.exists():
            self.cli("down", check=True)
            shutil.rmtree(self.data_dir, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def cli(self, *arguments, check=True):
        """Runs `roadstead …` on the same data directory."""
        command = [str(BINARY), *map(str, arguments), "--data-dir", str(self.data_dir)]
        return subprocess.run(command, check=check, capture_output=True, text=True)

    def environment(self):
        """What `roadstead env` says, as a dict."""
        lines = self.cli("env").stdout.splitlines()
        return dict(re.fullmatch(r"export (\w+)=(.*)", line).groups() for line in lines)

    def aws(self, *arguments, check=True):
        """Runs the AWS CLI; answers its parsed output."""
        aws = ROOT / "target/venv/bin/aws"
        command = [str(aws if aws.exists() else "aws"), *map(str, arguments), "--output", "json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **self.environment(), "AWS_PAGER": ""}
        )
        if check:
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout) if done.stdout.strip() else None
        return done

    def client(self, service, region="us-east-1", **keys):
        env = self.environment()
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=keys.get("access_key_id", env["AWS_ACCESS_KEY_ID"]),
            aws_secret_access_key=keys.get("secret_access_key", env["AWS_SECRET_ACCESS_KEY"]),
            config=botocore.config.Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )

    def let_in(self, port=80, region="us-east-1"):
        """Lets everyone reach a TCP port of the tasks in the default VPC's default group, this machine included."""
        ec2 = self.client("ec2", region)
        (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        wanted = {"group-name": "default", "vpc-id": vpc["VpcId"]}
        filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
        (group,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        everyone = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        try:
            ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[everyone])
        except ec2.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidPermission.Duplicate", error

    def load(self, archive, tag=None):
        extra = ["--tag", tag] if tag else []
        return self.cli("image", "load", archive, *extra).stdout

    def live_containers(self):
        """The live containers from the kernel's view: task id to the pids of its containers' process 1."""
        name = (self.data_dir / "instance-name").read_text().strip()
        found = {}
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                cgroup = (status.parent / "cgroup").read_text()
                inner = re.search(r"^NSpid:.*\s(\d+)$", status.read_text(), re.M)
            except OSError:
                continue
            task = re.search(rf"roadstead-{name}/.*?([0-9a-f]{{32}})", cgroup)
            if task and inner and inner.group(1) == "1":
                found.setdefault(task.group(1), []).append(int(status.parent.name))
        return {task: sorted(pids) for task, pids in found.items()}

    def reset(self):
        request = urllib.request.Request(self.endpoint + "/_roadstead/reset", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def machine_state():
    """What a Roadstead could leave behind on this machine."""

    def lines(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.splitlines()

    mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if "roadstead" in line]
    links = [line for line in lines("ip", "-o", "link") if re.search(r"\brs[-0-9a-f]", line)]
    tables = [line for line in lines("nft", "list", "tables") if "roadstead" in line]
    cgroups = [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob("**/roadstead-*") if INSTANCE.fullmatch(path.name)]
    processes = [line for line in lines("ps", "-eo", "pid,args") if re.search(r"internal-shim .*/var/lib/roadstead-|roadstead up", line)]
    backing = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
    loops = [f"{path.parent.parent.name} {text}" for path in backing if "roadstead" in (text := path.read_text().strip())]
    return {"mounts": mounts, "links": links, "tables": tables, "cgroups": cgroups, "processes": processes, "loops": loops}


def left_behind(before):
    """What is on the machine that was not there `before`, by kind."""
    after = machine_state()
    new = {kind: [entry for entry in after[kind] if entry not in before[kind]] for kind in after}
    return {kind: entries for kind, entries in new.items() if entries}


def busybox_archive():
    """A busybox image as an archive, built once."""
    archive = IMAGES / "busybox.tar"
    if not archive.exists():
        IMAGES.mkdir(parents=True, exist_ok=True)
        subprocess.run([ROOT / "tests/images/busybox.sh", archive], check=True)
    return archive


@pytest.fixture(scope="session")
def shared():
    """One Roadstead for all tests that do not kill it, with the image `busybox` loaded."""
    roadstead = Roadstead("--ephemeral", "--allow-reset", "--over-commit", "1000").start()
    roadstead.load(busybox_archive(), tag="busybox:latest")
    yield roadstead
    roadstead.destroy()


@pytest.fixture
def roadstead(shared):
    """The shared Roadstead with an empty state."""
    shared.reset()
    return shared


@pytest.fixture
def fresh():
    """Makes Roadsteads of a test's own; they are destroyed at its end."""
    made = []

    def make(*arguments, **options):
        one = Roadstead(*arguments, **options).start()
        made.append(one)
        return one

    yield make
    for one in made:
        one.destroy()


def wait_for(condition, seconds=30, what="the condition"):
    """Waits until `condition()` is true, and answers its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)

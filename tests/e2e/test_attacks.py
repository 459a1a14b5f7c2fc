"""Attacks: what a task, an image or a caller tries, and what must hold. Each test is named after its item.

What containers may not do to the machine (items a05 and a26) is mostly in test_protections.py; hostile archives and
registries (a09, a10) are in the crate `image`.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest
from conftest import IMAGES, ROOT, wait_for
from task_cases import END, GROUP, Ran, all_ran, ran, runs, shell  # noqa: F401 - fixtures

STEADY = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
LOOK = r"""
    env
    echo "-- processes"; cat /proc/[0-9]*/cmdline | tr '\0' ' '; echo
    echo "-- files"; find / -xdev -name 'root-credentials' -o -xdev -name 'instance-name' -o -xdev -name '*.sock' 2>/dev/null
    awk '{print $4, $5}' /proc/self/mountinfo | grep -i roadstead
    echo "-- sockets"; grep -c roadstead /proc/net/unix
    echo "-- instance metadata"; wget -T 2 -q -O- http://169.254.169.254/latest/meta-data/ 2>&1
"""


def own_directory():
    """A directory of the host to mount; under /var/lib, since /tmp may be mounted noexec."""
    return pathlib.Path(tempfile.mkdtemp(prefix="attacks-", dir="/var/lib"))


def secrets_of(roadstead):
    """What nobody may find: the root user's secret, as text."""
    return roadstead.environment()["AWS_SECRET_ACCESS_KEY"]


# ---- ECScape and the agent's identity


@runs(shell(LOOK), label="host", networkMode="host")
@runs(shell(LOOK), label="awsvpc", networkMode="awsvpc")
def test_a01_no_agent_key_is_to_be_had(ran, shared):
    for label in ("host", "awsvpc"):
        lines = ran[label].lines()
        text = "\n".join(lines)
        assert secrets_of(shared) not in text
        assert "AWS_SECRET" not in text and "AWS_ACCESS" not in text
        processes = text.split("-- processes\n")[1].split("-- files")[0]
        assert "roadstead" not in processes and "internal-shim" not in processes
        files = [line for line in text.split("-- files\n")[1].split("-- sockets")[0].splitlines() if line]
        # The only files of ours that a container sees are its own hosts, hostname and resolv.conf.
        assert all(re.search(r"/etc/(hosts|hostname|resolv\.conf)$| / ?$|^/ /$", line) for line in files), files
        assert "ami-id" not in text and "iam" not in text.split("-- instance metadata")[1]
    assert "-- sockets\n0" in "\n".join(ran["awsvpc"].lines()), "abstract sockets of the host are out of reach"


def handshake(roadstead, path, query, keys=None, service="ecs"):
    """Status and body of a web socket handshake, signed with `keys` if there are any."""
    url = f"{roadstead.endpoint}{path}?{urllib.parse.urlencode(query)}"
    request = botocore.awsrequest.AWSRequest("GET", url, headers={"Host": f"127.0.0.1:{roadstead.port}"})
    if keys:
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(*keys), service, "us-east-1")
        signer.add_auth(request)
    headers = {
        **dict(request.headers),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    lines = [f"GET {path}?{urllib.parse.urlencode(query)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", roadstead.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = connection.recv(65536).decode(errors="replace")
    return int(answer.split(" ")[1]), answer


def test_a01_sessions_are_refused_to_strangers(shared):
    (instance,) = shared.client("ecs").list_container_instances()["containerInstanceArns"]
    query = {
        "agentHash": "x", "agentVersion": "1.105.1", "clusterArn": "default", "containerInstanceArn": instance,
        "dockerVersion": "x", "protocolVersion": "2", "sendCredentials": "true", "seqNum": "1",
    }
    own = shared.environment()
    root = own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]
    elsewhere = instance.replace("000000000000", "111111111111")
    for path in ("/_roadstead/acs/ws", "/_roadstead/tcs/ws"):
        for what, keys, service, change in [
            ("unsigned", None, "ecs", {}),
            ("an unknown key", ("AKIAIOSFODNN7EXAMPLE", "secret"), "ecs", {}),
            ("a wrong secret", (root[0], "secret"), "ecs", {}),
            ("signed for another service", root, "logs", {}),
            ("another account's instance", root, "ecs", {"containerInstanceArn": elsewhere, "containerInstance": elsewhere}),
            ("an instance of another name", root, "ecs", {"containerInstanceArn": instance[:-4] + "0000", "containerInstance": instance[:-4] + "0000"}),
        ]:
            status, answer = handshake(shared, path, {**query, "cluster": "default", "containerInstance": instance, **change}, keys, service)
            assert status in (400, 403), (path, what, answer)
            assert "101" not in answer.split("\r\n")[0]
    (described,) = shared.client("ecs").describe_container_instances(containerInstances=[instance])["containerInstances"]
    assert described["agentConnected"], "the agent's own session goes on"


# ---- The metadata endpoint


PEEK = r"""
    own=$ECS_CONTAINER_METADATA_URI_V4
    ask() { echo "$1 $( (printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$2" "${3:-169.254.170.2}"; sleep 0.3) | nc -w 3 169.254.170.2 80 2>/dev/null | head -1 | tr -d '\r')"; }
    ask own "/v4/${own##*/}"
    ask foreign "/v4/$(cat /shared/uri)"
    ask foreign_task "/v4/$(cat /shared/uri)/task"
    ask guess "/v4/00000000-0000-0000-0000-000000000000-0000000000"
    ask nothing "/v4/"
    ask traversal "/v4/${own##*/}/../$(cat /shared/uri)"
    ask traversal_coded "/v4/${own##*/}/..%2f$(cat /shared/uri)"
    ask files "/../../../../etc/passwd"
    ask credentials "/v2/credentials/"
    ask credentials_guess "/v2/credentials/00000000-0000-0000-0000-000000000000"
    ask introspection "/v1/tasks"
    ask introspection_metadata "/v1/metadata"
    ask host_header "/v1/metadata" "localhost:51678"
    ask long "/v4/$(head -c 4000 /dev/zero | tr '\0' a)"
    echo "port $(nc -w 2 169.254.170.2 51678 </dev/null >/dev/null 2>&1; echo $?)"
"""


@pytest.fixture(scope="module", autouse=True)
def scratch():
    yield
    shutil.rmtree(SHARED)


SHARED = own_directory()
VOLUMES = [{"name": "shared", "host": {"sourcePath": str(SHARED)}}]
MOUNT = {"mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}]}


@runs(
    {**shell(f"echo ${{ECS_CONTAINER_METADATA_URI_V4##*/}} > /shared/tmp; mv /shared/tmp /shared/uri; {STEADY}"), **MOUNT},
    label="victim",
    networkMode="awsvpc",
    volumes=VOLUMES,
)
@runs(
    {**shell(f"while ! test -e /shared/uri; do sleep 0.1; done; {PEEK}"), **MOUNT},
    label="thief",
    networkMode="awsvpc",
    volumes=VOLUMES,
)
def test_a02_metadata_is_for_the_task_itself(ran):
    answers = dict(line.split(" ", 1) if " " in line else (line, "") for line in ran["thief"].lines())
    assert answers.pop("own") == "HTTP/1.0 200 OK"
    assert answers.pop("port") != "0", "no introspection endpoint"
    for what, status in answers.items():
        assert re.match(r"HTTP/1\.[01] 4\d\d ", status), (what, status)


def listening(roadstead):
    """The control plane's port, and every other on the host's loopback that is ours."""
    pid = roadstead.process.pid
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
    ports = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            address, port = fields[1].split(":")
            ports.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return ports


@runs(shell("while ! test -e /shared/ports; do sleep 0.1; done; " + r"""
    gateway=$(ip route | awk '/default/ {print $3}')
    while read address port; do
        for target in $address 127.0.0.1 $gateway; do
            printf 'GET /_roadstead/health HTTP/1.0\r\n\r\n' | nc -w 2 $target $port 2>/dev/null | grep -q . && echo reached $target $port
        done
    done < /shared/ports
    nc -w 2 169.254.169.254 80 </dev/null 2>/dev/null && echo reached instance metadata
    ls /var/lib 2>/dev/null | grep roadstead
    ls /run/*.sock /var/run/docker.sock 2>/dev/null
""", **MOUNT), networkMode="awsvpc", volumes=VOLUMES)
def test_a03_the_host_s_loopback_is_out_of_reach(ran, shared):
    ports = listening(shared)
    assert ("127.0.0.1", shared.port) in ports
    # The metadata endpoint for tasks listens on a link-local address: not one of these, and asked in a02.
    loopback = sorted(one for one in ports if one[0].startswith("127."))
    (SHARED / "tmp").write_text("".join(f"{address} {port}\n" for address, port in loopback))
    (SHARED / "tmp").rename(SHARED / "ports")
    assert ran.lines() == []


# ---- Images


def image(name, *arguments):
    archive = IMAGES / f"attack-{name}.tar"
    subprocess.run([ROOT / "tests/images/busybox.sh", archive, "--tag", f"{name}:latest", *arguments], check=True, capture_output=True)
    return archive


def run(roadstead, family, container, **task):
    ecs, logs = roadstead.shared_clients = roadstead.client("ecs"), roadstead.client("logs")
    options = {"awslogs-group": GROUP, "awslogs-stream-prefix": family, "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
    container = {"name": "main", "memory": 32, "logConfiguration": {"logDriver": "awslogs", "options": options}, **container}
    ecs.register_task_definition(family=family, containerDefinitions=[container], **{"networkMode": "none", **task})
    answer = ecs.run_task(taskDefinition=family)
    assert not answer["failures"], answer["failures"]
    return Ran(roadstead, family, answer["tasks"][0])


def test_a06_a_working_directory_in_proc_self_fd(all_ran, shared):
    """CVE-2024-21626: a working directory that is an open file of the runtime leads to the host."""
    script = "pwd -P; ls -d ../../../../../../../var/lib/roadstead* ../../../../root-credentials 2>/dev/null; cat ../../../../etc/hostname"
    tasks = []
    for number in range(3, 12):
        if number % 3 == 0:
            shared.load(image(f"cwd{number}", "--workdir", f"/proc/self/fd/{number}"))
            tasks.append(run(shared, f"cwd{number}", {"image": f"cwd{number}:latest", "command": ["sh", "-c", script]}))
        definition = {"image": "busybox:latest", "workingDirectory": f"/proc/self/fd/{number}", "command": ["sh", "-c", script]}
        # Every second one in mode bridge, whose containers have a namespace each.
        tasks.append(run(shared, f"cwd-definition{number}", definition, networkMode=("none", "bridge")[number % 2]))
    host = socket.gethostname()
    for task in tasks:
        task.stopped()
        text = "\n".join(event["message"] for event in task.events())
        assert "roadstead" not in text and host not in text, (task.prefix, text)


def test_a08_links_at_mount_targets_stay_inside(all_ran, shared):
    """An image whose mount target is a link to the host's tree: the mount lands inside the container, or is refused."""
    links = {"evil": "/etc", "up": "../../../../../../etc", "proc": "/proc/1/root/etc", "fd": "/proc/self/fd/5"}
    archive = IMAGES / "attack-links.tar"
    make_links(archive, links)
    shared.load(archive)
    source = own_directory()
    (source / "planted").write_text("planted\n")
    before = sorted(os.listdir("/etc"))
    try:
        tasks = []
        for name in links:
            container = {
                "image": "links:latest",
                "command": ["sh", "-c", f"touch /{name}/written; echo done"],
                "mountPoints": [{"sourceVolume": "v", "containerPath": f"/{name}"}],
            }
            volumes = [{"name": "v", "host": {"sourcePath": str(source)}}]
            tasks.append(run(shared, f"link-{name}", container, volumes=volumes))
            tasks.append(run(shared, f"bridge-{name}", container, volumes=volumes, networkMode="bridge"))
            container["mountPoints"][0]["containerPath"] = f"/{name}/passwd.d"
            tasks.append(run(shared, f"below-{name}", container, volumes=volumes))
        for task in tasks:
            task.stopped()
        assert sorted(os.listdir("/etc")) == before
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        assert not re.search(rf" {re.escape(str(source))} ", mounts)
        assert not re.search(r" /etc\S* .*roadstead", mounts)
    finally:
        shutil.rmtree(source)


def make_links(archive, links):
    """An image of one more layer with symbolic links, made by changing busybox's archive."""
    import hashlib
    import io
    import tarfile

    base = IMAGES / "attack-base.tar"
    subprocess.run([ROOT / "tests/images/busybox.sh", base, "--tag", "links:latest"], check=True, capture_output=True)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    layer = layer.getvalue()
    with tarfile.open(base) as old, tarfile.open(archive, "w") as new:
        manifest = json.load(old.extractfile("manifest.json"))
        config = json.load(old.extractfile(manifest[0]["Config"]))
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(layer).hexdigest())
        config.pop("history", None)
        members = {"links/layer.tar": layer, "links.json": json.dumps(config).encode()}
        manifest[0]["Layers"].append("links/layer.tar")
        manifest[0]["Config"] = "links.json"
        members["manifest.json"] = json.dumps(manifest).encode()
        for member in old.getmembers():
            if member.isfile() and member.name not in members:
                new.addfile(member, old.extractfile(member))
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))


# ---- Names


def test_a11_names_that_are_paths_are_refused(all_ran, shared):
    ecs = shared.client("ecs")
    before = set(ecs.list_task_definitions()["taskDefinitionArns"])
    names = ["../../etc", "..", "a/b", "/etc/passwd", "a\0b", "a\nb", "a b", "a" * 256, "a" * 65_536, "\u202eevil", "$(reboot)", ""]

    def refused(family="ok", container=None, **task):
        one = {"name": "main", "image": "busybox:latest", "memory": 16, **(container or {})}
        with pytest.raises(botocore.exceptions.ClientError) as error:
            ecs.register_task_definition(family=family, containerDefinitions=[one], **task)
        code, status = error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert (code, status) == ("ClientException", 400), (error.value.response, family, container, task)

    for name in names:
        refused(family=name)
        refused(container={"name": name})
        refused(volumes=[{"name": name}])
        refused(container={"mountPoints": [{"sourceVolume": name, "containerPath": "/a"}]})
        refused(container={"secrets": [{"name": name or "A=B", "valueFrom": "arn:aws:ssm:us-east-1:000000000000:parameter/p"}]})
        refused(container={"volumesFrom": [{"sourceContainer": name}]})
        refused(container={"dependsOn": [{"containerName": name, "condition": "START"}]})
    for path in ("relative", "a\0b", ""):
        refused(container={"mountPoints": [{"sourceVolume": "v", "containerPath": path}]}, volumes=[{"name": "v"}])
    refused(container={"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::bucket/../../../etc/cron.d/x.env"}]})
    assert set(ecs.list_task_definitions()["taskDefinitionArns"]) == before


# ---- Logs


LONG = 1_000_000


@runs(
    shell(
        r"""
        printf '\033[2J\033[31mred\033[0m\007\010\n'
        printf 'one\rtwo\n'
        printf '2020-01-01T00:00:00Z ERROR forged {"timestamp":0,"level":"INFO"}\n'
        printf 'bad \377\376 \300\200 bytes\n'
        printf '\0nul\0\n'
        printf '\342\200\256reversed\n'
        """
    ),
    label="odd",
)
@runs(shell(f"head -c {LONG} /dev/zero | tr '\\0' x; echo"), label="long")
def test_a22_log_lines_are_data(ran, shared):
    messages = [event["message"] for event in wait_for(lambda: ended(ran["odd"]), 60, "the odd lines")]
    assert messages[0] == "\x1b[2J\x1b[31mred\x1b[0m\x07\x08"
    assert "one\rtwo" in messages[1]
    assert messages[2].startswith("2020-01-01T00:00:00Z ERROR forged")
    assert messages[3].startswith("bad ") and messages[3].endswith(" bytes") and "\ufffd" in messages[3]
    assert "nul" in messages[4]
    assert messages[5] == "\u202ereversed"
    now = time.time() * 1000
    assert all(abs(event["timestamp"] - now) < 600_000 for event in ran["odd"].events()), "times are the machine's"
    wait_for(lambda: ended(ran["long"]), 60, "the long line")
    parts = [event["message"] for event in all_events(ran["long"])]
    assert parts[-1] == END
    assert "".join(parts[:-1]) == "x" * LONG, [len(part) for part in parts]
    assert all(len(part) <= 1 << 20 for part in parts)
    assert "\x1b" not in shared.log_text(), "what a container prints does not reach the terminal of `up`"


def all_events(ran):
    pages = ran.logs.get_paginator("filter_log_events")
    name = f"{ran.prefix}/main/{ran.id}"
    return [event for page in pages.paginate(logGroupName=GROUP, logStreamNames=[name]) for event in page["events"]]


def ended(ran):
    events = all_events(ran)
    return events if events and events[-1]["message"] == END else None


# ---- Out of the container


KEPT = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/hostname"]


@runs(
    shell(
        r"""
        mkdir /tmp/c
        for kind in cgroup cgroup2; do mount -t $kind none /tmp/c 2>/dev/null && echo mounted $kind; done
        unshare -U -m true 2>/dev/null && echo user namespace
        unshare -m true 2>/dev/null && echo mount namespace
        unshare -C true 2>/dev/null && echo cgroup namespace
        for file in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release \
            /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sysrq-trigger; do
            (echo '|/tmp/evil' > $file) 2>/dev/null && echo wrote $file
        done
        nsenter -t 1 -m -u true 2>/dev/null && echo nsenter
        chroot /proc/1/root/../../.. test -e /root/.cargo 2>/dev/null && echo chroot
        cat /proc/1/mem 2>/dev/null | head -c 1 | grep -q . && echo mem
        insmod /bin/busybox 2>/dev/null && echo module
        """
    )
)
def test_a26_escapes_fail(ran):
    before = [pathlib.Path(path).read_text() for path in KEPT if os.path.exists(path)]
    assert ran.lines() == []
    assert [pathlib.Path(path).read_text() for path in KEPT if os.path.exists(path)] == before
    assert "/tmp/evil" not in "".join(before)


# ---- Secrets


SECRET = "hunter2-this-is-nobodys-business"


def test_a28_what_is_in_the_environment_is_never_printed(all_ran, shared):
    quiet = {"image": "busybox:latest", "environment": [{"name": "PASSWORD", "value": SECRET}], "stopTimeout": 1}
    tasks = [
        run(shared, "keeps", {**quiet, "command": ["sh", "-c", STEADY]}),
        run(shared, "breaks", {**quiet, "command": ["/no/such/program"]}),
        run(shared, "lost", {**quiet, "image": "127.0.0.1:1/none"}),
        run(shared, "dies", {**quiet, "command": ["sh", "-c", "exit 3"]}),
    ]
    tasks[0].running()
    for task in tasks[1:]:
        described = task.stopped()
        assert SECRET not in json.dumps(described, default=str)
    commands = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes())
        except OSError:
            continue
    shims = subprocess.run(["pgrep", "-f", f"internal-shim.*{shared.data_dir}"], capture_output=True, text=True).stdout.split()
    assert shims, "there is something to be looked at"
    assert not any(SECRET.encode() in command for command in commands)
    for pid in shims:
        assert SECRET.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    # What is refused is not repeated either.
    ecs = shared.client("ecs")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        ecs.register_task_definition(
            family="bad",
            containerDefinitions=[{"name": "m", "image": "i", "environment": [{"name": "PASSWORD", "value": SECRET}]}],
        )
    assert SECRET not in str(error.value)
    tasks[0].stop()
    tasks[0].stopped()
    assert SECRET not in shared.log_text()
    assert shared.data_dir.stat().st_mode & 0o077 == 0, "whatever is kept is behind a door that only root opens"

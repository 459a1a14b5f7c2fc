"""Every container parameter of a task definition does what it says, seen from inside the container and from the kernel."""

import json
import os
import pathlib
import re
import shutil

import pytest
from conftest import wait_for
from task_cases import END, GROUP, all_ran, linux, ran, runs, scratch_directory, shell  # noqa: F401 - fixtures

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
HOST = scratch_directory("parameters")
HOST_SHM = pathlib.Path(f"/dev/shm/roadstead-{os.getpid()}")
# A device that no container has by default, and that may be opened without any effect.
DEVICE = next((path for path in ("/dev/loop-control", "/dev/fuse", "/dev/net/tun") if os.path.exists(path)), None)


@pytest.fixture(scope="module", autouse=True)
def scratch():
    HOST.mkdir()
    (HOST / "given").write_text("from the host\n")
    HOST_SHM.write_text("the host's shared memory\n")
    yield
    HOST_SHM.unlink()
    shutil.rmtree(HOST)


def configured(**parameters):
    return {"name": "main", "image": "configured:latest", "memory": 32, **parameters}


def sh(script):
    return ["sh", "-c", f"trap 'echo \"{END}\"' EXIT\n{script}"]


# ---- What is run


@runs(configured(), label="neither")
@runs(configured(command=["a b", "$HOME", ""]), label="command")
@runs(configured(entryPoint=["echo", "mine"]), label="entry")
@runs(configured(entryPoint=["echo", "mine"], command=["too"]), label="both")
def test_command_and_entry_point(ran):
    assert ran["neither"].lines(count=1) == ["image entry point image command"]
    assert ran["command"].lines(count=1) == ["image entry point a b $HOME "], "no shell in between"
    assert ran["entry"].lines(count=1) == ["mine"], "an entry point of the definition does away with the image's command"
    assert ran["both"].lines(count=1) == ["mine too"]
    assert ran["both"].exit_code() == 0


@runs(
    configured(
        entryPoint=sh("env; echo $0"),
        environment=[
            {"name": "OVERRIDDEN", "value": "definition"},
            {"name": "EMPTY", "value": ""},
            {"name": "ODD", "value": "a=b 'c' \"d\" $HOME ü"},
        ],
    )
)
def test_environment(ran):
    environment = dict(line.split("=", 1) for line in ran.lines() if "=" in line)
    assert environment["FROM_IMAGE"] == "image"
    assert environment["OVERRIDDEN"] == "definition"
    assert environment["EMPTY"] == ""
    assert environment["ODD"] == "a=b 'c' \"d\" $HOME ü"
    assert environment["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert environment["HOME"] == "/home", "of the user app"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["ECS_CONTAINER_METADATA_URI_V4"].startswith("http://169.254.170.2/v4/")
    assert "HOSTNAME" in environment
    assert not any("SECRET" in name or name.startswith("RUST") for name in environment), "nothing of the host's"


@runs(configured(entryPoint=sh("id; pwd")), label="image")
@runs(shell("id", user="app"), label="name")
@runs(shell("id", user="1000"), label="uid")
@runs(shell("id; echo $HOME", user="4242:20"), label="numbers")
@runs(shell("id", user="app:extra"), label="names")
@runs(shell("id", user="missing"), label="missing")
def test_user(ran):
    identity = lambda label: ran[label].lines()[0]  # noqa: E731
    assert identity("image") == "uid=1000(app) gid=1000(app) groups=20(extra)"
    assert identity("name") == "uid=1000(app) gid=1000(app) groups=20(extra)"
    assert identity("uid").startswith("uid=1000(app) gid=1000(app)")
    assert ran["numbers"].lines() == ["uid=4242 gid=20(extra)", "/"]
    assert identity("names") == "uid=1000(app) gid=20(extra)"
    task = ran["missing"].stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "unable to find user missing" in task["containers"][0]["reason"]


@runs(configured(entryPoint=sh("pwd")), label="image")
@runs(shell("pwd", workingDirectory="/tmp"), label="given")
@runs(shell("pwd; stat -c '%U %a' ."), label="missing_is_root")
@runs(shell("pwd; stat -c '%U %a' .", workingDirectory="/made/for/it", user="app"), label="made")
def test_working_directory(ran):
    assert ran["image"].lines() == ["/srv/work"]
    assert ran["given"].lines() == ["/tmp"]
    assert ran["missing_is_root"].lines()[0] == "/"
    assert ran["made"].lines() == ["/made/for/it", "root 755"], "a missing directory is made, as root's"


# ---- Privileges


@runs(
    shell(
        "for path in /x /etc/x /tmp/x /root/x; do (echo > $path) 2>/dev/null && echo wrote $path; done; "
        "echo > /dev/null && echo > /dev/shm/x && echo shm",
        readonlyRootFilesystem=True,
    ),
    label="yes",
)
@runs(shell("echo x > /x && cat /x", readonlyRootFilesystem=False), label="no")
def test_readonly_root_filesystem(ran):
    assert ran["yes"].lines() == ["shm"]
    assert ran["no"].lines() == ["x"]


CAPABILITIES = "grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | awk '{print $2}' | xargs"
HOSTNAME_AND_MOUNT = "mount -t tmpfs none /tmp && echo mounted; ls /dev | wc -l; grep Seccomp: /proc/self/status | awk '{print $2}'"


@runs(shell(f"{CAPABILITIES}; {HOSTNAME_AND_MOUNT}", privileged=True), label="yes")
@runs(shell(f"({CAPABILITIES}; {HOSTNAME_AND_MOUNT}) 2>/dev/null", privileged=False), label="no")
def test_privileged(ran):
    capabilities, mounted, devices, seccomp = ran["yes"].lines()
    (bounding,) = re.findall(r"CapBnd:\s(\w+)", pathlib.Path("/proc/self/status").read_text())
    assert capabilities.split()[:3] == [bounding] * 3, "all that the host has"
    assert (mounted, seccomp) == ("mounted", "0")
    assert int(devices) > 15, "the host's devices"
    capabilities, devices, seccomp = ran["no"].lines()
    assert capabilities.split() == ["00000000a80425fb"] * 3 + ["0" * 16]
    assert (devices, seccomp) == ("14", "2")


def capability_bits(*numbers):
    return f"{sum(1 << number for number in numbers):016x}"


DEFAULT = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]


@runs(shell(CAPABILITIES, **linux(capabilities={"add": ["NET_ADMIN", "SYS_TIME"]})), label="add")
@runs(
    shell(f"{CAPABILITIES}; chown 1 /tmp 2>&1", **linux(capabilities={"drop": ["CHOWN", "MKNOD"]})), label="drop"
)
@runs(shell(CAPABILITIES, **linux(capabilities={"drop": ["ALL"]})), label="drop_all")
@runs(shell(CAPABILITIES, **linux(capabilities={"add": ["KILL"], "drop": ["ALL"]})), label="only_one")
@runs(shell(CAPABILITIES, **linux(capabilities={"add": ["ALL"], "drop": ["SYS_ADMIN"]})), label="all_but_one")
@runs(
    shell(f"{CAPABILITIES}; ip link set lo mtu 1400 2>&1", user="app", **linux(capabilities={"add": ["NET_ADMIN"]})),
    label="user",
)
def test_capabilities(ran):
    sets = lambda label: ran[label].lines()[0].split()  # noqa: E731
    assert sets("add")[:3] == [capability_bits(*DEFAULT, 12, 25)] * 3
    assert sets("drop")[:3] == [capability_bits(*set(DEFAULT) - {0, 27})] * 3
    assert "Operation not permitted" in ran["drop"].lines()[1]
    assert sets("drop_all") == ["0" * 16] * 4
    assert sets("only_one")[:3] == [capability_bits(5)] * 3
    (bounding,) = re.findall(r"CapBnd:\s(\w+)", pathlib.Path("/proc/self/status").read_text())
    assert int(sets("all_but_one")[1], 16) == int(bounding, 16) & ~(1 << 21)
    assert sets("user") == ["0" * 16, "0" * 16, capability_bits(*DEFAULT, 12), "0" * 16], "not effective for a user"


OPEN_DEVICE = "(: < $D) 2>/dev/null && echo read; (: >> $D) 2>/dev/null && echo write; "


def device(*permissions, **more):
    return linux(devices=[{"hostPath": DEVICE, "containerPath": "/dev/given", "permissions": list(permissions)}], **more)


@pytest.mark.skipif(DEVICE is None, reason="this machine has no spare device")
@runs(shell("D=/dev/given; " + OPEN_DEVICE, **device("read", "write")), label="read_write")
@runs(shell("D=/dev/given; " + OPEN_DEVICE, **device("read")), label="read")
@runs(shell("D=/dev/given; " + OPEN_DEVICE, **linux(devices=[{"hostPath": DEVICE, "containerPath": "/dev/given"}])), label="all")
@runs(
    shell(
        f"mknod /tmp/own c {os.major(os.stat(DEVICE).st_rdev)} {os.minor(os.stat(DEVICE).st_rdev)} && echo made; "
        f"D=/tmp/own; {OPEN_DEVICE}"
        if DEVICE
        else "true"
    ),
    label="denied",
)
def test_devices(ran):
    assert ran["read_write"].lines() == ["read", "write"]
    assert ran["read"].lines() == ["read"]
    assert ran["all"].lines() == ["read", "write"]
    assert ran["denied"].lines() == ["made"], "a device that was not given cannot be opened, though its node can be made"


@runs(shell("grep NoNewPrivs /proc/self/status", dockerSecurityOptions=["no-new-privileges"]), label="yes")
@runs(shell("grep NoNewPrivs /proc/self/status"), label="no")
def test_docker_security_options(ran):
    assert ran["yes"].lines() == ["NoNewPrivs:\t1"]
    assert ran["no"].lines() == ["NoNewPrivs:\t0"]


# ---- Processes, memory, kernel parameters


@runs(
    shell(
        "cat /proc/1/comm; echo $$; (sh -c 'sleep 0.1 & echo $! > /tmp/orphan'); sleep 0.6; "
        "test -e /proc/$(cat /tmp/orphan) || echo reaped",
        **linux(initProcessEnabled=True),
    ),
    label="yes",
)
@runs(shell("trap 'echo told; exit 42' TERM; echo up; while :; do sleep 0.1; done", **linux(initProcessEnabled=True)), label="signals")
@runs(shell("cat /proc/1/comm; echo $$"), label="no")
def test_init_process_enabled(ran):
    comm, pid, reaped = ran["yes"].lines()
    assert comm != "sh" and int(pid) > 1 and reaped == "reaped"
    assert ran["no"].lines() == ["sh", "1"]
    ran["signals"].lines(count=1)
    ran["signals"].stop()
    assert ran["signals"].lines() == ["up", "told"]
    assert ran["signals"].exit_code() == 42


SHM = "df -k /dev/shm | tail -1 | awk '{print $2}'"


@runs(shell(SHM, **linux(sharedMemorySize=16)), label="given")
@runs(shell(SHM), label="default")
def test_shared_memory_size(ran):
    assert ran["given"].lines() == [str(16 << 10)]
    assert ran["default"].lines() == [str(64 << 10)], "Docker's default"


@runs(
    shell(
        "grep ' /scratch ' /proc/mounts; df -k /scratch | tail -1 | awk '{print $2}'; stat -c '%a %u' /scratch; "
        "cp /bin/busybox /scratch/sh 2>/dev/null; /scratch/sh true 2>&1 | grep -o 'Permission denied'; "
        "dd if=/dev/zero of=/scratch/big bs=1M count=9 2>&1 | grep -o 'No space left on device'; "
        "(echo > /cache/x) 2>&1 | grep -o 'Read-only file system'",
        **linux(
            tmpfs=[
                {"containerPath": "/scratch", "size": 8, "mountOptions": ["noexec", "mode=700", "uid=1000"]},
                {"containerPath": "/cache", "size": 1, "mountOptions": ["ro"]},
            ]
        ),
    )
)
def test_tmpfs(ran):
    mount, size, mode, noexec, full, readonly = ran.lines()
    assert mount.split()[2] == "tmpfs" and {"noexec", "nosuid", "nodev"} <= set(mount.split()[3].split(","))
    assert (size, mode) == (str(8 << 10), "700 1000")
    assert (noexec, full) == ("Permission denied", "No space left on device")
    assert readonly == "Read-only file system"


@runs(shell(SLEEP, **linux(maxSwap=64, swappiness=10)), label="given")
@runs(shell(SLEEP, **linux(maxSwap=0)), label="none")
def test_swap(ran):
    if not pathlib.Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() and not pathlib.Path(
        "/sys/fs/cgroup/cgroup.controllers"
    ).exists():
        pytest.skip("test_swap: the kernel keeps no account of swap (swapaccount=1 on its command line)")
    v1 = pathlib.Path("/sys/fs/cgroup/memory").exists()
    limit = int(ran["given"].cgroup("memory/memory.memsw.limit_in_bytes", "memory.swap.max"))
    assert limit == (96 << 20 if v1 else 64 << 20), "cgroup v1 counts memory and swap together"
    limit = int(ran["none"].cgroup("memory/memory.memsw.limit_in_bytes", "memory.swap.max"))
    assert limit == (32 << 20 if v1 else 0)
    if v1:
        assert ran["given"].cgroup("memory/memory.swappiness", "") == "10"


@runs(
    shell(
        "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hs; grep processes /proc/self/limits",
        ulimits=[
            {"name": "nofile", "softLimit": 123, "hardLimit": 456},
            {"name": "core", "softLimit": 0, "hardLimit": 0},
            {"name": "stack", "softLimit": 4 << 20, "hardLimit": 16 << 20},
            {"name": "nproc", "softLimit": 77, "hardLimit": 77},
        ],
    )
)
def test_ulimits(ran):
    *numbers, processes = ran.lines()
    assert numbers == ["123", "456", "0", str(16 << 10)]
    assert processes.split()[2:4] == ["77", "77"]


@runs(
    shell(
        "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/msgmax",
        systemControls=[
            {"namespace": "net.ipv4.ip_default_ttl", "value": "77"},
            {"namespace": "net.ipv4.ip_local_port_range", "value": "2000 3000"},
            {"namespace": "kernel.msgmax", "value": "9999"},
        ],
    )
)
def test_system_controls(ran):
    assert ran.lines() == ["77", "2000\t3000", "9999"]
    assert pathlib.Path("/proc/sys/net/ipv4/ip_default_ttl").read_text().strip() != "77", "the host's is as it was"


# ---- Volumes


@runs(
    shell(
        "cat /rw/given /ro/given; echo from inside > /rw/made; (echo > /ro/x) 2>&1 | grep -o 'Read-only file system'; cat /ro/made",
        mountPoints=[
            {"sourceVolume": "host", "containerPath": "/rw"},
            {"sourceVolume": "host", "containerPath": "/ro", "readOnly": True},
            {"sourceVolume": "new", "containerPath": "/new"},
        ],
    ),
    volumes=[{"name": "host", "host": {"sourcePath": str(HOST)}}, {"name": "new", "host": {"sourcePath": str(HOST / "a/b")}}],
)
def test_host_volume(ran):
    assert ran.lines() == ["from the host", "from the host", "Read-only file system", "from inside"]
    assert (HOST / "made").read_text() == "from inside\n"
    assert (HOST / "a/b").is_dir(), "a missing host path is made, as Docker does"


@runs(
    shell("echo from the writer > /w/file", name="writer", essential=False, mountPoints=[{"sourceVolume": "v", "containerPath": "/w"}]),
    shell(
        "cat /r/file; (echo > /r/x) 2>&1 | grep -o 'Read-only file system'",
        mountPoints=[{"sourceVolume": "v", "containerPath": "/r", "readOnly": True}],
        dependsOn=[{"containerName": "writer", "condition": "SUCCESS"}],
    ),
    volumes=[{"name": "v"}],
)
def test_task_volume_is_shared_and_goes_with_the_task(ran):
    assert ran.lines() == ["from the writer", "Read-only file system"]
    ran.stopped()
    directory = ran.roadstead.data_dir / "agent/volumes/tasks" / ran.id
    wait_for(lambda: not directory.exists(), 30, "the end of the volume")


@runs(
    configured(
        entryPoint=sh("cat /data/seed; cat /mounted/seed 2>&1 | grep -o 'No such file'; echo > /data/own && echo wrote"),
        user="0",
        mountPoints=[{"sourceVolume": "v", "containerPath": "/mounted"}],
    ),
    label="image_volume",
    volumes=[{"name": "v"}],
)
@runs(
    configured(
        entryPoint=sh("cat /data/seed; echo changed > /data/seed && cat /data/seed"),
        user="0",
        mountPoints=[{"sourceVolume": "v", "containerPath": "/data"}],
    ),
    label="over_the_image_volume",
    volumes=[{"name": "v"}],
)
def test_volumes_of_the_image(ran):
    assert ran["image_volume"].lines() == ["from the image", "No such file", "wrote"]
    assert ran["over_the_image_volume"].lines() == ["from the image", "changed"], "a fresh volume takes over the image's files"


SHARED = {"name": "shared-one", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True, "driver": "local"}}
MISSING = {"name": "shared-missing", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": False, "driver": "local"}}


@runs(shell("echo from $HOSTNAME > /v/file; cat /v/file", mountPoints=[{"sourceVolume": "shared-one", "containerPath": "/v"}]), label="writer", volumes=[SHARED])
@runs(
    shell(
        "for i in $(seq 300); do test -s /v/file && break; sleep 0.1; done; cat /v/file",
        mountPoints=[{"sourceVolume": "shared-one", "containerPath": "/v"}],
    ),
    label="reader",
    volumes=[SHARED],
)
@runs(shell("true", mountPoints=[{"sourceVolume": "shared-missing", "containerPath": "/v"}]), label="missing", volumes=[MISSING])
def test_docker_volume_of_scope_shared(ran):
    assert ran["reader"].lines() == ran["writer"].lines()
    task = ran["missing"].stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "shared-missing" in task["containers"][0]["reason"]


@runs(
    shell(
        "echo one > /v/file; echo two > /w/file",
        name="source",
        essential=False,
        mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}, {"sourceVolume": "w", "containerPath": "/w"}],
    ),
    shell(
        "for i in $(seq 100); do test -s /w/file && break; sleep 0.1; done; cat /v/file /w/file; "
        "(echo > /v/x) 2>&1 | grep -o 'Read-only file system'",
        volumesFrom=[{"sourceContainer": "source", "readOnly": True}],
    ),
    shell("echo > /v/y && echo wrote", name="writer", essential=False, volumesFrom=[{"sourceContainer": "source"}]),
    volumes=[{"name": "v"}, {"name": "w"}],
)
def test_volumes_from(ran):
    assert ran.lines() == ["one", "two", "Read-only file system"]
    assert ran.lines("writer") == ["wrote"]


# ---- Names and networks


@runs(
    shell(
        "hostname; grep -w example.test /etc/hosts; grep -c $(hostname) /etc/hosts; cat /etc/resolv.conf",
        hostname="box.example.com",
        extraHosts=[{"hostname": "example.test", "ipAddress": "192.0.2.7"}, {"hostname": "six.example.test", "ipAddress": "2001:db8::7"}],
        dnsServers=["192.0.2.53", "192.0.2.54"],
        dnsSearchDomains=["one.example", "two.example"],
    )
)
def test_names(ran):
    lines = ran.lines()
    assert lines[0] == "box.example.com" or lines[0] == "box", lines
    assert "192.0.2.7\texample.test" in lines
    assert any(line.split()[:1] == ["search"] and line.split()[1:] == ["one.example", "two.example"] for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("nameserver")] == ["192.0.2.53", "192.0.2.54"]


@runs(shell("ls /sys/class/net | xargs; readlink /proc/self/ns/net"), label="host", networkMode="host")
@runs(shell("ls /sys/class/net | xargs; readlink /proc/self/ns/net", disableNetworking=True), label="disabled", networkMode="host")
@runs(shell("ls /sys/class/net | xargs; ping -c 1 127.0.0.1 | grep -c '1 packets received'; readlink /proc/self/ns/net"), label="none")
@runs(shell("ip addr show lo | grep -c 'inet 127.0.0.1'", user="app"), label="none_as_user")
@runs(
    shell("ls /sys/class/net | xargs; ip -o -4 addr show | awk '{print $4}' | xargs; ip route | head -1; readlink /proc/self/ns/net"),
    label="awsvpc",
    networkMode="awsvpc",
)
def test_network_modes(ran):
    host = os.readlink("/proc/self/ns/net")
    assert ran["host"].lines()[1] == host
    links, namespace = ran["disabled"].lines()
    assert links == "lo" and namespace != host
    links, loopback, namespace = ran["none"].lines()
    assert (links, loopback) == ("lo", "1") and namespace != host
    assert ran["none_as_user"].lines() == ["1"]
    links, addresses, route, namespace = ran["awsvpc"].lines()
    details = {one["name"]: one["value"] for one in ran["awsvpc"].describe()["attachments"][0]["details"]}
    assert any(address.startswith(details["privateIPv4Address"] + "/") for address in addresses.split())
    assert route.startswith("default via ") and namespace != host


@runs(shell(f"tr '\\0' ' ' < /proc/{os.getpid()}/cmdline; echo; readlink /proc/self/ns/pid"), label="host", pidMode="host")
@runs(
    shell("for i in $(seq 100); do ps | grep -q '[m]arker-of-this' && break; sleep 0.1; done; ps | grep -o '[m]arker-of-this' | head -1; readlink /proc/self/ns/pid"),
    shell("readlink /proc/self/ns/pid; sh -c 'sleep 30; : marker-of-this'", name="other", essential=False),
    label="task",
    pidMode="task",
)
@runs(shell("ps | grep -c pytest; readlink /proc/self/ns/pid"), shell("readlink /proc/self/ns/pid; sleep 1", name="other"), label="own")
def test_pid_mode(ran):
    host = os.readlink("/proc/self/ns/pid")
    command, namespace = ran["host"].lines()
    assert "pytest" in command and namespace == host
    marker, namespace = ran["task"].lines()
    assert marker == "marker-of-this"
    assert ran["task"].lines("other", count=1)[0] == namespace != host
    _, namespace = ran["own"].lines()
    assert namespace not in (host, ran["own"].lines("other", count=1)[0])


IPC = "readlink /proc/self/ns/ipc"


@runs(shell(f"cat /dev/shm/{HOST_SHM.name}; {IPC}"), label="host", ipcMode="host")
@runs(
    shell(f"echo shared > /dev/shm/x; {IPC}", name="other", essential=False),
    shell(f"cat /dev/shm/x; {IPC}", dependsOn=[{"containerName": "other", "condition": "SUCCESS"}]),
    label="task",
    ipcMode="task",
)
@runs(
    shell(f"(echo > /dev/shm/x) 2>/dev/null && echo wrote; grep -c /dev/shm /proc/mounts; {IPC}"),
    shell(f"{IPC}; sleep 1", name="other"),
    label="none",
    ipcMode="none",
)
def test_ipc_mode(ran):
    host = os.readlink("/proc/self/ns/ipc")
    assert ran["host"].lines() == ["the host's shared memory", host]
    shared, namespace = ran["task"].lines()
    assert shared == "shared"
    assert [namespace] == ran["task"].lines("other") and namespace != host
    lines = ran["none"].lines()
    assert lines[-2] == "0", f"no /dev/shm is mounted: {lines}"
    assert lines[-1] not in (host, ran["none"].lines("other", count=1)[0])


# ---- Terminal and input


@runs(shell("test -t 0 && test -t 1 && test -t 2 && tty; stty size", pseudoTerminal=True), label="yes")
@runs(shell("test -t 0 || test -t 1 || echo none"), label="no")
def test_pseudo_terminal(ran):
    assert ran["yes"].lines()[0].startswith("/dev/")
    assert ran["no"].lines() == ["none"]


@runs(shell("timeout 1 cat; echo $?", interactive=True), label="yes")
@runs(shell("timeout 5 cat; echo $?"), label="no")
def test_interactive(ran):
    assert "143" in ran["yes"].lines(), "standard input stays open"
    assert ran["no"].lines() == ["0"], "standard input is at its end"


@runs(
    configured(
        entryPoint=sh("wget -qO- $ECS_CONTAINER_METADATA_URI_V4; echo; wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task; echo"),
        dockerLabels={"own": "a b", "overridden": "definition"},
    ),
    networkMode="awsvpc",
    cpu="128",
    memory="64",
    run={"tags": [{"key": "k", "value": "v"}]},
)
def test_docker_labels_and_metadata(ran):
    container, task = [json.loads(line) for line in ran.lines() if line]
    labels = container["Labels"]
    assert labels["own"] == "a b" and labels["overridden"] == "definition" and labels["from-image"] == "yes"
    assert labels["com.amazonaws.ecs.container-name"] == "main"
    assert labels["com.amazonaws.ecs.task-arn"] == ran.arn == task["TaskARN"]
    assert container["Image"] == "configured:latest"
    assert task["Family"] == "docker_labels_and_metadata" and task["Revision"] == "1"
    assert task["LaunchType"] == "EC2"
    assert task["Limits"] == {"CPU": 0.125, "Memory": 64}


# ---- cpu and memory


@runs(shell(SLEEP, memory=48, memoryReservation=24, cpu=256), label="both")
@runs({**{key: value for key, value in shell(SLEEP).items() if key != "memory"}, "memoryReservation": 24}, label="soft")
def test_container_cpu_and_memory(ran):
    both, soft = ran["both"], ran["soft"]
    assert both.cgroup("memory/memory.limit_in_bytes", "memory.max") == str(48 << 20)
    assert both.cgroup("memory/memory.soft_limit_in_bytes", "memory.low") == str(24 << 20)
    v1 = pathlib.Path("/sys/fs/cgroup/cpu").exists()
    # 1024 shares are weight 39 of 10000 by the kernel documentation's formula: 1 + (shares - 2) * 9999 / 262142.
    assert both.cgroup("cpu/cpu.shares", "cpu.weight") == ("256" if v1 else "10")
    assert soft.cgroup("memory/memory.soft_limit_in_bytes", "memory.low") == str(24 << 20)
    limit = soft.cgroup("memory/memory.limit_in_bytes", "memory.max")
    assert limit == "max" or int(limit) > 1 << 60
    assert soft.cgroup("cpu/cpu.shares", "cpu.weight") == ("2" if v1 else "1")


@runs(shell(SLEEP), label="limits", cpu="512", memory="64")
@runs(shell(SLEEP), label="override", cpu="512", memory="64", run={"overrides": {"cpu": "256", "memory": "128"}})
@runs({"name": "main", "image": "busybox:latest", "command": ["sh", "-c", "tail /dev/zero"]}, label="oom", memory="16", cpu="128")
def test_task_cpu_and_memory(ran):
    for label, quota, memory in (("limits", 50_000, 64 << 20), ("override", 25_000, 128 << 20)):
        task = ran[label]
        assert task.cgroup("cpu/cpu.cfs_quota_us", "cpu.max", of="task").split()[0] == str(quota)
        assert task.cgroup("memory/memory.limit_in_bytes", "memory.max", of="task") == str(memory)
    assert (ran["override"].describe()["cpu"], ran["override"].describe()["memory"]) == ("256", "128")
    assert ran["oom"].exit_code() == 137
    assert ran["oom"].container()["reason"].startswith("OutOfMemoryError"), "the task's limit kills too"


@runs({"name": "main", "image": "busybox:latest", "command": ["sh", "-c", "tail /dev/zero"], "memory": 8}, label="first")
@runs(shell("tail /dev/zero; echo killed $?", memory=16), label="child")
def test_out_of_memory(ran):
    task = ran["first"].stopped()
    (container,) = task["containers"]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert (task["stopCode"], task["stoppedReason"]) == ("EssentialContainerExited", "Essential container in task exited")
    assert "killed 137" in ran["child"].lines()[-1]


@runs(
    shell("echo definition"),
    label="all",
    run={
        "overrides": {
            "containerOverrides": [
                {
                    "name": "main",
                    "command": ["sh", "-c", f"echo $ADDED $OVERRIDDEN; {SLEEP}"],
                    "environment": [{"name": "ADDED", "value": "added"}, {"name": "OVERRIDDEN", "value": "override"}],
                    "cpu": 128,
                    "memory": 56,
                    "memoryReservation": 20,
                }
            ]
        }
    },
)
@runs(
    shell("echo $DEFINED $OVERRIDDEN", environment=[{"name": "DEFINED", "value": "d"}, {"name": "OVERRIDDEN", "value": "d"}]),
    label="environment",
    run={"overrides": {"containerOverrides": [{"name": "main", "environment": [{"name": "OVERRIDDEN", "value": "o"}]}]}},
)
def test_container_overrides(ran):
    task = ran["all"]
    assert task.lines(count=1) == ["added override"]
    assert task.cgroup("memory/memory.limit_in_bytes", "memory.max") == str(56 << 20)
    assert task.cgroup("memory/memory.soft_limit_in_bytes", "memory.low") == str(20 << 20)
    if pathlib.Path("/sys/fs/cgroup/cpu").exists():
        assert task.cgroup("cpu/cpu.shares", "") == "128"
    (override,) = task.describe()["overrides"]["containerOverrides"]
    assert (override["cpu"], override["memory"]) == (128, 56)
    assert ran["environment"].lines() == ["d o"]


# ---- Logs


def logs(driver="awslogs", **options):
    options = {name.replace("_", "-"): value for name, value in options.items()}
    if driver == "awslogs":
        options = {"awslogs-group": GROUP, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "options", **options}
    return {"logConfiguration": {"logDriver": driver, "options": {name: value for name, value in options.items() if value}}}


FARGATE = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}
# Allocating writes nothing, so that a task's whole storage can be filled at once.
FILL = "fallocate -l 12G /fill && echo first; fallocate -l 12G /scratch/fill 2>&1 || echo second; df -k / | tail -1 | awk '{print $2}'"


@runs(
    shell(f"{FILL}; rm -f /fill; fallocate -l 12G /scratch/again && echo third", mountPoints=[{"sourceVolume": "scratch", "containerPath": "/scratch"}]),
    run={"launchType": "FARGATE"},
    label="default",
    volumes=[{"name": "scratch"}],
    **FARGATE,
)
@runs(
    shell(f"{FILL}; touch /scratch/filled; {SLEEP}", mountPoints=[{"sourceVolume": "scratch", "containerPath": "/scratch"}]),
    shell(
        "until [ -e /scratch/filled ]; do sleep 0.1; done; fallocate -l 12G /other 2>&1 || echo none left",
        name="other",
        essential=False,
        mountPoints=[{"sourceVolume": "scratch", "containerPath": "/scratch"}],
    ),
    run={"launchType": "FARGATE"},
    label="asked_for",
    volumes=[{"name": "scratch"}],
    ephemeralStorage={"sizeInGiB": 30},
    **FARGATE,
)
def test_ephemeral_storage(ran):
    lines = ran["default"].lines()
    assert lines[0] == "first" and "No space left on device" in lines[1] and lines[2] == "second", lines
    assert 19 << 20 <= int(lines[3]) <= 20 << 20, "20 GiB, less the file system's own tables"
    assert lines[4] == "third", "what is deleted can be had again"
    assert ran["default"].describe()["ephemeralStorage"] == {"sizeInGiB": 20}
    lines = ran["asked_for"].lines(count=2)
    assert lines[0] == "first" and 29 << 20 <= int(lines[1]) <= 30 << 20, lines
    other = ran["asked_for"].lines("other")
    assert "No space left on device" in other[0] and other[1] == "none left", "the containers of a task share it"


TRACE = "echo '[1] first'; echo '  at a'; echo '  at b'; echo '[2] second'; sleep 0.2"
DATES = "echo '2026-11-22 10:00:01 first'; echo more; echo '2026-11-22 10:00:02 second'; sleep 0.2"


@runs(shell(TRACE, **logs(awslogs_multiline_pattern=r"^\[\d+\]")), label="multiline")
@runs(shell(DATES, **logs(awslogs_datetime_format="%Y-%m-%d %H:%M:%S")), label="datetime")
@runs(shell("echo out; echo err >&2; seq 1000", **logs(mode="blocking")), label="blocking")
@runs(shell("seq 1000", **logs(**{"mode": "non-blocking", "max-buffer-size": "4m"})), label="non_blocking")
@runs(shell("echo made", **logs(awslogs_group="/made-for-it", awslogs_create_group="true")), label="create")
@runs(shell("echo none", **logs(awslogs_group="/not-there")), label="missing")
@runs(shell("echo alone", **logs(awslogs_stream_prefix="")), label="no_prefix")
def test_awslogs_options(ran):
    def messages(label, name="main"):
        task = ran[label]
        task.prefix = "options"
        wait_for(lambda: any(END in event["message"] for event in task.events(name)), 60, f"the log of {label}")
        return [event["message"] for event in task.events(name)]

    first, second = messages("multiline")
    assert first.rstrip("\n") == "[1] first\n  at a\n  at b"
    assert second.startswith("[2] second")
    first, second = messages("datetime")
    assert first.rstrip("\n") == "2026-11-22 10:00:01 first\nmore"
    blocking = messages("blocking")
    assert len(blocking) == 1003 and {"out", "err", "1", "1000"} <= set(blocking)
    assert messages("non_blocking") == [*map(str, range(1, 1001)), END]
    logs_client = ran["create"].logs
    wait_for(lambda: ran["create"].stopped())
    streams = wait_for(
        lambda: logs_client.describe_log_streams(logGroupName="/made-for-it")["logStreams"], what="the stream"
    )
    assert [stream["logStreamName"] for stream in streams] == [f"options/main/{ran['create'].id}"]
    stream = ran["no_prefix"].stopped()["containers"][0]["runtimeId"]
    alone = wait_for(
        lambda: logs_client.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)["events"], what="the stream"
    )
    assert alone[0]["message"] == "alone", "without a prefix the stream has the container's id"
    task = ran["missing"].stopped()
    assert task["stopCode"] == "TaskFailedToStart"
    assert "failed to create Cloudwatch log stream" in task["containers"][0]["reason"]
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError")


@runs(shell(f"echo into the file; echo and errors >&2; {SLEEP}", **logs("json-file", **{"max-size": "1m", "max-file": "2"})), label="json_file")
@runs(shell("echo nothing of this", **logs("none")), label="none")
def test_other_log_drivers(ran):
    task = ran["json_file"]
    task.running()
    runtime_id = task.container()["runtimeId"]

    def records():
        files = (task.roadstead.data_dir / "agent/logs" / runtime_id).glob("*.log")
        records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return records if len(records) == 2 else None

    written = {record["stream"]: record["log"] for record in wait_for(records, what="the records")}
    assert written == {"stdout": "into the file\n", "stderr": "and errors\n"}
    assert ran["none"].exit_code() == 0
    assert ran["none"].events() == [] and task.events() == []

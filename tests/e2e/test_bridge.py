"""The network mode bridge: an address for each container, ports of the host that lead to them, links; what survives, what is left."""

import json
import pathlib
import re
import socket
import subprocess
import urllib.request

import pytest
from conftest import busybox_archive, free_port, left_behind, machine_state, wait_for

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.2; done"


def web(name="web", text="$(hostname)", mappings=(), before="", **parameters):
    """A container that serves `text` at port 80."""
    script = f"mkdir -p /www; {before} echo \"{text}\" > /www/index.html; exec httpd -f -p 80 -h /www"
    container = {"name": name, "image": "busybox:latest", "memory": 32, "command": ["sh", "-c", script], "stopTimeout": 2}
    return {**container, "portMappings": list(mappings), **parameters}


def register(roadstead, family, *containers, **parameters):
    roadstead.aws(
        "ecs", "register-task-definition", "--family", family, "--container-definitions", json.dumps(containers),
        *(word for name, value in parameters.items() for word in (f"--{name.replace('_', '-')}", value)),
    )  # fmt: skip


def run(roadstead, family, count=1):
    started = roadstead.aws("ecs", "run-task", "--task-definition", family, "--count", str(count))
    arns = [task["taskArn"] for task in started["tasks"]]
    if arns:
        roadstead.aws("ecs", "wait", "tasks-running", "--tasks", *arns)
    return arns, started["failures"]


def bindings(roadstead, arn, name="web"):
    (task,) = roadstead.aws("ecs", "describe-tasks", "--tasks", arn)["tasks"]
    (container,) = [container for container in task["containers"] if container["name"] == name]
    return container["networkBindings"]


def stop(roadstead, *arns):
    for arn in arns:
        roadstead.aws("ecs", "stop-task", "--task", arn)
    roadstead.aws("ecs", "wait", "tasks-stopped", "--tasks", *arns)


def get(port, host="127.0.0.1", path="/"):
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def served(port, host="127.0.0.1", path="/"):
    """What is served there, once the program in the container listens."""

    def try_to_get():
        try:
            return get(port, host, path)
        except OSError:
            return None

    return wait_for(try_to_get, what=f"an answer at {host}:{port}")


def refused(port, host="127.0.0.1"):
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex((host, port)) != 0


def own_address():
    """An address of this machine that is not loopback's."""
    shown = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, text=True, check=True).stdout
    links = [link for link in json.loads(shown) if not link["ifname"].startswith(("lo", "rs", "docker", "br-"))]
    addresses = [address["local"] for link in links for address in link["addr_info"]]
    if not addresses:
        pytest.skip("this machine has no address but loopback's")
    return addresses[0]


def test_a_fixed_port_is_reached_and_had_once(roadstead):
    port = free_port()
    register(roadstead, "fixed", web(mappings=[{"containerPort": 80, "hostPort": port}]))
    (task,), failures = run(roadstead, "fixed")
    assert failures == []
    expected = {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": port, "protocol": "tcp"}
    assert bindings(roadstead, task) == [expected]
    name = served(port).strip()
    assert len(name) == 12, "the container's own host name, as Docker gives it"
    assert served(port, own_address()).strip() == name
    none, failures = run(roadstead, "fixed")
    assert none == [] and failures[0]["reason"] == "RESOURCE:PORTS"
    instances = roadstead.aws("ecs", "list-container-instances")["containerInstanceArns"]
    described = roadstead.aws("ecs", "describe-container-instances", "--container-instances", *instances)
    (ports,) = [r for r in described["containerInstances"][0]["remainingResources"] if r["name"] == "PORTS"]
    assert str(port) in ports["stringSetValue"]
    stop(roadstead, task)
    assert refused(port)
    (again,), failures = run(roadstead, "fixed")
    assert failures == []
    assert served(port).strip() != name
    stop(roadstead, again)


def test_two_tasks_on_port_80_live_on_one_machine(roadstead):
    register(roadstead, "any", web(mappings=[{"containerPort": 80}]), network_mode="bridge")
    tasks, failures = run(roadstead, "any", count=2)
    assert failures == [] and len(tasks) == 2
    ports = []
    for task in tasks:
        (binding,) = bindings(roadstead, task)
        assert binding["containerPort"] == 80 and binding["protocol"] == "tcp"
        ports.append(binding["hostPort"])
    assert len({served(port) for port in ports}) == 2
    # Nobody who asks for one of them by number gets it on this machine.
    register(roadstead, "taken", web(mappings=[{"containerPort": 80, "hostPort": ports[0]}]))
    assert run(roadstead, "taken")[1][0]["reason"] == "RESOURCE:PORTS"
    stop(roadstead, *tasks)
    assert all(refused(port) for port in ports)


# busybox has nothing that serves UDP: the host's Python does, in the container's network.
ECHO = """
import socket, select
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for one, port in zip(sockets, (7001, 53)):
    one.bind(("0.0.0.0", port))
while True:
    for one in select.select(sockets, [], [])[0]:
        words, peer = one.recvfrom(64)
        one.sendto(words + str(one.getsockname()[1]).encode(), peer)
"""


def test_ranges_and_udp(roadstead):
    mappings = [
        {"containerPortRange": "7000-7002", "protocol": "udp"},
        {"containerPortRange": "7000-7001", "protocol": "tcp"},
        {"containerPort": 53, "protocol": "udp"},
    ]
    echo = {
        "name": "echo",
        "image": "busybox:latest",
        "memory": 64,
        "stopTimeout": 2,
        "command": ["sh", "-c", 'httpd -p 7001 -h /; exec chroot /host python3 -c "$0"', ECHO],
        "portMappings": mappings,
        "mountPoints": [{"sourceVolume": "host", "containerPath": "/host", "readOnly": True}],
    }
    register(roadstead, "ranges", echo, volumes=json.dumps([{"name": "host", "host": {"sourcePath": "/"}}]))
    (task,), _ = run(roadstead, "ranges")
    udp, tcp, single = bindings(roadstead, task, "echo")
    assert (udp["containerPortRange"], udp["protocol"]) == ("7000-7002", "udp")
    assert (tcp["containerPortRange"], tcp["protocol"]) == ("7000-7001", "tcp")
    first, last = map(int, udp["hostPortRange"].split("-"))
    assert last - first == 2
    second = int(tcp["hostPortRange"].split("-")[1])
    wait_for(lambda: not refused(second), what="the second port of the range")
    for port, answer in ((first + 1, b"hello7001"), (single["hostPort"], b"hello53")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)

            def answered():
                client.sendto(b"hello", ("127.0.0.1", port))
                try:
                    return client.recv(64) == answer
                except OSError:
                    return False

            wait_for(answered, what=f"an echo at {port}")
    stop(roadstead, task)


def test_links_hosts_and_names(roadstead):
    database = web("db", text="stored", mappings=[{"containerPort": 80}], environment=[{"name": "COLOUR", "value": "red"}])
    shows = "cp /etc/hosts /www/hosts; env > /www/env; cp /etc/resolv.conf /www/resolv; hostname > /www/name;"
    links = {
        "links": ["db:store"],
        "hostname": "front",
        "extraHosts": [{"hostname": "elsewhere", "ipAddress": "192.0.2.7"}],
        "dnsServers": ["192.0.2.53"],
        "dnsSearchDomains": ["example.test"],
    }
    waits = "until wget -qO /www/db http://store/; do sleep 0.1; done;"
    register(roadstead, "linked", web(mappings=[{"containerPort": 80}], before=waits + shows, **links), database)
    (task,), _ = run(roadstead, "linked")
    port = bindings(roadstead, task)[0]["hostPort"]
    served(port)
    assert get(port, path="/db").strip() == "stored"
    assert get(port, path="/name").strip() == "front"
    hosts = [line.split() for line in get(port, path="/hosts").splitlines()]
    (address,) = {line[0] for line in hosts if line[1] == "store"}
    assert ["192.0.2.7", "elsewhere"] in hosts and any(line[1] == "front" for line in hosts)
    environment = dict(line.split("=", 1) for line in get(port, path="/env").splitlines() if "=" in line)
    assert environment["STORE_PORT_80_TCP_ADDR"] == address
    assert environment["STORE_PORT"] == f"tcp://{address}:80"
    assert environment["STORE_ENV_COLOUR"] == "red"
    resolv = get(port, path="/resolv").splitlines()
    assert "nameserver 192.0.2.53" in resolv and "search example.test" in resolv
    stop(roadstead, task)


def test_metadata_tells_containers_apart(roadstead):
    # Its ports are there with the first instruction.
    shows = "wget -qO /www/me $ECS_CONTAINER_METADATA_URI_V4; wget -qO /www/task $ECS_CONTAINER_METADATA_URI_V4/task;"
    mappings = [{"containerPort": 80}]
    register(roadstead, "asking", web("one", mappings=mappings, before=shows), web("two", mappings=mappings, before=shows))
    (task,), _ = run(roadstead, "asking")
    addresses = set()
    for name in ("one", "two"):
        (binding,) = bindings(roadstead, task, name)
        served(binding["hostPort"])
        me = json.loads(get(binding["hostPort"], path="/me"))
        assert me["Name"] == name
        assert me["Ports"] == [
            {"ContainerPort": 80, "Protocol": "tcp", "HostPort": binding["hostPort"], "HostIp": "0.0.0.0"}
        ]
        (network,) = me["Networks"]
        assert network["NetworkMode"] == "bridge"
        addresses.update(network["IPv4Addresses"])
        assert json.loads(get(binding["hostPort"], path="/task"))["TaskARN"] == task
    assert len(addresses) == 2, "each container has an address of its own"
    stop(roadstead, task)


def test_a03_neither_the_host_s_loopback_nor_a_cloud_s_metadata_is_reached(roadstead):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        tries = " ".join(
            f"nc -w 1 {address} {number} < /dev/null >/dev/null 2>&1 && echo {address} >> /www/reached;"
            for address, number in [("127.0.0.1", port), ("169.254.169.254", 80), ("$(ip route | awk '/default/ {print $3}')", port)]
        )
        register(roadstead, "prying", web(mappings=[{"containerPort": 80}], before=f"touch /www/reached; {tries}"))
        (task,), _ = run(roadstead, "prying")
        port = bindings(roadstead, task)[0]["hostPort"]
        served(port)
        assert get(port, path="/reached") == ""
        stop(roadstead, task)


def test_kill9_leaves_ports_open_and_the_next_start_takes_them_up(fresh):
    before = machine_state()
    roadstead = fresh()
    roadstead.load(busybox_archive(), tag="busybox:latest")
    port = free_port()
    mappings = [{"containerPort": 80, "hostPort": port}, {"containerPort": 80}]
    register(roadstead, "lasting", web(mappings=mappings))
    (task,), _ = run(roadstead, "lasting")
    given = bindings(roadstead, task)
    name = served(port)
    roadstead.kill()
    assert get(port) == name, "the kernel leads there, whoever is away"
    roadstead.start()
    assert get(port) == name
    assert bindings(roadstead, task) == given
    with socket.socket() as listener, pytest.raises(OSError):
        listener.bind(("0.0.0.0", port))
    roadstead.stop()
    assert get(port) == name
    # Names outside go on resolving too: the resolver's address leads to the host's own name server, where it has one of use.
    near = re.compile(r"127\.|169\.254\.|0\.0\.0\.0")
    servers = re.findall(r"(?m)^nameserver\s+([\d.]+)\s*$", pathlib.Path("/etc/resolv.conf").read_text())
    servers = [server for server in servers if not near.match(server)]
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert not servers or f"udp dport 53 dnat ip to {servers[0]}:53" in rules
    roadstead.cli("down")
    left = left_behind(before)
    assert left == {}, left
    assert refused(port)


def test_down_and_reset_leave_nothing(fresh):
    before = machine_state()
    roadstead = fresh("--ephemeral", "--allow-reset")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    register(roadstead, "any", web(mappings=[{"containerPort": 80}]))
    tasks, _ = run(roadstead, "any", count=2)
    port = bindings(roadstead, tasks[0])[0]["hostPort"]
    served(port)
    roadstead.reset()
    assert refused(port)
    register(roadstead, "any", web(mappings=[{"containerPort": 80}]))
    run(roadstead, "any")
    roadstead.stop()
    left = left_behind(before)
    assert left == {}, left


def test_services_replace_tasks_on_dynamic_ports(roadstead):
    register(roadstead, "many", web(mappings=[{"containerPort": 80}]))
    roadstead.aws("ecs", "create-service", "--service-name", "many", "--task-definition", "many", "--desired-count", "2")
    roadstead.aws("ecs", "wait", "services-stable", "--services", "many")
    tasks = roadstead.aws("ecs", "list-tasks", "--service-name", "many")["taskArns"]
    ports = {bindings(roadstead, task)[0]["hostPort"] for task in tasks}
    assert len(ports) == 2
    stop(roadstead, tasks[0])
    roadstead.aws("ecs", "wait", "services-stable", "--services", "many")
    tasks = roadstead.aws("ecs", "list-tasks", "--service-name", "many")["taskArns"]
    assert len({served(bindings(roadstead, task)[0]["hostPort"]) for task in tasks}) == 2
    roadstead.aws("ecs", "delete-service", "--service", "many", "--force")

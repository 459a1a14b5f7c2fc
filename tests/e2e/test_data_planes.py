"""Load balancers before ECS tasks, end to end, with the clients that people use: gRPC, WebSockets, curl, openssl, dig.

One Roadstead serves all of it. What the tasks serve with is in peers.py; services that a test needs are made at once, since each
takes some seconds to be stable.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import grpc
import pytest
import websockets.exceptions
from conftest import Roadstead, busybox_archive, free_port, wait_for
from test_load_balanced_services import WAIT, Load, address_of, get
from websockets.sync.client import connect

PEERS = pathlib.Path(__file__).with_name("peers.py")
# PID 1 notes at which moment its task is told to stop, where the test finds it.
PEER = """
trap 'echo > /told/$(hostname -i); exit 0' TERM
chroot /host {python} {peers} &
while :; do sleep 0.05; done
"""
# How long targets of what rolls are let finish.
DRAIN_SECONDS = 4


class World:
    """A running Roadstead, its default VPC, an application load balancer, and services behind it."""

    def __init__(self, directory):
        self.directory = directory
        self.roadstead = Roadstead("--over-commit", "1000", "--ephemeral").start()
        self.roadstead.load(busybox_archive(), tag="busybox:latest")
        self.ecs, self.elb, self.ec2 = (self.roadstead.client(name) for name in ("ecs", "elbv2", "ec2"))
        subnets = sorted(self.ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])
        self.vpc, self.subnets = subnets[0]["VpcId"], [subnet["SubnetId"] for subnet in subnets]
        (vpc,) = self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"]
        everyone = [{"CidrIp": "0.0.0.0/0"}]
        self.open = self.group("open", {"IpProtocol": "-1", "IpRanges": everyone})
        # Tasks let nobody in but load balancers: those of the group, and those that are in none by their addresses.
        self.behind = self.group(
            "behind",
            {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "UserIdGroupPairs": [{"GroupId": self.open}]},
            *({"IpProtocol": name, "FromPort": 7000, "ToPort": 7000, "IpRanges": [{"CidrIp": vpc["CidrBlock"]}]} for name in ("tcp", "udp")),
        )  # fmt: skip
        self.front = self.elb.create_load_balancer(Name="front", Subnets=self.subnets[:2], SecurityGroups=[self.open])["LoadBalancers"][0]
        self.address = self.interfaces(self.front)[0]["PrivateIpAddress"]

    def group(self, name, *permissions, vpc=None):
        group = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc or self.vpc)["GroupId"]
        if permissions:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(permissions))
        return group

    def interfaces(self, balancer):
        name = balancer["LoadBalancerArn"].split("loadbalancer/")[1]
        filters = [{"Name": "description", "Values": [f"ELB {name}"]}]
        return self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]

    def target_group(self, name, port=80, protocol="HTTP", **more):
        checks = {"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "UnhealthyThresholdCount": 2}
        wish = {"TargetType": "ip", **checks, **more}
        made = self.elb.create_target_group(Name=name, Protocol=protocol, Port=port, VpcId=self.vpc, **wish)
        arn = made["TargetGroups"][0]["TargetGroupArn"]
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}
        self.elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[delay])
        return arn

    def listener(self, port, group, protocol="HTTP", balancer=None, **more):
        made = self.elb.create_listener(
            LoadBalancerArn=(balancer or self.front)["LoadBalancerArn"], Protocol=protocol, Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}], **more,
        )
        return made["Listeners"][0]["ListenerArn"]

    def register(self, family, container, mode="awsvpc", volumes=()):
        container = {"name": "main", "image": "busybox:latest", "memory": 256, "stopTimeout": 2, **container}
        self.ecs.register_task_definition(
            family=family, networkMode=mode, containerDefinitions=[container],
            volumes=[{"name": name, "host": {"sourcePath": str(path)}} for name, path in volumes],
        )

    def register_peer(self, family, version):
        ports = [(80, "tcp"), (50051, "tcp"), (7000, "tcp"), (7000, "udp")]
        container = {
            "command": ["sh", "-c", PEER.format(python=sys.executable, peers=PEERS)],
            "environment": [{"name": "VERSION", "value": version}],
            "mountPoints": [
                {"sourceVolume": "host", "containerPath": "/host", "readOnly": True},
                {"sourceVolume": "told", "containerPath": "/told"},
            ],
            "portMappings": [{"containerPort": port, "protocol": protocol} for port, protocol in ports],
        }
        self.register(family, container, volumes=[("host", "/"), ("told", self.directory)])

    def register_web(self, family, version, mode, port=80):
        page = f"mkdir -p /www; echo {version} > /www/index.html; exec httpd -f -p {port} -h /www"
        self.register(family, {"command": ["sh", "-c", page], "portMappings": [{"containerPort": port}]}, mode)

    def serve(self, name, *places, awsvpc=True, **more):
        network = {"awsvpcConfiguration": {"subnets": self.subnets[:2], "securityGroups": [self.behind]}}
        self.ecs.create_service(
            serviceName=name, taskDefinition=name, desiredCount=1, launchType="EC2",
            loadBalancers=[{"targetGroupArn": group, "containerName": "main", "containerPort": port} for group, port in places],
            **({"networkConfiguration": network} if awsvpc else {}), **more,
        )

    def stable(self, *names):
        self.ecs.get_waiter("services_stable").wait(services=list(names), WaiterConfig=WAIT)

    def tasks(self, name):
        arns = self.ecs.list_tasks(serviceName=name)["taskArns"]
        return self.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []

    def health(self, group):
        described = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {(one["Target"]["Id"], one["Target"]["Port"]): one["TargetHealth"] for one in described}

    def states(self, group):
        return [health["State"] for health in self.health(group).values()]

    def healthy(self, group):
        wait_for(lambda: self.states(group) == ["healthy"], 30, "a healthy target")

    def destroy(self):
        self.roadstead.destroy()


def certificate(world, name):
    """A certificate for a name that nobody signed, imported: its ARN and file."""
    key, pem = world.directory / f"{name}.key", world.directory / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    made = world.roadstead.client("acm").import_certificate(Certificate=pem.read_bytes(), PrivateKey=key.read_bytes())
    return made["CertificateArn"], pem


@pytest.fixture(scope="module")
def world():
    # Under /var/lib, since /tmp may be mounted noexec; readable for what runs in containers.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="planes-", dir="/var/lib"))
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory)
        made = World(directory)
        cleanup.callback(made.destroy)
        furnish(made)
        yield made


def furnish(world):
    """Services, and listeners that lead to them."""
    world.host_port = free_port()
    world.groups = {
        "grpc": world.target_group(
            "grpc", 50051, ProtocolVersion="GRPC", HealthCheckPath="/grpc.health.v1.Health/Check", Matcher={"GrpcCode": "0"}
        ),
        "sockets": world.target_group("sockets", HealthCheckPath="/health"),
        "lines": world.target_group("lines", 7000, "TCP"),
        "datagrams": world.target_group("datagrams", 7000, "UDP", HealthCheckProtocol="TCP"),
        "rolling": world.target_group("rolling", HealthCheckPath="/health"),
        "bridge": world.target_group("bridge", TargetType="instance"),
        "host": world.target_group("host", TargetType="instance"),
    }
    groups = world.groups
    (first, world.claims), (second, world.quotes) = (certificate(world, name) for name in ("claims.test", "quotes.test"))
    world.certificate = first
    world.secure = world.listener(443, groups["grpc"], "HTTPS", Certificates=[{"CertificateArn": first}])
    world.elb.add_listener_certificates(ListenerArn=world.secure, Certificates=[{"CertificateArn": second}])
    world.listener(8443, groups["sockets"], "HTTPS", Certificates=[{"CertificateArn": first}])
    for port, name in ((80, "sockets"), (8080, "rolling"), (8081, "bridge"), (8082, "host")):
        world.listener(port, groups[name])
    world.bytes = world.elb.create_load_balancer(
        Name="bytes", Type="network",
        SubnetMappings=[{"SubnetId": world.subnets[0], "AllocationId": world.ec2.allocate_address()["AllocationId"]}],
    )["LoadBalancers"][0]  # fmt: skip
    world.listener(7000, groups["datagrams"], "UDP", world.bytes)
    world.listener(7443, groups["lines"], "TLS", world.bytes, Certificates=[{"CertificateArn": first}])
    world.register_peer("peer", "one")
    world.register_peer("rolling", "one")
    world.register_web("bridge", "one", "bridge")
    world.register_web("host", "one", "host", world.host_port)
    world.serve("peer", (groups["grpc"], 50051), (groups["sockets"], 80), (groups["lines"], 7000), (groups["datagrams"], 7000))
    world.serve("rolling", (groups["rolling"], 80))
    world.serve("bridge", (groups["bridge"], 80), awsvpc=False)
    # There is one such port on the machine.
    once = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    world.serve("host", (groups["host"], world.host_port), awsvpc=False, deploymentConfiguration=once)
    world.stable("peer", "rolling", "bridge", "host")
    # A task runs, and a service is stable, before its program listens.
    for group in groups.values():
        world.healthy(group)


def channel(world, address=None):
    options = (("grpc.ssl_target_name_override", "claims.test"),)
    credentials = grpc.ssl_channel_credentials(world.claims.read_bytes())
    return grpc.secure_channel(f"{address or world.address}:443", credentials, options=options)


def test_grpc_calls_streams_and_their_status_arrive(world):
    with channel(world) as client:
        answer, call = client.unary_unary("/claims.Claims/Unary").with_call(b"hello", timeout=10)
        assert answer == b"HELLO" and call.code() == grpc.StatusCode.OK
        assert dict(call.initial_metadata())["said-first"] == "hello"
        assert dict(call.trailing_metadata())["said-last"] == "one"
        numbers = client.unary_stream("/claims.Claims/Stream")(b"1000", timeout=20)
        assert list(numbers) == [b"%d" % number for number in range(1000)]
        assert dict(numbers.trailing_metadata())["said-last"] == "1000" and numbers.code() == grpc.StatusCode.OK
        big = b"x" * 1_000_000
        assert client.unary_unary("/claims.Claims/Unary")(big, timeout=20) == big.upper()
        with pytest.raises(grpc.RpcError) as failed:
            client.unary_unary("/claims.Claims/Fail")(b"", timeout=10)
        assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "no claim of that number: é")
        assert dict(failed.value.trailing_metadata())["said-last"] == "why"
        with pytest.raises(grpc.RpcError) as failed:
            client.unary_unary("/claims.Claims/Nothing")(b"", timeout=10)
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_grpc_messages_go_both_ways_while_the_call_is_open(world):
    with channel(world) as client:
        answers = []

        def messages():
            # Each waits for the answer to the one before: nothing on the way keeps them back.
            for number in range(5):
                yield b"message %d" % number
                wait_for(lambda: len(answers) > number, 10, "the answer")

        for answer in client.stream_stream("/claims.Claims/Chat")(messages(), timeout=30):
            answers.append(answer)
        assert answers == [b"MESSAGE %d" % number for number in range(5)]


def test_grpc_health_is_the_status_that_the_matcher_names(world):
    """A server that does not know the method that is asked for is healthy by the default matcher, as on AWS, and by no other."""
    (task,) = world.tasks("peer")
    default = world.target_group("by-default", 50051, ProtocolVersion="GRPC")
    strict = world.target_group("strict", 50051, ProtocolVersion="GRPC", Matcher={"GrpcCode": "0,5-7"})
    for number, group in enumerate((default, strict), 1):
        world.elb.create_rule(
            ListenerArn=world.secure, Priority=number, Actions=[{"Type": "forward", "TargetGroupArn": group}],
            Conditions=[{"Field": "path-pattern", "Values": [f"/other{number}/*"]}],
        )
        world.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": address_of(task)}])
    wait_for(lambda: world.states(default) == ["healthy"], 20, "12 is its default")
    wait_for(lambda: world.states(strict) == ["unhealthy"], 20, "the verdict")
    (verdict,) = world.health(strict).values()
    assert verdict["Reason"] == "Target.ResponseCodeMismatch" and "[12]" in verdict["Description"]


def trusting(world):
    return ssl.create_default_context(cafile=world.claims)


def test_websockets_through_http_and_https(world):
    for url, more, scheme in (
        (f"ws://{world.address}/claims?x=1", {}, "http"),
        (f"wss://{world.address}:8443/claims", {"ssl": trusting(world), "server_hostname": "claims.test"}, "https"),
    ):
        with connect(url, open_timeout=10, **more) as client:
            assert client.recv(timeout=10) == f"one {scheme}"
            for message in ("hello", "é" * 5000, b"\0" * 200_000):
                client.send(message)
                assert client.recv(timeout=10) == message
            client.ping().wait(10)
        assert client.close_code == 1000, "the closing handshake went through"


def test_two_tasks_on_port_80_of_one_machine_are_reached_by_the_load_balancer_alone(world):
    tasks = [task for name in ("peer", "rolling") for task in world.tasks(name)]
    assert len({task["containerInstanceArn"] for task in tasks}) == 1 and len({address_of(task) for task in tasks}) == 2
    for port in (80, 8080):
        assert get(world.address, "/health", port) == (200, "ok")
    for task in tasks:
        with pytest.raises(OSError), socket.create_connection((address_of(task), 80), timeout=0.7):
            pass


def test_names_choose_certificates_and_dns_leads_to_the_load_balancer(world):
    def subject(*more):
        command = ["openssl", "s_client", "-connect", f"{world.address}:443", *more]
        shown = subprocess.run(command, input="", capture_output=True, text=True, errors="replace").stdout
        return next(line for line in shown.splitlines() if line.startswith("subject="))

    assert "claims.test" in subject("-noservername") and "claims.test" in subject("-servername", "nobody.test")
    assert "quotes.test" in subject("-servername", "quotes.test") and "claims.test" in subject("-servername", "claims.test")
    lines = [line for line in world.roadstead.cli("doctor").stdout.splitlines() if "dig @" in line]
    server, _, port = lines[0].split("dig @")[1].split()[:3]
    for balancer in (world.front, world.bytes):
        command = ["dig", "+short", f"@{server}", "-p", port, balancer["DNSName"]]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert sorted(told) == sorted(one["PrivateIpAddress"] for one in world.interfaces(balancer))
    for name, pem in (("claims.test", world.claims), ("quotes.test", world.quotes)):
        # An empty gRPC message.
        call = ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-", f"https://{name}/claims.Claims/None"]
        where = ["--http2", "--resolve", f"{name}:443:{world.address}", "--cacert", pem]
        command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code} %header{grpc-status}", *where, *call]
        assert subprocess.run(command, check=True, capture_output=True, input=bytes(5)).stdout == b"2 200 12"


def test_interfaces_say_who_made_them(world):
    for balancer, kind in ((world.front, "interface"), (world.bytes, "network_load_balancer")):
        for interface in world.interfaces(balancer):
            assert (interface["RequesterId"], interface["RequesterManaged"]) == ("amazon-elb", True)
            assert interface["InterfaceType"] == kind
    (interface,) = world.tasks("peer")[0]["attachments"]
    details = {detail["name"]: detail["value"] for detail in interface["details"]}
    (made,) = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"]
    assert made["RequesterId"] == "amazon-ecs"


def test_an_elastic_address_leads_datagrams_and_tls_to_tasks(world):
    (interface,) = world.interfaces(world.bytes)
    elastic = interface["Association"]["PublicIp"]
    (described,) = world.elb.describe_load_balancers(LoadBalancerArns=[world.bytes["LoadBalancerArn"]])["LoadBalancers"]
    (place,) = described["AvailabilityZones"][0]["LoadBalancerAddresses"]
    assert place["IpAddress"] == elastic and described.get("SecurityGroups", []) == []
    for address in (elastic, interface["PrivateIpAddress"]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.connect((address, 7000))

            def echoed():
                # Datagrams may be lost, also on one machine.
                client.send(b"hello")
                with contextlib.suppress(OSError):
                    return client.recv(100) == b"HELLO"

            wait_for(echoed, 10, f"a datagram's echo from {address}")
        with socket.create_connection((address, 7443), timeout=10) as plain:
            with trusting(world).wrap_socket(plain, server_hostname="claims.test") as client:
                client.sendall(b"secret")
                assert client.recv(100) == b"SECRET"


def test_instance_targets_follow_a_rolling_update(world):
    """A port of the host that the system chooses (bridge) and one that is asked for (host)."""
    (instance,) = {task["containerInstanceArn"] for task in world.tasks("bridge")}
    (described,) = world.ecs.describe_container_instances(containerInstances=[instance])["containerInstances"]

    def bound():
        (task,) = world.tasks("bridge")
        (binding,) = task["containers"][0]["networkBindings"]
        return described["ec2InstanceId"], binding["hostPort"]

    before = bound()
    assert before[1] >= 32768
    assert {target: health["State"] for target, health in world.health(world.groups["bridge"]).items()} == {before: "healthy"}
    assert list(world.health(world.groups["host"])) == [(described["ec2InstanceId"], world.host_port)]
    for port in (8081, 8082):
        assert get(world.address, port=port) == (200, "one")
    world.register_web("bridge", "two", "bridge")
    world.register_web("host", "two", "host", world.host_port)
    with Load(world.address, clients=4, port=8081) as load:
        for name in ("bridge", "host"):
            world.ecs.update_service(service=name, taskDefinition=name)
        world.stable("bridge", "host")
    assert load.errors == [] and {status for status, _ in load.answers} == {200}
    for port in (8081, 8082):
        assert get(world.address, port=port) == (200, "two")
    after = bound()
    assert after != before and list(world.health(world.groups["bridge"])) == [after]


@contextlib.contextmanager
def open_socket(world, version):
    with connect(f"ws://{world.address}:8080/", open_timeout=10, close_timeout=1) as client:
        assert client.recv(timeout=10) == f"{version} http"
        yield client


def echoes(client):
    """Whether the other end still answers."""
    try:
        client.send("still here?")
        return client.recv(timeout=10) == "still here?"
    except websockets.exceptions.ConnectionClosed:
        return False


def told_to_stop(world, task):
    """When the task got SIGTERM; `None` where it has not."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(world.directory / address_of(task)).st_mtime


def test_f22_stop_task_waits_for_an_open_websocket(world):
    (task,) = world.tasks("rolling")
    group, target = world.groups["rolling"], (address_of(task), 80)
    with open_socket(world, "one") as client:
        world.ecs.stop_task(task=task["taskArn"])
        wait_for(lambda: world.health(group).get(target, {}).get("State") == "draining", 10, "the drain")
        assert echoes(client) and told_to_stop(world, task) is None, "what is under way is let finish first"
        (described,) = world.ecs.describe_tasks(tasks=[task["taskArn"]])["tasks"]
        assert (described["lastStatus"], described["desiredStatus"]) == ("DEACTIVATING", "STOPPED")
        closed = time.time()
    told = wait_for(lambda: told_to_stop(world, task), 15, "SIGTERM")
    assert told >= closed and target not in world.health(group)
    world.healthy(group)
    assert get(world.address, "/health", 8080) == (200, "ok")


def test_f23_a_rolling_update_leaves_open_websockets_until_the_drain_is_over(world):
    (task,) = world.tasks("rolling")
    world.register_peer("rolling", "two")
    with open_socket(world, "one") as client:
        world.ecs.update_service(service="rolling", taskDefinition="rolling")
        group, target = world.groups["rolling"], (address_of(task), 80)
        wait_for(lambda: world.health(group).get(target, {}).get("State") == "draining", 60, "the drain")
        with open_socket(world, "two") as other:
            assert echoes(client) and echoes(other), "both versions answer"
            assert told_to_stop(world, task) is None
            last = time.time()
            while echoes(client):
                last = time.time()
                time.sleep(0.05)
            told = wait_for(lambda: told_to_stop(world, task), 15, "SIGTERM")
            assert told >= last - 0.05, "a task is told to stop once nothing is under way to it"
            world.stable("rolling")
            assert echoes(other)


def test_a_task_whose_target_group_is_deleted_is_given_up(world):
    group = world.target_group("doomed")
    rule = world.elb.create_rule(
        ListenerArn=world.secure, Priority=9, Actions=[{"Type": "forward", "TargetGroupArn": group}],
        Conditions=[{"Field": "path-pattern", "Values": ["/doomed"]}],
    )["Rules"][0]["RuleArn"]  # fmt: skip
    world.register_web("doomed", "one", "awsvpc")
    world.serve("doomed", (group, 80))
    world.elb.delete_rule(RuleArn=rule)
    world.elb.delete_target_group(TargetGroupArn=group)
    missing = f"the target group {group} does not exist"

    def given_up():
        arns = world.ecs.list_tasks(serviceName="doomed", desiredStatus="STOPPED")["taskArns"]
        tasks = world.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
        reason = f"Task failed to register with its load balancers: {missing}"
        return [task for task in tasks if task.get("stoppedReason") == reason and task["lastStatus"] == "STOPPED"]

    assert wait_for(given_up, 30, "its end")[0]["stopCode"] == "TaskFailedToStart"
    (service,) = world.ecs.describe_services(services=["doomed"])["services"]
    assert any(missing in event["message"] for event in service["events"])
    world.ecs.delete_service(service="doomed", force=True)


V6_SERVER = "httpd -p '[::]:80' -h /www; exec httpd -f -p '[::]:81' -h /www"


def test_ipv6_of_tasks_is_theirs_and_behind_its_rules(world):
    """A VPC with an IPv6 block: what is told is what the container has, and another task reaches it as its rules say."""
    ec2, ecs = world.ec2, world.ecs
    vpc = ec2.create_vpc(CidrBlock="10.91.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    (block,) = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"]
    network = block["Ipv6CidrBlock"].split("/")[0] + "/64"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.91.1.0/24", Ipv6CidrBlock=network)["Subnet"]["SubnetId"]
    port = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    clients = world.group("clients", vpc=vpc)
    servers = world.group("servers", {**port, "UserIdGroupPairs": [{"GroupId": clients}]}, vpc=vpc)
    page = f"mkdir /www; ip -6 addr show dev eth0 > /www/index.html; {V6_SERVER}"
    world.register("six", {"command": ["sh", "-c", page]})

    def start(group):
        (task,) = ecs.run_task(
            taskDefinition="six", launchType="EC2",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}},
        )["tasks"]  # fmt: skip
        return task["taskArn"]

    arns = [start(group) for group in (servers, clients, servers)]
    ecs.get_waiter("tasks_running").wait(tasks=arns, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    described = {task["taskArn"]: task for task in ecs.describe_tasks(tasks=arns)["tasks"]}
    server, client, stranger = (described[arn] for arn in arns)
    (details,) = [{one["name"]: one["value"] for one in made["details"]} for made in server["attachments"]]
    (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"]
    (own,) = [one["Ipv6Address"] for one in interface["Ipv6Addresses"]]
    assert details["ipv6Address"] == own == server["containers"][0]["networkInterfaces"][0]["ipv6Address"]

    def asks(task, port=80):
        (pid,) = world.roadstead.live_containers()[task["taskArn"].rsplit("/", 1)[1]]
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "curl", "-sS", "--max-time", "1", f"http://[{own}]:{port}/"]
        return subprocess.run(inside, capture_output=True, text=True).stdout

    shown = wait_for(lambda: asks(client), 15, "the page")
    assert f"inet6 {own}/" in shown, "the container's own view"
    assert asks(server, 81) and not asks(client, 81) and not asks(stranger), "another port, and another group"
    ec2.authorize_security_group_ingress(
        GroupId=servers, IpPermissions=[{**port, "Ipv6Ranges": [{"CidrIpv6": network}]}]
    )
    assert wait_for(lambda: asks(stranger), 10, "the rule for the network")
    for arn in arns:
        ecs.stop_task(task=arn)
    ecs.get_waiter("tasks_stopped").wait(tasks=arns, WaiterConfig=WAIT)

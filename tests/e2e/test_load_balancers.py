"""Load balancers with real clients and real targets: curl, wrk, raw sockets; busybox, Python and nginx behind them.

What needs no API (TLS, HTTP/2, gRPC, attacks on parsers) is in the crate `balancer`.
"""

import base64
import contextlib
import hashlib
import http.server
import os
import pathlib
import shutil
import socket
import socketserver
import struct
import subprocess
import tempfile
import threading
import time

import pytest
from conftest import busybox_archive, wait_for

# Another address of this machine; nothing else listens there.
PUBLISHED = "127.0.77.1"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def soon(condition, what, seconds=30):
    return wait_for(condition, seconds, what)


@pytest.fixture(scope="module")
def region():
    """A Roadstead of this file's own: it is killed and started again."""
    from conftest import Roadstead

    made = Roadstead("--over-commit", "1000", "--publish", PUBLISHED).start()
    made.load(busybox_archive(), tag="busybox:latest")
    ec2 = made.client("ec2")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])["SecurityGroups"][0]
    # This machine is a client like any other.
    everyone = [{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=everyone)
    yield made
    made.destroy()


@pytest.fixture
def balance(region):
    """Makes load balancers, and deletes all of it at the end."""
    world = Balance(region)
    yield world
    world.delete()


class Balance:
    def __init__(self, region):
        self.region = region
        self.elb = region.client("elbv2")
        subnets = region.client("ec2").describe_subnets()["Subnets"]
        self.subnet, self.subnets = subnets[0], [subnet["SubnetId"] for subnet in subnets[:2]]
        network = subnets[0]["CidrBlock"].split("/")[0].rsplit(".", 1)[0]
        # The machine, as the VPC sees it.
        self.machine = f"{network}.1"
        self.load_balancers, self.groups = [], []

    def group(self, name, protocol="HTTP", **more):
        defaults = {"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "UnhealthyThresholdCount": 2}
        made = self.elb.create_target_group(
            Name=name, Protocol=protocol, Port=80, VpcId=self.subnet["VpcId"], TargetType="ip", **{**defaults, **more}
        )
        self.groups.append(made["TargetGroups"][0]["TargetGroupArn"])
        return self.groups[-1]

    def load_balancer(self, name, *actions, port=80, kind="application", protocol="HTTP", scheme="internet-facing", more=None):
        # One subnet for datagrams: a server on all addresses answers from the one that is nearest to the client.
        subnets = self.subnets if kind == "application" else self.subnets[:1]
        made = self.elb.create_load_balancer(Name=name, Subnets=subnets, Type=kind, Scheme=scheme)
        arn = made["LoadBalancers"][0]["LoadBalancerArn"]
        self.load_balancers.append(arn)
        self.elb.get_waiter("load_balancer_available").wait(
            LoadBalancerArns=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        listener = self.elb.create_listener(
            LoadBalancerArn=arn, Protocol=protocol, Port=port, DefaultActions=list(actions), **(more or {})
        )
        return LoadBalancer(self, arn, listener["Listeners"][0]["ListenerArn"], port, protocol)

    def register(self, group, *targets):
        self.elb.register_targets(
            TargetGroupArn=group, Targets=[{"Id": address, "Port": port} for address, port in targets]
        )

    def deregister(self, group, *targets):
        self.elb.deregister_targets(
            TargetGroupArn=group, Targets=[{"Id": address, "Port": port} for address, port in targets]
        )

    def health(self, group):
        described = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return sorted(
            (target["TargetHealth"]["State"], target["TargetHealth"].get("Reason")) for target in described
        )

    def until(self, group, *states):
        soon(lambda: [state for state, _ in self.health(group)] == sorted(states), f"{states}")

    def delete(self):
        for arn in self.load_balancers:
            self.elb.delete_load_balancer(LoadBalancerArn=arn)
        for arn in self.groups:
            self.elb.delete_target_group(TargetGroupArn=arn)


class LoadBalancer:
    def __init__(self, balance, arn, listener, port, protocol):
        self.arn, self.listener, self.port = arn, listener, port
        self.id = arn.split("loadbalancer/")[1]
        interfaces = balance.region.client("ec2").describe_network_interfaces(
            Filters=[{"Name": "description", "Values": [f"ELB {self.id}"]}]
        )["NetworkInterfaces"]
        self.address = interfaces[0]["PrivateIpAddress"]
        if protocol != "UDP":
            soon(self.listens, "the listener")

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
            return True
        return False

    def url(self, path="/", host=None):
        return f"http://{host or self.address}:{self.port}{path}"


def forward(*groups):
    """A default action: a group, or (group, weight) pairs."""
    if len(groups) == 1 and isinstance(groups[0], str):
        return {"Type": "forward", "TargetGroupArn": groups[0]}
    weighted = [{"TargetGroupArn": group, "Weight": weight} for group, weight in groups]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": weighted}}


def curl(*arguments):
    """Status, headers (names in lower case) and body."""
    command = ["curl", "-sS", "-i", "--max-time", "20", *arguments]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    head, body = text.split("\r\n\r\n", 1)
    lines = head.split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, value = line.split(":", 1)
        headers.setdefault(name.lower(), []).append(value.strip())
    return int(lines[0].split()[1]), headers, body


class Target(contextlib.AbstractContextManager):
    """A web server on this machine that says its name and what it saw."""

    def __init__(self, name):
        outer = self
        self.name, self.status, self.seen, self.hold = name, 200, [], threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.headers.get("User-Agent", "").startswith("ELB-HealthChecker"):
                    self.answer(outer.status, "")
                    return
                outer.seen.append(self.path)
                if self.path.startswith("/hold"):
                    outer.hold.wait(30)
                told = "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items())
                self.answer(200, f"{outer.name} {self.client_address[0]}\n{told}")

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.do_GET()

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 1024

        self.server = Server(("0.0.0.0", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


def test_a_task_behind_a_load_balancer_and_curl(region, balance):
    ecs = region.client("ecs")
    ecs.register_task_definition(
        family="web", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[{
            "name": "web", "image": "busybox:latest", "portMappings": [{"containerPort": 80}],
            "command": ["sh", "-c", "mkdir /www; echo it works > /www/index.html; exec httpd -f -h /www"],
        }],
    )
    network = {"awsvpcConfiguration": {"subnets": [balance.subnet["SubnetId"]]}}
    task = ecs.run_task(taskDefinition="web", launchType="FARGATE", networkConfiguration=network)["tasks"][0]
    try:
        ecs.get_waiter("tasks_running").wait(tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})
        details = ecs.describe_tasks(tasks=[task["taskArn"]])["tasks"][0]["attachments"][0]["details"]
        address = next(detail["value"] for detail in details if detail["name"] == "privateIPv4Address")
        group = balance.group("tasks")
        front = balance.load_balancer("front", forward(group))
        assert curl(front.url())[0] == 503, "no target is registered"
        balance.register(group, (address, 80))
        balance.until(group, "healthy")
        for host in (None, PUBLISHED):
            status, headers, body = curl(front.url(host=host))
            assert (status, body) == (200, "it works\n")
        described = balance.elb.describe_load_balancers(LoadBalancerArns=[front.arn])["LoadBalancers"][0]
        assert described["State"] == {"Code": "active"}
    finally:
        ecs.stop_task(task=task["taskArn"])


def test_what_a_target_is_told_and_where_it_comes_from(balance):
    with Target("one") as one:
        group = balance.group("told")
        front = balance.load_balancer("told", forward(group))
        balance.register(group, (balance.machine, one.port))
        balance.until(group, "healthy")
        body = curl(front.url("/x"), "-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Forwarded-Proto: https")[2]
        assert body.startswith(f"one {front.address}\n"), body
        assert "x-forwarded-for: 1.2.3.4, " in body and "x-forwarded-proto: http\n" in body
        assert f"x-forwarded-port: {front.port}\n" in body and "x-amzn-trace-id: Root=1-" in body


def test_rules_redirects_and_fixed_answers(balance):
    with Target("api") as api:
        group = balance.group("api")
        balance.register(group, (balance.machine, api.port))
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "MessageBody": "nobody"}}
        front = balance.load_balancer("rules", fixed)
        conditions = [{"Field": "path-pattern", "Values": ["/api/*"]}, {"Field": "host-header", "Values": ["*.test"]}]
        balance.elb.create_rule(
            ListenerArn=front.listener, Priority=1, Conditions=conditions, Actions=[forward(group)]
        )
        redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
        balance.elb.create_rule(
            ListenerArn=front.listener, Priority=2, Conditions=[{"Field": "path-pattern", "Values": ["/old"]}],
            Actions=[{"Type": "redirect", "RedirectConfig": redirect}],
        )
        balance.until(group, "healthy")
        soon(lambda: curl(front.url("/old"))[0] == 301, "the rules")
        assert curl(front.url("/old"), "-H", "Host: a.test")[1]["location"] == ["https://a.test:443/old"]
        assert curl(front.url("/api/x"), "-H", "Host: a.test")[2].startswith("api")
        status, headers, body = curl(front.url("/api/x"), "-H", "Host: other")
        assert (status, body) == (404, "nobody") and headers["server"] == ["awselb/2.0"]


def test_f28_health_fail_open_and_reasons(balance):
    with Target("one") as one, Target("two") as two:
        one.status = two.status = 503
        group = balance.group("f28")
        balance.register(group, (balance.machine, one.port), (balance.machine, two.port))
        assert balance.health(group) == [("unused", "Target.NotInUse")] * 2 or balance.health(group)[0][0] == "initial"
        front = balance.load_balancer("f28", forward(group))
        soon(
            lambda: balance.health(group) == [("unhealthy", "Target.ResponseCodeMismatch")] * 2,
            "both are unhealthy", seconds=60,
        )
        names = {curl(front.url())[2].split()[0] for _ in range(8)}
        assert names == {"one", "two"}, "all unhealthy: all are used"
        one.status = 200
        soon(lambda: ("healthy", None) in balance.health(group), "one is healthy", seconds=60)
        assert {curl(front.url())[2].split()[0] for _ in range(8)} == {"one"}


def test_a_target_drains_what_it_has_and_gets_nothing_new(balance):
    with Target("one") as one, Target("two") as two:
        group = balance.group("drain")
        front = balance.load_balancer("drain", forward(group))
        balance.register(group, (balance.machine, one.port))
        balance.until(group, "healthy")
        held = threading.Thread(target=lambda: results.append(curl(front.url("/hold"))))
        results = []
        held.start()
        soon(lambda: "/hold" in one.seen, "the request is under way")
        balance.register(group, (balance.machine, two.port))
        balance.until(group, "healthy", "healthy")
        balance.deregister(group, (balance.machine, one.port))
        soon(lambda: ("draining", "Target.DeregistrationInProgress") in balance.health(group), "it drains")
        time.sleep(0.1)
        assert {curl(front.url())[2].split()[0] for _ in range(8)} == {"two"}
        assert len(balance.health(group)) == 2, "as long as a request is under way"
        one.hold.set()
        held.join()
        assert results[0][0] == 200 and results[0][2].startswith("one")
        balance.until(group, "healthy")


def test_weights_and_both_cookies(balance):
    with Target("blue") as blue, Target("green") as green:
        groups = [balance.group("blue"), balance.group("green")]
        for group, target in zip(groups, (blue, green)):
            balance.register(group, (balance.machine, target.port))
        front = balance.load_balancer("weights", forward((groups[0], 1), (groups[1], 1)))
        for group in groups:
            balance.until(group, "healthy")
        assert {curl(front.url())[2].split()[0] for _ in range(40)} == {"blue", "green"}
        balance.elb.modify_listener(ListenerArn=front.listener, DefaultActions=[forward((groups[0], 0), (groups[1], 5))])
        soon(lambda: {curl(front.url())[2].split()[0] for _ in range(8)} == {"green"}, "the weights")


def test_websockets(balance):
    class Echo(socketserver.BaseRequestHandler):
        def handle(self):
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(4096)
            text = head.decode().lower()
            if "upgrade: websocket" not in text:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            key = next(line.split(": ")[1] for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key"))
            magic = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            answer += f"Sec-WebSocket-Accept: {base64.b64encode(magic).decode()}\r\n\r\n"
            self.request.sendall(answer.encode())
            while data := self.request.recv(4096):
                self.request.sendall(data)

    server = socketserver.ThreadingTCPServer(("0.0.0.0", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        group = balance.group("sockets")
        front = balance.load_balancer("sockets", forward(group))
        balance.register(group, (balance.machine, server.server_address[1]))
        balance.until(group, "healthy")
        with socket.create_connection((front.address, 80)) as client:
            key = base64.b64encode(os.urandom(16)).decode()
            client.sendall(
                f"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            assert head.startswith(b"HTTP/1.1 101"), head
            for payload in (b"hello", b"x" * 100):
                mask = os.urandom(4)
                frame = struct.pack("!BB", 0x81, 0x80 | len(payload)) + mask
                frame += bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
                client.sendall(frame)
                echoed = b""
                while len(echoed) < len(frame):
                    echoed += client.recv(4096)
                assert echoed == frame
    finally:
        server.shutdown()
        server.server_close()


def test_f23_wrk_sees_no_failure_while_targets_come_and_go(balance):
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    with Target("one") as one, Target("two") as two, Target("three") as three:
        group = balance.group("swap")
        front = balance.load_balancer("swap", forward(group))
        balance.register(group, (balance.machine, one.port), (balance.machine, two.port))
        balance.until(group, "healthy", "healthy")
        running = subprocess.Popen(["wrk", "-t1", "-c16", "-d6s", front.url()], stdout=subprocess.PIPE, text=True)
        ports = [one.port, two.port, three.port]
        rounds = 0
        while running.poll() is None:
            comes, goes = ports[(rounds + 2) % 3], ports[rounds % 3]
            balance.register(group, (balance.machine, comes))
            soon(lambda: balance.health(group).count(("healthy", None)) == 3, "it is healthy", seconds=20)
            balance.deregister(group, (balance.machine, goes))
            soon(lambda: len(balance.health(group)) == 2, "it is drained", seconds=20)
            rounds += 1
        report = running.stdout.read()
        assert rounds >= 3 and "Non-2xx" not in report and "Socket errors" not in report, (rounds, report)


def test_a19_nginx_and_python_see_what_was_parsed(balance):
    """The parsers of two servers behind it: neither ever finds a request that nobody sent."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="smuggling-", dir="/var/lib"))
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory)
        python = cleanup.enter_context(Target("python"))
        origins = {"python": (python.port, lambda: list(python.seen))}
        if shutil.which("nginx"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            log = directory / "access.log"
            (directory / "nginx.conf").write_text(f"""
                daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}
                http {{ log_format paths "$request_uri"; access_log {log} paths; client_body_temp_path {directory}/b;
                proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u;
                scgi_temp_path {directory}/s; server {{ listen 0.0.0.0:{port}; location / {{ return 200 "nginx\\n"; }} }} }}""")
            process = subprocess.Popen(["nginx", "-c", str(directory / "nginx.conf"), "-p", str(directory)])
            cleanup.callback(process.wait)
            cleanup.callback(process.terminate)
            origins["nginx"] = (port, lambda: log.read_text().split() if log.exists() else [])
        for name, (port, seen) in origins.items():
            group = balance.group(f"smuggling-{name}")
            front = balance.load_balancer(f"smuggling-{name}", forward(group))
            balance.register(group, (balance.machine, port))
            balance.until(group, "healthy")
            for number, text in enumerate(smuggling()):
                with socket.create_connection((front.address, 80), timeout=5) as client:
                    client.sendall(text.replace("/x", f"/x{number}").encode("latin-1"))
                    client.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError):
                        while client.recv(4096):
                            pass
            assert curl(front.url("/last"))[0] == 200
            soon(lambda: "/last" in seen(), "the log")
            assert not [path for path in seen() if "smuggled" in path or "?" in path], (name, seen())


def smuggling():
    def post(headers, body):
        return f"POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}"

    end = f"0\r\n\r\n{SMUGGLED}"
    for transfer in ("chunked", "identity", "\tchunked", "\x0bchunked", "x, chunked", "chunked, x", "cHuNkEd", "chunked\r\nTransfer-Encoding: x"):
        yield post(f"Transfer-Encoding: {transfer}\r\nContent-Length: 4\r\n", end)
        yield post(f"Content-Length: {len(end)}\r\nTransfer-Encoding: {transfer}\r\n", end)
    yield post("Transfer-Encoding : chunked\r\nContent-Length: 4\r\n", end)
    yield post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n", end)
    yield post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", end)
    yield post("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", end)
    for length in ("3\r\nContent-Length: 40", "3, 40", "-1", "+3", "18446744073709551619", "0x3", "1 0"):
        yield post(f"Content-Length: {length}\r\n", f"abc{SMUGGLED}")
    for chunks in ("3;a\nabc\r\n", "10000000000000003\r\nabc\r\n", "+3\r\nabc\r\n", "0x3\r\nabc\r\n", "3\r\nabcXX\r\n"):
        yield post("Transfer-Encoding: chunked\r\n", chunks + end)


def test_f27_after_kill_9_everything_comes_back(region, balance):
    with Target("one") as one:
        group = balance.group("f27")
        front = balance.load_balancer("f27", forward(group))
        balance.register(group, (balance.machine, one.port))
        balance.until(group, "healthy")
        region.kill()
        killed = time.monotonic()
        region.start()
        while not front.listens():
            assert time.monotonic() - killed < 30
        print(f"f27: served {time.monotonic() - killed:.2f} s after the kill, the start of the process included")
        assert curl(front.url())[2].startswith("one")
        assert curl(front.url(host=PUBLISHED))[0] == 200
        balance.elb = region.client("elbv2")
        assert balance.health(group) == [("healthy", None)]


def test_a_port_that_is_taken_is_told_and_mended(balance):
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "here"}}
    with socket.socket() as other:
        other.bind((PUBLISHED, 8081))
        other.listen()
        front = balance.load_balancer("taken", fixed, port=8081)

        def state():
            return balance.elb.describe_load_balancers(LoadBalancerArns=[front.arn])["LoadBalancers"][0]["State"]

        soon(lambda: state()["Code"] == "active_impaired", "its state")
        assert f"{PUBLISHED}:8081" in state()["Reason"]
        assert curl(front.url())[2] == "here", "in its VPC it serves"
    soon(lambda: state() == {"Code": "active"}, "it is mended")
    assert curl(front.url(host=PUBLISHED))[2] == "here"


def test_a_published_port_that_is_denied_is_denied(region, balance):
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "here"}}
    front = balance.load_balancer("denied", fixed, port=8082)
    soon(lambda: curl(front.url(host=PUBLISHED))[2] == "here", "the published address")
    ec2 = region.client("ec2")
    made = ec2.create_security_group(GroupName="denied", Description="denied", VpcId=balance.subnet["VpcId"])["GroupId"]
    try:
        balance.elb.set_security_groups(LoadBalancerArn=front.arn, SecurityGroups=[made])

        def is_let_in():
            done = subprocess.run(["curl", "-sS", "--max-time", "5", front.url(host=PUBLISHED)], capture_output=True)
            return done.returncode == 0

        soon(lambda: not is_let_in(), "it is denied")
        rule = {"IpProtocol": "tcp", "FromPort": 8082, "ToPort": 8082, "IpRanges": [{"CidrIp": "127.0.0.0/8"}]}
        ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[rule])
        soon(is_let_in, "it is let in")
    finally:
        balance.elb.delete_load_balancer(LoadBalancerArn=front.arn)
        balance.load_balancers.remove(front.arn)
        soon(lambda: deleted(ec2, made), "the group is deleted")


def deleted(ec2, group):
    with contextlib.suppress(ec2.exceptions.ClientError):
        ec2.delete_security_group(GroupId=group)
        return True
    return False


def test_network_load_balancers_pass_bytes_and_datagrams(balance):
    class Echo(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(4096):
                self.request.sendall(data.upper())

    class Datagrams(socketserver.BaseRequestHandler):
        def handle(self):
            data, answer = self.request
            answer.sendto(data.upper(), self.client_address)

    class Tcp(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    tcp = Tcp(("0.0.0.0", 0), Echo)
    port = tcp.server_address[1]
    udp = socketserver.ThreadingUDPServer(("0.0.0.0", port), Datagrams)
    for server in (tcp, udp):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        group = balance.group("bytes", protocol="TCP", HealthCheckTimeoutSeconds=4)
        front = balance.load_balancer("bytes", forward(group), port=7, kind="network", protocol="TCP")
        balance.register(group, (balance.machine, port))
        balance.until(group, "healthy")
        with socket.create_connection((front.address, 7), timeout=10) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
        group = balance.group("datagrams", protocol="UDP", HealthCheckProtocol="TCP", HealthCheckTimeoutSeconds=4)
        front = balance.load_balancer("datagrams", forward(group), port=7, kind="network", protocol="UDP")
        balance.register(group, (balance.machine, port))
        balance.until(group, "healthy")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((front.address, 7))
            client.send(b"hello")
            assert client.recv(100) == b"HELLO"
    finally:
        for server in (tcp, udp):
            server.shutdown()
            server.server_close()

def test_a21_tls_by_curl_and_openssl(region, balance):
    """Certificates by name, HTTP/2, and what the policy leaves out."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tls-", dir="/var/lib"))
    acm = region.client("acm")
    certificates = []
    with contextlib.ExitStack() as cleanup, Target("one") as one:
        cleanup.callback(shutil.rmtree, directory)
        for name in ("front.test", "other.test"):
            key, pem = directory / f"{name}.key", directory / f"{name}.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", pem],
                check=True, capture_output=True,
            )
            made = acm.import_certificate(Certificate=pem.read_bytes(), PrivateKey=key.read_bytes())
            certificates.append(made["CertificateArn"])
            cleanup.callback(lambda arn=made["CertificateArn"]: acm.delete_certificate(CertificateArn=arn))
        group = balance.group("tls")
        balance.register(group, (balance.machine, one.port))
        front = balance.load_balancer("tls", forward(group), port=8443, protocol="HTTPS", more={
            "Certificates": [{"CertificateArn": certificates[0]}],
            "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
        })
        cleanup.callback(balance.elb.delete_listener, ListenerArn=front.listener)
        balance.elb.add_listener_certificates(
            ListenerArn=front.listener, Certificates=[{"CertificateArn": certificates[1]}]
        )
        balance.until(group, "healthy")

        def fetch(name, *more):
            where = ["--resolve", f"{name}:8443:{front.address}", "--cacert", str(directory / f"{name}.pem")]
            return curl(*where, *more, f"https://{name}:8443/")

        soon(lambda: subprocess.run(
            ["curl", "-sS", "--resolve", f"other.test:8443:{front.address}", "--cacert", directory / "other.test.pem",
             "https://other.test:8443/"], capture_output=True).returncode == 0, "the second certificate")
        for name in ("front.test", "other.test"):
            status, _, body = fetch(name)
            assert status == 200 and "x-forwarded-proto: https\n" in body
        version = subprocess.run(
            ["curl", "-sS", "-k", "--http2", "-o", "/dev/null", "-w", "%{http_version}", f"https://{front.address}:8443/"],
            check=True, capture_output=True, text=True,
        ).stdout
        assert version == "2"

        def handshake(*more):
            command = ["openssl", "s_client", "-connect", f"{front.address}:8443", "-servername", "front.test", *more]
            done = subprocess.run(command, input="", capture_output=True, text=True, errors="replace")
            return done.stdout + done.stderr

        assert "TLSv1.3" in handshake() and "TLSv1.2" in handshake("-tls1_2")
        for old in ("-tls1", "-tls1_1"):
            assert "Cipher is (NONE)" in handshake(old, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in handshake("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"), "no RSA key exchange"
        assert "ALPN protocol: h2" in handshake("-alpn", "h2,http/1.1")

"""Security groups and public addresses on tasks that run: what the AWS CLI says is what a connection meets."""

import contextlib
import json
import socket
import subprocess

import pytest
from conftest import wait_for

SERVE = ["sh", "-c", "mkdir -p /www; hostname -i > /www/index.html; httpd -h /www -p 81; exec httpd -f -h /www -p 80"]
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.7).close()
except OSError:
    sys.exit(1)
"""


class Vpc:
    """The default VPC of a Roadstead with an empty state, and tasks in it."""

    def __init__(self, roadstead, region="us-east-1"):
        self.roadstead, self.region = roadstead, region
        self.ec2, self.ecs = roadstead.client("ec2", region), roadstead.client("ecs", region)
        self.id = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]]
        self.ecs.create_cluster(clusterName="groups")
        self.ecs.register_task_definition(
            family="web",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "web", "image": "busybox:latest", "command": SERVE, "stopTimeout": 2}],
        )

    def group(self, name):
        return self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.id)["GroupId"]

    def task(self, *groups, public=False):
        """A task's address, network interface and the pid of a process in it, once it runs."""
        configuration = {"subnets": self.subnets[:1], "securityGroups": list(groups)}
        configuration["assignPublicIp"] = "ENABLED" if public else "DISABLED"
        (task,) = self.ecs.run_task(
            cluster="groups", launchType="FARGATE", taskDefinition="web", networkConfiguration={"awsvpcConfiguration": configuration}
        )["tasks"]

        def running():
            (described,) = self.ecs.describe_tasks(cluster="groups", tasks=[task["taskArn"]])["tasks"]
            assert described["lastStatus"] != "STOPPED", described
            return described if described["lastStatus"] == "RUNNING" else None

        described = wait_for(running, what="the task")
        details = {detail["name"]: detail["value"] for detail in described["attachments"][0]["details"]}
        return Task(self.roadstead, task["taskArn"], details)

    def stop(self, task):
        self.ecs.stop_task(cluster="groups", task=task.arn)

        def gone():
            (described,) = self.ecs.describe_tasks(cluster="groups", tasks=[task.arn])["tasks"]
            return described["lastStatus"] == "STOPPED"

        wait_for(gone, what="the end of a task")

    def rule(self, group, verb="authorize", **permission):
        permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, **permission}
        call = getattr(self.ec2, f"{verb}_security_group_ingress")
        assert call(GroupId=group, IpPermissions=[permission])["Return"]


class Task:
    def __init__(self, roadstead, arn, details):
        self.roadstead, self.arn = roadstead, arn
        self.address, self.interface = details["privateIPv4Address"], details["networkInterfaceId"]

    @property
    def pid(self):
        return self.roadstead.live_containers()[self.arn.rsplit("/", 1)[1]][0]

    def reaches(self, address, port=80):
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "python3", "-c", CONNECT, address, str(port)]
        return subprocess.run(command).returncode == 0

    def pings(self, address):
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ping", "-c", "1", "-W", "1", address]
        return subprocess.run(command, capture_output=True).returncode == 0


def reached(address, port=80):
    """Whether this machine gets through."""
    with contextlib.suppress(OSError):
        socket.create_connection((address, port), timeout=0.7).close()
        return True
    return False


def is_here(address):
    """Whether this machine takes the address for its own."""
    told = subprocess.run(["ip", "-o", "route", "get", address], capture_output=True, text=True).stdout
    return told.startswith("local ")


def serves(task, port=80):
    """Whether the task listens yet; asked from inside it, where no rule stands."""
    return wait_for(lambda: task.reaches("127.0.0.1", port), what="the server")


@pytest.fixture
def vpc(roadstead):
    return Vpc(roadstead)


def cidr(text):
    return {"IpRanges": [{"CidrIp": text}]}


def test_a_denied_port_is_denied_until_it_is_authorized(vpc):
    group = vpc.group("web")
    one, other = vpc.task(group), vpc.task(group)
    assert one.address != other.address
    for task in (one, other):
        assert serves(task) and serves(task, 81), "two servers on port 80 of one machine"
        assert not reached(task.address), "closed to this machine"
    assert not one.reaches(other.address), "and to its neighbour"
    answer = vpc.roadstead.aws(
        *("ec2", "authorize-security-group-ingress", "--group-id", group),
        *("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0"),
    )
    assert answer["Return"] and len(answer["SecurityGroupRules"]) == 1
    # In force some milliseconds after the answer: the first connection waits a second at most for its second SYN.
    assert wait_for(lambda: reached(one.address), 5, "the port to open") and reached(other.address)
    assert one.reaches(other.address)
    assert not reached(one.address, 81), "another port is not"
    # What was let in stays when its rule goes, and nobody else comes.
    with socket.create_connection((one.address, 80), timeout=2) as kept:
        vpc.roadstead.aws(
            *("ec2", "revoke-security-group-ingress", "--group-id", group),
            *("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0"),
        )
        wait_for(lambda: not reached(one.address), 5, "the port to close")
        kept.sendall(b"GET / HTTP/1.0\r\n\r\n")
        kept.settimeout(5)
        assert kept.recv(100).startswith(b"HTTP/1")
    assert not one.reaches(other.address)


def test_groups_let_groups_in_and_prefix_lists_too(vpc):
    front, back = vpc.group("front"), vpc.group("back")
    vpc.rule(back, UserIdGroupPairs=[{"GroupId": front}])
    client, stranger, server = vpc.task(front), vpc.task(back), vpc.task(back)
    assert serves(server) and client.reaches(server.address)
    assert not stranger.reaches(server.address), "of the same group, and it does not name itself"
    assert not reached(server.address), "this machine is in no group"
    # An interface that ECS made is ECS's to change, as at AWS: who is in which group is settled when a task starts.
    with pytest.raises(vpc.ec2.exceptions.ClientError, match="AuthFailure"):
        vpc.ec2.modify_network_interface_attribute(NetworkInterfaceId=stranger.interface, Groups=[front, back])
    vpc.ec2.revoke_security_group_ingress(
        GroupId=back, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": front}]}]
    )
    wait_for(lambda: not client.reaches(server.address), 5, "the client to be kept out")
    # A prefix list, of which the machine's gateway address becomes a member.
    (subnet,) = [one for one in vpc.ec2.describe_subnets(SubnetIds=vpc.subnets[:1])["Subnets"]]
    gateway = subnet["CidrBlock"].rsplit(".", 1)[0] + ".1"
    listed = vpc.ec2.create_managed_prefix_list(
        PrefixListName="offices", MaxEntries=3, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}]
    )["PrefixList"]
    vpc.rule(back, PrefixListIds=[{"PrefixListId": listed["PrefixListId"]}])
    assert not reached(server.address)
    vpc.ec2.modify_managed_prefix_list(
        PrefixListId=listed["PrefixListId"], CurrentVersion=1, AddEntries=[{"Cidr": f"{gateway}/32"}]
    )
    wait_for(lambda: reached(server.address), 5, "the prefix list's new entry")


def test_what_goes_out_is_asked_too_and_icmp_has_types(vpc):
    closed, server_group = vpc.group("closed"), vpc.group("server")
    vpc.rule(server_group, **cidr("0.0.0.0/0"))
    everything = {"IpProtocol": "-1", **cidr("0.0.0.0/0")}
    vpc.ec2.revoke_security_group_egress(GroupId=closed, IpPermissions=[everything])
    client, server = vpc.task(closed), vpc.task(server_group)
    assert serves(server)
    assert not client.reaches(server.address), "it may go nowhere"
    to_servers = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "UserIdGroupPairs": [{"GroupId": server_group}]}
    vpc.ec2.authorize_security_group_egress(GroupId=closed, IpPermissions=[to_servers])
    wait_for(lambda: client.reaches(server.address), 5, "the way out")
    assert not client.reaches(server.address, 81), "let out and not in"
    assert not client.pings(server.address)
    vpc.rule(server_group, IpProtocol="icmp", FromPort=8, ToPort=-1, **cidr("0.0.0.0/0"))
    vpc.ec2.authorize_security_group_egress(
        GroupId=closed, IpPermissions=[{"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, **cidr("0.0.0.0/0")}]
    )
    wait_for(lambda: client.pings(server.address), 5, "an echo")


def test_a_public_address_is_shown_and_leads_to_its_task(vpc):
    group = vpc.group("public")
    vpc.rule(group, **cidr("0.0.0.0/0"))
    task, hidden = vpc.task(group, public=True), vpc.task(group)
    (interface,) = vpc.ec2.describe_network_interfaces(NetworkInterfaceIds=[task.interface])["NetworkInterfaces"]
    public = interface["Association"]["PublicIp"]
    assert interface["PrivateIpAddresses"][0]["Association"]["PublicIp"] == public
    (interface,) = vpc.ec2.describe_network_interfaces(NetworkInterfaceIds=[hidden.interface])["NetworkInterfaces"]
    assert "Association" not in interface
    assert serves(task) and wait_for(lambda: reached(public), 5, "the public address")
    assert not reached(public, 81), "the group's rules hold there too"
    assert is_here(public)
    vpc.stop(task)
    # Not asked by a connection: what has no address here goes out, and who knows who answers there.
    wait_for(lambda: not is_here(public), 5, "the public address to go")


def test_regions_are_apart_but_for_public_addresses(roadstead):
    here, there = Vpc(roadstead), Vpc(roadstead, "eu-west-1")
    groups = []
    for vpc in (here, there):
        groups.append(vpc.group("open"))
        vpc.rule(groups[-1], IpProtocol="-1", **cidr("0.0.0.0/0"))
    one, other = here.task(groups[0]), there.task(groups[1])
    assert serves(one) and serves(other)
    assert reached(one.address) and reached(other.address)
    assert not one.reaches(other.address) and not other.reaches(one.address)
    assert not one.pings(other.address)


def test_an_address_is_nobodys_for_a_while_and_rules_outlive_a_restart(fresh):
    from conftest import busybox_archive

    up = fresh("--over-commit", "1000")
    up.load(busybox_archive(), tag="busybox:latest")
    vpc = Vpc(up)
    group = vpc.group("web")
    vpc.rule(group, **cidr("0.0.0.0/0"))
    seen = set()
    for _ in range(3):
        task = vpc.task(group)
        assert task.address not in seen
        seen.add(task.address)
        vpc.stop(task)
    kept = vpc.task(group)
    assert serves(kept) and wait_for(lambda: reached(kept.address), 5, "the port")
    up.kill()
    assert reached(kept.address) and not reached(kept.address, 81), "with nobody watching"
    up.start()
    assert reached(kept.address) and not reached(kept.address, 81)
    vpc.rule(group, "revoke", **cidr("0.0.0.0/0"))
    wait_for(lambda: not reached(kept.address), 5, "the port to close")
    name = (up.data_dir / "instance-name").read_text().strip()
    up.destroy()
    tables = json.loads(subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True).stdout)
    assert not [table for table in tables["nftables"] if name in table.get("table", {}).get("name", "")]
    assert name not in subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout

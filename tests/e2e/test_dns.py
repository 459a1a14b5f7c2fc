"""What tasks resolve: their own names, load balancers, private zones, Cloud Map's services, and the rest."""

import pytest
from conftest import wait_for

LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/dns", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "dns", "awslogs-create-group": "true",
    },
}


def run(roadstead, script, mode="awsvpc", subnet=None):
    """The lines that a task with this script logs."""
    ecs, logs = roadstead.client("ecs"), roadstead.client("logs")
    ecs.register_task_definition(
        family=f"dns-{mode}", networkMode=mode,
        containerDefinitions=[{
            "name": "main", "image": "busybox:latest", "memory": 64, "command": ["sh", "-c", script], "logConfiguration": LOGS,
        }],
    )
    more = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": [subnet]}}} if subnet else {}
    task = ecs.run_task(taskDefinition=f"dns-{mode}", **more)["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    stream = f"dns/main/{task.rsplit('/', 1)[1]}"

    def lines():
        events = logs.get_log_events(logGroupName="/dns", logStreamName=stream, startFromHead=True)["events"]
        texts = [event["message"] for event in events]
        return texts if "end" in texts else None

    return wait_for(lines, what="the task's lines")


def default_subnet(roadstead):
    ec2 = roadstead.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]
    subnets = ec2.describe_subnets()["Subnets"]
    return vpc, min(subnets, key=lambda subnet: subnet["AvailabilityZone"])["SubnetId"]


def addresses(lines, name):
    """What busybox's nslookup printed about a name."""
    found, inside = [], False
    for line in lines:
        if line.startswith("Server:"):
            inside = False
        elif line.startswith("Name:"):
            inside = line.split()[1].lower() == name.lower()
        elif line.startswith("Address") and inside:
            found.append(line.split()[-1])
    return sorted(set(found))


@pytest.fixture
def names(roadstead):
    """A private zone with a record, a Cloud Map service with an instance, a load balancer."""
    vpc, subnet = default_subnet(roadstead)
    route53, discovery = roadstead.client("route53"), roadstead.client("servicediscovery")
    zone = route53.create_hosted_zone(
        Name="corp.example", CallerReference="one", VPC={"VPCId": vpc["VpcId"], "VPCRegion": "us-east-1"}
    )["HostedZone"]["Id"]
    record = {"Name": "db.corp.example", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.1.2.3"}]}
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    operation = discovery.create_private_dns_namespace(Name="insurance.local", Vpc=vpc["VpcId"])["OperationId"]
    namespace = discovery.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    service = discovery.create_service(
        Name="backend", NamespaceId=namespace, DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]}
    )["Service"]["Id"]
    discovery.register_instance(ServiceId=service, InstanceId="i-1", Attributes={"AWS_INSTANCE_IPV4": "172.31.9.9"})
    balancing = roadstead.client("elbv2")
    subnets = [found["SubnetId"] for found in roadstead.client("ec2").describe_subnets()["Subnets"]][:2]
    balancer = balancing.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]
    return {"vpc": vpc, "subnet": subnet, "balancer": balancer["DNSName"]}


def test_a_task_resolves_what_its_vpc_knows(roadstead, names):
    balancer = names["balancer"]
    script = "; ".join([
        "cat /etc/resolv.conf", "echo own; nslookup $(hostname)",
        "nslookup db.corp.example", "nslookup backend.insurance.local", f"nslookup {balancer}",
        "nslookup db.corp.example 169.254.169.253 > /dev/null && echo common",
        "nslookup nobody.corp.example || echo nobody", "echo end",
    ])
    lines = run(roadstead, script, subnet=names["subnet"])
    base = names["vpc"]["CidrBlock"].split("/")[0].rsplit(".", 2)[0]
    assert f"nameserver {base}.0.2" in lines and "search ec2.internal" in lines
    own = [line for line in lines[lines.index("own"):] if line.startswith("Name:")][0].split()[1]
    assert own.startswith("ip-") and own.endswith(".ec2.internal") and len(addresses(lines, own)) == 1
    assert addresses(lines, "db.corp.example") == ["10.1.2.3"]
    assert addresses(lines, "backend.insurance.local") == ["172.31.9.9"]
    assert len(addresses(lines, balancer)) == 2, "an address in each of its subnets"
    assert {"common", "nobody"} <= set(lines)


def test_a_task_on_the_hosts_network_asks_there_too(roadstead, names):
    lines = run(roadstead, "cat /etc/resolv.conf; nslookup db.corp.example; echo end", mode="host")
    assert any(line.startswith("nameserver 169.254.171.") for line in lines), lines
    assert addresses(lines, "db.corp.example") == ["10.1.2.3"]


def test_a_task_asks_by_ipv6(roadstead):
    ec2, route53 = roadstead.client("ec2"), roadstead.client("route53")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    ipv6 = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("::/56", "::/64")
    subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.77.0.0/24", Ipv6CidrBlock=ipv6)["Subnet"]["SubnetId"]
    zone = route53.create_hosted_zone(
        Name="six.example", CallerReference="six", VPC={"VPCId": vpc["VpcId"], "VPCRegion": "us-east-1"}
    )["HostedZone"]["Id"]
    record = {"Name": "db.six.example", "Type": "AAAA", "TTL": 60, "ResourceRecords": [{"Value": "2001:db8::7"}]}
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    lines = run(roadstead, "nslookup -type=aaaa db.six.example fd00:ec2::253; echo end", subnet=subnet)
    assert addresses(lines, "db.six.example") == ["2001:db8::7"], lines


def test_a_definitions_own_servers_are_asked(roadstead):
    _, subnet = default_subnet(roadstead)
    ecs = roadstead.client("ecs")
    ecs.register_task_definition(
        family="dns-own", networkMode="host",
        containerDefinitions=[{
            "name": "main", "image": "busybox:latest", "memory": 64, "command": ["sh", "-c", "cat /etc/resolv.conf; echo end"],
            "dnsServers": ["192.0.2.53"], "logConfiguration": LOGS,
        }],
    )
    task = ecs.run_task(taskDefinition="dns-own")["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    stream = f"dns/main/{task.rsplit('/', 1)[1]}"
    logs = roadstead.client("logs")
    events = lambda: logs.get_log_events(logGroupName="/dns", logStreamName=stream, startFromHead=True)["events"]  # noqa: E731
    assert "nameserver 192.0.2.53" in [event["message"] for event in wait_for(events, what="lines")]

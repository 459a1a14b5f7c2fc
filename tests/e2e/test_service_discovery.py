"""Service registries and Service Connect on real containers: who is found, and what a task reaches by a short name."""

import boto3
import botocore.config
import pytest
from conftest import busybox_archive, wait_for

WAIT = {"Delay": 1, "MaxAttempts": 90}
# Two web servers that say who they are, and end when told to.
SERVER = (
    "mkdir -p /www; echo server $(hostname) > /www/index.html; httpd -p 80 -h /www; httpd -p 81 -h /www; "
    "trap 'exit 0' TERM; while :; do sleep 0.1; done"
)
# The image's static programs cannot look names up: this does what they would.
CLIENT = (
    "trap 'exit 0' TERM; "
    "of() { awk -v name=$1 '$2 == name {print $1}' /etc/hosts; }; "
    "get() { printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 $(of $1) $2 | tail -n 1; }; "
    "while :; do echo \"http $(get backend 8080)\"; echo \"tcp $(get raw.web 9000)\"; sleep 0.1; done"
)


def cloud_map(roadstead):
    env = roadstead.environment()
    return boto3.client(
        "servicediscovery",
        endpoint_url=roadstead.endpoint,
        region_name="us-east-1",
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(inject_host_prefix=False, retries={"max_attempts": 1}),
    )


@pytest.fixture
def network(roadstead):
    subnets = roadstead.client("ec2").describe_subnets()["Subnets"]
    return {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]]}}, subnets[0]["VpcId"]


def register(ecs, family, command, ports=(), **more):
    container = {
        "name": "app",
        "image": "busybox:latest",
        "command": ["sh", "-c", command],
        "portMappings": list(ports),
        "stopTimeout": 5,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": f"/{family}",
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "t",
                "awslogs-create-group": "true",
            },
        },
        **more,
    }
    ecs.register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[container],
    )


def create(ecs, name, network, count, **more):
    ecs.create_service(
        serviceName=name,
        taskDefinition=name,
        desiredCount=count,
        launchType="FARGATE",
        networkConfiguration=network,
        **more,
    )
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig=WAIT)


def addresses(ecs, name):
    arns = ecs.list_tasks(serviceName=name)["taskArns"]
    tasks = ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
    return {
        task["taskArn"].rsplit("/", 1)[1]: detail["value"]
        for task in tasks
        for detail in task["attachments"][0]["details"]
        if detail["name"] == "privateIPv4Address"
    }


def delete(ecs, *names):
    for name in names:
        ecs.delete_service(service=name, force=True)
    ecs.get_waiter("services_inactive").wait(services=list(names), WaiterConfig=WAIT)


def test_tasks_are_registered_while_they_serve(roadstead, network):
    ecs, found = roadstead.client("ecs"), cloud_map(roadstead)
    network, vpc = network
    operation = found.create_private_dns_namespace(Name="insurance.local", Vpc=vpc)["OperationId"]
    namespace = found.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    service = found.create_service(
        Name="backend",
        NamespaceId=namespace,
        DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 5}]},
        HealthCheckCustomConfig={"FailureThreshold": 1},
    )["Service"]

    def discovered(status="ALL"):
        answer = found.discover_instances(
            NamespaceName="insurance.local", ServiceName="backend", HealthStatus=status
        )
        return {row["InstanceId"]: row["Attributes"] for row in answer["Instances"]}

    # Healthy once /ready is there, and a while before SIGTERM's end nobody is told of the task any more.
    check = {"command": ["CMD", "test", "-e", "/ready"], "interval": 5, "retries": 1, "timeout": 2}
    command = "trap 'sleep 2; exit 0' TERM; sleep 1; touch /ready; while :; do sleep 0.1; done"
    register(ecs, "registered", command, healthCheck=check)
    create(ecs, "registered", network, 2, serviceRegistries=[{"registryArn": service["Arn"]}])
    there = wait_for(lambda: len(discovered("HEALTHY")) == 2 and discovered("HEALTHY"))
    assert {name: row["AWS_INSTANCE_IPV4"] for name, row in there.items()} == addresses(ecs, "registered")
    row = next(iter(there.values()))
    assert row["ECS_SERVICE_NAME"] == "registered" and row["ECS_CLUSTER_NAME"] == "default"
    assert row["ECS_TASK_DEFINITION_FAMILY"] == "registered" and row["REGION"] == "us-east-1"
    assert row["AVAILABILITY_ZONE"].startswith("us-east-1")
    # It was not healthy when it was registered, and DNS and callers were told so.
    assert row["AWS_INIT_HEALTH_STATUS"] == "UNHEALTHY"

    gone = next(iter(there))
    ecs.stop_task(task=gone)
    # The container is still ending when the instance is gone.
    wait_for(lambda: gone not in discovered())
    status = ecs.describe_tasks(tasks=[gone])["tasks"][0]["lastStatus"]
    assert status in ("DEACTIVATING", "STOPPING"), status
    wait_for(lambda: len(discovered("HEALTHY")) == 2, seconds=60)
    with pytest.raises(found.exceptions.ResourceInUse):
        found.delete_service(Id=service["Id"])
    delete(ecs, "registered")
    wait_for(lambda: not discovered())
    found.delete_service(Id=service["Id"])
    found.delete_namespace(Id=namespace)


def said(roadstead, group):
    """What a client has printed: by which way it asked, and what came."""
    logs = roadstead.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return [tuple(event["message"].split(" ", 1)) for page in pages for event in page["events"]]


def servers(roadstead, group):
    """Who answered, both ways. Everybody was answered by a server."""
    lines = said(roadstead, group)
    failed = [line for line in lines if not line[1].startswith("server ip-")]
    assert not failed, (failed[:5], len(failed), len(lines))
    return {way: {who for there, who in lines if there == way} for way in ("http", "tcp")}


def test_service_connect_balances_by_short_names(roadstead, network):
    ecs, found = roadstead.client("ecs"), cloud_map(roadstead)
    network, _ = network
    cluster = ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": "web"})["cluster"]
    namespace = cluster["serviceConnectDefaults"]["namespace"]
    ports = [{"name": "http", "containerPort": 80, "appProtocol": "http"}, {"name": "raw", "containerPort": 81}]
    register(ecs, "backend", SERVER, ports)
    connect = {
        "enabled": True,
        "services": [
            {"portName": "http", "discoveryName": "backend", "clientAliases": [{"port": 8080, "dnsName": "backend"}]},
            {"portName": "raw", "clientAliases": [{"port": 9000}]},
        ],
    }
    create(ecs, "backend", network, 2, serviceConnectConfiguration=connect)
    deployment = ecs.describe_services(services=["backend"])["services"][0]["deployments"][0]
    assert [row["discoveryName"] for row in deployment["serviceConnectResources"]] == ["backend", "raw"]
    assert ecs.list_services_by_namespace(namespace=namespace)["serviceArns"][0].endswith("/backend")
    endpoints = found.discover_instances(NamespaceName="web", ServiceName="backend")["Instances"]
    assert {row["Attributes"]["AWS_INSTANCE_IPV4"] for row in endpoints} == set(addresses(ecs, "backend").values())
    assert {row["Attributes"]["AWS_INSTANCE_PORT"] for row in endpoints} == {"80"}

    register(ecs, "caller", CLIENT)
    create(ecs, "caller", network, 1, serviceConnectConfiguration={"enabled": True})
    # Both tasks answer, over HTTP and over TCP.
    wait_for(lambda: [len(who) for who in servers(roadstead, "/caller").values()] == [2, 2])

    # A deployment replaces both, and no call fails.
    ecs.update_service(service="backend", forceNewDeployment=True)
    ecs.get_waiter("services_stable").wait(services=["backend"], WaiterConfig=WAIT)
    wait_for(lambda: [len(who) for who in servers(roadstead, "/caller").values()] == [4, 4])

    # Nor does one where a task is stopped.
    ecs.stop_task(task=next(iter(addresses(ecs, "backend"))))
    wait_for(lambda: [len(who) for who in servers(roadstead, "/caller").values()] == [5, 5])

    delete(ecs, "caller", "backend")
    # What Service Connect made in AWS Cloud Map goes with the service.
    wait_for(lambda: not found.list_services()["Services"])
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": ""})
    found.delete_namespace(Id=namespace.rsplit("/", 1)[1])


def test_f40_listeners_come_back_with_the_agent(fresh):
    roadstead = fresh("--over-commit", "1000")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    ecs = roadstead.client("ecs")
    subnet = roadstead.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": "web"})
    ports = [{"name": "http", "containerPort": 80, "appProtocol": "http"}, {"name": "raw", "containerPort": 81}]
    register(ecs, "backend", SERVER, ports)
    services = [
        {"portName": "http", "clientAliases": [{"port": 8080, "dnsName": "backend"}]},
        {"portName": "raw", "clientAliases": [{"port": 9000}]},
    ]
    create(ecs, "backend", network, 1, serviceConnectConfiguration={"enabled": True, "services": services})
    register(ecs, "caller", CLIENT)
    create(ecs, "caller", network, 1, serviceConnectConfiguration={"enabled": True})
    wait_for(lambda: [len(who) for who in servers(roadstead, "/caller").values()] == [1, 1])
    before = ecs.list_tasks()["taskArns"]
    roadstead.kill()
    roadstead.start()
    # The same containers, and what was opened in their network is there again.
    assert ecs.list_tasks()["taskArns"] == before
    restarted = len(said(roadstead, "/caller"))
    wait_for(
        lambda: any(line[1].startswith("server ip-") for line in said(roadstead, "/caller")[restarted:]),
        seconds=60,
    )
    delete(ecs, "caller", "backend")


# Says which version it is.
VERSIONED = (
    "mkdir -p /www; echo $VERSION > /www/index.html; httpd -p 80 -h /www; "
    "trap 'exit 0' TERM; while :; do sleep 0.1; done"
)
# Asks by name, as everybody and as a tester.
TESTER = (
    "trap 'exit 0' TERM; of() { awk -v name=$1 '$2 == name {print $1}' /etc/hosts; }; "
    'get() { printf "GET /?secret HTTP/1.0\\r\\n$1\\r\\n" | nc -w 5 $(of backend) 8080 | tail -n 1; }; '
    "while :; do echo \"all $(get '')\"; echo \"test $(get 'X-Test: 1\\r\\n')\"; sleep 0.1; done"
)


def test_service_connect_shifts_traffic_and_logs_it(roadstead, network):
    ecs = roadstead.client("ecs")
    network, _ = network
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": "web"})
    ports = [{"name": "http", "containerPort": 80, "appProtocol": "http"}]
    register(ecs, "shifted", VERSIONED, ports, environment=[{"name": "VERSION", "value": "blue"}])
    rules = {"header": {"name": "X-Test", "value": {"exact": "1"}}}
    alias = {"port": 8080, "dnsName": "backend", "testTrafficRules": rules}
    service = {"portName": "http", "clientAliases": [alias], "ingressPortOverride": 8088}
    # While this runs, tests see the new version and everybody else the old one.
    register(ecs, "trial", "sleep 5")
    hook = ecs.describe_task_definition(taskDefinition="trial")["taskDefinition"]["taskDefinitionArn"]
    create(
        ecs,
        "shifted",
        network,
        1,
        serviceConnectConfiguration={"enabled": True, "services": [service]},
        deploymentConfiguration={
            "strategy": "BLUE_GREEN",
            "bakeTimeInMinutes": 0,
            "lifecycleHooks": [{"hookTargetArn": hook, "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}],
        },
    )
    found = cloud_map(roadstead).discover_instances(NamespaceName="web", ServiceName="http")["Instances"]
    assert [row["Attributes"]["AWS_INSTANCE_PORT"] for row in found] == ["8088"]
    register(ecs, "tester", TESTER)
    log = {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": "/proxies",
            "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "p",
            "awslogs-create-group": "true",
        },
    }
    connect = {"enabled": True, "logConfiguration": log, "accessLogConfiguration": {"format": "TEXT"}}
    create(ecs, "tester", network, 1, serviceConnectConfiguration=connect)
    wait_for(lambda: {("all", "blue"), ("test", "blue")} <= set(said(roadstead, "/tester")))

    register(ecs, "shifted", VERSIONED, ports, environment=[{"name": "VERSION", "value": "green"}])
    ecs.update_service(service="shifted", taskDefinition="shifted")
    wait_for(lambda: said(roadstead, "/tester")[-2:] in ([("all", "green"), ("test", "green")],) * 2, seconds=90)
    lines = said(roadstead, "/tester")
    assert {answer for _, answer in lines} == {"blue", "green"}, "every call was answered"
    tested = lines.index(("test", "green"))
    shifted = lines.index(("all", "green"))
    assert shifted - tested > 10, "tests went there before everybody did"
    assert ("all", "blue") in lines[tested:shifted]
    assert ("all", "blue") not in lines[shifted:]

    logs = roadstead.client("logs")
    events = wait_for(lambda: logs.filter_log_events(logGroupName="/proxies", filterPattern="GET")["events"])
    task = ecs.list_tasks(serviceName="tester")["taskArns"][0].rsplit("/", 1)[1]
    assert events[0]["logStreamName"] == f"p/ecs-service-connect/{task}"
    assert '"GET / HTTP/1.0" 200 - 0 5 ' in events[0]["message"], events[0]["message"]
    delete(ecs, "tester", "shifted")
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": ""})


def test_service_connect_in_bridge_mode(roadstead):
    ecs = roadstead.client("ecs")
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": "web"})

    def register_on_bridge(family, command, ports):
        options = {"awslogs-group": f"/{family}", "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
        container = {
            "name": "app",
            "image": "busybox:latest",
            "memory": 64,
            "command": ["sh", "-c", command],
            "portMappings": ports,
            "logConfiguration": {"logDriver": "awslogs", "options": {**options, "awslogs-stream-prefix": "t"}},
        }
        ecs.register_task_definition(family=family, networkMode="bridge", containerDefinitions=[container])

    def create_on_bridge(name, count, services):
        connect = {"enabled": True, "services": services}
        ecs.create_service(
            serviceName=name, taskDefinition=name, desiredCount=count, serviceConnectConfiguration=connect
        )
        ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig=WAIT)

    ports = [{"name": "http", "containerPort": 80, "appProtocol": "http"}, {"name": "raw", "containerPort": 81}]
    register_on_bridge("bridged", SERVER, ports)
    aliases = [("http", 8080, "backend"), ("raw", 9000, "raw.web")]
    services = [
        {"portName": name, "clientAliases": [{"port": port, "dnsName": dns_name}]} for name, port, dns_name in aliases
    ]
    create_on_bridge("bridged", 2, services)
    register_on_bridge("bridge-caller", CLIENT, [])
    create_on_bridge("bridge-caller", 1, [])
    answered = lambda: [line for line in said(roadstead, "/bridge-caller") if len(line) == 2]  # noqa: E731
    # Both tasks, by both ways; each says its container's name.
    wait_for(lambda: len({line for line in answered() if line[1].startswith("server ")}) == 4)
    assert all(answer.startswith("server ") for _, answer in answered())
    delete(ecs, "bridge-caller", "bridged")
    ecs.update_cluster(cluster="default", serviceConnectDefaults={"namespace": ""})

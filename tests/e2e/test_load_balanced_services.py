"""Services behind load balancers: real containers, real requests, and what becomes of them when tasks come and go."""

import http.client
import os
import pathlib
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import wait_for

WAIT = {"Delay": 1, "MaxAttempts": 90}
# Serves a page that says the version, /health, and /cgi-bin/slow, which takes two seconds. PID 1 notes SIGTERM and, where it is told
# to, takes no notice of it.
SERVE = """
mkdir -p /www/cgi-bin; echo {version} > /www/index.html; echo ok > /www/health
printf '#!/bin/sh\\necho Content-Type: text/plain; echo; sleep 2; echo slow' > /www/cgi-bin/slow; chmod +x /www/cgi-bin/slow
httpd -h /www -p 80
trap 'echo > /sigterm; {on_term}' TERM
while :; do sleep 0.05; done
"""


class Behind:
    """A VPC's subnets, a security group that lets everything in, a load balancer, and target groups."""

    def __init__(self, roadstead):
        self.roadstead = roadstead
        self.ecs, self.elb, self.ec2 = (roadstead.client(name) for name in ("ecs", "elbv2", "ec2"))
        subnets = self.ec2.describe_subnets()["Subnets"]
        self.vpc, self.subnets = subnets[0]["VpcId"], [subnet["SubnetId"] for subnet in subnets]
        self.group = self.ec2.create_security_group(GroupName="open", Description="open", VpcId=self.vpc)["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 65535, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        )
        answer = self.elb.create_load_balancer(Name="front", Subnets=self.subnets[:2], SecurityGroups=[self.group])
        self.balancer = answer["LoadBalancers"][0]["LoadBalancerArn"]

    def target_group(self, name):
        answer = self.elb.create_target_group(
            Name=name, Protocol="HTTP", Port=80, VpcId=self.vpc, TargetType="ip", HealthCheckPath="/health",
            HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
        )
        return answer["TargetGroups"][0]["TargetGroupArn"]

    def listener(self, port, *groups):
        """A listener that forwards to the first of the groups; its ARN and its default rule's."""
        tuples = [{"TargetGroupArn": arn, "Weight": 100 if arn == groups[0] else 0} for arn in groups]
        action = {"Type": "forward", "ForwardConfig": {"TargetGroups": tuples}}
        answer = self.elb.create_listener(LoadBalancerArn=self.balancer, Protocol="HTTP", Port=port, DefaultActions=[action])
        arn = answer["Listeners"][0]["ListenerArn"]
        return arn, self.elb.describe_rules(ListenerArn=arn)["Rules"][0]["RuleArn"]

    def addresses(self):
        """The load balancer's own addresses, by which the machine reaches it."""
        filters = [{"Name": "description", "Values": [f"ELB {self.balancer.split('loadbalancer/')[1]}"]}]
        interfaces = self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        return sorted(interface["PrivateIpAddress"] for interface in interfaces)

    def register(self, family, version, on_term="exit 0", stop_timeout=2):
        container = {
            "name": "web", "image": "busybox:latest", "portMappings": [{"containerPort": 80}], "stopTimeout": stop_timeout,
            "command": ["sh", "-c", SERVE.format(version=version, on_term=on_term)],
        }
        return self.ecs.register_task_definition(
            family=family, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
            containerDefinitions=[container],
        )["taskDefinition"]["taskDefinitionArn"]

    def serve(self, load_balancer, count, **more):
        self.ecs.create_service(
            serviceName="web", taskDefinition="web", desiredCount=count, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": self.subnets, "securityGroups": [self.group]}},
            loadBalancers=[{"containerName": "web", "containerPort": 80, **load_balancer}], **more,
        )
        return self.stable()

    def stable(self):
        self.ecs.get_waiter("services_stable").wait(services=["web"], WaiterConfig=WAIT)
        return self.described()

    def described(self):
        return self.ecs.describe_services(services=["web"])["services"][0]

    def messages(self):
        return [event["message"] for event in self.described()["events"]]

    def tasks(self):
        arns = self.ecs.list_tasks(serviceName="web")["taskArns"]
        return self.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []

    def health(self, group):
        described = self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in described}

    def root(self, task):
        """The root of the task's container, as this machine sees it."""
        (pid,) = self.roadstead.live_containers()[task["taskArn"].rsplit("/", 1)[1]]
        return pathlib.Path(f"/proc/{pid}/root")

    def clean_up(self):
        self.ecs.delete_service(service="web", force=True)
        self.ecs.get_waiter("services_inactive").wait(services=["web"], WaiterConfig=WAIT)


@pytest.fixture
def behind(fresh):
    from conftest import busybox_archive

    roadstead = fresh("--over-commit", "1000", "--ephemeral")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    return Behind(roadstead)


def get(address, path="/", port=80, seconds=20):
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=seconds) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, ""


def address_of(task):
    (attachment,) = task["attachments"]
    return next(detail["value"] for detail in attachment["details"] if detail["name"] == "privateIPv4Address")


class Load:
    """Clients that keep their connections, each asking again as soon as it is answered."""

    def __init__(self, address, clients=8, pause=0.02, port=80):
        self.address, self.port, self.pause = address, port, pause
        self.answers, self.errors, self.over = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self):
        connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
        while not self.over.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.answers.append((answer.status, answer.read().decode().strip()))
            except OSError as error:
                self.errors.append(repr(error))
                connection.close()
            time.sleep(self.pause)
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_f22_out_of_the_load_balancer_before_sigterm_and_sigkill_at_the_stop_timeout(behind):
    group = behind.target_group("web")
    behind.listener(80, group)
    behind.register("web", "one", on_term=":", stop_timeout=2)
    service = behind.serve({"targetGroupArn": group}, 1)
    address = behind.addresses()[0]
    assert get(address) == (200, "one")
    assert service["loadBalancers"][0]["targetGroupArn"] == group
    (task,) = behind.tasks()
    assert behind.health(group) == {address_of(task): "healthy"}
    sigterm = behind.root(task) / "sigterm"

    answers = []
    slow = threading.Thread(target=lambda: answers.append((get(address, "/cgi-bin/slow"), time.time())))
    slow.start()
    time.sleep(0.5)
    behind.ecs.update_service(service="web", desiredCount=0)
    wait_for(lambda: behind.health(group).get(address_of(task)) == "draining", 5, "the drain")
    (draining,) = behind.ecs.describe_tasks(tasks=[task["taskArn"]])["tasks"]
    assert (draining["lastStatus"], draining["desiredStatus"]) == ("DEACTIVATING", "STOPPED")
    assert not sigterm.exists(), "requests under way are let finish first"
    wait_for(sigterm.exists, 15, "SIGTERM")
    told = sigterm.stat().st_mtime
    slow.join()
    assert answers[0][0] == (200, "slow")
    assert answers[0][1] <= told + 0.3, "SIGTERM comes after the answer"
    assert behind.health(group) == {}
    behind.ecs.get_waiter("tasks_stopped").wait(tasks=[task["taskArn"]], WaiterConfig=WAIT)
    (stopped,) = behind.ecs.describe_tasks(tasks=[task["taskArn"]])["tasks"]
    assert stopped["containers"][0]["exitCode"] == 137
    assert 1.9 <= stopped["executionStoppedAt"].timestamp() - told <= 4, "SIGKILL at the stop timeout"
    messages = behind.messages()
    for said in (
        f"(service web) registered 1 targets in (target-group {group})",
        f"(service web) deregistered 1 targets in (target-group {group})",
        "(service web) has begun draining connections on 1 tasks.",
    ):
        assert said in messages, messages
    behind.clean_up()


def test_f23_a_rolling_deployment_under_load_fails_no_request(behind):
    group = behind.target_group("web")
    behind.listener(80, group)
    behind.register("web", "one")
    behind.serve({"targetGroupArn": group}, 3, deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 200})
    address = behind.addresses()[0]
    behind.register("web", "two")
    counts, over = [], threading.Event()

    def count():
        client = behind.roadstead.client("ecs")
        while not over.is_set():
            (service,) = client.describe_services(services=["web"])["services"]
            counts.append((service["runningCount"], service["runningCount"] + service["pendingCount"]))
            time.sleep(0.1)

    counting = threading.Thread(target=count)
    counting.start()
    with Load(address) as load:
        time.sleep(1)
        behind.ecs.update_service(service="web", taskDefinition="web")
        behind.stable()
        time.sleep(1)
    over.set()
    counting.join()
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}, "not one request failed"
    assert {version for _, version in load.answers} == {"one", "two"}
    assert [version for _, version in load.answers[-20:]] == ["two"] * 20
    assert min(running for running, _ in counts) >= 3 and max(total for _, total in counts) <= 6, counts
    behind.clean_up()


def test_what_fails_the_load_balancers_checks_is_replaced_after_the_grace_period(behind):
    group = behind.target_group("web")
    behind.listener(80, group)
    behind.register("web", "one")
    behind.serve({"targetGroupArn": group}, 2, healthCheckGracePeriodSeconds=1)
    victim, other = behind.tasks()
    os.remove(behind.root(victim) / "www/health")
    wait_for(lambda: {task["taskArn"] for task in behind.tasks()} & {victim["taskArn"]} == set(), 60, "its end")
    behind.stable()
    (stopped,) = behind.ecs.describe_tasks(tasks=[victim["taskArn"]])["tasks"]
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {group})"
    said = f"(task {victim['taskArn'].rsplit('/', 1)[1]}) (port 80) is unhealthy in (target-group {group}) due to (reason "
    assert any(said in message and "404" in message for message in behind.messages()), behind.messages()
    left = {task["taskArn"] for task in behind.tasks()}
    assert other["taskArn"] in left and len(left) == 2, "the other one stays"
    behind.clean_up()


def test_blue_green_shows_the_new_version_to_the_test_listener_first(behind):
    blue, green = behind.target_group("blue"), behind.target_group("green")
    _, production = behind.listener(80, blue, green)
    _, test = behind.listener(8080, blue, green)
    advanced = {
        "alternateTargetGroupArn": green, "productionListenerRule": production, "testListenerRule": test,
        "roleArn": "arn:aws:iam::000000000000:role/ecs",
    }
    pause = {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}
    behind.register("web", "one")
    behind.serve(
        {"targetGroupArn": blue, "advancedConfiguration": advanced}, 2,
        deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0},
    )
    address = behind.addresses()[0]
    assert get(address) == (200, "one")
    behind.register("web", "two")
    with Load(address, clients=4) as load:
        answer = behind.ecs.update_service(
            service="web", taskDefinition="web",
            deploymentConfiguration={"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, "lifecycleHooks": [pause]},
        )
        deployment = answer["service"]["currentServiceDeployment"]

        def waits():
            (shown,) = behind.ecs.describe_service_deployments(serviceDeploymentArns=[deployment])["serviceDeployments"]
            return [hook for hook in shown.get("lifecycleHookDetails", []) if hook["status"] == "AWAITING_ACTION"]

        (hook,) = wait_for(waits, 60, "the pause")
        assert get(address) == (200, "one") and get(address, port=8080) == (200, "two")
        assert behind.health(blue).keys().isdisjoint(behind.health(green))
        behind.ecs.continue_service_deployment(serviceDeploymentArn=deployment, hookId=hook["hookId"], action="CONTINUE")
        behind.stable()
    assert load.errors == [] and {status for status, _ in load.answers} == {200}
    assert {version for _, version in load.answers} == {"one", "two"}
    assert get(address) == (200, "two")
    wait_for(lambda: behind.health(blue) == {}, 30, "blue to be empty")
    assert set(behind.health(green).values()) == {"healthy"}
    rules = behind.elb.describe_rules(RuleArns=[production])["Rules"]
    weights = {one["TargetGroupArn"]: one["Weight"] for one in rules[0]["Actions"][0]["ForwardConfig"]["TargetGroups"]}
    assert weights == {blue: 0, green: 100}
    behind.clean_up()

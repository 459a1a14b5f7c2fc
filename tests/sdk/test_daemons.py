"""Managed daemons as boto3 sees them, on real containers: a daemon on a capacity provider, its deployments and their end."""

import json

import pytest

from conftest import ROOT, busybox_archive, left_behind, machine_state, wait_for

# Waiters of the SDK wait 15 s between two looks; a test looks more often.
WAIT = {"Delay": 1, "MaxAttempts": 60}
GROUP = "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:a:autoScalingGroupName/machines"


@pytest.fixture
def ecs(fresh):
    """A machine that belongs to the capacity provider `own`."""
    roadstead = fresh("--ephemeral", "--over-commit", "1000", "--auto-scaling-group", "machines")
    roadstead.load(busybox_archive(), tag="busybox:latest")
    client = roadstead.client("ecs")
    client.create_capacity_provider(name="own", autoScalingGroupProvider={"autoScalingGroupArn": GROUP})
    client.put_cluster_capacity_providers(
        cluster="default", capacityProviders=["own"], defaultCapacityProviderStrategy=[]
    )
    client.roadstead = roadstead
    return client


def register(ecs, command, family="watch"):
    answer = ecs.register_daemon_task_definition(
        family=family,
        containerDefinitions=[{"name": "app", "image": "busybox:latest", "command": command, "stopTimeout": 1}],
    )
    return answer["daemonTaskDefinitionArn"]


def provider(ecs):
    return ecs.describe_capacity_providers(capacityProviders=["own"])["capacityProviders"][0]["capacityProviderArn"]


def deployed(ecs, answer, waiter="daemon_deployment_successful"):
    ecs.get_waiter(waiter).wait(daemonDeploymentArns=[answer["deploymentArn"]], WaiterConfig=WAIT)
    (deployment,) = ecs.describe_daemon_deployments(daemonDeploymentArns=[answer["deploymentArn"]])["daemonDeployments"]
    return deployment


def tasks(ecs):
    arns = ecs.list_tasks()["taskArns"]
    return ecs.describe_tasks(tasks=arns, include=["TAGS"])["tasks"] if arns else []


def test_from_the_definition_to_its_container_and_back(ecs):
    definition = register(ecs, ["sleep", "1000"])
    ecs.get_waiter("daemon_task_definition_active").wait(daemonTaskDefinition=definition, WaiterConfig=WAIT)
    made = ecs.create_daemon(
        daemonName="watch",
        daemonTaskDefinitionArn=definition,
        capacityProviderArns=[provider(ecs)],
        propagateTags="DAEMON",
        tags=[{"key": "team", "value": "blue"}],
    )
    ecs.get_waiter("daemon_active").wait(daemonArn=made["daemonArn"], WaiterConfig=WAIT)
    deployment = deployed(ecs, made)
    assert deployment["targetDaemonRevision"]["totalRunningInstanceCount"] == 1
    (task,) = tasks(ecs)
    assert (task["lastStatus"], task["group"], task["taskDefinitionArn"]) == ("RUNNING", "daemon:watch", definition)
    assert (task["capacityProviderName"], task["tags"]) == ("own", [{"key": "team", "value": "blue"}])
    task_id = task["taskArn"].rsplit("/", 1)[1]
    assert list(ecs.roadstead.live_containers()) == [task_id]
    (revision,) = ecs.describe_daemon_revisions(
        daemonRevisionArns=[deployment["targetDaemonRevision"]["arn"]]
    )["daemonRevisions"]
    (image,) = revision["containerImages"]
    assert (revision["critical"], image["image"]) == (True, "busybox:latest")
    assert image["imageDigest"].startswith("sha256:")

    second = register(ecs, ["sleep", "2000"])
    updated = ecs.update_daemon(
        daemonArn=made["daemonArn"], daemonTaskDefinitionArn=second, capacityProviderArns=["own"]
    )
    deployed(ecs, updated)
    (task,) = tasks(ecs)
    assert (task["taskDefinitionArn"], task["lastStatus"]) == (second, "RUNNING")

    (summary,) = ecs.list_daemons()["daemonSummariesList"]
    assert summary["status"] == "ACTIVE"
    assert len(ecs.list_daemon_deployments(daemonArn=made["daemonArn"])["daemonDeployments"]) == 2
    ecs.delete_daemon_task_definition(daemonTaskDefinition=second)
    deployed(ecs, ecs.delete_daemon(daemonArn=made["daemonArn"]))
    with pytest.raises(ecs.exceptions.DaemonNotFoundException):
        ecs.describe_daemon(daemonArn=made["daemonArn"])
    assert tasks(ecs) == []
    assert ecs.roadstead.live_containers() == {}
    ecs.get_waiter("daemon_task_definition_deleted").wait(daemonTaskDefinition=second, WaiterConfig=WAIT)


def test_what_does_not_start_goes_back(ecs):
    good = register(ecs, ["sleep", "1000"])
    made = ecs.create_daemon(daemonName="watch", daemonTaskDefinitionArn=good, capacityProviderArns=["own"])
    deployed(ecs, made)
    bad = register(ecs, ["/nothing"])
    updated = ecs.update_daemon(daemonArn=made["daemonArn"], daemonTaskDefinitionArn=bad, capacityProviderArns=["own"])
    arn = updated["deploymentArn"]

    def ended():
        (one,) = ecs.describe_daemon_deployments(daemonDeploymentArns=[arn])["daemonDeployments"]
        return one if one["status"] == "ROLLBACK_SUCCESSFUL" else None

    deployment = wait_for(ended, seconds=60, what="the rollback")
    assert deployment["circuitBreaker"]["status"] == "TRIGGERED"
    assert deployment["circuitBreaker"]["failureCount"] == deployment["circuitBreaker"]["threshold"] == 3
    (task,) = tasks(ecs)
    assert (task["taskDefinitionArn"], task["lastStatus"]) == (good, "RUNNING")


def test_a_daemon_that_is_killed_is_there_again(ecs):
    definition = register(ecs, ["sleep", "1000"])
    made = ecs.create_daemon(
        daemonName="watch", daemonTaskDefinitionArn=definition, capacityProviderArns=["own"], critical=False
    )
    deployed(ecs, made)
    (task,) = tasks(ecs)
    ecs.stop_task(task=task["taskArn"])

    def again():
        others = [one for one in tasks(ecs) if one["taskArn"] != task["taskArn"] and one["lastStatus"] == "RUNNING"]
        return others if len(others) == 1 else None

    assert wait_for(again)
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    (instance,) = ecs.describe_container_instances(containerInstances=[instance])["containerInstances"]
    assert instance["status"] == "ACTIVE"


def test_the_example(ecs):
    folder = ROOT / "examples/managed-daemon"
    definition = json.loads((folder / "daemon-task-definition.json").read_text())
    registered = ecs.register_daemon_task_definition(**definition)["daemonTaskDefinitionArn"]
    daemon = json.loads((folder / "daemon.json").read_text())
    made = ecs.create_daemon(daemonTaskDefinitionArn=registered, **daemon)
    deployed(ecs, made)
    (task,) = tasks(ecs)
    assert task["lastStatus"] == "RUNNING"


def test_faults_are_the_sdk_s_exceptions_and_nothing_stays(fresh):
    before = machine_state()
    roadstead = fresh("--ephemeral")
    ecs = roadstead.client("ecs")
    with pytest.raises(ecs.exceptions.DaemonNotFoundException):
        ecs.describe_daemon(daemonArn="arn:aws:ecs:us-east-1:000000000000:daemon/default/ghost")
    with pytest.raises(ecs.exceptions.ClusterNotFoundException):
        ecs.list_daemons(clusterArn="arn:aws:ecs:us-east-1:000000000000:cluster/ghost")
    with pytest.raises(ecs.exceptions.GatewayNotFoundException):
        ecs.describe_gateway(gateway="ghost")
    gateway = ecs.create_gateway(
        name="front",
        infrastructureRoleArn="arn:aws:iam::000000000000:role/infrastructure",
        configuration={"hostSharedAlb": {}},
    )
    assert gateway["status"] == "ACTIVE"
    shown = ecs.describe_gateway(gateway="front")["gateway"]
    assert shown["configuration"]["hostSharedAlb"]["currentAlbCount"] == 0
    assert "no load balancers" in shown["statusReason"]
    ecs.delete_gateway(gateway="front")
    roadstead.destroy()
    assert left_behind(before) == {}

"""Amazon ECS as boto3 and the AWS CLI see it: lives of tasks, faults as the SDK's exceptions, pages, waiters, placement."""

import concurrent.futures
import json

import pytest

WAIT = {"Delay": 1, "MaxAttempts": 60}


def container(name="app", **more):
    return {"name": name, "image": "busybox:latest", "memory": 16, **more}


def register(ecs, family="web", containers=None, **more):
    containers = containers or [container(command=["sleep", "100"], stopTimeout=1)]
    more.setdefault("networkMode", "host")
    answer = ecs.register_task_definition(family=family, containerDefinitions=containers, **more)
    return answer["taskDefinition"]


def run(ecs, **request):
    answer = ecs.run_task(**request)
    assert answer["failures"] == []
    return [task["taskArn"] for task in answer["tasks"]]


def ended(ecs, arn):
    ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig=WAIT)
    (task,) = ecs.describe_tasks(tasks=[arn])["tasks"]
    return task


def subnets(roadstead):
    return [subnet["SubnetId"] for subnet in roadstead.client("ec2").describe_subnets()["Subnets"]]


@pytest.mark.parametrize(
    "definition, stop_code, reason, exit_code",
    [
        (
            container(command=["sh", "-c", "exit 7"]),
            "EssentialContainerExited",
            "Essential container in task exited",
            7,
        ),
        (container(image="127.0.0.1:1/nothing"), "TaskFailedToStart", "CannotPullContainerError", None),
        (container(command=["/nothing"]), "TaskFailedToStart", "CannotStartContainerError", None),
    ],
)
def test_how_tasks_end(roadstead, definition, stop_code, reason, exit_code):
    ecs = roadstead.client("ecs")
    register(ecs, containers=[definition])
    (arn,) = run(ecs, taskDefinition="web")
    task = ended(ecs, arn)
    assert (task["lastStatus"], task["desiredStatus"], task["stopCode"]) == ("STOPPED", "STOPPED", stop_code)
    assert task["stoppedReason"].startswith(reason)
    assert task["containers"][0].get("exitCode") == exit_code
    assert task["createdAt"] <= task["stoppingAt"] <= task["stoppedAt"]
    assert ("startedAt" in task) == (stop_code == "EssentialContainerExited")


def test_out_of_memory(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs, containers=[container(command=["sh", "-c", "x=a; while true; do x=$x$x; done"])])
    task = ended(ecs, *run(ecs, taskDefinition="web"))
    assert task["containers"][0]["exitCode"] == 137
    assert task["containers"][0]["reason"].startswith("OutOfMemoryError")


def test_a_fargate_task_with_everything(roadstead):
    ecs = roadstead.client("ecs")
    containers = [
        container("first", essential=False, command=["true"]),
        container(
            "app",
            command=["sleep", "100"],
            stopTimeout=2,
            dependsOn=[{"containerName": "first", "condition": "SUCCESS"}],
            portMappings=[{"containerPort": 80}],
        ),
    ]
    given = register(
        ecs,
        containers=containers,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu=".25 vCPU",
        memory="0.5 GB",
        tags=[{"key": "from", "value": "definition"}],
    )
    assert (given["cpu"], given["memory"], given["compatibilities"]) == ("256", "512", ["EC2", "FARGATE"])
    (arn,) = run(
        ecs,
        taskDefinition="web",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets(roadstead), "assignPublicIp": "ENABLED"}},
        overrides={"containerOverrides": [{"name": "app", "environment": [{"name": "A", "value": "b"}]}]},
        propagateTags="TASK_DEFINITION",
        enableECSManagedTags=True,
        startedBy="test",
        group="mine",
    )
    ecs.get_waiter("tasks_running").wait(tasks=[arn], WaiterConfig=WAIT)
    (task,) = ecs.describe_tasks(tasks=[arn], include=["TAGS"])["tasks"]
    assert (task["launchType"], task["platformVersion"], task["group"]) == ("FARGATE", "1.4.0", "mine")
    assert "containerInstanceArn" not in task
    assert {(tag["key"], tag["value"]) for tag in task["tags"]} == {
        ("from", "definition"),
        ("aws:ecs:clusterName", "default"),
    }
    (interface,) = task["attachments"]
    address = {detail["name"]: detail["value"] for detail in interface["details"]}["privateIPv4Address"]
    first, app = task["containers"]
    assert (first["exitCode"], first["lastStatus"], app["lastStatus"]) == (0, "STOPPED", "RUNNING")
    assert app["networkInterfaces"][0]["privateIpv4Address"] == address
    assert ecs.list_tasks(startedBy="test")["taskArns"] == [arn]
    assert ecs.list_tasks(launchType="FARGATE", family="web")["taskArns"] == [arn]

    stopped = ecs.stop_task(task=arn, reason="enough")["task"]
    assert (stopped["desiredStatus"], stopped["stopCode"]) == ("STOPPED", "UserInitiated")
    task = ended(ecs, arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert task["attachments"][0]["status"] == "DELETED"


def test_faults_are_the_sdk_s_exceptions(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    register(ecs, family="apart", networkMode="awsvpc")
    faults = ecs.exceptions
    ghost = "0" * 32
    for fault, message, call in [
        (faults.ClusterNotFoundException, "Cluster not found.", lambda: ecs.list_tasks(cluster="ghost")),
        (faults.ClientException, "TaskDefinition not found.", lambda: ecs.run_task(taskDefinition="ghost")),
        (
            faults.InvalidParameterException,
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            lambda: ecs.run_task(taskDefinition="apart"),
        ),
        (
            faults.InvalidParameterException,
            "The referenced task was not found.",
            lambda: ecs.stop_task(task=ghost),
        ),
        (
            faults.ClusterContainsContainerInstancesException,
            "The Cluster cannot be deleted while Container Instances are active or draining.",
            lambda: ecs.delete_cluster(cluster="default"),
        ),
        (
            faults.ClientException,
            "No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the Amazon ECS documentation"
            " for the valid values.",
            lambda: register(
                ecs, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="1024", memory="1024"
            ),
        ),
    ]:
        with pytest.raises(fault) as raised:
            call()
        assert raised.value.response["Error"]["Message"] == message
    first = ecs.run_task(taskDefinition="web", clientToken="once")
    with pytest.raises(faults.ConflictException) as raised:
        ecs.run_task(taskDefinition="web", clientToken="once", count=2)
    assert raised.value.response["resourceIds"] == [first["tasks"][0]["taskArn"]]


def test_pages_and_revisions(roadstead):
    ecs = roadstead.client("ecs")
    for number in range(5):
        register(ecs, family=f"family-{number}")
        ecs.create_cluster(clusterName=f"cluster-{number}")
    pages = ecs.get_paginator("list_task_definitions").paginate(PaginationConfig={"PageSize": 2})
    arns = [arn for page in pages for arn in page["taskDefinitionArns"]]
    assert [arn.rsplit("/", 1)[1] for arn in arns] == [f"family-{number}:1" for number in range(5)]
    pages = ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 2})
    names = [arn.rsplit("/", 1)[1] for page in pages for arn in page["clusterArns"]]
    assert names == [f"cluster-{number}" for number in range(5)] + ["default"]
    ecs.deregister_task_definition(taskDefinition="family-0:1")
    deleted = ecs.delete_task_definitions(taskDefinitions=["family-0:1", "family-1:1"])
    assert [one["status"] for one in deleted["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert "still in ACTIVE status" in deleted["failures"][0]["reason"]
    assert register(ecs, family="family-0")["revision"] == 2


def test_many_calls_at_once_never_promise_more_than_there_is(fresh):
    roadstead = fresh("--ephemeral")
    from conftest import busybox_archive

    roadstead.load(busybox_archive(), tag="busybox:latest")
    ecs = roadstead.client("ecs")
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]

    def remaining():
        (described,) = ecs.describe_container_instances(containerInstances=[instance])["containerInstances"]
        return {one["name"]: one.get("integerValue") for one in described["remainingResources"]}

    whole = remaining()
    register(ecs, containers=[container(cpu=whole["CPU"] // 5, command=["sleep", "100"], stopTimeout=1)])
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ecs.run_task(taskDefinition="web"), range(10)))
    placed = [task["taskArn"] for answer in answers for task in answer["tasks"]]
    assert len(placed) == 5
    reasons = {failure["reason"] for answer in answers for failure in answer["failures"]}
    assert reasons == {"RESOURCE:CPU"}
    assert 0 <= remaining()["CPU"] < whole["CPU"] // 5
    for arn in placed:
        ecs.stop_task(task=arn)
    ecs.get_waiter("tasks_stopped").wait(tasks=placed, WaiterConfig=WAIT)
    assert remaining() == whole


def test_placement_by_attribute_and_draining(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    ecs.put_attributes(attributes=[{"name": "stack", "value": "test", "targetId": instance}])
    try:
        where = [{"type": "memberOf", "expression": "attribute:stack == test"}]
        run(ecs, taskDefinition="web", placementConstraints=where)
        where[0]["expression"] = "attribute:stack == prod"
        refused = ecs.run_task(taskDefinition="web", placementConstraints=where)
        assert refused["failures"][0]["reason"] == "MemberOf placement constraint unsatisfied."
        ecs.update_container_instances_state(containerInstances=[instance], status="DRAINING")
        with pytest.raises(ecs.exceptions.InvalidParameterException):
            ecs.run_task(taskDefinition="web")
    finally:
        ecs.update_container_instances_state(containerInstances=[instance], status="ACTIVE")
        ecs.delete_attributes(attributes=[{"name": "stack", "targetId": instance}])
    assert ecs.start_task(taskDefinition="web", containerInstances=[instance])["failures"] == []


def test_the_command_line(roadstead, tmp_path):
    definition = tmp_path / "definition.json"
    definition.write_text(
        json.dumps(
            {
                "family": "cli",
                "networkMode": "none",
                "containerDefinitions": [container(command=["sh", "-c", "echo $WORD; sleep 100"], stopTimeout=1)],
            }
        )
    )
    registered = roadstead.aws("ecs", "register-task-definition", "--cli-input-json", f"file://{definition}")
    assert registered["taskDefinition"]["revision"] == 1
    started = roadstead.aws("ecs", "run-task", "--task-definition", "cli", "--count", "2")
    arns = [task["taskArn"] for task in started["tasks"]]
    roadstead.aws("ecs", "wait", "tasks-running", "--tasks", *arns)
    assert sorted(roadstead.aws("ecs", "list-tasks", "--family", "cli")["taskArns"]) == sorted(arns)
    for arn in arns:
        roadstead.aws("ecs", "stop-task", "--task", arn, "--reason", "over")
    roadstead.aws("ecs", "wait", "tasks-stopped", "--tasks", *arns)
    settings = roadstead.aws("ecs", "list-account-settings", "--effective-settings")["settings"]
    assert {one["name"]: one["value"] for one in settings}["defaultLogDriverMode"] == "non-blocking"

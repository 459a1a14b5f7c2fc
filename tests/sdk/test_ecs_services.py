"""Services as boto3 and the AWS CLI see them: waiters, deployments, faults as the SDK's exceptions, pages, task sets, protection."""

import concurrent.futures
import json

import botocore.exceptions
import pytest
from conftest import wait_for

WAIT = {"Delay": 1, "MaxAttempts": 90}
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


def register(ecs, family="web", **more):
    container = {"name": "app", "image": "busybox:latest", "memory": 16, "command": SLEEP, "stopTimeout": 2, **more}
    answer = ecs.register_task_definition(family=family, networkMode="host", containerDefinitions=[container])
    return answer["taskDefinition"]["taskDefinitionArn"]


def create(ecs, name="s", **more):
    more.setdefault("taskDefinition", "web")
    more.setdefault("desiredCount", 2)
    return ecs.create_service(serviceName=name, **more)["service"]


def describe(ecs, name="s"):
    (service,) = ecs.describe_services(services=[name])["services"]
    return service


def stable(ecs, name="s"):
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig=WAIT)
    return describe(ecs, name)


def completed(ecs, name="s"):
    """The waiter is content with the count; the rollout is done a moment later, when the tasks have held."""
    done = lambda: describe(ecs, name)["deployments"][0]["rolloutState"] == "COMPLETED"
    wait_for(done, seconds=60, what="the end of the rollout")
    return stable(ecs, name)


def refused(call, code, word, **request):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**request)
    assert error.value.response["Error"]["Code"] == code, error.value
    assert word in error.value.response["Error"]["Message"]


def test_the_life_of_a_service(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    made = create(ecs, tags=[{"key": "team", "value": "blue"}])
    assert (made["status"], made["runningCount"], made["deployments"][0]["rolloutState"]) == ("ACTIVE", 0, "IN_PROGRESS")
    service = stable(ecs)
    assert (service["runningCount"], service["pendingCount"]) == (2, 0)
    assert [deployment["status"] for deployment in service["deployments"]] == ["PRIMARY"]
    tasks = ecs.list_tasks(serviceName="s")["taskArns"]
    described = ecs.describe_tasks(tasks=tasks)["tasks"]
    assert {task["group"] for task in described} == {"service:s"}
    assert {task["startedBy"] for task in described} == {service["deployments"][0]["id"]}

    new = register(ecs)
    updated = ecs.update_service(service="s", taskDefinition="web", desiredCount=3)["service"]
    assert [deployment["status"] for deployment in updated["deployments"]] == ["PRIMARY", "ACTIVE"]
    service = stable(ecs)
    assert (service["runningCount"], service["taskDefinition"]) == (3, new)
    described = ecs.describe_tasks(tasks=ecs.list_tasks(serviceName="s")["taskArns"])["tasks"]
    assert {task["taskDefinitionArn"] for task in described} == {new}

    refused(ecs.delete_service, "InvalidParameterException", "while it is scaled above 0", service="s")
    ecs.update_service(service="s", desiredCount=0)
    assert stable(ecs)["runningCount"] == 0
    assert ecs.delete_service(service="s")["service"]["status"] == "DRAINING"
    ecs.get_waiter("services_inactive").wait(services=["s"], WaiterConfig=WAIT)
    assert ecs.list_services()["serviceArns"] == []


def test_deployments_and_revisions(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    create(ecs, desiredCount=1)
    first = completed(ecs)
    ecs.update_service(service="s", forceNewDeployment=True)
    second = completed(ecs)
    assert first["deployments"][0]["id"] != second["deployments"][0]["id"]
    listed = ecs.list_service_deployments(service="s")["serviceDeployments"]
    assert [deployment["status"] for deployment in listed] == ["SUCCESSFUL", "SUCCESSFUL"]
    (deployment,) = ecs.describe_service_deployments(serviceDeploymentArns=[listed[0]["serviceDeploymentArn"]])[
        "serviceDeployments"
    ]
    assert deployment["targetServiceRevision"]["runningTaskCount"] == 1
    assert deployment["createdAt"] <= deployment["startedAt"] <= deployment["finishedAt"]
    assert deployment["deploymentConfiguration"]["strategy"] == "ROLLING"
    arns = [listed[0]["targetServiceRevisionArn"], listed[1]["targetServiceRevisionArn"]]
    revisions = ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]
    assert [revision["serviceRevisionArn"] for revision in revisions] == arns
    assert all(revision["containerImages"][0]["image"] == "busybox:latest" for revision in revisions)
    assert ecs.list_service_deployments(service="s", status=["IN_PROGRESS"])["serviceDeployments"] == []


def test_many_updates_at_once(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    create(ecs, desiredCount=1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        updates = [pool.submit(ecs.update_service, service="s", forceNewDeployment=True) for _ in range(8)]
        answers = [update.result()["service"] for update in updates]
    # Each call had its turn: as many deployments, and each saw those before it.
    assert len({answer["currentServiceDeployment"] for answer in answers}) == 8
    assert len(ecs.list_service_deployments(service="s")["serviceDeployments"]) == 9
    service = stable(ecs)
    assert (service["runningCount"], len(service["deployments"])) == (1, 1)


def test_faults_and_tokens(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    one = create(ecs, desiredCount=0, clientToken="once")
    two = create(ecs, desiredCount=0, clientToken="once")
    assert one["deployments"][0]["id"] == two["deployments"][0]["id"]
    request = {"serviceName": "s", "taskDefinition": "web", "desiredCount": 1}
    refused(ecs.create_service, "InvalidParameterException", "not idempotent", **request)
    refused(ecs.update_service, "ServiceNotFoundException", "Service not found", service="ghost")
    refused(ecs.update_service, "ClusterNotFoundException", "Cluster not found", cluster="ghost", service="s")
    refused(ecs.list_tasks, "ServiceNotFoundException", "Service not found", serviceName="ghost")
    ecs.create_cluster(clusterName="apart")
    create(ecs, cluster="apart", desiredCount=0)
    refused(ecs.delete_cluster, "ClusterContainsServicesException", "Services", cluster="apart")
    refused(ecs.list_services_by_namespace, "NamespaceNotFoundException", "namespace", namespace="n")
    group = {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/t/0123456789abcdef"}
    group.update(containerName="app", containerPort=80)
    request.update(serviceName="t", loadBalancers=[group])
    refused(ecs.create_service, "InvalidParameterException", "does not exist", **request)
    ecs.delete_service(service="s")
    refused(ecs.update_service, "ServiceNotActiveException", "not ACTIVE", service="s", desiredCount=1)


def test_pages(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    names = [f"s{number:02}" for number in range(23)]
    for name in names:
        create(ecs, name=name, desiredCount=0)
    pages = [page["serviceArns"] for page in ecs.get_paginator("list_services").paginate()]
    assert [len(page) for page in pages] == [10, 10, 3]
    assert [arn.rsplit("/", 1)[1] for page in pages for arn in page] == names
    (cluster,) = ecs.describe_clusters(include=["STATISTICS"])["clusters"]
    assert cluster["activeServicesCount"] == 23
    assert {"name": "activeEC2ServiceCount", "value": "23"} in cluster["statistics"]


def test_task_sets(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    ecs.create_service(serviceName="s", desiredCount=2, deploymentController={"type": "EXTERNAL"})
    of = {"cluster": "default", "service": "s"}
    scale = {"value": 50, "unit": "PERCENT"}
    made = ecs.create_task_set(**of, taskDefinition="web", externalId="one", scale=scale)["taskSet"]
    assert (made["status"], made["computedDesiredCount"], made["stabilityStatus"]) == ("ACTIVE", 1, "STABILIZING")
    ecs.update_service_primary_task_set(**of, primaryTaskSet=made["taskSetArn"])

    def settled(running):
        (task_set,) = describe(ecs)["taskSets"]
        return task_set["runningCount"] == running and task_set["stabilityStatus"] == "STEADY_STATE"

    wait_for(lambda: settled(1), what="the first task")
    ecs.update_task_set(**of, taskSet=made["taskSetArn"], scale={"value": 100, "unit": "PERCENT"})
    wait_for(lambda: settled(2), what="the second task")
    refused(ecs.delete_task_set, "InvalidParameterException", "primary", **of, taskSet=made["taskSetArn"])
    ecs.delete_task_set(**of, taskSet=made["taskSetArn"], force=True)
    wait_for(lambda: describe(ecs)["taskSets"] == [], what="the end of the task set")
    assert ecs.list_tasks(serviceName="s")["taskArns"] == []
    refused(ecs.update_task_set, "TaskSetNotFoundException", "task set", **of, taskSet=made["taskSetArn"], scale=scale)


def test_protection(roadstead):
    ecs = roadstead.client("ecs")
    register(ecs)
    create(ecs)
    stable(ecs)
    keep, other = ecs.list_tasks(serviceName="s")["taskArns"]
    answer = ecs.update_task_protection(cluster="default", tasks=[keep], protectionEnabled=True, expiresInMinutes=60)
    assert answer["protectedTasks"][0]["protectionEnabled"] and answer["failures"] == []
    ecs.update_service(service="s", desiredCount=1)
    stable(ecs)
    assert ecs.list_tasks(serviceName="s")["taskArns"] == [keep]
    told = ecs.get_task_protection(cluster="default", tasks=[keep, other, "0" * 32])
    assert [task["taskArn"] for task in told["protectedTasks"]] == [keep]
    assert [failure["reason"] for failure in told["failures"]] == ["TASK_NOT_VALID", "MISSING"]


def test_the_command_line(roadstead, tmp_path):
    ecs = roadstead.client("ecs")
    register(ecs)
    request = tmp_path / "service.json"
    request.write_text(
        json.dumps(
            {
                "serviceName": "s",
                "taskDefinition": "web",
                "desiredCount": 1,
                "deploymentConfiguration": {
                    "strategy": "CANARY",
                    "canaryConfiguration": {"canaryPercent": 10.5, "canaryBakeTimeInMinutes": 0},
                    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                    "lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}],
                },
            }
        )
    )
    made = roadstead.aws("ecs", "create-service", "--cli-input-json", f"file://{request}")["service"]
    configuration = made["deploymentConfiguration"]
    assert configuration["canaryConfiguration"] == {"canaryPercent": 10.5, "canaryBakeTimeInMinutes": 0}
    assert configuration["deploymentCircuitBreaker"]["thresholdConfiguration"] == {"type": "BOUNDED_PERCENT", "value": 50}
    assert configuration["lifecycleHooks"][0]["timeoutConfiguration"] == {"timeoutInMinutes": 1440, "action": "ROLLBACK"}
    roadstead.aws("ecs", "tag-resource", "--resource-arn", made["serviceArn"], "--tags", "key=a,value=b")
    told = roadstead.aws("ecs", "describe-services", "--services", "s", "--include", "TAGS")["services"][0]
    assert told["tags"] == [{"key": "a", "value": "b"}]
    roadstead.aws("ecs", "delete-service", "--service", "s", "--force")

"""Express services as boto3 sees them: an image becomes a task definition and a service whose task runs."""

import pytest

from conftest import wait_for

WAIT = {"Delay": 1, "MaxAttempts": 60}


def test_from_the_image_to_its_task(roadstead):
    ecs = roadstead.client("ecs")
    made = ecs.create_express_gateway_service(
        serviceName="shop",
        executionRoleArn="arn:aws:iam::000000000000:role/execution",
        infrastructureRoleArn="arn:aws:iam::000000000000:role/infrastructure",
        primaryContainer={"image": "busybox:latest", "command": ["sh", "-c", "trap 'exit 0' TERM; echo open; sleep 1000 & wait"]},
        cpu="256",
        memory="512",
        tags=[{"key": "team", "value": "blue"}],
    )["service"]
    assert made["status"]["statusCode"] == "ACTIVE"
    assert "no load balancer" in made["status"]["statusReason"]
    assert made["activeConfigurations"][0]["ingressPaths"] == []
    ecs.get_waiter("services_stable").wait(cluster="default", services=["shop"], WaiterConfig=WAIT)
    (arn,) = ecs.list_tasks(serviceName="shop")["taskArns"]
    (task,) = ecs.describe_tasks(tasks=[arn], include=["TAGS"])["tasks"]
    assert (task["lastStatus"], task["launchType"], task["containers"][0]["name"]) == ("RUNNING", "FARGATE", "Main")
    assert {"key": "team", "value": "blue"} in task["tags"]
    logs = roadstead.client("logs")

    def said():
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/ecs/default/shop")["logGroups"]
        return groups and logs.filter_log_events(logGroupName=groups[0]["logGroupName"])["events"]

    assert wait_for(said)[0]["message"] == "open"

    updated = ecs.update_express_gateway_service(serviceArn=made["serviceArn"], scalingTarget={"minTaskCount": 2})
    assert updated["service"]["targetConfiguration"]["cpu"] == "256"
    ecs.get_waiter("services_stable").wait(cluster="default", services=["shop"], WaiterConfig=WAIT)
    assert len(ecs.list_tasks(serviceName="shop")["taskArns"]) == 2

    gone = ecs.delete_express_gateway_service(serviceArn=made["serviceArn"])["service"]
    assert gone["status"]["statusCode"] == "DRAINING"
    ecs.get_waiter("services_inactive").wait(cluster="default", services=["shop"], WaiterConfig=WAIT)
    shown = ecs.describe_express_gateway_service(serviceArn=made["serviceArn"], include=["TAGS"])["service"]
    assert (shown["status"], shown["tags"]) == ({"statusCode": "INACTIVE"}, [{"key": "team", "value": "blue"}])
    with pytest.raises(ecs.exceptions.ServiceNotActiveException):
        ecs.update_express_gateway_service(serviceArn=made["serviceArn"], cpu="512", memory="1024")

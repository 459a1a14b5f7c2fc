"""AWS Cloud Map as boto3 and the AWS CLI use it."""

import botocore.config
import botocore.exceptions
import boto3
import pytest


@pytest.fixture
def cloud_map(roadstead):
    env = roadstead.environment()
    # DiscoverInstances goes to `data-HOST` unless it is told not to; for the CLI `roadstead env` says so.
    return boto3.client(
        "servicediscovery",
        endpoint_url=roadstead.endpoint,
        region_name="us-east-1",
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(inject_host_prefix=False, retries={"max_attempts": 1}),
    )


def made(cloud_map, answer):
    operation = cloud_map.get_operation(OperationId=answer["OperationId"])["Operation"]
    assert operation["Status"] == "SUCCESS", operation
    return operation["Targets"]


@pytest.fixture
def namespace(roadstead, cloud_map):
    vpc = roadstead.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    return made(cloud_map, cloud_map.create_private_dns_namespace(Name="insurance.local", Vpc=vpc))["NAMESPACE"]


def test_from_namespace_to_instance(cloud_map, namespace):
    found = cloud_map.get_namespace(Id=namespace)["Namespace"]
    assert (found["Name"], found["Type"]) == ("insurance.local", "DNS_PRIVATE")
    assert found["Properties"]["DnsProperties"]["SOA"]["TTL"] == 15
    service = cloud_map.create_service(
        Name="backend",
        NamespaceId=namespace,
        DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]},
        HealthCheckCustomConfig={"FailureThreshold": 1},
    )["Service"]
    for name, address in [("one", "10.0.0.1"), ("two", "10.0.0.2")]:
        answer = cloud_map.register_instance(
            ServiceId=service["Id"], InstanceId=name, Attributes={"AWS_INSTANCE_IPV4": address, "stage": name}
        )
        assert made(cloud_map, answer) == {"INSTANCE": name, "SERVICE": service["Id"]}
    discover = {"NamespaceName": "insurance.local", "ServiceName": "backend"}
    answer = cloud_map.discover_instances(**discover)
    assert {instance["InstanceId"] for instance in answer["Instances"]} == {"one", "two"}
    assert {instance["HealthStatus"] for instance in answer["Instances"]} == {"HEALTHY"}
    cloud_map.update_instance_custom_health_status(ServiceId=service["Id"], InstanceId="one", Status="UNHEALTHY")
    answer = cloud_map.discover_instances(**discover)
    assert [instance["InstanceId"] for instance in answer["Instances"]] == ["two"]
    revision = cloud_map.discover_instances_revision(**discover)["InstancesRevision"]
    assert revision == answer["InstancesRevision"]
    assert cloud_map.get_instances_health_status(ServiceId=service["Id"])["Status"] == {
        "one": "UNHEALTHY",
        "two": "HEALTHY",
    }
    pages = cloud_map.get_paginator("list_instances").paginate(ServiceId=service["Id"], MaxResults=1)
    assert [instance["Id"] for page in pages for instance in page["Instances"]] == ["one", "two"]

    for refused, call in [
        ("ResourceInUse", lambda: cloud_map.delete_service(Id=service["Id"])),
        ("ResourceInUse", lambda: cloud_map.delete_namespace(Id=namespace)),
        ("ServiceAlreadyExists", lambda: cloud_map.create_service(Name="backend", NamespaceId=namespace)),
        ("NamespaceNotFound", lambda: cloud_map.get_namespace(Id="ns-none")),
        ("InstanceNotFound", lambda: cloud_map.get_instance(ServiceId=service["Id"], InstanceId="none")),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == refused
    for name in ["one", "two"]:
        cloud_map.deregister_instance(ServiceId=service["Id"], InstanceId=name)
    cloud_map.delete_service(Id=service["Id"])
    assert made(cloud_map, cloud_map.delete_namespace(Id=namespace)) == {"NAMESPACE": namespace}


def test_the_aws_cli_discovers_instances(roadstead):
    created = roadstead.aws("servicediscovery", "create-http-namespace", "--name", "web", "--tags", "Key=a,Value=b")
    operation = roadstead.aws("servicediscovery", "get-operation", "--operation-id", created["OperationId"])
    namespace = operation["Operation"]["Targets"]["NAMESPACE"]
    service = roadstead.aws("servicediscovery", "create-service", "--name", "s", "--namespace-id", namespace)["Service"]
    roadstead.aws(
        "servicediscovery", "register-instance", "--service-id", service["Id"], "--instance-id", "i",
        "--attributes", "AWS_INSTANCE_IPV4=10.0.0.1,AWS_INSTANCE_PORT=80",
    )  # fmt: skip
    found = roadstead.aws("servicediscovery", "discover-instances", "--namespace-name", "web", "--service-name", "s")
    assert found["Instances"][0]["Attributes"]["AWS_INSTANCE_PORT"] == "80"
    filters = f"Name=NAMESPACE_ID,Values={namespace},Condition=EQ"
    listed = roadstead.aws("servicediscovery", "list-services", "--filters", filters)
    assert [entry["Id"] for entry in listed["Services"]] == [service["Id"]]
    tags = roadstead.aws("servicediscovery", "list-tags-for-resource", "--resource-arn", service["Arn"])
    assert tags["Tags"] == []

"""Bad input: every implemented operation, through signed raw HTTP, refuses what is malformed, and nothing changes."""

import http.client
import json
import pathlib
import re

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from conftest import ROOT

REQUEST_BODY_BYTES = int(
    re.search(r"REQUEST_BODY_BYTES: usize = (\d+) \* 1024 \* 1024", (ROOT / "crates/base/src/limits.rs").read_text())[1]
) * (1 << 20)
DEPTH = 10_000
MEMORY_BYTES = 96 << 20
JSON_SERVICES = ("ecs", "logs")
QUERY_SERVICES = ("ec2", "sts")
# Values of the wrong type for a member of each type. Numbers in the place of texts and so on: nothing is guessed.
WRONG = {
    "string": [1, 1.5, True, ["a"], {"a": "b"}],
    "integer": ["1", 1.5, True, [1], {}, 2**31, -(2**31) - 1, 10**400],
    "long": ["1", 1.5, True, [1], {}, 2**63, 10**400],
    "boolean": ["true", 1, 0, [True], {}],
    "list": ["a", 1, True, {"a": 1}],
    "map": ["a", 1, True, [1]],
    "structure": ["a", 1, True, [1]],
    "timestamp": [True, [1], {}, "not a time"],
    "float": ["a", True, [], {}],
    "double": ["a", True, [], {}],
}
NAMES = {"cluster", "clusterName", "family", "familyPrefix", "taskDefinition", "containerInstance", "task", "resourceArn"}
NAMES |= {"logGroupName", "logStreamName", "logGroupNamePrefix", "nextToken", "clientToken", "startedBy", "capacityProvider"}


def implemented(service):
    lines = (ROOT / f"models/{service}.operations").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


class Raw:
    """Signs and sends whatever it is given, over one connection."""

    def __init__(self, roadstead):
        environment = roadstead.environment()
        self.roadstead = roadstead
        keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        self.credentials = botocore.credentials.Credentials(*keys)
        self.connection = http.client.HTTPConnection("127.0.0.1", roadstead.port, timeout=30)
        self.models = {
            service: boto3.Session().client(service, region_name="us-east-1", endpoint_url=roadstead.endpoint).meta.service_model
            for service in JSON_SERVICES + QUERY_SERVICES
        }

    def post(self, service, body, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = botocore.awsrequest.AWSRequest("POST", self.roadstead.endpoint + "/", data=body, headers=headers)
        botocore.auth.SigV4Auth(self.credentials, service, "us-east-1").add_auth(request)
        try:
            self.connection.request("POST", "/", body=body, headers=dict(request.headers))
            answer = self.connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, ConnectionError):
            self.connection.close()
            raise
        if answer.getheader("connection") == "close":
            self.connection.close()
        return answer.status, text

    def json(self, service, operation, body):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        metadata = self.models[service].metadata
        target = f"{metadata['targetPrefix']}.{operation}"
        return self.post(service, body, Content_Type=f"application/x-amz-json-{metadata['jsonVersion']}", X_Amz_Target=target)

    def query(self, service, body):
        return self.post(service, body, Content_Type="application/x-www-form-urlencoded; charset=utf-8")


def state(roadstead):
    """Everything that a call could have changed."""
    ecs, logs, ec2 = roadstead.client("ecs"), roadstead.client("logs"), roadstead.client("ec2")

    def all_of(client, operation, key, **request):
        pages = client.get_paginator(operation).paginate(**request)
        return [one for page in pages for one in page[key]]

    clusters = all_of(ecs, "list_clusters", "clusterArns")
    instances = all_of(ecs, "list_container_instances", "containerInstanceArns")
    definitions = all_of(ecs, "list_task_definitions", "taskDefinitionArns")
    groups = all_of(logs, "describe_log_groups", "logGroups")
    everything = {
        "clusters": ecs.describe_clusters(clusters=clusters, include=["TAGS", "SETTINGS", "STATISTICS"])["clusters"],
        "definitions": [ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"]) for arn in definitions],
        "families": ecs.list_task_definition_families()["families"],
        "tasks": [all_of(ecs, "list_tasks", "taskArns", cluster=cluster) for cluster in clusters],
        "instances": ecs.describe_container_instances(containerInstances=instances, include=["TAGS"])["containerInstances"],
        "settings": ecs.list_account_settings(effectiveSettings=True)["settings"],
        "attributes": ecs.list_attributes(targetType="container-instance")["attributes"],
        "groups": groups,
        "streams": [all_of(logs, "describe_log_streams", "logStreams", logGroupName=g["logGroupName"]) for g in groups],
        "vpcs": [ec2.describe_vpcs()["Vpcs"], ec2.describe_subnets()["Subnets"], ec2.describe_security_groups()["SecurityGroups"]],
    }
    text = json.dumps(everything, sort_keys=True, default=str)
    return re.sub(r'"(RequestId|date|HTTPHeaders|x-amzn-requestid|content-length)": "[^"]*"', "", text)


def memory_of(pid):
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(kib) << 10


@pytest.fixture
def raw(roadstead):
    """Raw requests at a Roadstead with something to lose; at the end nothing is lost, and it lives within its bounds."""
    ecs, logs = roadstead.client("ecs"), roadstead.client("logs")
    ecs.register_task_definition(
        family="kept", networkMode="none", containerDefinitions=[{"name": "main", "image": "busybox:latest", "memory": 16}]
    )
    ecs.create_cluster(clusterName="kept", tags=[{"key": "a", "value": "b"}])
    logs.create_log_group(logGroupName="/kept")
    logs.create_log_stream(logGroupName="/kept", logStreamName="stream")
    before, resident = state(roadstead), memory_of(roadstead.process.pid)
    yield Raw(roadstead)
    assert roadstead.process.poll() is None, "it lives"
    assert "panicked" not in roadstead.log_text()
    assert state(roadstead) == before, "nothing has changed"
    assert memory_of(roadstead.process.pid) < resident + MEMORY_BYTES


def fault_of(text):
    document = json.loads(text)
    return document["__type"].rsplit("#", 1)[-1]


JSON_OPERATIONS = [(service, operation) for service in JSON_SERVICES for operation in implemented(service)]


def test_a17_bodies_that_are_no_json(raw):
    deep = b'{"x":' + b"[" * DEPTH + b"]" * DEPTH + b"}"
    for service, operation in JSON_OPERATIONS:
        member = next(iter(raw.models[service].operation_model(operation).input_shape.members), "x").encode()
        bodies = {
            "cut": b'{"' + member + b'": ',
            "open": b"{",
            "no colon": b'{"' + member + b'" 1}',
            "a comma too many": b"{,}",
            "single quotes": b"{'" + member + b"': 1}",
            "a control character": b'{"' + member + b'": "\x01"}',
            "not UTF-8": b'{"' + member + b'": "\xff\xfe"}',
            "half a surrogate pair": b'{"' + member + b'": "\\ud800"}',
            "a list": b"[]",
            "a text": b'"x"',
            "a number": b"1",
            "NaN": b'{"' + member + b'": NaN}',
            "infinity": b'{"' + member + b'": Infinity}',
            "a byte order mark": b"\xef\xbb\xbf{}",
            "trailing bytes": b"{} x",
            "two documents": b"{}{}",
            "twice the same member": b'{"' + member + b'": null, "' + member + b'": null}',
            "too deep": deep,
            "too deep, unclosed": b'{"x":' + b'{"x":' * DEPTH,
        }
        for what, body in bodies.items():
            status, text = raw.json(service, operation, body)
            assert status == 400, (service, operation, what, status, text[:300])
            assert fault_of(text) in ("SerializationException", "ValidationException"), (operation, what, text[:300])


def test_wrong_types_of_every_member(raw):
    for service, operation in JSON_OPERATIONS:
        for name, shape in raw.models[service].operation_model(operation).input_shape.members.items():
            for value in WRONG[shape.type_name]:
                status, text = raw.json(service, operation, {name: value})
                assert status == 400, (service, operation, name, value, status, text[:300])
            if shape.type_name == "list":
                (wrong, *_) = WRONG[shape.member.type_name]
                status, text = raw.json(service, operation, {name: [wrong]})
                assert status == 400, (service, operation, name, [wrong], status, text[:300])


def test_missing_and_overlong(raw):
    for service, operation in JSON_OPERATIONS:
        shape = raw.models[service].operation_model(operation).input_shape
        if shape.required_members:
            status, text = raw.json(service, operation, {})
            assert status == 400, (service, operation, status, text[:300])
            nulls = dict.fromkeys(shape.required_members)
            assert raw.json(service, operation, nulls)[0] == 400, (operation, nulls)
        for name in NAMES & set(shape.members):
            if shape.members[name].type_name != "string":
                continue
            for value in ("a" * 70_000, "a\0b", "a\nb", "../../etc", "\u202e", ""):
                if value == "" and name not in shape.required_members:
                    continue
                if service == "logs" and value.startswith("../"):
                    continue  # Dots and slashes are letters like others in the names of log groups and streams.
                status, text = raw.json(service, operation, {name: value})
                # To look for a name that nothing can have is no mistake: nothing is found.
                looks = operation.startswith("List") and name in ("family", "familyPrefix", "startedBy")
                least = 200 if looks else 400
                assert least <= status < 500, (operation, name, value[:20], status, text[:300])


def test_operations_that_are_not_there(raw):
    for service in JSON_SERVICES:
        status, text = raw.json(service, "MakeCoffee", {})
        assert (status, fault_of(text)) == (400, "UnknownOperationException")
        missing = sorted(set(raw.models[service].operation_names) - set(implemented(service)))
        for operation in missing:
            status, text = raw.json(service, operation, {})
            assert status == 501, (service, operation, status, text[:300])
            assert operation.encode() in text
    for service in QUERY_SERVICES:
        version = raw.models[service].api_version
        status, text = raw.query(service, f"Action=MakeCoffee&Version={version}".encode())
        assert status == 400 and b"InvalidAction" in text and b"MakeCoffee" in text
        missing = sorted(set(raw.models[service].operation_names) - set(implemented(service)))
        for operation in missing[:60]:
            status, text = raw.query(service, f"Action={operation}&Version={version}".encode())
            assert status == 501, (service, operation, status, text[:300])
            assert operation.encode() in text


def test_query_bodies(raw):
    for service in QUERY_SERVICES:
        version = raw.models[service].api_version
        for body in (b"", b"&&&", b"Version=" + version.encode(), b"\xff\xfe\x00", b"Action", b"=x", b"Action=%zz", b"Action=" + b"A" * 70_000):
            status, text = raw.query(service, body)
            assert 400 <= status < 500, (service, body[:40], status, text[:300])
        for operation in implemented(service):
            head = f"Action={operation}&Version={version}"
            shape = raw.models[service].operation_model(operation).input_shape
            members = shape.members if shape else {}
            for name, member in members.items():
                wire = member.serialization.get("queryName") or member.serialization.get("name") or name
                wire = wire[0].upper() + wire[1:]
                wrong = {"integer": ["x", "1.5", str(2**40), "", "１"], "boolean": ["maybe", "2"]}.get(member.type_name, [])
                for value in wrong:
                    status, text = raw.query(service, f"{head}&{wire}={value}".encode())
                    assert status == 400, (service, operation, wire, value, status, text[:300])
            deep = "Filter.1" + ".a" * DEPTH
            status, text = raw.query(service, f"{head}&{deep}=x".encode())
            assert status < 500, (service, operation, "deep", status, text[:300])
            many = head + "".join(f"&Filter.{number}.Name=x" for number in range(5_000))
            status, text = raw.query(service, many.encode())
            assert status < 500, (service, operation, "many", status, text[:300])
            status, text = raw.query(service, f"{head}&Filter.99999999999.Name=x".encode())
            assert status < 500, (service, operation, "index", status, text[:300])


def test_bodies_over_the_limit(raw):
    body = b'{"x":"' + b"a" * REQUEST_BODY_BYTES + b'"}'
    for service, operation in (("ecs", "RegisterTaskDefinition"), ("logs", "PutLogEvents")):
        try:
            status, _ = raw.json(service, operation, body)
            assert status == 413, (service, operation, status)
        except ConnectionError:
            pass  # It answers before it has read everything, and closes.
    assert raw.json("ecs", "ListClusters", {})[0] == 200

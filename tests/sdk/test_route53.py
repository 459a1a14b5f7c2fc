"""Route 53 with boto3 and the AWS CLI: zones, record sets, health checks, and what DNS then says."""

import http.server
import subprocess
import threading

import botocore.exceptions
import pytest
from conftest import wait_for


def fails(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


def record(name, kind, *values, **more):
    return {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value} for value in values], **more}


def change(route53, zone, *changes):
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": given} for action, given in changes]}
    return route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"]


def resolver(roadstead):
    """The address that the host asks."""
    lines = [line for line in roadstead.cli("doctor").stdout.splitlines() if "dig @" in line]
    address, _, port = lines[0].split("dig @")[1].split()[:3]
    return address, port


def dig(roadstead, name, kind="A"):
    address, port = resolver(roadstead)
    done = subprocess.run(
        ["dig", f"@{address}", "-p", port, "+short", "+tries=1", name, kind], check=True, capture_output=True, text=True
    )
    return sorted(done.stdout.split("\n")[:-1])


def test_zones_and_records(roadstead):
    route53, ec2 = roadstead.client("route53"), roadstead.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = route53.create_hosted_zone(
        Name="corp.example", CallerReference="one", VPC={"VPCId": vpc, "VPCRegion": "us-east-1"}
    )
    zone = made["HostedZone"]["Id"]
    assert made["HostedZone"]["Config"]["PrivateZone"] and made["VPC"]["VPCId"] == vpc
    info = change(
        route53, zone,
        ("CREATE", record("db.corp.example", "A", "10.1.2.3")),
        ("UPSERT", record("www.corp.example", "CNAME", "db.corp.example")),
        ("CREATE", record("*.wild.corp.example", "TXT", '"hello" "world"')),
    )
    assert info["Status"] == "INSYNC"
    route53.get_waiter("resource_record_sets_changed").wait(Id=info["Id"])
    assert dig(roadstead, "db.corp.example") == ["10.1.2.3"]
    assert dig(roadstead, "www.corp.example") == ["10.1.2.3", "db.corp.example."]
    assert dig(roadstead, "x.wild.corp.example", "TXT") == ['"hello" "world"']
    names = [found["Name"] for found in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]]
    assert names == ["corp.example.", "corp.example.", "db.corp.example.", "\\052.wild.corp.example.", "www.corp.example."]
    paginator = route53.get_paginator("list_resource_record_sets")
    pages = list(paginator.paginate(HostedZoneId=zone, PaginationConfig={"PageSize": 2}))
    assert [len(page["ResourceRecordSets"]) for page in pages] == [2, 2, 1]
    refused = fails(
        route53.change_resource_record_sets, HostedZoneId=zone,
        ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record("db.corp.example", "A", "10.1.2.4")}]},
    )
    assert refused["Code"] == "InvalidChangeBatch" and "but it already exists" in refused["Message"]
    answer = route53.test_dns_answer(HostedZoneId=zone, RecordName="db.corp.example", RecordType="A")
    assert (answer["RecordData"], answer["ResponseCode"]) == (["10.1.2.3"], "NOERROR")
    assert fails(route53.get_hosted_zone, Id="ZNONE")["Code"] == "NoSuchHostedZone"
    listed = roadstead.aws("route53", "list-hosted-zones-by-name", "--dns-name", "corp.example")
    assert listed["HostedZones"][0]["Id"] == zone
    assert roadstead.aws("route53", "get-hosted-zone", "--id", zone)["VPCs"][0]["VPCId"] == vpc


def test_cloud_map_zones_are_told_and_closed(roadstead):
    route53, discovery, ec2 = (roadstead.client(name) for name in ("route53", "servicediscovery", "ec2"))
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    operation = discovery.create_private_dns_namespace(Name="insurance.local", Vpc=vpc)["OperationId"]
    namespace = discovery.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    zone = discovery.get_namespace(Id=namespace)["Namespace"]["Properties"]["DnsProperties"]["HostedZoneId"]
    service = discovery.create_service(
        Name="backend", NamespaceId=namespace, DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]}
    )["Service"]["Id"]
    discovery.register_instance(ServiceId=service, InstanceId="i-1", Attributes={"AWS_INSTANCE_IPV4": "172.31.9.9"})
    sets = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    (found,) = [found for found in sets if found["Type"] == "A"]
    assert (found["Name"], found["SetIdentifier"], found["MultiValueAnswer"]) == ("backend.insurance.local.", "i-1", True)
    assert dig(roadstead, "backend.insurance.local") == ["172.31.9.9"]
    assert fails(route53.delete_hosted_zone, Id=zone)["Code"] == "AccessDenied"
    discovery.deregister_instance(ServiceId=service, InstanceId="i-1")
    assert dig(roadstead, "backend.insurance.local") == []
    discovery.delete_service(Id=service)
    discovery.delete_namespace(Id=namespace)
    assert fails(route53.get_hosted_zone, Id=zone)["Code"] == "NoSuchHostedZone"


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(Handler.status)
        self.end_headers()
        self.wfile.write(b"all is well")

    def log_message(self, *_):
        pass


def test_failover_follows_health(roadstead):
    route53 = roadstead.client("route53")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.status = 200
    try:
        check = route53.create_health_check(
            CallerReference="c",
            HealthCheckConfig={
                "Type": "HTTP_STR_MATCH", "IPAddress": "127.0.0.1", "Port": server.server_port, "ResourcePath": "/",
                "SearchString": "is well", "RequestInterval": 10, "FailureThreshold": 1,
            },
        )["HealthCheck"]["Id"]
        zone = route53.create_hosted_zone(Name="fail.example", CallerReference="f")["HostedZone"]["Id"]
        change(
            route53, zone,
            ("CREATE", record("www.fail.example", "A", "192.0.2.1", SetIdentifier="1", Failover="PRIMARY", HealthCheckId=check)),
            ("CREATE", record("www.fail.example", "A", "192.0.2.2", SetIdentifier="2", Failover="SECONDARY")),
        )

        def status():
            seen = route53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
            return seen and seen[0]["StatusReport"]["Status"]

        assert "200" in wait_for(status, what="the first look")
        assert dig(roadstead, "www.fail.example") == ["192.0.2.1"]
        Handler.status = 503
        wait_for(lambda: dig(roadstead, "www.fail.example") == ["192.0.2.2"], what="the secondary's answer")
        assert "503" in status()
        reason = route53.get_health_check_last_failure_reason(HealthCheckId=check)["HealthCheckObservations"]
        assert "503" in reason[0]["StatusReport"]["Status"]
    finally:
        server.shutdown()
        server.server_close()

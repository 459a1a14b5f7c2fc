"""The command line's promises: authentication, reset, regions, the halves of `up`, doctor."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

import botocore.exceptions
import pytest
from conftest import BINARY, Roadstead, free_port, wait_for


def run_sleeper(ecs, family="sleeper", **extra):
    ecs.register_task_definition(
        family=family,
        networkMode="none",
        containerDefinitions=[
            {"name": "main", "image": "busybox:latest", "memory": 16, "command": ["sleep", "3600"], "stopTimeout": 2}
        ],
    )
    answer = ecs.run_task(taskDefinition=family, **extra)
    assert not answer["failures"], answer["failures"]
    return answer["tasks"][0]["taskArn"]


def code_of(error):
    return error.value.response["Error"]["Code"]


def test_signatures_are_verified(roadstead):
    wrong_secret = roadstead.client("ecs", secret_access_key="wrong")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        wrong_secret.list_clusters()
    assert code_of(error) == "InvalidSignatureException"
    stranger = roadstead.client("ecs", access_key_id="AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(botocore.exceptions.ClientError) as error:
        stranger.list_clusters()
    assert code_of(error) == "UnrecognizedClientException"
    unsigned = urllib.request.Request(
        roadstead.endpoint, data=b"{}", headers={"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(unsigned, timeout=10)
    assert refused.value.code == 400
    assert b"MissingAuthenticationTokenException" in refused.value.read()


def test_auth_any_takes_any_key_and_listens_on_loopback_only(fresh, tmp_path):
    roadstead = fresh("--ephemeral", "--auth", "any")
    client = roadstead.client("sts", access_key_id="anyone", secret_access_key="anything")
    assert client.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    done = subprocess.run(
        [BINARY, "server", "--auth", "any", "--listen", f"0.0.0.0:{free_port()}", "--data-dir", tmp_path / "data"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "loopback" in done.stderr


def test_the_root_key_is_readable_by_its_owner_only(shared):
    mode = (shared.data_dir / "root-credentials").stat().st_mode & 0o777
    assert mode == 0o600
    assert shared.data_dir.stat().st_mode & 0o077 == 0
    assert shared.environment()["AWS_SECRET_ACCESS_KEY"] not in shared.log_text()


def test_reset_stops_tasks_and_empties_the_state(roadstead):
    ecs, logs = roadstead.client("ecs"), roadstead.client("logs")
    run_sleeper(ecs)
    ecs.create_cluster(clusterName="other")
    logs.create_log_group(logGroupName="/group")
    wait_for(roadstead.live_containers, what="a container")
    started = time.monotonic()
    roadstead.reset()
    assert time.monotonic() - started < 20
    assert roadstead.live_containers() == {}
    assert ecs.list_tasks()["taskArns"] == []
    assert ecs.list_task_definitions()["taskDefinitionArns"] == []
    assert [arn.rsplit("/", 1)[1] for arn in ecs.list_clusters()["clusterArns"]] == ["default"]
    assert logs.describe_log_groups()["logGroups"] == []
    run_sleeper(ecs)
    wait_for(roadstead.live_containers, what="a container after the reset")


def test_reset_is_refused_unless_allowed(fresh):
    roadstead = fresh("--ephemeral")
    with pytest.raises(urllib.error.HTTPError) as refused:
        roadstead.reset()
    assert refused.value.code == 403


def test_regions_are_apart(roadstead):
    here, there = roadstead.client("ecs"), roadstead.client("ecs", region="eu-west-1")
    here.create_cluster(clusterName="only-here")
    there.create_cluster(clusterName="only-there")
    names = lambda client: {arn.rsplit("/", 1)[1] for arn in client.list_clusters()["clusterArns"]}  # noqa: E731
    assert names(here) == {"default", "only-here"}
    assert names(there) == {"only-there"}
    # Fargate capacity serves every region, with addresses that do not clash.
    networks = {}
    for region, ecs in (("us-east-1", here), ("eu-west-1", there)):
        ec2 = roadstead.client("ec2", region=region)
        networks[region] = ec2.describe_vpcs()["Vpcs"][0]["CidrBlock"]
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        ecs.register_task_definition(
            family="web",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[
                {"name": "web", "image": "busybox:latest", "command": ["sh", "-c", f"echo {region} > /tmp/index.html; exec httpd -f -h /tmp"]}
            ],
        )
        roadstead.let_in(80, region)
        cluster = "only-here" if region == "us-east-1" else "only-there"
        (task,) = ecs.run_task(
            cluster=cluster,
            launchType="FARGATE",
            taskDefinition="web",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )["tasks"]

        def running():
            (described,) = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
            assert described["lastStatus"] != "STOPPED", described
            return described if described["lastStatus"] == "RUNNING" else None

        described = wait_for(running, what=f"the task in {region}")
        details = {detail["name"]: detail["value"] for detail in described["attachments"][0]["details"]}
        address = details["privateIPv4Address"]

        def page():
            try:
                with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
                    return answer.read().decode().strip()
            except OSError:
                return None

        assert wait_for(page, what="the page") == region
    assert networks["us-east-1"] != networks["eu-west-1"]


def names_on(control):
    """What a task in a VPC resolves of a private zone and of Cloud Map, by its exit codes and words."""
    ec2, route53, discovery = (control.client(name) for name in ("ec2", "route53", "servicediscovery"))
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    zone = route53.create_hosted_zone(
        Name="corp.example", CallerReference="one", VPC={"VPCId": vpc, "VPCRegion": "us-east-1"}
    )["HostedZone"]["Id"]
    record = {"Name": "db.corp.example", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.1.2.3"}]}
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    operation = discovery.create_private_dns_namespace(Name="insurance.local", Vpc=vpc)["OperationId"]
    namespace = discovery.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
    service = discovery.create_service(
        Name="backend", NamespaceId=namespace, DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]}
    )["Service"]["Id"]
    discovery.register_instance(ServiceId=service, InstanceId="i-1", Attributes={"AWS_INSTANCE_IPV4": "172.31.9.9"})
    ecs, logs = control.client("ecs"), control.client("logs")
    ask = "; ".join(f"nslookup {name} | sed -n '/^Name/,$ s/^Address.* //p'" for name in ("db.corp.example", "backend.insurance.local"))
    options = {"awslogs-group": "/names", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "n", "awslogs-create-group": "true"}
    ecs.register_task_definition(
        family="names", networkMode="awsvpc",
        containerDefinitions=[{
            "name": "main", "image": "busybox:latest", "memory": 64, "command": ["sh", "-c", f"{ask}; echo end"],
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        }],
    )
    # The machine is in one of their zones.
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    network = {"awsvpcConfiguration": {"subnets": subnets}}
    task = ecs.run_task(taskDefinition="names", networkConfiguration=network)["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def lines():
        stream = f"n/main/{task.rsplit('/', 1)[1]}"
        events = logs.get_log_events(logGroupName="/names", logStreamName=stream, startFromHead=True)["events"]
        texts = [event["message"] for event in events]
        return texts[:-1] if texts[-1:] == ["end"] else None

    return wait_for(lines, what="the task's lines")


def test_the_halves_of_up_work_apart(tmp_path):
    """`roadstead server` alone, and `roadstead agent` that joins it."""
    from conftest import busybox_archive

    control = Roadstead()
    node_dir = tmp_path / "node"
    processes = []
    log = open(tmp_path / "log", "w+")
    try:
        listen = f"127.0.0.1:{control.port}"
        processes.append(
            subprocess.Popen([BINARY, "server", "--data-dir", control.data_dir, "--listen", listen], stdout=log, stderr=log)
        )
        control.process = processes[0]
        control.wait_ready()
        ecs = control.client("ecs")
        with pytest.raises(botocore.exceptions.ClientError) as error:
            run_sleeper(ecs)
        assert "No Container Instances were found in your cluster" in str(error.value)
        subprocess.run([BINARY, "image", "load", busybox_archive(), "--tag", "busybox:latest", "--data-dir", node_dir], check=True)
        environment = {**os.environ, **control.environment()}
        processes.append(
            subprocess.Popen([BINARY, "agent", "--data-dir", node_dir], env=environment, stdout=log, stderr=log)
        )
        wait_for(lambda: ecs.list_container_instances()["containerInstanceArns"], what="the container instance")
        described = lambda: ecs.describe_container_instances(  # noqa: E731
            containerInstances=ecs.list_container_instances()["containerInstanceArns"]
        )["containerInstances"][0]
        wait_for(lambda: described()["agentConnected"], what="the agent's connection")
        task = ecs.run_task(taskDefinition="sleeper")["tasks"][0]["taskArn"]
        status = lambda: ecs.describe_tasks(tasks=[task])["tasks"][0]["lastStatus"]  # noqa: E731
        wait_for(lambda: status() == "RUNNING", what="RUNNING")
        assert names_on(control) == ["10.1.2.3", "172.31.9.9"], "the node's resolver is told what the control plane knows"
        processes[1].kill()
        processes[1].wait()
        wait_for(lambda: not described()["agentConnected"], what="the lost agent")
        assert status() == "RUNNING", "its tasks go on"
    finally:
        for process in processes:
            process.kill()
            process.wait()
        subprocess.run([BINARY, "down", "--data-dir", node_dir], check=True, capture_output=True)
        control.destroy()
        log.close()


def test_two_on_one_data_directory_is_refused(shared):
    done = subprocess.run(
        [BINARY, "server", "--data-dir", shared.data_dir, "--listen", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert str(shared.process.pid) in done.stderr, "it names the process that has it"


def test_a_taken_port_is_named(fresh, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [BINARY, "server", "--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    assert str(port) in done.stderr and "--listen" in done.stderr


def test_doctor_says_what_is_missing_and_how_to_mend_it(tmp_path):
    fine = subprocess.run([BINARY, "doctor", "--data-dir", tmp_path], capture_output=True, text=True)
    assert fine.returncode == 0, fine.stdout
    for name in ("overlayfs", "seccomp", "nftables", "disk space"):
        assert name in fine.stdout
    # Without root nothing works, and both doctor and up say so at once.
    data = tmp_path / "other"
    data.mkdir(mode=0o777)
    os.chmod(tmp_path, 0o777)
    for command in ("doctor", "up"):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY, command, "--data-dir", data],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        assert "root" in done.stdout + done.stderr and "mend" in done.stdout + done.stderr


def test_an_idle_client_and_a_slow_body_are_let_go(shared):
    with socket.create_connection(("127.0.0.1", shared.port)) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        slow.settimeout(40)
        answer = slow.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", shared.port)) as idle:
        idle.settimeout(60)
        assert idle.recv(1) in (b"", b"H"), "closed, or told so, after the head's time limit"

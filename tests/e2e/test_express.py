"""Express services: from an image to an HTTPS endpoint on a load balancer that they share, a new version beside the old one, and
nothing left when they are gone."""

import re
import socket
import ssl

import pytest

from conftest import wait_for
from test_dns import addresses, run

WAIT = {"Delay": 1, "MaxAttempts": 90}
ROLES = {
    "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
    "infrastructureRoleArn": "arn:aws:iam::000000000000:role/infrastructure",
}


def container(page, port=80):
    serve = f"mkdir -p /www; echo {page} > /www/index.html; echo ok > /www/ping; httpd -h /www -p {port}; echo open"
    return {
        "image": "busybox:latest", "containerPort": port,
        "command": ["sh", "-c", f"{serve}; trap 'exit 0' TERM; while :; do sleep 0.05; done"],
    }


class Express:
    def __init__(self, roadstead):
        self.ecs, self.elb, self.ec2, self.acm = (roadstead.client(name) for name in ("ecs", "elbv2", "ec2", "acm"))
        self.groups = self.security_groups()

    def create(self, name, **more):
        return self.ecs.create_express_gateway_service(
            serviceName=name, primaryContainer=container(f"page of {name}"), cpu="256", memory="512", **ROLES, **more
        )["service"]

    def stable(self, *names):
        self.ecs.get_waiter("services_stable").wait(services=list(names), WaiterConfig=WAIT)

    def load_balancers(self):
        return self.elb.describe_load_balancers()["LoadBalancers"]

    def security_groups(self):
        return {group["GroupId"] for group in self.ec2.describe_security_groups()["SecurityGroups"]}

    def address(self, load_balancer):
        """An address of the load balancer, by which this machine reaches it."""
        filters = [{"Name": "description", "Values": [f"ELB {load_balancer['LoadBalancerArn'].split('loadbalancer/')[1]}"]}]
        return self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"][0]["PrivateIpAddress"]

    def certificate(self, domain_name):
        (arn,) = [
            there["CertificateArn"]
            for there in self.acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
            if there["DomainName"] == domain_name
        ]
        return self.acm.get_certificate(CertificateArn=arn)["Certificate"]

    def get(self, endpoint, address, certificate):
        """The page at the endpoint, from a client that trusts its certificate alone."""
        context = ssl.create_default_context(cadata=certificate)
        with socket.create_connection((address, 443), timeout=10) as plain, context.wrap_socket(plain, server_hostname=endpoint) as tls:
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := tls.recv(65536):
                answer += part
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body.strip()


def endpoint_of(service):
    (path,) = service["activeConfigurations"][0]["ingressPaths"]
    assert path["accessType"] == "PUBLIC"
    return path["endpoint"]


@pytest.fixture
def express(roadstead):
    return Express(roadstead)


def test_two_services_share_a_load_balancer_that_goes_with_the_last(express, roadstead):
    ecs, elb = express.ecs, express.elb
    shop, blog = express.create("shop", tags=[{"key": "team", "value": "blue"}]), express.create("blog")
    assert shop["status"] == {"statusCode": "ACTIVE"}
    assert re.fullmatch(r"sh-[0-9a-f]{32}\.ecs\.us-east-1\.on\.aws", endpoint_of(shop))
    express.stable("shop", "blog")
    (load_balancer,) = express.load_balancers()
    assert (load_balancer["Scheme"], load_balancer["State"]["Code"]) == ("internet-facing", "active")
    address = express.address(load_balancer)
    for service, page in ((shop, "page of shop"), (blog, "page of blog")):
        endpoint = endpoint_of(service)
        assert express.get(endpoint, address, express.certificate(endpoint)) == (200, page)
    # The name leads there: here for what shares the machine's network.
    found = addresses(run(roadstead, f"nslookup {endpoint_of(shop)}; echo end", mode="host"), endpoint_of(shop))
    assert address in found and len(found) == len(load_balancer["AvailabilityZones"])

    (arn,) = ecs.list_tasks(serviceName="shop")["taskArns"]
    (task,) = ecs.describe_tasks(tasks=[arn], include=["TAGS"])["tasks"]
    assert (task["launchType"], task["containers"][0]["name"]) == ("FARGATE", "Main")
    assert {"key": "team", "value": "blue"} in task["tags"]
    logs = roadstead.client("logs")

    def said():
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/ecs/default/shop")["logGroups"]
        return groups and logs.filter_log_events(logGroupName=groups[0]["logGroupName"])["events"]

    assert wait_for(said)[0]["message"] == "open"
    (revision,) = [one["arn"] for one in ecs.describe_services(services=["shop"])["services"][0]["currentServiceRevisions"]]
    managed = ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"][0]["ecsManagedResources"]
    (path,) = managed["ingressPaths"]
    assert {path[part]["status"] for part in ("loadBalancer", "listener", "rule", "certificate")} == {"ACTIVE"}

    # A new version, on another port, in the other target group. As the first deployment bakes still, no traffic has to be shared
    # (`crates/control/tests/load_balancers/express.rs` shifts it).
    ecs.update_express_gateway_service(serviceArn=shop["serviceArn"], primaryContainer=container("new page", 8080), healthCheckPath="/index.html")
    certificate = express.certificate(endpoint_of(shop))
    wait_for(lambda: express.get(endpoint_of(shop), address, certificate) == (200, "new page"), what="the new page")
    (rule,) = elb.describe_rules(RuleArns=[path["rule"]["arn"]])["Rules"]
    weights = {group["TargetGroupArn"]: group["Weight"] for group in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]}
    assert [weights[group["arn"]] for group in path["targetGroups"]] == [0, 100]
    shown = ecs.describe_express_gateway_service(serviceArn=shop["serviceArn"])["service"]["activeConfigurations"]
    assert [one["healthCheckPath"] for one in shown] == ["/index.html", "/ping"]

    gone = ecs.delete_express_gateway_service(serviceArn=shop["serviceArn"])["service"]
    assert gone["status"]["statusCode"] == "DRAINING"
    ecs.get_waiter("services_inactive").wait(services=["shop"], WaiterConfig=WAIT)
    wait_for(lambda: len(elb.describe_target_groups()["TargetGroups"]) == 2, what="the end of two target groups")
    assert express.get(endpoint_of(blog), address, express.certificate(endpoint_of(blog))) == (200, "page of blog")

    ecs.delete_express_gateway_service(serviceArn=blog["serviceArn"])
    ecs.get_waiter("services_inactive").wait(services=["blog"], WaiterConfig=WAIT)
    wait_for(lambda: not express.load_balancers(), what="the end of the load balancer")
    wait_for(lambda: express.security_groups() == express.groups, what="the end of the security groups")
    assert not elb.describe_target_groups()["TargetGroups"]
    assert not express.acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
    shown = ecs.describe_express_gateway_service(serviceArn=shop["serviceArn"], include=["TAGS"])["service"]
    assert (shown["status"], shown["tags"]) == ({"statusCode": "INACTIVE"}, [{"key": "team", "value": "blue"}])
    with pytest.raises(ecs.exceptions.ServiceNotActiveException):
        ecs.update_express_gateway_service(serviceArn=shop["serviceArn"], cpu="512", memory="1024")

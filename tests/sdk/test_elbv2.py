"""Elastic Load Balancing v2 as boto3 and the AWS CLI see it: every operation, its faults, what repeats, what pages."""

import re

import botocore.exceptions
import pytest

ZONE = "arn:aws:elasticloadbalancing:us-east-1:000000000000:"


@pytest.fixture
def elb(roadstead):
    return roadstead.client("elbv2")


@pytest.fixture
def vpc(roadstead):
    ec2 = roadstead.client("ec2")
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])
    return {"VpcId": subnets[0]["VpcId"], "Subnets": [subnet["SubnetId"] for subnet in subnets]}


@pytest.fixture
def front(elb, vpc):
    """A load balancer, with a listener for HTTP and the group that it forwards to."""
    arn = elb.create_load_balancer(Name="front", Subnets=vpc["Subnets"][:2])["LoadBalancers"][0]["LoadBalancerArn"]
    group = elb.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc["VpcId"], TargetType="ip")
    group = group["TargetGroups"][0]["TargetGroupArn"]
    listener = elb.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=forward(group))
    yield {"LoadBalancer": arn, "TargetGroup": group, "Listener": listener["Listeners"][0]["ListenerArn"]}
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes(**{"deletion_protection.enabled": "false"}))
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.delete_target_group(TargetGroupArn=group)


def forward(group):
    return [{"Type": "forward", "TargetGroupArn": group}]


def attributes(**values):
    return [{"Key": key, "Value": value} for key, value in values.items()]


def fails(call, **request):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**request)
    return error.value.response["Error"]["Code"]


def test_load_balancers(roadstead, elb, vpc):
    ec2 = roadstead.client("ec2")
    request = {"Name": "one", "Subnets": vpc["Subnets"][:2], "Tags": [{"Key": "team", "Value": "a"}]}
    (made,) = elb.create_load_balancer(**request)["LoadBalancers"]
    arn = made["LoadBalancerArn"]
    assert re.fullmatch(ZONE + "loadbalancer/app/one/[0-9a-f]{16}", arn)
    assert re.fullmatch(r"one-[0-9]{10}\.us-east-1\.elb\.amazonaws\.com", made["DNSName"])
    assert (made["Scheme"], made["Type"], made["IpAddressType"]) == ("internet-facing", "application", "ipv4")
    assert made["CanonicalHostedZoneId"] == "Z35SXDOTRQ7X7K" and made["VpcId"] == vpc["VpcId"]
    assert elb.create_load_balancer(**request)["LoadBalancers"][0]["LoadBalancerArn"] == arn
    assert fails(elb.create_load_balancer, **{**request, "Scheme": "internal"}) == "DuplicateLoadBalancerName"
    interfaces = ec2.describe_network_interfaces()["NetworkInterfaces"]
    own = [interface for interface in interfaces if interface["Description"].startswith("ELB app/one/")]
    assert sorted(interface["SubnetId"] for interface in own) == sorted(vpc["Subnets"][:2])
    assert elb.describe_load_balancers(Names=["one"])["LoadBalancers"][0]["LoadBalancerArn"] == arn
    pages = elb.get_paginator("describe_load_balancers").paginate(PaginationConfig={"PageSize": 1})
    assert arn in [one["LoadBalancerArn"] for page in pages for one in page["LoadBalancers"]]
    zones = elb.set_subnets(LoadBalancerArn=arn, Subnets=vpc["Subnets"])["AvailabilityZones"]
    assert len(zones) == 3
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    assert elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=[group])["SecurityGroupIds"] == [group]
    assert elb.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="ipv4")["IpAddressType"] == "ipv4"
    assert fails(elb.set_ip_address_type, LoadBalancerArn=arn, IpAddressType="dualstack") == "InvalidConfigurationRequest"
    assert fails(elb.create_load_balancer, Name="two", Subnets=vpc["Subnets"][:1]) == "ValidationError"
    assert fails(elb.create_load_balancer, Name="two", Type="gateway", Subnets=vpc["Subnets"][:1]) == "InvalidConfigurationRequest"
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert fails(elb.describe_load_balancers, LoadBalancerArns=[arn]) == "LoadBalancerNotFound"
    interfaces = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert not [interface for interface in interfaces if interface["Description"].startswith("ELB app/one/")]


def test_attributes(elb, front):
    arn = front["LoadBalancer"]
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes(**{"deletion_protection.enabled": "true"}))
    told = {one["Key"]: one["Value"] for one in elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]}
    assert told["deletion_protection.enabled"] == "true" and told["idle_timeout.timeout_seconds"] == "60"
    assert fails(elb.delete_load_balancer, LoadBalancerArn=arn) == "OperationNotPermitted"
    bad = attributes(**{"idle_timeout.timeout_seconds": "0"})
    assert fails(elb.modify_load_balancer_attributes, LoadBalancerArn=arn, Attributes=bad) == "ValidationError"
    group = front["TargetGroup"]
    set_to = attributes(**{"deregistration_delay.timeout_seconds": "5", "stickiness.enabled": "true"})
    elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=set_to)
    told = {one["Key"]: one["Value"] for one in elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]}
    assert told["deregistration_delay.timeout_seconds"] == "5" and told["stickiness.type"] == "lb_cookie"
    told = elb.describe_listener_attributes(ListenerArn=front["Listener"])["Attributes"]
    assert {"Key": "routing.http.response.server.enabled", "Value": "true"} in told
    unknown = attributes(**{"tcp.idle_timeout.seconds": "60"})
    assert fails(elb.modify_listener_attributes, ListenerArn=front["Listener"], Attributes=unknown) == "InvalidConfigurationRequest"


def test_target_groups_and_targets(roadstead, elb, vpc, front):
    group = front["TargetGroup"]
    (told,) = elb.describe_target_groups(LoadBalancerArn=front["LoadBalancer"])["TargetGroups"]
    assert told["TargetGroupArn"] == group and told["LoadBalancerArns"] == [front["LoadBalancer"]]
    assert (told["HealthCheckPath"], told["Matcher"], told["ProtocolVersion"]) == ("/", {"HttpCode": "200"}, "HTTP1")
    changed = elb.modify_target_group(TargetGroupArn=group, HealthCheckPath="/health", Matcher={"HttpCode": "200-299"})
    assert changed["TargetGroups"][0]["HealthCheckPath"] == "/health"
    subnet = roadstead.client("ec2").describe_subnets(SubnetIds=vpc["Subnets"][:1])["Subnets"][0]
    address = subnet["CidrBlock"].split("/")[0].rsplit(".", 1)[0] + ".200"
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": address}, {"Id": address, "Port": 81}])
    health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert [one["Target"]["Port"] for one in health] == [80, 81]
    assert all(one["TargetHealth"]["State"] in ("initial", "unhealthy") for one in health)
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": address, "Port": 81}])
    (missing,) = elb.describe_target_health(TargetGroupArn=group, Targets=[{"Id": address, "Port": 82}])["TargetHealthDescriptions"]
    assert missing["TargetHealth"]["Reason"] == "Target.NotRegistered"
    assert fails(elb.register_targets, TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "AvailabilityZone": "all"}]) == "InvalidTarget"
    assert fails(elb.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    assert fails(elb.describe_target_groups, Names=["none"]) == "TargetGroupNotFound"


def test_listeners_and_rules(elb, vpc, front):
    listener = front["Listener"]
    again = elb.create_listener(LoadBalancerArn=front["LoadBalancer"], Protocol="HTTP", Port=80, DefaultActions=forward(front["TargetGroup"]))
    assert again["Listeners"][0]["ListenerArn"] == listener
    moved = elb.modify_listener(ListenerArn=listener, Port=81)["Listeners"][0]
    assert moved["Port"] == 81 and moved["DefaultActions"][0]["TargetGroupArn"] == front["TargetGroup"]
    conditions = [
        {"Field": "path-pattern", "Values": ["/api/*"]},
        {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-A", "Values": ["b"]}},
        {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "1"}]}},
        {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}},
    ]
    fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "MessageBody": "no"}}]
    rule = {"ListenerArn": listener, "Priority": 5, "Conditions": conditions, "Actions": fixed}
    (made,) = elb.create_rule(**rule)["Rules"]
    assert fails(elb.create_rule, **rule) == "PriorityInUse"
    (told,) = elb.describe_rules(RuleArns=[made["RuleArn"]])["Rules"]
    assert [one["Field"] for one in told["Conditions"]] == [one["Field"] for one in conditions]
    redirect = [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}]
    changed = elb.modify_rule(RuleArn=made["RuleArn"], Actions=redirect)["Rules"][0]
    assert changed["Actions"][0]["RedirectConfig"]["Host"] == "#{host}"
    elb.set_rule_priorities(RulePriorities=[{"RuleArn": made["RuleArn"], "Priority": 7}])
    assert [one["Priority"] for one in elb.describe_rules(ListenerArn=listener)["Rules"]] == ["7", "default"]
    oidc = [{"Type": "authenticate-cognito", "AuthenticateCognitoConfig": {"UserPoolArn": "a", "UserPoolClientId": "b", "UserPoolDomain": "c"}}]
    assert fails(elb.modify_rule, RuleArn=made["RuleArn"], Actions=oidc) == "InvalidConfigurationRequest"
    elb.delete_rule(RuleArn=made["RuleArn"])
    assert fails(elb.delete_rule, RuleArn=made["RuleArn"]) == "RuleNotFound"
    elb.delete_listener(ListenerArn=listener)
    assert fails(elb.describe_listeners, ListenerArns=[listener]) == "ListenerNotFound"


def test_certificates_of_a_listener(roadstead, elb, front):
    acm = roadstead.client("acm")
    one, two = (acm.request_certificate(DomainName=f"{name}.example.com")["CertificateArn"] for name in ("one", "two"))
    https = elb.create_listener(
        LoadBalancerArn=front["LoadBalancer"], Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": one}],
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06", DefaultActions=forward(front["TargetGroup"]),
    )["Listeners"][0]["ListenerArn"]
    elb.add_listener_certificates(ListenerArn=https, Certificates=[{"CertificateArn": two}])
    told = elb.describe_listener_certificates(ListenerArn=https)["Certificates"]
    assert [(cert["CertificateArn"], cert["IsDefault"]) for cert in told] == [(one, True), (two, False)]
    assert fails(acm.delete_certificate, CertificateArn=two) == "ResourceInUseException"
    elb.remove_listener_certificates(ListenerArn=https, Certificates=[{"CertificateArn": two}])
    assert fails(elb.remove_listener_certificates, ListenerArn=https, Certificates=[{"CertificateArn": one}]) == "OperationNotPermitted"
    acm.delete_certificate(CertificateArn=two)
    assert fails(elb.add_listener_certificates, ListenerArn=https, Certificates=[{"CertificateArn": two}]) == "CertificateNotFound"
    elb.delete_listener(ListenerArn=https)
    acm.delete_certificate(CertificateArn=one)


def test_tags(elb, front):
    arns = [front["LoadBalancer"], front["TargetGroup"], front["Listener"]]
    elb.add_tags(ResourceArns=arns, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    elb.remove_tags(ResourceArns=arns, TagKeys=["a"])
    told = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
    assert [one["ResourceArn"] for one in told] == arns
    assert all(one["Tags"] == [{"Key": "b", "Value": "2"}] for one in told)
    assert fails(elb.describe_tags, ResourceArns=[arns[0] + "0"]) == "LoadBalancerNotFound"


def test_a_network_load_balancer(elb, vpc):
    made = elb.create_load_balancer(Name="back", Type="network", Scheme="internal", Subnets=vpc["Subnets"][:1])
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    assert re.fullmatch(r"back-[0-9a-f]{16}\.elb\.us-east-1\.amazonaws\.com", made["LoadBalancers"][0]["DNSName"])
    group = elb.create_target_group(Name="udp", Protocol="UDP", Port=53, VpcId=vpc["VpcId"], TargetType="ip")
    group = group["TargetGroups"][0]
    assert group["HealthCheckProtocol"] == "TCP" and "Matcher" not in group
    listener = elb.create_listener(LoadBalancerArn=arn, Protocol="UDP", Port=53, DefaultActions=forward(group["TargetGroupArn"]))
    listener = listener["Listeners"][0]["ListenerArn"]
    rule = {"Priority": 1, "Conditions": [{"Field": "path-pattern", "Values": ["/"]}], "Actions": forward(group["TargetGroupArn"])}
    assert fails(elb.create_rule, ListenerArn=listener, **rule) == "InvalidConfigurationRequest"
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.delete_target_group(TargetGroupArn=group["TargetGroupArn"])


def test_what_there_is_none_of_says_so(elb, front):
    store = ZONE + "truststore/x/0123456789abcdef"
    bundle = {"CaCertificatesBundleS3Bucket": "b", "CaCertificatesBundleS3Key": "k"}
    assert fails(elb.create_trust_store, Name="x", **bundle) == "CaCertificatesBundleNotFound"
    assert elb.describe_trust_stores()["TrustStores"] == []
    missing = "TrustStoreNotFound"
    assert fails(elb.modify_trust_store, TrustStoreArn=store, **bundle) == missing
    assert fails(elb.delete_trust_store, TrustStoreArn=store) == missing
    assert fails(elb.add_trust_store_revocations, TrustStoreArn=store) == missing
    assert fails(elb.remove_trust_store_revocations, TrustStoreArn=store, RevocationIds=[1]) == missing
    assert fails(elb.describe_trust_store_revocations, TrustStoreArn=store) == missing
    assert fails(elb.describe_trust_store_associations, TrustStoreArn=store) == missing
    assert fails(elb.get_trust_store_ca_certificates_bundle, TrustStoreArn=store) == missing
    assert fails(elb.get_trust_store_revocation_content, TrustStoreArn=store, RevocationId=1) == missing
    assert fails(elb.delete_shared_trust_store_association, TrustStoreArn=store, ResourceArn=front["LoadBalancer"]) == missing
    assert fails(elb.get_resource_policy, ResourceArn=store) == "ResourceNotFound"
    arn = front["LoadBalancer"]
    assert elb.describe_capacity_reservation(LoadBalancerArn=arn)["CapacityReservationState"] == []
    capacity = {"MinimumLoadBalancerCapacity": {"CapacityUnits": 100}}
    assert fails(elb.modify_capacity_reservation, LoadBalancerArn=arn, **capacity) == "InvalidConfigurationRequest"
    assert fails(elb.modify_ip_pools, LoadBalancerArn=arn, IpamPools={"Ipv4IpamPoolId": "ipam-pool-0"}) == "InvalidConfigurationRequest"


def test_policies_and_limits(elb):
    policies = {policy["Name"]: policy for policy in elb.describe_ssl_policies()["SslPolicies"]}
    assert policies["ELBSecurityPolicy-2016-08"]["SslProtocols"] == ["TLSv1.2"], "what is offered, not what the name promises"
    limits = {limit["Name"]: limit["Max"] for limit in elb.describe_account_limits()["Limits"]}
    assert limits["application-load-balancers"] == "50" and limits["target-groups"] == "3000"


def test_with_the_aws_cli(roadstead, vpc):
    def aws(*arguments):
        return roadstead.aws("elbv2", *arguments)

    made = aws("create-load-balancer", "--name", "cli", "--subnets", *vpc["Subnets"][:2])["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    group = aws("create-target-group", "--name", "cli", "--protocol", "HTTP", "--port", "80", "--target-type", "ip", "--vpc-id", vpc["VpcId"])
    group = group["TargetGroups"][0]["TargetGroupArn"]
    listener = aws(
        "create-listener", "--load-balancer-arn", arn, "--protocol", "HTTP", "--port", "80",
        "--default-actions", f"Type=forward,TargetGroupArn={group}",
    )["Listeners"][0]["ListenerArn"]
    aws(
        "create-rule", "--listener-arn", listener, "--priority", "1", "--conditions", "Field=path-pattern,Values=/api/*",
        "--actions", f"Type=forward,TargetGroupArn={group}",
    )
    rules = aws("describe-rules", "--listener-arn", listener)["Rules"]
    assert [rule["Priority"] for rule in rules] == ["1", "default"]
    aws("wait", "load-balancer-exists", "--load-balancer-arns", arn)
    aws("delete-load-balancer", "--load-balancer-arn", arn)
    aws("delete-target-group", "--target-group-arn", group)

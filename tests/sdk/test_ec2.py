"""The part of Amazon EC2 that ECS leans on, as boto3 and the AWS CLI see it: the default VPC, interfaces, tags; filters, pages, faults."""

import shutil
import subprocess

import botocore.exceptions
import pytest
from conftest import wait_for


@pytest.fixture
def ec2(roadstead):
    return roadstead.client("ec2")


def filters(**wanted):
    return [{"Name": name.replace("_", "-"), "Values": values} for name, values in wanted.items()]


def fails(call, **request):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**request)
    return error.value.response["Error"]["Code"]


def test_the_default_vpc(ec2):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert vpc["IsDefault"] and vpc["State"] == "available" and vpc["CidrBlock"] == "172.31.0.0/16"
    assert vpc["OwnerId"] == "000000000000"
    subnets = ec2.describe_subnets()["Subnets"]
    assert len(subnets) == 3 and {subnet["VpcId"] for subnet in subnets} == {vpc["VpcId"]}
    assert sorted(subnet["AvailabilityZone"] for subnet in subnets) == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert all(subnet["DefaultForAz"] and subnet["AvailableIpAddressCount"] == 4091 for subnet in subnets)
    assert len({subnet["CidrBlock"] for subnet in subnets}) == 3
    (group,) = ec2.describe_security_groups()["SecurityGroups"]
    assert (group["GroupName"], group["VpcId"]) == ("default", vpc["VpcId"])
    (inbound,) = group["IpPermissions"]
    assert inbound["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"], "from its own members"
    (outbound,) = group["IpPermissionsEgress"]
    assert outbound["IpRanges"][0]["CidrIp"] == "0.0.0.0/0" and outbound["IpProtocol"] == "-1"
    rules = ec2.describe_security_group_rules(Filters=filters(group_id=[group["GroupId"]]))["SecurityGroupRules"]
    assert sorted(rule["IsEgress"] for rule in rules) == [False, True]
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in zones] == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert {"us-east-1", "eu-central-1"} <= {region["RegionName"] for region in ec2.describe_regions()["Regions"]}
    attributes = ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"]
    assert attributes[0]["AttributeValues"] == [{"AttributeValue": vpc["VpcId"]}]


def test_the_default_vpc_is_the_same_each_time_and_another_in_another_region(roadstead, ec2):
    first, again = (ec2.describe_vpcs()["Vpcs"][0]["VpcId"] for _ in range(2))
    other = roadstead.client("ec2", region="eu-west-1").describe_subnets()["Subnets"]
    assert first == again != other[0]["VpcId"]
    assert sorted(subnet["AvailabilityZone"] for subnet in other) == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]


def test_filters(ec2):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    subnets = {subnet["AvailabilityZone"]: subnet for subnet in ec2.describe_subnets()["Subnets"]}

    def zones(**wanted):
        return sorted(subnet["AvailabilityZone"] for subnet in ec2.describe_subnets(Filters=filters(**wanted))["Subnets"])

    every = sorted(subnets)
    assert zones(vpc_id=[vpc["VpcId"]]) == every and zones(vpc_id=["vpc-00000000000000000"]) == []
    assert zones(availability_zone=["us-east-1a", "us-east-1c"]) == ["us-east-1a", "us-east-1c"], "one of the values"
    assert zones(availability_zone=["us-east-1?"]) == every and zones(availability_zone=["*1b"]) == ["us-east-1b"]
    assert zones(default_for_az=["true"], availability_zone=["us-east-1b"]) == ["us-east-1b"], "all of the filters"
    assert zones(cidr_block=[subnets["us-east-1a"]["CidrBlock"]]) == ["us-east-1a"]
    assert ec2.describe_vpcs(Filters=filters(is_default=["false"]))["Vpcs"] == []
    assert len(ec2.describe_security_groups(Filters=filters(group_name=["default"], vpc_id=[vpc["VpcId"]]))["SecurityGroups"]) == 1
    assert fails(ec2.describe_subnets, Filters=filters(no_such_filter=["x"])) == "InvalidParameterValue"


def test_ids_and_faults(ec2):
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    assert [one["SubnetId"] for one in ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]] == [subnet]
    assert fails(ec2.describe_subnets, SubnetIds=[subnet, "subnet-00000000000000000"]) == "InvalidSubnetID.NotFound"
    assert fails(ec2.describe_vpcs, VpcIds=["vpc-00000000000000000"]) == "InvalidVpcID.NotFound"
    assert fails(ec2.describe_security_groups, GroupIds=["sg-00000000000000000"]) == "InvalidGroup.NotFound"
    assert fails(ec2.describe_network_interfaces, NetworkInterfaceIds=["eni-00000000000000000"]) == "InvalidNetworkInterfaceID.NotFound"
    assert fails(ec2.run_instances, MinCount=1, MaxCount=1) == "NotImplementedException", "what is not built says so"
    assert fails(ec2.describe_subnets, DryRun=True) == "DryRunOperation"


def test_pages(ec2):
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    ec2.create_tags(Resources=subnets, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    tags = ec2.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 5})
    pages = [page["Tags"] for page in tags]
    assert [len(page) for page in pages] == [5, 1]
    assert len({(tag["ResourceId"], tag["Key"]) for page in pages for tag in page}) == 6
    assert fails(ec2.describe_subnets, NextToken="not one of ours") in ("InvalidNextToken", "InvalidParameterValue")


def test_tags(ec2):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Name", "Value": "home"}, {"Key": "gone", "Value": ""}])
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Name", "Value": "main"}])
    ec2.delete_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "gone"}])
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["ma*"]}])["Vpcs"]
    assert vpc["Tags"] == [{"Key": "Name", "Value": "main"}]
    assert ec2.describe_vpcs(Filters=filters(tag_key=["gone"]))["Vpcs"] == []
    (tag,) = ec2.describe_tags(Filters=filters(resource_type=["vpc"]))["Tags"]
    assert (tag["ResourceId"], tag["Key"], tag["Value"]) == (vpc["VpcId"], "Name", "main")
    assert fails(ec2.create_tags, Resources=["vpc-00000000000000000"], Tags=[{"Key": "a", "Value": "b"}]) == "InvalidVpcID.NotFound"


def test_a_tasks_interface(roadstead, ec2):
    ecs = roadstead.client("ecs")
    subnet = next(one for one in ec2.describe_subnets()["Subnets"] if one["AvailabilityZone"] == "us-east-1a")
    container = {"name": "app", "image": "busybox:latest", "memory": 16, "command": ["sleep", "100"], "stopTimeout": 1}
    ecs.register_task_definition(family="web", networkMode="awsvpc", containerDefinitions=[container])
    network = {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]]}}
    (task,) = ecs.run_task(taskDefinition="web", networkConfiguration=network)["tasks"]
    ecs.get_waiter("tasks_running").wait(tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})
    (task,) = ecs.describe_tasks(tasks=[task["taskArn"]])["tasks"]
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    (interface,) = ec2.describe_network_interfaces(Filters=filters(subnet_id=[subnet["SubnetId"]]))["NetworkInterfaces"]
    assert interface["NetworkInterfaceId"] == details["networkInterfaceId"]
    assert (interface["PrivateIpAddress"], interface["MacAddress"]) == (details["privateIPv4Address"], details["macAddress"])
    assert (interface["Status"], interface["RequesterManaged"]) == ("in-use", True)
    by_address = filters(addresses__private_ip_address=[details["privateIPv4Address"]])
    by_address[0]["Name"] = "addresses.private-ip-address"
    assert len(ec2.describe_network_interfaces(Filters=by_address)["NetworkInterfaces"]) == 1
    (now,) = ec2.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"]
    assert now["AvailableIpAddressCount"] == subnet["AvailableIpAddressCount"] - 1
    ecs.stop_task(task=task["taskArn"])
    wait_for(lambda: ec2.describe_network_interfaces()["NetworkInterfaces"] == [], what="the end of the interface")


def test_a_vpc_from_nothing_to_nothing(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.61.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}])["Vpc"]
    assert ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["mine"]}])["Vpcs"] == [vpc]
    of_vpc = filters(vpc_id=[vpc["VpcId"]])
    (acl,) = ec2.describe_network_acls(Filters=of_vpc)["NetworkAcls"]
    (main,) = ec2.describe_route_tables(Filters=of_vpc)["RouteTables"]
    assert acl["IsDefault"] and main["Associations"][0]["Main"] and main["Routes"][0]["GatewayId"] == "local"
    assert ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"] is False
    ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.61.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]
    ec2.get_waiter("subnet_available").wait(SubnetIds=[subnet["SubnetId"]])
    assert fails(ec2.create_subnet, VpcId=vpc["VpcId"], CidrBlock="10.61.1.128/25") == "InvalidSubnet.Conflict"
    assert fails(ec2.create_vpc, CidrBlock="10.61.0.0/20") == "InvalidVpc.Range", "no two VPCs of a machine share addresses"
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc["VpcId"])
    table = ec2.create_route_table(VpcId=vpc["VpcId"])["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])["AssociationId"]
    address = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=subnet["SubnetId"], AllocationId=address["AllocationId"])["NatGateway"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat["NatGatewayId"]])
    (described,) = ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
    assert described["NetworkInterfaceId"] == nat["NatGatewayAddresses"][0]["NetworkInterfaceId"]
    for call, request in [
        (ec2.delete_vpc, {"VpcId": vpc["VpcId"]}),
        (ec2.delete_subnet, {"SubnetId": subnet["SubnetId"]}),
        (ec2.delete_route_table, {"RouteTableId": table}),
        (ec2.delete_internet_gateway, {"InternetGatewayId": gateway}),
        (ec2.detach_internet_gateway, {"InternetGatewayId": gateway, "VpcId": vpc["VpcId"]}),
    ]:
        assert fails(call, **request) == "DependencyViolation", call
    ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
    ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat["NatGatewayId"]])
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    assert fails(ec2.describe_vpcs, VpcIds=[vpc["VpcId"]]) == "InvalidVpcID.NotFound"


def test_security_groups(ec2):
    group = ec2.create_security_group(GroupName="web", Description="of the web")["GroupId"]
    assert fails(ec2.create_security_group, GroupName="web", Description="again") == "InvalidGroup.Duplicate"
    prefixes = ec2.create_managed_prefix_list(PrefixListName="office", AddressFamily="IPv4", MaxEntries=3, Entries=[{"Cidr": "192.0.2.0/24"}])
    prefixes = prefixes["PrefixList"]["PrefixListId"]
    http = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    mine = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}], "PrefixListIds": [{"PrefixListId": prefixes}]}
    rules = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[http, mine])["SecurityGroupRules"]
    assert len(rules) == 4 and not any(rule["IsEgress"] for rule in rules)
    assert fails(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[http]) == "InvalidPermission.Duplicate"
    (described,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert {permission["IpProtocol"] for permission in described["IpPermissions"]} == {"tcp", "-1"}
    assert fails(ec2.delete_managed_prefix_list, PrefixListId=prefixes) == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"] for rule in rules])
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    assert ec2.describe_security_group_rules(Filters=filters(group_id=[group]))["SecurityGroupRules"] == []
    ec2.delete_managed_prefix_list(PrefixListId=prefixes)
    ec2.delete_security_group(GroupId=group)
    (default,) = ec2.describe_security_groups()["SecurityGroups"]
    assert fails(ec2.delete_security_group, GroupId=default["GroupId"]) == "CannotDelete"


def test_a_group_and_a_subnet_in_use_stay(roadstead, ec2):
    ecs = roadstead.client("ecs")
    # A task of EC2 goes to the zone of its subnet, and this machine is in the first.
    (subnet,) = (one["SubnetId"] for one in ec2.describe_subnets(Filters=filters(availability_zone=["us-east-1a"]))["Subnets"])
    group = ec2.create_security_group(GroupName="held", Description="by a task")["GroupId"]
    container = {"name": "app", "image": "busybox:latest", "memory": 16, "command": ["sleep", "100"], "stopTimeout": 1}
    ecs.register_task_definition(family="held", networkMode="awsvpc", containerDefinitions=[container])
    network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}}
    (task,) = ecs.run_task(taskDefinition="held", networkConfiguration=network)["tasks"]
    ecs.get_waiter("tasks_running").wait(tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})
    assert fails(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    assert fails(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    (interface,) = ec2.describe_network_interfaces(Filters=filters(group_id=[group]))["NetworkInterfaces"]
    assert fails(ec2.delete_network_interface, NetworkInterfaceId=interface["NetworkInterfaceId"]) == "InvalidParameterValue"
    attachment = interface["Attachment"]["AttachmentId"]
    assert fails(ec2.detach_network_interface, AttachmentId=attachment) == "OperationNotPermitted"
    ecs.stop_task(task=task["taskArn"])
    wait_for(lambda: ec2.describe_network_interfaces()["NetworkInterfaces"] == [], what="the end of the interface")
    ec2.delete_security_group(GroupId=group)


def test_a_task_in_a_vpc_of_ones_own(roadstead, ec2):
    ecs = roadstead.client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.62.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.62.0.16/28")["Subnet"]["SubnetId"]
    container = {"name": "app", "image": "busybox:latest", "memory": 16, "command": ["sleep", "100"], "stopTimeout": 1}
    ecs.register_task_definition(family="own", networkMode="awsvpc", containerDefinitions=[container])
    network = {"awsvpcConfiguration": {"subnets": [subnet]}}
    (task,) = ecs.run_task(taskDefinition="own", networkConfiguration=network)["tasks"]
    ecs.get_waiter("tasks_running").wait(tasks=[task["taskArn"]], WaiterConfig={"Delay": 1})
    (interface,) = ec2.describe_network_interfaces(Filters=filters(vpc_id=[vpc]))["NetworkInterfaces"]
    assert interface["PrivateIpAddress"].startswith("10.62.0.") and 20 <= int(interface["PrivateIpAddress"].split(".")[3]) <= 30
    assert [one["GroupName"] for one in interface["Groups"]] == ["default"], "the VPC's own"
    assert fails(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    ecs.stop_task(task=task["taskArn"])
    wait_for(lambda: ec2.describe_network_interfaces()["NetworkInterfaces"] == [], what="the end of the interface")
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_key_pairs_and_launch_templates(ec2, tmp_path):
    made = ec2.create_key_pair(KeyName="mine", KeyType="ed25519")
    path = tmp_path / "key"
    path.write_text(made["KeyMaterial"])
    path.chmod(0o600)
    public = ec2.describe_key_pairs(KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
    if shutil.which("ssh-keygen"):
        told = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
        assert told.split()[:2] == public.split()[:2]
    imported = ec2.import_key_pair(KeyName="imported", PublicKeyMaterial=public.encode())
    assert imported["KeyFingerprint"] == made["KeyFingerprint"]
    assert fails(ec2.create_key_pair, KeyName="rsa") == "UnsupportedOperation"
    for name in ("mine", "imported"):
        ec2.delete_key_pair(KeyName=name)
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    data = {"InstanceType": "m5.large", "KeyName": "mine", "UserData": "eA==", "SecurityGroupIds": ["sg-1"], "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]}
    template = ec2.create_launch_template(LaunchTemplateName="nodes", LaunchTemplateData=data)["LaunchTemplate"]
    ec2.create_launch_template_version(LaunchTemplateName="nodes", SourceVersion="1", LaunchTemplateData={"InstanceType": "c5.large"})
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])["LaunchTemplateVersions"]
    assert [version["LaunchTemplateData"] for version in versions] == [data, {**data, "InstanceType": "c5.large"}]
    ec2.delete_launch_template(LaunchTemplateName="nodes")


def test_a_reset_takes_what_calls_made(roadstead, ec2):
    before = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    vpc = ec2.create_vpc(CidrBlock="10.63.0.0/16")["Vpc"]["VpcId"]
    ec2.create_security_group(GroupName="left", Description="over")
    group = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    ec2.allocate_address()
    ec2.create_key_pair(KeyName="left", KeyType="ed25519")
    roadstead.reset()
    assert fails(ec2.describe_vpcs, VpcIds=[vpc]) == "InvalidVpcID.NotFound"
    assert [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]] == before, "the default VPC is the same"
    (default,) = ec2.describe_security_groups()["SecurityGroups"]
    assert default["GroupId"] == group and len(default["IpPermissions"]) == 1
    assert ec2.describe_addresses()["Addresses"] == [] and ec2.describe_key_pairs()["KeyPairs"] == []
    assert len(ec2.describe_route_tables()["RouteTables"]) == len(ec2.describe_internet_gateways()["InternetGateways"]) == 1


def test_the_cli(roadstead):
    vpc = roadstead.aws("ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true", "--query", "Vpcs[0].VpcId")
    subnets = roadstead.aws("ec2", "describe-subnets", "--filters", f"Name=vpc-id,Values={vpc}", "--query", "length(Subnets)")
    assert subnets == 3
    made = roadstead.aws("ec2", "create-vpc", "--cidr-block", "10.64.0.0/16")["Vpc"]["VpcId"]
    group = roadstead.aws("ec2", "create-security-group", "--group-name", "cli", "--description", "x", "--vpc-id", made)["GroupId"]
    roadstead.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80-81", "--cidr", "10.0.0.0/8")
    rules = roadstead.aws("ec2", "describe-security-group-rules", "--filters", f"Name=group-id,Values={group}", "--query", "SecurityGroupRules[?!IsEgress]")
    assert [(rule["FromPort"], rule["ToPort"], rule["CidrIpv4"]) for rule in rules] == [(80, 81, "10.0.0.0/8")]
    roadstead.aws("ec2", "delete-security-group", "--group-id", group)
    roadstead.aws("ec2", "delete-vpc", "--vpc-id", made)

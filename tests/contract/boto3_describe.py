#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mock AWS against a client that we did not write: what is there, through boto3."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import GROUP, Mock, NOBODY, NODE, OTHER_AZ, SEED, SMALL, SUBNET, create, refused, run  # noqa: E402


def test_describe_instances(mock, ec2):
    instance = ec2.describe_instances(InstanceIds=[NODE])["Reservations"][0]["Instances"][0]
    assert instance["InstanceType"] == "m5.large" and instance["State"]["Name"] == "running"
    assert instance["PrivateIpAddress"] == "10.0.1.10" and instance["PublicIpAddress"].startswith("203.0.113.")
    assert instance["Placement"]["AvailabilityZone"] == "us-west-2a"
    assert instance["Tags"] == [{"Key": "Name", "Value": "n1"}]
    nic = instance["NetworkInterfaces"][0]
    assert nic["MacAddress"] == "02:11:22:33:44:55" and nic["Attachment"]["DeviceIndex"] == 0
    assert nic["PrivateIpAddresses"][0]["Primary"] and "TagSet" not in nic and "AvailabilityZone" not in nic
    assert len(ec2.describe_instances()["Reservations"]) == 3
    found = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["n?"]}])["Reservations"]
    assert len(found) == 1
    refused("InvalidInstanceID.NotFound", 400, ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
    refused("InvalidInstanceID.Malformed", 400, ec2.describe_instances, InstanceIds=["i-x"])
    refused("InvalidParameterCombination", 400, ec2.describe_instances, InstanceIds=[NODE], MaxResults=5)
    refused("InvalidParameterValue", 400, ec2.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}])


def test_describe_instance_types(mock, ec2):
    kind = ec2.describe_instance_types(InstanceTypes=["m5.large"])["InstanceTypes"][0]
    assert kind["Hypervisor"] == "nitro" and not kind["BareMetal"]
    net = kind["NetworkInfo"]
    assert (net["MaximumNetworkInterfaces"], net["Ipv4AddressesPerInterface"]) == (3, 10)
    assert net["NetworkCards"][0]["MaximumNetworkInterfaces"] == 3
    metal = ec2.describe_instance_types(InstanceTypes=["m5.metal"])["InstanceTypes"][0]
    assert metal["BareMetal"] and "Hypervisor" not in metal
    big = ec2.describe_instance_types(InstanceTypes=["p5.48xlarge"])["InstanceTypes"][0]["NetworkInfo"]
    assert big["MaximumNetworkInterfaces"] == 64 and len(big["NetworkCards"]) == 32
    message = refused("InvalidInstanceType", 400, ec2.describe_instance_types, InstanceTypes=["m99.large"])
    assert message == "The following supplied instance types do not exist: [m99.large]"
    found = ec2.describe_instance_types(Filters=[{"Name": "instance-type", "Values": ["m5.*"]}])["InstanceTypes"]
    assert len(found) >= 5 and all(k["InstanceType"].startswith("m5.") for k in found)
    pages = list(ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 5}))
    names = [k["InstanceType"] for p in pages for k in p["InstanceTypes"]]
    assert len(pages) > 3 and len(names) == len(set(names)) and len(names) >= 30


def test_describe_subnets(mock, ec2):
    subnets = {s["SubnetId"]: s for s in ec2.describe_subnets()["Subnets"]}
    assert set(subnets) == {SUBNET, SMALL, OTHER_AZ}
    assert subnets[OTHER_AZ]["AvailableIpAddressCount"] == 251 and subnets[OTHER_AZ]["AvailabilityZoneId"] == "usw2-az2"
    assert subnets[SMALL]["AvailableIpAddressCount"] == 64 - 5 - 3 - 1
    assert subnets[SUBNET]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == "2600:1f14:aa:bb00::/64"
    found = ec2.describe_subnets(Filters=[{"Name": "tag:kubernetes.io/role/cni", "Values": ["1"]},
                                          {"Name": "availability-zone", "Values": ["us-west-2a", "us-west-2b"]}])
    assert [s["SubnetId"] for s in found["Subnets"]] == [SUBNET]
    refused("InvalidSubnetID.NotFound", 400, ec2.describe_subnets, SubnetIds=["subnet-0123456789abcdef0"])


def test_describe_vpcs(mock, ec2):
    vpc = ec2.describe_vpcs()["Vpcs"][0]
    assert vpc["CidrBlock"] == "10.0.0.0/16"
    assert [a["CidrBlock"] for a in vpc["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "100.64.0.0/16"]
    assert all(a["CidrBlockState"]["State"] == "associated" for a in vpc["CidrBlockAssociationSet"])
    refused("InvalidVpcID.NotFound", 400, ec2.describe_vpcs, VpcIds=["vpc-0123456789abcdef0"])


def test_describe_security_groups(mock, ec2):
    groups = ec2.describe_security_groups(GroupIds=[GROUP])["SecurityGroups"]
    assert groups[0]["GroupName"] == "nodes" and groups[0]["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    refused("InvalidGroup.NotFound", 400, ec2.describe_security_groups, GroupIds=["sg-0123456789abcdef0"])


def test_describe_network_interfaces(mock, ec2):
    nics = [create(ec2, Description="page %d" % i, TagSpecifications=[
        {"ResourceType": "network-interface", "Tags": [{"Key": "n", "Value": str(i)}]}]) for i in range(13)]
    ids = [n["NetworkInterfaceId"] for n in nics]
    pages = list(ec2.get_paginator("describe_network_interfaces").paginate(
        Filters=[{"Name": "tag-key", "Values": ["n"]}], PaginationConfig={"PageSize": 5}))
    assert [len(p["NetworkInterfaces"]) for p in pages] == [5, 5, 3]
    assert [n["NetworkInterfaceId"] for p in pages for n in p["NetworkInterfaces"]] == ids
    for name, value, count in (("description", "page 1*", 4), ("tag:n", "3", 1), ("network-interface-id", ids[2], 1),
                               ("network-interface-id", NOBODY, 0), ("mac-address", nics[4]["MacAddress"], 1),
                               ("private-ip-address", nics[5]["PrivateIpAddress"], 1),
                               ("attachment.instance-id", NODE, 1), ("attachment.device-index", "0", 3),
                               ("status", "available", 13), ("group-id", GROUP, 16), ("vpc-id", SEED["vpc"]["id"], 16),
                               ("addresses.private-ip-address", "10.0.1.10", 1), ("subnet-id", SMALL, 1)):
        found = ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])["NetworkInterfaces"]
        assert len(found) == count, (name, value, len(found))
    both = [{"Name": "tag:n", "Values": ["1", "2", "3"]}, {"Name": "description", "Values": ["page 2", "page 9"]}]
    assert len(ec2.describe_network_interfaces(Filters=both)["NetworkInterfaces"]) == 1
    message = refused("InvalidNetworkInterfaceID.NotFound", 400, ec2.describe_network_interfaces,
                      NetworkInterfaceIds=[ids[0], NOBODY])
    assert message == "The networkInterface ID '%s' does not exist" % NOBODY
    refused("InvalidNetworkInterfaceID.Malformed", 400, ec2.describe_network_interfaces, NetworkInterfaceIds=["eni-x"])
    refused("InvalidParameterCombination", 400, ec2.describe_network_interfaces, NetworkInterfaceIds=ids[:1],
            MaxResults=5)
    refused("InvalidParameterValue", 400, ec2.describe_network_interfaces, MaxResults=4)
    refused("InvalidParameterValue", 400, ec2.describe_network_interfaces, MaxResults=5, NextToken="nonsense")
    for nic in ids:
        ec2.delete_network_interface(NetworkInterfaceId=nic)


def test_short_pages(_mock, _ec2):
    mock = Mock(dict(SEED, paging={"short": True}))
    try:
        ec2 = mock.client()
        pages = list(ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 10}))
        names = [k["InstanceType"] for p in pages for k in p["InstanceTypes"]]
        assert any(not p["InstanceTypes"] for p in pages) and len(set(names)) == len(names) >= 30
    finally:
        mock.stop()


if __name__ == "__main__":
    sys.exit(run(globals(), SEED))

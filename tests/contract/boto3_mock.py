#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mock AWS against a client that we did not write: every action through boto3, every refusal by its code.

Starts $BUILD/berth-mockcloud (default build/), prints TAP, leaves nothing behind.
"""

import datetime
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest.mock
import urllib.parse

import boto3
import botocore.auth
import botocore.config
import botocore.exceptions

MOCK = os.path.join(os.environ.get("BUILD", "build"), "berth-mockcloud")
READY_S = 10

SUBNET = "subnet-0aa11111111111111"
SMALL = "subnet-0bb11111111111111"
OTHER_AZ = "subnet-0cc11111111111111"
NODE = "i-0abc1234567890def"
TINY = "i-0abc1234567890dee"
XEN = "i-0abc1234567890ded"
GROUP = "sg-0dd11111111111111"
NOBODY = "eni-0123456789abcdef0"

SEED = {
    "account": "111122223333",
    "region": "us-west-2",
    "random": 7,
    "vpc": {"id": "vpc-0bb11111111111111", "cidrs": ["10.0.0.0/16", "100.64.0.0/16"],
            "cidr6": "2600:1f14:aa:bb00::/56"},
    "subnets": [
        {"id": SUBNET, "cidr": "10.0.1.0/24", "az": "us-west-2a", "cidr6": "2600:1f14:aa:bb00::/64",
         "tags": {"kubernetes.io/role/cni": "1"}},
        {"id": SMALL, "cidr": "10.0.2.0/26", "az": "us-west-2a",
         "used": ["10.0.2.20", "10.0.2.36", "10.0.2.52"]},
        {"id": OTHER_AZ, "cidr": "10.0.3.0/24", "az": "us-west-2b", "az_id": "usw2-az2"},
    ],
    "security_groups": [{"id": GROUP, "name": "nodes"}] + [{"name": "g%d" % i} for i in range(6)],
    "credentials": [
        {"access_key": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
        {"access_key": "ASIATEMP", "secret": "temp", "session_token": "IQoJb3+/=="},
        {"access_key": "ASIAOLD", "secret": "old", "session_token": "old", "expires_in_s": -60},
    ],
    "role": {"name": "berth-node", "lifetime_s": 3600},
    "instances": [
        {"name": "n1", "id": NODE, "type": "m5.large", "subnet": SUBNET, "primary": "10.0.1.10",
         "mac": "02:11:22:33:44:55", "public": True, "tags": {"Name": "n1"}},
        {"name": "n2", "id": TINY, "type": "t3.nano", "subnet": SUBNET},
        {"name": "n3", "id": XEN, "type": "t2.medium", "subnet": SMALL},
    ],
    # Tests wait by asking every 5 ms: the default bucket of a read would say no to a quick machine.
    # test_throttling__default_burst has the defaults.
    "throttle": {"enabled": True, "buckets": {"DeleteTags": {"burst": 100, "per_s": 1},
                                              "DescribeNetworkInterfaces": {"burst": 100000, "per_s": 1000}}},
}


class Mock:
    def __init__(self, seed, *args):
        self.dir = tempfile.TemporaryDirectory(prefix="berth-boto3-")
        seed_path = os.path.join(self.dir.name, "seed.json")
        ready = os.path.join(self.dir.name, "ready.json")
        self.log = os.path.join(self.dir.name, "log")
        with open(seed_path, "w", encoding="utf-8") as f:
            json.dump(seed, f)
        self.process = subprocess.Popen([MOCK, "aws", "--seed", seed_path, "--ready", ready, "--log", self.log,
                                         "--die-with-parent", *args])
        until(lambda: os.path.exists(ready) or self.process.poll() is not None, READY_S)
        with open(ready, encoding="utf-8") as f:
            self.urls = json.load(f)

    def stop(self):
        self.process.terminate()
        status = self.process.wait(READY_S)
        self.dir.cleanup()
        return status

    def client(self, key="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token=None, **config):
        config.setdefault("retries", {"total_max_attempts": 1, "mode": "standard"})
        return boto3.client("ec2", "us-west-2", endpoint_url=self.urls["api"], aws_access_key_id=key,
                            aws_secret_access_key=secret, aws_session_token=token,
                            config=botocore.config.Config(parameter_validation=False, **config))

    def control(self, path, body=None):
        return http_call(self.urls["control"], "POST" if body is not None else "GET", "/_mock/" + path,
                         json.dumps(body or {}))[1]

    def state(self):
        return json.loads(self.control("state"))

    def nic(self, nic_id):
        return next((n for n in self.state()["nics"] if n["id"] == nic_id), None)


def http_call(base, method, path, body=None, headers=None):
    url = urllib.parse.urlparse(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text


def until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "deadline passed"
        time.sleep(0.005)


def refused(code, status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        got = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert got == (code, status), "wanted %s %d, got %s: %s" % (code, status, got, error)
        return error.response["Error"]["Message"]
    raise AssertionError("wanted %s, it went well" % code)


def create(ec2, **kwargs):
    kwargs.setdefault("SubnetId", SUBNET)
    return ec2.create_network_interface(**kwargs)["NetworkInterface"]


def attach(ec2, nic, instance=NODE, device=1):
    return ec2.attach_network_interface(NetworkInterfaceId=nic, InstanceId=instance, DeviceIndex=device,
                                        NetworkCardIndex=0)["AttachmentId"]


def describe(ec2, nic):
    return ec2.describe_network_interfaces(NetworkInterfaceIds=[nic])["NetworkInterfaces"][0]


def drop(ec2, nic):
    attachment = describe(ec2, nic).get("Attachment")
    if attachment:
        ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"])
        until(lambda: describe(ec2, nic)["Status"] == "available")
    ec2.delete_network_interface(NetworkInterfaceId=nic)


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


def test_create_network_interface(mock, ec2):
    answer = ec2.create_network_interface(
        SubnetId=SUBNET, Description="a <b> & \"c\" é", Groups=[GROUP], SecondaryPrivateIpAddressCount=3,
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "k/é", "Value": ""}]}])
    nic = answer["NetworkInterface"]
    assert nic["Status"] == "pending" and nic["Description"] == "a <b> & \"c\" é"
    assert nic["TagSet"] == [{"Key": "k/é", "Value": ""}] and len(answer["ClientToken"]) == 36
    addresses = [a["PrivateIpAddress"] for a in nic["PrivateIpAddresses"]]
    assert len(set(addresses)) == 4 and addresses[0] == nic["PrivateIpAddress"]
    assert all(4 <= int(a.split(".")[3]) <= 254 for a in addresses)
    seen = describe(ec2, nic["NetworkInterfaceId"])
    assert seen["Status"] == "available" and "Attachment" not in seen and seen["SourceDestCheck"]
    drop(ec2, nic["NetworkInterfaceId"])
    nic = create(ec2, PrivateIpAddresses=[{"PrivateIpAddress": "10.0.1.100", "Primary": True},
                                          {"PrivateIpAddress": "10.0.1.101", "Primary": False}])
    assert [a["PrivateIpAddress"] for a in nic["PrivateIpAddresses"]] == ["10.0.1.100", "10.0.1.101"]
    refused("InvalidIPAddress.InUse", 400, create, ec2, PrivateIpAddress="10.0.1.101")
    drop(ec2, nic["NetworkInterfaceId"])
    nic = create(ec2, Ipv4PrefixCount=2, Ipv6PrefixCount=1)
    assert len(nic["Ipv4Prefixes"]) == 2 and len(nic["Ipv6Prefixes"]) == 1
    drop(ec2, nic["NetworkInterfaceId"])
    nic = create(ec2, Ipv4Prefixes=[{"Ipv4Prefix": "10.0.1.64/28"}])
    assert nic["Ipv4Prefixes"] == [{"Ipv4Prefix": "10.0.1.64/28"}]
    drop(ec2, nic["NetworkInterfaceId"])


def test_create_refusals(mock, ec2):
    free = {s["id"]: s["free"] for s in mock.state()["subnets"]}
    refused("MissingParameter", 400, ec2.create_network_interface)
    refused("InvalidSubnetID.NotFound", 400, create, ec2, SubnetId="subnet-0123456789abcdef0")
    refused("InvalidGroup.NotFound", 400, create, ec2, Groups=["sg-0123456789abcdef0"])
    groups = [g["GroupId"] for g in ec2.describe_security_groups()["SecurityGroups"]]
    refused("SecurityGroupsPerInterfaceLimitExceeded", 400, create, ec2, Groups=groups[:6])
    refused("InvalidParameterCombination", 400, create, ec2, SecondaryPrivateIpAddressCount=1, Ipv4PrefixCount=1)
    for address in ("10.0.1.1", "10.0.1.3", "10.0.1.255", "10.0.2.9", "banana"):
        refused("InvalidParameterValue", 400, create, ec2, PrivateIpAddress=address)
    refused("InsufficientFreeAddressesInSubnet", 400, create, ec2, SubnetId=SMALL, SecondaryPrivateIpAddressCount=60)
    refused("InsufficientCidrBlocks", 400, create, ec2, SubnetId=SMALL, Ipv4PrefixCount=1)
    refused("InvalidParameterValue", 400, create, ec2, SubnetId=SMALL, Ipv4PrefixCount=4)
    refused("InvalidParameterValue", 400, create, ec2, SubnetId=SMALL, Ipv6AddressCount=1)
    refused("InvalidParameterValue", 400, create, ec2, TagSpecifications=[{"ResourceType": "instance", "Tags": []}])
    refused("TagLimitExceeded", 400, create, ec2, TagSpecifications=[
        {"ResourceType": "network-interface", "Tags": [{"Key": "k%d" % i, "Value": "v"} for i in range(51)]}])
    assert free == {s["id"]: s["free"] for s in mock.state()["subnets"]}, "a refused create kept addresses"


def test_client_token(mock, ec2):
    first = create(ec2, ClientToken="token-1", Description="x")
    again = create(ec2, ClientToken="token-1", Description="x")
    assert first["NetworkInterfaceId"] == again["NetworkInterfaceId"]
    refused("IdempotentParameterMismatch", 400, create, ec2, ClientToken="token-1", Description="y")
    drop(ec2, first["NetworkInterfaceId"])


def test_attach_and_detach(mock, ec2):
    mock.control("timings", {"attach_ms": 150, "detach_ms": 150})
    nic = create(ec2)["NetworkInterfaceId"]
    attachment = attach(ec2, nic)
    seen = describe(ec2, nic)
    assert seen["Status"] == "attaching" and seen["Attachment"]["Status"] == "attaching"
    assert not seen["Attachment"]["DeleteOnTermination"] and seen["Attachment"]["AttachmentId"] == attachment
    until(lambda: describe(ec2, nic)["Status"] == "in-use")
    assert describe(ec2, nic)["Attachment"]["Status"] == "attached"
    refused("InvalidNetworkInterface.InUse", 400, attach, ec2, nic, NODE, 2)
    message = refused("InvalidParameterValue", 400, ec2.delete_network_interface, NetworkInterfaceId=nic)
    assert message == "Network interface '%s' is currently in use." % nic
    ec2.detach_network_interface(AttachmentId=attachment)
    assert describe(ec2, nic)["Status"] == "detaching"
    refused("InvalidParameterValue", 400, ec2.delete_network_interface, NetworkInterfaceId=nic)
    refused("IncorrectState", 400, ec2.detach_network_interface, AttachmentId=attachment)
    other = create(ec2)["NetworkInterfaceId"]
    refused("InvalidParameterValue", 400, attach, ec2, other)
    until(lambda: describe(ec2, nic)["Status"] == "available")
    refused("InvalidAttachmentID.NotFound", 400, ec2.detach_network_interface, AttachmentId=attachment)
    ec2.delete_network_interface(NetworkInterfaceId=nic)
    refused("InvalidNetworkInterfaceID.NotFound", 400, ec2.delete_network_interface, NetworkInterfaceId=nic)
    ec2.delete_network_interface(NetworkInterfaceId=other)
    mock.control("timings", {"attach_ms": 0, "detach_ms": 0})


def test_attach_refusals(mock, ec2):
    nics = [create(ec2)["NetworkInterfaceId"] for _ in range(3)]
    refused("MissingParameter", 400, ec2.attach_network_interface, NetworkInterfaceId=nics[0], InstanceId=NODE)
    refused("InvalidInstanceID.NotFound", 400, attach, ec2, nics[0], "i-0123456789abcdef0")
    refused("InvalidNetworkInterfaceID.NotFound", 400, attach, ec2, NOBODY)
    attach(ec2, nics[0], NODE, 1)
    message = refused("InvalidParameterValue", 400, attach, ec2, nics[1], NODE, 1)
    assert message == "Instance '%s' already has an interface attached at device index '1'." % NODE
    attach(ec2, nics[1], NODE, 2)
    message = refused("AttachmentLimitExceeded", 400, attach, ec2, nics[2], NODE, 3)
    assert message == "Interface count 4 exceeds the limit for m5.large"
    far = create(ec2, SubnetId=OTHER_AZ)["NetworkInterfaceId"]
    refused("InvalidParameterCombination", 400, attach, ec2, far, TINY, 1)
    crowded = create(ec2, SecondaryPrivateIpAddressCount=5)["NetworkInterfaceId"]
    refused("PrivateIpAddressLimitExceeded", 400, attach, ec2, crowded, TINY, 1)
    prefixed = create(ec2, Ipv4PrefixCount=1)["NetworkInterfaceId"]
    refused("UnsupportedOperation", 400, attach, ec2, prefixed, XEN, 1)
    primary = ec2.describe_instances(InstanceIds=[NODE])["Reservations"][0]["Instances"][0]["NetworkInterfaces"]
    zero = next(n for n in primary if n["Attachment"]["DeviceIndex"] == 0)
    message = refused("OperationNotPermitted", 400, ec2.detach_network_interface,
                      AttachmentId=zero["Attachment"]["AttachmentId"])
    assert message == "The network interface at device index 0 and networkCard index 0 cannot be detached."
    for nic in nics + [far, crowded, prefixed]:
        drop(ec2, nic)


def test_modify_network_interface_attribute(mock, ec2):
    nic = create(ec2)["NetworkInterfaceId"]
    attachment = attach(ec2, nic)
    modify = ec2.modify_network_interface_attribute
    modify(NetworkInterfaceId=nic, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True})
    modify(NetworkInterfaceId=nic, SourceDestCheck={"Value": False})
    modify(NetworkInterfaceId=nic, Description={"Value": "new"})
    group = ec2.describe_security_groups()["SecurityGroups"][2]["GroupId"]
    modify(NetworkInterfaceId=nic, Groups=[group])
    seen = describe(ec2, nic)
    assert seen["Attachment"]["DeleteOnTermination"] and not seen["SourceDestCheck"] and seen["Description"] == "new"
    assert [g["GroupId"] for g in seen["Groups"]] == [group]
    refused("MissingParameter", 400, modify, NetworkInterfaceId=nic)
    refused("InvalidParameterCombination", 400, modify, NetworkInterfaceId=nic, SourceDestCheck={"Value": True},
            Description={"Value": "z"})
    refused("InvalidAttachmentID.NotFound", 400, modify, NetworkInterfaceId=nic,
            Attachment={"AttachmentId": "eni-attach-0123456789abcdef0", "DeleteOnTermination": True})
    drop(ec2, nic)


def test_assign_and_unassign(mock, ec2):
    nic = create(ec2)["NetworkInterfaceId"]
    attach(ec2, nic)
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=3)
    new = [a["PrivateIpAddress"] for a in answer["AssignedPrivateIpAddresses"]]
    assert len(new) == 3 and answer["NetworkInterfaceId"] == nic and not answer["AssignedIpv4Prefixes"]
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, Ipv4PrefixCount=2)
    prefixes = [p["Ipv4Prefix"] for p in answer["AssignedIpv4Prefixes"]]
    assert len(prefixes) == 2 and not answer["AssignedPrivateIpAddresses"]
    assert all(p.endswith("/28") and int(p.split("/")[0].split(".")[3]) % 16 == 0 for p in prefixes)
    seen = describe(ec2, nic)
    assert {a["PrivateIpAddress"] for a in seen["PrivateIpAddresses"]} == set(new) | {seen["PrivateIpAddress"]}
    assert [p["Ipv4Prefix"] for p in seen["Ipv4Prefixes"]] == prefixes
    before = mock.nic(nic)
    message = refused("PrivateIpAddressLimitExceeded", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic,
                      SecondaryPrivateIpAddressCount=5)
    assert message == "Number of private addresses will exceed limit." and mock.nic(nic) == before
    ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=4)
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=nic, PrivateIpAddresses=new, Ipv4Prefixes=prefixes)
    seen = describe(ec2, nic)
    assert len(seen["PrivateIpAddresses"]) == 5 and not seen.get("Ipv4Prefixes")
    primary = seen["PrivateIpAddress"]
    refused("InvalidParameterValue", 400, ec2.unassign_private_ip_addresses, NetworkInterfaceId=nic,
            PrivateIpAddresses=[primary])
    some = seen["PrivateIpAddresses"][1]["PrivateIpAddress"]
    refused("InvalidParameterValue", 400, ec2.unassign_private_ip_addresses, NetworkInterfaceId=nic,
            PrivateIpAddresses=[some, "10.0.1.10"])
    assert len(describe(ec2, nic)["PrivateIpAddresses"]) == 5
    refused("MissingParameter", 400, ec2.unassign_private_ip_addresses, NetworkInterfaceId=nic)
    refused("MissingParameter", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic)
    refused("InvalidParameterCombination", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic,
            SecondaryPrivateIpAddressCount=1, Ipv4PrefixCount=1)
    refused("InvalidNetworkInterfaceID.NotFound", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=NOBODY,
            SecondaryPrivateIpAddressCount=1)
    drop(ec2, nic)


def test_assign_explicit_and_reassign(mock, ec2):
    # Primaries of our choice: one of the mock's might be an address that is assigned below.
    one = create(ec2, PrivateIpAddress="10.0.1.240")["NetworkInterfaceId"]
    two = create(ec2, PrivateIpAddress="10.0.1.241")["NetworkInterfaceId"]
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=one, PrivateIpAddresses=["10.0.1.200", "10.0.1.201"])
    assert [a["PrivateIpAddress"] for a in answer["AssignedPrivateIpAddresses"]] == ["10.0.1.200", "10.0.1.201"]
    ec2.assign_private_ip_addresses(NetworkInterfaceId=one, Ipv4Prefixes=["10.0.1.224/28"])
    refused("InvalidIPAddress.InUse", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=two,
            PrivateIpAddresses=["10.0.1.199", "10.0.1.200"])
    refused("InvalidIPAddress.InUse", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=two,
            PrivateIpAddresses=["10.0.1.230"])
    assert "10.0.1.199" not in mock.nic(two)["addresses"]
    refused("InvalidParameterValue", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=two,
            Ipv4Prefixes=["10.0.1.192/27"])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=two, PrivateIpAddresses=["10.0.1.200"], AllowReassignment=True)
    assert "10.0.1.200" in mock.nic(two)["addresses"] and "10.0.1.200" not in mock.nic(one)["addresses"]
    drop(ec2, one)
    drop(ec2, two)


def test_assign_back_what_was_taken(mock, ec2):
    # What a provider does about units that went behind its back: the same ones again, by name.
    one = create(ec2, PrivateIpAddress="10.0.1.240")["NetworkInterfaceId"]
    two = create(ec2, PrivateIpAddress="10.0.1.241")["NetworkInterfaceId"]
    addresses, prefix = ["10.0.1.200", "10.0.1.201"], "10.0.1.208/28"
    ec2.assign_private_ip_addresses(NetworkInterfaceId=one, PrivateIpAddresses=addresses)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=one, Ipv4Prefixes=[prefix])
    mock.control("remove", {"nic": one, "units": addresses + [prefix]})
    assert len(describe(ec2, one)["PrivateIpAddresses"]) == 1 and not describe(ec2, one).get("Ipv4Prefixes")
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=one, PrivateIpAddresses=addresses)
    assert [a["PrivateIpAddress"] for a in answer["AssignedPrivateIpAddresses"]] == addresses
    answer = ec2.assign_private_ip_addresses(NetworkInterfaceId=one, Ipv4Prefixes=[prefix])
    assert answer["AssignedIpv4Prefixes"] == [{"Ipv4Prefix": prefix}] and not answer["AssignedPrivateIpAddresses"]
    # By name never twice: neither from another interface nor onto the one that has it.
    for nic in (one, two):
        refused("InvalidIPAddress.InUse", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic,
                PrivateIpAddresses=addresses[:1])
        refused("InvalidIPAddress.InUse", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic,
                Ipv4Prefixes=[prefix])
    refused("InvalidParameterCombination", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=two,
            PrivateIpAddresses=["10.0.1.202"], Ipv4Prefixes=["10.0.1.224/28"])
    drop(ec2, one)
    drop(ec2, two)


def test_ipv6(mock, ec2):
    nic = create(ec2)["NetworkInterfaceId"]
    addresses = ec2.assign_ipv6_addresses(NetworkInterfaceId=nic, Ipv6AddressCount=2)["AssignedIpv6Addresses"]
    prefixes = ec2.assign_ipv6_addresses(NetworkInterfaceId=nic, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"]
    assert len(addresses) == 2 and prefixes[0].endswith("/80")
    seen = describe(ec2, nic)
    assert [a["Ipv6Address"] for a in seen["Ipv6Addresses"]] == addresses
    assert [p["Ipv6Prefix"] for p in seen["Ipv6Prefixes"]] == prefixes
    gone = ec2.unassign_ipv6_addresses(NetworkInterfaceId=nic, Ipv6Addresses=addresses, Ipv6Prefixes=prefixes)
    assert gone["UnassignedIpv6Addresses"] == addresses and gone["UnassignedIpv6Prefixes"] == prefixes
    drop(ec2, nic)


def test_tags(mock, ec2):
    nic = create(ec2)["NetworkInterfaceId"]
    ec2.create_tags(Resources=[nic, SUBNET], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    assert {t["Key"]: t["Value"] for t in describe(ec2, nic)["TagSet"]} == {"a": "1", "b": ""}
    ec2.delete_tags(Resources=[nic], Tags=[{"Key": "a", "Value": "2"}, {"Key": "b"}])
    assert {t["Key"]: t["Value"] for t in describe(ec2, nic)["TagSet"]} == {"a": "1"}
    ec2.delete_tags(Resources=[SUBNET], Tags=[{"Key": "a"}, {"Key": "b"}])
    refused("InvalidNetworkInterfaceID.NotFound", 400, ec2.create_tags, Resources=[nic, NOBODY],
            Tags=[{"Key": "c", "Value": "1"}])
    assert "c" not in mock.nic(nic)["tags"]
    refused("InvalidParameterValue", 400, ec2.create_tags, Resources=[nic], Tags=[{"Key": "aws:x", "Value": "1"}])
    refused("TagLimitExceeded", 400, ec2.create_tags, Resources=[nic],
            Tags=[{"Key": "k%d" % i, "Value": ""} for i in range(50)])
    drop(ec2, nic)


def test_foreign(mock, ec2):
    told = json.loads(mock.control("foreign", {"instance": "n1", "managed": True, "secondary": 2}))
    seen = describe(ec2, told["nic"])
    assert seen["RequesterManaged"] and seen["Attachment"]["InstanceId"] == NODE and not seen["TagSet"]
    message = refused("OperationNotPermitted", 400, ec2.detach_network_interface, AttachmentId=told["attachment"])
    assert message == "You are not allowed to manage 'ela-attach' attachments."
    plain = json.loads(mock.control("foreign", {"instance": NODE, "tags": {"owner": "somebody"}}))
    assert plain["device_index"] == 2
    assert describe(ec2, plain["nic"])["TagSet"] == [{"Key": "owner", "Value": "somebody"}]
    mock.control("remove", {"nic": told["nic"]})
    assert mock.nic(told["nic"]) is None
    more = ec2.assign_private_ip_addresses(NetworkInterfaceId=plain["nic"], SecondaryPrivateIpAddressCount=1)
    lost = more["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    mock.control("remove", {"nic": plain["nic"], "units": [lost]})
    assert lost not in mock.nic(plain["nic"])["addresses"]
    drop(ec2, plain["nic"])


def test_dry_run(mock, ec2):
    before = len(mock.state()["nics"])
    refused("DryRunOperation", 412, create, ec2, DryRun=True)
    refused("DryRunOperation", 412, ec2.describe_instances, DryRun=True)
    refused("DryRunOperation", 412, ec2.create_tags, DryRun=True, Resources=[SUBNET], Tags=[{"Key": "x", "Value": ""}])
    assert len(mock.state()["nics"]) == before


def raw(mock, body):
    request = botocore.awsrequest.AWSRequest("POST", mock.urls["api"] + "/", {}, body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    credentials = botocore.credentials.Credentials("AKIDEXAMPLE", SEED["credentials"][0]["secret"])
    botocore.auth.SigV4Auth(credentials, "ec2", "us-west-2").add_auth(request)
    return http_call(mock.urls["api"], "POST", "/", body, dict(request.headers))


def code_of(text):
    return text.split("<Code>")[1].split("</Code>")[0]


def test_malformed(mock, ec2):
    version = "&Version=2016-11-15"
    for body, code in (("Action=Nonsense" + version, "InvalidAction"), (version[1:], "MissingParameter"),
                       ("Action=DescribeVpcs", "NoSuchVersion"), ("Action=DescribeVpcs&Version=1", "NoSuchVersion"),
                       ("Action=DescribeVpcs&Colour=red" + version, "UnknownParameter"),
                       ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=x&DryRun=true" + version,
                        "UnknownParameter"),
                       ("Action=AssignPrivateIpAddresses&NetworkInterfaceId=x&Ipv4Prefix.1.Ipv4Prefix=1" + version,
                        "UnknownParameter"),
                       ("Action=DescribeVpcs&DryRun=maybe" + version, "InvalidParameterValue"),
                       ("Action=%zz" + version, "MalformedQueryString"), ("Action" + version, "MalformedQueryString")):
        status, text = raw(mock, body)
        assert status == 400 and code_of(text) == code, (body, status, text)
    status, text = raw(mock, "Action=DescribeVpcs" + version)
    assert status == 200 and "<requestId>" in text and 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"' in text


NOW = datetime.datetime.utcnow


class Past(datetime.datetime):
    """A clock that is wrong by a quarter of an hour."""

    @classmethod
    def utcnow(cls):
        return NOW() - datetime.timedelta(minutes=15)


def test_signatures(mock, ec2):
    body = "Action=DescribeVpcs&Version=2016-11-15"
    status, text = http_call(mock.urls["api"], "POST", "/", body)
    assert (status, code_of(text)) == (403, "MissingAuthenticationToken")
    status, text = http_call(mock.urls["api"], "POST", "/", body, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"})
    assert (status, code_of(text)) == (400, "IncompleteSignature")
    with unittest.mock.patch("botocore.auth.datetime.datetime", Past):
        status, text = raw(mock, body)
    assert (status, code_of(text)) == (400, "RequestExpired"), text
    refused("AuthFailure", 401, mock.client(key="AKIDNOBODY").describe_vpcs)
    refused("SignatureDoesNotMatch", 403, mock.client(secret="wrong").describe_vpcs)
    assert mock.client("ASIATEMP", "temp", "IQoJb3+/==").describe_vpcs()["Vpcs"]
    refused("AuthFailure", 401, mock.client("ASIATEMP", "temp", "another").describe_vpcs)
    refused("AuthFailure", 401, mock.client("ASIATEMP", "temp").describe_vpcs)
    refused("RequestExpired", 400, mock.client("ASIAOLD", "old", "old").describe_vpcs)
    elsewhere = boto3.client("ec2", "eu-west-1", endpoint_url=mock.urls["api"], aws_access_key_id="AKIDEXAMPLE",
                             aws_secret_access_key=SEED["credentials"][0]["secret"])
    refused("AuthFailure", 401, elsewhere.describe_vpcs)


def test_throttling(mock, ec2):
    gone = {"Resources": [SUBNET], "Tags": [{"Key": "never"}]}
    mock.control("throttle", {"drain": "DeleteTags"})
    message = refused("RequestLimitExceeded", 503, ec2.delete_tags, **gone)
    assert message == "Request limit exceeded."
    assert ec2.describe_vpcs()["Vpcs"], "another action has its own bucket"
    mock.client(retries={"max_attempts": 8, "mode": "standard"}).delete_tags(**gone)
    assert mock.state()["counters"]["DeleteTags"]["throttled"] >= 1
    mock.control("throttle", {"drain": "*", "enabled": False})
    ec2.delete_tags(**gone)


def test_throttling__default_burst(_mock, _ec2):
    mock = Mock({k: v for k, v in SEED.items() if k != "throttle"})
    try:
        ec2 = mock.client()
        nic, went_well = create(ec2)["NetworkInterfaceId"], 0
        try:
            while went_well < 1000:
                ec2.modify_network_interface_attribute(NetworkInterfaceId=nic, Description={"Value": "x"})
                went_well += 1
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "RequestLimitExceeded"
        assert 50 <= went_well < 100, went_well
    finally:
        mock.stop()


def test_faults(mock, ec2):
    def fault(kind, action="CreateTags", **more):
        mock.control("fault", dict(action=action, kind=kind, **more))

    def tag(key):
        return ec2.create_tags(Resources=[SUBNET], Tags=[{"Key": key, "Value": ""}])

    def tagged(key):
        tags = ec2.describe_subnets(SubnetIds=[SUBNET])["Subnets"][0]["Tags"]
        return key in [t["Key"] for t in tags]

    ec2 = mock.client(read_timeout=2, retries={"max_attempts": 0, "mode": "legacy"})
    fault("throttle")
    refused("RequestLimitExceeded", 503, tag, "f1")
    fault("error", code="UnauthorizedOperation", message="no", status=403)
    refused("UnauthorizedOperation", 403, tag, "f1")
    assert not tagged("f1")
    for kind, errors, done in (("lost_answer", botocore.exceptions.ConnectionClosedError, True),
                               ("html502", botocore.exceptions.ClientError, False),
                               ("garbage", Exception, True), ("hang", botocore.exceptions.HTTPClientError, False),
                               ("half", Exception, True)):
        fault(kind, ms=100)
        try:
            tag("f-" + kind)
        except errors:
            pass
        else:
            raise AssertionError("%s: it went well" % kind)
        assert tagged("f-" + kind) == done, kind
    for kind in ("latency", "late_answer"):
        fault(kind, ms=200)
        start = time.monotonic()
        tag("f-" + kind)
        assert time.monotonic() - start >= 0.2 and tagged("f-" + kind)
    fault("throttle", count=-1)
    refused("RequestLimitExceeded", 503, tag, "x")
    refused("RequestLimitExceeded", 503, tag, "x")
    mock.control("faults/clear", {})
    tag("x")
    status, text = http_call(mock.urls["control"], "POST", "/_mock/fault", json.dumps({"kind": "nonsense"}))
    assert status == 400 and "nonsense" in text


def test_describe_lag(mock, ec2):
    mock.control("timings", {"describe_lag_ms": 300})
    nic = create(ec2)["NetworkInterfaceId"]
    refused("InvalidNetworkInterfaceID.NotFound", 400, describe, ec2, nic)
    until(lambda: ec2.describe_network_interfaces(
        Filters=[{"Name": "network-interface-id", "Values": [nic]}])["NetworkInterfaces"])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=1)
    assert len(describe(ec2, nic)["PrivateIpAddresses"]) == 1
    until(lambda: len(describe(ec2, nic)["PrivateIpAddresses"]) == 2)
    ec2.delete_network_interface(NetworkInterfaceId=nic)
    assert describe(ec2, nic)
    found = {"Filters": [{"Name": "network-interface-id", "Values": [nic]}]}
    until(lambda: not ec2.describe_network_interfaces(**found)["NetworkInterfaces"])
    mock.control("timings", {"describe_lag_ms": 0})


def imds(mock, path, token, base=None):
    return http_call(base or mock.urls["metadata"], "GET", path, None, {"X-aws-ec2-metadata-token": token})


def imds_token(mock, base=None, ttl="60"):
    status, text = http_call(base or mock.urls["metadata"], "PUT", "/latest/api/token", None,
                             {"X-aws-ec2-metadata-token-ttl-seconds": ttl})
    assert status == 200, (status, text)
    return text


def test_imds_tokens(mock, ec2):
    base = mock.urls["metadata"]
    ttl = "X-aws-ec2-metadata-token-ttl-seconds"
    for headers, status in (({}, 400), ({ttl: "0"}, 400), ({ttl: "21601"}, 400), ({ttl: "x"}, 400),
                            ({ttl: "21600"}, 200),
                            ({ttl: "60", "X-Forwarded-For": "1.2.3.4"}, 403)):
        assert http_call(base, "PUT", "/latest/api/token", None, headers)[0] == status, headers
    assert http_call(base, "PUT", "/2021-03-23/api/token", None, {ttl: "60"})[0] == 403
    url = urllib.parse.urlparse(base)
    with socket.create_connection((url.hostname, url.port), 5) as bare:  # as `curl -X PUT`: no Content-Length
        head = "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n%s: 60\r\nConnection: close\r\n\r\n" % ttl
        bare.sendall(head.encode())
        assert bare.recv(4096).startswith(b"HTTP/1.1 200")
    status, text = imds(mock, "/latest/meta-data/instance-id", "nonsense")
    assert status == 401 and "<html" in text
    assert http_call(base, "GET", "/latest/meta-data/instance-id")[0] == 401
    assert imds(mock, "/latest/meta-data/instance-id", imds_token(mock)) == (200, NODE)
    short = imds_token(mock, ttl="1")
    until(lambda: imds(mock, "/latest/meta-data/instance-id", short)[0] == 401)


def test_imds_tree(mock, ec2):
    token = imds_token(mock)

    def get(path):
        status, text = imds(mock, "/latest/meta-data/" + path, token)
        return text if status == 200 else status

    mac = "02:11:22:33:44:55"
    macs = "network/interfaces/macs/" + mac + "/"
    for path, want in (("instance-type", "m5.large"), ("mac", mac), ("local-ipv4", "10.0.1.10"),
                       ("placement/region", "us-west-2"), ("placement/availability-zone", "us-west-2a"),
                       ("services/partition", "aws"), (macs + "device-number", "0"),
                       (macs + "subnet-id", SUBNET), (macs + "subnet-ipv4-cidr-block", "10.0.1.0/24"),
                       (macs + "vpc-ipv4-cidr-blocks", "10.0.0.0/16\n100.64.0.0/16"),
                       (macs + "local-ipv4s", "10.0.1.10"), (macs + "security-group-ids", GROUP),
                       (macs + "ipv4-prefix", 404), (macs + "network-card", 404), (macs + "nonsense", 404),
                       ("nonsense", 404), ("spot/instance-action", 404), ("network/interfaces/macs", mac + "/"),
                       ("network/interfaces/macs/", mac + "/"), ("network/", "interfaces/")):
        assert get(path) == want, (path, get(path))
    assert "device-number" in get(macs).split("\n") and "ipv4-prefix" not in get(macs).split("\n")
    assert "instance-id" in get("").split("\n") and "placement/" in get("").split("\n")
    document = json.loads(imds(mock, "/latest/dynamic/instance-identity/document", token)[1])
    assert document["accountId"] == "111122223333" and document["instanceId"] == NODE
    status, text = imds(mock, "/latest/meta-data/nonsense", token)
    assert status == 404 and "404 - Not Found" in text


def test_imds_credentials(mock, ec2):
    token = imds_token(mock)
    assert imds(mock, "/latest/meta-data/iam/security-credentials/", token)[1] == "berth-node"
    path = "/latest/meta-data/iam/security-credentials/berth-node"
    first = json.loads(imds(mock, path, token)[1])
    assert first["Code"] == "Success" and first == json.loads(imds(mock, path, token)[1])
    role = mock.client(first["AccessKeyId"], first["SecretAccessKey"], first["Token"])
    assert role.describe_vpcs()["Vpcs"]
    mock.control("credentials", {"expire": "role"})
    refused("RequestExpired", 400, role.describe_vpcs)
    second = json.loads(imds(mock, path, token)[1])
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert mock.client(second["AccessKeyId"], second["SecretAccessKey"], second["Token"]).describe_vpcs()["Vpcs"]


def test_imds_botocore(mock, ec2):
    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = mock.urls["metadata"]
    session = boto3.session.Session(region_name="us-west-2")
    client = session.client("ec2", endpoint_url=mock.urls["api"])
    assert session.get_credentials().method == "iam-role" and client.describe_vpcs()["Vpcs"]


def test_imds_lag(mock, ec2):
    mock.control("timings", {"imds_lag_ms": 800})
    nic = create(ec2, Ipv4PrefixCount=1)
    attach(ec2, nic["NetworkInterfaceId"])
    token = imds_token(mock)
    base = "/latest/meta-data/network/interfaces/macs/"
    mac = nic["MacAddress"]

    def get(path):
        return imds(mock, base + path, token)

    assert mac not in get("")[1]
    until(lambda: mac + "/" in get("")[1].split("\n"))
    assert get(mac + "/device-number") == (200, "0"), "looks like the primary at first"
    assert get(mac + "/subnet-id")[0] == 404
    until(lambda: get(mac + "/subnet-id")[0] == 200)
    until(lambda: get(mac + "/device-number") == (200, "1"))
    assert get(mac + "/ipv4-prefix") == (200, nic["Ipv4Prefixes"][0]["Ipv4Prefix"])
    drop(ec2, nic["NetworkInterfaceId"])
    assert mac in get("")[1], "a NIC that is gone stays for a while"
    until(lambda: mac not in get("")[1])
    mock.control("timings", {"imds_lag_ms": 0})


def test_imds_faults(mock, ec2):
    token = imds_token(mock)
    mock.control("fault", {"action": "imds", "kind": "error", "status": 503, "match": "instance-id"})
    assert imds(mock, "/latest/meta-data/mac", token)[0] == 200
    assert imds(mock, "/latest/meta-data/instance-id", token)[0] == 503
    assert imds(mock, "/latest/meta-data/instance-id", token)[0] == 200


def test_metadata_for(mock, ec2):
    base = mock.urls["metadata_for"]["n2"]
    assert imds(mock, "/latest/meta-data/instance-id", imds_token(mock, base), base) == (200, TINY)
    assert imds(mock, "/latest/meta-data/instance-id", imds_token(mock), base)[0] == 401, "a token is its instance's"


def test_many_at_once(mock, ec2):
    mock.control("throttle", {"enabled": False})
    nic = create(ec2)["NetworkInterfaceId"]
    failures = []

    def work():
        try:
            mock.client().assign_private_ip_addresses(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=2)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    addresses = mock.nic(nic)["addresses"]
    assert not failures and len(addresses) == 25 == len(set(addresses)), failures
    drop(ec2, nic)


def test_short_pages(_mock, _ec2):
    mock = Mock(dict(SEED, paging={"short": True}))
    try:
        ec2 = mock.client()
        pages = list(ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 10}))
        names = [k["InstanceType"] for p in pages for k in p["InstanceTypes"]]
        assert any(not p["InstanceTypes"] for p in pages) and len(set(names)) == len(names) >= 30
    finally:
        mock.stop()


def test_log(mock, ec2):
    ec2.describe_vpcs()
    with open(mock.log, encoding="utf-8") as f:
        last = [json.loads(line) for line in f][-1]
    assert last["action"] == "DescribeVpcs" and last["status"] == 200


def run(module, seed, *args):
    """Every test_ function of a module against one mock; prints TAP."""
    os.environ["AWS_EC2_METADATA_DISABLED"] = "false"
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        del os.environ[name]
    tests = [(n, f) for n, f in module.items() if n.startswith("test_")]
    print("1..%d" % (len(tests) + 1), flush=True)
    mock = Mock(seed, *args)
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        try:
            test(mock, mock.client())
            print("ok %d - %s" % (number, name), flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            where = error.__traceback__
            while where.tb_next:
                where = where.tb_next
            print("not ok %d - %s" % (number, name))
            print("# line %d: %s: %s" % (where.tb_lineno, type(error).__name__, error), flush=True)
    status = mock.stop()
    failed += status != 0
    print("%s %d - the mock ends cleanly" % ("ok" if status == 0 else "not ok", len(tests) + 1), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(globals(), SEED, "--metadata-for", "n2=127.0.0.1:0"))

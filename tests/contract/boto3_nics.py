#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Network interfaces of the mock AWS through boto3: create, attach, modify, detach, delete, tags, other people's."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import (GROUP, Mock, NOBODY, NODE, OTHER_AZ, SEED, SMALL, SUBNET, TINY, XEN, attach, code_of,  # noqa: E402
                      create, describe, drop, raw, refused, run, until)


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
    nic = create(ec2, PrivateIpAddress="10.0.1.12", Ipv4Prefixes=[{"Ipv4Prefix": "10.0.1.64/28"}])
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


def test_interface_types(mock, ec2):
    for kind in ("interface", "trunk", "efa", "efa-only"):
        made = create(ec2, InterfaceType=kind)
        assert made["InterfaceType"] == kind
        found = ec2.describe_network_interfaces(Filters=[{"Name": "interface-type", "Values": [kind]},
                                                         {"Name": "status", "Values": ["available"]}])
        assert [n["NetworkInterfaceId"] for n in found["NetworkInterfaces"]] == [made["NetworkInterfaceId"]]
        drop(ec2, made["NetworkInterfaceId"])
    refused("InvalidParameterValue", 400, create, ec2, InterfaceType="natGateway")


def test_connection_tracking(mock, ec2):
    nic = create(ec2)["NetworkInterfaceId"]
    modify = ec2.modify_network_interface_attribute
    text = raw(mock, "Action=ModifyNetworkInterfaceAttribute&Version=2016-11-15&NetworkInterfaceId=" + nic +
               "&ConnectionTrackingSpecification.TcpEstablishedTimeout=350"
               "&ConnectionTrackingSpecification.UdpTimeout=45")[1]
    assert "<return>true</return>" in text, text
    text = raw(mock, "Action=DescribeNetworkInterfaces&Version=2016-11-15&NetworkInterfaceId.1=" + nic)[1]
    assert "<tcpEstablishedTimeout>350<" in text and "<udpTimeout>45<" in text and "udpStream" not in text, text
    status, text = raw(mock, "Action=ModifyNetworkInterfaceAttribute&Version=2016-11-15&NetworkInterfaceId=" + nic +
                       "&ConnectionTrackingSpecification.TcpEstablishedTimeout=59")
    assert (status, code_of(text)) == (400, "InvalidParameterValue")
    refused("MissingParameter", 400, modify, NetworkInterfaceId=nic)
    drop(ec2, nic)


SERVICE = {"instance": "n1", "operator": "eks.amazonaws.com", "tags": {"owner": "eks"}, "type": "trunk"}


def test_operator_managed(mock, ec2):
    told = json.loads(mock.control("foreign", SERVICE))
    seen = describe(ec2, told["nic"])
    assert not seen["RequesterManaged"] and seen["InterfaceType"] == "trunk"
    assert seen["TagSet"] == [{"Key": "owner", "Value": "eks"}] and mock.nic(told["nic"])["operator"]
    text = raw(mock, "Action=DescribeNetworkInterfaces&Version=2016-11-15&NetworkInterfaceId.1=" + told["nic"])[1]
    assert "<managed>true<" in text and "<principal>eks.amazonaws.com<" in text
    refused("OperationNotPermitted", 400, ec2.detach_network_interface, AttachmentId=told["attachment"])
    refused("UnauthorizedOperation", 403, ec2.assign_private_ip_addresses, NetworkInterfaceId=told["nic"],
            SecondaryPrivateIpAddressCount=1)
    refused("UnauthorizedOperation", 403, ec2.modify_network_interface_attribute, NetworkInterfaceId=told["nic"],
            Description={"Value": "mine"})
    mock.control("remove", {"nic": told["nic"]})


def test_hidden(mock, ec2):
    told = json.loads(mock.control("foreign", dict(SERVICE, hidden=True)))
    refused("InvalidNetworkInterfaceID.NotFound", 400, describe, ec2, told["nic"])
    nics = ec2.describe_instances(InstanceIds=[NODE])["Reservations"][0]["Instances"][0]["NetworkInterfaces"]
    assert [n["Attachment"]["DeviceIndex"] for n in nics] == [0]
    body = "Action=DescribeNetworkInterfaces&Version=2016-11-15&IncludeManagedResources=true"
    assert told["nic"] in raw(mock, body)[1] and told["nic"] not in raw(mock, body[:body.rindex("&")])[1]
    nic = create(ec2)["NetworkInterfaceId"]
    message = refused("InvalidParameterValue", 400, attach, ec2, nic)
    assert message == "Instance '%s' already has an interface attached at device index '1'." % NODE
    attach(ec2, nic, NODE, 2)
    drop(ec2, nic)
    mock.control("remove", {"nic": told["nic"]})


def test_seed_nics(_mock, _ec2):
    nics = [dict(SERVICE, instance="n1", secondary=2), {"instance": "n2", "managed": True, "prefixes": 1},
            {"tags": {"node.k8s.amazonaws.com/instance_id": NODE}, "description": "aws-K8S-left", "type": "interface"}]
    mock = Mock(dict(SEED, nics=nics, timings={"describe_lag_ms": 500}))
    try:
        seen = {n["Description"]: n for n in mock.client().describe_network_interfaces()["NetworkInterfaces"]
                if n.get("Attachment", {}).get("DeviceIndex") != 0}
        assert seen["aws-K8S-left"]["Status"] == "available" and len(seen) == 2, seen
        of_node = {n["Attachment"]["InstanceId"]: n for n in mock.client().describe_network_interfaces(
            Filters=[{"Name": "attachment.device-index", "Values": ["1"]}])["NetworkInterfaces"]}
        assert of_node[NODE]["InterfaceType"] == "trunk" and len(of_node[NODE]["PrivateIpAddresses"]) == 3
        assert of_node[TINY]["RequesterManaged"] and len(of_node[TINY]["Ipv4Prefixes"]) == 1
    finally:
        mock.stop()


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


if __name__ == "__main__":
    sys.exit(run(globals(), SEED))

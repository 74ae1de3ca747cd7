#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Subnets of the mock AWS through boto3: what a choice of subnet is made by, reservations, every way to be short."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import NODE, SEED, SMALL, SUBNET, attach, create, drop, refused, run  # noqa: E402

PODS = "subnet-0dd11111111111111"
WHOLE = "subnet-0ee11111111111111"
SUBNETS = SEED["subnets"] + [
    {"id": PODS, "cidr": "10.0.4.0/24", "az": "us-west-2a", "cidr6": "2600:1f14:aa:bb04::/64",
     "tags": {"kubernetes.io/role/cni": "1", "cni.networking.k8s.aws/cluster/c1": "shared"},
     "reservations": [{"id": "scr-0aa11111111111111", "cidr": "10.0.4.128/25", "type": "prefix"}]},
    {"id": WHOLE, "cidr": "10.0.5.0/26", "az": "us-west-2a", "tags": {"kubernetes.io/role/cni": "0"}},
]


def free_of(ec2, subnet):
    return ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]


def found(ec2, **filters):
    wanted = [{"Name": name.replace("__", ":").replace("_", "-"), "Values": values} for name, values in filters.items()]
    return {s["SubnetId"] for s in ec2.describe_subnets(Filters=wanted)["Subnets"]}


def test_describe_subnets__filters(mock, ec2):
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    assert found(ec2, vpc_id=[vpc], availability_zone=["us-west-2a"]) == {SUBNET, SMALL, PODS, WHOLE}
    assert found(ec2, tag_key=["kubernetes.io/role/cni"]) == {SUBNET, PODS, WHOLE}
    tag = {"Name": "tag:kubernetes.io/role/cni", "Values": ["1"]}
    assert {s["SubnetId"] for s in ec2.describe_subnets(Filters=[tag])["Subnets"]} == {SUBNET, PODS}
    assert found(ec2, tag_key=["cni.networking.k8s.aws/cluster/*"]) == {PODS}
    assert found(ec2, subnet_id=[PODS, SMALL], ipv6_native=["false"]) == {PODS, SMALL}
    six = {"Name": "ipv6-cidr-block-association.ipv6-cidr-block", "Values": ["2600:1f14:aa:bb04::/64"]}
    assert [s["SubnetId"] for s in ec2.describe_subnets(Filters=[six])["Subnets"]] == [PODS]
    assert found(ec2, vpc_id=["vpc-0123456789abcdef0"]) == set()
    plain = ec2.describe_subnets(SubnetIds=[WHOLE])["Subnets"][0]
    assert not plain["Ipv6CidrBlockAssociationSet"] and plain["Tags"] == [{"Key": "kubernetes.io/role/cni", "Value": "0"}]


def test_describe_subnets__count_follows(mock, ec2):
    before = free_of(ec2, WHOLE)
    nic = create(ec2, SubnetId=WHOLE, SecondaryPrivateIpAddressCount=2)["NetworkInterfaceId"]
    assert before == 64 - 5 and free_of(ec2, WHOLE) == before - 3
    drop(ec2, nic)
    nic = create(ec2, SubnetId=WHOLE, PrivateIpAddress="10.0.5.5", Ipv4PrefixCount=2)["NetworkInterfaceId"]
    assert free_of(ec2, WHOLE) == before - 1 - 32
    drop(ec2, nic)
    assert free_of(ec2, WHOLE) == before


def test_reservations(mock, ec2):
    held = ec2.get_subnet_cidr_reservations(SubnetId=PODS)["SubnetIpv4CidrReservations"]
    assert [(r["Cidr"], r["ReservationType"]) for r in held] == [("10.0.4.128/25", "prefix")]
    made = ec2.create_subnet_cidr_reservation(SubnetId=PODS, Cidr="10.0.4.16/28", ReservationType="explicit",
                                              Description="by name")["SubnetCidrReservation"]
    assert made["Cidr"] == "10.0.4.16/28" and made["Description"] == "by name" and made["OwnerId"] == SEED["account"]
    message = refused("InvalidParameterValue", 400, ec2.create_subnet_cidr_reservation, SubnetId=PODS,
                      Cidr="10.0.4.16/30", ReservationType="prefix")
    assert message == "Reservation CIDR 10.0.4.16/30 has overlap with existing reserved CIDR block"
    refused("InvalidParameterValue", 400, ec2.create_subnet_cidr_reservation, SubnetId=PODS, Cidr="10.0.9.0/28",
            ReservationType="prefix")
    refused("InvalidParameterValue", 400, ec2.create_subnet_cidr_reservation, SubnetId=PODS, Cidr="10.0.4.64/28",
            ReservationType="colour")
    refused("DryRunOperation", 412, ec2.create_subnet_cidr_reservation, SubnetId=PODS, Cidr="10.0.4.64/28",
            ReservationType="prefix", DryRun=True)
    more = [ec2.create_subnet_cidr_reservation(SubnetId=PODS, Cidr="10.0.4.%d/28" % i, ReservationType="explicit")
            ["SubnetCidrReservation"]["SubnetCidrReservationId"] for i in (32, 48, 64, 80)]
    page = ec2.get_subnet_cidr_reservations(SubnetId=PODS, MaxResults=5)
    rest = ec2.get_subnet_cidr_reservations(SubnetId=PODS, MaxResults=5, NextToken=page["NextToken"])
    assert len(page["SubnetIpv4CidrReservations"]) == 5 and len(rest["SubnetIpv4CidrReservations"]) == 1
    only = ec2.get_subnet_cidr_reservations(SubnetId=PODS, Filters=[{"Name": "reservationType", "Values": ["prefix"]}])
    assert len(only["SubnetIpv4CidrReservations"]) == 1 and "NextToken" not in rest
    for name in more + [made["SubnetCidrReservationId"]]:
        gone = ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=name)["DeletedSubnetCidrReservation"]
        assert gone["SubnetCidrReservationId"] == name
    refused("InvalidSubnetCidrReservationId.NotFound", 400, ec2.delete_subnet_cidr_reservation,
            SubnetCidrReservationId=more[0])
    refused("InvalidSubnetID.NotFound", 400, ec2.get_subnet_cidr_reservations, SubnetId="subnet-0123456789abcdef0")


def test_reservations__who_gets_what(mock, ec2):
    nic = create(ec2, SubnetId=PODS, PrivateIpAddress="10.0.4.5")["NetworkInterfaceId"]
    low = [r["SubnetCidrReservation"]["SubnetCidrReservationId"] for r in (
        ec2.create_subnet_cidr_reservation(SubnetId=PODS, Cidr="10.0.4.64/26", ReservationType="explicit"),)]
    singles = ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=40)
    for address in singles["AssignedPrivateIpAddresses"]:
        last = int(address["PrivateIpAddress"].split(".")[3])
        assert last < 64, "a single address came out of a reservation: %d" % last
    prefixes = ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, Ipv4PrefixCount=7)["AssignedIpv4Prefixes"]
    assert all(int(p["Ipv4Prefix"].split(".")[3].split("/")[0]) >= 128 for p in prefixes)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, PrivateIpAddresses=["10.0.4.70"])
    drop(ec2, nic)
    ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=low[0])
    nic = create(ec2, SubnetId=PODS, SecondaryPrivateIpAddressCount=62)
    lasts = [int(a["PrivateIpAddress"].split(".")[3]) for a in nic["PrivateIpAddresses"]]
    assert any(64 <= last < 128 for last in lasts), "what was given up is free again"
    drop(ec2, nic["NetworkInterfaceId"])


def test_short_of_prefixes(mock, ec2):
    # Fragmented: enough addresses, no aligned /28. Short: not even the addresses. Single ones are there in both.
    nic = create(ec2, SubnetId=SMALL, PrivateIpAddress="10.0.2.5")["NetworkInterfaceId"]
    attach(ec2, nic)
    assign = ec2.assign_private_ip_addresses
    message = refused("InsufficientCidrBlocks", 400, assign, NetworkInterfaceId=nic, Ipv4PrefixCount=1)
    assert message == "The specified subnet does not have enough free cidr blocks to satisfy the request."
    message = refused("InvalidParameterValue", 400, assign, NetworkInterfaceId=nic, Ipv4PrefixCount=4)
    assert message == "There aren't sufficient free Ipv4 addresses or prefixes"
    assert len(assign(NetworkInterfaceId=nic, SecondaryPrivateIpAddressCount=2)["AssignedPrivateIpAddresses"]) == 2
    drop(ec2, nic)
    hog = create(ec2, SubnetId=SMALL, SecondaryPrivateIpAddressCount=53)["NetworkInterfaceId"]
    free = free_of(ec2, SMALL)
    nic = create(ec2)["NetworkInterfaceId"]
    message = refused("InsufficientFreeAddressesInSubnet", 400, assign, NetworkInterfaceId=hog,
                      SecondaryPrivateIpAddressCount=free + 1)
    assert message == "The specified subnet does not have enough free addresses to satisfy the request."
    assert free_of(ec2, SMALL) == free
    drop(ec2, hog)
    drop(ec2, nic)


def test_prefix_slots(mock, ec2):
    # A prefix takes one slot of the NIC, as an address does: an m5.large has ten with the primary.
    nic = create(ec2, SubnetId=SUBNET, PrivateIpAddress="10.0.1.5")["NetworkInterfaceId"]
    attach(ec2, nic, NODE)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=nic, Ipv4PrefixCount=9)
    for more in ({"Ipv4PrefixCount": 1}, {"SecondaryPrivateIpAddressCount": 1}):
        refused("PrivateIpAddressLimitExceeded", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic, **more)
    ec2.assign_ipv6_addresses(NetworkInterfaceId=nic, Ipv6PrefixCount=1)
    refused("PrivateIpAddressLimitExceeded", 400, ec2.assign_ipv6_addresses, NetworkInterfaceId=nic, Ipv6AddressCount=10)
    drop(ec2, nic)


if __name__ == "__main__":
    sys.exit(run(globals(), dict(SEED, subnets=SUBNETS)))

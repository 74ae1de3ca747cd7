#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Addresses and prefixes of the mock AWS through boto3: assign and unassign, both families."""

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import NOBODY, SEED, attach, create, describe, drop, refused, run  # noqa: E402


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


if __name__ == "__main__":
    sys.exit(run(globals(), SEED))

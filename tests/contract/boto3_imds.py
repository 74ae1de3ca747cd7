#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The metadata service of the mock AWS, by hand and through botocore."""

import json
import os
import socket
import sys
import urllib.parse

import boto3

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import (GROUP, NODE, SEED, SMALL, SUBNET, TINY, attach, create, drop, http_call, imds,  # noqa: E402
                      imds_token, refused, until, run)


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


def test_imds_units(mock, ec2):
    token = imds_token(mock)
    nic = create(ec2, SubnetId=SMALL)
    attach(ec2, nic["NetworkInterfaceId"])

    def get(key, mac=nic["MacAddress"]):
        status, text = imds(mock, "/latest/meta-data/network/interfaces/macs/%s/%s" % (mac, key), token)
        return text if status == 200 else status

    for key in ("ipv4-prefix", "ipv6-prefix", "ipv6s", "subnet-ipv6-cidr-blocks"):
        assert get(key) == 404 and key not in get("").split("\n"), key
    drop(ec2, nic["NetworkInterfaceId"])
    nic = create(ec2, Ipv4PrefixCount=2, Ipv6AddressCount=1)
    prefix6 = ec2.assign_ipv6_addresses(NetworkInterfaceId=nic["NetworkInterfaceId"], Ipv6PrefixCount=1)
    attach(ec2, nic["NetworkInterfaceId"])
    mac = nic["MacAddress"]
    assert get("ipv4-prefix", mac).split("\n") == [p["Ipv4Prefix"] for p in nic["Ipv4Prefixes"]]
    assert get("local-ipv4s", mac) == nic["PrivateIpAddress"], "prefixes are not among the addresses"
    assert get("ipv6s", mac) == nic["Ipv6Addresses"][0]["Ipv6Address"]
    assert get("ipv6-prefix", mac) == prefix6["AssignedIpv6Prefixes"][0]
    assert get("subnet-ipv6-cidr-blocks", mac) == "2600:1f14:aa:bb00::/64"
    assert get("vpc-ipv6-cidr-blocks", mac) == "2600:1f14:aa:bb00::/56"
    drop(ec2, nic["NetworkInterfaceId"])


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


if __name__ == "__main__":
    sys.exit(run(globals(), SEED, "--metadata-for", "n2=127.0.0.1:0"))

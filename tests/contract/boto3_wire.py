#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The frame around every call of the mock AWS: signatures, malformed calls, dry runs, throttling, faults, log."""

import datetime
import glob
import json
import os
import re
import sys
import time
import unittest.mock

import boto3
import botocore
import botocore.exceptions

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import Mock, SEED, SUBNET, code_of, create, http_call, raw, refused, run  # noqa: E402


def test_dry_run(mock, ec2):
    before = len(mock.state()["nics"])
    refused("DryRunOperation", 412, create, ec2, DryRun=True)
    refused("DryRunOperation", 412, ec2.describe_instances, DryRun=True)
    refused("DryRunOperation", 412, ec2.create_tags, DryRun=True, Resources=[SUBNET], Tags=[{"Key": "x", "Value": ""}])
    assert len(mock.state()["nics"]) == before


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


def test_calls(_mock, _ec2):
    mock = Mock(SEED)
    try:
        ec2 = mock.client()
        nic = create(ec2)["NetworkInterfaceId"]
        ec2.describe_vpcs()
        ec2.create_tags(Resources=[nic], Tags=[{"Key": "a", "Value": "b"}])
        refused("MissingParameter", 400, ec2.assign_private_ip_addresses, NetworkInterfaceId=nic)
        http_call(mock.urls["metadata"], "GET", "/latest/meta-data/mac")
        told = json.loads(mock.control("calls"))
        assert (told["reads"], told["mutations"], told["others"]) == (1, 3, 1), told
        assert told["actions"]["AssignPrivateIpAddresses"] == {"calls": 1, "ok": 0, "errors": 1, "throttled": 0}
    finally:
        mock.stop()


def test_every_action_is_called(_mock, _ec2):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    with open(os.path.join(root, "mocks/aws/ec2.c"), encoding="utf-8") as f:
        actions = re.findall(r'\{ "([A-Z]\w+)", ec2_', f.read())
    text = ""
    for path in glob.glob(os.path.join(root, "tests/contract/**/*.py"), recursive=True):
        with open(path, encoding="utf-8") as f:
            text += f.read()
    assert len(actions) >= 20
    missing = [a for a in actions if "ec2." + botocore.xform_name(a) not in text]
    assert not missing, missing


def test_log(mock, ec2):
    ec2.describe_vpcs()
    with open(mock.log, encoding="utf-8") as f:
        last = [json.loads(line) for line in f][-1]
    assert last["action"] == "DescribeVpcs" and last["status"] == 200


if __name__ == "__main__":
    sys.exit(run(globals(), SEED))

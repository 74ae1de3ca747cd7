#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""STS and the agent of containers in the mock AWS, against a client that we did not write: boto3 and its credential chain."""

import datetime
import json
import os
import sys
import unittest.mock

import boto3
import botocore
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.utils

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
from aws_mock import SUBNET, http_call, refused, run  # noqa: E402

ROLE = "arn:aws:iam::111122223333:role/cni"
OTHER_ROLE = "arn:aws:iam::111122223333:role/path/other"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.b25l.c2lnbmF0dXJl"
OLD_TOKEN = "eyJhbGciOiJSUzI1NiJ9.b2xk.c2lnbmF0dXJl"
AGENT_TOKEN = "eyJhbGciOiJSUzI1NiJ9.cG9k.c2lnbmF0dXJl"

SEED = {
    "account": "111122223333",
    "region": "us-west-2",
    "vpc": {"cidrs": ["10.0.0.0/16"]},
    "subnets": [{"id": SUBNET, "cidr": "10.0.1.0/24", "az": "us-west-2a"}],
    "credentials": [{"access_key": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}],
    "web_identities": [
        {"role_arn": ROLE, "token": TOKEN},
        {"role_arn": OTHER_ROLE, "token": "another-token", "max_session_s": 7200},
        {"role_arn": "arn:aws:iam::111122223333:role/old", "token": OLD_TOKEN, "expires_in_s": -1},
    ],
    "agent": {"authorization": AGENT_TOKEN, "lifetime_s": 3600},
    "instances": [{"name": "n1", "type": "m5.large", "subnet": SUBNET}],
}


def sts(mock, **config):
    config.setdefault("retries", {"total_max_attempts": 1, "mode": "standard"})
    return boto3.client("sts", "us-west-2", endpoint_url=mock.urls["api"],
                        config=botocore.config.Config(parameter_validation=False, signature_version=botocore.UNSIGNED,
                                                      **config))


def assume(client, **more):
    return client.assume_role_with_web_identity(
        **dict({"RoleArn": ROLE, "RoleSessionName": "berth-n1", "WebIdentityToken": TOKEN}, **more))


def seconds_left(expiration):
    return (expiration - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def works(mock, credentials):
    client = mock.client(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    return bool(client.describe_vpcs()["Vpcs"])


def test_assume_role(mock, _ec2):
    answer = assume(sts(mock))
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111122223333:assumed-role/cni/berth-n1"
    assert answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":berth-n1")
    assert answer["Audience"] == "sts.amazonaws.com" and answer["ResponseMetadata"]["RequestId"]
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA") and len(credentials["SecretAccessKey"]) == 40
    assert 3590 < seconds_left(credentials["Expiration"]) <= 3600
    assert works(mock, credentials)
    again = assume(sts(mock))["Credentials"]
    assert again["AccessKeyId"] != credentials["AccessKeyId"] and works(mock, credentials), "both are good"


def test_assume_role__duration(mock, _ec2):
    for seconds in (900, 3600):
        left = seconds_left(assume(sts(mock), DurationSeconds=seconds)["Credentials"]["Expiration"])
        assert seconds - 10 < left <= seconds
    other = {"RoleArn": OTHER_ROLE, "WebIdentityToken": "another-token"}
    assert seconds_left(assume(sts(mock), DurationSeconds=7200, **other)["Credentials"]["Expiration"]) > 7000
    for seconds in (899, 43201):
        message = refused("ValidationError", 400, assume, sts(mock), DurationSeconds=seconds)
        assert "durationSeconds" in message
    assert "MaxSessionDuration" in refused("ValidationError", 400, assume, sts(mock), DurationSeconds=3601)


def test_assume_role__refused(mock, _ec2):
    client = sts(mock)
    refused("InvalidIdentityToken", 400, assume, client, WebIdentityToken="nobody's")
    refused("ExpiredTokenException", 400, assume, client, WebIdentityToken=OLD_TOKEN)
    refused("AccessDenied", 403, assume, client, WebIdentityToken="another-token")
    refused("AccessDenied", 403, assume, client, RoleArn="arn:aws:iam::111122223333:role/none")
    for name, value in (("RoleArn", "cni"), ("RoleSessionName", "x"), ("RoleSessionName", "two words"),
                        ("RoleSessionName", "x" * 65), ("WebIdentityToken", "abc")):
        message = refused("ValidationError", 400, assume, client, **{name: value})
        assert name[0].lower() + name[1:] in message, message
    body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=" + ROLE
    status, text = http_call(mock.urls["api"], "POST", "/", body)
    assert status == 400 and "<Code>ValidationError</Code>" in text and "null" in text
    assert text.startswith('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">')
    refused("InvalidAction", 400, client.get_session_token)


def test_assume_role__the_token_is_replaced(mock, _ec2):
    client = sts(mock)
    mock.control("web_identity", {"role_arn": ROLE, "token": "the-next-token"})
    refused("InvalidIdentityToken", 400, assume, client)
    assert works(mock, assume(client, WebIdentityToken="the-next-token")["Credentials"])
    mock.control("web_identity", {"role_arn": ROLE, "token": TOKEN, "expires_in_s": -1})
    refused("ExpiredTokenException", 400, assume, client)
    mock.control("web_identity", {"role_arn": ROLE, "token": TOKEN})
    assert works(mock, assume(client)["Credentials"])


def test_assume_role__credentials_end(mock, _ec2):
    credentials = assume(sts(mock))["Credentials"]
    mock.control("credentials", {"expire": "web"})
    refused("RequestExpired", 400, works, mock, credentials)


def test_assume_role__faults(mock, _ec2):
    def fault(kind, **more):
        mock.control("fault", dict(action="AssumeRoleWithWebIdentity", kind=kind, **more))

    fault("error", code="IDPCommunicationError", message="down", status=400)
    refused("IDPCommunicationError", 400, assume, sts(mock))
    fault("error", code="IDPCommunicationError", message="down", status=400)
    before = mock.state()["counters"]["AssumeRoleWithWebIdentity"]["calls"]
    # What the standard and the legacy mode of botocore repeat is what STS means by it.
    assert assume(sts(mock, retries={"max_attempts": 3, "mode": "legacy"}))["Credentials"]
    assert mock.state()["counters"]["AssumeRoleWithWebIdentity"]["calls"] == before + 2
    fault("throttle", code="Throttling", message="Rate exceeded", status=400)
    refused("Throttling", 400, assume, sts(mock))
    fault("error", code="X", message="y", status=400)
    text = http_call(mock.urls["api"], "POST", "/", "Action=AssumeRoleWithWebIdentity&Version=2011-06-15")[1]
    assert text.startswith("<ErrorResponse ") and "<Code>X</Code>" in text, text
    fault("html502")
    refused("502", 502, assume, sts(mock))


def test_web_identity__botocore(mock, _ec2):
    fetcher = botocore.credentials.AssumeRoleWithWebIdentityCredentialFetcher(
        client_creator=lambda service, config: boto3.client(service, "us-west-2", endpoint_url=mock.urls["api"],
                                                            config=config),
        web_identity_token_loader=lambda: TOKEN, role_arn=ROLE)
    got = fetcher.fetch_credentials()
    assert works(mock, {"AccessKeyId": got["access_key"], "SecretAccessKey": got["secret_key"],
                        "SessionToken": got["token"]})


# ---- the agent of containers ----

def agent(mock, token=AGENT_TOKEN, path="/v1/credentials", method="GET"):
    status, text = http_call(mock.urls["metadata"], method, path, None, {"Authorization": token} if token else {})
    return status, json.loads(text) if text.startswith("{") else text


def test_agent(mock, _ec2):
    status, first = agent(mock)
    assert status == 200 and first["AccountId"] == "111122223333", first
    expiration = datetime.datetime.strptime(first["Expiration"] + "+0000", "%Y-%m-%dT%H:%M:%SZ%z")
    assert 3500 < seconds_left(expiration) <= 3600
    assert works(mock, dict(first, SessionToken=first["Token"]))
    assert agent(mock)[1] == first, "the same until shortly before their end"
    mock.control("credentials", {"expire": "agent"})
    refused("RequestExpired", 400, works, mock, dict(first, SessionToken=first["Token"]))
    second = agent(mock)[1]
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert works(mock, dict(second, SessionToken=second["Token"]))


def test_agent__refused(mock, _ec2):
    status, answer = agent(mock, token="another")
    assert (status, answer["code"]) == (400, "InvalidTokenException")
    assert agent(mock, token=None)[0] == 400
    assert agent(mock, method="POST")[0] == 405
    assert agent(mock, path="/v1/other")[0] == 401, "the metadata service answers, and wants its own token"
    mock.control("fault", {"action": "agent", "kind": "error", "code": "ThrottlingException", "status": 429})
    status, answer = agent(mock)
    assert (status, answer["code"]) == (429, "ThrottlingException")
    mock.control("fault", {"action": "imds", "kind": "error", "status": 500})
    assert agent(mock)[0] == 200, "another action"
    mock.control("faults/clear", {})
    mock.control("agent", {"authorization": "the-next-token"})
    assert agent(mock)[0] == 400 and agent(mock, "the-next-token")[0] == 200
    mock.control("agent", {"authorization": AGENT_TOKEN})


def chain(mock, **variables):
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE")
    kept = {n: v for n, v in os.environ.items() if n not in names}
    with unittest.mock.patch.dict(os.environ, dict(kept, **variables), clear=True), \
            unittest.mock.patch("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0):
        session = boto3.session.Session(region_name="us-west-2")
        credentials = session.get_credentials()
        return credentials.method, session.client("ec2", endpoint_url=mock.urls["api"]).describe_vpcs()["Vpcs"]


def test_agent__botocore(mock, _ec2):
    uri = mock.urls["metadata"] + "/v1/credentials"
    method, vpcs = chain(mock, AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, AWS_CONTAINER_AUTHORIZATION_TOKEN=AGENT_TOKEN)
    assert method == "container-role" and vpcs
    try:
        chain(mock, AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, AWS_CONTAINER_AUTHORIZATION_TOKEN="another")
    except botocore.exceptions.CredentialRetrievalError as error:
        assert "InvalidTokenException" in str(error)
    else:
        raise AssertionError("another token went well")


if __name__ == "__main__":
    sys.exit(run(globals(), SEED))

# SPDX-License-Identifier: Apache-2.0
"""A mock AWS of one's own, boto3 on it, and a runner that prints TAP.

Starts $BUILD/berth-mockcloud (default build/) and leaves nothing behind.
"""

import http.client
import json
import os
import subprocess
import tempfile
import time
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
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
        {"name": "n2", "id": TINY, "type": "t3.nano", "subnet": SUBNET, "primary": "10.0.1.11"},
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


def imds(mock, path, token, base=None):
    return http_call(base or mock.urls["metadata"], "GET", path, None, {"X-aws-ec2-metadata-token": token})


def imds_token(mock, base=None, ttl="60"):
    status, text = http_call(base or mock.urls["metadata"], "PUT", "/latest/api/token", None,
                             {"X-aws-ec2-metadata-token-ttl-seconds": ttl})
    assert status == 200, (status, text)
    return text


def raw(mock, body):
    request = botocore.awsrequest.AWSRequest("POST", mock.urls["api"] + "/", {}, body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    credentials = botocore.credentials.Credentials("AKIDEXAMPLE", SEED["credentials"][0]["secret"])
    botocore.auth.SigV4Auth(credentials, "ec2", "us-west-2").add_auth(request)
    return http_call(mock.urls["api"], "POST", "/", body, dict(request.headers))


def code_of(text):
    return text.split("<Code>")[1].split("</Code>")[0]


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

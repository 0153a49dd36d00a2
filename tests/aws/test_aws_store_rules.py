"""The rules of what holds data: each is broken by something."""

import dataclasses
from typing import Any

from tests.aws.redis_stack import GROUP, MEMORYDB, USER
from tests.aws.store_rules import OTHERS, STORES, open_sources, violations
from tests.support.programs import Registered


@dataclasses.dataclass
class Request:
    protect: bool = True


GOOD: dict[str, dict[str, Any]] = {
    GROUP: {
        "atRestEncryptionEnabled": True,
        "transitEncryptionEnabled": True,
        "transitEncryptionMode": "required",
        "kmsKeyId": "key",
        "userGroupIds": ["group"],
        "subnetGroupName": "private",
    },
    MEMORYDB: {"tlsEnabled": True, "kmsKeyArn": "key", "aclName": "own"},
    "aws:memorydb/multiRegionCluster:MultiRegionCluster": {"tlsEnabled": True},
    "aws:rds/instance:Instance": {
        "storageEncrypted": True,
        "kmsKeyId": "key",
        "deletionProtection": True,
    },
    "aws:efs/fileSystem:FileSystem": {"encrypted": True, "kmsKeyId": "key"},
    "aws:cognito/userPool:UserPool": {
        "deletionProtection": "ACTIVE",
        "adminCreateUserConfig": {"allowAdminCreateUserOnly": True},
    },
    "aws:cognito/userPoolClient:UserPoolClient": {
        "generateSecret": True,
        "allowedOauthFlows": ["code"],
        "callbackUrls": ["https://ml.example.com/dex/callback"],
    },
    "aws:s3/bucket:Bucket": {"forceDestroy": False},
    USER: {"authenticationMode": {"type": "password"}},
    "aws:memorydb/user:User": {"authenticationMode": {"type": "password"}},
}


def test_every_rule_is_broken_by_something():
    assert set(GOOD) == {*STORES, *OTHERS}
    for type_, inputs in GOOD.items():
        assert violations([Registered(type_, "x", inputs, Request())]) == []
        for name in inputs:
            without = {key: value for key, value in inputs.items() if key != name}
            assert violations([Registered(type_, "x", without, Request())]), (type_, name)
    bare = Registered(GROUP, "x", GOOD[GROUP], Request(protect=False))
    assert violations([bare]) == [f"{GROUP} x: protect is False"]


def test_public_sources_are_found():
    rule = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    for source, found in (("0.0.0.0/0", True), ("10.0.0.0/8", False), ("8.8.8.0/24", True)):
        resource = Registered(rule, "x", {"cidrIpv4": source}, Request())
        assert bool(list(open_sources(resource))) is found, source
    group = {"ingress": [{"cidrBlocks": ["10.0.0.0/8"], "ipv6CidrBlocks": ["::/0"]}]}
    resource = Registered("aws:ec2/securityGroup:SecurityGroup", "x", group, Request())
    assert list(open_sources(resource)) == ["::/0"]

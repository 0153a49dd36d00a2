"""Rules that what holds data must keep, over the resources that a program registered.

Every store is encrypted, at rest by a key of KMS and on the way; nothing lets in the internet; and
nothing that holds data can be deleted by accident.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tests.support.programs import Registered

Rule = Callable[[Mapping[str, Any]], Iterator[str]]


def _is(inputs: Mapping[str, Any], name: str, value: object) -> Iterator[str]:
    if inputs.get(name) != value:
        yield f"{name} is {inputs.get(name)!r}, not {value!r}"


def _named(inputs: Mapping[str, Any], name: str) -> Iterator[str]:
    if not inputs.get(name):
        yield f"{name} is not set"


def _replication_group(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "atRestEncryptionEnabled", True)
    yield from _is(inputs, "transitEncryptionEnabled", True)
    yield from _is(inputs, "transitEncryptionMode", "required")
    yield from _named(inputs, "kmsKeyId")
    yield from _named(inputs, "userGroupIds")
    yield from _named(inputs, "subnetGroupName")


def _memorydb(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "tlsEnabled", True)
    yield from _named(inputs, "kmsKeyArn")
    yield from _named(inputs, "aclName")
    if inputs.get("aclName") == "open-access":
        yield "aclName lets in everybody"


def _multi_region(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "tlsEnabled", True)


def _database(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "storageEncrypted", True)
    yield from _named(inputs, "kmsKeyId")
    yield from _is(inputs, "deletionProtection", True)
    if inputs.get("publiclyAccessible"):
        yield "publiclyAccessible is true"


def _bucket(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "forceDestroy", False)


def _files(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "encrypted", True)
    yield from _named(inputs, "kmsKeyId")


def _user_pool(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "deletionProtection", "ACTIVE")
    if not (inputs.get("adminCreateUserConfig") or {}).get("allowAdminCreateUserOnly"):
        yield "everybody may sign up"


def _user_pool_client(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _is(inputs, "generateSecret", True)
    yield from _is(inputs, "allowedOauthFlows", ["code"])
    yield from _named(inputs, "callbackUrls")
    for url in inputs.get("callbackUrls") or []:
        if not url.startswith("https://"):
            yield f"callbackUrls has {url}"


def _user(inputs: Mapping[str, Any]) -> Iterator[str]:
    mode = inputs.get("authenticationMode") or {}
    # The SDK wraps it as a secret.
    mode = mode.get("value", mode).get("type")
    if mode not in ("password", "iam") or inputs.get("noPasswordRequired"):
        yield "signs in without a password"


STORES: Mapping[str, Rule] = {
    "aws:elasticache/replicationGroup:ReplicationGroup": _replication_group,
    "aws:memorydb/cluster:Cluster": _memorydb,
    "aws:memorydb/multiRegionCluster:MultiRegionCluster": _multi_region,
    "aws:rds/instance:Instance": _database,
    "aws:efs/fileSystem:FileSystem": _files,
    "aws:cognito/userPool:UserPool": _user_pool,
    "aws:s3/bucket:Bucket": _bucket,
}
"""What holds data: also protected, unless the stack says that nothing is."""
OTHERS: Mapping[str, Rule] = {
    "aws:elasticache/user:User": _user,
    "aws:memorydb/user:User": _user,
    "aws:cognito/userPoolClient:UserPoolClient": _user_pool_client,
}
_RULES = ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",)
_GROUPS = ("aws:ec2/securityGroup:SecurityGroup",)


def violations(registered: Iterable[Registered], *, protected: bool = True) -> list[str]:
    """A line for everything that breaks a rule; `protected` is whether the stack protects data."""
    found = []
    for resource in registered:
        title = f"{resource.type} {resource.name}"
        for rules in (STORES, OTHERS):
            if rule := rules.get(resource.type):
                found += [f"{title}: {line}" for line in rule(resource.inputs)]
        if resource.type in STORES and bool(resource.request.protect) is not protected:
            found.append(f"{title}: protect is {bool(resource.request.protect)}")
        found += [f"{title}: lets in {source}" for source in open_sources(resource)]
    return found


def open_sources(resource: Registered) -> Iterator[str]:
    """Public addresses that a security group lets in."""
    sources: list[str] = []
    if resource.type in _RULES:
        sources = [resource.inputs.get(name) for name in ("cidrIpv4", "cidrIpv6")]
    elif resource.type in _GROUPS:
        for entry in resource.inputs.get("ingress") or []:
            sources += [*(entry.get("cidrBlocks") or []), *(entry.get("ipv6CidrBlocks") or [])]
    for source in sources:
        if source and not ipaddress.ip_network(source).is_private:
            yield source

"""Rules about who may come in: default passwords, and endpoints that the whole world can reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from components.kubeflow.access import DEFAULT_EMAIL, find_defaults
from policy.resource import Resource, items, mapping, text

_WORLD: Final = frozenset({"0.0.0.0/0", "::/0"})
_INTERNAL: Final = {
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "networking.gke.io/load-balancer-type": "Internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}
_RANGES: Final = (
    "service.beta.kubernetes.io/load-balancer-source-ranges",
    "service.beta.kubernetes.io/aws-load-balancer-inbound-cidrs",
)
_PASSWORDS: Final = {
    "aws:rds/instance:Instance": ("password",),
    "aws:rds/cluster:Cluster": ("masterPassword",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("authToken",),
}
_COMMON: Final = frozenset(
    {"12341234", "admin", "changeme", "minio123", "password", "postgres", "root", "test"}
)


def no_default_passwords(resource: Resource) -> Iterator[str]:
    """A password that anybody can read in a manifest of upstream's, or guess."""
    if resource.kind and _is_object(resource.properties):
        for finding in find_defaults([resource.properties], DEFAULT_EMAIL):
            yield f"{finding.path} holds {finding.what}; generate one"
        if resource.kind == "Secret":
            for key, value in mapping(resource.properties.get("stringData")).items():
                if "password" in key.lower() and text(value).lower() in _COMMON:
                    yield f"stringData.{key} is a common password; generate one"
    for name in _PASSWORDS.get(resource.type, ()):
        value = resource.properties.get(name)
        if isinstance(value, str) and value.lower() in _COMMON:
            yield f"{name} is a common password; generate one"


def allow_lists(resource: Resource) -> Iterator[str]:
    """An endpoint that is open to the whole world."""
    if check := _CHECKS.get(resource.kind or resource.type):
        yield from check(resource.properties)


def _service(properties: Mapping[str, Any]) -> Iterator[str]:
    spec = mapping(properties.get("spec"))
    if text(spec.get("type")) != "LoadBalancer":
        return
    annotations = mapping(mapping(properties.get("metadata")).get("annotations"))
    if any(annotations.get(name) == value for name, value in _INTERNAL.items()):
        return
    ranges = {text(one) for one in items(spec.get("loadBalancerSourceRanges"))}
    for name in _RANGES:
        ranges |= {one.strip() for one in text(annotations.get(name)).split(",") if one.strip()}
    if not ranges:
        yield "a public load balancer without an allow list; set spec.loadBalancerSourceRanges"
    elif ranges & _WORLD:
        yield "spec.loadBalancerSourceRanges is the whole world; name the networks"


def _security_group(properties: Mapping[str, Any]) -> Iterator[str]:
    for rule in items(properties.get("ingress")):
        yield from _ingress(mapping(rule))


def _ingress(rule: Mapping[str, Any]) -> Iterator[str]:
    if text(rule.get("type")) == "egress":
        return
    blocks = {
        text(one) for name in ("cidrBlocks", "ipv6CidrBlocks") for one in items(rule.get(name))
    }
    blocks |= {text(rule.get("cidrIpv4")), text(rule.get("cidrIpv6"))}
    if blocks & _WORLD:
        ports = f"{rule.get('fromPort', 'all')} to {rule.get('toPort', 'all')}"
        yield f"ingress to ports {ports} from the whole world; name the networks"


def _eks(properties: Mapping[str, Any]) -> Iterator[str]:
    config = mapping(properties.get("vpcConfig"))
    if config.get("endpointPublicAccess") is False:
        return
    networks = items(config.get("publicAccessCidrs"))
    if not networks or _WORLD & {text(one) for one in networks}:
        yield (
            "the API server is open to the whole world; set vpcConfig.publicAccessCidrs, or "
            "endpointPublicAccess: false"
        )


def _database(properties: Mapping[str, Any]) -> Iterator[str]:
    if properties.get("publiclyAccessible") is True:
        yield "publiclyAccessible gives the database a public address; remove it"


def _bucket(properties: Mapping[str, Any]) -> Iterator[str]:
    if text(properties.get("acl")).startswith("public"):
        yield "the ACL lets everybody read; remove it"


def _bucket_block(properties: Mapping[str, Any]) -> Iterator[str]:
    names = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    if missing := [name for name in names if properties.get(name) is False]:
        yield f"set {', '.join(missing)} to true"


def _policy(properties: Mapping[str, Any]) -> Iterator[str]:
    try:
        document = json.loads(text(properties.get("policy")))
    except ValueError:
        return
    for statement in items(mapping(document).get("Statement")):
        principal = mapping(statement).get("Principal")
        everybody = principal == "*" or mapping(principal).get("AWS") == "*"
        allows = mapping(statement).get("Effect") == "Allow"
        if everybody and allows and not mapping(statement).get("Condition"):
            yield "the policy allows everybody; name a principal, or add a condition"


_CHECKS: Final = {
    "Service": _service,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:ec2/securityGroupRule:SecurityGroupRule": _ingress,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ingress,
    "aws:eks/cluster:Cluster": _eks,
    "aws:rds/instance:Instance": _database,
    "aws:rds/clusterInstance:ClusterInstance": _database,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketV2:BucketV2": _bucket,
    "aws:s3/bucketAclV2:BucketAclV2": _bucket,
    "aws:s3/bucketAcl:BucketAcl": _bucket,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _bucket_block,
    "aws:s3/bucketPolicy:BucketPolicy": _policy,
}


def _is_object(properties: Mapping[str, Any]) -> bool:
    return bool(
        text(properties.get("kind")) and text(mapping(properties.get("metadata")).get("name"))
    )

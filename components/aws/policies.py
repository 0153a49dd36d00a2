"""Policies of IAM and KMS, each as narrow as its controller allows. Pure.

A statement that changes anything names its resources, or holds for those alone that carry the
cluster's tag. Actions are those of the controllers' own policies:
https://github.com/kubernetes-sigs/aws-load-balancer-controller/blob/main/docs/install/iam_policy.json
https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Statement = dict[str, Any]

CLUSTER_TAG = "elbv2.k8s.aws/cluster"
"""What the AWS Load Balancer Controller puts on all it makes: the cluster's name."""


@dataclass(frozen=True)
class Scope:
    """What ARNs are made of; `cluster` is the name of the cluster."""

    partition: str
    region: str
    account: str
    cluster: str

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def iam(self, resource: str) -> str:
        """An ARN of IAM, which has no region."""
        return f"arn:{self.partition}:iam::{self.account}:{resource}"


def document(statements: Sequence[Statement]) -> str:
    """A policy, as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def allow(
    actions: Sequence[str],
    resources: str | Sequence[str],
    conditions: Mapping[str, Any] | None = None,
    principal: Mapping[str, Any] | None = None,
    sid: str = "",
) -> Statement:
    """A statement that allows."""
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    if sid:
        statement["Sid"] = sid
    if conditions:
        statement["Condition"] = conditions
    if principal:
        statement["Principal"] = principal
    return statement


def _actions(service: str, names: str) -> list[str]:
    return [f"{service}:{name}" for name in names.split()]


# --- who may take a role -------------------------------------------------------------------------


def trust(service: str) -> str:
    """A service of AWS, like `eks`, takes the role."""
    return document([_trust(f"{service}.amazonaws.com", ["sts:AssumeRole"])])


def trust_of_pods(scope: Scope, namespace: str, service_account: str) -> str:
    """Pods of one service account of this cluster take the role, by EKS Pod Identity.

    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
    """
    return _of_pods(scope, namespace, service_account)


def trust_of_namespaces(scope: Scope, namespaces: Sequence[str], service_account: str) -> str:
    """As `trust_of_pods`, of the service account of that name in each of the namespaces."""
    return _of_pods(scope, list(namespaces), service_account)


def _of_pods(scope: Scope, namespaces: str | list[str], service_account: str) -> str:
    tags = {
        "aws:RequestTag/eks-cluster-name": scope.cluster,
        "aws:RequestTag/kubernetes-namespace": namespaces,
        "aws:RequestTag/kubernetes-service-account": service_account,
    }
    return document(
        [
            _trust(
                "pods.eks.amazonaws.com",
                ["sts:AssumeRole", "sts:TagSession"],
                {"StringEquals": tags},
            )
        ]
    )


def _trust(
    service: str, actions: Sequence[str], conditions: Mapping[str, Any] | None = None
) -> Statement:
    statement = allow(actions, "", conditions, {"Service": service})
    del statement["Resource"]
    return statement


# --- controllers ---------------------------------------------------------------------------------


def load_balancer_controller(scope: Scope, vpc: str, nodes_group: str) -> str:
    """The AWS Load Balancer Controller, for Services (NLB) only.

    `nodes_group` is the security group of the nodes, which it opens to its load balancers.
    """
    ec2 = "ec2"
    elb = "elasticloadbalancing"
    owned = {f"aws:ResourceTag/{CLUSTER_TAG}": scope.cluster}
    asked = {f"aws:RequestTag/{CLUSTER_TAG}": scope.cluster}
    groups = scope.arn(ec2, "security-group/*")
    balancers = scope.arn(elb, "loadbalancer/net/k8s-*")
    listeners = scope.arn(elb, "listener/net/k8s-*")
    targets = scope.arn(elb, "targetgroup/k8s-*")
    keeps_tag = {"Null": {f"aws:RequestTag/{CLUSTER_TAG}": "true"}, "StringEquals": owned}
    return document(
        [
            allow(
                _actions(
                    ec2,
                    "DescribeAccountAttributes DescribeAddresses DescribeAvailabilityZones "
                    "DescribeInternetGateways DescribeVpcs DescribeVpcPeeringConnections "
                    "DescribeSubnets DescribeSecurityGroups DescribeInstances "
                    "DescribeNetworkInterfaces DescribeTags DescribeRouteTables",
                )
                + _actions(
                    elb,
                    "DescribeLoadBalancers DescribeLoadBalancerAttributes DescribeListeners "
                    "DescribeListenerCertificates DescribeListenerAttributes DescribeSSLPolicies "
                    "DescribeRules DescribeTargetGroups DescribeTargetGroupAttributes "
                    "DescribeTargetHealth DescribeTags DescribeTrustStores "
                    "DescribeCapacityReservation",
                )
                + _actions("acm", "ListCertificates"),
                "*",
            ),
            allow(["acm:DescribeCertificate"], scope.arn("acm", "certificate/*")),
            allow(["ec2:GetSecurityGroupsForVpc"], scope.arn(ec2, f"vpc/{vpc}")),
            allow(["ec2:CreateSecurityGroup"], scope.arn(ec2, f"vpc/{vpc}")),
            allow(["ec2:CreateSecurityGroup"], groups, {"StringEquals": asked}),
            allow(
                ["ec2:CreateTags"],
                groups,
                {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup", **asked}},
            ),
            allow(_actions(ec2, "CreateTags DeleteTags"), groups, keeps_tag),
            allow(
                _actions(
                    ec2,
                    "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress DeleteSecurityGroup",
                ),
                groups,
                {"StringEquals": owned},
            ),
            allow(
                _actions(ec2, "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress"),
                scope.arn(ec2, f"security-group/{nodes_group}"),
            ),
            allow(
                _actions(elb, "CreateLoadBalancer CreateTargetGroup"),
                [balancers, targets],
                {"StringEquals": asked},
            ),
            allow(["elasticloadbalancing:CreateListener"], balancers, {"StringEquals": owned}),
            allow(
                _actions(
                    elb,
                    "DeleteListener ModifyListener ModifyListenerAttributes "
                    "AddListenerCertificates RemoveListenerCertificates AddTags RemoveTags",
                ),
                listeners,
            ),
            allow(
                ["elasticloadbalancing:AddTags"],
                [balancers, targets],
                {
                    "StringEquals": {
                        "elasticloadbalancing:CreateAction": [
                            "CreateLoadBalancer",
                            "CreateTargetGroup",
                        ],
                        **asked,
                    }
                },
            ),
            allow(_actions(elb, "AddTags RemoveTags"), [balancers, targets], keeps_tag),
            allow(
                _actions(
                    elb,
                    "ModifyLoadBalancerAttributes SetIpAddressType SetSecurityGroups SetSubnets "
                    "DeleteLoadBalancer ModifyTargetGroup ModifyTargetGroupAttributes "
                    "DeleteTargetGroup",
                ),
                [balancers, targets],
                {"StringEquals": owned},
            ),
            allow(_actions(elb, "RegisterTargets DeregisterTargets"), targets),
            allow(
                ["iam:CreateServiceLinkedRole"],
                scope.iam(
                    "role/aws-service-role/elasticloadbalancing.amazonaws.com/"
                    "AWSServiceRoleForElasticLoadBalancing"
                ),
                {"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
            ),
        ]
    )


def autoscaler(scope: Scope) -> str:
    """The Cluster Autoscaler: the groups of this cluster, which EKS tags with its name."""
    tag = f"aws:ResourceTag/k8s.io/cluster-autoscaler/{scope.cluster}"
    return document(
        [
            allow(
                _actions(
                    "autoscaling",
                    "DescribeAutoScalingGroups DescribeAutoScalingInstances "
                    "DescribeLaunchConfigurations DescribeScalingActivities DescribeTags",
                )
                + _actions(
                    "ec2",
                    "DescribeImages DescribeInstanceTypes DescribeLaunchTemplateVersions "
                    "GetInstanceTypesFromInstanceRequirements",
                ),
                "*",
            ),
            allow(["eks:DescribeNodegroup"], scope.arn("eks", f"nodegroup/{scope.cluster}/*/*")),
            allow(
                _actions("autoscaling", "SetDesiredCapacity TerminateInstanceInAutoScalingGroup"),
                scope.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*"),
                {"StringEquals": {tag: "owned"}},
            ),
        ]
    )


def shared_files(scope: Scope, file_system_arn: str) -> str:
    """The policy of a file system of EFS: by TLS and an access point, and nobody is root.

    Pods have no credentials of AWS to show; who reaches a mount target is its security group's
    matter. https://docs.aws.amazon.com/efs/latest/ug/iam-access-control-nfs-efs.html
    """
    mounts = _actions("elasticfilesystem", "ClientMount ClientWrite")
    through = {
        # Also what keeps it from being public in AWS's eyes.
        "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
        "ArnLike": {
            "elasticfilesystem:AccessPointArn": scope.arn("elasticfilesystem", "access-point/*")
        },
    }
    in_plain = allow(
        [*mounts, "elasticfilesystem:ClientRootAccess"],
        file_system_arn,
        {"Bool": {"aws:SecureTransport": "false"}},
        {"AWS": "*"},
        "Encrypted",
    )
    return document(
        [
            allow(mounts, file_system_arn, through, {"AWS": "*"}, "AccessPoints"),
            {**in_plain, "Effect": "Deny"},
        ]
    )


def flow_logs(group_arn: str) -> str:
    """VPC flow logs write to one log group."""
    return document(
        [
            allow(
                _actions("logs", "CreateLogStream PutLogEvents DescribeLogStreams"),
                [group_arn, f"{group_arn}:*"],
            ),
            allow(["logs:DescribeLogGroups"], "*"),
        ]
    )


# --- artefacts -----------------------------------------------------------------------------------

_OWN_NAMESPACE = "${aws:PrincipalTag/kubernetes-namespace}"
"""The pod's namespace, with which EKS Pod Identity tags the session of its role."""


def artifacts(bucket_arn: str) -> str:
    """Pods read and write artefacts below their namespace's name, and delete none."""
    return document(
        [
            allow(
                ["s3:ListBucket"],
                bucket_arn,
                {"StringLike": {"s3:prefix": f"{_OWN_NAMESPACE}/*"}},
            ),
            allow(
                _actions("s3", "GetObject PutObject AbortMultipartUpload ListMultipartUploadParts"),
                f"{bucket_arn}/{_OWN_NAMESPACE}/*",
            ),
        ]
    )


def only_by_tls(bucket_arn: str) -> str:
    """Of a bucket: whoever comes without TLS is refused."""
    return document(
        [
            {
                "Sid": "OnlyByTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket_arn, f"{bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]
    )


# --- keys ----------------------------------------------------------------------------------------

_ADMINISTER = _actions(
    "kms",
    "CancelKeyDeletion CreateAlias CreateGrant DeleteAlias DescribeKey DisableKey EnableKey "
    "EnableKeyRotation GetKeyPolicy GetKeyRotationStatus ListAliases ListGrants ListKeyPolicies "
    "ListResourceTags PutKeyPolicy RevokeGrant ScheduleKeyDeletion TagResource UntagResource "
    "UpdateKeyDescription",
)
_USE = _actions(
    "kms",
    "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext "
    "DescribeKey",
)


def _administered(scope: Scope) -> Statement:
    """The account's own policies say who administers the key; none of them reads data by this."""
    return allow(_ADMINISTER, "*", None, {"AWS": scope.iam("root")}, "Administration")


def secrets_key(scope: Scope, cluster_role_arn: str) -> str:
    """The key that encrypts Kubernetes' Secrets: the cluster's role uses it."""
    return document(
        [
            _administered(scope),
            allow([*_USE, "kms:ListGrants"], "*", None, {"AWS": cluster_role_arn}, "Cluster"),
        ]
    )


def data_key(scope: Scope) -> str:
    """The key of volumes, shared files, logs, artefacts, and databases as a service.

    As in the policies of AWS's own keys (`aws/ebs`): whoever of this account may use a volume, a
    bucket or a database uses the key, but only through the service. Roles that AWS makes later (of
    Auto Scaling) need not exist yet.
    """
    stores = ("ec2", "elasticache", "elasticfilesystem", "memorydb", "rds", "s3")
    services = [f"{name}.{scope.region}.amazonaws.com" for name in stores]
    through = {
        "StringEquals": {"kms:CallerAccount": scope.account, "kms:ViaService": services},
    }
    granted = {
        "StringEquals": through["StringEquals"],
        "Bool": {"kms:GrantIsForAWSResource": "true"},
    }
    logs = scope.arn("logs", "log-group:*")
    return document(
        [
            _administered(scope),
            allow(_USE, "*", through, {"AWS": "*"}, "ThroughServices"),
            allow(["kms:CreateGrant"], "*", granted, {"AWS": "*"}, "Grants"),
            allow(
                _USE,
                "*",
                {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
                {"Service": f"logs.{scope.region}.amazonaws.com"},
                "Logs",
            ),
        ]
    )

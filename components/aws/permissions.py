"""What the identity that runs the stack must be allowed. Pure.

Actions and the types of resources that they take are those of the Service Authorization Reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

ANY_ACCOUNT: Final = "000000000000"
"""Stands in an ARN for the account of whoever is asked about."""


@dataclass(frozen=True)
class Permission:
    """An action (`eks:CreateCluster`) on resources: a pattern of ARNs, "*" where it takes none."""

    action: str
    resource: str = "*"


@dataclass(frozen=True)
class Place:
    """Where the stack is, and what its resources' names begin with.

    `parts` are what it has besides network and cluster: keys of `PARTS`.
    """

    region: str
    account: str
    name: str
    partition: str = "aws"
    parts: frozenset[str] = frozenset()


_ALWAYS: Final[Mapping[str, str]] = {
    # By service: the ARN of a resource of the stack, then actions.
    "ec2 *": "CreateVpc DeleteVpc ModifyVpcAttribute DescribeVpcs CreateSubnet DeleteSubnet "
    "ModifySubnetAttribute DescribeSubnets CreateInternetGateway AttachInternetGateway "
    "DetachInternetGateway DeleteInternetGateway AllocateAddress ReleaseAddress DescribeAddresses "
    "CreateNatGateway DeleteNatGateway DescribeNatGateways CreateRouteTable DeleteRouteTable "
    "AssociateRouteTable DisassociateRouteTable CreateRoute DeleteRoute DescribeRouteTables "
    "CreateVpcEndpoint DeleteVpcEndpoints ModifyVpcEndpoint DescribeVpcEndpoints "
    "CreateSecurityGroup DeleteSecurityGroup AuthorizeSecurityGroupIngress "
    "AuthorizeSecurityGroupEgress RevokeSecurityGroupIngress RevokeSecurityGroupEgress "
    "DescribeSecurityGroups CreateLaunchTemplate CreateLaunchTemplateVersion DeleteLaunchTemplate "
    "DescribeLaunchTemplates DescribeLaunchTemplateVersions RunInstances CreateTags DeleteTags "
    "DescribeAvailabilityZones DescribeInstances DescribeInstanceTypes "
    "DescribeInstanceTypeOfferings DescribeNetworkInterfaces DescribeRegions DescribeVpcAttribute "
    "DescribeAddressesAttribute DescribeSecurityGroupRules DescribePrefixLists CreateFlowLogs "
    "DeleteFlowLogs DescribeFlowLogs",
    "eks arn:{partition}:eks:{region}:{account}:cluster/{name}": "CreateCluster DeleteCluster "
    "DescribeCluster UpdateClusterConfig UpdateClusterVersion CreateNodegroup CreateAddon "
    "CreateAccessEntry ListAccessEntries CreatePodIdentityAssociation "
    "ListPodIdentityAssociations TagResource",
    "eks arn:{partition}:eks:{region}:{account}:access-entry/{name}/*/*/*/*": "DescribeAccessEntry "
    "DeleteAccessEntry AssociateAccessPolicy DisassociateAccessPolicy "
    "ListAssociatedAccessPolicies",
    "eks arn:{partition}:eks:{region}:{account}:podidentityassociation/{name}/*": ""
    "DescribePodIdentityAssociation DeletePodIdentityAssociation",
    "eks arn:{partition}:eks:{region}:{account}:nodegroup/{name}/*/*": "DescribeNodegroup "
    "DeleteNodegroup UpdateNodegroupConfig UpdateNodegroupVersion",
    "eks arn:{partition}:eks:{region}:{account}:addon/{name}/*/*": "DescribeAddon UpdateAddon "
    "DeleteAddon",
    "iam arn:{partition}:iam::{account}:role/{name}-*": "CreateRole DeleteRole GetRole "
    "PassRole AttachRolePolicy DetachRolePolicy PutRolePolicy DeleteRolePolicy "
    "UpdateAssumeRolePolicy ListAttachedRolePolicies ListRolePolicies GetRolePolicy "
    "ListInstanceProfilesForRole TagRole",
    "iam arn:{partition}:iam::{account}:role/aws-service-role/*": "CreateServiceLinkedRole",
    "kms *": "CreateKey CreateAlias ListAliases",
    "kms arn:{partition}:kms:{region}:{account}:alias/{name}-*": "DeleteAlias UpdateAlias",
    "kms arn:{partition}:kms:{region}:{account}:key/*": "DescribeKey GetKeyPolicy PutKeyPolicy "
    "EnableKeyRotation GetKeyRotationStatus ScheduleKeyDeletion CreateGrant TagResource "
    "ListResourceTags",
    "logs arn:{partition}:logs:{region}:{account}:log-group:/aws/eks/{name}/cluster": ""
    "CreateLogGroup DeleteLogGroup PutRetentionPolicy TagResource ListTagsForResource",
    "logs arn:{partition}:logs:{region}:{account}:log-group:/{name}/*": "CreateLogGroup "
    "DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource ListTagsForResource",
    "logs *": "DescribeLogGroups",
}

_ALARMS: Final[Mapping[str, str]] = {
    "cloudwatch arn:{partition}:cloudwatch:{region}:{account}:alarm:{name}-*": "DeleteAlarms "
    "PutMetricAlarm TagResource ListTagsForResource",
    "cloudwatch *": "DescribeAlarms",
}
PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "elasticache": {
        "elasticache *": "CreateReplicationGroup ModifyReplicationGroup "
        "ModifyReplicationGroupShardConfiguration IncreaseReplicaCount DecreaseReplicaCount "
        "DeleteReplicationGroup DescribeReplicationGroups DescribeCacheClusters "
        "CreateCacheSubnetGroup DeleteCacheSubnetGroup CreateCacheParameterGroup "
        "ModifyCacheParameterGroup DeleteCacheParameterGroup CreateUser ModifyUser DeleteUser "
        "DescribeUsers CreateUserGroup ModifyUserGroup DeleteUserGroup DescribeUserGroups "
        "CreateSnapshot AddTagsToResource ListTagsForResource",
        **_ALARMS,
    },
    "memorydb": {
        "memorydb *": "CreateMultiRegionCluster UpdateMultiRegionCluster DeleteMultiRegionCluster "
        "DescribeMultiRegionClusters CreateCluster UpdateCluster DeleteCluster DescribeClusters "
        "CreateSubnetGroup DeleteSubnetGroup CreateParameterGroup DeleteParameterGroup CreateUser "
        "UpdateUser DeleteUser DescribeUsers CreateACL UpdateACL DeleteACL DescribeACLs "
        "CreateSnapshot TagResource ListTags",
        **_ALARMS,
    },
    "efs": {
        "elasticfilesystem *": "CreateFileSystem",
        "elasticfilesystem arn:{partition}:elasticfilesystem:{region}:{account}:file-system/*": ""
        "DescribeFileSystems UpdateFileSystem DeleteFileSystem CreateMountTarget "
        "DescribeMountTargets DescribeMountTargetSecurityGroups ModifyMountTargetSecurityGroups "
        "DeleteMountTarget PutFileSystemPolicy DescribeFileSystemPolicy DeleteFileSystemPolicy "
        "PutBackupPolicy DescribeBackupPolicy PutLifecycleConfiguration "
        "DescribeLifecycleConfiguration TagResource ListTagsForResource",
        # A mount target is an interface in its subnet.
        "ec2 *": "CreateNetworkInterface DeleteNetworkInterface ModifyNetworkInterfaceAttribute",
    },
    "artifacts": {
        "s3 arn:{partition}:s3:::{name}-artifacts-*": "CreateBucket DeleteBucket ListBucket "
        "ListBucketVersions DeleteObject DeleteObjectVersion GetBucketLocation GetBucketTagging "
        "PutBucketTagging GetBucketVersioning PutBucketVersioning GetEncryptionConfiguration "
        "PutEncryptionConfiguration GetLifecycleConfiguration PutLifecycleConfiguration "
        "GetBucketPublicAccessBlock PutBucketPublicAccessBlock GetBucketPolicy PutBucketPolicy "
        "DeleteBucketPolicy GetBucketAcl GetBucketCORS GetBucketLogging GetBucketWebsite "
        "GetBucketRequestPayment GetBucketObjectLockConfiguration GetReplicationConfiguration "
        "GetAccelerateConfiguration",
    },
    "database": {
        "rds arn:{partition}:rds:{region}:{account}:db:{name}-mysql": "CreateDBInstance "
        "ModifyDBInstance DeleteDBInstance DescribeDBInstances AddTagsToResource "
        "ListTagsForResource",
        "rds arn:{partition}:rds:{region}:{account}:subgrp:{name}-mysql": "CreateDBInstance "
        "CreateDBSubnetGroup ModifyDBSubnetGroup DeleteDBSubnetGroup DescribeDBSubnetGroups "
        "AddTagsToResource ListTagsForResource",
        "rds arn:{partition}:rds:{region}:{account}:pg:{name}-mysql-*": "CreateDBInstance "
        "CreateDBParameterGroup ModifyDBParameterGroup ResetDBParameterGroup "
        "DeleteDBParameterGroup DescribeDBParameterGroups DescribeDBParameters AddTagsToResource "
        "ListTagsForResource",
        "rds arn:{partition}:rds:{region}:{account}:snapshot:{name}-mysql-final": ""
        "CreateDBSnapshot AddTagsToResource",
        "logs arn:{partition}:logs:{region}:{account}:log-group:/aws/rds/instance/{name}-*": ""
        "CreateLogGroup DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource "
        "ListTagsForResource",
    },
    "entry": {
        "acm *": "RequestCertificate DescribeCertificate DeleteCertificate AddTagsToCertificate",
        "route53 arn:{partition}:route53:::hostedzone/*": "ChangeResourceRecordSets "
        "ListResourceRecordSets GetHostedZone",
        "route53 *": "ListHostedZones GetChange",
    },
    "cognito": {
        "cognito-idp *": "CreateUserPool DescribeUserPoolDomain",
        "cognito-idp arn:{partition}:cognito-idp:{region}:{account}:userpool/*": ""
        "DescribeUserPool UpdateUserPool DeleteUserPool GetUserPoolMfaConfig SetUserPoolMfaConfig "
        "CreateUserPoolClient DescribeUserPoolClient UpdateUserPoolClient DeleteUserPoolClient "
        "CreateUserPoolDomain DeleteUserPoolDomain AdminCreateUser AdminGetUser AdminDeleteUser "
        "AdminUpdateUserAttributes TagResource UntagResource",
    },
    "api": {
        "apigateway arn:{partition}:apigateway:{region}::/apis*": "GET POST PATCH PUT DELETE",
        "apigateway arn:{partition}:apigateway:{region}::/vpclinks*": "GET POST PATCH DELETE",
        "apigateway arn:{partition}:apigateway:{region}::/domainnames*": "GET POST PATCH DELETE",
        "apigateway arn:{partition}:apigateway:{region}::/tags*": "GET POST PUT DELETE",
        "elasticloadbalancing *": "DescribeLoadBalancers DescribeLoadBalancerAttributes "
        "DescribeListeners DescribeListenerAttributes DescribeTags",
        # By which API Gateway writes its access logs.
        "logs *": "CreateLogDelivery GetLogDelivery UpdateLogDelivery DeleteLogDelivery "
        "ListLogDeliveries PutResourcePolicy DescribeResourcePolicies",
        "logs arn:{partition}:logs:{region}:{account}:log-group:/aws/vendedlogs/{name}/*": ""
        "CreateLogGroup DeleteLogGroup PutRetentionPolicy AssociateKmsKey TagResource "
        "ListTagsForResource",
    },
    "edge": {
        # Of CloudFront, which has no region, and of WAF for it, which is in us-east-1.
        "cloudfront *": "CreateVpcOrigin GetVpcOrigin UpdateVpcOrigin DeleteVpcOrigin "
        "CreateDistribution CreateDistributionWithTags GetDistribution GetDistributionConfig "
        "UpdateDistribution DeleteDistribution CreateFunction DescribeFunction GetFunction "
        "UpdateFunction PublishFunction DeleteFunction ListTagsForResource TagResource",
        "wafv2 arn:{partition}:wafv2:us-east-1:{account}:global/*/{name}-{region}*/*": ""
        "CreateWebACL GetWebACL UpdateWebACL DeleteWebACL CreateIPSet GetIPSet UpdateIPSet "
        "DeleteIPSet PutLoggingConfiguration GetLoggingConfiguration DeleteLoggingConfiguration "
        "ListTagsForResource TagResource",
        "wafv2 arn:{partition}:wafv2:us-east-1:{account}:global/managedruleset/*/*": ""
        "CreateWebACL UpdateWebACL",
        "logs arn:{partition}:logs:us-east-1:{account}:log-group:aws-waf-logs-{name}-{region}": ""
        "CreateLogGroup DeleteLogGroup PutRetentionPolicy TagResource ListTagsForResource",
        # WAF asks in the name of whoever turns its log on.
        "logs *": "CreateLogDelivery DeleteLogDelivery PutResourcePolicy DescribeResourcePolicies",
        "elasticloadbalancing *": "CreateLoadBalancer DeleteLoadBalancer "
        "ModifyLoadBalancerAttributes SetSecurityGroups SetSubnets SetIpAddressType "
        "DescribeLoadBalancers DescribeLoadBalancerAttributes CreateTargetGroup "
        "DeleteTargetGroup ModifyTargetGroup ModifyTargetGroupAttributes DescribeTargetGroups "
        "DescribeTargetGroupAttributes CreateListener DeleteListener ModifyListener "
        "DescribeListeners DescribeListenerAttributes ModifyListenerAttributes AddTags RemoveTags "
        "DescribeTags",
        "ec2 *": "DescribeManagedPrefixLists GetManagedPrefixListEntries",
    },
    "budget": {
        "budgets arn:{partition}:budgets::{account}:budget/{name}-*": "ModifyBudget ViewBudget",
    },
}
"""What each part of a stack needs more."""


def permissions(place: Place) -> tuple[Permission, ...]:
    """Everything that the stack does in the account, each action once on a resource.

    Raises:
        KeyError: a part that is not in `PARTS`.
    """
    tables = [_ALWAYS, *(PARTS[part] for part in sorted(place.parts))]
    found = (
        Permission(f"{service}:{action}", _arn(pattern, place))
        for table in tables
        for key, actions in table.items()
        for service, _, pattern in [key.partition(" ")]
        for action in actions.split()
    )
    return tuple(dict.fromkeys(found))


def example(pattern: str) -> str:
    """An ARN that a pattern holds for; "*" stays as it is."""
    return pattern if pattern == "*" else pattern.replace("*", "any")


def by_resource(needed: Iterable[Permission]) -> dict[str, list[str]]:
    """Actions by resource."""
    found: dict[str, list[str]] = {}
    for permission in needed:
        found.setdefault(permission.resource, []).append(permission.action)
    return found


def policy(place: Place) -> str:
    """An IAM policy (JSON) that allows exactly `permissions`.

    Without an account it is for any account, and names of resources are those of the stack.
    """
    statements = [
        {"Effect": "Allow", "Action": sorted(actions), "Resource": resource}
        for resource, actions in by_resource(permissions(place)).items()
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def _arn(pattern: str, place: Place) -> str:
    return pattern.format(
        partition=place.partition, region=place.region, account=place.account, name=place.name
    )

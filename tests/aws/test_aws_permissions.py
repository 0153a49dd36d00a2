"""What the stack makes, it asks to be allowed: every type of resource has its actions."""

from components.aws.permissions import PARTS, Place, permissions
from tests.aws import backends
from tests.aws.moto_mocks import ACCOUNT, BACKED, NOT_BACKED, REGION

CREATES = {
    "aws:acm/certificate:Certificate": "acm:RequestCertificate",
    "aws:acm/certificateValidation:CertificateValidation": "acm:DescribeCertificate",
    "aws:apigatewayv2/api:Api": "apigateway:POST",
    "aws:apigatewayv2/apiMapping:ApiMapping": "apigateway:POST",
    "aws:apigatewayv2/authorizer:Authorizer": "apigateway:POST",
    "aws:apigatewayv2/domainName:DomainName": "apigateway:POST acm:DescribeCertificate",
    "aws:apigatewayv2/integration:Integration": "apigateway:POST",
    "aws:apigatewayv2/route:Route": "apigateway:POST",
    "aws:apigatewayv2/stage:Stage": "apigateway:POST logs:CreateLogDelivery logs:PutResourcePolicy",
    "aws:apigatewayv2/vpcLink:VpcLink": "apigateway:POST iam:CreateServiceLinkedRole",
    "aws:budgets/budget:Budget": "budgets:ModifyBudget",
    "aws:cloudfront/distribution:Distribution": "cloudfront:CreateDistribution",
    "aws:cloudfront/function:Function": "cloudfront:CreateFunction cloudfront:PublishFunction",
    "aws:cloudfront/vpcOrigin:VpcOrigin": "cloudfront:CreateVpcOrigin iam:CreateServiceLinkedRole",
    "aws:cloudwatch/logGroup:LogGroup": "logs:CreateLogGroup logs:PutRetentionPolicy",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:PutMetricAlarm",
    "aws:cognito/user:User": "cognito-idp:AdminCreateUser cognito-idp:AdminGetUser",
    "aws:cognito/userPool:UserPool": "cognito-idp:CreateUserPool cognito-idp:SetUserPoolMfaConfig",
    "aws:cognito/userPoolClient:UserPoolClient": "cognito-idp:CreateUserPoolClient",
    "aws:cognito/userPoolDomain:UserPoolDomain": "cognito-idp:CreateUserPoolDomain "
    "cognito-idp:DescribeUserPoolDomain",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "ec2:RevokeSecurityGroupIngress "
    "ec2:RevokeSecurityGroupEgress",
    "aws:ec2/eip:Eip": "ec2:AllocateAddress",
    "aws:ec2/flowLog:FlowLog": "ec2:CreateFlowLogs iam:PassRole",
    "aws:ec2/internetGateway:InternetGateway": "ec2:CreateInternetGateway "
    "ec2:AttachInternetGateway",
    "aws:ec2/launchTemplate:LaunchTemplate": "ec2:CreateLaunchTemplate",
    "aws:ec2/natGateway:NatGateway": "ec2:CreateNatGateway",
    "aws:ec2/route:Route": "ec2:CreateRoute",
    "aws:ec2/routeTable:RouteTable": "ec2:CreateRouteTable",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "ec2:AssociateRouteTable",
    "aws:ec2/securityGroup:SecurityGroup": "ec2:CreateSecurityGroup",
    "aws:ec2/subnet:Subnet": "ec2:CreateSubnet",
    "aws:ec2/vpc:Vpc": "ec2:CreateVpc ec2:ModifyVpcAttribute",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "ec2:CreateVpcEndpoint",
    "aws:efs/backupPolicy:BackupPolicy": "elasticfilesystem:PutBackupPolicy",
    "aws:efs/fileSystem:FileSystem": "elasticfilesystem:CreateFileSystem "
    "elasticfilesystem:PutLifecycleConfiguration",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "elasticfilesystem:PutFileSystemPolicy",
    "aws:efs/mountTarget:MountTarget": "elasticfilesystem:CreateMountTarget "
    "ec2:CreateNetworkInterface",
    "aws:eks/accessEntry:AccessEntry": "eks:CreateAccessEntry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "eks:AssociateAccessPolicy",
    "aws:eks/addon:Addon": "eks:CreateAddon",
    "aws:eks/cluster:Cluster": "eks:CreateCluster iam:PassRole",
    "aws:eks/nodeGroup:NodeGroup": "eks:CreateNodegroup iam:PassRole",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "eks:CreatePodIdentityAssociation",
    "aws:elasticache/parameterGroup:ParameterGroup": "elasticache:CreateCacheParameterGroup "
    "elasticache:ModifyCacheParameterGroup",
    "aws:elasticache/replicationGroup:ReplicationGroup": "elasticache:CreateReplicationGroup",
    "aws:elasticache/subnetGroup:SubnetGroup": "elasticache:CreateCacheSubnetGroup",
    "aws:elasticache/user:User": "elasticache:CreateUser",
    "aws:elasticache/userGroup:UserGroup": "elasticache:CreateUserGroup",
    "aws:iam/role:Role": "iam:CreateRole",
    "aws:iam/rolePolicy:RolePolicy": "iam:PutRolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "iam:AttachRolePolicy",
    "aws:kms/alias:Alias": "kms:CreateAlias",
    "aws:kms/key:Key": "kms:CreateKey kms:EnableKeyRotation",
    "aws:lb/listener:Listener": "elasticloadbalancing:CreateListener",
    "aws:lb/loadBalancer:LoadBalancer": "elasticloadbalancing:CreateLoadBalancer "
    "elasticloadbalancing:ModifyLoadBalancerAttributes",
    "aws:lb/targetGroup:TargetGroup": "elasticloadbalancing:CreateTargetGroup",
    "aws:memorydb/acl:Acl": "memorydb:CreateACL",
    "aws:memorydb/cluster:Cluster": "memorydb:CreateCluster",
    "aws:memorydb/multiRegionCluster:MultiRegionCluster": "memorydb:CreateMultiRegionCluster",
    "aws:memorydb/subnetGroup:SubnetGroup": "memorydb:CreateSubnetGroup",
    "aws:memorydb/user:User": "memorydb:CreateUser",
    "aws:rds/instance:Instance": "rds:CreateDBInstance",
    "aws:rds/parameterGroup:ParameterGroup": "rds:CreateDBParameterGroup "
    "rds:ModifyDBParameterGroup",
    "aws:rds/subnetGroup:SubnetGroup": "rds:CreateDBSubnetGroup",
    "aws:route53/record:Record": "route53:ChangeResourceRecordSets",
    "aws:s3/bucket:Bucket": "s3:CreateBucket",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": ""
    "s3:PutLifecycleConfiguration",
    "aws:s3/bucketPolicy:BucketPolicy": "s3:PutBucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": ""
    "s3:PutEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning": "s3:PutBucketVersioning",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "ec2:AuthorizeSecurityGroupEgress",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ""
    "ec2:AuthorizeSecurityGroupIngress",
    "aws:wafv2/ipSet:IpSet": "wafv2:CreateIPSet",
    "aws:wafv2/webAcl:WebAcl": "wafv2:CreateWebACL",
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ""
    "wafv2:PutLoggingConfiguration logs:CreateLogDelivery",
}
"""Actions that create a resource of a type."""


def test_every_type_that_the_stack_makes_is_allowed():
    assert backends.ALL
    needed = permissions(Place(REGION, ACCOUNT, "ml", parts=frozenset(PARTS)))
    asked = {permission.action for permission in needed}
    for type_ in (*BACKED, *NOT_BACKED):
        assert type_ in CREATES, f"{type_}: name its actions here and in components/aws/permissions"
        assert set(CREATES[type_].split()) <= asked, type_

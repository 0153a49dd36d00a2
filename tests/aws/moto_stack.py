"""What creates in moto the types of the network, the cluster and the entry."""

from __future__ import annotations

from typing import Any

from tests.aws.moto_mocks import (
    ACCOUNT,
    ARNS,
    Aws,
    Inputs,
    Made,
    answers,
    backs,
    ec2_tags,
    exists,
    not_backed,
    pascal,
    picked,
    resource_of,
    tag_list,
)

# --- invokes -------------------------------------------------------------------------------------


@answers("aws:index/getAvailabilityZones:getAvailabilityZones")
def zones(aws: Aws, _: Inputs) -> dict[str, Any]:
    found = aws.ec2.describe_availability_zones()["AvailabilityZones"]
    return {
        "id": aws.region,
        "names": [zone["ZoneName"] for zone in found],
        "zoneIds": [zone["ZoneId"] for zone in found],
    }


@answers("aws:index/getCallerIdentity:getCallerIdentity")
def identity(aws: Aws, _: Inputs) -> dict[str, Any]:
    who = aws.sts.get_caller_identity()
    return {"accountId": who["Account"], "arn": who["Arn"], "id": who["Account"], "userId": "me"}


@answers("aws:index/getRegion:getRegion")
def region(aws: Aws, _: Inputs) -> dict[str, Any]:
    return {"id": aws.region, "region": aws.region, "name": aws.region}


@answers("aws:ec2/getVpc:getVpc")
def get_vpc(aws: Aws, args: Inputs) -> dict[str, Any]:
    [found] = aws.ec2.describe_vpcs(VpcIds=[args["id"]])["Vpcs"]
    return {"id": found["VpcId"], "cidrBlock": found["CidrBlock"]}


@answers("aws:ec2/getSubnet:getSubnet")
def get_subnet(aws: Aws, args: Inputs) -> dict[str, Any]:
    [found] = aws.ec2.describe_subnets(SubnetIds=[args["id"]])["Subnets"]
    return {
        "id": found["SubnetId"],
        "vpcId": found["VpcId"],
        "availabilityZone": found["AvailabilityZone"],
    }


@answers("aws:route53/getZone:getZone")
def get_zone(aws: Aws, args: Inputs) -> dict[str, Any]:
    name = args["name"].rstrip(".") + "."
    found = aws.route53.list_hosted_zones_by_name(DNSName=name)["HostedZones"]
    [zone] = [entry for entry in found if entry["Name"] == name]
    id_ = zone["Id"].rpartition("/")[2]
    return {"id": id_, "zoneId": id_, "name": name, "arn": f"arn:aws:route53:::hostedzone/{id_}"}


# --- EC2 -----------------------------------------------------------------------------------------


@backs("aws:ec2/vpc:Vpc")
def vpc(aws: Aws, inputs: Inputs) -> Made:
    id_ = aws.ec2.create_vpc(
        CidrBlock=inputs["cidrBlock"], TagSpecifications=ec2_tags("vpc", inputs)
    )["Vpc"]["VpcId"]
    for name in ("enableDnsHostnames", "enableDnsSupport"):
        if name in inputs:
            value = {"Value": inputs[name]}
            aws.ec2.modify_vpc_attribute(VpcId=id_, **{name[0].upper() + name[1:]: value})
    groups = aws.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [id_]}])
    return id_, {
        "arn": aws.arn("ec2", f"vpc/{id_}"),
        "defaultSecurityGroupId": groups["SecurityGroups"][0]["GroupId"],
    }


@backs("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
def default_security_group(aws: Aws, inputs: Inputs) -> Made:
    """The provider adopts the group that is there and revokes what isn't declared."""
    [group] = aws.ec2.describe_security_groups(
        Filters=[
            {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
            {"Name": "group-name", "Values": ["default"]},
        ]
    )["SecurityGroups"]
    assert not inputs.get("ingress") and not inputs.get("egress"), "only a closed one is known"
    id_ = group["GroupId"]
    if group["IpPermissions"]:
        aws.ec2.revoke_security_group_ingress(GroupId=id_, IpPermissions=group["IpPermissions"])
    if group["IpPermissionsEgress"]:
        aws.ec2.revoke_security_group_egress(
            GroupId=id_, IpPermissions=group["IpPermissionsEgress"]
        )
    return id_, {}


@backs("aws:ec2/subnet:Subnet")
def subnet(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.create_subnet(
        **pascal(inputs, "vpcId", "cidrBlock", "availabilityZone"),
        TagSpecifications=ec2_tags("subnet", inputs),
    )["Subnet"]
    if "mapPublicIpOnLaunch" in inputs:
        aws.ec2.modify_subnet_attribute(
            SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": inputs["mapPublicIpOnLaunch"]}
        )
    return made["SubnetId"], {"arn": made["SubnetArn"]}


@backs("aws:ec2/internetGateway:InternetGateway")
def internet_gateway(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.create_internet_gateway(TagSpecifications=ec2_tags("internet-gateway", inputs))[
        "InternetGateway"
    ]
    aws.ec2.attach_internet_gateway(
        InternetGatewayId=made["InternetGatewayId"], VpcId=inputs["vpcId"]
    )
    return made["InternetGatewayId"], {}


@backs("aws:ec2/eip:Eip")
def eip(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.allocate_address(
        Domain=inputs["domain"], TagSpecifications=ec2_tags("elastic-ip", inputs)
    )
    return made["AllocationId"], {
        "allocationId": made["AllocationId"],
        "publicIp": made["PublicIp"],
    }


@backs("aws:ec2/natGateway:NatGateway")
def nat_gateway(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.create_nat_gateway(
        **pascal(inputs, "allocationId", "subnetId", "connectivityType"),
        TagSpecifications=ec2_tags("natgateway", inputs),
    )["NatGateway"]
    return made["NatGatewayId"], {}


@backs("aws:ec2/routeTable:RouteTable")
def route_table(aws: Aws, inputs: Inputs) -> Made:
    assert not inputs.get("routes"), "routes are resources of their own"
    made = aws.ec2.create_route_table(
        VpcId=inputs["vpcId"], TagSpecifications=ec2_tags("route-table", inputs)
    )["RouteTable"]
    return made["RouteTableId"], {}


@backs("aws:ec2/route:Route")
def route(aws: Aws, inputs: Inputs) -> Made:
    aws.ec2.create_route(
        **pascal(inputs, "routeTableId", "destinationCidrBlock", "gatewayId", "natGatewayId")
    )
    return f"r-{inputs['routeTableId']}", {}


@backs("aws:ec2/routeTableAssociation:RouteTableAssociation")
def route_table_association(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.associate_route_table(**pascal(inputs, "routeTableId", "subnetId"))
    return made["AssociationId"], {}


@backs("aws:ec2/vpcEndpoint:VpcEndpoint")
def vpc_endpoint(aws: Aws, inputs: Inputs) -> Made:
    names = ("vpcId", "serviceName", "vpcEndpointType", "routeTableIds", "subnetIds")
    policy = {"PolicyDocument": inputs["policy"]} if inputs.get("policy") else {}
    made = aws.ec2.create_vpc_endpoint(
        **pascal(inputs, *names, "securityGroupIds", "privateDnsEnabled"),
        **policy,
        TagSpecifications=ec2_tags("vpc-endpoint", inputs),
    )["VpcEndpoint"]
    return made["VpcEndpointId"], {}


@backs("aws:ec2/securityGroup:SecurityGroup")
def security_group(aws: Aws, inputs: Inputs) -> Made:
    assert not inputs.get("ingress") and not inputs.get("egress"), "rules are resources"
    id_ = aws.ec2.create_security_group(
        GroupName=inputs.get("name") or inputs["namePrefix"] + "made",
        Description=inputs["description"],
        VpcId=inputs["vpcId"],
        TagSpecifications=ec2_tags("security-group", inputs),
    )["GroupId"]
    # The provider takes away what AWS allows a new group by default.
    [group] = aws.ec2.describe_security_groups(GroupIds=[id_])["SecurityGroups"]
    if group["IpPermissionsEgress"]:
        aws.ec2.revoke_security_group_egress(
            GroupId=id_, IpPermissions=group["IpPermissionsEgress"]
        )
    return id_, {"arn": aws.arn("ec2", f"security-group/{id_}")}


def _permission(inputs: Inputs) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    permission |= pascal(inputs, "fromPort", "toPort")
    if inputs.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"]}]
    if inputs.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"]}]
    if inputs.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"]}]
    return permission


@backs("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
def ingress(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.authorize_security_group_ingress(
        GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)]
    )
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}


@backs("aws:ec2/flowLog:FlowLog")
def flow_log(aws: Aws, inputs: Inputs) -> Made:
    made = aws.ec2.create_flow_logs(
        ResourceIds=[inputs["vpcId"]],
        ResourceType="VPC",
        TrafficType=inputs["trafficType"],
        LogDestinationType="cloud-watch-logs",
        LogDestination=inputs["logDestination"],
        DeliverLogsPermissionArn=inputs["iamRoleArn"],
    )
    return made["FlowLogIds"][0], {}


@backs("aws:ec2/launchTemplate:LaunchTemplate")
def launch_template(aws: Aws, inputs: Inputs) -> Made:
    metadata = inputs["metadataOptions"]
    data: dict[str, Any] = {
        "MetadataOptions": pascal(
            metadata, "httpEndpoint", "httpTokens", "httpPutResponseHopLimit"
        ),
        "BlockDeviceMappings": [
            {
                "DeviceName": device["deviceName"],
                "Ebs": {
                    **pascal(device["ebs"], "volumeSize", "volumeType", "kmsKeyId"),
                    # The provider has texts for what may also be unset.
                    "Encrypted": str(device["ebs"]["encrypted"]).lower() == "true",
                    "DeleteOnTermination": str(device["ebs"]["deleteOnTermination"]).lower()
                    == "true",
                },
            }
            for device in inputs["blockDeviceMappings"]
        ],
        "TagSpecifications": [
            {"ResourceType": entry["resourceType"], "Tags": tag_list(entry)}
            for entry in inputs.get("tagSpecifications") or []
        ],
    }
    made = aws.ec2.create_launch_template(
        LaunchTemplateName=inputs["name"],
        LaunchTemplateData=data,
        TagSpecifications=ec2_tags("launch-template", inputs),
    )["LaunchTemplate"]
    return made["LaunchTemplateId"], {
        "arn": aws.arn("ec2", f"launch-template/{made['LaunchTemplateId']}"),
        "latestVersion": made["LatestVersionNumber"],
        "defaultVersion": made["DefaultVersionNumber"],
    }


# --- IAM, KMS, logs ------------------------------------------------------------------------------


@backs("aws:iam/role:Role")
def role(aws: Aws, inputs: Inputs) -> Made:
    made = aws.iam.create_role(
        RoleName=inputs["name"],
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        **pascal(inputs, "description", "maxSessionDuration"),
        Tags=tag_list(inputs),
    )["Role"]
    return inputs["name"], {"arn": made["Arn"], "uniqueId": made["RoleId"]}


@backs("aws:iam/rolePolicy:RolePolicy")
def role_policy(aws: Aws, inputs: Inputs) -> Made:
    aws.iam.put_role_policy(
        RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
    )
    return f"{inputs['role']}:{inputs['name']}", {}


@backs("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
def role_policy_attachment(aws: Aws, inputs: Inputs) -> Made:
    aws.iam.attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
    return f"{inputs['role']}-{inputs['policyArn']}", {}


@backs("aws:kms/key:Key")
def key(aws: Aws, inputs: Inputs) -> Made:
    made = aws.kms.create_key(
        **pascal(inputs, "policy", "description"),
        Tags=[{"TagKey": key, "TagValue": value} for key, value in inputs["tags"].items()],
    )["KeyMetadata"]
    if inputs.get("enableKeyRotation"):
        aws.kms.enable_key_rotation(KeyId=made["KeyId"])
    return made["KeyId"], {"arn": made["Arn"], "keyId": made["KeyId"]}


@backs("aws:kms/alias:Alias")
def alias(aws: Aws, inputs: Inputs) -> Made:
    aws.kms.create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
    return inputs["name"], {"arn": aws.arn("kms", inputs["name"])}


@backs("aws:cloudwatch/logGroup:LogGroup")
def log_group(aws: Aws, inputs: Inputs) -> Made:
    aws.logs.create_log_group(
        logGroupName=inputs["name"], tags=inputs["tags"], **picked(inputs, "kmsKeyId")
    )
    if inputs.get("retentionInDays"):
        aws.logs.put_retention_policy(
            logGroupName=inputs["name"], retentionInDays=inputs["retentionInDays"]
        )
    return inputs["name"], {"arn": aws.arn("logs", f"log-group:{inputs['name']}")}


# --- EKS -----------------------------------------------------------------------------------------


@backs("aws:eks/cluster:Cluster")
def cluster(aws: Aws, inputs: Inputs) -> Made:
    network = inputs["vpcConfig"]
    made = aws.eks.create_cluster(
        name=inputs["name"],
        roleArn=inputs["roleArn"],
        version=inputs["version"],
        resourcesVpcConfig=picked(
            network,
            "subnetIds",
            "securityGroupIds",
            "endpointPublicAccess",
            "endpointPrivateAccess",
            "publicAccessCidrs",
        ),
        logging={"clusterLogging": [{"types": inputs["enabledClusterLogTypes"], "enabled": True}]},
        encryptionConfig=[
            {
                "resources": inputs["encryptionConfig"]["resources"],
                "provider": picked(inputs["encryptionConfig"]["provider"], "keyArn"),
            }
        ],
        accessConfig=picked(
            inputs["accessConfig"], "authenticationMode", "bootstrapClusterCreatorAdminPermissions"
        ),
        tags=inputs["tags"],
    )["cluster"]
    # EKS makes a group for the control plane and the nodes; moto has none, so one is made here.
    [first, *_] = aws.ec2.describe_subnets(SubnetIds=[network["subnetIds"][0]])["Subnets"]
    group = aws.ec2.create_security_group(
        GroupName=f"eks-cluster-sg-{inputs['name']}", Description="EKS", VpcId=first["VpcId"]
    )["GroupId"]
    return made["name"], {
        "arn": made["arn"],
        "endpoint": made["endpoint"],
        "certificateAuthority": {"data": made["certificateAuthority"]["data"]},
        "status": made["status"],
        "vpcConfig": {**network, "clusterSecurityGroupId": group, "vpcId": first["VpcId"]},
    }


@backs("aws:eks/nodeGroup:NodeGroup")
def node_group(aws: Aws, inputs: Inputs) -> Made:
    effects = {"NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"}
    assert all(taint["effect"] in effects for taint in inputs.get("taints") or [])
    name = f"{inputs['nodeGroupNamePrefix']}20261124"
    made = aws.eks.create_nodegroup(
        clusterName=inputs["clusterName"],
        nodegroupName=name,
        nodeRole=inputs["nodeRoleArn"],
        subnets=inputs["subnetIds"],
        scalingConfig=inputs["scalingConfig"],
        launchTemplate=picked(inputs["launchTemplate"], "id", "version"),
        **picked(inputs, "instanceTypes", "amiType", "capacityType", "labels", "taints", "version"),
        tags=inputs["tags"],
    )["nodegroup"]
    return f"{inputs['clusterName']}:{name}", {
        "arn": made["nodegroupArn"],
        "status": made["status"],
        "resources": [
            {"autoscalingGroups": [{"name": group["name"]}]}
            for group in made["resources"]["autoScalingGroups"]
        ],
    }


not_backed(
    "aws:eks/addon:Addon",
    "moto 5.2 has no create_addon",
    lambda inputs: (f"{inputs['clusterName']}:{inputs['addonName']}", {}),
)
not_backed(
    "aws:eks/accessEntry:AccessEntry",
    "moto 5.2 has no create_access_entry",
    lambda inputs: (f"{inputs['clusterName']}:{inputs['principalArn']}", {}),
)
not_backed(
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    "moto 5.2 has no associate_access_policy",
)
not_backed(
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
    "moto 5.2 has no create_pod_identity_association",
)


# --- entry ---------------------------------------------------------------------------------------


@backs("aws:acm/certificate:Certificate")
def certificate(aws: Aws, inputs: Inputs) -> Made:
    arn = aws.acm.request_certificate(
        **pascal(inputs, "domainName", "validationMethod"), Tags=tag_list(inputs)
    )["CertificateArn"]
    made = aws.acm.describe_certificate(CertificateArn=arn)["Certificate"]
    return arn, {
        "arn": arn,
        "domainValidationOptions": [
            {
                "domainName": entry["DomainName"],
                "resourceRecordName": entry["ResourceRecord"]["Name"],
                "resourceRecordType": entry["ResourceRecord"]["Type"],
                "resourceRecordValue": entry["ResourceRecord"]["Value"],
            }
            for entry in made["DomainValidationOptions"]
        ],
    }


@backs("aws:acm/certificateValidation:CertificateValidation")
def certificate_validation(aws: Aws, inputs: Inputs) -> Made:
    """The provider waits until ACM has found the record; so it must be there."""
    arn = inputs["certificateArn"]
    made = aws.acm.describe_certificate(CertificateArn=arn)["Certificate"]
    wanted = {e["ResourceRecord"]["Name"].rstrip(".") for e in made["DomainValidationOptions"]}
    names = {
        record["Name"].rstrip(".")
        for zone in aws.route53.list_hosted_zones()["HostedZones"]
        for record in aws.route53.list_resource_record_sets(HostedZoneId=zone["Id"])[
            "ResourceRecordSets"
        ]
    }
    assert wanted <= names, f"no record proves {wanted - names}"
    return arn, {"certificateArn": arn}


@backs("aws:route53/record:Record")
def record(aws: Aws, inputs: Inputs) -> Made:
    found: dict[str, Any] = {"Name": inputs["name"], "Type": inputs["type"]}
    if inputs.get("aliases"):
        [alias] = inputs["aliases"]
        found["AliasTarget"] = {
            "HostedZoneId": alias["zoneId"],
            "DNSName": alias["name"],
            "EvaluateTargetHealth": alias["evaluateTargetHealth"],
        }
    else:
        found["TTL"] = inputs["ttl"]
        found["ResourceRecords"] = [{"Value": value} for value in inputs["records"]]
    change = {
        "Action": "UPSERT" if inputs.get("allowOverwrite") else "CREATE",
        "ResourceRecordSet": found,
    }
    aws.route53.change_resource_record_sets(
        HostedZoneId=inputs["zoneId"], ChangeBatch={"Changes": [change]}
    )
    return f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}", {"fqdn": inputs["name"]}


# --- what an ARN names ---------------------------------------------------------------------------


def _managed_policy(aws: Aws, arn: str) -> Any:
    return aws.iam.get_policy(PolicyArn=arn)


def _log_group(aws: Aws, arn: str) -> bool:
    name = arn.partition(":log-group:")[2].partition(":")[0]
    groups = aws.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in groups)


def _node_group(aws: Aws, arn: str) -> Any:
    _, cluster_name, group, _ = arn.split(":", 5)[5].split("/")
    return aws.eks.describe_nodegroup(clusterName=cluster_name, nodegroupName=group)


def _role(aws: Aws, arn: str) -> Any:
    # AWS makes service-linked roles by itself.
    return "/aws-service-role/" in arn or aws.iam.get_role(RoleName=arn.rpartition("/")[2])


ARNS |= {
    "ec2": lambda aws, arn: exists(aws, resource_of(arn)),
    "iam:role": _role,
    "iam:user": lambda aws, arn: aws.iam.get_user(UserName=arn.rpartition("/")[2]),
    "iam:policy": _managed_policy,
    "iam:root": lambda _, arn: arn.split(":")[4] == ACCOUNT,
    "kms:key": lambda aws, arn: aws.kms.describe_key(KeyId=arn),
    "logs:log-group": _log_group,
    "eks:cluster": lambda aws, arn: aws.eks.describe_cluster(name=resource_of(arn)),
    "eks:nodegroup": _node_group,
    # Of AWS itself; the list: `aws eks list-access-policies`.
    "eks:cluster-access-policy": lambda _, arn: (
        resource_of(arn) in {"AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy"}
    ),
    "s3": lambda aws, arn: aws.s3.head_bucket(Bucket=arn.split(":::")[1].split("/")[0]),
    "acm:certificate": lambda aws, arn: aws.acm.describe_certificate(CertificateArn=arn),
    "route53:hostedzone": lambda aws, arn: aws.route53.get_hosted_zone(Id=resource_of(arn)),
}

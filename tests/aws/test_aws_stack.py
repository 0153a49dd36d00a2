"""The network and the cluster, made in moto: what is private, encrypted, allowed, and in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cloudsplaining.scan.policy_document import PolicyDocument

from components.aws import versions
from components.cluster.eks import LOGS
from tests.aws.aws_stack import (
    ADDON,
    CLUSTER,
    EVERYBODY,
    GROUP,
    RELEASE,
    run_stack,
    subnets_of,
    way_out,
)
from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.moto_mocks import ACCOUNT, REGION, Aws
from tests.support.graph import Graph, key

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"


@pytest.fixture(scope="module")
def full() -> Iterator[RanOnAws]:
    """All node groups, an administrator, tags."""
    with in_moto():
        Aws().iam.create_role(RoleName="admin", AssumeRolePolicyDocument="{}")
        yield run_stack(
            eksSpotTypes=("m6i.2xlarge", "m6a.2xlarge"),
            eksGpuTypes=("g5.xlarge",),
            eksAdmins=(ADMIN,),
            awsTags=("team=ml",),
        )


@pytest.fixture(scope="module")
def graph(full: RanOnAws) -> Graph:
    return Graph(full.registered)


# --- network -------------------------------------------------------------------------------------


def test_private_subnets_leave_by_a_nat_gateway_which_is_in_a_public_one(full: RanOnAws) -> None:
    public, private = subnets_of(full, "public"), subnets_of(full, "private")
    assert len(public) == len(private) == 3
    for subnet in public:
        assert way_out(full, subnet)["GatewayId"].startswith("igw-")
    gateways = {way_out(full, subnet)["NatGatewayId"] for subnet in private}
    [nat] = full.aws.ec2.describe_nat_gateways(NatGatewayIds=list(gateways))["NatGateways"]
    assert nat["SubnetId"] in public
    found = full.aws.ec2.describe_subnets(SubnetIds=[*public, *private])["Subnets"]
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in found)
    assert len({subnet["AvailabilityZone"] for subnet in found}) == 3


def test_endpoints_are_where_the_nodes_are(full: RanOnAws) -> None:
    endpoints = full.aws.ec2.describe_vpc_endpoints()["VpcEndpoints"]
    services = {
        entry["ServiceName"].removeprefix(f"com.amazonaws.{REGION}."): entry for entry in endpoints
    }
    assert set(services) == {"s3", "ecr.api", "ecr.dkr", "sts"}
    tables = full.aws.ec2.describe_route_tables(
        Filters=[{"Name": "association.subnet-id", "Values": list(subnets_of(full, "private"))}]
    )["RouteTables"]
    s3 = services.pop("s3")
    assert set(s3["RouteTableIds"]) == {table["RouteTableId"] for table in tables}
    for entry in services.values():
        assert set(entry["SubnetIds"]) == subnets_of(full, "private")
        assert entry["PrivateDnsEnabled"]


def test_subnets_are_tagged_for_load_balancers(full: RanOnAws) -> None:
    for kind, role in (("public", "elb"), ("private", "internal-elb")):
        found = full.aws.ec2.describe_subnets(SubnetIds=list(subnets_of(full, kind)))["Subnets"]
        for subnet in found:
            tags = {tag["Key"]: tag["Value"] for tag in subnet["Tags"]}
            assert tags[f"kubernetes.io/role/{role}"] == "1"
            assert tags["kubernetes.io/cluster/ml-platform"] == "shared"


# --- nothing public that should be private -------------------------------------------------------


def test_no_security_group_lets_the_internet_in(full: RanOnAws) -> None:
    groups = full.aws.ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [full.id_of("aws:ec2/vpc:Vpc", "network")]}]
    )["SecurityGroups"]
    assert len(groups) == 3
    for group in groups:
        ranges = [r["CidrIp"] for rule in group["IpPermissions"] for r in rule["IpRanges"]]
        assert EVERYBODY not in ranges, group["GroupName"]
        if group["GroupName"] == "default":
            assert not group["IpPermissions"] and not group["IpPermissionsEgress"]


def test_nodes_and_control_plane_are_in_private_subnets(full: RanOnAws) -> None:
    private = subnets_of(full, "private")
    cluster = full.aws.eks.describe_cluster(name="ml-platform")["cluster"]
    network = cluster["resourcesVpcConfig"]
    assert set(network["subnetIds"]) == private
    assert (network["endpointPublicAccess"], network["endpointPrivateAccess"]) == (False, True)
    groups = node_groups(full)
    assert set(groups) == {"cpu", "spot", "gpu"}
    for name, group in groups.items():
        assert set(group["subnets"]) == private
        assert "remoteAccess" not in full_inputs(full, name)


def node_groups(ran: RanOnAws) -> dict[str, dict[str, Any]]:
    """As moto has them, by the first word of their names."""
    eks = ran.aws.eks
    names = eks.list_nodegroups(clusterName="ml-platform")["nodegroups"]
    return {
        name.partition("-")[0]: eks.describe_nodegroup(
            clusterName="ml-platform", nodegroupName=name
        )["nodegroup"]
        for name in names
    }


def full_inputs(ran: RanOnAws, group: str) -> dict[str, Any]:
    return ran.of(GROUP, f"ml-platform-{group}").inputs


# --- every store encrypted -----------------------------------------------------------------------


def test_every_store_is_encrypted_by_a_key_of_the_stack(full: RanOnAws) -> None:
    keys = {
        name: full.aws.kms.describe_key(KeyId=id_)["KeyMetadata"]["Arn"]
        for type_, name, id_ in full.mocks.created
        if type_ == "aws:kms/key:Key"
    }
    data = keys["ml-platform-data"]
    [encryption] = full.aws.eks.describe_cluster(name="ml-platform")["cluster"]["encryptionConfig"]
    assert encryption["resources"] == ["secrets"]
    assert encryption["provider"]["keyArn"] == keys["ml-platform-secrets"]
    for group in full.aws.logs.describe_log_groups()["logGroups"]:
        assert group["kmsKeyId"] == data and group["retentionInDays"]
    templates = full.aws.ec2.describe_launch_templates()["LaunchTemplates"]
    assert len(templates) == 3
    for template in templates:
        content = newest(full, template["LaunchTemplateId"])
        [device] = content["BlockDeviceMappings"]
        assert device["Ebs"]["Encrypted"] is True and device["Ebs"]["KmsKeyId"] == data
    parameters = full.of("kubernetes:storage.k8s.io/v1:StorageClass").inputs["parameters"]
    assert parameters == {"type": "gp3", "encrypted": "true", "kmsKeyId": data}
    for id_ in (arn.rpartition("/")[2] for arn in keys.values()):
        assert full.aws.kms.get_key_rotation_status(KeyId=id_)["KeyRotationEnabled"]


def newest(ran: RanOnAws, template: str) -> dict[str, Any]:
    [version] = ran.aws.ec2.describe_launch_template_versions(
        LaunchTemplateId=template, Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    return version["LaunchTemplateData"]


def test_pods_cannot_take_the_role_of_their_node(full: RanOnAws) -> None:
    for template in full.aws.ec2.describe_launch_templates()["LaunchTemplates"]:
        options = newest(full, template["LaunchTemplateId"])["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


# --- rights --------------------------------------------------------------------------------------


def documents(ran: RanOnAws) -> Iterator[tuple[str, dict[str, Any]]]:
    """All policies of the stack, as moto has them: of roles and of keys."""
    iam, kms = ran.aws.iam, ran.aws.kms
    for type_, name, id_ in ran.mocks.created:
        if type_ == "aws:iam/role:Role":
            for policy in iam.list_role_policies(RoleName=id_)["PolicyNames"]:
                found = iam.get_role_policy(RoleName=id_, PolicyName=policy)
                yield f"{id_}/{policy}", found["PolicyDocument"]
        if type_ == "aws:kms/key:Key":
            yield name, json.loads(kms.get_key_policy(KeyId=id_, PolicyName="default")["Policy"])


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


_READS = ("Describe", "Get", "List")


def test_no_right_is_wider_than_its_controller_needs(full: RanOnAws) -> None:
    found = dict(documents(full))
    assert {name.partition("/")[0] for name in found} >= {
        "ml-platform-load-balancers",
        "ml-platform-cluster-autoscaler",
        "ml-platform-data",
        "ml-platform-secrets",
    }
    for name, document in found.items():
        for statement in document["Statement"]:
            if statement["Effect"] != "Allow":
                continue
            actions, resources = listed(statement["Action"]), listed(statement["Resource"])
            assert not [action for action in actions if "*" in action], (name, actions)
            # A key's own policy is of that key alone, which it calls "*".
            if "*" in resources and "Principal" not in statement:
                changes = [a for a in actions if not a.partition(":")[2].startswith(_READS)]
                assert not changes, (name, changes)


def test_a_scanner_of_policies_finds_nothing(full: RanOnAws) -> None:
    """Cloudsplaining: https://github.com/salesforce/cloudsplaining."""
    scanned = 0
    for name, document in documents(full):
        if name in ("ml-platform-data", "ml-platform-secrets"):
            continue  # policies of keys, which it does not know
        scanned += 1
        assert not risks(document), name
    assert scanned == 3
    careless = {"Effect": "Allow", "Action": ["iam:PassRole", "ec2:RunInstances"], "Resource": "*"}
    assert risks({"Version": "2012-10-17", "Statement": [careless]})


def risks(document: dict[str, Any]) -> list[Any]:
    found = PolicyDocument(document)
    return [
        *found.allows_privilege_escalation,
        *found.permissions_management_without_constraints,
        *found.infrastructure_modification,
        *found.allows_data_exfiltration_actions,
        *found.credentials_exposure,
        *found.service_wildcard,
    ]


def test_whoever_may_use_a_key_is_named_or_comes_by_a_service(full: RanOnAws) -> None:
    for name, document in documents(full):
        for statement in document["Statement"]:
            if statement.get("Principal") == {"AWS": "*"}:
                equals = statement["Condition"]["StringEquals"]
                assert equals["kms:CallerAccount"] == ACCOUNT, name
                assert all(s.endswith(f".{REGION}.amazonaws.com") for s in equals["kms:ViaService"])


def test_pods_take_only_the_role_of_their_service_account(full: RanOnAws) -> None:
    found = {}
    for type_, _, id_ in full.mocks.created:
        if type_ != "aws:iam/role:Role":
            continue
        trust = full.aws.iam.get_role(RoleName=id_)["Role"]["AssumeRolePolicyDocument"]
        [statement] = trust["Statement"]
        service = statement["Principal"]["Service"]
        if service == "pods.eks.amazonaws.com":
            tags = statement["Condition"]["StringEquals"]
            assert tags["aws:RequestTag/eks-cluster-name"] == "ml-platform"
            account = tags["aws:RequestTag/kubernetes-service-account"]
            found[account] = full.aws.iam.get_role(RoleName=id_)["Role"]["Arn"]
    associated = {
        r.inputs["serviceAccount"]: r.inputs["roleArn"]
        for r in full.registered
        if r.type == "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    }
    for resource in full.registered:
        if resource.type == ADDON:
            for entry in resource.inputs.get("podIdentityAssociations") or []:
                associated[entry["serviceAccount"]] = entry["roleArn"]
    assert associated == found
    assert set(found) == {
        "aws-node",
        "ebs-csi-controller-sa",
        "efs-csi-controller-sa",
        "aws-load-balancer-controller",
        "cluster-autoscaler",
    }


def test_nodes_have_no_rights_of_the_network_plugin(full: RanOnAws) -> None:
    attached = full.aws.iam.list_attached_role_policies(RoleName="ml-platform-nodes")
    assert {entry["PolicyName"] for entry in attached["AttachedPolicies"]} == {
        "AmazonEKSWorkerNodeMinimalPolicy",
        "AmazonEC2ContainerRegistryPullOnly",
    }


# --- the cluster ---------------------------------------------------------------------------------


def test_the_control_plane(full: RanOnAws) -> None:
    cluster = full.aws.eks.describe_cluster(name="ml-platform")["cluster"]
    assert cluster["version"] == versions.DEFAULT
    [logging] = cluster["logging"]["clusterLogging"]
    assert (set(logging["types"]), logging["enabled"]) == (set(LOGS), True)
    inputs = full.of(CLUSTER).inputs
    assert inputs["accessConfig"]["authenticationMode"] == "API"
    assert inputs["bootstrapSelfManagedAddons"] is False
    [entry] = [r for r in full.registered if r.type.endswith(":AccessEntry")]
    assert entry.inputs["principalArn"] == ADMIN


def test_add_ons_are_pinned(full: RanOnAws) -> None:
    found = {
        r.inputs["addonName"]: r.inputs["addonVersion"] for r in full.registered if r.type == ADDON
    }
    assert found == versions.ADDONS[versions.DEFAULT]


def test_network_policies_hold(full: RanOnAws) -> None:
    values = json.loads(full.of(ADDON, f"cluster-{versions.CNI}").inputs["configurationValues"])
    assert values == {"enableNetworkPolicy": "true"}


def test_groups_of_nodes(full: RanOnAws) -> None:
    groups = node_groups(full)
    assert {n: g["capacityType"] for n, g in groups.items()} == {
        "cpu": "ON_DEMAND",
        "spot": "SPOT",
        "gpu": "ON_DEMAND",
    }
    assert groups["gpu"]["amiType"] == "AL2023_x86_64_NVIDIA"
    assert groups["cpu"]["scalingConfig"] == {"minSize": 3, "desiredSize": 3, "maxSize": 6}
    assert groups["gpu"]["scalingConfig"]["minSize"] == 0
    # A plain pod lands neither on nodes that may vanish nor on expensive ones.
    assert not full_inputs(full, "cpu").get("taints")
    for name in ("spot", "gpu"):
        assert [taint["effect"] for taint in full_inputs(full, name)["taints"]] == ["NO_SCHEDULE"]
    plugin = full.of(RELEASE, "nvidia-device-plugin").inputs["values"]
    [taint] = full_inputs(full, "gpu")["taints"]
    assert plugin["tolerations"][0]["key"] == taint["key"]
    labels = full_inputs(full, "gpu")["labels"]
    assert plugin["nodeSelector"].items() <= labels.items()


def test_charts_are_pinned_and_only_those_that_are_needed(full: RanOnAws) -> None:
    releases = {r.name: r.inputs for r in full.registered if r.type == RELEASE}
    assert set(releases) == {
        "aws-load-balancer-controller",
        "cluster-autoscaler",
        "nvidia-device-plugin",
    }
    assert all(
        inputs["version"] and inputs["repositoryOpts"]["repo"] for inputs in releases.values()
    )


# --- tags, protection ----------------------------------------------------------------------------


def test_everything_has_the_tags(full: RanOnAws) -> None:
    for resource in full.registered:
        if resource.type.startswith("aws:"):
            assert "pulumi:providers:aws::aws::" in resource.request.provider, key(resource)
    vpc = full.aws.ec2.describe_vpcs(VpcIds=[full.id_of("aws:ec2/vpc:Vpc", "network")])["Vpcs"][0]
    tags = {tag["Key"]: tag["Value"] for tag in vpc["Tags"]}
    expected = {"team": "ml", "ml-platform:stack": "ml-platform/test"}
    assert expected.items() <= tags.items()
    # What others make by themselves is told.
    for template in full.aws.ec2.describe_launch_templates()["LaunchTemplates"]:
        for entry in newest(full, template["LaunchTemplateId"])["TagSpecifications"]:
            given = {tag["Key"]: tag["Value"] for tag in entry["Tags"]}
            assert expected.items() <= given.items()
    assert (
        full.of(RELEASE, "aws-load-balancer-controller").inputs["values"]["defaultTags"] == expected
    )
    driver = json.loads(full.of(ADDON, f"cluster-{versions.EBS}").inputs["configurationValues"])
    assert driver["controller"]["extraVolumeTags"] == expected


def test_what_holds_data_is_protected(full: RanOnAws) -> None:
    assert {key(r) for r in full.registered if r.request.protect} == {
        f"{CLUSTER}::cluster",
        "aws:kms/key:Key::ml-platform-data",
        "aws:kms/key:Key::ml-platform-secrets",
    }
    assert full.of(CLUSTER).inputs["deletionProtection"] is True


def test_there_are_no_shared_files_by_default(full: RanOnAws) -> None:
    assert not [key(r) for r in full.registered if r.type.startswith("aws:efs/")]
    assert [r.name for r in full.registered if r.type.endswith(":StorageClass")] == ["gp3"]


# --- order ---------------------------------------------------------------------------------------


def test_nodes_come_after_their_network_and_before_what_runs_on_them(graph: Graph) -> None:
    for group in graph.of(GROUP):
        needed = graph.needs(group)
        for first in (versions.CNI, versions.PROXY, versions.POD_IDENTITY):
            assert f"{ADDON}::cluster-{first}" in needed
        assert set(graph.of("aws:ec2/route:Route")) <= needed
        assert set(graph.of("aws:ec2/vpcEndpoint:VpcEndpoint")) <= needed
    for addon in (versions.DNS, versions.EBS, versions.EFS):
        assert set(graph.of(GROUP)) <= graph.needs(f"{ADDON}::cluster-{addon}")


def test_a_role_has_its_rights_before_anything_takes_it(graph: Graph) -> None:
    attachment = "aws:iam/rolePolicyAttachment:RolePolicyAttachment::ml-platform"
    assert f"{attachment}-cluster-AmazonEKSClusterPolicy" in graph.needs(f"{CLUSTER}::cluster")
    for group in graph.of(GROUP):
        assert f"{attachment}-nodes-AmazonEKSWorkerNodeMinimalPolicy" in graph.needs(group)
    policy = "aws:iam/rolePolicy:RolePolicy::ml-platform-load-balancers-balance"
    assert policy in graph.needs(f"{RELEASE}::aws-load-balancer-controller")

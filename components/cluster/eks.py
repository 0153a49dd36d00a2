"""A cluster on Amazon EKS, made and deleted with the stack.

pulumi-aws's own resources, not pulumi-eks's component: see docs/decisions/aws-eks.md. What has been
run of it, and how: docs/aws.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.launch_template import LaunchTemplate
from pulumi_aws.eks.access_entry import AccessEntry
from pulumi_aws.eks.access_policy_association import AccessPolicyAssociation
from pulumi_aws.eks.addon import Addon
from pulumi_aws.eks.cluster import Cluster as EksCluster
from pulumi_aws.eks.node_group import NodeGroup as EksNodeGroup
from pulumi_aws.eks.pod_identity_association import PodIdentityAssociation

from components.aws import controllers, entry, policies, versions
from components.aws.files import SharedFiles
from components.aws.iam import Granted, pod_role, role
from components.aws.keys import Key, key
from components.aws.network import Subnets
from components.aws.shape import Eks as EksShape
from components.aws.shape import NodeGroup
from components.aws.site import Site
from components.cluster.base import (
    EDITOR,
    Backend,
    Balanced,
    Capabilities,
    Cluster,
    ClusterError,
    Database,
)
from components.platform_provider import CloudReleased, Provider

if TYPE_CHECKING:
    # Where there is a bucket it is imported: the SDK of S3 is large.
    from components.aws.artifacts import Artifacts
    from components.gateway.aws import Api

LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
"""All logs that the control plane can write."""
_ROOT_DEVICE = "/dev/xvda"
_ADMIN_POLICY = "cluster-access-policy/AmazonEKSClusterAdminPolicy"


@dataclass(frozen=True)
class EksArgs:
    """Where the cluster is and what it is.

    `data_key` encrypts volumes and logs, `name` is the platform's own, if it has one; `artifacts`
    are outside of the cluster, if they are.
    """

    site: Site
    shape: EksShape
    subnets: Subnets
    data_key: Key
    name: entry.Name | None = None
    artifacts: Artifacts | None = None


class Eks(Cluster):
    """The control plane, its nodes, add-ons and controllers.

    What controllers made on AWS (load balancers, volumes) is of objects on the cluster: these are
    deleted one by one, before the controllers, those before the nodes, and the nodes before the
    control plane. So nothing is `deleted_with` the cluster.
    """

    security_group: pulumi.Output[str]
    """The security group that EKS makes for nodes and control plane; who serves pods opens to it.
    """

    def __init__(
        self, name: str, args: EksArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Eks", name, pulumi.ResourceOptions.merge(args.site.options(), opts))
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        site, shape = args.site, args.shape
        control_plane = self._control_plane()
        self._cluster = control_plane
        self.security_group = control_plane.vpc_config.cluster_security_group_id
        admins = self._admins()
        # These before the nodes: without a network no node becomes ready.
        first = [
            # Off by default, and then every NetworkPolicy of the platform holds nothing back.
            self._addon(versions.CNI, self._cni(), configuration={"enableNetworkPolicy": "true"}),
            self._addon(versions.PROXY),
            self._addon(versions.POD_IDENTITY),
        ]
        nodes = self._nodes([*first, *args.subnets.ready])
        later = [
            self._addon(versions.DNS, needs=nodes),
            self._addon(
                versions.EBS,
                self._driver("ebs", "ebs-csi-controller-sa", "AmazonEBSCSIDriverPolicy"),
                nodes,
                # What the driver makes has no default tags of the provider.
                {"controller": {"extraVolumeTags": dict(site.tags)}},
            ),
            self._addon(
                versions.EFS,
                self._driver("efs", "efs-csi-controller-sa", "AmazonEFSCSIDriverPolicy"),
                nodes,
            ),
        ]
        config: pulumi.Output[str] = pulumi.Output.all(
            control_plane.endpoint, control_plane.certificate_authority.data
        ).apply(
            lambda values: kubeconfig(
                shape.name, values[0], values[1], site.aws.region, site.aws.profile
            )
        )
        system_options = pulumi.ResourceOptions(parent=self, depends_on=[*nodes, *later, *admins])
        secret: pulumi.Output[str] = pulumi.Output.secret(config)
        system = kubernetes.Provider(
            f"{name}-system",
            kubeconfig=secret,
            cluster_identifier=self._identifier,
            opts=system_options,
        )
        home = controllers.Home(control_plane.name, system, self, [*nodes, *later])
        made = [
            controllers.storage_class(home, args.data_key.arn),
            controllers.load_balancer_controller(site, home, args.subnets.vpc, self.security_group),
            controllers.autoscaler(site, home),
        ]
        if shape.gpu_types:
            made.append(controllers.device_plugin(site, home))
        if site.aws.efs:
            files = SharedFiles(
                "files", site, args.subnets, self.security_group, args.data_key, self._child
            )
            made.append(controllers.shared_class(home, files))
        released = CloudReleased(
            f"{name}-released",
            drivers=controllers.DRIVERS,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=Provider(
                    f"{name}-system",
                    kubeconfig=secret,
                    cluster_identifier=self._identifier,
                    opts=system_options,
                ),
                depends_on=made,
                custom_timeouts=pulumi.CustomTimeouts(delete="20m"),
            ),
        )
        self._offer(
            name,
            config,
            self._identifier,
            Capabilities(
                load_balancer=True,
                storage_class=controllers.STORAGE_CLASS,
                architecture=shape.architecture,
                balancer_annotations=entry.balancer_annotations(
                    site.aws, args.subnets, args.name.certificate_arn if args.name else None
                ),
                object_store=args.artifacts.store if args.artifacts else None,
                database=self._database if site.aws.database_type else None,
                fronted=bool(site.aws.front),
            ),
            # A pod is given its role when it starts: roles come before all pods of the platform.
            needs=[released, *self._pods_with_artifacts()],
        )

    @property
    def args(self) -> EksArgs:
        """Where it is, for what else is made beside it."""
        return self._args

    def announce(self, address: pulumi.Output[str]) -> None:
        """Give the platform's name, if it has one, to the address of its entry."""
        if self._args.name is not None:
            self._args.name.lead_to(address)

    def publish(self, apis: Sequence[Api], service: Balanced) -> None:
        """Put Amazon API Gateway before a Service, which has the platform's name.

        Raises:
            ClusterError: the platform has no name.
        """
        # Its SDK is of those alone who ask for it.
        from components.aws.api import Apis, ApisArgs

        args = self._args
        if args.name is None:
            raise ClusterError("awsApiHosts is set, but awsDomain is empty; set it")
        found = ApisArgs(args.site, args.subnets, args.data_key, args.name, service, apis)
        Apis("api", found, args.site.options())

    def front(self, gateway: Backend) -> None:
        """Lead CloudFront, and by it clients, to the gateway.

        Raises:
            ValueError: the platform has no name.
        """
        args = self._args
        if args.name is None:
            raise ValueError("an edge needs a name")
        # Its part of the SDK is large: other stacks do not pay for it.
        from components.aws.edge import Edge, EdgeArgs

        Edge(
            "edge",
            EdgeArgs(
                args.site, args.subnets, args.name, self.security_group, gateway, self.provider
            ),
            args.site.options(),
        )

    @property
    def _identifier(self) -> str:
        return f"eks/{self._args.site.aws.region}/{self._args.shape.name}"

    def _control_plane(self) -> EksCluster:
        args, shape = self._args, self._args.shape
        granted = role(
            args.site, "cluster", policies.trust("eks"), self, managed=["AmazonEKSClusterPolicy"]
        )
        text = pulumi.Output.all(args.site.scope, granted.arn).apply(
            lambda values: policies.secrets_key(*values)
        )
        secrets = key(args.site, "secrets", text, "Secrets of Kubernetes", self._child)
        # Made by EKS it would never expire, and would outlive the stack.
        logs = LogGroup(
            f"{self._name}-logs",
            name=f"/aws/eks/{shape.name}/cluster",
            retention_in_days=shape.log_days,
            kms_key_id=args.data_key.arn,
            opts=self._child,
        )
        public = bool(shape.public_cidrs)
        return EksCluster(
            self._name,
            name=shape.name,
            version=shape.version,
            role_arn=granted.arn,
            vpc_config={
                "subnet_ids": list(args.subnets.private),
                "endpoint_private_access": True,
                "endpoint_public_access": public,
                "public_access_cidrs": list(shape.public_cidrs) if public else None,
            },
            access_config={
                "authentication_mode": "API",
                # Who makes the cluster sets up what is on it.
                "bootstrap_cluster_creator_admin_permissions": True,
            },
            encryption_config={
                "resources": ["secrets"],
                "provider": {"key_arn": secrets.arn},
            },
            enabled_cluster_log_types=list(LOGS),
            bootstrap_self_managed_addons=False,
            deletion_protection=args.site.aws.protect,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.site.aws.protect,
                depends_on=[*granted.ready, logs, *args.subnets.ready],
            ),
        )

    def _admins(self) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        partition = self._args.site.aws.partition
        for index, principal in enumerate(self._args.shape.admins):
            name = f"{self._name}-admin-{index}"
            entry = AccessEntry(
                name,
                cluster_name=self._cluster.name,
                principal_arn=principal,
                opts=self._child,
            )
            association = AccessPolicyAssociation(
                name,
                cluster_name=self._cluster.name,
                principal_arn=entry.principal_arn,
                policy_arn=f"arn:{partition}:eks::aws:{_ADMIN_POLICY}",
                access_scope={"type": "cluster"},
                opts=self._child,
            )
            made += [entry, association]
        return made

    def _cni(self) -> tuple[str, Granted]:
        account = "aws-node"
        managed = ["AmazonEKS_CNI_Policy"]
        return account, pod_role(
            self._args.site, "cni", controllers.NAMESPACE, account, self, managed
        )

    def _driver(self, purpose: str, account: str, policy: str) -> tuple[str, Granted]:
        return account, pod_role(
            self._args.site,
            f"{purpose}-csi",
            controllers.NAMESPACE,
            account,
            self,
            [f"service-role/{policy}"],
        )

    def _addon(
        self,
        addon: str,
        identity: tuple[str, Granted] | None = None,
        needs: Sequence[pulumi.Resource] = (),
        configuration: Mapping[str, Any] | None = None,
    ) -> pulumi.Resource:
        """An add-on; `identity` is the service account whose pods take a role."""
        associations = []
        if identity is not None:
            account, granted = identity
            associations = [{"service_account": account, "role_arn": granted.arn}]
            needs = [*needs, *granted.ready]
        made: pulumi.Resource = Addon(
            f"{self._name}-{addon}",
            cluster_name=self._cluster.name,
            addon_name=addon,
            addon_version=versions.ADDONS[self._args.shape.version][addon],
            configuration_values=json.dumps(configuration) if configuration else None,
            pod_identity_associations=associations or None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(needs)),
        )
        return made

    def _database(self, password: pulumi.Input[str]) -> Database:
        # The SDK of RDS is large, and other stacks have no database.
        from components.aws.database import MySql

        args = self._args
        options = args.site.options()
        return MySql(
            "database",
            args.site,
            args.subnets,
            self.security_group,
            args.data_key,
            password,
            options,
        ).serves

    def _pods_with_artifacts(self) -> list[pulumi.Resource]:
        """Each profile's pods take the role of artefacts; its namespace need not be there yet."""
        artifacts = self._args.artifacts
        if artifacts is None:
            return []
        return [
            PodIdentityAssociation(
                f"{self._name}-artifacts-{profile}",
                cluster_name=self._cluster.name,
                namespace=profile,
                service_account=EDITOR,
                role_arn=artifacts.granted.arn,
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(artifacts.granted.ready)),
            )
            for profile in self._args.site.aws.artifact_profiles
        ]

    def _nodes(self, needs: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        site = self._args.site
        granted = role(
            site,
            "nodes",
            policies.trust("ec2"),
            self,
            # The network plugin's rights are its pods', not the nodes'.
            managed=["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"],
        )
        return [
            self._node_group(group, granted, [*needs, *granted.ready])
            for group in self._args.shape.groups
        ]

    def _node_group(
        self, group: NodeGroup, granted: Granted, needs: Sequence[pulumi.Resource]
    ) -> pulumi.Resource:
        args = self._args
        name = f"{args.site.name}-{group.name}"
        template = LaunchTemplate(
            name,
            name=name,
            update_default_version=True,
            block_device_mappings=[
                {
                    "device_name": _ROOT_DEVICE,
                    "ebs": {
                        "volume_size": group.disk,
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "kms_key_id": args.data_key.arn,
                        "delete_on_termination": "true",
                    },
                }
            ],
            # One hop: pods have an address of their own, and so can't take the node's role.
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
            },
            # What Auto Scaling makes has no default tags of the provider.
            tag_specifications=[
                {"resource_type": kind, "tags": {**args.site.tags, "Name": name}}
                for kind in ("instance", "volume", "network-interface")
            ],
            opts=self._child,
        )
        made: pulumi.Resource = EksNodeGroup(
            name,
            cluster_name=self._cluster.name,
            # Not the whole name: other types need another group, which is there before the old one
            # goes with its nodes.
            node_group_name_prefix=f"{group.name}-",
            node_role_arn=granted.arn,
            subnet_ids=list(args.subnets.private),
            ami_type=group.ami_type,
            capacity_type=group.capacity_type,
            instance_types=list(group.instance_types),
            launch_template={
                "id": template.id,
                "version": template.latest_version.apply(lambda number: str(int(number))),
            },
            labels=dict(group.labels),
            taints=[
                {"key": taint, "value": value, "effect": effect}
                for taint, value, effect in group.taints
            ],
            scaling_config={
                "min_size": group.least,
                "desired_size": group.least,
                "max_size": group.most,
            },
            update_config={"max_unavailable": 1},
            version=args.shape.version,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(needs),
                # The autoscaler's, once the group is there.
                ignore_changes=["scalingConfig.desiredSize"],
            ),
        )
        return made


def kubeconfig(name: str, endpoint: str, authority: str, region: str, profile: str = "") -> str:
    """A kubeconfig whose credentials `aws eks get-token` makes; it holds none itself.

    https://docs.aws.amazon.com/eks/latest/userguide/create-kubeconfig.html
    """
    command = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    execute: dict[str, Any] = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": command,
        "interactiveMode": "Never",
    }
    if profile:
        execute["env"] = [{"name": "AWS_PROFILE", "value": profile}]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": endpoint, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": name, "user": {"exec": execute}}],
        }
    )

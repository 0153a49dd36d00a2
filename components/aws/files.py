"""Files that many pods share: a file system of Amazon EFS in the private subnets.

Volumes are access points of it, made by EFS's driver for each claim of the StorageClass:
https://github.com/kubernetes-sigs/aws-efs-csi-driver/blob/master/docs/parameters.md
"""

from __future__ import annotations

import pulumi
from pulumi_aws.efs.backup_policy import BackupPolicy
from pulumi_aws.efs.file_system import FileSystem
from pulumi_aws.efs.file_system_policy import FileSystemPolicy
from pulumi_aws.efs.mount_target import MountTarget

from components.aws import policies
from components.aws.groups import for_cluster_alone
from components.aws.keys import Key
from components.aws.network import Subnets
from components.aws.site import Site

NFS_PORT = 2049


class SharedFiles(pulumi.ComponentResource):
    """The file system, encrypted and backed up each day, and a mount target in each zone.

    Nodes and pods of the cluster reach it, by TLS and through an access point: nobody mounts all of
    it, and nobody is root on it. What nobody reads for 30 days moves to cheaper storage.
    """

    id: pulumi.Output[str]
    """Of the file system, once it can be mounted."""

    def __init__(
        self,
        name: str,
        site: Site,
        subnets: Subnets,
        clients: pulumi.Input[str],
        key: Key,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`clients` is the security group of nodes and pods; `key` encrypts what is stored."""
        super().__init__("mlplatform:aws:SharedFiles", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        system = FileSystem(
            name,
            encrypted=True,
            kms_key_id=key.arn,
            # Bursting gives a file system of a few GiB next to nothing.
            throughput_mode="elastic",
            lifecycle_policies=[
                {"transition_to_ia": "AFTER_30_DAYS"},
                {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
            ],
            tags={"Name": f"{site.name}-files"},
            opts=pulumi.ResourceOptions(parent=self, protect=site.aws.protect),
        )
        backup = BackupPolicy(
            name, file_system_id=system.id, backup_policy={"status": "ENABLED"}, opts=child
        )
        policy = FileSystemPolicy(
            name,
            file_system_id=system.id,
            policy=pulumi.Output.all(site.scope, system.arn).apply(
                lambda values: policies.shared_files(*values)
            ),
            opts=child,
        )
        group, rule = for_cluster_alone(
            name,
            f"{site.name}-files",
            "EFS",
            NFS_PORT,
            vpc=subnets.vpc,
            clients=clients,
            opts=child,
        )
        targets = [
            MountTarget(
                f"{name}-{index}",
                file_system_id=system.id,
                subnet_id=subnet,
                security_groups=[group.id],
                # Until the policy is there, whoever reaches a target may do everything.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            )
            for index, subnet in enumerate(subnets.private)
        ]
        self.ready: list[pulumi.Resource] = [*targets, backup, rule]
        self.id = system.id
        self.register_outputs({"id": system.id})

"""MySQL of RDS, for the metadata of pipelines."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.parameter_group import ParameterGroup
from pulumi_aws.rds.subnet_group import SubnetGroup

from components.aws.groups import for_cluster_alone
from components.aws.keys import Key
from components.aws.network import Subnets
from components.aws.site import Site
from components.cluster.base import Database

PORT: Final = 3306
USER: Final = "platform"
"""The master user."""
VERSION: Final = "8.4"
"""Patches of it are RDS's: standard support of 8.0 ended on 2026-07-31."""
PARAMETERS: Final = {
    # The metadata server (MLMD 1.14) speaks no other plugin. It is given to users that are made
    # then, and so is the master.
    "authentication_policy": "*:mysql_native_password",
    # And it has no option of its command line for TLS.
    "require_secure_transport": "0",
}
BACKUP_DAYS: Final = 7
LOG_DAYS: Final = 90
_MOST_STORAGE: Final = 5
"""So many times the storage may grow by itself."""


class MySql(pulumi.ComponentResource):
    """A database in the private subnets, which lets in the cluster's security group alone.

    Encrypted by the stack's key of data, backed up each day, with a last snapshot when it is
    deleted.
    """

    serves: Database

    def __init__(
        self,
        name: str,
        site: Site,
        subnets: Subnets,
        clients: pulumi.Input[str],
        key: Key,
        password: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlplatform:aws:MySql", name, None, opts)
        identifier = f"{site.name}-mysql"
        child = pulumi.ResourceOptions(parent=self)
        aws = site.aws
        group, _ = for_cluster_alone(
            name, identifier, "MySQL", PORT, vpc=subnets.vpc, clients=clients, opts=child
        )
        placed = SubnetGroup(
            name,
            name=identifier,
            description="MySQL: private subnets",
            subnet_ids=list(subnets.private),
            opts=child,
        )
        parameters = ParameterGroup(
            f"{name}-{VERSION}",
            # Another version is another group: one that is in use can't be deleted.
            name=f"{identifier}-{VERSION.replace('.', '-')}",
            family=f"mysql{VERSION}",
            description=f"MySQL of {site.name}",
            parameters=[
                {"name": key_, "value": value, "apply_method": "pending-reboot"}
                for key_, value in sorted(PARAMETERS.items())
            ],
            opts=child,
        )
        # Made by RDS it would never expire, and would outlive the stack.
        errors = LogGroup(
            f"{name}-errors",
            name=f"/aws/rds/instance/{identifier}/error",
            retention_in_days=LOG_DAYS,
            kms_key_id=key.arn,
            opts=child,
        )
        instance = Instance(
            name,
            identifier=identifier,
            engine="mysql",
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            instance_class=aws.database_type,
            multi_az=aws.database_standby,
            storage_type="gp3",
            allocated_storage=aws.database_storage,
            max_allocated_storage=_MOST_STORAGE * aws.database_storage,
            storage_encrypted=True,
            kms_key_id=key.arn,
            username=USER,
            password=pulumi.Output.secret(password),
            port=PORT,
            db_subnet_group_name=placed.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            parameter_group_name=parameters.name,
            backup_retention_period=BACKUP_DAYS,
            copy_tags_to_snapshot=True,
            skip_final_snapshot=False,
            final_snapshot_identifier=f"{identifier}-final",
            deletion_protection=aws.protect,
            enabled_cloudwatch_logs_exports=["error"],
            apply_immediately=True,
            opts=pulumi.ResourceOptions(
                parent=self, protect=aws.protect, depends_on=[errors, *subnets.ready]
            ),
        )
        self.serves = Database(instance.address, USER)
        self.register_outputs({"address": instance.address})

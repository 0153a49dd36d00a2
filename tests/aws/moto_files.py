"""What creates in moto the types of shared files (EFS)."""

from __future__ import annotations

from tests.aws.moto_mocks import ARNS, Aws, Inputs, Made, backs, not_backed, resource_of, tag_list


@backs("aws:efs/fileSystem:FileSystem")
def file_system(aws: Aws, inputs: Inputs) -> Made:
    made = aws.efs.create_file_system(
        CreationToken="made",
        Encrypted=inputs["encrypted"],
        KmsKeyId=inputs["kmsKeyId"],
        ThroughputMode=inputs["throughputMode"],
        Tags=tag_list(inputs),
    )
    names = {
        "transitionToIa": "TransitionToIA",
        "transitionToPrimaryStorageClass": "TransitionToPrimaryStorageClass",
    }
    aws.efs.put_lifecycle_configuration(
        FileSystemId=made["FileSystemId"],
        LifecyclePolicies=[
            {names[key]: value for key, value in policy.items()}
            for policy in inputs["lifecyclePolicies"]
        ],
    )
    return made["FileSystemId"], {"arn": made["FileSystemArn"]}


@backs("aws:efs/mountTarget:MountTarget")
def mount_target(aws: Aws, inputs: Inputs) -> Made:
    made = aws.efs.create_mount_target(
        FileSystemId=inputs["fileSystemId"],
        SubnetId=inputs["subnetId"],
        SecurityGroups=inputs["securityGroups"],
    )
    return made["MountTargetId"], {"ipAddress": made["IpAddress"]}


@backs("aws:efs/fileSystemPolicy:FileSystemPolicy")
def file_system_policy(aws: Aws, inputs: Inputs) -> Made:
    aws.efs.put_file_system_policy(FileSystemId=inputs["fileSystemId"], Policy=inputs["policy"])
    return inputs["fileSystemId"], {}


not_backed("aws:efs/backupPolicy:BackupPolicy", "moto 5.2 has no put_backup_policy")

ARNS["elasticfilesystem:file-system"] = lambda aws, arn: aws.efs.describe_file_systems(
    FileSystemId=resource_of(arn)
)

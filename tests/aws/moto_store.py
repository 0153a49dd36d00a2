"""What creates in moto the bucket of artefacts and the database of metadata."""

from __future__ import annotations

from typing import Any

from tests.aws.moto_mocks import Aws, Inputs, Made, backs, pascal, tag_list


@backs("aws:s3/bucket:Bucket")
def bucket(aws: Aws, inputs: Inputs) -> Made:
    name = inputs["bucket"]
    place = {"LocationConstraint": aws.region}
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
    aws.s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(inputs)})
    return name, {"arn": f"arn:aws:s3:::{name}", "bucket": name}


@backs("aws:s3/bucketVersioning:BucketVersioning")
def versioning(aws: Aws, inputs: Inputs) -> Made:
    status = {"Status": inputs["versioningConfiguration"]["status"]}
    aws.s3.put_bucket_versioning(Bucket=inputs["bucket"], VersioningConfiguration=status)
    return inputs["bucket"], {}


@backs("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
def public_access(aws: Aws, inputs: Inputs) -> Made:
    names = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    values = {name[0].upper() + name[1:]: inputs[name] for name in names}
    aws.s3.put_public_access_block(Bucket=inputs["bucket"], PublicAccessBlockConfiguration=values)
    return inputs["bucket"], {}


@backs("aws:s3/bucketPolicy:BucketPolicy")
def policy(aws: Aws, inputs: Inputs) -> Made:
    aws.s3.put_bucket_policy(Bucket=inputs["bucket"], Policy=inputs["policy"])
    return inputs["bucket"], {}


@backs("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
def encryption(aws: Aws, inputs: Inputs) -> Made:
    rules = []
    for rule in inputs["rules"]:
        default = rule["applyServerSideEncryptionByDefault"]
        rules.append(
            {
                "ApplyServerSideEncryptionByDefault": {
                    "SSEAlgorithm": default["sseAlgorithm"],
                    "KMSMasterKeyID": default["kmsMasterKeyId"],
                },
                "BucketKeyEnabled": rule["bucketKeyEnabled"],
            }
        )
    aws.s3.put_bucket_encryption(
        Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules}
    )
    return inputs["bucket"], {}


@backs("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
def lifecycle(aws: Aws, inputs: Inputs) -> Made:
    rules: list[dict[str, Any]] = [
        {
            "ID": rule["id"],
            "Status": rule["status"],
            "Filter": {"Prefix": rule["filter"]["prefix"]},
            "NoncurrentVersionExpiration": {
                "NoncurrentDays": rule["noncurrentVersionExpiration"]["noncurrentDays"]
            },
            "AbortIncompleteMultipartUpload": {
                "DaysAfterInitiation": rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"]
            },
        }
        for rule in inputs["rules"]
    ]
    aws.s3.put_bucket_lifecycle_configuration(
        Bucket=inputs["bucket"], LifecycleConfiguration={"Rules": rules}
    )
    return inputs["bucket"], {}


# --- RDS -----------------------------------------------------------------------------------------


@backs("aws:rds/subnetGroup:SubnetGroup")
def subnet_group(aws: Aws, inputs: Inputs) -> Made:
    made = aws.rds.create_db_subnet_group(
        DBSubnetGroupName=inputs["name"],
        DBSubnetGroupDescription=inputs["description"],
        SubnetIds=inputs["subnetIds"],
        Tags=tag_list(inputs),
    )["DBSubnetGroup"]
    return inputs["name"], {"arn": made["DBSubnetGroupArn"]}


@backs("aws:rds/parameterGroup:ParameterGroup")
def parameter_group(aws: Aws, inputs: Inputs) -> Made:
    made = aws.rds.create_db_parameter_group(
        DBParameterGroupName=inputs["name"],
        DBParameterGroupFamily=inputs["family"],
        Description=inputs["description"],
        Tags=tag_list(inputs),
    )["DBParameterGroup"]
    aws.rds.modify_db_parameter_group(
        DBParameterGroupName=inputs["name"],
        Parameters=[
            {
                "ParameterName": entry["name"],
                "ParameterValue": entry["value"],
                "ApplyMethod": entry["applyMethod"],
            }
            for entry in inputs["parameters"]
        ],
    )
    return inputs["name"], {"arn": made["DBParameterGroupArn"]}


@backs("aws:rds/instance:Instance")
def instance(aws: Aws, inputs: Inputs) -> Made:
    password = inputs["password"]
    made = aws.rds.create_db_instance(
        DBInstanceIdentifier=inputs["identifier"],
        DBInstanceClass=inputs["instanceClass"],
        MultiAZ=inputs["multiAz"],
        MasterUsername=inputs["username"],
        # The SDK wraps it as a secret.
        MasterUserPassword=password["value"] if isinstance(password, dict) else password,
        DBSubnetGroupName=inputs["dbSubnetGroupName"],
        DBParameterGroupName=inputs["parameterGroupName"],
        EnableCloudwatchLogsExports=inputs["enabledCloudwatchLogsExports"],
        **pascal(
            inputs,
            "engine",
            "engineVersion",
            "autoMinorVersionUpgrade",
            "storageType",
            "allocatedStorage",
            "maxAllocatedStorage",
            "storageEncrypted",
            "kmsKeyId",
            "port",
            "vpcSecurityGroupIds",
            "publiclyAccessible",
            "backupRetentionPeriod",
            "copyTagsToSnapshot",
            "deletionProtection",
        ),
        Tags=tag_list(inputs),
    )["DBInstance"]
    host = made["Endpoint"]["Address"]
    return inputs["identifier"], {"arn": made["DBInstanceArn"], "address": host}

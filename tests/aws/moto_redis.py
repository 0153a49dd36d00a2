"""What creates in moto the types of Redis as a service, of its alarms, and of the budget."""

from __future__ import annotations

from typing import Any

from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.moto_mocks import (
    ACCOUNT,
    ARNS,
    Aws,
    Inputs,
    Made,
    backs,
    not_backed,
    pascal,
    tag_list,
)


def _password(inputs: Inputs) -> dict[str, Any]:
    """How a user signs in; it must be a secret, which the SDK wraps as a whole."""
    wrapped = inputs["authenticationMode"]
    assert wrapped[SIGNATURE] == SECRET_MARK, "a password is in plain"
    return pascal(wrapped["value"], "type", "passwords")


# --- ElastiCache ---------------------------------------------------------------------------------


@backs("aws:elasticache/subnetGroup:SubnetGroup")
def cache_subnet_group(aws: Aws, inputs: Inputs) -> Made:
    made = aws.elasticache.create_cache_subnet_group(
        CacheSubnetGroupName=inputs["name"],
        CacheSubnetGroupDescription=inputs["description"],
        SubnetIds=inputs["subnetIds"],
        Tags=tag_list(inputs),
    )["CacheSubnetGroup"]
    return made["CacheSubnetGroupName"], {"vpcId": made["VpcId"], "arn": made["ARN"]}


@backs("aws:elasticache/user:User")
def cache_user(aws: Aws, inputs: Inputs) -> Made:
    made = aws.elasticache.create_user(
        **pascal(inputs, "userId", "userName", "engine", "accessString"),
        AuthenticationMode=_password(inputs),
        Tags=tag_list(inputs),
    )
    return made["UserId"], {"arn": made["ARN"]}


@backs("aws:elasticache/replicationGroup:ReplicationGroup")
def replication_group(aws: Aws, inputs: Inputs) -> Made:
    groups = aws.elasticache.describe_cache_subnet_groups(
        CacheSubnetGroupName=inputs["subnetGroupName"]
    )
    assert groups["CacheSubnetGroups"], inputs["subnetGroupName"]
    # Of a group without shards moto counts replicas, and not nodes as the service does.
    copies = {"ReplicasPerNodeGroup": inputs.get("numCacheClusters", 1) - 1}
    made = aws.elasticache.create_replication_group(
        ReplicationGroupDescription=inputs["description"],
        CacheSubnetGroupName=inputs["subnetGroupName"],
        CacheParameterGroupName=inputs["parameterGroupName"],
        CacheNodeType=inputs["nodeType"],
        MultiAZEnabled=inputs["multiAzEnabled"],
        PreferredMaintenanceWindow=inputs["maintenanceWindow"],
        **pascal(
            inputs,
            "replicationGroupId",
            "engine",
            "engineVersion",
            "clusterMode",
            "numCacheClusters",
            "numNodeGroups",
            "replicasPerNodeGroup",
            "automaticFailoverEnabled",
            "securityGroupIds",
            "atRestEncryptionEnabled",
            "kmsKeyId",
            "transitEncryptionEnabled",
            "transitEncryptionMode",
            "userGroupIds",
            "snapshotRetentionLimit",
            "snapshotWindow",
            "snapshotName",
            "port",
            "notificationTopicArn",
        ),
        **({} if "numNodeGroups" in inputs else copies),
        Tags=tag_list(inputs),
    )["ReplicationGroup"]
    outputs: dict[str, Any] = {"arn": made["ARN"], "memberClusters": made["MemberClusters"]}
    if endpoint := made.get("ConfigurationEndpoint"):
        outputs["configurationEndpointAddress"] = endpoint["Address"]
    else:
        [group] = made["NodeGroups"]
        outputs["primaryEndpointAddress"] = group["PrimaryEndpoint"]["Address"]
        # moto does not give it back.
        outputs["readerEndpointAddress"] = group["PrimaryEndpoint"]["Address"].replace(
            "master.", "replica.", 1
        )
    return made["ReplicationGroupId"], outputs


not_backed(
    "aws:elasticache/parameterGroup:ParameterGroup",
    "moto 5.2 has no create_cache_parameter_group",
    lambda inputs: (inputs["name"], {}),
)
not_backed(
    "aws:elasticache/userGroup:UserGroup",
    "moto 5.2 has no create_user_group",
    lambda inputs: (inputs["userGroupId"], {}),
)

# --- MemoryDB ------------------------------------------------------------------------------------


@backs("aws:memorydb/subnetGroup:SubnetGroup")
def memorydb_subnet_group(aws: Aws, inputs: Inputs) -> Made:
    made = aws.memorydb.create_subnet_group(
        SubnetGroupName=inputs["name"],
        **pascal(inputs, "description", "subnetIds"),
        Tags=tag_list(inputs),
    )["SubnetGroup"]
    return made["Name"], {"vpcId": made["VpcId"], "arn": made["ARN"]}


@backs("aws:memorydb/user:User")
def memorydb_user(aws: Aws, inputs: Inputs) -> Made:
    made = aws.memorydb.create_user(
        **pascal(inputs, "userName", "accessString"),
        AuthenticationMode=_password(inputs),
        Tags=tag_list(inputs),
    )["User"]
    return made["Name"], {"arn": made["ARN"]}


@backs("aws:memorydb/cluster:Cluster")
def memorydb_cluster(aws: Aws, inputs: Inputs) -> Made:
    made = aws.memorydb.create_cluster(
        ClusterName=inputs["name"],
        ACLName=inputs["aclName"],
        TLSEnabled=inputs["tlsEnabled"],
        KmsKeyId=inputs["kmsKeyArn"],
        **pascal(
            inputs,
            "description",
            "nodeType",
            "engineVersion",
            "numShards",
            "numReplicasPerShard",
            "subnetGroupName",
            "securityGroupIds",
            "snapshotRetentionLimit",
            "snapshotWindow",
            "maintenanceWindow",
            "port",
        ),
        Tags=tag_list(inputs),
    )["Cluster"]
    endpoint = made["ClusterEndpoint"]
    return made["Name"], {
        "arn": made["ARN"],
        "clusterEndpoints": [{"address": endpoint["Address"], "port": endpoint["Port"]}],
    }


not_backed(
    "aws:memorydb/acl:Acl", "moto 5.2 has no create_acl", lambda inputs: (inputs["name"], {})
)
not_backed(
    "aws:memorydb/multiRegionCluster:MultiRegionCluster",
    "moto 5.2 has no create_multi_region_cluster",
    # The service puts letters of its own in front.
    lambda inputs: (
        f"ldgnf-{inputs['multiRegionClusterNameSuffix']}",
        {"multiRegionClusterName": f"ldgnf-{inputs['multiRegionClusterNameSuffix']}"},
    ),
)

# --- CloudWatch and Budgets ----------------------------------------------------------------------


def _query(query: Inputs) -> dict[str, Any]:
    found = pascal(query, "id", "expression", "label", "period", "returnData")
    if metric := query.get("metric"):
        dimensions = [{"Name": key, "Value": value} for key, value in metric["dimensions"].items()]
        found["MetricStat"] = {
            "Metric": {**pascal(metric, "namespace", "metricName"), "Dimensions": dimensions},
            **pascal(metric, "period", "stat"),
        }
    return found


@backs("aws:cloudwatch/metricAlarm:MetricAlarm")
def metric_alarm(aws: Aws, inputs: Inputs) -> Made:
    aws.cloudwatch.put_metric_alarm(
        AlarmName=inputs["name"],
        AlarmDescription=inputs["alarmDescription"],
        Metrics=[_query(query) for query in inputs["metricQueries"]],
        Tags=tag_list(inputs),
        **pascal(
            inputs,
            "comparisonOperator",
            "threshold",
            "evaluationPeriods",
            "treatMissingData",
            "alarmActions",
        ),
        OKActions=inputs.get("okActions") or [],
    )
    return inputs["name"], {"arn": aws.arn("cloudwatch", f"alarm:{inputs['name']}")}


@backs("aws:budgets/budget:Budget")
def budget(aws: Aws, inputs: Inputs) -> Made:
    aws.budgets.create_budget(
        AccountId=ACCOUNT,
        Budget={
            "BudgetName": inputs["name"],
            "BudgetType": inputs["budgetType"],
            "TimeUnit": inputs["timeUnit"],
            "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
            "CostFilters": {entry["name"]: entry["values"] for entry in inputs["costFilters"]},
        },
        NotificationsWithSubscribers=[
            {
                "Notification": pascal(
                    told, "notificationType", "comparisonOperator", "threshold", "thresholdType"
                ),
                "Subscribers": [
                    {"SubscriptionType": "EMAIL", "Address": address}
                    for address in told["subscriberEmailAddresses"]
                ],
            }
            for told in inputs["notifications"]
        ],
    )
    return f"{ACCOUNT}:{inputs['name']}", {}


ARNS |= {"sns": lambda aws, arn: aws.sns.get_topic_attributes(TopicArn=arn)}

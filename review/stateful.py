"""Which resources hold what cannot be made again. The one place that names them."""

from __future__ import annotations

from typing import Final

_KUBERNETES: Final = {
    "/Namespace": "all that is in it goes with it",
    "/PersistentVolume": "a volume",
    "/PersistentVolumeClaim": "a volume",
    "apps/StatefulSet": "pods with volumes of their own",
    "apiextensions.k8s.io/CustomResourceDefinition": "all objects of its kind go with it",
    "kubeflow.org/Profile": "a user's namespace, and all that is in it",
    "app.redislabs.com/RedisEnterpriseCluster": "a Redis cluster",
    "app.redislabs.com/RedisEnterpriseDatabase": "a Redis database",
    "app.redislabs.com/RedisEnterpriseActiveActiveDatabase": "a Redis database",
}
_OTHERS: Final = {
    "mlplatform:kubernetes:CustomResourceDefinition": "all objects of its kind go with it",
    "mlplatform:access:Credentials": "generated passwords",
    "mlplatform:redis:Access": "generated passwords and certificates",
    "aws:dynamodb/table:Table": "a database",
    "aws:ebs/volume:Volume": "a volume",
    "aws:ecr/repository:Repository": "images",
    "aws:efs/fileSystem:FileSystem": "a file system",
    "aws:eks/cluster:Cluster": "a cluster and all that is in it",
    "aws:elasticache/cluster:Cluster": "a Redis",
    "aws:elasticache/replicationGroup:ReplicationGroup": "a Redis",
    "aws:elasticache/serverlessCache:ServerlessCache": "a Redis",
    "aws:kms/key:Key": "a key, and all that it encrypts",
    "aws:memorydb/cluster:Cluster": "a Redis",
    "aws:memorydb/multiRegionCluster:MultiRegionCluster": "a Redis",
    "aws:s3/bucket:Bucket": "a bucket",
    "aws:s3/bucketV2:BucketV2": "a bucket",
    "aws:rds/cluster:Cluster": "a database",
    "aws:rds/instance:Instance": "a database",
    "aws:cognito/userPool:UserPool": "users",
}
_MINIKUBE: Final = "mlplatform:cluster:Minikube$command:local:Command"


def kubernetes_kind(type_: str) -> str:
    """`apps/StatefulSet` of `kubernetes:apps/v1:StatefulSet`, `/Secret` of the core group's."""
    package, _, rest = type_.partition(":")
    module, _, kind = rest.partition(":")
    if package != "kubernetes" or not kind:
        return ""
    group = module.partition("/")[0]
    return f"{'' if group == 'core' else group}/{kind}"


def what_is_lost(type_: str, chain: str = "", name: str = "") -> str:
    """What goes when a resource is deleted or replaced; empty for what can be made again.

    Args:
        type_: the resource's type token.
        chain: the types of its parents and its own, joined by `$` as in its URN.
        name: the resource's name.
    """
    if kind := kubernetes_kind(type_):
        return _KUBERNETES.get(kind, "")
    if chain == _MINIKUBE and name.endswith("-machine"):
        return "the cluster and all that is in it"
    return _OTHERS.get(type_, "")

"""Each rule has something that keeps to it and something that breaks it."""

import copy
import json

import pytest

from components.choose import kubeflow_args
from components.kubeflow.component import planned
from components.kubeflow.manifests import resource_name, type_token
from components.settings import parse
from policy.exemptions import Exemption, exemptions
from policy.resource import Resource
from policy.rules import RULES, violations
from provider.values import UNKNOWN


def of(rule, resource, listed=()):
    return [message for found, message in violations(resource, listed) if found.name == rule]


def workload(kind="Deployment", **change):
    """A workload of one container that keeps to every rule; `change` is of its container."""
    container = {
        "name": "main",
        "image": "registry.example:5000/team/app:1.2.3",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **change,
    }
    pod = {"containers": [container], "volumes": [{"name": "a", "emptyDir": {}}]}
    body = {
        "apiVersion": "batch/v1" if kind in ("Job", "CronJob") else "apps/v1",
        "kind": kind,
        "metadata": {"name": "app", "namespace": "team"},
        "spec": {"template": {"spec": pod}},
    }
    if kind == "CronJob":
        body["spec"] = {"jobTemplate": {"spec": body["spec"]}}
    if kind == "Pod":
        body |= {"apiVersion": "v1", "spec": pod}
    version = body["apiVersion"] if "/" in body["apiVersion"] else "core/v1"
    return Resource(f"kubernetes:{version}:{kind}", "team/app", body)


def pod_with(**fields):
    resource = workload()
    body = copy.deepcopy(dict(resource.properties))
    body["spec"]["template"]["spec"] |= fields
    return Resource(resource.type, resource.name, body)


def security(**fields):
    own = workload().properties["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    return workload(securityContext={**own, **fields})


def other(type_, protect=False, **properties):
    return Resource(type_, "thing", properties, protect)


def kubernetes(kind, version="v1", **fields):
    body = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "thing", "namespace": "team", **fields.pop("metadata", {})},
        **fields,
    }
    token = version if "/" in version else f"core/{version}"
    return Resource(f"kubernetes:{token}:{kind}", "team/thing", body)


DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"]
)
def test_a_workload_that_keeps_to_all_rules(kind):
    assert list(violations(workload(kind), ())) == []
    assert of("fixed-images", workload(kind, image="nginx"))


# --- fixed-images -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    ["nginx:1.27", f"nginx{DIGEST}", f"nginx:latest{DIGEST}", "localhost:5000/a:v1", UNKNOWN],
)
def test_an_image_that_stays_the_same(image):
    assert of("fixed-images", workload(image=image)) == []


@pytest.mark.parametrize(
    "image", ["nginx", "nginx:latest", "localhost:5000/a", "registry.example/team/app:latest"]
)
def test_an_image_that_is_another_one_tomorrow(image):
    (message,) = of("fixed-images", workload(image=image))
    assert image in message


def test_images_of_init_containers_count():
    assert of("fixed-images", pod_with(initContainers=[{"name": "init", "image": "busybox"}]))


# --- pod-security -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resource",
    [
        workload(ports=[{"containerPort": 80}]),
        security(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        security(seccompProfile={"type": "Localhost", "localhostProfile": "a.json"}),
        pod_with(securityContext={"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}),
        pod_with(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "a"}}]),
        # A pod's own settings serve containers that set none.
        Resource(
            "kubernetes:core/v1:Pod",
            "a",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "image": "a:1",
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                },
            },
        ),
    ],
)
def test_a_restricted_pod(resource):
    assert of("pod-security", resource) == []


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        (pod_with(hostNetwork=True), "hostNetwork"),
        (pod_with(hostPID=True), "hostPID"),
        (pod_with(hostIPC=True), "hostIPC"),
        (pod_with(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), "hostPath"),
        (pod_with(volumes=[{"name": "a", "nfs": {"server": "a"}}]), "nfs"),
        (pod_with(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "kernel.msgmax"),
        (pod_with(securityContext={"runAsUser": 0}), "runAsUser is 0"),
        (workload(ports=[{"containerPort": 1, "hostPort": 80}]), "hostPort 80"),
        (workload(securityContext={}), "runAsNonRoot"),
        (security(privileged=True), "privileged"),
        (security(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
        (security(capabilities={}), "capabilities.drop"),
        (security(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "SYS_ADMIN"),
        (security(runAsNonRoot=False), "runAsNonRoot"),
        (security(runAsUser=0), "runAsUser is 0"),
        (security(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
        (security(procMount="Unmasked"), "procMount"),
        (security(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
        (security(appArmorProfile={"type": "Unconfined"}), "appArmorProfile"),
        (security(windowsOptions={"hostProcess": True}), "hostProcess"),
    ],
)
def test_a_pod_that_is_not_restricted(resource, problem):
    assert any(problem in message for message in of("pod-security", resource))


def test_an_exemption_is_of_one_rule_and_one_object():
    resource = security(privileged=True)
    place = {"kind": "Deployment", "namespace": "team", "name": "app", "reason": "a test"}
    listed = [Exemption(rule="pod-security", **place)]
    assert of("pod-security", resource, listed) == []
    assert of("pod-security", resource, [Exemption(rule="fixed-images", **place)])
    renamed = {**resource.properties, "metadata": {"name": "app-2", "namespace": "team"}}
    assert of("pod-security", Resource(resource.type, "x", renamed), listed)


# --- no-default-passwords ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "resource",
    [
        kubernetes("Secret", stringData={"password": "Zr9kq2LmT4x"}),
        kubernetes("Secret", stringData={"password": UNKNOWN}),
        kubernetes("ConfigMap", data={"user": "user@example.com"}),
        other("aws:rds/instance:Instance", password="Zr9kq2LmT4x"),
        other("aws:rds/instance:Instance", password=UNKNOWN),
        other("aws:rds/instance:Instance", manageMasterUserPassword=True),
    ],
)
def test_a_password_of_its_own(resource):
    assert of("no-default-passwords", resource) == []


@pytest.mark.parametrize(
    "resource",
    [
        kubernetes("Secret", stringData={"password": "12341234"}),
        kubernetes("Secret", data={"secretkey": "bWluaW8xMjM="}),
        kubernetes("Secret", stringData={"adminPassword": "changeme"}),
        kubernetes("ConfigMap", data={"config": "password: 12341234"}),
        workload(env=[{"name": "MYSQL_ALLOW_EMPTY_PASSWORD", "value": "true"}]),
        other("aws:rds/instance:Instance", password="admin"),
        other("aws:elasticache/replicationGroup:ReplicationGroup", authToken="Password"),
    ],
)
def test_a_password_that_anybody_knows(resource):
    assert of("no-default-passwords", resource)


# --- allow-lists ------------------------------------------------------------------------------

BALANCER = "service.beta.kubernetes.io/"


@pytest.mark.parametrize(
    "resource",
    [
        kubernetes("Service", spec={"type": "ClusterIP"}),
        kubernetes(
            "Service", spec={"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}
        ),
        kubernetes(
            "Service",
            spec={"type": "LoadBalancer"},
            metadata={"annotations": {f"{BALANCER}aws-load-balancer-scheme": "internal"}},
        ),
        kubernetes(
            "Service",
            spec={"type": "LoadBalancer"},
            metadata={"annotations": {f"{BALANCER}load-balancer-source-ranges": "10.0.0.0/8"}},
        ),
        other("aws:ec2/securityGroup:SecurityGroup", ingress=[{"cidrBlocks": ["10.0.0.0/8"]}]),
        other(
            "aws:ec2/securityGroupRule:SecurityGroupRule", type="egress", cidrBlocks=["0.0.0.0/0"]
        ),
        other(
            "aws:eks/cluster:Cluster",
            vpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]},
        ),
        other("aws:eks/cluster:Cluster", vpcConfig={"endpointPublicAccess": False}),
        other("aws:rds/instance:Instance", publiclyAccessible=False),
        other("aws:s3/bucket:Bucket", acl="private"),
        other(
            "aws:s3/bucketPolicy:BucketPolicy",
            policy=json.dumps(
                {
                    "Statement": [
                        {"Effect": "Deny", "Principal": "*"},
                        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}},
                    ]
                }
            ),
        ),
        other("aws:s3/bucketPolicy:BucketPolicy", policy=UNKNOWN),
    ],
)
def test_an_endpoint_with_an_allow_list(resource):
    assert of("allow-lists", resource) == []


@pytest.mark.parametrize(
    "resource",
    [
        kubernetes("Service", spec={"type": "LoadBalancer"}),
        kubernetes(
            "Service", spec={"type": "LoadBalancer", "loadBalancerSourceRanges": ["0.0.0.0/0"]}
        ),
        other("aws:ec2/securityGroup:SecurityGroup", ingress=[{"cidrBlocks": ["0.0.0.0/0"]}]),
        other("aws:ec2/securityGroup:SecurityGroup", ingress=[{"ipv6CidrBlocks": ["::/0"]}]),
        other(
            "aws:ec2/securityGroupRule:SecurityGroupRule", type="ingress", cidrBlocks=["0.0.0.0/0"]
        ),
        other("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", cidrIpv4="0.0.0.0/0"),
        other("aws:eks/cluster:Cluster", vpcConfig={}),
        other(
            "aws:eks/cluster:Cluster",
            vpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]},
        ),
        other("aws:rds/instance:Instance", publiclyAccessible=True),
        other("aws:s3/bucket:Bucket", acl="public-read"),
        other("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", blockPublicAcls=False),
        other(
            "aws:s3/bucketPolicy:BucketPolicy",
            policy=json.dumps({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]}),
        ),
    ],
)
def test_an_endpoint_that_the_whole_world_can_reach(resource):
    assert of("allow-lists", resource)


# --- protected-data ---------------------------------------------------------------------------


def stateful_set(**policy):
    spec = {"persistentVolumeClaimRetentionPolicy": policy} if policy else {}
    return kubernetes("StatefulSet", "apps/v1", spec=spec)


@pytest.mark.parametrize(
    "resource",
    [
        stateful_set(),
        stateful_set(whenDeleted="Retain", whenScaled="Retain"),
        other("kubernetes:core/v1:PersistentVolumeClaim", protect=True),
        other("aws:s3/bucket:Bucket", protect=True),
        other("aws:rds/instance:Instance", deletionProtection=True),
        other("aws:elasticache/replicationGroup:ReplicationGroup", finalSnapshotIdentifier="last"),
        other("aws:ec2/subnet:Subnet"),
    ],
)
def test_data_that_is_protected(resource):
    assert of("protected-data", resource) == []


@pytest.mark.parametrize(
    "resource",
    [
        stateful_set(whenDeleted="Delete"),
        stateful_set(whenScaled="Delete"),
        other("kubernetes:core/v1:PersistentVolumeClaim"),
        other("aws:s3/bucket:Bucket"),
        other("aws:rds/instance:Instance", deletionProtection=False),
        other("aws:rds/instance:Instance"),
        other("aws:efs/fileSystem:FileSystem"),
        other("aws:dynamodb/table:Table", deletionProtectionEnabled=False),
    ],
)
def test_data_that_one_slip_would_delete(resource):
    assert of("protected-data", resource)


# --- the platform -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resources(kubeflow_source):
    plan = planned(
        kubeflow_args(parse({"cluster": "sandbox", "kubeflowPath": str(kubeflow_source)}))
    )
    return [
        Resource(type_token(node.body), resource_name(node.ref), node.body)
        for node in plan.nodes
        if node.body
    ]


def test_kubeflow_breaks_no_rule_but_where_it_is_written(resources):
    found = [
        f"{rule.name} {resource.kind}/{resource.name}: {message}"
        for resource in resources
        for rule, message in violations(resource, exemptions())
    ]
    assert found == []


def test_every_exemption_is_needed(resources):
    broken = {
        (rule.name, resource.kind, resource.namespace, resource.object_name)
        for resource in resources
        for rule, _ in violations(resource, ())
    }
    listed = [
        (one.rule, one.kind, one.namespace, one.name)
        for one in exemptions()
        if "*" not in one.namespace + one.name
    ]
    assert len(set(listed)) == len(listed)
    assert set(listed) == broken
    assert {one.rule for one in exemptions()} <= {rule.name for rule in RULES}


def test_a_pattern_stands_for_the_names_that_a_setting_gives():
    claim = kubernetes("PersistentVolumeClaim")
    redis = {**claim.properties, "metadata": {"name": "data-redis-0", "namespace": "mine"}}
    assert of("protected-data", Resource(claim.type, "x", redis), exemptions()) == []
    assert of("protected-data", claim, exemptions())

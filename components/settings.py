"""The typed configuration of a stack, and the only reader of it.

`Pulumi.yaml` declares the same settings for the Pulumi CLI; a test holds the two together.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pulumi
import pulumi.runtime.config as runtime_config
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components.kubeflow import access
from components.kubeflow.sign_in import Client, SignIn, SignInError, user_problems
from components.kubeflow.sign_in import parse as parse_sign_in
from components.kubeflow.source import REPOSITORY
from components.problems import continued, told
from components.redis import images
from components.redis.topology import RedisTopology
from components.redis.topology import parse as parse_redis
from toolchain.environment import PROJECT_NAME

if TYPE_CHECKING:
    from components.aws.shape import Aws, Eks

ROOT = Path(__file__).resolve().parents[1]
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NAME = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
# Settings that belong to one kind of cluster, by the first word of their names.
_OWNERS = {
    "aws": "eks",
    "eks": "eks",
    "kube": "existing",
    "kubeconfig": "existing",
    "minikube": "minikube",
    "sandbox": "sandbox",
}
_OBJECT = re.compile(r"[A-Z]\w*(\.[-a-z0-9.]+)?(/[^/\s]+){1,2}")
_KUBERNETES = r"^v?1\.\d+\.\d+$"
SECRETS = (
    "userPassword",
    "oidcClientSecret",
    "redisBackupSecretKey",
    "redisLicence",
    "redisClusterPassword",
)
"""Settings that are only taken encrypted."""


class SettingsError(ValueError):
    """Settings that can't be used; a line for each names it, its value and what it may be."""


class Settings(BaseModel):
    """Every setting, validated whole before anything is created.

    In `Pulumi.<stack>.yaml` the names are in camel case, after the project's name and a colon.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )

    cluster: Literal["minikube", "existing", "sandbox", "eks"] = "minikube"
    """Where the platform runs."""

    kubeconfig: str = ""
    """existing: path of the kubeconfig; empty for $KUBECONFIG or else ~/.kube/config."""
    kube_context: str = ""
    """existing: context of the kubeconfig; empty for its current one."""

    minikube_profile: Annotated[str, Field(pattern=_NAME)] = "ml-platform"
    """minikube: name of the virtual machine or container and of the context."""
    minikube_driver: str = "auto"
    """minikube: docker, podman, kvm2, qemu2, vfkit, ... or auto for the first one that is there."""
    minikube_nodes: Annotated[int, Field(ge=1, le=10)] = 1
    """minikube: number of nodes."""
    minikube_cpus: Annotated[int, Field(ge=2, le=256)] = 8
    """minikube: CPUs of each node."""
    minikube_memory: Annotated[int, Field(ge=2048)] = 16384
    """minikube: memory of each node in MiB."""
    minikube_disk: Annotated[int, Field(ge=20)] = 60
    """minikube: disk of each node in GiB."""
    minikube_kubernetes_version: Annotated[str, Field(pattern=_KUBERNETES)] = "v1.34.4"
    """minikube: version of Kubernetes."""
    minikube_container_runtime: Literal["containerd", "docker", "cri-o"] = "containerd"
    """minikube: what runs the containers: containerd, docker or cri-o."""
    minikube_allow_data_loss: bool = False
    """minikube: whether a change may delete the cluster, and its data, to make it anew."""
    minikube_running: bool = True
    """minikube: false stops the cluster and keeps its data."""

    aws_region: str = ""
    """eks: region of AWS, like eu-central-1."""
    aws_account: str = ""
    """eks: number of the account, another one is refused; empty for the credentials' own."""
    aws_profile: str = ""
    """eks: profile of the AWS configuration; empty for the environment's credentials."""
    aws_tags: tuple[str, ...] = ()
    """eks: tags of everything on AWS, `key=value` each."""
    aws_zones: int = 3
    """eks: availability zones of the network, 2 or 3."""
    aws_nat: Literal["single", "per-zone"] = "single"
    """eks: NAT gateways: single, or per-zone, which a zone's failure leaves working."""
    aws_vpc_cidr: str = "10.0.0.0/16"
    """eks: addresses of the network, a private range between /16 and /20."""
    aws_vpc: str = ""
    """eks: id of an existing VPC; empty makes one."""
    aws_private_subnets: tuple[str, ...] = ()
    """eks: ids of private subnets of awsVpc, in two zones or more."""
    aws_public_subnets: tuple[str, ...] = ()
    """eks: ids of public subnets of awsVpc, for an entry from the internet."""
    aws_entry: Literal["internal", "internet"] = "internal"
    """eks: where load balancers are reached from: internal (the network) or internet."""
    aws_domain: str = ""
    """eks: the gateway's name in DNS, which is given a certificate and a record; empty for none."""
    aws_hosted_zone: str = ""
    """eks: zone of Route 53 that awsDomain is in."""
    aws_entry_cidrs: tuple[str, ...] = ()
    """eks: networks that may reach the entry; empty for awsVpcCidr, if the entry is internal."""
    aws_sign_in: Literal["dex", "cognito"] = "dex"
    """eks: who has the users: dex (as signIn says), or cognito, a user pool that Dex asks."""
    aws_sign_in_mfa: Literal["off", "optional", "required"] = "optional"
    """eks, cognito: a second factor, by an app's codes: off, optional or required."""
    aws_sign_in_prefix: str = ""
    """eks, cognito: first part of the sign-in page's host; empty for eksName and the account."""
    aws_efs: bool = False
    """eks: whether there is a StorageClass `efs`, of volumes that many pods write (Amazon EFS)."""
    aws_api_hosts: tuple[str, ...] = ()
    """eks: hosts of gatewayRoutes that Amazon API Gateway makes public, each as an HTTP API."""
    aws_artifact_profiles: tuple[str, ...] = ()
    """eks: Kubeflow profiles whose pipelines keep artefacts in S3; of others they are in MinIO."""
    aws_database_type: str = ""
    """eks: type of an RDS for pipelines' metadata, like db.t4g.medium; empty: in the cluster."""
    aws_database_standby: bool = False
    """eks: whether that RDS has a copy in another zone, which takes over."""
    aws_database_storage: int = 20
    """eks: storage of that RDS in GiB, to begin with; it may grow to five times as much."""
    aws_edge: Literal["none", "cloudfront"] = "none"
    """eks: what is before the entry: none, or cloudfront with AWS WAF, for awsEntryCidrs."""
    aws_edge_rate: int = 10000
    """eks: requests of one address in 5 minutes, above which awsEdge refuses it."""
    aws_protect: bool = True
    """eks: whether what holds data is kept from deletion: false, and an `up`, before `destroy`."""
    aws_preflight: bool = True
    """eks: whether account, region, quotas and permissions are checked before anything is made."""
    aws_budget: int = 0
    """eks: USD a month at which awsBudgetEmail is warned; 0 for no budget."""
    aws_budget_email: str = ""
    """eks: e-mail address that the budget warns."""
    eks_name: str = "ml-platform"
    """eks: name of the cluster, with which the names of all its resources begin."""
    eks_version: str = "1.34"
    """eks: minor version of Kubernetes; add-ons are pinned for it."""
    eks_public_cidrs: tuple[str, ...] = ()
    """eks: networks that may reach the API server from the internet; empty leaves it private."""
    eks_admins: tuple[str, ...] = ()
    """eks: ARNs of roles and users who administer the cluster, besides who made it."""
    eks_log_days: int = 90
    """eks: days that logs of the control plane are kept: 30, 60, 90, 180 or 365."""
    eks_node_types: tuple[str, ...] = ("m6i.2xlarge",)
    """eks: types of instances of the nodes, any of which may be taken."""
    eks_nodes_min: int = 3
    """eks: nodes at all times."""
    eks_nodes_max: int = 6
    """eks: most nodes that the autoscaler may make."""
    eks_node_disk: int = 100
    """eks: disk of each node in GiB."""
    eks_spot_types: tuple[str, ...] = ()
    """eks: types of spot instances; empty for none."""
    eks_spot_max: int = 4
    """eks: most spot nodes."""
    eks_gpu_types: tuple[str, ...] = ()
    """eks: types of instances with NVIDIA GPUs; empty for none."""
    eks_gpu_max: int = 2
    """eks: most nodes with GPUs."""

    sandbox_name: Annotated[str, Field(pattern=_NAME)] = "default"
    """sandbox: which of the embedded control planes on this machine."""
    sandbox_data: str = ""
    """sandbox: folder that holds all of it; empty for the one that its name gives."""

    kubeflow_ref: str = "v1.10.2"
    """Tag, branch or commit of kubeflow/manifests; kubeflow.lock.json pins its content."""
    kubeflow_repository: str = REPOSITORY
    """Git repository of the manifests."""
    kubeflow_path: str = ""
    """Folder with the manifests, instead of repository and ref; relative to the project."""
    kubeflow_components: tuple[str, ...] = ()
    """Components by name, with what they need; empty for the whole platform."""
    kubeflow_patches: tuple[str, ...] = ()
    """Kustomize patches: files, or folders of kustomize Components; relative to the project."""
    kubeflow_transforms: tuple[str, ...] = ()
    """Python functions from object to object (or None to drop it): `path/to/file.py:function`."""
    kubeflow_allow_deletion: tuple[str, ...] = ()
    """Objects that an update may delete with what they hold: `Kind/namespace/name` each."""

    redis_topology: Literal["none", "standalone", "replicated", "sharded", "active-active"] = "none"
    """Redis: none, standalone, replicated (Sentinel), sharded (Cluster) or active-active."""
    redis_namespace: str = "redis"
    """Redis: its namespace."""
    redis_version: str = images.DEFAULT_REDIS
    """Redis: version of the image, one of components/redis/images.py."""
    redis_memory: int = 0
    """Redis: limit of each Redis in MiB; 0 for 1024, of active-active for 4096."""
    redis_cpus: int = 1
    """Redis: CPUs of each Redis; I/O threads follow from them."""
    redis_maxmemory: int = 0
    """Redis: memory for data in MiB; 0 derives it from redisMemory, with headroom."""
    redis_persistence: Literal["none", "rdb", "aof"] = "aof"
    """Redis: none, rdb (snapshots) or aof (append-only log, synced each second)."""
    redis_storage: int = 8
    """Redis: volume of each Redis in GiB; it can grow in place."""
    redis_storage_class: str = ""
    """Redis: StorageClass of the volumes; empty for the cluster's default."""
    redis_eviction_policy: str = "noeviction"
    """Redis: what is evicted when memory for data is full, as `maxmemory-policy` of redis.conf."""
    redis_clients: tuple[str, ...] = ()
    """Redis: who may connect: `namespace`, `namespace/label=value,...`, or `*` for everybody."""
    redis_monitors: tuple[str, ...] = ("monitoring",)
    """Redis: who may read its metrics, in the form of redisClients."""
    redis_profiles: tuple[str, ...] = ()
    """Redis: Kubeflow profiles whose notebooks and pipelines get its address and a password."""
    redis_replicas: int = 0
    """Redis: copies of each master; 0 for 2, of sharded for 1."""
    redis_proxies: int = 2
    """Redis: pods of the entry proxy."""
    redis_min_replicas_to_write: int = -1
    """Redis: a master with fewer replicas in reach refuses writes; -1 for half, 0 for never."""
    redis_max_lag: int = 3
    """Redis: seconds without a sign after which a replica is not in reach."""
    redis_read_lag: int = 10
    """Redis: seconds without a sign of its master after which a replica is not read."""
    redis_sentinels: int = 3
    """Redis, replicated: number of Sentinels, 3 or more, odd."""
    redis_quorum: int = 0
    """Redis, replicated: Sentinels that must find the master dead; 0 for a majority."""
    redis_down_after: int = 5000
    """Redis, replicated: milliseconds of silence after which a Sentinel finds the master dead."""
    redis_shards: int = 3
    """Redis, sharded: number of shards, 3 or more; can be changed up and down."""
    redis_node_timeout: int = 5000
    """Redis, sharded: milliseconds of silence after which a node counts as failing."""
    redis_nodes: int = 3
    """Redis, active-active: pods of the Redis Enterprise cluster, odd."""
    redis_place: str = ""
    """Redis, active-active: this place, `name=FQDN of its API`."""
    redis_peers: tuple[str, ...] = ()
    """Redis, active-active: the other places, `name=FQDN of its API`."""
    redis_cluster_password: str = Field(default="", repr=False)
    """Redis, active-active: by which places administer each other; one for all (secret)."""
    redis_licence: str = Field(default="", repr=False)
    """Redis, active-active: the licence of Redis Enterprise, its text (secret)."""
    redis_backup_url: str = ""
    """Redis: where backups go, `s3://bucket/prefix`; empty for no backups."""
    redis_backup_endpoint: str = ""
    """Redis: endpoint of the S3-compatible storage; empty for Amazon S3."""
    redis_backup_schedule: str = "0 3 * * *"
    """Redis: when backups are made, a cron line in UTC."""
    redis_backup_access_key: str = ""
    """Redis: access key of the storage."""
    redis_backup_secret_key: str = Field(default="", repr=False)
    """Redis: secret key of the storage (secret)."""
    redis_restore_backup: str = ""
    """Redis: name of the backup to restore, or `latest`; empty for none."""
    redis_restore_overwrite: bool = False
    """Redis: whether a restore may replace keys that are there."""
    redis_prometheus_operator: bool = False
    """Redis: whether scraping and alerts are objects of the Prometheus Operator."""
    redis_allow_data_loss: bool = False
    """Redis: whether a change may lose data."""
    redis_provider: Literal["cluster", "aws"] = "cluster"
    """Redis: where it runs: in the cluster, or as a service of AWS, beside the cluster eks."""
    redis_engine: str = "valkey"
    """Redis at AWS: valkey or redis."""
    redis_engine_version: str = ""
    """Redis at AWS: version of the engine; empty for a newer one that is a while old."""
    redis_node_type: str = ""
    """Redis at AWS: type of its nodes; empty for the smallest of redisMemory and redisCpus."""
    redis_snapshot_days: int = 7
    """Redis at AWS: days that daily snapshots are kept."""
    redis_snapshot_window: str = "03:00-04:00"
    """Redis at AWS: when the daily snapshot is made, in UTC."""
    redis_maintenance_window: str = "sun:05:00-sun:06:00"
    """Redis at AWS: when the service may patch nodes, in UTC."""
    redis_snapshot: str = ""
    """Redis at AWS: name of a snapshot to start from; a change of it makes Redis anew."""
    redis_alarm_topic: str = ""
    """Redis at AWS: ARN of the SNS topic of its alarms; empty for alarms that are only seen."""
    redis_multi_region: str = ""
    """Redis at AWS, active-active: multi-region cluster to join; empty makes one."""

    gateway: Literal["none", "nginx", "kong"] = "none"
    """Gateway: none, nginx (F5 NGINX Ingress Controller) or kong."""
    gateway_routes: str = ""
    """Gateway: YAML file of its routes; relative to the project."""
    gateway_host: str = "kubeflow.localhost"
    """Gateway: host name of the dashboard; empty to leave the dashboard out."""
    gateway_tls_secret: str = ""
    """Gateway: Secret with the dashboard's certificate, in the gateway's namespace."""
    gateway_acme_email: str = ""
    """Gateway: account for the dashboard's certificate by Let's Encrypt; empty for an own CA."""
    gateway_redis_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Gateway: port at which Redis is reached, with its own TLS; 0 for none."""
    gateway_replicas: Annotated[int, Field(ge=0, le=100)] = 0
    """Gateway: number of pods; 0 for 2, and for 1 on a minikube of one node."""
    gateway_monitors: tuple[str, ...] = ("monitoring",)
    """Gateway: namespaces that may read its metrics."""
    gateway_ref: str = ""
    """Gateway: tag, branch or commit of its manifests; empty for the release that was tested."""
    gateway_repository: str = ""
    """Gateway: git repository of its manifests; empty for upstream's."""
    gateway_path: str = ""
    """Gateway: folder with its manifests, instead of a git ref; relative to the project."""
    gateway_definitions_path: str = ""
    """Gateway, kong: folder with kubernetes-configuration and gateway-api, instead of git refs."""

    user_email: str = access.DEFAULT_EMAIL
    """E-mail address with which the first user signs in."""
    user_password: str = Field(default="", repr=False)
    """Password of the first user (secret); generated once when it is empty."""
    sign_in: Literal["password", "oidc"] = "password"
    """Who signs people in: password (Dex, with one user), or oidc, a provider that Dex asks."""
    sign_in_url: str = ""
    """oidc: the platform in browsers, `https://host`; empty for the gateway or the port-forward."""
    oidc_issuer: str = ""
    """oidc: the provider, an issuer of OpenID Connect, like https://accounts.example.com."""
    oidc_client_id: str = ""
    """oidc: the id under which the provider knows the platform."""
    oidc_client_secret: str = Field(default="", repr=False)
    """oidc: the secret to that id (secret)."""
    oidc_domains: tuple[str, ...] = ()
    """oidc: domains of e-mail addresses that may enter; `*` is everybody of the provider."""
    oidc_groups: tuple[str, ...] = ()
    """oidc: groups whose members may enter; empty for all."""
    oidc_groups_claim: str = "groups"
    """oidc: the claim of the provider's tokens that has the groups."""
    oidc_scopes: tuple[str, ...] = ("profile", "email")
    """oidc: scopes asked of the provider, besides openid."""
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Local port at which the dashboard is reached through `kubectl port-forward`."""
    policy_level: Literal["off", "advisory", "mandatory"] = "advisory"
    """What a violated policy does: off, advisory (it is told) or mandatory (it fails)."""
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)] = 30
    """How long one object may take to become ready, in minutes."""

    @field_validator("user_email")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not _EMAIL.fullmatch(value):
            raise ValueError("give an e-mail address, like name@example.com")
        return value

    @field_validator("user_password")
    @classmethod
    def _is_usable(cls, value: str) -> str:
        if value:
            access.check_password(value)
        return value

    @field_validator("kubeflow_transforms")
    @classmethod
    def _name_functions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not re.fullmatch(r".+\.py:[A-Za-z_]\w*", entry):
                raise ValueError(f"{entry!r} is not of the form path/to/file.py:function")
        return value

    @field_validator("kubeflow_allow_deletion")
    @classmethod
    def _name_objects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not _OBJECT.fullmatch(entry):
                raise ValueError(
                    f"{entry!r} is not of the form Kind/namespace/name, or Kind/name where there "
                    "is no namespace, like PersistentVolumeClaim/kubeflow/mysql-pv-claim"
                )
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        for name in Settings.model_fields:
            owner = _OWNERS.get(name.split("_")[0])
            if owner is None or owner == self.cluster:
                continue
            default = Settings.model_fields[name].default
            if name in self.model_fields_set and getattr(self, name) != default:
                raise ValueError(
                    f"{to_camel(name)} is set, but the cluster is {self.cluster!r}, "
                    "which does not use it; remove it, or set cluster"
                )
        return self

    @model_validator(mode="after")
    def _is_aws(self) -> Self:
        self.aws()
        return self

    @model_validator(mode="after")
    def _is_sign_in(self) -> Self:
        self.signs_in()
        return self

    @model_validator(mode="after")
    def _is_redis(self) -> Self:
        self.redis()
        if self.redis_provider != "cluster" and self.gateway_redis_port:
            raise ValueError(
                f"gatewayRedisPort is {self.gateway_redis_port}, but redisProvider is "
                f"{self.redis_provider!r}: the gateway leads to Redis in a cluster only; remove it"
            )
        return self

    @model_validator(mode="after")
    def _is_gateway(self) -> Self:
        changed = [
            to_camel(name)
            for name, field in Settings.model_fields.items()
            if name.startswith("gateway_") and getattr(self, name) != field.default
        ]
        if self.gateway == "none" and changed:
            raise ValueError(
                f"{', '.join(changed)} is set, but gateway is 'none', which does not use it; "
                "remove it, or set gateway"
            )
        if self.gateway_tls_secret and self.gateway_acme_email:
            raise ValueError(
                f"gatewayTlsSecret is {self.gateway_tls_secret!r} and gatewayAcmeEmail is "
                f"{self.gateway_acme_email!r}: the dashboard has one certificate; remove one"
            )
        _ = self.routes
        return self

    @functools.cached_property
    def routes(self) -> dict[str, Any]:
        """The content of `gateway_routes`; empty without one.

        Raises:
            components.gateway.routes.RoutesError: a line for everything that can't be used.
        """
        if not self.gateway_routes:
            return {}
        # A stack without routes does not pay for their model.
        from components.gateway.create import read

        return read(in_project(self.gateway_routes))

    def aws(self) -> tuple[Aws, Eks] | None:
        """The AWS stack that the settings ask for; None if the cluster is not on EKS.

        Raises:
            components.aws.shape.ShapeError: a line for every setting that can't be used.
        """
        if self.cluster != "eks":
            return None
        # Other stacks do not pay for its model.
        from components.aws.shape import parse as parse_aws

        given = {
            prefix: {
                to_camel(name): getattr(self, name)
                for name, field in Settings.model_fields.items()
                if name.startswith(prefix) and getattr(self, name) != field.default
            }
            for prefix in ("aws_", "eks_")
        }
        aws, eks = parse_aws(given["aws_"], given["eks_"], self.kubeflow_ref)
        if aws.domain and self.gateway == "none":
            raise ValueError(
                f"awsDomain is {aws.domain!r}, but gateway is 'none'; set gateway, which it names"
            )
        if aws.domain and self.gateway_host != aws.domain:
            raise ValueError(
                f"gatewayHost is {self.gateway_host!r}, but awsDomain is {aws.domain!r}; "
                "they name the same, so set gatewayHost to it"
            )
        return aws, eks

    def signs_in(self) -> SignIn | None:
        """Sign-in by a provider, without its client; None for passwords of Dex's own.

        Raises:
            components.kubeflow.sign_in.SignInError: a line for every setting that can't be used.
        """
        cognito = self.aws_sign_in == "cognito"
        why = "awsSignIn is 'cognito'" if cognito else f"signIn is {self.sign_in!r}"
        changed = [
            to_camel(name)
            for name, field in Settings.model_fields.items()
            if name.startswith(("oidc_", "sign_in")) and getattr(self, name) != field.default
        ]
        if changed and (cognito or self.sign_in == "password"):
            raise SignInError(
                f"{', '.join(changed)} is set, but {why}, which does not use it; remove it, or "
                f"set {'awsSignIn' if cognito else 'signIn'}"
            )
        if self.sign_in == "password" and not cognito:
            return None
        lines = user_problems(why, self.user_email, access.DEFAULT_EMAIL, self.user_password)
        found = SignIn(self._entry_url())
        if not cognito:
            try:
                found = parse_sign_in(
                    found.url,
                    self.user_email,
                    self.oidc_client,
                    self.oidc_scopes,
                    self.oidc_domains,
                    self.oidc_groups,
                    self.oidc_groups_claim,
                )
            except SignInError as error:
                lines.append(str(error))
        if lines:
            raise SignInError("\n".join(lines))
        return found

    @property
    def oidc_client(self) -> Client:
        """The platform as the provider of `signIn: oidc` knows it."""
        return Client(self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret)

    def _entry_url(self) -> str:
        """Where browsers reach the dashboard."""
        if self.sign_in_url:
            return self.sign_in_url
        if self.gateway == "none" or not self.gateway_host:
            return access.dashboard_url(self.dashboard_port)
        # Other stacks do not pay for its model.
        from components.gateway.component import url_of

        return url_of(self.gateway_host, self.cluster == "eks")

    def redis(self) -> RedisTopology | None:
        """The Redis that the settings ask for; None for none. What is not set is its topology's.

        Raises:
            components.redis.topology.TopologyError: a line for every setting that can't be used.
        """
        values = {
            to_camel(name): getattr(self, name)
            for name, field in Settings.model_fields.items()
            if name.startswith("redis_") and getattr(self, name) != field.default
        }
        if self.redis_provider == "cluster":
            return parse_redis(values)
        if self.cluster != "eks":
            raise ValueError(
                f"redisProvider is {self.redis_provider!r}, but the cluster is {self.cluster!r}; "
                "set cluster to eks, in whose network it is, or remove redisProvider"
            )
        # Other stacks do not pay for its model.
        from components.redis.managed import KINDS, identifier

        found = parse_redis(values, KINDS)
        if found is not None:
            identifier(self.eks_name, found)
        return found

    def kubeconfig_path(self, environ: Mapping[str, str] = os.environ) -> Path:
        """The kubeconfig of an existing cluster: the setting, $KUBECONFIG, or ~/.kube/config."""
        chosen = self.kubeconfig or environ.get("KUBECONFIG") or "~/.kube/config"
        return in_project(chosen.split(os.pathsep)[0])


def in_project(path: str) -> Path:
    """A path of a setting: relative ones start at the project's folder."""
    return ROOT / Path(path).expanduser()


def parse(values: Mapping[str, Any]) -> Settings:
    """Settings from names in camel case to JSON values.

    Raises:
        SettingsError: one line for every setting that can't be used.
    """
    try:
        return Settings.model_validate_json(json.dumps(dict(values)))
    except ValidationError as error:
        lines = [_line(values, problem) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def load() -> Settings:
    """The settings of the stack whose program this is.

    Raises:
        SettingsError: as `parse`, or a value that is not of its type.
    """
    config = pulumi.Config(PROJECT_NAME)
    values = {key: _value(key, config.require(key)) for key in _configured()}
    settings = parse(values)
    # The file of a stack has it encrypted: who only reads the file does not have it.
    if settings.sign_in == "oidc" and not settings.oidc_client_secret:
        raise SettingsError(
            "oidcClientSecret is empty; set it: pulumi config set --secret oidcClientSecret"
        )
    # A declared secret can't have a default, so Pulumi.yaml can't ask for this.
    for name in SECRETS:
        given = values.get(name)
        if given and not runtime_config.is_config_secret(f"{PROJECT_NAME}:{name}"):
            raise SettingsError(
                f"{name} is in plain text; encrypt it: pulumi config set --secret {name}"
            )
    return settings


def of_stack(name: str) -> dict[str, Any]:
    """What the file of a stack sets, by name in camel case; encrypted values are left out.

    Raises:
        SettingsError: there is no such file, or it is not YAML.
    """
    file = ROOT / f"Pulumi.{name}.yaml"
    try:
        document = yaml.safe_load(file.read_text()) or {}
    except OSError:
        stacks = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
        raise SettingsError(f"there is no {file}; stacks: {', '.join(stacks)}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from None
    prefix = f"{PROJECT_NAME}:"
    return {
        key.removeprefix(prefix): value
        for key, value in (document.get("config") or {}).items()
        if key.startswith(prefix) and not (isinstance(value, dict) and "secure" in value)
    }


def with_overrides(values: Mapping[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """Settings with those of a command line, SETTING=VALUE each, on top.

    Raises:
        SettingsError: an entry without "=".
    """
    result = dict(values)
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator:
            raise SettingsError(f"--set {entry}: give SETTING=VALUE, like kubeflowRef=v1.10.2")
        result[name] = _value(name, value)
    return result


def _configured() -> list[str]:
    """Names of the project's settings that have a value."""
    known = runtime_config.CONFIG.get() or runtime_config.get_config_env()
    prefix = f"{PROJECT_NAME}:"
    return sorted(key.removeprefix(prefix) for key in known if key.startswith(prefix))


def _value(name: str, text: str) -> Any:  # noqa: ANN401
    """The JSON value of a setting's text; Pulumi hands over every value as text."""
    field = _FIELDS.get(name)
    if field is None or field.annotation is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


_FIELDS = {field.alias or "": field for field in Settings.model_fields.values()}


def _line(values: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    path = problem["loc"]
    if not path:
        return told(problem)
    name = str(path[0])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{name} is not a setting{hint} Settings: {', '.join(sorted(_FIELDS))}"
    shown = "a secret" if name in SECRETS else repr(values.get(name))
    return f"{name} is {shown}: {continued(problem)}"

"""What the component of every topology has: its outputs, its access, its guard, its namespace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pulumi

from components import certificates
from components.cluster.base import Cluster
from components.kubeflow.manifests import FIELD_MANAGER, type_token
from components.platform_provider import RedisAccess
from components.platform_provider import RedisTopology as Guard
from components.redis import access, config, names, parts
from components.redis.topology import TOPOLOGIES, RedisTopology

_TYPE: Final = "mlplatform:redis:{}"
_TIMEOUT: Final = "15m"
_UNIT_SEPARATOR: Final = "\0"
_SERVICES: Final = ("ElastiCache", "MemoryDb")
"""Components of Redis as a service of AWS."""


class Installation(pulumi.ComponentResource):
    """Redis, wherever it runs: what a stack exports, and what a Kubeflow profile is given.

    Whatever the topology, the same names: clients stay as they are when it changes. Nothing is made
    or changed before `guard`, see below, has passed.
    """

    write_endpoint: pulumi.Input[str]
    """host:port of TLS, always of a master."""
    read_endpoint: pulumi.Input[str]
    """host:port of TLS, balanced over what may be read."""
    write_uri: pulumi.Output[str]
    """Connection URI of the user `app`; a secret."""
    read_uri: pulumi.Output[str]
    """Connection URI of the user `reader`; a secret."""
    metrics_endpoint: str
    """URL of metrics: of Prometheus metrics, or of the console that shows them."""
    ca_certificate: pulumi.Output[str]
    """PEM of the authority that servers are checked against; no secret."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: RedisTopology,
        guard: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        # Another topology changes what is there: the same objects, under another component.
        former = [
            pulumi.Alias(type_=_TYPE.format(other))
            for other in (*(kind.__name__ for kind in TOPOLOGIES.values()), *_SERVICES)
            if other != type(self).__name__
        ]
        super().__init__(
            _TYPE.format(type(self).__name__),
            name,
            None,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=former)),
        )
        self.cluster = cluster
        self.topology = topology
        self.access = RedisAccess(
            f"{name}-access",
            installation=topology.namespace,
            names=names.certificate_names(topology.namespace),
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=cluster.platform,
                deleted_with=cluster.deleted_with,
                depends_on=[guard],
            ),
        )
        self._first: pulumi.Resource = guard

    def add(self, body: Mapping[str, Any], *needs: pulumi.Resource) -> pulumi.Resource:
        """Register an object; it is made after `needs`, and after the namespace and the guard."""
        metadata = dict(body["metadata"])
        # As of Kubeflow's objects: one manager for good, that puts back what somebody edited.
        added = {
            "pulumi.com/patchFieldManager": FIELD_MANAGER,
            "pulumi.com/patchForce": "true",
        }
        if body["kind"] in ("Service", "PersistentVolumeClaim"):
            # Pods come after their Service, and a volume may be bound when its pod is placed.
            added["pulumi.com/skipAwait"] = "true"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **added}
        namespace = metadata.get("namespace")
        properties = {**body, "metadata": metadata}
        if body["kind"] == "Secret":
            hidden = {key: pulumi.Output.secret(value) for key, value in body["stringData"].items()}
            properties["stringData"] = hidden
        return pulumi.CustomResource(
            type_token(body),
            f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"]),
            properties,
            pulumi.ResourceOptions(
                parent=self,
                provider=self.cluster.provider,
                deleted_with=self.cluster.deleted_with,
                depends_on=[self._first, *needs],
                custom_timeouts=pulumi.CustomTimeouts(
                    create=_TIMEOUT, update=_TIMEOUT, delete=_TIMEOUT
                ),
            ),
        )

    def add_all(
        self, bodies: Sequence[Mapping[str, Any]], *needs: pulumi.Resource
    ) -> list[pulumi.Resource]:
        """`add` each."""
        return [self.add(body, *needs) for body in bodies]

    @property
    def outputs(self) -> dict[str, pulumi.Input[str]]:
        """What a stack exports: the same names in every topology; URIs are secrets."""
        return {
            "redisWriteEndpoint": self.write_endpoint,
            "redisReadEndpoint": self.read_endpoint,
            "redisWriteUri": self.write_uri,
            "redisReadUri": self.read_uri,
            "redisMetricsEndpoint": self.metrics_endpoint,
            "redisCaCertificate": self.ca_certificate,
        }

    def finish(self) -> None:
        """Tell the engine that everything is registered."""
        self.register_outputs(self.outputs)

    def login(self, user: str) -> str:
        """The name by which a user of `access.USERS` signs in."""
        return user

    def _uri(self, user: str, endpoint: pulumi.Input[str]) -> pulumi.Output[str]:
        password = getattr(self.access, access.password_field(user))
        # Not `concat`, which fails where a refresh has no password yet.
        return pulumi.Output.secret(
            pulumi.Output.all(password, endpoint).apply(
                lambda both: f"rediss://{self.login(user)}:{both[0]}@{both[1]}/0"
            )
        )


class Redis(Installation):
    """A Redis installation on a cluster. Each topology is a subclass that adds its workloads."""

    write_endpoint: str
    read_endpoint: str
    members: list[list[str]]
    """DNS names of the pods of each shard; one shard without sharding, none of an operator's."""
    ready: pulumi.Resource
    """Once it is made, Redis takes writes."""
    basis: tuple[pulumi.Resource, ...]
    """What every pod needs: account, TLS, access, and who may connect to it."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: RedisTopology,
        guard: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster, topology, guard, opts)
        namespace = topology.namespace
        self._first = self.add(parts.namespace(namespace, topology.pod_security))
        self.account = self.add(parts.service_account(namespace))
        self.policies = [self.add(body) for body in parts.network_policies(topology)]
        self.tls = self.add(
            parts.secret(
                names.TLS,
                namespace,
                {
                    "ca.crt": self.access.ca_certificate,
                    "tls.crt": self.access.certificate,
                    "tls.key": self.access.key,
                },
            )
        )
        self.users = self.add(parts.secret(names.ACCESS, namespace, self._users()))
        self.basis = (self.account, self.tls, self.users, *self.policies)

        write, read = (names.service_host(s, namespace) for s in (names.WRITE, names.READ))
        self.write_endpoint = f"{write}:{names.REDIS_PORT}"
        self.read_endpoint = f"{read}:{names.REDIS_PORT}"
        self.write_uri = self._uri("app", self.write_endpoint)
        self.read_uri = self._uri("reader", self.read_endpoint)
        metrics = names.service_host(names.METRICS, namespace)
        self.metrics_endpoint = f"http://{metrics}:{names.EXPORTER_PORT}/metrics"
        self.ca_certificate = pulumi.Output.unsecret(self.access.ca_certificate)

    def annotations(self, plain: Mapping[str, str]) -> dict[str, Any]:
        """Digests of what a pod reads at its start: of plain files, and of access."""
        made = [
            getattr(self.access, name)
            for name in access.FIELDS
            if name != certificates.AUTHORITY_KEY
        ]
        return {
            "ml-platform/config": digest([json.dumps(dict(plain), sort_keys=True)]),
            "ml-platform/credentials": pulumi.Output.unsecret(
                pulumi.Output.all(*made).apply(digest)
            ),
        }

    def _users(self) -> dict[str, pulumi.Output[str]]:
        """Files of the Secret `redis-access`."""
        passwords = {
            user: getattr(self.access, access.password_field(user)) for user in access.USERS
        }
        known = pulumi.Output.all(**passwords)
        return {
            **passwords,
            config.USERS_FILE: known.apply(_when_known(access.acl)),
            config.SENTINEL_USERS_FILE: known.apply(_when_known(access.sentinel_acl)),
            config.REPLICA_FILE: self.access.replica_password.apply(
                lambda password: f"masteruser replica\nmasterauth {password}\n"
            ),
        }


def guard(
    name: str,
    cluster: Cluster,
    topology: RedisTopology | None,
    *,
    allow_data_loss: bool,
    opts: pulumi.ResourceOptions | None = None,
) -> Guard:
    """The guard of Redis's data: every stack has one, also a stack without Redis."""
    shape = {"topology": "none"} if topology is None else topology.shape()
    own = pulumi.ResourceOptions(provider=cluster.platform, deleted_with=cluster.deleted_with)
    return Guard(
        name,
        shape=shape,
        allow_data_loss=allow_data_loss,
        opts=pulumi.ResourceOptions.merge(opts, own),
    )


def _when_known(
    make: Callable[[Mapping[str, str]], str],
) -> Callable[[Mapping[str, str]], str]:
    """A refresh that runs the program has no values for what isn't in the state yet."""
    return lambda values: "" if None in values.values() else make(values)


def digest(values: Sequence[Any]) -> str:
    """A short digest: 16 hexadecimal digits. "" while a value is missing, as in a refresh."""
    if None in values:
        return ""
    return hashlib.sha256(_UNIT_SEPARATOR.join(values).encode()).hexdigest()[:16]

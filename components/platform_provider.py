"""Resources of the provider plugin `pulumi-resource-mlplatform`, which is in provider/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi


class Provider(pulumi.ProviderResource):
    """The plugin, connected to one cluster.

    Args:
        kubeconfig: contents of a kubeconfig with one context; kept as a secret.
        cluster_identifier: while it stays the same, a changed kubeconfig replaces nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: pulumi.Input[str],
        cluster_identifier: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "kubeconfig": pulumi.Output.secret(kubeconfig),
            "clusterIdentifier": cluster_identifier,
        }
        super().__init__("mlplatform", name, properties, opts)


class CustomResourceDefinition(pulumi.CustomResource):
    """A CustomResourceDefinition of which the state holds a digest instead of the schemas.

    Created once every version is served. Its body is `<hex>.json` in the folder `store`; `digest`
    is "sha256:<hex>"; `summary` is what a person should see of it in a diff.
    """

    def __init__(
        self,
        name: str,
        *,
        manifest_name: str,
        digest: str,
        store: str,
        summary: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "name": manifest_name,
            "digest": digest,
            "store": store,
            "summary": dict(summary),
        }
        super().__init__("mlplatform:kubernetes:CustomResourceDefinition", name, properties, opts)


class AdmissionReady(pulumi.CustomResource):
    """A gate that is passed once admission webhooks answer.

    `webhooks` are {configuration: "<kind>/<name>", webhook: "<name>"}; `probes` are objects that
    they admit, sent to the API server as dry runs.
    """

    def __init__(
        self,
        name: str,
        *,
        webhooks: Sequence[Mapping[str, str]],
        probes: Sequence[Mapping[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"webhooks": list(webhooks), "probes": list(probes)}
        super().__init__("mlplatform:kubernetes:AdmissionReady", name, properties, opts)


class CloudReleased(pulumi.CustomResource):
    """A gate for deletion: gone once nothing on the cluster holds a volume or a load balancer.

    What controllers made by themselves is deleted before the controllers: put it between them and
    the objects. `drivers` are the CSI drivers whose volumes are waited for.
    """

    def __init__(
        self, name: str, *, drivers: Sequence[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        properties = {"drivers": list(drivers)}
        super().__init__("mlplatform:kubernetes:CloudReleased", name, properties, opts)


class Credentials(pulumi.CustomResource):
    """The generated secrets of one installation, kept in a Secret of the cluster and in the state.

    A run that was killed before it wrote its state finds them in the cluster again, so that no
    database is left with a password that nobody knows. Every output is a secret.
    """

    password: pulumi.Output[str]
    """The user's password: the given one, or a generated one."""
    password_hash: pulumi.Output[str]
    """Its bcrypt hash."""
    oidc_client_secret: pulumi.Output[str]
    cookie_secret: pulumi.Output[str]
    object_store_access_key: pulumi.Output[str]
    object_store_secret_key: pulumi.Output[str]
    pipelines_database_password: pulumi.Output[str]
    katib_database_password: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        password: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties: dict[str, Any] = dict.fromkeys(Credentials.__annotations__)
        properties["password"] = None if password is None else pulumi.Output.secret(password)
        super().__init__("mlplatform:access:Credentials", name, properties, opts)


class RedisAccess(pulumi.CustomResource):
    """Generated passwords and certificates of one Redis installation, kept as `Credentials` are.

    `installation` is the name of its namespace, `names` the DNS names of the certificate. Every
    output is a secret.
    """

    app_password: pulumi.Output[str]
    reader_password: pulumi.Output[str]
    replica_password: pulumi.Output[str]
    sentinel_password: pulumi.Output[str]
    exporter_password: pulumi.Output[str]
    health_password: pulumi.Output[str]
    admin_password: pulumi.Output[str]
    ca_certificate: pulumi.Output[str]
    """PEM, as the certificate and the keys are."""
    ca_key: pulumi.Output[str]
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        installation: str,
        names: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties: dict[str, Any] = dict.fromkeys(RedisAccess.__annotations__)
        properties |= {"installation": installation, "names": list(names)}
        super().__init__("mlplatform:redis:Access", name, properties, opts)


_TRUE = "true"


class KubeflowRelease(pulumi.CustomResource):
    """The guard of Kubeflow's data: a change that deletes it is an error without consent.

    `holds` and `trials` are what `components.kubeflow.holdings` gives; `allow_deletion` are names
    of the first.
    """

    tried: pulumi.Output[Mapping[str, str]]
    """For each of `trials` "true", which a preview doesn't know where a dry run is of no use."""

    def __init__(
        self,
        name: str,
        *,
        holds: Mapping[str, Mapping[str, str]],
        trials: Mapping[str, Sequence[str]],
        allow_deletion: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "holds": dict(holds),
            "trials": dict(trials),
            "allow": list(allow_deletion),
            "tried": None,
        }
        super().__init__("mlplatform:kubeflow:Release", name, properties, opts)

    def true(self, name: str) -> pulumi.Output[str]:
        """ "true", as in `tried`: an input by which a dry run is left out where it is of no use."""

        def value(found: Any) -> Any:  # noqa: ANN401
            # A preview whose cluster isn't there yet knows nothing, and tries nothing either.
            return found.get(name, _TRUE) if isinstance(found, Mapping) else _TRUE

        return self.tried.apply(value, run_with_unknowns=True)


class RedisTopology(pulumi.CustomResource):
    """The guard of Redis's data: a change of `shape` that loses data is an error without consent.

    `shape` is that of `components.redis.topology.RedisTopology`; it holds no secret.
    """

    def __init__(
        self,
        name: str,
        *,
        shape: Mapping[str, Any],
        allow_data_loss: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"shape": dict(shape), "allowDataLoss": allow_data_loss}
        super().__init__("mlplatform:redis:Topology", name, properties, opts)


class GatewayAccess(pulumi.CustomResource):
    """Generated keys, passwords and a certificate of one gateway, kept as `Credentials` are.

    `installation` is the name of its namespace, `names` are the DNS names of the certificate,
    `credentials` the names of keys and passwords. Every output is a secret.
    """

    ca_certificate: pulumi.Output[str]
    """PEM, as the certificate and the keys are."""
    ca_key: pulumi.Output[str]
    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        installation: str,
        names: Sequence[str],
        credentials: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        made = [*GatewayAccess.__annotations__, *credentials]
        properties: dict[str, Any] = dict.fromkeys(made)
        properties |= {
            "installation": installation,
            "names": list(names),
            "credentials": list(credentials),
        }
        super().__init__("mlplatform:gateway:Access", name, properties, opts)

    def credential(self, name: str) -> pulumi.Output[str]:
        """A key or password by its name."""
        found: pulumi.Output[str] = getattr(self, name)
        return found

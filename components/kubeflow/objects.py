"""Kubernetes objects as plain data: what identifies one and where its pods are described."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""One Kubernetes object, as decoded from JSON or YAML."""

CRD_KIND = "CustomResourceDefinition"
MUTATING_KIND = "MutatingWebhookConfiguration"
VALIDATING_KIND = "ValidatingWebhookConfiguration"
ADMISSION_GROUP = "admissionregistration.k8s.io"
CERT_MANAGER_GROUP = "cert-manager.io"

# https://kubernetes.io/docs/reference/kubernetes-api/: built-in kinds that live in no namespace.
_CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        (ADMISSION_GROUP, MUTATING_KIND),
        (ADMISSION_GROUP, "ValidatingAdmissionPolicy"),
        (ADMISSION_GROUP, "ValidatingAdmissionPolicyBinding"),
        (ADMISSION_GROUP, VALIDATING_KIND),
        ("apiextensions.k8s.io", CRD_KIND),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
    }
)
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "policy"})
_POD_TEMPLATE_OWNERS = frozenset(
    {
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
    }
)
WORKLOAD_KINDS = frozenset({"DaemonSet", "Deployment", "StatefulSet"})
"""The kinds of the `apps` group that keep pods running behind a Service."""


class ObjectError(ValueError):
    """An object that cannot be planned; the message names it and what is wrong with it."""


@dataclass(frozen=True, order=True)
class Ref:
    """What identifies an object in a cluster; versions of one API group share their objects.

    `namespace` is "" for an object that lives in no namespace.
    """

    kind: str
    group: str
    namespace: str
    name: str

    def __str__(self) -> str:
        plain = self.group in _BUILT_IN_GROUPS or self.group.endswith("k8s.io")
        kind = self.kind if plain else f"{self.kind}.{self.group}"
        return "/".join(part for part in (kind, self.namespace, self.name) if part)


def group_of(api_version: str) -> str:
    """The API group of an `apiVersion`: "" for the core group."""
    return api_version.rpartition("/")[0]


def labels_of(body: Object) -> dict[str, str]:
    """The object's labels, empty where it has none."""
    return dict((body.get("metadata") or {}).get("labels") or {})


def annotations_of(body: Object) -> dict[str, str]:
    """The object's annotations, empty where it has none."""
    return dict((body.get("metadata") or {}).get("annotations") or {})


class Kinds:
    """Scope and REST resource name of every kind that the objects use or define."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._defined: dict[tuple[str, str], Object] = {}
        for body in objects:
            if body.get("kind") == CRD_KIND:
                spec = body["spec"]
                self._defined[spec["group"], spec["names"]["kind"]] = spec

    def definition(self, ref: Ref) -> Object | None:
        """The `spec` of the CustomResourceDefinition of the object's kind, if it is among them."""
        return self._defined.get((ref.group, ref.kind))

    def versions(self, ref: Ref) -> list[str]:
        """The versions at which the object's kind is served, as far as the objects tell."""
        spec = self.definition(ref)
        return [v["name"] for v in spec["versions"] if v.get("served")] if spec else []

    def namespaced(self, group: str, kind: str, *, default: bool) -> bool:
        """Whether objects of a kind live in a namespace; `default` for a kind not known here."""
        if (spec := self._defined.get((group, kind))) is not None:
            return bool(spec["scope"] == "Namespaced")
        if (group, kind) in _CLUSTER_SCOPED:
            return False
        return True if group in _BUILT_IN_GROUPS or group.endswith(".k8s.io") else default

    def plural(self, group: str, kind: str) -> str:
        """The resource name of a kind, as in RBAC and webhook rules: "deployments"."""
        if (spec := self._defined.get((group, kind))) is not None:
            return str(spec["names"]["plural"])
        lower = kind.lower()
        if lower == "endpoints":
            return lower
        if lower.endswith("s"):
            return f"{lower}es"
        return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"

    def ref(self, body: Object) -> Ref:
        """What identifies an object.

        Raises:
            ObjectError: `apiVersion`, `kind` or `metadata.name` is missing or empty.
        """
        metadata = body.get("metadata") or {}
        kind, version, name = body.get("kind"), body.get("apiVersion"), metadata.get("name")
        if not (isinstance(kind, str) and isinstance(version, str) and kind and version):
            raise ObjectError(f"an object has no apiVersion or kind: {str(dict(body))[:120]}")
        if not (isinstance(name, str) and name):
            raise ObjectError(f"a {kind} ({version}) has no metadata.name")
        group, namespace = group_of(version), metadata.get("namespace") or ""
        if not self.namespaced(group, kind, default=bool(namespace)):
            namespace = ""
        elif not namespace:
            namespace = "default"
        return Ref(kind, group, namespace, name)


@dataclass(frozen=True)
class PodReference:
    """One object that a pod template names: without it no pod of the template starts."""

    kind: str
    group: str
    name: str
    where: str


def pod_template(body: Object) -> Object | None:
    """The template (metadata and spec) of the pods that an object makes, None if it makes none."""
    key = (group_of(str(body.get("apiVersion", ""))), body.get("kind"))
    if key == ("", "Pod"):
        return body
    spec = body.get("spec") or {}
    if key == ("batch", "CronJob"):
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    elif key not in _POD_TEMPLATE_OWNERS:
        return None
    template = spec.get("template")
    return template if isinstance(template, Mapping) else None


def service_account(template: Object) -> str:
    """The name of the ServiceAccount that a pod template runs as."""
    spec = template.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def pod_references(template: Object) -> Iterator[PodReference]:
    """Everything that a pod template needs by name; references marked optional are left out.

    Follows the PodSpec of the Kubernetes API, v1.34.
    """
    spec = template.get("spec") or {}
    yield PodReference("ServiceAccount", "", service_account(template), "runs as")
    for secret in spec.get("imagePullSecrets") or []:
        yield PodReference("Secret", "", secret["name"], "pulls images with")
    if name := spec.get("priorityClassName"):
        yield PodReference("PriorityClass", "scheduling.k8s.io", name, "has the priority")
    if name := spec.get("runtimeClassName"):
        yield PodReference("RuntimeClass", "node.k8s.io", name, "runs in")
    for volume in spec.get("volumes") or []:
        yield from _volume_references(volume)
    for containers in ("initContainers", "containers"):
        for container in spec.get(containers) or []:
            yield from _environment_references(container)


def _volume_references(volume: Object) -> Iterator[PodReference]:
    where = f"has as volume {volume.get('name')!r}"
    projected = (volume.get("projected") or {}).get("sources") or []
    for source in (volume, *projected):
        config_map, secret = source.get("configMap"), source.get("secret")
        if config_map and not config_map.get("optional"):
            yield PodReference("ConfigMap", "", config_map["name"], where)
        if secret and not secret.get("optional"):
            name = secret.get("secretName") or secret.get("name")
            yield PodReference("Secret", "", name, where)
    if claim := volume.get("persistentVolumeClaim"):
        yield PodReference("PersistentVolumeClaim", "", claim["claimName"], where)
    if secret := (volume.get("csi") or {}).get("nodePublishSecretRef"):
        yield PodReference("Secret", "", secret["name"], where)


def _environment_references(container: Object) -> Iterator[PodReference]:
    where = f"sets the environment of container {container.get('name')!r} from"
    sources: Sequence[Object] = [
        *(container.get("envFrom") or []),
        *(e["valueFrom"] for e in container.get("env") or [] if e.get("valueFrom")),
    ]
    for source in sources:
        for kind, keys in (
            ("ConfigMap", ("configMapRef", "configMapKeyRef")),
            ("Secret", ("secretRef", "secretKeyRef")),
        ):
            for key in keys:
                named = source.get(key)
                if named and not named.get("optional"):
                    yield PodReference(kind, "", named["name"], where)

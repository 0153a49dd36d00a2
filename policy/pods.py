"""Rules about pods: their images, and the restricted Pod Security Standard.

https://kubernetes.io/docs/concepts/security/pod-security-standards, as of Kubernetes 1.34.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from components.kubeflow.objects import pod_template
from policy.resource import Resource, items, mapping, text

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")
_TAG: Final = re.compile(r":(?P<tag>[\w][\w.-]{0,127})$")
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_VOLUMES: Final = frozenset(
    """configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected
    secret""".split()  # noqa: SIM905
)
_CAPABILITY: Final = "NET_BIND_SERVICE"
_PROFILES: Final = ("RuntimeDefault", "Localhost")
_SELINUX: Final = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def fixed_images(resource: Resource) -> Iterator[str]:
    """An image without a tag, or with the tag `latest`, is another one tomorrow."""
    for name, container in _containers(_spec(resource)):
        image = text(container.get("image"))
        if not image or _DIGEST.search(image):
            continue
        tag = _TAG.search(image.rpartition("/")[2])
        if tag is None:
            yield f"{name}: the image {image} has no tag; give a version, or a digest"
        elif tag["tag"] == "latest":
            yield f"{name}: the image {image} is another one tomorrow; give a version, or a digest"


def restricted(resource: Resource) -> Iterator[str]:
    """What the restricted Pod Security Standard does not let a pod do."""
    spec = _spec(resource)
    if not spec:
        return
    security = mapping(spec.get("securityContext"))
    yield from _pod(resource, spec, security)
    for name, container in _containers(spec):
        own = mapping(container.get("securityContext"))
        for problem in (*_baseline(container, own), *_restricted(security, own)):
            yield f"{name}: {problem}"


def _pod(resource: Resource, spec: Mapping[str, Any], security: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field) is True:
            yield f"{field} shares the node's; remove it"
    for volume in items(spec.get("volumes")):
        for kind in sorted(set(mapping(volume)) - {"name"} - _VOLUMES):
            yield f"the volume {text(volume.get('name'))} is a {kind}; use a PersistentVolumeClaim"
    for sysctl in items(security.get("sysctls")):
        if text(mapping(sysctl).get("name")) not in _SYSCTLS:
            yield f"the sysctl {text(mapping(sysctl).get('name'))} is not a safe one; remove it"
    yield from _options(security)
    template = mapping(pod_template(resource.properties))
    annotations = mapping(mapping(template.get("metadata")).get("annotations"))
    for name, value in annotations.items():
        if name.startswith(_APPARMOR) and value == "unconfined":
            yield f"{name} turns AppArmor off; remove it"


def _options(security: Mapping[str, Any]) -> Iterator[str]:
    """What a pod and a container can both say."""
    selinux = mapping(security.get("seLinuxOptions"))
    if text(selinux.get("type")) not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions set another type, user or role; remove them"
    if mapping(security.get("windowsOptions")).get("hostProcess") is True:
        yield "windowsOptions.hostProcess runs on the node; remove it"
    if text(mapping(security.get("appArmorProfile")).get("type")) == "Unconfined":
        yield "appArmorProfile is Unconfined; use RuntimeDefault"
    if security.get("runAsUser") == 0:
        yield "runAsUser is 0; use another one"
    if text(mapping(security.get("seccompProfile")).get("type")) == "Unconfined":
        yield "seccompProfile is Unconfined; use RuntimeDefault"


def _baseline(container: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    if own.get("privileged") is True:
        yield "it is privileged; remove that"
    if text(own.get("procMount")) not in ("", "Default"):
        yield "procMount shows more of /proc; remove it"
    for port in items(container.get("ports")):
        if mapping(port).get("hostPort"):
            yield f"hostPort {mapping(port)['hostPort']} is the node's; use a Service"
    added = [text(name) for name in items(mapping(own.get("capabilities")).get("add"))]
    if extra := sorted(set(added) - {_CAPABILITY}):
        yield f"it adds the capabilities {', '.join(extra)}; drop ALL and add none"
    yield from _options(own)


def _restricted(security: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    if own.get("allowPrivilegeEscalation") is not False:
        yield "set allowPrivilegeEscalation: false"
    if "ALL" not in items(mapping(own.get("capabilities")).get("drop")):
        yield "set capabilities.drop: [ALL]"
    if own.get("runAsNonRoot", security.get("runAsNonRoot")) is not True:
        yield "set runAsNonRoot: true"
    profile = own.get("seccompProfile") or security.get("seccompProfile")
    if text(mapping(profile).get("type")) not in _PROFILES:
        yield "set seccompProfile.type: RuntimeDefault"


def _spec(resource: Resource) -> Mapping[str, Any]:
    if not resource.kind:
        return {}
    return mapping(mapping(pod_template(resource.properties)).get("spec"))


def _containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in _CONTAINERS:
        for container in items(spec.get(kind)):
            yield text(mapping(container).get("name")) or kind, mapping(container)

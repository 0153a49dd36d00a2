"""The rules of the plan: what the API server, and the pods it starts, need to be there first.

Each rule reads the objects alone; none knows a name of Kubeflow's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from components.kubeflow.admission import Request, Webhook, webhooks_of
from components.kubeflow.objects import (
    CERT_MANAGER_GROUP,
    CRD_KIND,
    WORKLOAD_KINDS,
    Kinds,
    Object,
    Ref,
    annotations_of,
    labels_of,
    pod_references,
    pod_template,
    service_account,
)
from components.kubeflow.selectors import matches, subset

GATE_KIND = "AdmissionReady"
GATE_GROUP = "mlplatform"
_RBAC = "rbac.authorization.k8s.io"
_INJECT_FROM_CERTIFICATE = "cert-manager.io/inject-ca-from"
_INJECT_FROM_SECRET = "cert-manager.io/inject-ca-from-secret"  # noqa: S105
_TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105


class Rule(StrEnum):
    """Why one object waits for another."""

    NAMESPACE = "namespace"
    DEFINITION = "definition"
    POD = "pod"
    PERMISSION = "permission"
    BINDING = "binding"
    AGGREGATION = "aggregation"
    ADMISSION = "admission"
    WEBHOOK = "webhook"
    ISSUER = "issuer"
    CERTIFICATE = "certificate"
    STORAGE = "storage"
    TOKEN = "token"  # noqa: S105
    CONTROLLER = "controller"


@dataclass(frozen=True, order=True)
class Edge:
    """`source` waits for `target`; `reason` completes the sentence "source ... target".

    A soft edge makes the platform settle or go away more smoothly, but no write fails without it:
    it yields where it would close a cycle.
    """

    source: Ref
    target: Ref
    rule: Rule
    reason: str
    soft: bool = False


@dataclass(frozen=True)
class Gate:
    """A point that is passed when webhooks answer: one for each configuration that others need."""

    ref: Ref
    webhooks: tuple[Webhook, ...]
    probes: tuple[Object, ...]


@dataclass
class _Index:
    """The objects, looked at from every side that a rule needs."""

    objects: dict[Ref, Object]
    kinds: Kinds
    namespaces: dict[str, Object] = field(default_factory=dict)
    workloads: list[tuple[Ref, Object]] = field(default_factory=list)
    bindings: dict[tuple[str, str], list[Ref]] = field(default_factory=lambda: defaultdict(list))
    certificates: dict[tuple[str, str], Ref] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for ref, body in self.objects.items():
            if ref.kind == "Namespace" and not ref.group:
                self.namespaces[ref.name] = body
            elif ref.kind in ("RoleBinding", "ClusterRoleBinding") and ref.group == _RBAC:
                for subject in body.get("subjects") or []:
                    namespace = subject.get("namespace") or ref.namespace
                    owner = "" if subject["kind"] == "Group" else namespace
                    self.bindings[owner, subject["name"]].append(ref)
            elif (
                ref.kind == "Certificate"
                and ref.group == CERT_MANAGER_GROUP
                and (secret := (body.get("spec") or {}).get("secretName"))
            ):
                self.certificates[ref.namespace, secret] = ref
            if ref.kind in WORKLOAD_KINDS and ref.group == "apps":
                template = pod_template(body)
                if template is not None:
                    self.workloads.append((ref, template))

    def find(self, kind: str, group: str, namespace: str, name: str) -> Ref | None:
        ref = Ref(kind, group, namespace, name)
        return ref if ref in self.objects else None

    def secret_makers(self, namespace: str, name: str) -> Iterator[Ref]:
        """The Secret of that name, and the Certificate whose issuer fills it."""
        if secret := self.find("Secret", "", namespace, name):
            yield secret
        if certificate := self.certificates.get((namespace, name)):
            yield certificate

    def bindings_of(self, namespace: str, account: str) -> list[Ref]:
        """The bindings that give a ServiceAccount its permissions, by name or by group."""
        named = self.bindings.get((namespace, account), [])
        grouped = [
            ref
            for group in ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
            for ref in self.bindings.get(("", group), [])
            if ref.namespace in ("", namespace)
        ]
        return sorted({*named, *grouped})

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        # The API server puts the name on every Namespace as this label.
        return {
            **labels_of(self.namespaces.get(name, {})),
            "kubernetes.io/metadata.name": name,
        }


def edges(objects: Mapping[Ref, Object], kinds: Kinds) -> tuple[list[Edge], list[Gate]]:
    """Every edge that the rules give, and the gates that some of them lead to."""
    index = _Index(dict(objects), kinds)
    found: list[Edge] = []
    for ref, body in index.objects.items():
        found += _namespace(index, ref)
        found += _definition(index, ref)
        found += _pods(index, ref, body)
        found += _bindings(index, ref, body)
        found += _aggregation(index, ref, body)
        found += _certificates(index, ref, body)
        found += _storage(index, ref, body)
        found += _tokens(index, ref, body)
    found += _controllers(index)
    admission, gates = _admission(index)
    return [edge for edge in found + admission if edge.source != edge.target], gates


def _namespace(index: _Index, ref: Ref) -> Iterator[Edge]:
    if target := index.find("Namespace", "", "", ref.namespace):
        yield Edge(ref, target, Rule.NAMESPACE, "lives in")


def _definition(index: _Index, ref: Ref) -> Iterator[Edge]:
    if index.kinds.definition(ref) is None:
        return
    name = f"{index.kinds.plural(ref.group, ref.kind)}.{ref.group}"
    if target := index.find(CRD_KIND, "apiextensions.k8s.io", "", name):
        yield Edge(ref, target, Rule.DEFINITION, "is of the kind that is defined by")


def _pods(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    template = pod_template(body)
    if template is None:
        return
    for needed in pod_references(template):
        if needed.kind == "Secret":
            for maker in index.secret_makers(ref.namespace, needed.name):
                rule = Rule.CERTIFICATE if maker.kind == "Certificate" else Rule.POD
                reason = needed.where
                if rule is Rule.CERTIFICATE:
                    reason += f" the secret {needed.name!r}, which is filled by"
                yield Edge(ref, maker, rule, reason)
            continue
        namespace = (
            ref.namespace if index.kinds.namespaced(needed.group, needed.kind, default=True) else ""
        )
        if target := index.find(needed.kind, needed.group, namespace, needed.name):
            yield Edge(ref, target, Rule.POD, needed.where)
    for binding in index.bindings_of(ref.namespace, service_account(template)):
        yield Edge(ref, binding, Rule.PERMISSION, "is permitted what it does by")


def _bindings(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    if ref.group != _RBAC or ref.kind not in ("RoleBinding", "ClusterRoleBinding"):
        return
    role = body["roleRef"]
    namespace = ref.namespace if role["kind"] == "Role" else ""
    if target := index.find(role["kind"], _RBAC, namespace, role["name"]):
        yield Edge(ref, target, Rule.BINDING, "binds the role")
    for subject in body.get("subjects") or []:
        if subject["kind"] == "ServiceAccount":
            namespace = subject.get("namespace") or ref.namespace
            if target := index.find("ServiceAccount", "", namespace, subject["name"]):
                yield Edge(ref, target, Rule.BINDING, "binds the account")


def _aggregated(index: _Index, body: Object) -> Iterator[Ref]:
    selectors = (body.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    for ref, role in index.objects.items():
        if ref.kind == "ClusterRole" and any(matches(s, labels_of(role)) for s in selectors):
            yield ref


def _aggregation(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    if ref.kind == "ClusterRole" and ref.group == _RBAC and body.get("aggregationRule"):
        for part in _aggregated(index, body):
            yield Edge(ref, part, Rule.AGGREGATION, "takes rules from", soft=True)


def _certificates(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    if ref.group != CERT_MANAGER_GROUP:
        return
    spec = body.get("spec") or {}
    if issuer := spec.get("issuerRef"):
        kind = issuer.get("kind") or "Issuer"
        namespace = "" if kind == "ClusterIssuer" else ref.namespace
        group = issuer.get("group") or CERT_MANAGER_GROUP
        if target := index.find(kind, group, namespace, issuer["name"]):
            yield Edge(ref, target, Rule.ISSUER, "is signed by")
    if secret := (spec.get("ca") or {}).get("secretName"):
        # A ClusterIssuer reads its secrets in cert-manager's own namespace, by default this one.
        for maker in index.secret_makers(ref.namespace or "cert-manager", secret):
            yield Edge(ref, maker, Rule.CERTIFICATE, "signs with the key of")


def _storage(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    if ref.kind != "PersistentVolumeClaim" or ref.group:
        return
    spec = body.get("spec") or {}
    for kind, group, name in (
        ("StorageClass", "storage.k8s.io", spec.get("storageClassName")),
        ("PersistentVolume", "", spec.get("volumeName")),
    ):
        if name and (target := index.find(kind, group, "", name)):
            yield Edge(ref, target, Rule.STORAGE, "is provisioned from")


def _tokens(index: _Index, ref: Ref, body: Object) -> Iterator[Edge]:
    if ref.kind == "Secret" and not ref.group and body.get("type") == _TOKEN_TYPE:
        account = annotations_of(body).get("kubernetes.io/service-account.name", "")
        if target := index.find("ServiceAccount", "", ref.namespace, account):
            yield Edge(ref, target, Rule.TOKEN, "holds a token of")


def _controllers(index: _Index) -> Iterator[Edge]:
    """Custom resources wait for the workload that works on them, and it for their definition.

    RBAC tells: a controller may write the status or the finalizers of what it controls. On the
    way down the controller is then still there to take its finalizers off.
    """
    customs: dict[tuple[str, str], list[Ref]] = defaultdict(list)
    definitions: dict[tuple[str, str], Ref] = {}
    for ref, body in index.objects.items():
        if index.kinds.definition(ref) is not None:
            customs[ref.group, index.kinds.plural(ref.group, ref.kind)].append(ref)
        if ref.kind == CRD_KIND:
            definitions[body["spec"]["group"], body["spec"]["names"]["plural"]] = ref
    by_group: dict[str, list[str]] = defaultdict(list)
    for group, plural in definitions:
        by_group[group].append(plural)
    for workload, template in index.workloads:
        watched: set[tuple[str, str]] = set()
        controlled: set[tuple[str, str]] = set()
        for rule in _permissions(index, workload.namespace, service_account(template)):
            _classify(rule, by_group, watched, controlled)
        for key in sorted(watched):
            yield Edge(
                workload, definitions[key], Rule.CONTROLLER, "watches the kind of", soft=True
            )
        for key in sorted(controlled):
            for custom in customs.get(key, []):
                yield Edge(custom, workload, Rule.CONTROLLER, "is worked on by", soft=True)


def _permissions(index: _Index, namespace: str, account: str) -> Iterator[Mapping[str, Any]]:
    for binding in index.bindings_of(namespace, account):
        role = index.objects[binding]["roleRef"]
        owner = binding.namespace if role["kind"] == "Role" else ""
        ref = index.find(role["kind"], _RBAC, owner, role["name"])
        if ref is None:
            continue
        body = index.objects[ref]
        yield from body.get("rules") or []
        for part in _aggregated(index, body):
            yield from index.objects[part].get("rules") or []


def _classify(
    rule: Mapping[str, Any],
    by_group: Mapping[str, list[str]],
    watched: set[tuple[str, str]],
    controlled: set[tuple[str, str]],
) -> None:
    verbs = set(rule.get("verbs") or [])
    resources = set(rule.get("resources") or [])
    for group in set(rule.get("apiGroups") or []) & by_group.keys():
        for plural in by_group[group]:
            if verbs & {"watch", "*"} and resources & {plural, "*"}:
                watched.add((group, plural))
            marks = {"*", f"{plural}/status", f"{plural}/finalizers", f"{plural}/*"}
            if verbs & {"update", "patch", "*"} and resources & marks:
                controlled.add((group, plural))


def _admission(index: _Index) -> tuple[list[Edge], list[Gate]]:
    webhooks = [
        hook
        for ref, body in index.objects.items()
        for hook in webhooks_of(ref, body)
        if hook.blocks
    ]
    needed: dict[Ref, dict[str, Webhook]] = defaultdict(dict)
    probes: dict[tuple[Ref, str], tuple[Ref, Object]] = {}
    found: list[Edge] = []
    for ref in sorted(index.objects):
        body = index.objects[ref]
        for hook, subject, probe in _called(index, webhooks, ref, body):
            gate = Ref(
                GATE_KIND, GATE_GROUP, "", f"{hook.configuration.kind}/{hook.configuration.name}"
            )
            needed[hook.configuration][hook.name] = hook
            if hook.allows_dry_run:
                probes.setdefault((gate, hook.name), (ref, probe))
            found.append(Edge(ref, gate, Rule.ADMISSION, f"{subject} admitted by {hook.name!r} of"))
    gates: list[Gate] = []
    for configuration, hooks in sorted(needed.items()):
        gate = Ref(GATE_KIND, GATE_GROUP, "", f"{configuration.kind}/{configuration.name}")
        chosen = [probes[key] for name in sorted(hooks) if (key := (gate, name)) in probes]
        gates.append(
            Gate(gate, tuple(hooks[n] for n in sorted(hooks)), _unique(p for _, p in chosen))
        )
        found += _backend(index, gate, configuration, hooks)
        found += _probe_needs(index, gate, gates[-1].probes)
    return found, gates


def _called(
    index: _Index, webhooks: list[Webhook], ref: Ref, body: Object
) -> Iterator[tuple[Webhook, str, Object]]:
    """The webhooks called for an object or for its pods, with an object that probes each."""
    own = _request(index, ref.group, index.kinds.plural(ref.group, ref.kind), ref, labels_of(body))
    template = None if ref.kind == "Pod" else pod_template(body)
    pods = template and _request(index, "", "pods", ref, labels_of(template))
    for hook in webhooks:
        if hook.configuration == ref:
            continue
        if hook.admits(own) or _converts(index, hook, ref):
            yield hook, "is", body
        elif pods and template and hook.admits(pods):
            yield hook, "has its pods", _probe_pod(ref, template)


def _request(
    index: _Index, group: str, resource: str, ref: Ref, labels: Mapping[str, str]
) -> Request:
    namespace = ref.name if (ref.kind, ref.group) == ("Namespace", "") else ref.namespace
    return Request(
        group=group,
        resource=resource,
        namespace=ref.namespace,
        labels=labels,
        namespace_labels=index.namespace_labels(namespace) if namespace else None,
    )


def _converts(index: _Index, hook: Webhook, ref: Ref) -> bool:
    if hook.configuration.kind != CRD_KIND or index.kinds.definition(ref) is None:
        return False
    return hook.configuration.name == f"{index.kinds.plural(ref.group, ref.kind)}.{ref.group}"


def _probe_pod(owner: Ref, template: Object) -> Object:
    """A pod that the same webhooks admit as the workload's, allowed by every security standard."""
    drop = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": labels_of(template),
        },
        "spec": {
            "automountServiceAccountToken": False,
            "serviceAccountName": service_account(template),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {"name": "probe", "image": "probe.invalid/none", "securityContext": drop}
            ],
        },
    }


def _unique(probes: Iterator[Object]) -> tuple[Object, ...]:
    kept: list[Object] = []
    for probe in probes:
        if probe not in kept:
            kept.append(probe)
    return tuple(kept)


def _probe_needs(index: _Index, gate: Ref, probes: tuple[Object, ...]) -> Iterator[Edge]:
    """What must be there for a dry run of the probes to reach the webhooks."""
    for probe in probes:
        ref = index.kinds.ref(probe)
        needs = [*_namespace(index, ref), *_definition(index, ref)]
        if (template := pod_template(probe)) is not None:
            account = service_account(template)
            if target := index.find("ServiceAccount", "", ref.namespace, account):
                needs.append(Edge(ref, target, Rule.POD, "runs as"))
        for need in needs:
            yield Edge(gate, need.target, Rule.WEBHOOK, "tries it with an object that needs")


def _backend(
    index: _Index, gate: Ref, configuration: Ref, hooks: Mapping[str, Webhook]
) -> Iterator[Edge]:
    """What makes webhooks answer: configuration, Service, the pods behind it, certificate."""
    yield Edge(gate, configuration, Rule.WEBHOOK, "opens when it answers")
    for namespace, name in sorted({(h.service_namespace, h.service_name) for h in hooks.values()}):
        service = index.find("Service", "", namespace, name)
        if service is None:
            continue
        yield Edge(gate, service, Rule.WEBHOOK, "is reached through")
        selector = (index.objects[service].get("spec") or {}).get("selector") or {}
        for workload, template in index.workloads:
            if (
                workload.namespace == namespace
                and selector
                and subset(selector, labels_of(template))
            ):
                yield Edge(gate, workload, Rule.WEBHOOK, "is answered by the pods of")
    annotations = annotations_of(index.objects[configuration])
    namespace, _, name = annotations.get(_INJECT_FROM_CERTIFICATE, "").partition("/")
    if certificate := index.find("Certificate", CERT_MANAGER_GROUP, namespace, name):
        yield Edge(gate, certificate, Rule.CERTIFICATE, "is trusted through")
    namespace, _, name = annotations.get(_INJECT_FROM_SECRET, "").partition("/")
    for maker in index.secret_makers(namespace, name):
        yield Edge(gate, maker, Rule.CERTIFICATE, "is trusted through")

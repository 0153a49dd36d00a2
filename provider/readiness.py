"""When is a Kubernetes object ready? Pure functions of the live object.

The rules follow the await logic of the official Kubernetes provider:
https://www.pulumi.com/registry/packages/kubernetes/ and its sources under `provider/pkg/await`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from provider import waitfor

Object = Mapping[str, Any]

SKIP_AWAIT: Final = "pulumi.com/skipAwait"
TIMEOUT: Final = "pulumi.com/timeoutSeconds"
WAIT_FOR: Final = "pulumi.com/waitFor"


class State(Enum):
    """How far an object is."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Readiness:
    """A state and, unless ready, why."""

    state: State
    reason: str = ""

    @property
    def ready(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.state is State.READY


READY: Final = Readiness(State.READY)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What some kinds need to know beyond the object itself.

    Args:
        endpoints: the Endpoints objects of the namespace by name (Service, Ingress).
        settled: the Endpoints have not changed for a while.
        external: names of the namespace's Services of type ExternalName (Ingress).
        binding_mode: `volumeBindingMode` of the claim's StorageClass, empty if unknown.
        updating: the object existed before.
    """

    endpoints: Mapping[str, Object]
    settled: bool = False
    external: Collection[str] = ()
    binding_mode: str = ""
    updating: bool = False


ALONE: Final = Surroundings(endpoints={})


def _waiting(reason: str) -> Readiness:
    return Readiness(State.WAITING, reason)


def _at(obj: Object, *path: str) -> Any:  # noqa: ANN401
    value: Any = obj
    for part in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _count(obj: Object, *path: str) -> int:
    value = _at(obj, *path)
    return value if isinstance(value, int) else 0


def _desired(obj: Object) -> int:
    value = _at(obj, "spec", "replicas")
    return value if isinstance(value, int) else 1


def _observed(obj: Object) -> bool:
    generation = _count(obj, "metadata", "generation")
    return _count(obj, "status", "observedGeneration") >= generation


def _condition(obj: Object, kind: str) -> Mapping[str, Any]:
    for condition in _at(obj, "status", "conditions") or ():
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _explain(condition: Mapping[str, Any], fallback: str) -> str:
    reason, message = condition.get("reason"), condition.get("message")
    return f"[{reason}] {message}" if reason and message else fallback


def deployment(obj: Object, around: Surroundings) -> Readiness:
    """Available, every replica updated and ready, and the rollout complete."""
    if not _observed(obj):
        return _waiting("waiting for the Deployment controller to see the change")
    available = _condition(obj, "Available")
    progressing = _condition(obj, "Progressing")
    desired = _desired(obj)
    updated, ready = (
        _count(obj, "status", "updatedReplicas"),
        _count(obj, "status", "readyReplicas"),
    )
    if progressing.get("status") == "False":
        return _waiting(_explain(progressing, "the rollout makes no progress"))
    if min(updated, ready) < desired:
        return _waiting(
            f"Waiting for app ReplicaSet to be available ({min(updated, ready)}/{desired} Pods "
            "available)"
        )
    if available.get("status") != "True":
        return _waiting(_explain(available, "Minimum number of live Pods was not attained"))
    first = _at(obj, "metadata", "annotations", "deployment.kubernetes.io/revision") == "1"
    if not first and progressing and progressing.get("reason") != "NewReplicaSetAvailable":
        return _waiting("waiting for the new ReplicaSet to replace the old one")
    return READY


def stateful_set(obj: Object, around: Surroundings) -> Readiness:
    """Every replica ready and, unless Pods are replaced by hand, of the current revision."""
    if not _count(obj, "metadata", "generation") or not _observed(obj):
        return _waiting("waiting for the StatefulSet controller to see the change")
    desired, ready = _desired(obj), _count(obj, "status", "readyReplicas")
    everyone = _count(obj, "status", "replicas") == desired and ready == desired
    by_hand = _at(obj, "spec", "updateStrategy", "type") == "OnDelete"
    if by_hand and _count(obj, "metadata", "generation") > 1:
        return READY if everyone else _waiting(f"{ready}/{desired} Pods ready")
    current, update = _at(obj, "status", "currentRevision"), _at(obj, "status", "updateRevision")
    if not everyone or _count(obj, "status", "currentReplicas") != desired:
        return _waiting(f"Waiting for StatefulSet to create Pods ({ready}/{desired} Pods ready)")
    if not current or current != update:
        return _waiting("Waiting for StatefulSet to update .status.currentRevision")
    return READY


def daemon_set(obj: Object, around: Surroundings) -> Readiness:
    """Every node that should run a Pod runs an updated, available one."""
    if not _observed(obj):
        return _waiting("waiting for the DaemonSet controller to see the change")
    desired = _count(obj, "status", "desiredNumberScheduled")
    if _at(obj, "status", "desiredNumberScheduled") is None:
        return _waiting("waiting for .status.desiredNumberScheduled")
    for field, verb in (
        ("currentNumberScheduled", "scheduled"),
        ("updatedNumberScheduled", "updated"),
        ("numberAvailable", "available"),
        ("numberReady", "ready"),
    ):
        found = _count(obj, "status", field)
        by_hand = _at(obj, "spec", "updateStrategy", "type") == "OnDelete"
        if found < desired and not (field == "updatedNumberScheduled" and by_hand):
            return _waiting(f"{found}/{desired} Pods {verb}")
    return READY


def job(obj: Object, around: Surroundings) -> Readiness:
    """Complete. Failed where the Job gave up."""
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        return Readiness(State.FAILED, _explain(failed, "the Job failed"))
    if _condition(obj, "Complete").get("status") == "True":
        return READY
    if not _at(obj, "status", "startTime"):
        return _waiting(f'Waiting for Job "{_at(obj, "metadata", "name")}" to start')
    numbers = " | ".join(
        f"{name}: {_count(obj, 'status', name.lower())}"
        for name in ("Active", "Succeeded", "Failed")
    )
    return _waiting(f'Waiting for Job "{_at(obj, "metadata", "name")}" to succeed ({numbers})')


def pod(obj: Object, around: Surroundings) -> Readiness:
    """Ready or succeeded. Failed where the Pod ended in failure for good."""
    phase = _at(obj, "status", "phase")
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return READY
    if phase == "Failed":
        reason = _at(obj, "status", "message") or _at(obj, "status", "reason")
        return Readiness(State.FAILED, f"the Pod failed: {reason or 'no reason given'}")
    for name, text in (("PodScheduled", "scheduled"), ("Initialized", "initialized")):
        condition = _condition(obj, name)
        if condition.get("status") != "True":
            return _waiting(_explain(condition, f"Waiting for the Pod to be {text}"))
    troubles = pod_troubles(obj)
    return _waiting("; ".join(troubles) or "Waiting for the Pod to be ready")


def pod_troubles(obj: Object) -> list[str]:
    """What keeps a Pod's containers from running, in words; empty if nothing is known."""
    found = []
    unscheduled = _condition(obj, "PodScheduled")
    if unscheduled.get("status") == "False":
        found.append(_explain(unscheduled, "not scheduled"))
    for section in ("initContainerStatuses", "containerStatuses"):
        for status in _at(obj, "status", section) or ():
            waiting = _at(status, "state", "waiting") or {}
            ended = _at(status, "state", "terminated") or {}
            reason = waiting.get("reason") or ended.get("reason")
            if reason and reason not in {"ContainerCreating", "PodInitializing", "Completed"}:
                message = waiting.get("message") or ended.get("message") or ""
                found.append(f"container {status.get('name')!r}: [{reason}] {message}".rstrip())
    return found


def service(obj: Object, around: Surroundings) -> Readiness:
    """A load balancer has an address; with a selector, the Endpoints have settled.

    A Service whose selector finds no Pod at all is ready, as the official provider has it.
    """
    kind = _at(obj, "spec", "type") or "ClusterIP"
    balanced = kind != "LoadBalancer" or bool(_at(obj, "status", "loadBalancer", "ingress"))
    unallocated = _waiting(
        "Service was not allocated an IP address; does your cloud provider support this?"
    )
    selects = bool(_at(obj, "spec", "selector"))
    if kind == "ExternalName" or _at(obj, "spec", "clusterIP") == "None" or not selects:
        return READY if balanced else unallocated
    endpoints = around.endpoints.get(str(_at(obj, "metadata", "name")), {})
    subsets = endpoints.get("subsets") or ()
    if any(subset.get("notReadyAddresses") for subset in subsets) or not around.settled:
        return _waiting("Finding Pods to direct traffic to")
    return READY if balanced else unallocated


def persistent_volume_claim(obj: Object, around: Surroundings) -> Readiness:
    """Bound, or pending where the StorageClass waits for the first consumer."""
    phase = _at(obj, "status", "phase")
    if phase == "Bound":
        return READY
    if around.binding_mode == "WaitForFirstConsumer" and phase == "Pending":
        return READY
    if phase == "Lost":
        return Readiness(State.FAILED, "the claim lost its PersistentVolume")
    return _waiting(f"Waiting for the claim to be bound (phase {phase or 'unknown'})")


def persistent_volume(obj: Object, around: Surroundings) -> Readiness:
    """Available or bound."""
    phase = _at(obj, "status", "phase")
    if phase in {"Available", "Bound"}:
        return READY
    return _waiting(f"Waiting for the volume to be available (phase {phase or 'unknown'})")


def ingress(obj: Object, around: Surroundings) -> Readiness:
    """It has an address, and every path's Service has Endpoints (or they have settled)."""
    if not around.settled:
        for rule in _at(obj, "spec", "rules") or ():
            for path in _at(rule, "http", "paths") or ():
                backend = path.get("backend") or {}
                name = _at(backend, "service", "name") or backend.get("serviceName")
                if name and name not in around.external and name not in around.endpoints:
                    return _waiting(f'No matching service found for ingress rule: "{name}"')
    if _at(obj, "status", "loadBalancer", "ingress"):
        return READY
    return _waiting("Ingress .status.loadBalancer field was not updated with a hostname/IP address")


def replicas(obj: Object, around: Surroundings) -> Readiness:
    """ReplicaSet and ReplicationController: as many replicas available as wanted."""
    desired, found = _desired(obj), _count(obj, "status", "availableReplicas")
    return (
        READY if _observed(obj) and found == desired else _waiting(f"{found}/{desired} available")
    )


def resource_quota(obj: Object, around: Surroundings) -> Readiness:
    """The controller has taken over the limits."""
    if _at(obj, "spec", "hard") == _at(obj, "status", "hard"):
        return READY
    return _waiting("Waiting for the quota controller to take over .spec.hard")


def secret(obj: Object, around: Surroundings) -> Readiness:
    """A service account token must have been filled in; others are ready at once."""
    if _at(obj, "type") != "kubernetes.io/service-account-token" or _at(obj, "data"):
        return READY
    return _waiting("Waiting for the token to be filled in")


def custom_resource_definition(obj: Object, around: Surroundings) -> Readiness:
    """Its names are accepted and it is established. Failed where another one has the names."""
    names = _condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return Readiness(State.FAILED, _explain(names, "the names are not accepted"))
    established = _condition(obj, "Established")
    if names.get("status") == "True" and established.get("status") == "True":
        return READY
    return _waiting(_explain(established, "Waiting for the definition to be established"))


Rule = Callable[[Object, Surroundings], Readiness]
_APPS: Final[dict[str, Rule]] = {
    "Deployment": deployment,
    "StatefulSet": stateful_set,
    "DaemonSet": daemon_set,
    "ReplicaSet": replicas,
}
_RULES: Final[dict[tuple[str, str], Rule]] = {
    **{("apps/v1", kind): rule for kind, rule in _APPS.items()},
    ("batch/v1", "Job"): job,
    ("v1", "Pod"): pod,
    ("v1", "Service"): service,
    ("v1", "PersistentVolumeClaim"): persistent_volume_claim,
    ("v1", "PersistentVolume"): persistent_volume,
    ("v1", "ReplicationController"): replicas,
    ("v1", "ResourceQuota"): resource_quota,
    ("v1", "Secret"): secret,
    ("networking.k8s.io/v1", "Ingress"): ingress,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): custom_resource_definition,
}
# What a refresh judges too; the others count as ready once they exist.
_READ: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "Job", "Pod", "Service", "Ingress"}
)


def _ready_at_once(obj: Object, around: Surroundings) -> Readiness:
    return READY


def annotation(obj: Object, name: str) -> str:
    """Value of an annotation, empty if it isn't there or not known yet."""
    value = _at(obj, "metadata", "annotations", name)
    return value if isinstance(value, str) else ""


def skips_await(obj: Object) -> bool:
    """Whether the object asks not to be waited for (`pulumi.com/skipAwait: "true"`)."""
    return annotation(obj, SKIP_AWAIT) == "true"


def timeout_of(obj: Object, custom: float, default: float = 600.0) -> float:
    """Seconds to wait at most: the resource option, else the annotation, else `default`."""
    if custom:
        return custom
    text = annotation(obj, TIMEOUT)
    return float(text) if text.isdigit() and int(text) > 0 else default


def rule_for(obj: Object) -> Rule | None:
    """How to judge `obj`; None where it is ready once it exists.

    Raises:
        ValueError: a bad `pulumi.com/waitFor` annotation; the text says what is wrong with it.
    """
    if skips_await(obj):
        return None
    expressions = waitfor.parse(annotation(obj, WAIT_FOR))
    if expressions:

        def chosen(live: Object, around: Surroundings) -> Readiness:
            missing = [e.text for e in expressions if not e.matches(live)]
            return _waiting(f"Waiting for {', '.join(missing)}") if missing else READY

        return chosen
    return _RULES.get((str(obj.get("apiVersion")), str(obj.get("kind"))))


def judge(obj: Object, around: Surroundings = ALONE) -> Readiness:
    """How far `obj` is by the rule of its kind, annotations included."""
    return (rule_for(obj) or _ready_at_once)(obj, around)


def judged_on_read(obj: Object) -> bool:
    """Whether a refresh reports this object as failed while it isn't ready."""
    known = (str(obj.get("apiVersion")), str(obj.get("kind"))) in _RULES
    return known and obj.get("kind") in _READ and not skips_await(obj)

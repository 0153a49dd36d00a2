"""Pods that do not run as they should, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from doctor.model import (
    STARTING,
    Container,
    Finding,
    Object,
    Snapshot,
    condition,
    instant,
    name_of,
    namespace_of,
    place,
)
from doctor.words import cause, pulling, scheduling

_PULLING: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"}
)
_NAMES: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with each pod."""
    for pod in snapshot.pods:
        yield from _pod(snapshot, pod)


def ended(pods: tuple[Object, ...]) -> list[tuple[Container, bool]]:
    """Containers whose last words are of interest, and whether those are of the run before."""
    found: list[tuple[Container, bool]] = []
    for pod in pods:
        for status in _statuses(pod):
            state = status.get("state") or {}
            before = bool((status.get("lastState") or {}).get("terminated"))
            if _broken(state.get("terminated")) or (before and not status.get("ready")):
                place_ = (namespace_of(pod), name_of(pod), str(status.get("name")))
                found.append((place_, "terminated" not in state))
    return found


def _pod(snapshot: Snapshot, pod: Object) -> Iterator[Finding]:
    status = pod.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        yield from _leaving(snapshot, pod)
        return
    if phase == "Failed" and status.get("reason") == "Evicted":
        yield Finding(
            "warning",
            "evicted",
            place("Pod", pod),
            f"the node drove it out: {status.get('message', '')}",
            "the node ran out of something: see its conditions; delete the pod",
        )
        return
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = str(scheduled.get("message", ""))
        yield Finding(
            "error",
            "unschedulable",
            place("Pod", pod),
            f"no node takes it: {message}",
            scheduling(message),
        )
        return
    found = [one for one in (_container(snapshot, pod, s) for s in _statuses(pod)) if one]
    yield from found or _waiting(snapshot, pod)


def _container(snapshot: Snapshot, pod: Object, status: Object) -> Finding | None:
    state = status.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    where = f"{place('Pod', pod)}, container {status.get('name')}"
    if reason in _PULLING | _NAMES:
        message = _told(snapshot, pod, str(status.get("image")), message)
        remedy = "correct the image's name" if reason in _NAMES else pulling(message)
        code = (cause(message) or ("image-pull", ""))[0]
        problem = f"the image {status.get('image')} cannot be had: {message or reason}"
        return Finding("error", code, where, problem, remedy)
    if reason in _CONFIG:
        known = cause(message)
        return Finding(
            "error",
            known[0] if known else "container-config",
            where,
            f"it cannot be made: {message or reason}",
            known[1] if known else "create what is missing, or correct its name in the pod",
        )
    last = terminated or (status.get("lastState") or {}).get("terminated") or {}
    broken = reason == "CrashLoopBackOff" or _broken(terminated)
    if not broken and not (_broken(last) and not status.get("ready")):
        return None
    return _crashed(snapshot, pod, status, last)


def _crashed(snapshot: Snapshot, pod: Object, status: Object, last: Object) -> Finding:
    where = f"{place('Pod', pod)}, container {status.get('name')}"
    key = (namespace_of(pod), name_of(pod), str(status.get("name")))
    words = snapshot.words.get(key) or str(last.get("message", ""))
    how = f"exit code {last.get('exitCode', '?')}"
    times = f"it ended ({how}) and was started again {status.get('restartCount', 0)} times"
    if last.get("reason") == "OOMKilled":
        return Finding(
            "error",
            "out-of-memory",
            where,
            f"{times}: it used more memory than it may",
            "raise resources.limits.memory of the container",
        )
    known = cause(words) or cause(str((status.get("state") or {}).get("waiting", "")))
    said = f": {words.strip()}" if words.strip() else ""
    return Finding(
        "error",
        known[0] if known else "crash",
        where,
        f"{times}{said}",
        known[1]
        if known
        else f"read its log: kubectl logs -n {key[0]} {key[1]} -c {key[2]} --previous",
    )


def _waiting(snapshot: Snapshot, pod: Object) -> Iterator[Finding]:
    """A pod of which no container says what is wrong, and which is not ready for too long."""
    if condition(pod, "Ready").get("status") == "True":
        return
    ready = condition(pod, "Ready")
    since = instant(ready.get("lastTransitionTime")) or instant(
        (pod.get("metadata") or {}).get("creationTimestamp")
    )
    if since is not None and snapshot.now - since < STARTING:
        return
    creating = any(
        ((status.get("state") or {}).get("waiting") or {}).get("reason") in _STARTING
        for status in _statuses(pod)
    )
    events = snapshot.events_of("Pod", namespace_of(pod), name_of(pod))
    message = str(events[-1].get("message", "")) if events else str(ready.get("message", ""))
    known = cause(message)
    yield Finding(
        "error",
        known[0] if known else ("mount" if creating else "not-ready"),
        place("Pod", pod),
        f"it {'cannot start' if creating else 'is not ready'}: {message or 'nothing says why'}",
        known[1]
        if known
        else (
            "create what it mounts, or see the volume"
            if creating
            else f"read its log: kubectl logs -n {namespace_of(pod)} {name_of(pod)}"
        ),
    )


def _leaving(snapshot: Snapshot, pod: Object) -> Iterator[Finding]:
    metadata = pod.get("metadata") or {}
    since = instant(metadata.get("deletionTimestamp"))
    if since is None or snapshot.now - since < STARTING:
        return
    held = ", ".join(metadata.get("finalizers") or ())
    yield Finding(
        "warning",
        "stuck",
        place("Pod", pod),
        f"it should be gone since {since:%Y-%m-%d %H:%M} UTC"
        + (f" and is held by {held}" if held else ""),
        "if its node is gone for good: kubectl delete pod --force --grace-period=0 "
        f"-n {namespace_of(pod)} {name_of(pod)}",
    )


def _told(snapshot: Snapshot, pod: Object, image: str, message: str) -> str:
    """The kubelet's own words on a pull; a container that waits to try again repeats none."""
    if "back-off" not in message.lower() and message:
        return message
    for event in reversed(snapshot.events_of("Pod", namespace_of(pod), name_of(pod))):
        said = str(event.get("message", ""))
        if image in said and "back-off" not in said.lower():
            return said
    return message


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _broken(terminated: object) -> bool:
    return isinstance(terminated, dict) and bool(terminated.get("exitCode"))

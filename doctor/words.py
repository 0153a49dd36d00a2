"""What the words of a container, a kubelet or a scheduler say about the cause."""

from __future__ import annotations

import re
from typing import Final

_CAUSES: Final = (
    (
        re.compile(r"exec format error|no match(?:ing manifest)? for (?:platform|linux/)", re.I),
        "image-architecture",
        "the image is for another processor (many of Kubeflow's have none for ARM): use a node of "
        "the image's architecture, or an image that is built for this one",
    ),
    (
        re.compile(r"too many open files|inotify|fsnotify", re.I),
        "inotify",
        "the node's limits of inotify are used up; on it (in minikube: `minikube ssh`) run: "
        "sudo sysctl fs.inotify.max_user_instances=2280 fs.inotify.max_user_watches=1255360; "
        "where no watcher failed, raise the program's own limit of open files",
    ),
    (
        re.compile(r"no space left on device|disk quota exceeded", re.I),
        "volume-full",
        "a disk is full: make the volume larger (a setting of its component, or "
        "spec.resources.requests.storage of the claim), or remove data",
    ),
    (
        re.compile(r"failed calling webhook", re.I),
        "webhook-not-answering",
        "the webhook's own pods must answer first: look at what is said about them here",
    ),
)
_SCHEDULER: Final = (
    (r"insufficient ([\w./-]*\w)", "no node has enough {0} left: add a node, or lower requests"),
    (
        r"unbound immediate persistentvolumeclaims|unbound immediate",
        "its volume is not there yet: see the claim",
    ),
    (r"persistentvolumeclaim \"([^\"]+)\" not found", "create the claim {0}"),
    (
        r"volume node affinity conflict",
        "its volume is on a node or in a zone where the pod cannot run: add a node there",
    ),
    (
        r"had untolerated taint \{([^}]*)\}",
        "nodes repel it by the taint {0}: tolerate it in the pod, or take it off a node",
    ),
    (
        r"didn't match pod's node affinity/selector",
        "no node has the labels that it asks for (kubernetes.io/arch, for one)",
    ),
    (r"too many pods", "the nodes are full of pods: add a node"),
    (r"no nodes available", "the cluster has no node that takes pods"),
)


def cause(text: str) -> tuple[str, str] | None:
    """The code and the remedy of a cause that the words name; None for words that name none."""
    for pattern, code, remedy in _CAUSES:
        if pattern.search(text):
            return code, remedy
    return None


def scheduling(message: str) -> str:
    """What mends that the scheduler found no node."""
    remedies = [
        remedy.format(*match.groups())
        for pattern, remedy in _SCHEDULER
        if (match := re.search(pattern, message, re.IGNORECASE))
    ]
    return "; ".join(remedies) or "see the scheduler's reason"


def pulling(message: str) -> str:
    """What mends that an image cannot be pulled."""
    low = message.lower()
    if found := cause(message):
        return found[1]
    if "not found" in low or "manifest unknown" in low:
        return "there is no such image: correct its name or tag"
    if "unauthorized" in low or "denied" in low or "forbidden" in low or "403" in low:
        return "the registry refuses: give the pod's ServiceAccount an imagePullSecret for it"
    if "too many requests" in low or "429" in low or "rate limit" in low:
        return "the registry limits how often it is asked: sign in to it, or mirror the image"
    if "http response to https" in low or "not look like a tls handshake" in low:
        return (
            "the registry speaks HTTP without TLS: give it a certificate, or have the node's "
            "container runtime trust it so"
        )
    if "x509" in low or "certificate" in low:
        return "the node does not trust the registry's certificate: install its authority there"
    if any(word in low for word in ("timeout", "no such host", "refused", "unreachable", "dial")):
        return "the node cannot reach the registry: look at its network, DNS and proxy"
    return "see what the kubelet says; `kubectl describe pod` has more"

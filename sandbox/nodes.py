"""Simulated nodes: the Node objects, how kwok moves nodes and pods on, and the storage classes.

Stages follow https://kwok.sigs.k8s.io/docs/user/stages-configuration/.
"""

from __future__ import annotations

from typing import Any

import yaml

_MANAGED_KEY, _MANAGED_VALUE = "kwok.x-k8s.io/node", "sandbox"
MANAGED = f"{_MANAGED_KEY}={_MANAGED_VALUE}"
"""Annotation selector of the nodes that kwok plays."""

PROVISIONER = "ml-platform/sandbox"
"""Provisioner of the sandbox's storage classes, played by `sandbox.storage`."""

KUBELET_VERSION = "v1.34.4"
_RESOURCES = {
    "cpu": "64",
    "memory": "256Gi",
    "ephemeral-storage": "1Ti",
    "pods": "1000",
}


def node(index: int) -> dict[str, Any]:
    """Node number `index` (from 0): 64 CPUs, 256 GiB, one of three zones."""
    name = f"sandbox-{index}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_MANAGED_KEY: _MANAGED_VALUE},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": "sandbox",
                "topology.kubernetes.io/region": "sandbox",
                "topology.kubernetes.io/zone": f"sandbox-{'abc'[index % 3]}",
            },
        },
        "status": {
            "capacity": _RESOURCES,
            "allocatable": _RESOURCES,
            "addresses": [
                {"type": "InternalIP", "address": f"10.0.{index // 250}.{index % 250 + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": KUBELET_VERSION,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "kwok://0.8.0",
                "kernelVersion": "sandbox",
                "osImage": "sandbox",
                "bootID": name,
                "machineID": name,
                "systemUUID": name,
            },
        },
    }


def storage_classes(*, real_nodes: bool = False) -> list[dict[str, Any]]:
    """`standard` binds at once (as minikube's) and is the default; `delayed` waits for a pod.

    With real nodes both wait, as only then it is known where a volume must be.
    """
    standard = "WaitForFirstConsumer" if real_nodes else "Immediate"
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": default},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": mode,
            "allowVolumeExpansion": True,
        }
        for name, mode, default in (
            ("standard", standard, "true"),
            ("delayed", "WaitForFirstConsumer", "false"),
        )
    ]


_NODE_READY = """\
{{- $now := Now }}
{{- $since := or .metadata.creationTimestamp $now }}
phase: Running
conditions:
{{- range NodeConditions }}
- type: {{ .type }}
  status: {{ .status | Quote }}
  reason: {{ .reason }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $since | Quote }}
{{- end }}
"""

_POD_RUNNING = """\
{{- $now := Now }}
{{- $pod := .metadata }}
phase: Running
startTime: {{ $now | Quote }}
{{- with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
{{- end }}
{{- with PodIPsWith .spec.nodeName (or .spec.hostNetwork false) $pod.uid $pod.name $pod.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{- range . }}
- ip: {{ . | Quote }}
{{- end }}
{{- end }}
conditions:
{{- range list "Initialized" "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{- end }}
{{- range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{- end }}
initContainerStatuses:
{{- range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: true
  state:
  {{- if eq (or .restartPolicy "") "Always" }}
    running: {startedAt: {{ $now | Quote }}}
  {{- else }}
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
  {{- end }}
{{- end }}
containerStatuses:
{{- range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: true
  started: true
  state:
    running: {startedAt: {{ $now | Quote }}}
{{- end }}
"""

_POD_SUCCEEDED = """\
{{- $now := Now }}
phase: Succeeded
conditions:
{{- range list "ContainersReady" "Ready" }}
- type: {{ . }}
  status: "False"
  reason: PodCompleted
  lastTransitionTime: {{ $now | Quote }}
{{- end }}
containerStatuses:
{{- range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: false
  started: false
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{- end }}
"""

_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'


def _stage(
    name: str, kind: str, when: list[tuple[str, str, list[str]]], then: dict[str, Any]
) -> dict[str, Any]:
    expressions = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, values in when
    ]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": expressions},
            "next": then,
        },
    }


_HEARTBEAT_MILLISECONDS = 15_000


def stages(*, heartbeats: bool = False) -> list[dict[str, Any]]:
    """What kwok does: nodes become Ready, pods run at once, those of Jobs succeed, deleted ones go.

    Probes, images and volumes play no part: there is no container. With `heartbeats` a node's
    conditions are renewed, for a controller that looks for nodes which fell silent.
    """
    present = (".metadata.deletionTimestamp", "DoesNotExist", list[str]())
    heartbeat = _stage(
        "node-heartbeat", "Node", [(_READY, "In", ["True"])], {"statusTemplate": _NODE_READY}
    )
    heartbeat["spec"]["delay"] = {"durationMilliseconds": _HEARTBEAT_MILLISECONDS}
    return [
        *([heartbeat] if heartbeats else []),
        _stage(
            "node-ready", "Node", [(_READY, "NotIn", ["True"])], {"statusTemplate": _NODE_READY}
        ),
        _stage(
            "pod-running",
            "Pod",
            [present, (".status.phase", "In", ["Pending"]), (_READY, "NotIn", ["True"])],
            {"statusTemplate": _POD_RUNNING},
        ),
        _stage(
            "pod-succeeded",
            "Pod",
            [
                present,
                (".status.phase", "In", ["Running"]),
                (".metadata.ownerReferences.[].kind", "In", ["Job"]),
            ],
            {"statusTemplate": _POD_SUCCEEDED},
        ),
        _stage(
            "pod-deleted", "Pod", [(".metadata.deletionTimestamp", "Exists", [])], {"delete": True}
        ),
    ]


def kwok_config(*, heartbeats: bool = False) -> str:
    """Configuration file of kwok: its stages, one YAML document each."""
    return yaml.safe_dump_all(stages(heartbeats=heartbeats), sort_keys=False)

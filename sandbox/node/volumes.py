"""Volumes of real pods: one folder each, which goes with its volume."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sandbox.node import plan

Object = dict[str, Any]
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""Annotation of a volume that a provisioner made, with the provisioner's name."""

_HOSTNAME = "kubernetes.io/hostname"


class LocalVolumes:
    """The folders of a sandbox's local volumes.

    Args:
        data_dir: the sandbox's data folder.
        nodes: names of its real nodes.
    """

    def __init__(self, data_dir: Path, nodes: frozenset[str]) -> None:
        self._folder = plan.volumes_folder(data_dir)
        self._nodes = nodes

    def takes(self, node: str) -> bool:
        """Whether a volume for pods on this node is a local one."""
        return node in self._nodes

    def create(self, name: str) -> Path:
        """Make a volume's folder. As in rancher's local-path-provisioner all may write to it."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        # The sandbox's data folder keeps others out of it.
        folder.chmod(0o777)
        return folder

    def remove(self, name: str) -> None:
        """Remove a volume's folder with its content, if it is there."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def placed(volume: Object, node: str, folder: Path) -> Object:
    """A volume as a local one: in this folder, for pods on this node only.

    Not hostPath, of which the kubelet would not hand the files over to a pod's fsGroup.
    """
    spec = {key: value for key, value in volume["spec"].items() if key != "hostPath"}
    spec["local"] = {"path": str(folder)}
    spec["nodeAffinity"] = {
        "required": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": _HOSTNAME, "operator": "In", "values": [node]},
                    ]
                }
            ]
        }
    }
    return {**volume, "spec": spec}


def expansion(claim: Object, volume: Object) -> tuple[Object, Object] | None:
    """Patches of a bound volume and of its claim's status, where the claim asks for another size.

    None where nothing is to do, and for a volume that was not made for its claim. The API server
    lets a claim do no other than grow, and writes equal sizes alike.
    """
    made = PROVISIONED_BY in (volume["metadata"].get("annotations") or {})
    status = claim.get("status") or {}
    wanted = claim["spec"]["resources"]["requests"]["storage"]
    has = (status.get("capacity") or {}).get("storage")
    if not made or status.get("phase") != "Bound" or has in (None, wanted):
        return None
    capacity = {"capacity": {"storage": wanted}}
    return {"spec": capacity}, {"status": {**capacity, "conditions": None}}

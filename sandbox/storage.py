"""The storage provisioner: makes, expands and deletes the PersistentVolumes that claims ask for.

Those of pods on real nodes are folders of this machine; the others are nothing but objects. Follows
https://kubernetes.io/docs/concepts/storage/storage-classes/; binding itself is done by the
controller manager.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from sandbox.api import MERGE_PATCH, ApiError, Client, Object
from sandbox.mirror import Collection
from sandbox.node import volumes
from sandbox.node.volumes import PROVISIONED_BY, LocalVolumes
from sandbox.nodes import PROVISIONER

_log = logging.getLogger(__name__)
_VOLUMES = "/api/v1/persistentvolumes"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"


def wants_volume(claim: Object, storage_class: Object | None) -> bool:
    """Whether it is this provisioner's turn to make a volume for the claim."""
    if storage_class is None or storage_class["provisioner"] != PROVISIONER:
        return False
    if claim["spec"].get("volumeName") or "deletionTimestamp" in claim["metadata"]:
        return False
    annotations = claim["metadata"].get("annotations") or {}
    return storage_class["volumeBindingMode"] == "Immediate" or _SELECTED_NODE in annotations


def volume_for(claim: Object, storage_class: Object) -> Object:
    """The volume of a claim, bound to it in advance. Nothing is ever mounted from its path."""
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "hostPath": {"path": f"/var/sandbox/{name}"},
        },
    }


def is_left_over(volume: Object) -> bool:
    """Whether a volume of this provisioner outlived its claim and is to be deleted."""
    return (
        (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) == PROVISIONER
        and (volume.get("status") or {}).get("phase") == "Released"
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and "deletionTimestamp" not in volume["metadata"]
    )


class StorageSimulator:
    """Makes, expands and deletes volumes; `local` are those of real nodes."""

    def __init__(self, client: Client, changed: Callable[[], None], local: LocalVolumes) -> None:
        self._client, self._local = client, local
        self._claims = Collection(client, "/api/v1/persistentvolumeclaims", changed)
        self._volumes = Collection(client, _VOLUMES, changed)
        self._classes = Collection(client, "/apis/storage.k8s.io/v1/storageclasses", changed)

    def start(self) -> None:
        """Begin to watch."""
        for collection in (self._claims, self._volumes, self._classes):
            collection.start()

    def reconcile(self) -> None:
        """Make what is wanted, expand it and delete what is left over; raises as the client."""
        for claim in self._claims.all():
            storage_class = self._classes.get("", claim["spec"].get("storageClassName") or "")
            if storage_class is None or storage_class["provisioner"] != PROVISIONER:
                continue
            if wants_volume(claim, storage_class):
                self._provision(claim, storage_class)
            else:
                self._expand(claim)
        for volume in self._volumes.all():
            if is_left_over(volume):
                name = volume["metadata"]["name"]
                self._write("DELETE", f"{_VOLUMES}/{name}")
                self._local.remove(name)

    def _provision(self, claim: Object, storage_class: Object) -> None:
        volume = volume_for(claim, storage_class)
        name = volume["metadata"]["name"]
        if self._volumes.get("", name) is not None:
            return
        node = (claim["metadata"].get("annotations") or {}).get(_SELECTED_NODE, "")
        if self._local.takes(node):
            volume = volumes.placed(volume, node, self._local.create(name))
        self._write("POST", _VOLUMES, volume)

    def _expand(self, claim: Object) -> None:
        volume = self._volumes.get("", claim["spec"].get("volumeName") or "")
        patches = volumes.expansion(claim, volume) if volume else None
        if volume is None or patches is None:
            return
        metadata = claim["metadata"]
        self._write("PATCH", f"{_VOLUMES}/{volume['metadata']['name']}", patches[0])
        self._write(
            "PATCH",
            f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/"
            f"{metadata['name']}/status",
            patches[1],
        )

    def _write(self, method: str, path: str, body: Object | None = None) -> None:
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        try:
            written = self._client.request(method, path, body, content)
        except ApiError as error:
            if error.code not in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                raise
            return
        kind = written.get("kind")
        if kind == "PersistentVolume":
            self._volumes.put(written)
        elif kind == "PersistentVolumeClaim":
            self._claims.put(written)

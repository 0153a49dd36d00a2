"""What of a cluster goes into a backup, and in which form. Pure: objects in, objects out.

A program's objects are made again by the program, and a controller's by the controller; what is
left is the users'. What Pulumi made is told by the field manager that it writes as.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backup.model import BackupError, Object
from components.kubeflow.manifests import FIELD_MANAGER
from components.kubeflow.objects import Kinds, Ref, group_of, pod_template
from components.kubeflow.plan import plan
from components.kubeflow.rules import Edge, Rule

PLATFORM: Final = "kubeflow"
"""The namespace of the platform's own state."""
PROFILE_LABEL: Final = ("app.kubernetes.io/part-of", "kubeflow-profile")
"""What the profile controller labels a profile's namespace with."""
MADE_HERE: Final = ("app.kubernetes.io/managed-by", "ml-platform-backup")
"""Label of the pods that read and fill volumes, which are nobody's users."""
REPLICAS: Final = "ml-platform/replicas-before-restore"
"""Annotation of what a restore has stopped: how many replicas it had."""
_PULUMI: Final = "pulumi"
"""How the official provider's own field managers begin."""
# What the official images of MySQL and MariaDB want one of, or do not start.
_DATABASE_VARIABLES: Final = frozenset(
    {
        "MYSQL_ROOT_PASSWORD",
        "MYSQL_ROOT_PASSWORD_FILE",
        "MYSQL_ALLOW_EMPTY_PASSWORD",
        "MARIADB_ROOT_PASSWORD",
        "MARIADB_ROOT_PASSWORD_FILE",
        "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD",
    }
)
# Sessions and signing keys; what a controller is in the middle of; snapshots that are elsewhere.
_PASSING_GROUPS: Final = ("dex.coreos.com", "acme.cert-manager.io", "snapshot.storage.k8s.io")
# What others write about objects, or make of them. Secrets go a way of their own.
_DERIVED: Final = frozenset(
    {
        ("", "Endpoints"),
        ("", "Event"),
        ("", "Pod"),
        ("", "Secret"),
        ("apps", "ControllerRevision"),
        ("apps", "ReplicaSet"),
        ("coordination.k8s.io", "Lease"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("events.k8s.io", "Event"),
        ("storage.k8s.io", "CSIStorageCapacity"),
    }
)
# In every namespace of a cluster, or of one with Istio.
_EVERYWHERE: Final = frozenset(
    {
        ("ConfigMap", "istio-ca-root-cert"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
    }
)
_SERVER_SIDE: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
# Of the binding of a claim to its volume, which is another one after a restore.
_BINDING: Final = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
_OVER: Final = frozenset({"Complete", "Failed", "Succeeded"})
_OVER_PHASES: Final = frozenset({"Error", "Failed", "Succeeded"})
_LIVING: Final = frozenset({"Pending", "Running", "Unknown"})


@dataclass(frozen=True)
class World:
    """What was read of a cluster; `definitions` are CustomResourceDefinitions' metadata."""

    namespaces: Sequence[Object]
    definitions: Sequence[Object]
    objects: Sequence[Object]
    """Objects of custom kinds of everywhere, and those of any kind in users' namespaces."""
    workloads: Sequence[Object]
    """Deployments and StatefulSets of everywhere."""
    claims: Sequence[Object]
    pods: Sequence[Object]


@dataclass(frozen=True, order=True)
class Database:
    """A server of MySQL or MariaDB."""

    namespace: str
    owner: str
    name: str
    container: str
    labels: Mapping[str, str] = field(compare=False)
    """Those of its pods, by which its Deployment or StatefulSet selects them."""
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """How a pod beside the users of a volume is to be run.

    `node` is where they are, empty if nobody uses it. `security` is what their pod and container
    say of users and groups.
    """

    namespace: str
    claim: str
    node: str = ""
    tolerations: tuple[Object, ...] = ()
    security: Mapping[str, Any] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    """Their pods' names."""


@dataclass(frozen=True)
class Selection:
    """What goes into a backup, and what was seen and does not."""

    namespaces: tuple[str, ...]
    """The users'."""
    databases: tuple[Database, ...]
    volumes: tuple[Mount, ...]
    objects: tuple[Object, ...]
    over: tuple[Object, ...]
    """Objects that have run to their end, with their status: for people, and not to run again."""
    left_out: tuple[tuple[str, str], ...]


def select(
    world: World, more: Collection[str] = (), without: Collection[tuple[str, str]] = ()
) -> Selection:
    """What goes into a backup.

    Args:
        world: the cluster.
        more: names of namespaces that are taken as a profile's are.
        without: claims whose volumes are to stay out, as (namespace, name).

    Raises:
        BackupError: a namespace is not there, or a volume can't be read as files.
    """
    users = users_namespaces(world.namespaces, more)
    scope = {*users, PLATFORM}
    found = databases(world.workloads, scope)
    dumped = {(one.namespace, claim) for one in found for claim in one.claims}
    volumes, claims, left_out = list[Mount](), list[Object](), list[tuple[str, str]]()
    for claim in world.claims:
        here = namespace, name = place(claim)
        if namespace not in scope or here in dumped or "deletionTimestamp" in claim["metadata"]:
            continue
        what = f"volume/{namespace}/{name}"
        if here in without:
            left_out.append((what, "by --without-volume"))
        elif owner := _owner(claim):
            left_out.append((what, f"belongs to {owner}, whose controller makes it"))
        elif (claim.get("status") or {}).get("phase") != "Bound":
            left_out.append((what, "nobody has used it yet, so it has no volume"))
        elif claim["spec"].get("volumeMode") == "Block":
            raise BackupError(
                f"the claim {namespace}/{name} is of a block device, which has no files; "
                f"leave it out by --without-volume {namespace}/{name}"
            )
        else:
            mount = mount_of(claim, world.pods)
            if mount.users and is_exclusive(claim):
                raise BackupError(
                    f"the claim {namespace}/{name} is ReadWriteOncePod, and the pod "
                    f"{mount.users[0]} has it: no other may read it; stop that pod, or leave the "
                    f"volume out by --without-volume {namespace}/{name}"
                )
            volumes.append(mount)
            if namespace not in users and not _is_pulumis(claim):
                claims.append(cleaned(claim))
    taken, elsewhere = _objects(world, users)
    objects = [cleaned(body) for body in taken if not is_over(body)] + claims
    over = [{**cleaned(body), "status": body["status"]} for body in taken if is_over(body)]
    left_out += elsewhere
    volumes.sort(key=lambda one: (one.namespace, one.claim))
    return Selection(
        users, found, tuple(volumes), tuple(objects), tuple(over), tuple(sorted(left_out))
    )


def users_namespaces(namespaces: Iterable[Object], more: Collection[str] = ()) -> tuple[str, ...]:
    """Those of profiles, and `more`. Raises BackupError for one that is not there."""
    there = {body["metadata"]["name"]: body for body in namespaces}
    if missing := sorted(set(more) - there.keys()):
        raise BackupError(f"there is no namespace {missing[0]} (--namespace)")
    label, value = PROFILE_LABEL
    labelled = {
        name
        for name, body in there.items()
        if (body["metadata"].get("labels") or {}).get(label) == value
    }
    return tuple(sorted(labelled | set(more)))


def databases(workloads: Iterable[Object], scope: Collection[str]) -> tuple[Database, ...]:
    """The servers of MySQL and MariaDB in some namespaces."""
    found = []
    for body in workloads:
        namespace, name = place(body)
        template = pod_template(body)
        if namespace not in scope or template is None:
            continue
        for container in template["spec"]["containers"]:
            variables = {variable["name"] for variable in container.get("env") or ()}
            image = container["image"].partition("@")[0].rpartition("/")[2]
            if variables & _DATABASE_VARIABLES and image.startswith(("mysql", "mariadb")):
                labels = body["spec"]["selector"].get("matchLabels") or {}
                claims = tuple(sorted(claims_of(body)))
                found.append(
                    Database(namespace, body["kind"], name, container["name"], labels, claims)
                )
    return tuple(sorted(found))


def claims_of(body: Object) -> Iterator[str]:
    """The claims that the pods of a Deployment or StatefulSet mount."""
    yield from _mounted(body["spec"]["template"]["spec"])
    stopped = (body["metadata"].get("annotations") or {}).get(REPLICAS)
    replicas = int(stopped or body["spec"].get("replicas", 1))
    for made in body["spec"].get("volumeClaimTemplates") or ():
        for number in range(replicas):
            yield f"{made['metadata']['name']}-{body['metadata']['name']}-{number}"


def _mounted(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if source := volume.get("persistentVolumeClaim"):
            yield source["claimName"]


def mount_of(claim: Object, pods: Iterable[Object]) -> Mount:
    """How a claim's volume is mounted beside the pods that use it now."""
    namespace, name = place(claim)
    users = [pod for pod in pods if place(pod)[0] == namespace and uses(pod, name)]
    names = tuple(sorted(pod["metadata"]["name"] for pod in users))
    placed = [pod for pod in users if pod["spec"].get("nodeName")]
    if not placed:
        return Mount(namespace, name, users=names)
    spec = min(placed, key=lambda one: str(one["metadata"]["name"]))["spec"]
    return mount_like(namespace, name, spec, spec["nodeName"], names)


def mount_like(
    namespace: str, claim: str, spec: Object, node: str = "", users: tuple[str, ...] = ()
) -> Mount:
    """How a claim's volume is mounted as pods of this spec mount it."""
    tolerations = tuple(spec.get("tolerations") or ())
    return Mount(namespace, claim, node, tolerations, _security(spec, claim), users)


def is_exclusive(claim: Object) -> bool:
    """Whether only one pod may have a claim."""
    return "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())


def uses(pod: Object, claim: str) -> bool:
    """Whether a pod that has not ended mounts a claim of its namespace; not one of ours."""
    living = (pod.get("status") or {}).get("phase", "Pending") in _LIVING
    label, value = MADE_HERE
    ours = (pod["metadata"].get("labels") or {}).get(label) == value
    return living and not ours and claim in _mounted(pod["spec"])


def _security(spec: Object, claim: str) -> dict[str, Any]:
    volumes = {
        volume["name"]
        for volume in spec.get("volumes") or ()
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
    }
    found = dict(spec.get("securityContext") or {})
    for container in spec["containers"]:
        if any(mount["name"] in volumes for mount in container.get("volumeMounts") or ()):
            own = container.get("securityContext") or {}
            found |= {key: own[key] for key in ("runAsUser", "runAsGroup") if key in own}
            break
    kept = ("fsGroup", "runAsGroup", "runAsUser", "supplementalGroups")
    return {key: found[key] for key in kept if key in found}


def _objects(world: World, users: Sequence[str]) -> tuple[list[Object], list[tuple[str, str]]]:
    platforms = {
        body["metadata"]["name"]
        for body in world.namespaces
        if _is_pulumis(body) or body["metadata"]["name"] == PLATFORM
    }
    ours = {
        body["metadata"]["name"].partition(".")[2]
        for body in world.definitions
        if _is_pulumis(body)
    }
    taken, elsewhere = list[Object](), dict[str, int]()
    for body in world.objects:
        namespace, name = place(body)
        group = group_of(body["apiVersion"])
        if (
            (group, body["kind"]) in _DERIVED
            or (body["kind"], name) in _EVERYWHERE
            or group in _PASSING_GROUPS
            or "deletionTimestamp" in body["metadata"]
            or _owner(body)
            or _is_pulumis(body)
        ):
            continue
        if namespace in users or (group in ours and (not namespace or namespace in platforms)):
            taken.append(body)
        elif group in ours:
            elsewhere[namespace] = elsewhere.get(namespace, 0) + 1
    for body in world.namespaces:
        if body["metadata"]["name"] in users and not _is_pulumis(body):
            taken.append(body)
    left_out = [
        (
            f"{number} objects in the namespace {name}",
            f"no profile's; take it by --namespace {name}",
        )
        for name, number in elsewhere.items()
    ]
    return taken, left_out


def secrets(bodies: Iterable[Object], users: Collection[str]) -> tuple[Object, ...]:
    """The users' own Secrets: of their namespaces, made by no program, no token of the cluster."""
    return tuple(
        cleaned(body)
        for body in bodies
        if place(body)[0] in users
        and not _owner(body)
        and not _is_pulumis(body)
        and body.get("type") != "kubernetes.io/service-account-token"
    )


def cleaned(body: Object) -> Object:
    """An object as its user wrote it: without what the API server and controllers put into it.

    A Namespace keeps the names of its owners: it goes with its Profile.
    """
    kept = copy.deepcopy({key: value for key, value in body.items() if key != "status"})
    metadata, kind = kept["metadata"], kept["kind"]
    owners = metadata.get("ownerReferences")
    for key in _SERVER_SIDE:
        metadata.pop(key, None)
    if kind == "Namespace" and owners:
        metadata["ownerReferences"] = [{**owner, "uid": ""} for owner in owners]
    spec = kept.get("spec") or {}
    if kind == "Namespace":
        kept.pop("spec", None)
    elif kind == "PersistentVolumeClaim":
        for key in ("volumeName", "dataSource", "dataSourceRef"):
            spec.pop(key, None)
        annotations = metadata.get("annotations") or {}
        for key in [key for key in annotations if key.startswith(_BINDING)]:
            del annotations[key]
    elif kind == "Service" and not group_of(kept["apiVersion"]):
        if spec.get("clusterIP") != "None":
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        spec.pop("healthCheckNodePort", None)
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    elif kind == "ServiceAccount":
        kept.pop("secrets", None)
    elif (
        kind == "Job" and group_of(kept["apiVersion"]) == "batch" and not spec.get("manualSelector")
    ):
        spec.pop("selector", None)
        labels = spec["template"].get("metadata", {}).get("labels") or {}
        for found in (labels, metadata.get("labels") or {}):
            for key in [key for key in found if key.rpartition("/")[2] in _OF_JOBS]:
                del found[key]
    return kept


_OF_JOBS: Final = frozenset({"controller-uid", "job-name"})


def is_over(body: Object) -> bool:
    """Whether an object has run to its end, so that making it again would run it again."""
    status = body.get("status") or {}
    return status.get("phase") in _OVER_PHASES or any(
        condition.get("type") in _OVER and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def in_order(objects: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """Objects in the order in which a cluster takes them.

    Returns:
        Claims, databases, and all that they wait for, which come before volumes and databases are
        filled; and the others.
    """
    bodies = list(objects)
    kinds = Kinds(bodies)
    known = {kinds.ref(body): body for body in bodies}
    owners = [
        Edge(ref, Ref(owner["kind"], group_of(owner["apiVersion"]), "", owner["name"]), *_OWNED)
        for ref, body in known.items()
        for owner in body["metadata"].get("ownerReferences") or ()
    ]
    ordered = plan(bodies, [edge for edge in owners if edge.target in known])
    first: set[Ref] = set()
    for node in reversed(ordered.nodes):
        if node.ref in first or (node.body is not None and _comes_first(known[node.ref])):
            first |= {node.ref, *(edge.target for edge in ordered.waits_for[node.ref])}
    placed = [node for node in ordered.nodes if node.body is not None]
    return (
        [known[node.ref] for node in placed if node.ref in first],
        [known[node.ref] for node in placed if node.ref not in first],
    )


def _comes_first(body: Object) -> bool:
    if body["kind"] in ("Deployment", "StatefulSet"):
        return bool(databases([body], [place(body)[0]]))
    return body["kind"] in ("Namespace", "PersistentVolumeClaim")


_OWNED: Final = (Rule.NAMESPACE, "goes with")


def place(body: Object) -> tuple[str, str]:
    """Namespace, empty for none, and name of an object."""
    metadata = body["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _owner(body: Object) -> str:
    owners = body["metadata"].get("ownerReferences") or ()
    return next((f"{owner['kind']}/{owner['name']}" for owner in owners), "")


def _is_pulumis(body: Object) -> bool:
    managers = (entry.get("manager") or "" for entry in body["metadata"].get("managedFields") or ())
    return any(name == FIELD_MANAGER or name.startswith(_PULUMI) for name in managers)

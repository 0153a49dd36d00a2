"""Stand-in for the official `pulumi-resource-kubernetes`, for machines that can't download it.

It does what the official provider (v4.3x, server-side apply) does for single Kubernetes objects;
its behaviour follows https://www.pulumi.com/registry/packages/kubernetes/ and the provider's
sources. Lists, Patch resources, Helm, Kustomize and YAML components are refused by name.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from provider import diff as difference
from provider import settings
from provider.client import ApiError, Client, NoSuchKind, Resource, Unreachable
from provider.informer import Informers
from provider.kubeconfig import connect
from provider.readiness import (
    annotation,
    judge,
    judged_on_read,
    rule_for,
    skips_await,
    timeout_of,
)
from provider.rpc import (
    Call,
    Change,
    Difference,
    Engine,
    Failure,
    InitFailed,
    Plugin,
    PluginError,
    Properties,
    serve,
)
from provider.values import has_unknown, plain
from provider.wait import NotReady, Waiter
from sandbox.provider import checkpoint, managed_fields, naming

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_CREATE_MANAGER: Final = "pulumi-kubernetes"
_UPDATE_ATTEMPTS: Final = 5
_RETRIES: Final = 5  # of a create whose kind or namespace is not there yet: 1, 2, 4, 8 and 16 s
_GOING: Final = 30.0  # seconds that a refresh waits for what is being deleted
_CONFLICT_HELP: Final = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/"
    "managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources"
)
# Kinds that skipAwait lets go on deletion too.
_DELETE_UNWAITED: Final = frozenset(
    {
        "v1/Namespace",
        "v1/Pod",
        "v1/ReplicationController",
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/Job",
    }
)


class KubernetesPlugin(Plugin):
    """Provider `kubernetes`."""

    name = "kubernetes"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._variables: Mapping[str, str] = {}
        self._connecting = threading.Lock()
        self._client: Client | None = None
        self._waiter: Waiter | None = None
        # Namespaces that a preview found missing; spares a dry run for each object in them.
        self._missing: set[str] = set()

    # Configuration.

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        from importlib.metadata import version

        self.version = version("pulumi-kubernetes")
        return super().GetPluginInfo(request, context)

    def check_config(self, olds: Properties, news: Properties) -> Sequence[Failure]:
        """Refuse modes of the official provider that this one doesn't have."""
        failures = []
        if plain(news.get("renderYamlToDirectory")):
            reason = "rendering YAML is not supported by this provider"
            failures.append(Failure("renderYamlToDirectory", reason))
        if str(plain(news.get("enableServerSideApply", "true"))).lower() == "false":
            reason = "this provider always uses server-side apply; remove the setting"
            failures.append(Failure("enableServerSideApply", reason))
        return failures

    def diff_config(self, olds: Properties, news: Properties) -> Difference:
        """Changes of the configuration; another cluster replaces everything."""
        return settings.difference(olds, news)

    def configure(self, variables: Mapping[str, str]) -> None:
        """Take the configuration; the cluster is first contacted when something needs it."""
        self._variables = variables

    def _flag(self, name: str, environment: str) -> bool:
        return self._variables.get(name, os.environ.get(environment, "")) == "true"

    @property
    def client(self) -> Client:
        """The cluster."""
        with self._connecting:
            if self._client is None:
                names = ("kubeconfig", "context", "cluster")
                connection = connect(*(self._variables.get(name, "") for name in names))
                self._client = Client(connection, "pulumi-kubernetes", self.cancelled)
                informers = Informers(self._client)
                self._waiter = Waiter(self._client, informers, self.cancelled)
            return self._client

    @property
    def waiter(self) -> Waiter:
        """Waits on the cluster."""
        _ = self.client
        assert self._waiter is not None  # noqa: S101  made with the client
        return self._waiter

    # Check and Diff.

    def check(
        self, call: Call, olds: Properties, news: Properties
    ) -> tuple[Properties, Sequence[Failure]]:
        """Complete the object: type, name, default namespace; and see that it can be waited for."""
        api_version, kind = naming.group_version_kind(call.type)
        obj, old = checkpoint.to_object(news), checkpoint.to_object(olds)
        obj.setdefault("apiVersion", api_version)
        obj.setdefault("kind", kind)
        obj = difference.normalize(obj)
        metadata = obj.get("metadata")
        if metadata is None:
            metadata = obj["metadata"] = {}
        if isinstance(metadata, dict):
            self._check_metadata(call, obj, metadata, old)
        failures = []
        try:
            rule_for(obj)
        except ValueError as error:
            failures.append(Failure("metadata.annotations", str(error)))
        return checkpoint.to_properties(obj, news), failures

    def _check_metadata(
        self, call: Call, obj: Properties, metadata: Properties, old: Properties
    ) -> None:
        before = old.get("metadata") or {}
        if not metadata.get("name"):
            if (before.get("annotations") or {}).get(naming.AUTONAMED) == "true":
                metadata["name"] = before["name"]
                metadata.setdefault("annotations", {})[naming.AUTONAMED] = "true"
            elif metadata.get("generateName"):
                raise PluginError(
                    "the `.metadata.generateName` field is not supported in Server-Side Apply mode"
                )
            else:
                naming.assign_name(obj, call)
        # Kept where an earlier client-side apply set it; never added under server-side apply.
        label = os.environ.get("PULUMI_KUBERNETES_MANAGED_BY_LABEL", "pulumi")
        if (before.get("labels") or {}).get(MANAGED_BY) == label:
            labels = metadata.setdefault("labels", {})
            if isinstance(labels, dict):
                labels[MANAGED_BY] = label
        namespace = self._variables.get("namespace", "")
        if namespace and not metadata.get("namespace") and self._namespaced(obj):
            metadata["namespace"] = namespace

    def _namespaced(self, obj: Properties) -> bool:
        try:
            return self.client.resource(obj["apiVersion"], obj["kind"]).namespaced
        except (NoSuchKind, Unreachable):
            return True

    def diff(self, call: Call, olds: Properties, news: Properties) -> Difference:
        """Compare the last known object with the new inputs; makes no request."""
        new = difference.normalize(checkpoint.to_object(news))
        old_inputs, live = checkpoint.load(olds)
        old_inputs = difference.normalize(old_inputs)
        live = {**live, "metadata": dict(live.get("metadata") or {})}
        metadata = new.get("metadata")
        if isinstance(metadata, dict):
            _canonical(call, live, old_inputs, new, metadata)
        found = difference.changes(
            live,
            old_inputs,
            new,
            difference.force_new(
                new,
                config_map_mutable=self._flag(
                    "enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"
                ),
                secret_mutable=self._flag(
                    "enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"
                ),
            ),
        )
        found = difference.without_ignored(found, call.ignore_changes)
        if annotation(new, "pulumi.com/replaceUnready") == "true" and new["kind"] == "Job":
            # Of the last known state; the official provider reads the live one.
            found += [] if judge(live).ready else [Change("metadata.name", "update", replace=True)]
        name = live["metadata"].get("name")
        wanted = metadata if isinstance(metadata, dict) else {}
        same_place = wanted.get("name") == name and (
            wanted.get("namespace") == live["metadata"].get("namespace")
        )
        autonamed = annotation(new, naming.AUTONAMED) == "true"
        replaced = any(change.replace for change in found)
        return Difference(found, delete_before_replace=replaced and same_place and not autonamed)

    # Create, Update, Read, Delete.

    def create(self, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Make the object and wait until it is ready; a preview is a dry run on the server."""
        obj = difference.normalize(checkpoint.to_object(inputs))
        if call.preview:
            return "", self._preview(call, obj, inputs, lambda: self._write_new(call, obj)[0])
        self._missing.clear()
        live, manager = self._write_new(call, obj)
        version = str(obj["apiVersion"])
        try:
            live = self._wait(call, obj, live, updating=False)
        except NotReady as error:
            state = checkpoint.save(error.live, obj, inputs, version, manager)
            raise InitFailed(
                f'resource "{call.urn}" was successfully created, but the Kubernetes API server '
                f"reported that it failed to fully initialize or become live: {error}",
                naming.identifier(error.live),
                state,
                error.reasons,
            ) from None
        self._learn(obj)
        state = checkpoint.save(live, obj, inputs, version, manager)
        return naming.identifier(live), state

    def _preview(
        self, call: Call, obj: Properties, inputs: Properties, dry_run: Callable[[], Properties]
    ) -> Properties:
        """Outputs of a dry run, or the inputs themselves where the server can't try it yet."""
        if has_unknown(obj):
            return inputs
        namespace = obj["metadata"].get("namespace") or ""
        try:
            if namespace in self._missing or not self.client.serves(obj["apiVersion"], obj["kind"]):
                return inputs
            live = dry_run()
        except Unreachable as error:
            self.engine.warning(call.urn, str(error))
            return inputs
        except ApiError as error:
            if error.missing_namespace:
                self._missing.add(error.missing_namespace)
                return inputs
            if error.code == 403 or error.reason == "AlreadyExists":
                return inputs
            if error.code == 400 and "does not support dry run" in error.message:
                return inputs
            raise
        live.pop("status", None)
        return checkpoint.save(live, obj, inputs, str(obj["apiVersion"]), naming.field_manager())

    def _write_new(self, call: Call, obj: Properties) -> tuple[Properties, str]:
        """Write a new object, again while its kind or namespace is missing; object and manager."""
        manager = annotation(obj, "pulumi.com/patchFieldManager") or naming.field_manager()
        upsert = self._flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS")
        pause = 1.0
        for attempt in range(_RETRIES + 1):
            try:
                return self._write_once(call, obj, manager, upsert=upsert), manager
            except (ApiError, NoSuchKind) as error:
                again = isinstance(error, NoSuchKind) or error.code == 404
                if not again or call.preview or attempt == _RETRIES:
                    raise self._creation_error(call, error, manager) from None
                self.engine.status(call.urn, f"Retry #{attempt}; creation failed: {error}")
                if self.cancelled.wait(pause):
                    raise self._creation_error(call, error, manager) from None
                pause *= 2
        raise AssertionError("unreachable")

    def _write_once(self, call: Call, obj: Properties, manager: str, *, upsert: bool) -> Properties:
        resource, namespace, name, body = self._address(obj)
        if not upsert:
            return self.client.create(
                resource, body, namespace, field_manager=_CREATE_MANAGER, dry_run=call.preview
            )
        force = call.preview or self._forced(obj)
        write = self.client.apply
        options: dict[str, Any] = {
            "field_manager": manager,
            "force": force,
            "dry_run": call.preview,
        }
        try:
            return write(resource, body, namespace, name, **options)
        except ApiError as error:
            if not call.preview or error.code != 422 or "field is immutable" not in error.message:
                raise
            # A dry run can't replace; try what the new object would be under another name.
            other = f"{name}{naming.unique_hex(b'')[:5]}"
            body = {**body, "metadata": {**body["metadata"], "name": other}}
            return write(resource, body, namespace, other, **options)

    def _forced(self, obj: Properties) -> bool:
        return annotation(obj, "pulumi.com/patchForce") == "true" or self._flag(
            "enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"
        )

    def _address(self, obj: Properties) -> tuple[Resource, str, str, Properties]:
        resource = self.client.resource(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
        metadata = {k: v for k, v in metadata.items() if k != "namespace"}
        if namespace:
            metadata["namespace"] = namespace
        return resource, namespace, str(metadata["name"]), {**obj, "metadata": metadata}

    def _creation_error(self, call: Call, error: PluginError, manager: str) -> PluginError:
        if isinstance(error, NoSuchKind):
            return PluginError(
                f'creation of resource "{call.urn}" with kind {call.type} failed because the '
                "Kubernetes API server reported that the apiVersion for this resource does not "
                f"exist. Verify that any required CRDs have been created: {error}"
            )
        if not isinstance(error, ApiError):
            return error
        if call.preview:
            return error
        text = _explain_conflict(error, manager)
        if error.reason == "AlreadyExists":
            text += (
                ". The resource already exists in the cluster: import it with `pulumi import`, or "
                "set upsertExistingObjects on the provider to take existing objects over"
            )
        return PluginError(
            f'resource "{call.urn}" was not successfully created by the Kubernetes API server: '
            f"{text}"
        )

    def _wait(self, call: Call, obj: Properties, live: Properties, *, updating: bool) -> Properties:
        rule = rule_for(obj)
        if rule is None:
            return live
        try:
            return self.waiter.ready(
                live,
                rule,
                timeout=timeout_of(obj, call.timeout),
                updating=updating,
                status=lambda text: self.engine.status(call.urn, text),
            )
        except NotReady:
            raise
        except PluginError as error:
            # The object is there whatever went wrong with the wait: the engine must know of it.
            raise NotReady(str(error), live, []) from None

    def _learn(self, obj: Properties) -> None:
        if difference.is_definition(obj):
            self.client.forget(obj["spec"]["group"])

    def update(self, call: Call, olds: Properties, news: Properties) -> Properties:
        """Apply the new inputs and wait until the object is ready."""
        obj = difference.normalize(checkpoint.to_object(news))
        old_inputs, old_live = checkpoint.load(olds)
        old_manager = checkpoint.manager_of(olds) or naming.field_manager()
        manager = annotation(obj, "pulumi.com/patchFieldManager") or old_manager
        version = checkpoint.initial_version_of(olds, old_inputs)
        if call.preview:
            return self._preview(
                call, obj, news, lambda: self._write_changed(call, obj, old_live, manager)
            )
        try:
            live = self._write_changed(call, obj, old_live, manager)
        except NoSuchKind as error:
            raise self._creation_error(call, error, manager) from None
        except ApiError as error:
            raise self._update_failed(
                call, obj, news, old_live, version=version, manager=manager, error=error
            ) from None
        try:
            live = self._wait(call, obj, live, updating=True)
        except NotReady as error:
            state = checkpoint.save(error.live, obj, news, version, manager)
            raise InitFailed(
                f'the Kubernetes API server reported that "{naming.identifier(error.live)}" failed '
                f"to fully initialize or become live: {error}",
                naming.identifier(error.live),
                state,
                error.reasons,
            ) from None
        if manager != old_manager:
            self._relinquish(live, old_manager)
        self._learn(obj)
        return checkpoint.save(live, obj, news, version, manager)

    def _update_failed(
        self,
        call: Call,
        obj: Properties,
        news: Properties,
        old_live: Properties,
        *,
        version: str,
        manager: str,
        error: ApiError,
    ) -> PluginError:
        """A refused write: as the official provider, record what is there and fail."""
        text = _explain_conflict(error, manager)
        try:
            resource, namespace, name, _ = self._address(old_live)
            live = self.client.get(resource, namespace, name)
        except PluginError:
            return PluginError(f'update of resource "{call.urn}" failed: {text}')
        return InitFailed(
            f'the Kubernetes API server reported that "{naming.identifier(live)}" failed to fully '
            f"initialize or become live: {text}",
            naming.identifier(live),
            checkpoint.save(live, obj, news, version, manager),
            [],
        )

    def _write_changed(
        self, call: Call, obj: Properties, old_live: Properties, manager: str
    ) -> Properties:
        """Write an update, anew from what is there then if a controller came between."""
        for _ in range(_UPDATE_ATTEMPTS - 1):
            try:
                return self._write_changed_once(call, obj, old_live, manager)
            except ApiError as error:
                if not error.outdated:
                    raise
        return self._write_changed_once(call, obj, old_live, manager)

    def _write_changed_once(
        self, call: Call, obj: Properties, old_live: Properties, manager: str
    ) -> Properties:
        resource, namespace, _, body = self._address(obj)
        name = str(old_live["metadata"]["name"])
        live = self.client.get(resource, namespace, name)
        if difference.is_definition(obj):
            metadata = {
                **body["metadata"],
                "resourceVersion": live["metadata"]["resourceVersion"],
            }
            return self.client.replace(
                resource,
                {**body, "metadata": metadata},
                namespace,
                name,
                field_manager=manager,
                dry_run=call.preview,
            )
        force = (
            self._forced(obj)
            or not managed_fields.has_managers(live)
            or (call.preview and managed_fields.written_by_update(live))
        )
        if not call.preview:
            operations = managed_fields.take_over(live, manager)
            if operations:
                live = self.client.patch(resource, operations, namespace, name)
        body = _leave_ignored(body, live, call.ignore_changes, manager)
        return self.client.apply(
            resource,
            body,
            namespace,
            name,
            field_manager=manager,
            force=force,
            dry_run=call.preview,
        )

    def _relinquish(self, live: Properties, manager: str) -> None:
        resource, namespace, name, _ = self._address(live)
        identity = {
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "metadata": {"name": name},
        }
        self.client.apply(resource, identity, namespace, name, field_manager=manager, force=False)

    def read(
        self, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """The live object; inputs are its values of what the old inputs set (all, on import)."""
        old_inputs = difference.normalize(checkpoint.to_object(inputs))
        _, old_live = checkpoint.load(state)
        namespace, name = naming.parse_identifier(call.id)
        importing = not old_inputs.get("kind") and not old_live.get("kind")
        api_version, kind = naming.group_version_kind(call.type)
        identity: Properties = {
            "apiVersion": old_inputs.get("apiVersion") or old_live.get("apiVersion") or api_version,
            "kind": old_inputs.get("kind") or old_live.get("kind") or kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        }
        try:
            resource, namespace, name, _ = self._address(identity)
            live = self.client.get(resource, namespace, name)
        except NoSuchKind:
            return "", {}, {}
        except ApiError as error:
            if error.code == 404:
                return "", {}, {}
            raise
        if not importing and live["metadata"].get("deletionTimestamp"):
            # A destroy that was killed: what is going is no more for the update that comes next.
            lingering = {**identity, "metadata": live["metadata"]}
            try:
                self.waiter.gone(
                    lingering,
                    timeout=_GOING,
                    status=lambda text: self.engine.status(call.urn, text),
                )
            except NotReady:
                pass  # Something holds it: it is there.
            else:
                return "", {}, {}
        live_inputs = (
            _importable(live) if importing else difference.observed(live, old_inputs or identity)
        )
        version = checkpoint.initial_version_of(state, old_inputs) or identity["apiVersion"]
        manager = checkpoint.manager_of(state) or naming.field_manager()
        outputs = checkpoint.save(live, live_inputs, inputs, version, manager)
        answer = call.id, outputs, checkpoint.to_properties(live_inputs, inputs)
        if not importing and judged_on_read(old_inputs or live) and judged_on_read(live):
            verdict = judge(live, self.waiter.surroundings(live))
            if not verdict.ready:
                raise InitFailed(verdict.reason, call.id, outputs, [], answer[2])
        return answer

    def delete(self, call: Call, state: Properties) -> None:
        """Delete the object and wait until it is gone."""
        old_inputs, live = checkpoint.load(state)
        namespace, name = naming.parse_identifier(call.id)
        identity = {**live, "metadata": {**live.get("metadata", {}), "name": name}}
        if namespace:
            identity["metadata"]["namespace"] = namespace
        policy = annotation(old_inputs, "pulumi.com/deletionPropagationPolicy").capitalize()
        propagation = policy if policy in {"Orphan", "Background"} else "Foreground"
        try:
            resource, namespace, name, _ = self._address(identity)
            answer = self.client.delete(resource, namespace, name, propagation=propagation)
        except NoSuchKind:
            return
        except ApiError as error:
            if error.code == 404:
                return
            raise
        if difference.is_definition(live):
            self.client.forget(str(live.get("spec", {}).get("group")))
        title = f"{live['apiVersion']}/{live['kind']}"
        if skips_await(old_inputs) and title in _DELETE_UNWAITED:
            return
        if answer.get("kind") == "Status":
            return
        lingering = {**answer, "apiVersion": live["apiVersion"], "kind": live["kind"]}
        try:
            self.waiter.gone(
                lingering,
                timeout=timeout_of(old_inputs, call.timeout),
                status=lambda text: self.engine.status(call.urn, text),
            )
        except NoSuchKind:
            return
        except NotReady as error:
            raise PluginError(str(error)) from None


def _explain_conflict(error: ApiError, manager: str) -> str:
    if not error.contested:
        return str(error)
    return (
        f"server-side apply field conflict detected, see {_CONFLICT_HELP} for troubleshooting "
        f'help. The resource managed by field manager "{manager}" had an apply conflict: {error}'
    )


def _canonical(
    call: Call, live: Properties, old: Properties, new: Properties, metadata: Properties
) -> None:
    """Let both sides name the namespace, or neither, so that only a real move is a change."""
    new["metadata"] = metadata = dict(metadata)
    old["metadata"] = dict(old.get("metadata") or {})
    namespaced = bool(live["metadata"].get("namespace")) or "/" in call.id
    if namespaced:
        live["metadata"].setdefault("namespace", "default")
        metadata["namespace"] = metadata.get("namespace") or "default"
        old["metadata"]["namespace"] = metadata["namespace"]
    else:
        metadata.pop("namespace", None)
        live["metadata"].pop("namespace", None)
    if metadata.get("name"):
        old["metadata"]["name"] = metadata["name"]


def _importable(live: Properties) -> Properties:
    inputs = {key: value for key, value in live.items() if key != "status"}
    metadata = {
        key: value for key, value in live["metadata"].items() if key not in difference.READ_ONLY
    }
    hidden = {
        "deployment.kubernetes.io/revision",
        checkpoint.LAST_APPLIED,
    }
    if "annotations" in metadata:
        kept = {k: v for k, v in metadata["annotations"].items() if k not in hidden}
        metadata["annotations"] = kept
    return {**inputs, "metadata": metadata}


def _leave_ignored(
    body: Properties, live: Properties, ignored: Sequence[str], manager: str
) -> Properties:
    """Inputs for an update under `ignoreChanges`: drop what others manage, keep what is there."""
    for text in ignored:
        path = difference.parse_path(text)
        others = managed_fields.holds(live, path, manager, others=True)
        ours = managed_fields.holds(live, path, manager, others=False)
        if others and not ours:
            body = _with(body, path, None, remove=True)
            continue
        value: Any = live
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            body = _with(body, path, value, remove=False)
    return body


def _with(obj: Any, path: tuple[str | int, ...], value: Any, *, remove: bool) -> Any:  # noqa: ANN401
    if not isinstance(obj, dict):
        return obj
    head, rest = path[0], path[1:]
    if not rest:
        kept = {key: item for key, item in obj.items() if key != head}
        return kept if remove else {**kept, head: value}
    if head not in obj and remove:
        return obj
    return {**obj, head: _with(obj.get(head, {}), rest, value, remove=remove)}


def main() -> None:
    """Entry of the plugin."""
    serve(KubernetesPlugin, sys.argv[1:])


if __name__ == "__main__":
    main()

"""Kubeflow on a cluster: from the pinned manifests to Pulumi's graph, with credentials of its own.

Everything up to the plan is pure or only reads files; `objects` and `planned` serve the command
`explain` and the benchmarks as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pulumi

from components.cluster.base import Cluster
from components.kubeflow import access, artifacts, render, source
from components.kubeflow.database import without_server
from components.kubeflow.holdings import holdings, trials
from components.kubeflow.manifests import Manifests, ManifestsArgs
from components.kubeflow.normalise import normalise
from components.kubeflow.objects import Kinds, Object, Ref
from components.kubeflow.plan import Plan, plan
from components.kubeflow.sign_in import PLANNED, SignIn
from components.platform_provider import Credentials, KubeflowRelease

Progress = Callable[[str], None]


@dataclass(frozen=True)
class KubeflowArgs:
    """What is installed and who may enter.

    `kustomize` is the executable; `cache_dir` holds what can be made again; `lock_file` pins the
    content of a git ref. An empty `components` is the whole platform, an empty `user_password` a
    generated one. `allow_deletion` names objects that hold what can't be made again and may go all
    the same, as in `holdings`. `timeout_minutes` is how long one object may take to become ready.
    Without `sign_in` Dex has the first user, with a password; with it, a provider has all users.
    """

    source: source.SourceSpec
    kustomize: Path
    cache_dir: Path
    lock_file: Path
    components: Sequence[str] = ()
    patches: Sequence[render.Patch] = ()
    transforms: Sequence[render.Transform] = ()
    user_email: str = access.DEFAULT_EMAIL
    user_password: pulumi.Input[str] = ""
    sign_in: SignIn | None = None
    dashboard_port: int = 8080
    timeout_minutes: int = 30
    allow_deletion: Sequence[str] = ()


def objects(args: KubeflowArgs, progress: Progress = lambda _: None) -> list[dict[str, Any]]:
    """The chosen objects, as upstream has them, without what a cluster fills in itself.

    Raises:
        SourceError, CatalogError, RenderError, TransformError: as the steps do.
    """
    manifests = source.resolve(args.source, args.cache_dir, args.lock_file, progress)
    rendered = render.render(
        manifests,
        args.components,
        args.patches,
        args.kustomize,
        args.cache_dir,
        transforms=args.transforms,
        progress=progress,
    )
    return normalise(rendered)


def planned(args: KubeflowArgs, progress: Progress = lambda _: None) -> Plan:
    """The plan with placeholders for credentials: what `explain` shows.

    Raises:
        PlanError, AccessError, and those of `objects`.
    """
    return fit(args, objects(args, progress))


def checked(args: KubeflowArgs, progress: Progress = lambda _: None) -> list[dict[str, Any]]:
    """The objects, found fit for a plan: whatever is wrong with them is told here.

    Raises:
        As `planned`.
    """
    bodies = objects(args, progress)
    fit(args, bodies)
    return bodies


def fit(args: KubeflowArgs, bodies: Sequence[Object]) -> Plan:
    """The plan of objects, with placeholders for credentials.

    Raises:
        PlanError, AccessError: they can't be planned, or made safe.
    """
    placeholders = {field.name: f"<{field.name}>" for field in fields(access.Credentials)}
    placeholders["user_email"] = args.user_email
    credentials = access.Credentials(**placeholders)
    sign_in = args.sign_in and replace(args.sign_in, client=PLANNED)
    return plan(access.secure(bodies, credentials, sign_in=sign_in))


def owners(args: KubeflowArgs, progress: Progress = lambda _: None) -> dict[Ref, str]:
    """Which component each object is of.

    Raises:
        SourceError, CatalogError, RenderError: as the steps do.
    """
    manifests = source.resolve(args.source, args.cache_dir, args.lock_file, progress)
    parts = render.by_component(manifests, args.kustomize, args.cache_dir, progress)
    kinds = Kinds(body for bodies in parts.values() for body in bodies)
    return {kinds.ref(body): name for name, bodies in parts.items() for body in bodies}


class Kubeflow(pulumi.ComponentResource):
    """The platform: every object a resource of its own, in the order that the API server needs.

    `bodies` are what `checked` gave for the same `args`, but for the client of `args.sign_in`,
    which may be known later.
    """

    objects: Sequence[Object]
    """As they are applied, with credentials that are outputs."""
    resources: Mapping[Ref, pulumi.Resource]
    """A resource for each object and each gate."""
    password: pulumi.Output[str]
    """The first user's password, a secret; where a provider signs in, which one, in plain text."""
    url: str
    """Where the dashboard is while `port_forward` runs, or where people sign in to it."""
    port_forward: str
    """The command that brings the dashboard to this machine."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        args: KubeflowArgs,
        bodies: Sequence[Object],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlplatform:kubeflow:Kubeflow", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        own = pulumi.ResourceOptions(
            parent=self, provider=cluster.platform, deleted_with=cluster.deleted_with
        )
        # Everything comes after it: a change that it refuses touches nothing.
        guard = KubeflowRelease(
            name,
            holds=holdings(bodies),
            trials=(tried := trials(bodies)),
            allow_deletion=args.allow_deletion,
            opts=own,
        )
        credentials = Credentials(
            f"{name}-credentials",
            password=args.user_password or None,
            opts=pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(depends_on=[guard])),
        )
        database = None
        if make := cluster.capabilities.database:
            bodies = without_server(bodies)
            database = make(credentials.pipelines_database_password)
        known = _credentials(args.user_email, credentials)
        self.objects = [
            *access.secure(bodies, known, _digest, args.sign_in, database),
            *artifacts.launchers(cluster.capabilities.object_store),
        ]
        manifests = Manifests(
            name,
            ManifestsArgs(
                plan(self.objects, artifacts.order(self.objects)),
                cluster,
                args.cache_dir / "definitions",
                f"{args.timeout_minutes}m",
                after=[guard],
                force={ref: guard.true(ref) for ref in tried},
            ),
            child,
        )
        self.resources = manifests.resources
        self.password = credentials.password
        self.url = access.dashboard_url(args.dashboard_port)
        if args.sign_in and args.sign_in.client:
            # The generated password opens nothing.
            self.password = pulumi.Output.concat(
                "none: sign in by the account at ", args.sign_in.client.issuer
            )
            self.url = args.sign_in.url
        self.port_forward = access.port_forward_command(args.dashboard_port)
        self.register_outputs({"url": self.url})


def _credentials(email: str, made: Credentials) -> access.Credentials:
    names = [field.name for field in fields(access.Credentials) if field.name != "user_email"]
    return access.Credentials(email, **{name: getattr(made, name) for name in names})


def _digest(values: Sequence[Any]) -> pulumi.Output[str]:
    """A digest that may be shown: of high-entropy values and of a salted hash."""

    def known(values: Sequence[Any]) -> str:
        # A refresh that runs the program has no values for what isn't in the state yet.
        return "" if None in values else access.digest(values)

    return pulumi.Output.unsecret(pulumi.Output.all(*values).apply(known))

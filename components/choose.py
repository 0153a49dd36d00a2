"""What the settings choose: the one place where local, cloud and sandbox differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pulumi

from components.cluster.base import Cluster
from components.cluster.existing import Existing, ExistingArgs
from components.cluster.minikube import Minikube, MinikubeArgs
from components.cluster.sandbox import Sandbox, SandboxArgs
from components.kubeflow import transforms
from components.kubeflow.component import Kubeflow, KubeflowArgs
from components.kubeflow.objects import Object, Ref
from components.kubeflow.source import SourceSpec
from components.platform_provider import RedisTopology as RedisGuard
from components.redis import wiring
from components.redis.component import Installation, guard
from components.redis.create import create
from components.redis.topology import RedisTopology
from components.settings import ROOT, Settings, in_project
from toolchain.tools import cache_folder, find

if TYPE_CHECKING:
    # Where there is a gateway it is imported: its model takes a tenth of a second.
    from components.gateway.aws import Public
    from components.gateway.component import Gateway, GatewayArgs
    from components.gateway.create import Wishes
    from components.gateway.rendering import Front

LOCK_FILE = ROOT / "kubeflow.lock.json"
GATEWAY_LOCK_FILE = ROOT / "gateway.lock.json"


def cluster_of(settings: Settings) -> Cluster:
    """The cluster that the settings name.

    Raises:
        ClusterError, PreflightError: the cluster can't be had, or the machine is not fit for it.
    """
    if settings.cluster == "existing":
        path = settings.kubeconfig_path()
        return Existing("cluster", ExistingArgs(path, settings.kube_context))
    if settings.cluster == "sandbox":
        folder = in_project(settings.sandbox_data) if settings.sandbox_data else None
        return Sandbox("cluster", SandboxArgs(settings.sandbox_name, folder))
    stack = settings.aws()
    if stack is not None:
        # Its SDK takes a second to import.
        from components.aws import before
        from components.aws.create import eks

        redis = settings.redis()
        before.check(*stack, redis)
        cluster = eks("cluster", *stack)
        before.limit(cluster)
        return cluster
    return Minikube(
        "cluster",
        MinikubeArgs(
            profile=settings.minikube_profile,
            driver=settings.minikube_driver,
            nodes=settings.minikube_nodes,
            cpus=settings.minikube_cpus,
            memory_mib=settings.minikube_memory,
            disk_gib=settings.minikube_disk,
            kubernetes_version=settings.minikube_kubernetes_version,
            container_runtime=settings.minikube_container_runtime,
            allow_data_loss=settings.minikube_allow_data_loss,
            running=settings.minikube_running,
        ),
    )


def kubeflow_args(settings: Settings) -> KubeflowArgs:
    """What of Kubeflow the settings ask for.

    Raises:
        ToolMissing: kustomize is not installed.
        TransformError: a transform can't be loaded.
    """
    path = in_project(settings.kubeflow_path) if settings.kubeflow_path else None
    return KubeflowArgs(
        source=SourceSpec(path, settings.kubeflow_repository, settings.kubeflow_ref),
        kustomize=find("kustomize"),
        cache_dir=cache_folder(),
        lock_file=LOCK_FILE,
        components=settings.kubeflow_components,
        patches=[in_project(patch) for patch in settings.kubeflow_patches],
        transforms=[transforms.load(entry, ROOT) for entry in settings.kubeflow_transforms],
        user_email=settings.user_email,
        user_password=settings.user_password,
        sign_in=settings.signs_in(),
        dashboard_port=settings.dashboard_port,
        timeout_minutes=settings.timeout_minutes,
        allow_deletion=settings.kubeflow_allow_deletion,
    )


def signed_in(args: KubeflowArgs, settings: Settings, cluster: Cluster) -> KubeflowArgs:
    """The same, with the client under which a provider knows the platform, if one signs in."""
    if args.sign_in is None:
        return args
    known = settings.oidc_client
    client = replace(known, secret=pulumi.Output.secret(known.secret))
    if settings.aws_sign_in == "cognito":
        # Its SDK takes a second to import.
        from components.aws.cognito import beside

        client = beside("sign-in", cluster, args.sign_in.callback, settings.user_email)
    else:
        pulumi.log.info(f"sign-in: {client.issuer} must allow the callback {args.sign_in.callback}")
    return replace(args, sign_in=replace(args.sign_in, client=client))


def redis_guard_of(settings: Settings, cluster: Cluster) -> RedisGuard:
    """The guard of Redis's data, which also a stack without Redis has."""
    consent = settings.redis_allow_data_loss
    return guard("redis", cluster, settings.redis(), allow_data_loss=consent)


def redis_of(
    settings: Settings,
    cluster: Cluster,
    redis_guard: pulumi.Resource,
    kubeflow: Mapping[Ref, pulumi.Resource],
) -> Installation | None:
    """Redis, if the settings ask for it, and what Kubeflow's profiles need to use it."""
    topology = settings.redis()
    if topology is None:
        return None
    if settings.redis_provider == "cluster" and (wishes := _wishes(settings)) and wishes.uses_redis:
        clients = (*topology.clients, wishes.client)
        topology = topology.model_copy(update={"clients": clients})
    redis = _redis(settings, cluster, topology, redis_guard)
    for profile in topology.profiles:
        wiring.offer(redis, profile, kubeflow)
    return redis


def _redis(
    settings: Settings, cluster: Cluster, topology: RedisTopology, redis_guard: pulumi.Resource
) -> Installation:
    if settings.redis_provider == "cluster":
        return create("redis", cluster, topology, redis_guard)
    from components.redis.create_service import beside

    return beside("redis", cluster, topology, redis_guard)


def gateway_args(
    settings: Settings, others: Sequence[Object], progress: Callable[[str], None]
) -> GatewayArgs | None:
    """What of the gateway the settings ask for, beside `others`, the objects of Kubeflow.

    Raises:
        ToolMissing: kustomize is not installed.
        GatewayError, SourceError, RenderError, PlanError: it can't be had so.
    """
    wishes = _wishes(settings)
    if wishes is None:
        return None
    from components.gateway.component import checked
    from components.gateway.create import arguments

    args = arguments(wishes, others)
    checked(args, others, progress)
    for api in args.apis:
        progress(api.summary)
    return args


def gateway_of(
    args: GatewayArgs | None, cluster: Cluster, kubeflow: Kubeflow, redis: Installation | None
) -> Gateway | None:
    """The gateway in front of Kubeflow and Redis, if there is to be one."""
    if args is None:
        return None
    from components.gateway.component import Gateway

    gateway = Gateway("gateway", cluster, args, kubeflow.objects, kubeflow.resources, redis)
    if cluster.capabilities.fronted and gateway.backend:
        cluster.front(gateway.backend)
    elif cluster.capabilities.load_balancer:
        cluster.announce(gateway.address)
    if args.apis:
        cluster.publish(args.apis, gateway.service)
    return gateway


def _wishes(settings: Settings) -> Wishes | None:
    if settings.gateway == "none":
        return None
    from components.gateway.create import Wishes
    from components.gateway.install import InstallArgs

    redis, sign_in = settings.redis(), settings.signs_in()
    path, definitions = settings.gateway_path, settings.gateway_definitions_path
    one_node = settings.cluster == "minikube" and settings.minikube_nodes == 1
    return Wishes(
        install=InstallArgs(
            implementation=settings.gateway,
            kustomize=find("kustomize"),
            cache_dir=cache_folder(),
            lock_file=GATEWAY_LOCK_FILE,
            path=in_project(path) if path else None,
            repository=settings.gateway_repository,
            ref=settings.gateway_ref,
            definitions=in_project(definitions) if definitions else None,
        ),
        routes=settings.routes,
        host=settings.gateway_host,
        tls_secret=settings.gateway_tls_secret,
        acme_email=settings.gateway_acme_email,
        redis_port=settings.gateway_redis_port,
        # Its routes lead to Redis in the cluster only; limits are counted at a service, too.
        redis=redis.namespace if redis and settings.redis_provider == "cluster" else "",
        redis_service=redis.topology if redis and settings.redis_provider == "aws" else "",
        replicas=settings.gateway_replicas or (1 if one_node else 2),
        monitors=settings.gateway_monitors,
        front=_front(settings),
        timeout_minutes=settings.timeout_minutes,
        sign_in_host=sign_in.host if sign_in else "",
        public=_public(settings),
    )


def _public(settings: Settings) -> Public | None:
    """What Amazon API Gateway is before."""
    stack = settings.aws()
    if stack is None or not stack[0].api_hosts:
        return None
    from components.gateway.aws import Public

    return Public(stack[0].api_hosts, stack[0].link_cidrs)


def _front(settings: Settings) -> Front | None:
    """What clients come to the gateway by, if they don't come by themselves."""
    stack = settings.aws()
    if stack is None or not stack[0].front:
        return None
    from components.aws.shape import CLIENT_HEADER
    from components.gateway.rendering import Front

    return Front(stack[0].front, CLIENT_HEADER)

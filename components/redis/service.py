"""What Redis as a service of AWS has, whichever service it is: who may reach it, and its alarms."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import botocore
import pulumi
from pulumi_aws.cloudwatch.metric_alarm import MetricAlarm

from components.aws.groups import for_cluster_alone
from components.aws.keys import Key
from components.aws.network import Subnets
from components.aws.site import Site
from components.cluster.base import Cluster
from components.redis import access, managed, names
from components.redis.component import Installation
from components.redis.managed import Managed

_AUTHORITIES: Final = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
)
"""Who signs certificates of Amazon's services: https://www.amazontrust.com/repository/"""
_LABELLED: Final = re.compile(
    r'# Label: "(?P<label>[^"]+)"[^-]*(?P<pem>-----BEGIN CERTIFICATE-----[^-]+'
    r"-----END CERTIFICATE-----)"
)
_MINUTE: Final = 60
_MOST_METRICS: Final = 10
"""What one alarm may look at."""


@dataclass(frozen=True)
class ServiceArgs:
    """Where the service's nodes are, and who may reach them.

    Args:
        site, subnets: of the cluster; nodes are in its private subnets.
        clients: security group of the cluster's nodes and pods.
        key: encrypts data and snapshots.
    """

    site: Site
    subnets: Subnets
    clients: pulumi.Input[str]
    key: Key


class ServiceRedis(Installation):
    """Redis at a service. Each service is a subclass that adds its nodes and users.

    Nodes are in private subnets and let in the cluster's security group alone. Users and passwords
    are those of every installation; the service has only those that it needs.
    """

    topology: Managed
    identifier: str
    """What the service knows it by."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        topology: Managed,
        guard: pulumi.Resource,
        args: ServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            name,
            cluster,
            topology,
            guard,
            pulumi.ResourceOptions.merge(args.site.options(), opts),
        )
        self.topology, self.args = topology, args
        self.identifier = managed.identifier(args.site.name, topology)
        self.child = pulumi.ResourceOptions(parent=self, depends_on=[guard])
        # It is to be deleted by nobody by accident, and last of all by this program.
        self.kept = pulumi.ResourceOptions.merge(
            self.child, pulumi.ResourceOptions(protect=args.site.aws.protect)
        )
        self.security_group, _ = for_cluster_alone(
            f"{name}-nodes",
            f"{self.identifier}-redis",
            "Redis",
            names.REDIS_PORT,
            vpc=args.subnets.vpc,
            clients=args.clients,
            opts=self.child,
        )
        self.ca_certificate = pulumi.Output.from_input(authorities())
        self.metrics_endpoint = metrics_url(args.site.aws.region, self.identifier)
        for note in topology.notes:
            pulumi.log.info(note, self)

    def user_password(self, user: str) -> pulumi.Output[str]:
        """The password of a user; a secret."""
        found: pulumi.Output[str] = getattr(self.access, access.password_field(user))
        return pulumi.Output.secret(found)

    def serve(self, write: pulumi.Output[str], read: pulumi.Output[str]) -> None:
        """Set endpoints and URIs, by the names of hosts."""
        self.write_endpoint = write.apply(_with_port)
        self.read_endpoint = read.apply(_with_port)
        self.write_uri = self._uri("app", self.write_endpoint)
        self.read_uri = self._uri("reader", self.read_endpoint)

    def watch(
        self, name: str, namespace: str, dimensions: Callable[[str], Mapping[str, str]]
    ) -> list[pulumi.Resource]:
        """Alarms of every shard, on the worst of its nodes; `dimensions` are those of a node."""
        found: list[pulumi.Resource] = []
        topology = self.topology
        for number, nodes in enumerate(topology.members(self.identifier), start=1):
            for alarm in managed.alarms(topology):
                shard = f"{alarm.name}-{number:04}" if topology.shard_count > 1 else alarm.name
                found.append(
                    self.alarm(name, shard, alarm, queries(alarm, nodes, namespace, dimensions))
                )
        return found

    def alarm(
        self, name: str, title: str, alarm: managed.Alarm, metrics: list[dict[str, Any]]
    ) -> pulumi.Resource:
        """An alarm `<identifier>-<title>` on metrics, of which one is looked at."""
        topics = [self.topology.alarm_topic] if self.topology.alarm_topic else []
        made: pulumi.Resource = MetricAlarm(
            f"{name}-{title}",
            name=f"{self.identifier}-{title}",
            alarm_description=alarm.summary,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.threshold,
            evaluation_periods=alarm.minutes,
            # A node that is being replaced has no metrics; the service tells of it.
            treat_missing_data="notBreaching",
            metric_queries=metrics,
            alarm_actions=topics,
            ok_actions=topics,
            opts=self.child,
        )
        return made


def queries(
    alarm: managed.Alarm,
    nodes: list[str],
    namespace: str,
    dimensions: Callable[[str], Mapping[str, str]],
) -> list[dict[str, Any]]:
    """Metrics of nodes, and the largest of them, which the alarm looks at.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html
    """
    metrics = [
        {
            "id": f"m{number}",
            "return_data": False,
            "metric": {
                "namespace": namespace,
                "metric_name": alarm.metric,
                "stat": alarm.statistic,
                "period": _MINUTE,
                "dimensions": dict(dimensions(node)),
            },
        }
        for number, node in enumerate(nodes[:_MOST_METRICS], start=1)
    ]
    worst = {"id": "worst", "expression": "MAX(METRICS())", "label": alarm.name}
    return [*metrics, {**worst, "return_data": True}]


def query_of_all(alarm: managed.Alarm, namespace: str) -> list[dict[str, Any]]:
    """The largest value that a metric has anywhere in the region, whatever its dimensions are.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-alarms.html
    """
    expression = f'SELECT MAX({alarm.metric}) FROM "{namespace}"'  # noqa: S608 - of names here
    query = {"id": "worst", "expression": expression, "period": _MINUTE, "label": alarm.name}
    return [{**query, "return_data": True}]


def metrics_url(region: str, identifier: str) -> str:
    """The console's page of the metrics of a Redis."""
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#metricsV2:query=~'{identifier}"
    )


@functools.cache
def authorities() -> str:
    """PEM of the authorities of Amazon's services, from boto's own list of those of the web."""
    text = Path(botocore.__file__).with_name("cacert.pem").read_text()
    found = {match["label"]: match["pem"] for match in _LABELLED.finditer(text)}
    return "".join(f"{found[name]}\n" for name in _AUTHORITIES)


def _with_port(host: str | None) -> str:
    # A preview has no host yet, nor has a refresh what is not in the state.
    return f"{host}:{names.REDIS_PORT}" if host else ""

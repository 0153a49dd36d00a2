"""Alerts and a Grafana dashboard of a Redis installation. Pure.

Metrics are those of redis_exporter (https://github.com/oliver006/redis_exporter) and, for backups,
of kube-state-metrics (https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.redis import names, parts
from components.redis.topology import RedisTopology, Replicated, Sharded

Object = dict[str, Any]
RULES, DASHBOARD = "redis-rules", "redis-dashboard"
"""The PrometheusRule or the ConfigMap of rules, and the ConfigMap of the dashboard."""
RULES_FILE: Final = "redis.rules.json"
"""JSON is YAML, which Prometheus reads."""
DASHBOARD_LABEL: Final = "grafana_dashboard"
"""What Grafana's sidecar looks for: https://github.com/grafana/helm-charts (sidecar.dashboards)."""
BACKUP: Final = "redis-backup"
"""The CronJob of backups."""
_SLOTS: Final = 16384
_MEMORY_FULL: Final = 0.9
# A replica that is further behind than this share of the backlog is about to need a full copy.
_BACKLOG_USED: Final = 0.5


@dataclass(frozen=True)
class Alert:
    """An alert: its PromQL expression, how long it must hold (`1m`), and what to tell."""

    name: str
    expression: str
    hold: str
    severity: str
    summary: str

    def rule(self) -> Object:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary},
        }


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    """Expressions and their legends."""


def alerts(topology: RedisTopology, count: int) -> list[Alert]:
    """The alerts of a topology of `count` Redis pods."""
    here = f'namespace="{topology.namespace}"'
    found = [
        Alert(
            "RedisDown",
            f"redis_up{{{here}}} == 0",
            "1m",
            "critical",
            "Redis {{ $labels.pod }} does not answer",
        ),
        Alert(
            "RedisMissing",
            f"(count(redis_up{{{here}}} == 1) or vector(0)) < {count}",
            "5m",
            "warning",
            f"{{{{ $value }}}} of {count} Redis pods answer",
        ),
        Alert(
            "RedisMemoryFull",
            f"redis_memory_used_bytes{{{here}}} / (redis_memory_max_bytes{{{here}}} > 0) "
            f"> {_MEMORY_FULL}",
            "5m",
            "warning",
            "Redis {{ $labels.pod }} uses {{ $value | humanizePercentage }} of its maxmemory; "
            + (
                "then it refuses writes"
                if topology.eviction_policy == "noeviction"
                else "then it evicts keys"
            ),
        ),
        Alert(
            "RedisEvicting",
            f"increase(redis_evicted_keys_total{{{here}}}[5m]) > 0",
            "5m",
            "warning",
            "Redis {{ $labels.pod }} evicts keys: {{ $value | humanize }} in 5 minutes",
        ),
        Alert(
            "RedisRefusesClients",
            f"increase(redis_rejected_connections_total{{{here}}}[5m]) > 0",
            "1m",
            "warning",
            "Redis {{ $labels.pod }} has too many connections and refuses more",
        ),
    ]
    if topology.persistence != "none":
        found.append(
            Alert(
                "RedisNotSaved",
                f"redis_rdb_last_bgsave_status{{{here}}} == 0 "
                f"or redis_aof_last_write_status{{{here}}} == 0",
                "5m",
                "critical",
                "Redis {{ $labels.pod }} can't write to its volume",
            )
        )
    if topology.replicas_of_a_master:
        found += _replication(topology, here)
    if isinstance(topology, Replicated):
        found.append(
            Alert(
                "RedisMasters",
                f'(count(redis_instance_info{{{here}, role="master"}}) or vector(0)) != 1',
                "1m",
                "critical",
                "{{ $value }} Redis pods are masters, and one should be",
            )
        )
    if isinstance(topology, Sharded):
        found.append(
            Alert(
                "RedisSlotsUncovered",
                f"max(redis_cluster_slots_ok{{{here}}}) < {_SLOTS}",
                "1m",
                "critical",
                f"{{{{ $value }}}} of {_SLOTS} slots are served; keys of the others can't be "
                "reached",
            )
        )
    if topology.backup:
        found.append(_backup_too_old(topology))
    return found


def _replication(topology: RedisTopology, here: str) -> list[Alert]:
    backlog = topology.backlog_mib * 1024 * 1024
    return [
        Alert(
            "RedisReplicaLagging",
            f"max by (pod) (redis_connected_slave_lag_seconds{{{here}}}) > 10 or "
            f"max by (pod) (redis_master_repl_offset{{{here}}} - on (namespace, pod) "
            f"group_right () redis_connected_slave_offset_bytes{{{here}}}) "
            f"> {int(backlog * _BACKLOG_USED)}",
            "1m",
            "warning",
            "A replica of Redis {{ $labels.pod }} lags",
        ),
        Alert(
            "RedisReplicaUnlinked",
            f"redis_master_link_up{{{here}}} == 0",
            "1m",
            "warning",
            "Redis {{ $labels.pod }} has lost its master",
        ),
    ]


def _backup_too_old(topology: RedisTopology) -> Alert:
    """Whatever the schedule: a run that was due did not succeed, or none is started any more."""
    job = f'{{namespace="{topology.namespace}", cronjob="{BACKUP}"}}'
    scheduled = f"kube_cronjob_status_last_schedule_time{job}"
    succeeded = f"kube_cronjob_status_last_successful_time{job}"
    return Alert(
        "RedisBackupTooOld",
        f"{scheduled} > {succeeded} or {scheduled} unless {succeeded} or "
        f"time() - kube_cronjob_next_schedule_time{job} > 3600",
        "1h",
        "critical",
        "The last backup of Redis that was due has not succeeded",
    )


def rules(topology: RedisTopology, count: int) -> Object:
    """A rules file: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/."""
    return {"groups": [{"name": "redis", "rules": [a.rule() for a in alerts(topology, count)]}]}


def dashboard(topology: RedisTopology) -> Object:
    """The dashboard, as Grafana imports it."""
    panels = [
        _graph(number, panel) for number, panel in enumerate(_panels(topology, _here(topology)))
    ]
    return {
        "uid": f"ml-platform-{topology.namespace}"[:40],
        "title": f"Redis ({topology.namespace})",
        "tags": ["redis"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


def _here(topology: RedisTopology) -> str:
    return f'{{namespace="{topology.namespace}"}}'


def _panels(topology: RedisTopology, here: str) -> list[_Panel]:
    pod = "{{pod}}"
    rate = f"{here}[$__rate_interval]"
    panels = [
        _Panel("Up", "none", [(f"redis_up{here}", pod)]),
        _Panel(
            "Memory",
            "bytes",
            [
                (f"redis_memory_used_bytes{here}", pod),
                (f"max(redis_memory_max_bytes{here})", "maxmemory"),
            ],
        ),
        _Panel("Commands", "ops", [(f"rate(redis_commands_processed_total{rate})", pod)]),
        _Panel(
            "Time of a command",
            "s",
            [
                (
                    f"sum by (pod) (rate(redis_commands_duration_seconds_total{rate})) / "
                    f"sum by (pod) (rate(redis_commands_total{rate}))",
                    pod,
                )
            ],
        ),
        _Panel(
            "Hits",
            "percentunit",
            [
                (
                    f"rate(redis_keyspace_hits_total{rate}) / (rate(redis_keyspace_hits_total"
                    f"{rate}) + rate(redis_keyspace_misses_total{rate}))",
                    pod,
                )
            ],
        ),
        _Panel(
            "Evicted and expired keys",
            "ops",
            [
                (f"rate(redis_evicted_keys_total{rate})", f"{pod} evicted"),
                (f"rate(redis_expired_keys_total{rate})", f"{pod} expired"),
            ],
        ),
        _Panel("Keys", "short", [(f"sum by (pod) (redis_db_keys{here})", pod)]),
        _Panel("Clients", "short", [(f"redis_connected_clients{here}", pod)]),
        _Panel(
            "Network",
            "Bps",
            [
                (f"rate(redis_net_input_bytes_total{rate})", f"{pod} in"),
                (f"rate(redis_net_output_bytes_total{rate})", f"{pod} out"),
            ],
        ),
        _Panel(
            "CPU",
            "percentunit",
            [
                (
                    f"rate(redis_cpu_user_seconds_total{rate}) + "
                    f"rate(redis_cpu_sys_seconds_total{rate})",
                    pod,
                )
            ],
        ),
    ]
    if topology.replicas_of_a_master:
        panels += [
            _Panel(
                "Lag of replicas",
                "s",
                [(f"redis_connected_slave_lag_seconds{here}", f"{pod} {{{{slave_ip}}}}")],
            ),
            _Panel("Role (1: master)", "none", [(_role(topology), pod)]),
        ]
    if isinstance(topology, Sharded):
        panels += [
            _Panel(
                "Slots",
                "short",
                [
                    (f"max(redis_cluster_slots_ok{here})", "served"),
                    (f"max(redis_cluster_slots_fail{here})", "failed"),
                ],
            ),
            _Panel("Masters with slots", "short", [(f"redis_cluster_size{here}", pod)]),
        ]
    if topology.backup:
        last = (
            f'time() - kube_cronjob_status_last_successful_time{{namespace="{topology.namespace}", '
            f'cronjob="{BACKUP}"}}'
        )
        panels.append(_Panel("Age of the last backup", "s", [(last, "age")]))
    return panels


def _role(topology: RedisTopology) -> str:
    return (
        f'count by (pod) (redis_instance_info{{namespace="{topology.namespace}", role="master"}})'
    )


def _graph(number: int, panel: _Panel) -> Object:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": source,
                "expr": query,
                "legendFormat": legend,
            }
            for n, (query, legend) in enumerate(panel.queries)
        ],
    }


def objects(topology: RedisTopology, count: int) -> list[Object]:
    """The dashboard and the rules of `count` Redis pods: as custom resources of the Prometheus
    Operator together with what it scrapes, or as a ConfigMap for a Prometheus without it.
    """
    namespace = topology.namespace
    found = parts.config_map(
        DASHBOARD, namespace, {f"redis-{namespace}.json": json.dumps(dashboard(topology), indent=1)}
    )
    found["metadata"]["labels"][DASHBOARD_LABEL] = "1"
    if not topology.prometheus_operator:
        text = json.dumps(rules(topology, count), indent=1)
        return [found, parts.config_map(RULES, namespace, {RULES_FILE: text})]
    group = "monitoring.coreos.com/v1"
    endpoint = {"port": "metrics", "interval": "30s"}
    return [
        found,
        {
            "apiVersion": group,
            "kind": "PrometheusRule",
            "metadata": names.metadata(RULES, namespace),
            "spec": rules(topology, count),
        },
        {
            "apiVersion": group,
            "kind": "ServiceMonitor",
            "metadata": names.metadata(names.METRICS, namespace),
            "spec": {
                "selector": {"matchLabels": names.selector(names.SERVER)},
                "endpoints": [endpoint],
            },
        },
    ]

"""What a stack costs a month, by the checked-in list prices. Pure but for reading the table.

It is an estimate, not a bill: on-demand prices without taxes and discounts, 730 hours a month, and
no traffic unless it is told.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import yaml

HOURS: Final = 730
"""Hours of a month, as AWS's calculator counts."""
TABLE: Final = Path(__file__).with_name("prices.yaml")
_PER_MONTH: Final = {"hour": HOURS, "month": 1, "GB-month": 1, "GB": 1}
_NEVER_COUNTED: Final = (
    "taxes, support, and discounts of any kind",
    "requests to S3, KMS, STS and ECR; throughput of EFS; capacity units of the load balancer",
    "nodes, volumes and load balancers that autoscaling and users add",
)


@dataclass(frozen=True)
class Price:
    """A list price: USD for one `unit`, which is hour, month, GB-month or GB, and its origin."""

    usd: float
    unit: str
    source: str
    taken: str


@dataclass(frozen=True)
class Prices:
    """The table: by region, then by name (`ec2/m6i.large`)."""

    as_of: datetime.date
    regions: Mapping[str, Mapping[str, Price]]

    def of(self, region: str, name: str) -> Price | None:
        """None for what is not in the table; another region's price is never taken instead."""
        return self.regions.get(region, {}).get(name)


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind that run all the time, and their disks (gp3) in GiB each."""

    instance_type: str
    count: int
    disk_gib: int
    spot: bool = False


@dataclass(frozen=True)
class Database:
    """An RDS for MySQL: its class, storage in GiB, and whether it stands by in another zone."""

    instance_class: str
    storage_gib: int
    multi_az: bool = False


@dataclass(frozen=True)
class Redis:
    """Redis as a service: nodes of one type, and snapshots kept in GiB."""

    service: Literal["elasticache", "memorydb"]
    engine: Literal["valkey", "redis"]
    node_type: str
    nodes: int
    snapshots_gib: int = 0


@dataclass(frozen=True)
class Traffic:
    """What goes through, in GB a month."""

    nat: float = 0
    endpoints: float = 0
    internet: float = 0
    zones: float = 0


@dataclass(frozen=True)
class Stack:
    """What is paid for.

    `interface_endpoints` counts each endpoint in each of its zones; `public_addresses` are IPv4;
    `edge_rules` are WAF's, 0 without CloudFront in front;
    sizes are GiB, `logs_gb` is a month's. `shared_files` are there, in a size that nobody knows;
    `by_use` names what else is paid so.
    """

    region: str
    clusters: int = 1
    nodes: tuple[Nodes, ...] = ()
    nat_gateways: int = 0
    interface_endpoints: int = 0
    public_addresses: int = 0
    load_balancers: int = 0
    edge_rules: int = 0
    volumes_gib: int = 0
    files_gib: int = 0
    shared_files: bool = False
    bucket_gib: int = 0
    database: Database | None = None
    redis: Redis | None = None
    keys: int = 0
    alarms: int = 0
    user_pool: bool = False
    apis: int = 0
    logs_gb: float = 0
    traffic: Traffic = field(default_factory=Traffic)
    by_use: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of the estimate; `price` and `monthly` (USD) are None where no price is known."""

    what: str
    quantity: float
    unit: str
    price: float | None
    monthly: float | None


@dataclass(frozen=True)
class Estimate:
    """The lines, and what is not in them."""

    region: str
    as_of: datetime.date
    lines: tuple[Line, ...]
    not_counted: tuple[str, ...]

    @property
    def total(self) -> float:
        """USD a month of everything whose price is known."""
        return sum(line.monthly or 0 for line in self.lines)

    @property
    def complete(self) -> bool:
        """Whether all prices are known; else the total is a lower bound."""
        return all(line.monthly is not None for line in self.lines)

    @property
    def sentence(self) -> str:
        """The sum in one line: the stack output `monthlyCost`."""
        least = "" if self.complete else "at least "
        return f"{least}{self.total:,.2f} USD a month, list prices of {self.as_of}, {self.region}"


def load(table: Path = TABLE) -> Prices:
    """The price table.

    Raises:
        ValueError: a unit that is not known, or a price that is given twice.
    """
    document = yaml.safe_load(table.read_text())
    regions: dict[str, dict[str, Price]] = {}
    for region, groups in document["regions"].items():
        found: dict[str, Price] = {}
        for group in groups:
            if group["unit"] not in _PER_MONTH:
                raise ValueError(f"{table}: {region} has the unit {group['unit']!r}")
            for name, usd in group["prices"].items():
                if name in found:
                    raise ValueError(f"{table}: {region} has two prices of {name}")
                found[name] = Price(float(usd), group["unit"], group["source"], group["taken"])
        regions[region] = found
    return Prices(document["asOf"], regions)


@functools.cache
def prices() -> Prices:
    """The checked-in table."""
    return load()


def estimate(stack: Stack, table: Prices | None = None) -> Estimate:
    """What `stack` costs a month; by default by the checked-in table."""
    table = table or prices()
    lines = tuple(
        _line(table, stack.region, name, what, quantity)
        for name, what, quantity in _items(stack)
        if quantity
    )
    not_counted = [*_NEVER_COUNTED, *stack.by_use]
    if stack.traffic == Traffic():
        not_counted.insert(0, "traffic: to the internet, between zones, through NAT and endpoints")
    if stack.shared_files:
        price = table.of(stack.region, "efs/standard")
        told = f"{price.usd:g} USD a {price.unit}" if price else "no price known"
        not_counted.append(f"shared files (EFS): {told}, by what is in them; their backups")
    if stack.apis:
        not_counted.append(
            "Amazon API Gateway: requests, its logs, and their traffic through the load balancer"
        )
    if stack.edge_rules:
        not_counted.append("CloudFront and what WAF looks at: both by the request")
    if any(nodes.spot for nodes in stack.nodes):
        not_counted.append("what spot saves: its nodes are counted at the on-demand price")
    if stack.user_pool:
        not_counted.append("Cognito, which is paid by users who sign in that month: not priced")
    return Estimate(stack.region, table.as_of, lines, tuple(not_counted))


def as_table(found: Estimate) -> str:
    """The estimate as a person reads it."""
    rows = [
        (
            line.what,
            f"{line.quantity:g}",
            line.unit,
            "no price known" if line.price is None else f"{line.price:g}",
            "" if line.monthly is None else f"{line.monthly:,.2f}",
        )
        for line in found.lines
    ]
    head = ("", "number", "unit", "USD", "USD a month")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    texts = [_row(row, widths) for row in [head, *rows]]
    return "\n".join(
        [
            f"Estimated cost: {found.sentence}",
            *texts,
            "Not counted: " + "; ".join(found.not_counted) + ".",
        ]
    )


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    name, number, unit, *rest = row
    cells = [name.ljust(widths[0]), number.rjust(widths[1]), unit.ljust(widths[2])]
    cells += [cell.rjust(width) for cell, width in zip(rest, widths[3:], strict=True)]
    return "  ".join(cells).rstrip()


def _line(table: Prices, region: str, name: str, what: str, quantity: float) -> Line:
    price = table.of(region, name)
    if price is None:
        return Line(what, quantity, _unit(table, name), None, None)
    monthly = quantity * price.usd * _PER_MONTH[price.unit]
    return Line(what, quantity, price.unit, price.usd, monthly)


def _unit(table: Prices, name: str) -> str:
    """The unit of a price that another region has."""
    found = (table.of(region, name) for region in table.regions)
    return next((price.unit for price in found if price), "")


def _items(stack: Stack) -> Iterator[tuple[str, str, float]]:
    """Name of the price, what it is called, how much of it."""
    yield "eks/cluster", "EKS control plane", stack.clusters
    for nodes in stack.nodes:
        kind = "spot nodes" if nodes.spot else "nodes"
        yield f"ec2/{nodes.instance_type}", f"{kind} {nodes.instance_type}", nodes.count
    disks = sum(nodes.count * nodes.disk_gib for nodes in stack.nodes)
    yield "ebs/gp3", "disks of nodes (gp3)", disks
    yield "ebs/gp3", "volumes (gp3)", stack.volumes_gib
    yield "efs/standard", "shared files (EFS)", stack.files_gib
    yield "s3/standard", "artefacts (S3)", stack.bucket_gib
    yield "vpc/nat", "NAT gateways", stack.nat_gateways
    yield "vpc/interface-endpoint", "interface endpoints, each zone", stack.interface_endpoints
    yield "vpc/public-ipv4", "public IPv4 addresses", stack.public_addresses
    yield "elb/network", "network load balancers", stack.load_balancers
    if stack.edge_rules:
        yield "elb/application", "application load balancers", 1
        yield "waf/web-acl", "web ACLs of WAF", 1
        yield "waf/rule", "rules of WAF", stack.edge_rules
    if database := stack.database:
        # A standby costs what the database does.
        copies = 2 if database.multi_az else 1
        what = f"MySQL {database.instance_class}{' and standby' if database.multi_az else ''}"
        yield f"rds/{database.instance_class}", what, copies
        yield "rds/gp3", "storage of MySQL (gp3)", copies * database.storage_gib
    if redis := stack.redis:
        name = f"{redis.service}/{redis.engine}/{redis.node_type}"
        yield name, f"Redis nodes {redis.node_type} ({redis.engine})", redis.nodes
        yield f"{redis.service}/snapshots", "snapshots of Redis", redis.snapshots_gib
    yield "kms/key", "KMS keys", stack.keys
    yield "cloudwatch/alarm", "CloudWatch alarms", stack.alarms
    yield "cloudwatch/logs", "logs collected", stack.logs_gb
    yield "vpc/nat-data", "traffic through NAT", stack.traffic.nat
    yield "vpc/interface-endpoint-data", "traffic through endpoints", stack.traffic.endpoints
    yield "transfer/internet", "traffic to the internet", stack.traffic.internet
    yield "transfer/zones", "traffic between zones", stack.traffic.zones

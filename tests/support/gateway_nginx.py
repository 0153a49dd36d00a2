"""What F5 NGINX Ingress Controller would say of an object: its schema, and its own rules.

The rules are those of nginx/kubernetes-ingress v5.5.4, pkg/apis/configuration/validation, for what
the open-source edition takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.support.gateway_kong import strict
from tests.support.gateway_sources import SOURCES

CRDS = SOURCES / "nginx-kubernetes-ingress" / "v5.5.4" / "config" / "crd" / "bases"
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/[^\s{};\\]*")
_ESCAPED = re.compile(r'([^"\\]|\\.)*', re.DOTALL)
_TIME = re.compile(r"\d+(ms|s|m|h)")
_KEYS = re.compile(
    r"\$\{(binary_remote_addr|request_uri|(http|cookie|arg|apikey)_[A-Za-z0-9_]+)\}|[a-z]+"
)
_HEADER_VARIABLES = {"remote_addr", "host", "request_method", "request_uri", "scheme"}
_LB = re.compile(r"round_robin|least_conn|hash \S+ consistent")
_PLUS = {"healthCheck", "slow-start", "queue", "ntlm", "backup", "backupPort"}


@cache
def validators() -> dict[str, Draft202012Validator]:
    """By kind."""
    found = {}
    for file in sorted(CRDS.glob("k8s.nginx.org_*.yaml")):
        definition = yaml.safe_load(file.read_text())
        for version in definition["spec"]["versions"]:
            if version["storage"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                found[definition["spec"]["names"]["kind"]] = Draft202012Validator(schema)
    return found


def complaints(body: dict[str, Any]) -> list[str]:
    """What is wrong with an object; empty where it is taken."""
    kind = body["kind"]
    if kind == "ConfigMap":
        return [
            f"{key} is no text" for key, one in body["data"].items() if not isinstance(one, str)
        ]
    found = [
        f"{error.json_path}: {error.message}" for error in validators()[kind].iter_errors(body)
    ]
    rules = {"VirtualServer": _server, "Policy": _policy, "TransportServer": _stream}
    found += rules.get(kind, lambda _: ())(body["spec"])
    return [f"{kind} {body['metadata']['name']}: {line}" for line in found]


def _server(spec: dict[str, Any]) -> Iterator[str]:
    names = [one["name"] for one in spec["upstreams"]]
    if len(set(names)) < len(names):
        yield f"upstreams {names} are not unique"
    for one in spec["upstreams"]:
        if not _LABEL.fullmatch(one["name"]):
            yield f"upstream {one['name']} is no label"
        if not _LB.fullmatch(one.get("lb-method", "round_robin")):
            yield f"lb-method {one['lb-method']}"
        if plus := _PLUS & set(one):
            yield f"{plus} is of NGINX Plus"
        for key in ("connect-timeout", "read-timeout", "send-timeout", "fail-timeout"):
            if not _TIME.fullmatch(one.get(key, "1s")):
                yield f"{key} {one[key]}"
    paths = [re.sub(r"^(=|~)\s*", r"\1", one["path"]) for one in spec["routes"]]
    if len(set(paths)) < len(paths):
        yield f"paths {paths} are not unique"
    for one in spec["routes"]:
        # Another one leads to a VirtualServerRoute.
        if "route" not in one:
            yield from _route(one, set(names))


def _route(route: dict[str, Any], names: set[str]) -> Iterator[str]:
    path = route["path"]
    if path.startswith("~"):
        expression = path.removeprefix("~").lstrip()
        re.compile(expression)
        if not _ESCAPED.fullmatch(expression):
            yield f"path {path} is not escaped"
    elif not _PATH.fullmatch(path.removeprefix("=")) or ".." in path.split("/"):
        yield f"path {path}"
    if ("action" in route) == ("splits" in route):
        yield f"{path} has not one of action and splits"
    policies = [one["name"] for one in route.get("policies", ())]
    if len(set(policies)) < len(policies):
        yield f"{path} names a policy twice"
    for part in (route, *route.get("matches", ())):
        splits = part.get("splits", ())
        if splits and (len(splits) < 2 or sum(one["weight"] for one in splits) != 100):
            yield f"{path} has splits {splits}"
        for one in (part, *splits):
            if "action" in one:
                yield from _action(one["action"], path, names)
    for match in route.get("matches", ()):
        for condition in match["conditions"]:
            if len(condition) != 2 or not _ESCAPED.fullmatch(condition["value"]):
                yield f"{path} has the condition {condition}"
            if condition.get("variable", "$request_method") != "$request_method":
                yield f"{path} has the condition {condition}"


def _action(action: dict[str, Any], path: str, names: set[str]) -> Iterator[str]:
    if len(action) != 1:
        yield f"{path} does {sorted(action)}"
    proxy = action.get("proxy", {})
    upstream = action.get("pass") or proxy.get("upstream")
    if upstream and upstream not in names:
        yield f"{path} goes to {upstream}, which there is not"
    rewrite = proxy.get("rewritePath", "/")
    if re.search(r"\$(?!\d)", rewrite) or not _PATH.fullmatch(rewrite):
        yield f"{path} is rewritten to {rewrite}"
    headers = [
        *proxy.get("requestHeaders", {}).get("set", ()),
        *proxy.get("responseHeaders", {}).get("add", ()),
    ]
    for one in headers:
        variables = set(re.findall(r"\$\{(\w+)\}", one["value"]))
        unknown = {name for name in variables if not name.startswith("http_")} - _HEADER_VARIABLES
        if unknown or not _ESCAPED.fullmatch(one["value"]):
            yield f"{path} sets {one}"
        if re.search(r"\$(?!\{)", one["value"]):
            yield f"{path} sets {one}, with a variable without braces"


def _policy(spec: dict[str, Any]) -> Iterator[str]:
    kinds = set(spec) - {"ingressClassName"}
    if len(kinds) != 1 or kinds & {"jwt", "oidc", "waf"}:
        yield f"it is {sorted(kinds)}"
    if len(spec.get("accessControl", {"allow": []})) != 1:
        yield "accessControl has allow and deny"
    if rate := spec.get("rateLimit"):
        if not re.fullmatch(r"[1-9]\d*r/[sm]", rate["rate"]):
            yield f"rate {rate['rate']}"
        if not re.fullmatch(f"({_KEYS.pattern})+", rate["key"]):
            yield f"key {rate['key']}"
        if rate.get("burst", 1) < 1:
            yield f"burst {rate['burst']}"
    if {"GET", "HEAD"} <= set(spec.get("cors", {}).get("allowMethods", ())):
        yield "cors has HEAD beside GET"


def _stream(spec: dict[str, Any]) -> Iterator[str]:
    names = {one["name"] for one in spec["upstreams"]}
    if spec["action"]["pass"] not in names:
        yield f"it goes to {spec['action']['pass']}"
    for one in spec["upstreams"]:
        method = one.get("loadBalancingMethod", "round_robin")
        if method not in {"round_robin", "least_conn", "hash ${remote_addr} consistent"}:
            yield f"loadBalancingMethod {method}"
        if not _LABEL.fullmatch(one["service"]):
            yield f"service {one['service']}"

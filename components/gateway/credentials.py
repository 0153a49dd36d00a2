"""Secrets of the gateway, in the form that each implementation reads. Pure.

Values may be outputs. NGINX reads one Secret for each policy, Kong one for each credential of a
consumer:
https://docs.nginx.com/nginx-ingress-controller/configuration/policy-resource/
https://developer.konghq.com/kubernetes-ingress-controller/consumers/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.gateway import access, tls
from components.gateway.features import Implementation
from components.gateway.routes import ApiKey, Basic, Gateway

Object = dict[str, Any]
REDIS = "gateway-redis"
"""The Secret by which rates are counted in Redis: `password` of its user `app`, and `ca.crt`."""
Join = Callable[[Mapping[str, Any], Callable[[Mapping[str, str]], str]], Any]
"""Makes one text of several values, which may be outputs."""


def names(gateway: Gateway, implementation: Implementation) -> dict[str, str]:
    """Names of Secrets.

    Of NGINX by the policy's name; of Kong by `key-<consumer>` and `password-<consumer>`.
    """
    if implementation == "kong":
        return {field: f"gateway-{field}" for field in access.wanted(gateway)}
    return {policy.name: f"gateway-{policy.name}-credentials" for policy in _policies(gateway)}


def objects(
    gateway: Gateway,
    implementation: Implementation,
    namespace: str,
    values: Mapping[str, Any],
    join: Join = lambda values, make: make(values),
) -> list[Object]:
    """The Secrets of `names`; `values` are those of `access.wanted`."""
    found = names(gateway, implementation)
    if implementation == "kong":
        return [_of_kong(found[field], field, namespace, value) for field, value in values.items()]
    return [
        _of_nginx(found[policy.name], policy, namespace, values, join)
        for policy in _policies(gateway)
    ]


def certificate(namespace: str, chain: Any, key: Any) -> Object:  # noqa: ANN401 - maybe outputs
    """The Secret of the gateway's own certificate."""
    return _secret(
        tls.OWN_SECRET, namespace, {"tls.crt": chain, "tls.key": key}, "kubernetes.io/tls"
    )


def redis(namespace: str, password: Any, authority: Any) -> Object:  # noqa: ANN401
    """The Secret `REDIS`."""
    return _secret(REDIS, namespace, {"password": password, "ca.crt": authority})


def _policies(gateway: Gateway) -> Sequence[ApiKey | Basic]:
    return [policy for policy in gateway.policies if isinstance(policy, ApiKey | Basic)]


def _of_nginx(
    name: str, policy: ApiKey | Basic, namespace: str, values: Mapping[str, Any], join: Join
) -> Object:
    if isinstance(policy, ApiKey):
        keys = {consumer: values[access.key_field(consumer)] for consumer in policy.consumers}
        return _secret(name, namespace, keys, "nginx.org/apikey")
    passwords = {c: values[access.password_field(c)] for c in policy.consumers}
    users = {"htpasswd": join(passwords, access.htpasswd)}
    return _secret(name, namespace, users, "nginx.org/htpasswd")


def _of_kong(name: str, field: str, namespace: str, value: Any) -> Object:  # noqa: ANN401
    kind, _, consumer = field.partition("-")
    if kind == "key":
        body, credential = _secret(name, namespace, {"key": value}), "key-auth"
    else:
        data = {"username": consumer, "password": value}
        body, credential = _secret(name, namespace, data), "basic-auth"
    body["metadata"]["labels"]["konghq.com/credential"] = credential
    return body


def _secret(name: str, namespace: str, data: Mapping[str, Any], type_: str = "Opaque") -> Object:
    labels = {"app.kubernetes.io/part-of": "gateway"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": type_,
        "stringData": dict(data),
    }

"""Policies as the controller's own resource, where it has one. Pure.

https://docs.nginx.com/nginx-ingress-controller/configuration/policy-resource/
"""

from __future__ import annotations

from typing import Any, Final

from components.gateway.nginx_snippets import SIGN_IN
from components.gateway.rendering import Target
from components.gateway.routes import (
    AUTHENTICATION,
    Access,
    ApiKey,
    Backend,
    Basic,
    Cache,
    Cors,
    Gateway,
    Oidc,
    Policy,
    RateLimit,
    Route,
)

_FAILURES: Final = ("error", "timeout", "updating", "http_500", "http_502", "http_503", "http_504")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600}
# 64 or 128 bytes of each client, for each route.
_ZONE: Final = "1m"
_SESSION: Final = "oauth2_proxy_kubeflow"
"""Cookie of the platform's oauth2-proxy."""


def name(policy: Policy, route: Route, target: Target) -> str:
    """Name of the object. A rate is counted, and a cache kept, for each route apart."""
    apart = isinstance(policy, RateLimit | Cache)
    return f"{target.name}-{policy.name}" + (f"-{route.name}" if apart else "")


def spec(
    policy: Policy, route: Route, policies: tuple[Policy, ...], target: Target
) -> dict[str, Any] | None:
    """Its specification on a route with all of `policies`; None where a snippet carries it."""
    match policy:
        case Access(allow=allow, deny=deny):
            if allow and deny:
                return None
            return {"accessControl": {"allow": list(allow)} if allow else {"deny": list(deny)}}
        case ApiKey():
            places = {"header": policy.header, "query": policy.query}
            return {
                "apiKey": {
                    "suppliedIn": {key: [one] for key, one in places.items() if one},
                    "clientSecret": target.credentials[policy.name],
                }
            }
        case Basic():
            return {"basicAuth": {"realm": policy.realm, "secret": target.credentials[policy.name]}}
        case Oidc():
            return {"externalAuth": _oidc(policy, target)}
        case RateLimit():
            return {"rateLimit": _rate_limit(policy, policies)}
        case Cache():
            return {"cache": _cache(policy, route, policies)}
        case Cors():
            return {"cors": _cors(policy)}
        case _:
            return None


def upstream_tls(backend: Backend) -> dict[str, Any]:
    """The proof of a backend's certificate. Its Secret is of the type `nginx.org/ca`."""
    if backend.tls is None:
        raise ValueError(f"{backend.name} proves nothing")
    return {
        "egressMTLS": {
            "trustedCertSecret": backend.tls.ca_secret,
            "verifyServer": True,
            "verifyDepth": 3,
            "serverName": True,
            "sslName": backend.tls.server_name,
            "protocols": "TLSv1.2 TLSv1.3",
        }
    }


def identity(policies: tuple[Policy, ...]) -> str:
    """Variables of NGINX that tell consumers apart; "" without authentication."""
    for policy in policies:
        match policy:
            case ApiKey():
                return "${apikey_client_name}"
            case Oidc():
                return f"${{cookie_{_SESSION}}}${{http_authorization}}"
            case _ if policy.type in AUTHENTICATION:
                return "${http_authorization}"
            case _:
                pass
    return ""


def authenticated(gateway: Gateway, route: Route, host: str) -> bool:
    """Whether a route of a host asks who comes."""
    return any(one.type in AUTHENTICATION for one in gateway.policies_of(route, host))


def _oidc(policy: Oidc, target: Target) -> dict[str, Any]:
    found = {
        "authURI": "/oauth2/auth",
        "authServiceName": target.oidc_service,
        "authServicePorts": [80],
        "authSigninURI": SIGN_IN,
    }
    if policy.groups:
        found["authSnippets"] = f'set $args "allowed_groups={",".join(sorted(policy.groups))}";'
    return found


def _rate_limit(policy: RateLimit, policies: tuple[Policy, ...]) -> dict[str, Any]:
    seconds = _SECONDS[policy.per]
    rate = f"{policy.requests}r/s" if seconds == 1 else f"{policy.requests * 60 // seconds}r/m"
    keys = {
        "client": "${binary_remote_addr}",
        "consumer": identity(policies),
        "header": f"${{http_{(policy.header or '').lower().replace('-', '_')}}}",
        "route": "route",
    }
    # One more than these is the first of them, which the rate itself lets through.
    burst = policy.requests - 1 if policy.burst is None else policy.burst
    return {
        "rate": rate,
        "key": keys[policy.by],
        "zoneSize": _ZONE,
        "rejectCode": 429,
        "noDelay": True,
        **({"burst": burst} if burst else {}),
        **({"scale": True} if policy.scope == "divided" else {}),
    }


def _cache(policy: Cache, route: Route, policies: tuple[Policy, ...]) -> dict[str, Any]:
    varying = [f"$http_{name.lower().replace('-', '_')}" for name in sorted(policy.vary)]
    who = identity(policies).replace("${", "$").replace("}", "")
    key = "|".join(("$scheme$host$request_uri", *varying, *([_separated(who)] if who else [])))
    seconds = max(-(-policy.time // 1000), 1)
    found: dict[str, Any] = {
        "cacheZoneName": f"{route.name}_{policy.name}".replace("-", "_"),
        "cacheZoneSize": "10m",
        "maxSize": f"{max(policy.size // 1024**2, 1)}m",
        "levels": "1:2",
        "time": f"{seconds}s",
        "allowedCodes": sorted(set(policy.statuses)),
        "allowedMethods": sorted(set(policy.methods)),
        "cacheKey": key,
        # One request at a time asks the backend for what is missing.
        "lock": {"enable": True},
    }
    if policy.stale:
        found["cacheUseStale"] = list(_FAILURES)
    return found


def _separated(variables: str) -> str:
    return "|$".join(variables.split("$")).removeprefix("|")


def _cors(policy: Cors) -> dict[str, Any]:
    methods = set(policy.methods)
    return {
        "allowOrigin": sorted(set(policy.origins)),
        # The controller refuses HEAD beside GET, which stands for it.
        "allowMethods": sorted(methods - {"HEAD"} if "GET" in methods else methods),
        **({"allowHeaders": sorted(policy.headers)} if policy.headers else {}),
        **({"exposeHeaders": sorted(policy.expose)} if policy.expose else {}),
        "maxAge": policy.max_age // 1000,
        **({"allowCredentials": True} if policy.credentials else {}),
    }

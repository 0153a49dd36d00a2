"""TransportServers as servers of connections.

https://docs.nginx.com/nginx-ingress-controller/configuration/transportserver-resource/
"""

from __future__ import annotations

from .conf import Fields, Lines, Unsupported, block
from .objects import NOBODY, Object, Objects
from .servers import listeners_of, snippets
from .settings import Settings


def file_name(server: Object) -> str:
    """Of a TransportServer's configuration, in stream-conf.d."""
    return f"ts_{server['metadata']['namespace']}_{server['metadata']['name']}.conf"


def transport_server(server: Object, objects: Objects, settings: Settings) -> Lines:
    """The configuration of a TransportServer. Raises Unsupported where it is not carried out."""
    meta = server["metadata"]
    spec = Fields(server["spec"], f"TransportServer {meta['namespace']}/{meta['name']}")
    spec.take("ingressClassName")
    listener = spec.inner("listener") or Fields({}, "listener")
    name, protocol = listener.text("name"), listener.text("protocol")
    listener.end()
    known = listeners_of(objects, settings)
    if name not in known:
        raise Unsupported(f"{spec.where}: there is no listener {name!r}")
    if protocol not in ("TCP", "UDP"):
        raise Unsupported(f"{spec.where}: protocol {protocol!r}: unsupported")
    words = "".join(
        f" {word}" for word, on in (("udp", protocol == "UDP"), ("ssl", spec.has("tls"))) if on
    )
    port = known[name]["port"]
    lines = [f"listen {port}{words};"]
    if settings.flags.ipv6:
        lines.append(f"listen [::]:{port}{words};")
    if tls := spec.inner("tls"):
        path = objects.secret_file(
            meta["namespace"], tls.text("secret"), "kubernetes.io/tls", "tls.crt", "tls.key"
        )
        tls.end()
        lines += [f"ssl_certificate {path};", f"ssl_certificate_key {path};"]
    prefix = f"ts_{meta['namespace']}_{meta['name']}"
    before: Lines = []
    for one in spec.each("upstreams"):
        before += _upstream(one, meta["namespace"], prefix, objects)
    before += snippets(spec, settings, "streamSnippets", "")
    lines += snippets(spec, settings, "serverSnippets", "")
    action = spec.inner("action") or Fields({}, "action")
    lines.append(f"proxy_pass {prefix}_{action.text('pass')};")
    action.end()
    session = spec.inner("sessionParameters") or Fields({}, "sessionParameters")
    lines.append(f"proxy_timeout {session.text('timeout', '10m')};")
    session.end()
    tuning = spec.inner("upstreamParameters") or Fields({}, "upstreamParameters")
    lines.append(f"proxy_connect_timeout {tuning.text('connectTimeout', '60s')};")
    again = tuning.take("nextUpstream", False)
    timeout, tries = tuning.text("nextUpstreamTimeout", "0s"), tuning.take("nextUpstreamTries", 0)
    tuning.end()
    if again:
        lines += [
            "proxy_next_upstream on;",
            f"proxy_next_upstream_timeout {timeout};",
            f"proxy_next_upstream_tries {tries};",
        ]
    spec.end()
    return [*before, *block("server", lines)]


def _upstream(given: Fields, namespace: str, prefix: str, objects: Objects) -> Lines:
    name = f"{prefix}_{given.text('name')}"
    servers = objects.servers(namespace, given.text("service"), given.take("port"))
    lines = [f"zone {name} 512k;"]
    if method := given.text("loadBalancingMethod", "random two least_conn"):
        lines += [] if method == "round_robin" else [f"{method};"]
    fails, timeout = given.take("maxFails", 1), given.text("failTimeout", "10s")
    connections = given.take("maxConns", 0)
    given.end()
    nobody = "unix:/var/lib/nginx/nginx-non-existing-unix-socket.sock"
    lines += [
        f"server {nobody if one == NOBODY else one} max_fails={fails} fail_timeout={timeout} "
        f"max_conns={connections};"
        for one in servers
    ]
    return block(f"upstream {name}", lines)

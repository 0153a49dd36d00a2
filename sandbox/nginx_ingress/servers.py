"""VirtualServers, with their routes and policies, as servers of nginx.

https://docs.nginx.com/nginx-ingress-controller/configuration/virtualserver-and-virtualserverroute-resources/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .conf import Fields, Lines, Unsupported, block, quoted, snake, snippet
from .objects import Object, Objects, split_name
from .policies import Effect, ExternalAuth, api_key_location, effect
from .settings import Settings

_RETURNER = "http://unix:/var/lib/nginx/nginx-418-server.sock"
_FORWARDED = {
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$proxy_add_x_forwarded_for",
    "X-Forwarded-Host": "$host",
    "X-Forwarded-Port": "$server_port",
    "X-Forwarded-Proto": "$scheme",
}
_WORDS_OF_MAP = {"default", "hostnames", "include", "volatile"}
# What gRPC clients are told instead of a status of HTTP: status of gRPC by that of HTTP.
_GRPC_STATUS = {
    13: (400, 405, 415, 426, 497, 500, 501),
    16: (401, 495, 496),
    7: (403,),
    12: (404,),
    14: (429, 502, 503, 504),
    4: (408,),
    8: (413, 414),
}


@dataclass(frozen=True)
class Upstream:
    """A group of servers, and how requests are passed to it."""

    name: str
    block: Lines
    passing: Lines
    grpc: bool
    tls: bool
    service: str

    @property
    def scheme(self) -> str:
        """Of `proxy_pass` or `grpc_pass`."""
        return ("grpc" if self.grpc else "http") + ("s" if self.tls else "")


@dataclass
class _Server:
    """What is gathered of a VirtualServer."""

    objects: Objects
    settings: Settings
    namespace: str
    name: str
    generation: int
    followed: set[tuple[str, str]]
    upstreams: dict[tuple[str, str], Upstream] = field(default_factory=dict)
    outside: dict[str, Lines] = field(default_factory=dict)
    locations: list[Lines] = field(default_factory=list)
    cors: list[tuple[str, str]] = field(default_factory=list)
    proof: list[tuple[str, str]] = field(default_factory=list)
    api_key: bool = False
    asked: set[str] = field(default_factory=set)
    splits: int = 0
    matches: int = 0
    returns: int = 0

    @property
    def variable(self) -> str:
        return snake(f"$vs_{self.namespace}_{self.name}")


def file_name(server: Object) -> str:
    """Of a VirtualServer's configuration, in conf.d."""
    return f"vs_{server['metadata']['namespace']}_{server['metadata']['name']}.conf"


def virtual_server(server: Object, objects: Objects, settings: Settings) -> Lines:
    """The configuration of a VirtualServer and of the VirtualServerRoutes that it names.

    Raises:
        Unsupported: it can't be carried out whole.
    """
    meta = server["metadata"]
    spec = Fields(server["spec"], f"VirtualServer {meta['namespace']}/{meta['name']}")
    spec.take("ingressClassName")
    host = spec.text("host")
    generation, followed = meta.get("generation", 0), _followed(server, objects)
    made = _Server(objects, settings, meta["namespace"], meta["name"], generation, followed)
    for one in spec.each("upstreams"):
        _upstream(made, one, meta["namespace"], f"vs_{meta['namespace']}_{meta['name']}")
    owner = (meta["namespace"], meta["name"])
    whole = effect(spec.take("policies", []), meta["namespace"], owner, objects)
    made.cors, made.proof = whole.cors, whole.proof
    _gather(made, whole)
    for route in spec.each("routes"):
        named = route.text("route")
        if named:
            _subroutes(made, route, named)
        else:
            _route(made, route, meta["namespace"])
    lines = [*_listeners(made, spec), f"server_name {host};"]
    lines += [
        f'set $resource_namespace "{meta["namespace"]}";',
        f'set $resource_name "{meta["name"]}";',
        'set $resource_type "virtualserver";',
        'set $service "-";',
        *_tls(made, spec),
        *whole.server_lines,
        f'server_tokens "{settings.server_tokens}";',
        *real_ip(settings),
    ]
    if spec.take("gunzip", False):
        lines.append("gunzip on;")
    lines += whole.lines
    if whole.external and whole.external.sign_in:
        lines.append(f"error_page 401 {whole.external.sign_in};")
    lines += snippets(spec, settings, "server-snippets", settings.server_snippets)
    outside = snippets(spec, settings, "http-snippets", "")
    if made.api_key:
        made.locations.append(api_key_location())
    if any(one.grpc for one in made.upstreams.values()):
        made.locations += [_grpc_error(status) for status in _GRPC_STATUS]
    spec.end()
    for location in made.locations:
        lines += location
    result: Lines = []
    for upstream in made.upstreams.values():
        result += upstream.block
    for part in made.outside.values():
        result += part
    return [*result, *outside, *block("server", lines)]


def _followed(server: Object, objects: Objects) -> set[tuple[str, str]]:
    """The Services whose pods the controller sees come and go.

    Release 5.5.4 misses those that a VirtualServer names in another namespace
    (internal/k8s/reference_checkers.go).
    """
    namespace, spec = server["metadata"]["namespace"], server["spec"]
    named = {split_name(route["route"], namespace) for route in spec["routes"] if "route" in route}
    found = [objects.find("virtualserverroutes", *key) for key in named]
    return {
        (one["metadata"]["namespace"], upstream["service"])
        for one in (server, *found)
        if one
        for upstream in one["spec"].get("upstreams") or []
    }


def real_ip(settings: Settings) -> Lines:
    """Whose word is taken for a client's address."""
    lines = [f"set_real_ip_from {one};" for one in settings.set_real_ip_from]
    if settings.real_ip_header:
        lines.append(f"real_ip_header {settings.real_ip_header};")
    if settings.real_ip_recursive:
        lines.append("real_ip_recursive on;")
    return lines


def listen(port: int, settings: Settings, *options: str) -> Lines:
    """Listen on a port of all addresses."""
    words = [*options, *(["proxy_protocol"] if settings.proxy_protocol else [])]
    tail = "".join(f" {word}" for word in words)
    lines = [f"listen {port}{tail};"]
    return [*lines, f"listen [::]:{port}{tail};"] if settings.flags.ipv6 else lines


def snippets(spec: Fields, settings: Settings, name: str, default: str) -> Lines:
    """Configuration that an object brings along; Unsupported where none may."""
    given = spec.text(name)
    if given and not settings.flags.snippets:
        raise Unsupported(f"{spec.where}.{name}: snippets are not enabled")
    return snippet(given or default)


def _listeners(made: _Server, spec: Fields) -> Lines:
    ports = {"http": made.settings.flags.http_port, "https": made.settings.flags.https_port}
    if listener := spec.inner("listener"):
        listeners = listeners_of(made.objects, made.settings)
        chosen = {name: listener.text(name) for name in ("http", "https")}
        listener.end()
        for name in chosen.values():
            if name and name not in listeners:
                raise Unsupported(f"{spec.where}: there is no listener {name}")
        ports = {kind: listeners[name]["port"] for kind, name in chosen.items() if name}
    lines = listen(ports["http"], made.settings) if "http" in ports else []
    if "https" in ports and spec.has("tls"):
        lines += listen(ports["https"], made.settings, "ssl")
    return lines


def listeners_of(objects: Objects, settings: Settings) -> dict[str, dict[str, Any]]:
    """The listeners of the GlobalConfiguration, by name."""
    namespace, _, name = settings.flags.global_configuration.partition("/")
    found = objects.find("globalconfigurations", namespace, name) if name else None
    return {one["name"]: one for one in (found or {"spec": {}})["spec"].get("listeners", [])}


def _tls(made: _Server, spec: Fields) -> Lines:
    tls = spec.inner("tls")
    if tls is None:
        return []
    secret = tls.text("secret")
    lines = ["http2 on;"] if made.settings.http2 else []
    namespace = made.namespace
    if not secret:
        namespace, _, secret = made.settings.flags.wildcard_secret.partition("/")
    if not secret:
        raise Unsupported(f"{tls.where}: no secret, and no wildcard's")
    try:
        path = made.objects.secret_file(
            namespace, secret, "kubernetes.io/tls", "tls.crt", "tls.key"
        )
        lines += [f"ssl_certificate {path};", f"ssl_certificate_key {path};"]
    except Unsupported:
        lines.append("ssl_reject_handshake on;")
    if redirect := tls.inner("redirect"):
        based_on = redirect.text("basedOn", "scheme")
        variable = "$http_x_forwarded_proto" if based_on == "x-forwarded-proto" else "$scheme"
        code = redirect.take("code", 301)
        if redirect.take("enable", False):
            lines.append(f"if ({variable} = 'http') {{ return {code} https://$host$request_uri; }}")
        redirect.end()
    tls.end()
    return lines


def _upstream(made: _Server, given: Fields, namespace: str, prefix: str) -> None:
    settings = made.settings
    short, service, port = given.text("name"), given.text("service"), given.take("port")
    labels = given.take("subselector")
    if given.take("use-cluster-ip", False):
        servers = made.objects.cluster_address(namespace, service, port)
    else:
        servers = made.objects.servers(namespace, service, port, labels)
        if (key := split_name(service, namespace)) not in made.followed:
            # As it was when the controller last looked at the VirtualServer.
            of = (made.namespace, made.name, made.generation, *key, port)
            servers = made.objects.memory.setdefault(of, servers)
    name = f"{prefix}_{short}"
    method = given.text("lb-method", settings.lb_method)
    fails, connections = given.take("max-fails", settings.max_fails), given.take("max-conns", 0)
    timeout = given.text("fail-timeout", settings.fail_timeout)
    keepalive = given.take("keepalive", settings.keepalive)
    lines = [f"zone {name} {settings.upstream_zone_size};"]
    if method != "round_robin":
        lines.append(f"{method};")
    lines += [
        f"server {one} max_fails={fails} fail_timeout={timeout} max_conns={connections};"
        for one in servers
    ]
    if keepalive:
        lines.append(f"keepalive {keepalive};")
    if cookie := given.inner("sessionCookie"):
        _no_sticky(cookie)
    grpc = given.text("type", "http") == "grpc"
    tls = given.inner("tls")
    encrypted = bool(tls and tls.take("enable", False))
    if tls:
        tls.end()
    passing = _passing(given, settings, "grpc" if grpc else "proxy")
    # Says what the variable of the Connection header is for a request that is no upgrade.
    passing.append(f"set $default_connection_header {quoted('' if keepalive else 'close')};")
    given.end()
    made.upstreams[(namespace, short)] = Upstream(
        *(name, block(f"upstream {name}", lines), passing, grpc, encrypted),
        split_name(service, namespace)[1],
    )


def _no_sticky(cookie: Fields) -> None:
    """A session cookie needs `sticky`, which open-source nginx has from 1.29.6 on."""
    if cookie.take("enable", False):
        raise Unsupported(f"{cookie.where}: the nginx of the stand-in's image is older than 1.29.6")


def _passing(given: Fields, settings: Settings, kind: str) -> Lines:
    """How requests are passed on: timeouts, sizes, buffers, and when another server is tried."""
    lines = []
    for name, default in (
        ("connect", settings.proxy_connect_timeout),
        ("read", settings.proxy_read_timeout),
        ("send", settings.proxy_send_timeout),
    ):
        lines.append(f"{kind}_{name}_timeout {given.text(f'{name}-timeout', default)};")
    body = given.text("client-max-body-size", settings.client_max_body_size)
    lines.append(f"client_max_body_size {body};")
    if size := given.text("client-body-buffer-size", settings.client_body_buffer_size):
        lines.append(f"client_body_buffer_size {size};")
    buffering = given.take("buffering", settings.proxy_buffering)
    lines.append(f"proxy_buffering {'on' if buffering else 'off'};")
    buffers = given.inner("buffers")
    count = settings.proxy_buffers
    if buffers:
        count = f"{buffers.take('number')} {buffers.take('size')}"
        buffers.end()
    size = given.text("buffer-size", settings.proxy_buffer_size)
    busy = given.text("busy-buffers-size", settings.proxy_busy_buffers_size)
    if kind == "grpc":
        lines += [f"grpc_buffer_size {size};"] if size else []
    else:
        lines += [f"proxy_buffers {count};"] if count else []
        lines += [f"proxy_buffer_size {size};"] if size else []
        lines += [f"proxy_busy_buffers_size {busy};"] if busy else []
    return [
        *lines,
        f"{kind}_next_upstream {given.text('next-upstream', 'error timeout')};",
        f"{kind}_next_upstream_timeout {given.text('next-upstream-timeout', '0s')};",
        f"{kind}_next_upstream_tries {given.take('next-upstream-tries', 0)};",
    ]


def _gather(made: _Server, found: Effect) -> None:
    made.outside |= found.outside
    made.api_key |= found.api_key
    external = found.external
    if external is None or external.location in made.asked:
        return
    made.asked.add(external.location)
    made.locations += _external_locations(made, external)


def _external_locations(made: _Server, external: ExternalAuth) -> list[Lines]:
    given = Fields(
        {"name": f"exauth{len(made.asked)}", "service": external.service, "port": external.port},
        "externalAuth",
    )
    made.followed.add(split_name(external.service, made.namespace))
    _upstream(made, given, made.namespace, f"vs_{made.namespace}_{made.name}")
    upstream = made.upstreams[(made.namespace, f"exauth{len(made.asked)}")]
    common = ["proxy_set_header Host $host;", "proxy_set_header X-Scheme $scheme;"]
    common += [f"proxy_set_header {name} {value};" for name, value in _FORWARDED.items()]
    asking = block(
        f"location {external.location}",
        [
            "internal;",
            *external.lines,
            "client_max_body_size 0;",
            "proxy_pass_request_body off;",
            'proxy_set_header Content-Length "0";',
            *common,
            f"proxy_pass http://{upstream.name}{external.uri};",
        ],
    )
    if not external.sign_in:
        return [asking]
    signing_in = [
        "auth_request off;",
        "client_max_body_size 0;",
        "proxy_set_header X-Auth-Request-Redirect $request_uri;",
        *common,
        f"proxy_pass http://{upstream.name};",
    ]
    return [asking, block(f"location {external.base}", signing_in)]


def _subroutes(made: _Server, route: Fields, named: str) -> None:
    namespace, _, name = f"{made.namespace}/{named}".rpartition("/")
    namespace = namespace.rpartition("/")[2]
    path, inherited = route.text("path"), route.take("policies", [])
    route.end()
    found = made.objects.find("virtualserverroutes", namespace, name)
    if found is None:
        return
    spec = Fields(found["spec"], f"VirtualServerRoute {namespace}/{name}")
    for ignored in ("ingressClassName", "host"):
        spec.take(ignored)
    prefix = f"vs_{made.namespace}_{made.name}_vsr_{namespace}_{name}"
    for one in spec.each("upstreams"):
        _upstream(made, one, namespace, prefix)
    for one in spec.each("subroutes"):
        _route(made, one, namespace, inherited, path)
    spec.end()


def _route(
    made: _Server,
    route: Fields,
    namespace: str,
    inherited: list[dict[str, Any]] | None = None,
    below: str = "",
) -> None:
    path = route.text("path")
    if not path.startswith(below):
        raise Unsupported(f"{route.where}: {path} is not below {below}")
    given = route.take("policies") or inherited or []
    found = effect(given, namespace, (made.namespace, made.name), made.objects)
    found.cors = found.cors or made.cors
    _gather(made, found)
    written = snippets(route, made.settings, "location-snippets", made.settings.location_snippets)
    sign_in = found.external.sign_in if found.external else ""
    proof = found.proof or made.proof
    place = _Place(namespace, path, written, found.lines, sign_in, found.cors, proof)
    matches, splits, action = route.each("matches"), route.each("splits"), route.inner("action")
    pages = route.take("errorPages")
    if pages:
        raise Unsupported(f"{route.where}.errorPages: unsupported")
    route.end()
    if matches:
        made.locations.append(_by_match(made, place, matches, splits, action))
    elif splits:
        made.locations.append(_goto(path, _by_share(made, place, splits)))
    elif action:
        made.locations.append(_location(made, place, _modified(path), action, internal=False))
    else:
        raise Unsupported(f"{route.where}: neither action nor splits nor matches")


@dataclass(frozen=True)
class _Place:
    """A route, as all its locations have it."""

    namespace: str
    path: str
    written: Lines
    """Its snippets."""
    policies: Lines
    sign_in: str
    cors: list[tuple[str, str]]
    proof: list[tuple[str, str]]


def _modified(path: str) -> str:
    """A path as nginx has it: with a space after its modifier, expressions in quotes.

    >>> _modified("~^/a b"), _modified("=/a"), _modified("/a")
    ('~ "^/a b"', '= /a', '/a')
    """
    for modifier in ("~*", "~", "^~", "="):
        if path.startswith(modifier):
            rest = path.removeprefix(modifier).lstrip()
            return f'{modifier} "{rest}"' if modifier[0] == "~" else f"{modifier} {rest}"
    return path


def _goto(path: str, variable: str) -> Lines:
    return block(f"location {path}", [f"rewrite ^ {variable} last;"])


def _by_share(made: _Server, place: _Place, splits: list[Fields]) -> str:
    """Locations for shares of requests, and the variable that says which one a request goes to."""
    index, variable = made.splits, f"{made.variable}_splits_{made.splits}"
    made.splits += 1
    shares = []
    for number, split in enumerate(splits):
        target = f"/internal_location_splits_{index}_split_{number}"
        if weight := split.take("weight", 0):
            shares.append(f"{weight}% {target};")
        action = split.inner("action")
        split.end()
        if action is None:
            raise Unsupported(f"{split.where}: no action")
        made.locations.append(_location(made, place, target, action, internal=True))
    made.outside[variable] = block(f"split_clients $request_id {variable}", shares)
    return variable


def _by_match(
    made: _Server, place: _Place, matches: list[Fields], splits: list[Fields], action: Fields | None
) -> Lines:
    index = made.matches
    made.matches += 1
    base = f"{made.variable}_matches_{index}"
    source, choices = "", []
    for i, match in enumerate(matches):
        conditions = match.each("conditions")
        for j, condition in enumerate(conditions):
            last = j == len(conditions) - 1
            hit = "1" if last else f"{base}_match_{i}_cond_{j + 1}"
            name = f"{base}_match_{i}_cond_{j}"
            made.outside[name] = block(f"map {_subject(condition)} {name}", _test(condition, hit))
            condition.end()
        source += f"{base}_match_{i}_cond_0"
        inner_splits, inner = match.each("splits"), match.inner("action")
        match.end()
        if inner_splits:
            target = _by_share(made, place, inner_splits)
        elif inner:
            target = f"/internal_location_matches_{index}_match_{i}"
            made.locations.append(_location(made, place, target, inner, internal=True))
        else:
            raise Unsupported(f"{match.where}: neither action nor splits")
        choices.append(f"~^{'0' * i}1 {target};")
    if splits:
        default = _by_share(made, place, splits)
    elif action:
        default = f"/internal_location_matches_{index}_default"
        made.locations.append(_location(made, place, default, action, internal=True))
    else:
        raise Unsupported(f"route {place.path}: no action for what matches nothing")
    choices.append(f"default {default};")
    made.outside[base] = block(f"map {source} {base}", choices)
    return _goto(place.path, base)


def _subject(condition: Fields) -> str:
    header, cookie = condition.text("header"), condition.text("cookie")
    argument, variable = condition.text("argument"), condition.text("variable")
    if header:
        return f"$http_{header.replace('-', '_')}"
    if cookie:
        return f"$cookie_{cookie}"
    return f"$arg_{argument}" if argument else variable


def _test(condition: Fields, hit: str) -> Lines:
    value = condition.text("value")
    negative = value.startswith("!")
    value = value.removeprefix("!")
    found, other = ("0", hit) if negative else (hit, "0")
    # The words that mean something to `map`.
    word = (
        f"\\{value}" if value in {"default", "hostnames", "include", "volatile"} else f'"{value}"'
    )
    return [f"{word} {found};", f"default {other};"]


def _location(made: _Server, place: _Place, path: str, action: Fields, *, internal: bool) -> Lines:
    lines = ["internal;"] if internal else []
    if not action.has("return"):
        lines += place.written
    lines += place.policies
    if place.sign_in:
        lines.append(f"error_page 401 {place.sign_in};")
    passed, proxy = action.text("pass"), action.inner("proxy")
    if redirect := action.inner("redirect"):
        code, url = redirect.take("code", 301), redirect.text("url")
        redirect.end()
        action.end()
        lines += [f'error_page 418 ={code} "{url}";', "proxy_intercept_errors on;"]
        return block(f"location {path}", [*lines, f"proxy_pass {_RETURNER};"])
    if answer := action.inner("return"):
        return block(f"location {path}", lines + _return(made, answer, action))
    action.end()
    short = passed or (proxy.text("upstream") if proxy else "")
    upstream = made.upstreams.get((place.namespace, short))
    if upstream is None:
        raise Unsupported(f"{action.where}: there is no upstream {short!r}")
    lines.append(f'set $service "{upstream.service}";')
    lines += _proxied(place, upstream, proxy, internal)
    return block(f"location {path}", lines)


def _return(made: _Server, answer: Fields, action: Fields) -> Lines:
    name = f"@return_{made.returns}"
    made.returns += 1
    code, kind = answer.take("code", 200), answer.text("type", "text/plain")
    headers = [
        f"add_header {one['name']} {quoted(one['value'])} always;"
        for one in answer.take("headers", [])
    ]
    body = answer.text("body")
    answer.end()
    action.end()
    made.locations.append(
        block(
            f"location {name}", [f'default_type "{kind}";', *headers, f"return 0 {quoted(body)};"]
        )
    )
    return [
        f'error_page 418 ={code} "{name}";',
        "proxy_intercept_errors on;",
        f"proxy_pass {_RETURNER};",
    ]


def _proxied(place: _Place, upstream: Upstream, proxy: Fields | None, internal: bool) -> Lines:
    kind = "grpc" if upstream.grpc else "proxy"
    rewritten = proxy.text("rewritePath") if proxy else ""
    lines = [*_rewrites(place.path, rewritten, internal, upstream.grpc), *upstream.passing]
    if place.sign_in:
        lines.append(f"{kind}_intercept_errors on;")
    request = (proxy.inner("requestHeaders") if proxy else None) or Fields({}, "requestHeaders")
    response = (proxy.inner("responseHeaders") if proxy else None) or Fields({}, "responseHeaders")
    if proxy:
        proxy.take("upstream")
        proxy.end()
    if not upstream.grpc:
        lines += [
            "proxy_http_version 1.1;",
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection $vs_connection_header;",
        ]
        if not request.take("pass", True):
            lines.append("proxy_pass_request_headers off;")
    set_here = {one["name"]: one["value"] for one in request.take("set", [])}
    request.take("pass")
    request.end()
    lower = {name.lower() for name in set_here}
    for name, value in _FORWARDED.items():
        if name.lower() not in lower:
            lines.append(f"{kind}_set_header {name} {value};")
    for name, value in set_here.items():
        lines.append(f"{kind}_set_header {name} {quoted(value)};")
    if "host" not in lower:
        lines.append(f'{kind}_set_header Host "$host";')
    lines += [f"{kind}_hide_header {name};" for name in response.take("hide", [])]
    lines += [f"{kind}_pass_header {name};" for name in response.take("pass", [])]
    if ignored := response.take("ignore"):
        lines.append(f"{kind}_ignore_headers {' '.join(ignored)};")
    added = [
        f"add_header {one['name']} {quoted(one['value'])}{' always' if one.get('always') else ''};"
        for one in response.take("add", [])
    ]
    response.end()
    cors = [f"add_header {name} {quoted(value)}" for name, value in place.cors]
    lines += [*added, *(f"{one} always;" for one in cors)]
    if place.cors:
        answer = ["add_header Content-Type text/plain;", "add_header Content-Length 0;"]
        told = [*added, *(f"{one};" for one in cors), *answer, "return 204;"]
        lines += block("if ($request_method = 'OPTIONS')", told)
    lines += [f"{kind}_{name} {value};" for name, value in place.proof]
    target = f"{upstream.scheme}://{upstream.name}"
    if upstream.grpc:
        for status, codes in _GRPC_STATUS.items():
            lines.append(f"error_page {' '.join(map(str, codes))} = @grpc_{status};")
        return [*lines, f"grpc_pass {target};"]
    if internal and not rewritten:
        target += "$request_uri"
    elif not internal and rewritten and place.path.startswith(("/", "=", "^~")):
        target += rewritten
    return [*lines, f"proxy_pass {target};"]


def _rewrites(path: str, rewritten: str, internal: bool, grpc: bool) -> Lines:
    if not rewritten:
        return ["rewrite ^ $request_uri break;"] if grpc and internal else []
    lines = ["rewrite ^ $request_uri_no_args;"] if internal else []
    bare = path.removeprefix("~").removeprefix("*").strip()
    if path.startswith("~"):
        lines.append(f'rewrite "^{bare}" "{rewritten}" break;')
    elif internal:
        lines.append(f'rewrite "^{bare}(.*)$" "{rewritten}$1" break;')
    return lines


def _grpc_error(status: int) -> Lines:
    return block(
        f"location @grpc_{status}",
        [
            "default_type application/grpc;",
            "add_header content-type application/grpc;",
            f"add_header grpc-status {status};",
            "return 204;",
        ],
    )

"""The typed model of a gateway: listeners, hosts, backends, routes and their policies. Pure.

A stack names a YAML file. Its keys are in camel case, and it never holds a secret: it names
consumers, whose keys and passwords are generated or given apart, and land in Secrets.

Which route takes a request of a host: one with an exact path before one with a regular expression
before one with a prefix; of prefixes the longest. Then the one with more headers to match, then one
that names methods, then the first in the file. What a route's methods or headers leave goes on to
the next. A prefix is of whole segments: `/a` takes `/a` and `/a/b`, not `/ab` (as the Gateway API
has it).

A policy of a route replaces one of the same type of its host.

Durations are milliseconds, written as `500ms`, `5s`, `2m` or `1h`; sizes bytes, written as
`8Ki`, `10Mi` or `1Gi`.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from components.gateway import hostile
from components.kubeflow.yamljson import YamlError, load_all
from components.problems import continued

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Topology = Literal["single", "chain"]

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
"""A name of the model: a DNS label that begins with a letter, 40 letters at most, for it becomes
part of names of objects."""
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
HostName = Annotated[str, BeforeValidator(hostile.host_name)]
HeaderName = Annotated[str, BeforeValidator(hostile.header_name)]
ChangedHeader = Annotated[str, BeforeValidator(hostile.changed_header)]
HeaderValue = Annotated[str, BeforeValidator(hostile.header_value)]
"""Text with variables of `hostile.VARIABLES`, like `${clientAddress}`."""
Literally = Annotated[str, BeforeValidator(hostile.plain_value)]
"""A value of a header or cookie to compare with; no variables."""
Token = Annotated[str, BeforeValidator(hostile.token)]
"""A name of a cookie or of a query argument."""
UrlPath = Annotated[str, BeforeValidator(hostile.path)]
Regex = Annotated[str, BeforeValidator(hostile.regex)]
Cidr = Annotated[str, BeforeValidator(hostile.cidr)]
Url = Annotated[str, BeforeValidator(hostile.url)]
Origin = Annotated[str, BeforeValidator(hostile.origin)]
Duration = Annotated[int, BeforeValidator(hostile.duration)]
Size = Annotated[int, BeforeValidator(hostile.size)]
Cipher = Annotated[str, BeforeValidator(hostile.cipher)]


# A value of a few anchors may be endless when it is written out.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80


class RoutesError(ValueError):
    """Routes that can't be used; one line for each problem: where, the value, and what mends it."""


class Model(BaseModel):
    """What all parts of the file have."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


# --- listeners ---------------------------------------------------------------------------------


class HttpListener(Model):
    """Plain HTTP. A host with TLS answers here with a redirect, unless it says otherwise."""

    protocol: Literal["http"]
    name: Name
    port: Port = 80


class HttpsListener(Model):
    """HTTP over TLS, which ends here."""

    protocol: Literal["https"]
    name: Name
    port: Port = 443
    minimum_tls: Literal["1.2", "1.3"] = "1.2"
    ciphers: tuple[Cipher, ...] = ()
    """Of TLS 1.2, by OpenSSL's names; empty for those of Mozilla's intermediate list."""
    http2: bool = True


class TcpListener(Model):
    """Connections, passed on as they are."""

    protocol: Literal["tcp"]
    name: Name
    port: Port
    backend: Name
    policies: tuple[Name, ...] = ()
    """Of the type `access` only."""


Listener = Annotated[HttpListener | HttpsListener | TcpListener, Field(discriminator="protocol")]


# --- hosts -------------------------------------------------------------------------------------


class SecretTls(Model):
    """The certificate of a Secret (`kubernetes.io/tls`) in the gateway's namespace."""

    type: Literal["secret"]
    name: Label


class IssuerTls(Model):
    """A certificate that an issuer of cert-manager signs."""

    type: Literal["issuer"]
    name: Label
    kind: Literal["ClusterIssuer", "Issuer"] = "ClusterIssuer"


class OwnCaTls(Model):
    """A certificate of the gateway's own CA, which is made once."""

    type: Literal["ownCa"]


class AcmeTls(Model):
    """A certificate by ACME (HTTP-01), as of Let's Encrypt."""

    type: Literal["acme"]
    email: Annotated[str, BeforeValidator(hostile.email)]
    server: Url = "https://acme-v02.api.letsencrypt.org/directory"


Tls = Annotated[SecretTls | IssuerTls | OwnCaTls | AcmeTls, Field(discriminator="type")]


class Host(Model):
    """A name by which clients come. `*.example.com` takes every name below."""

    name: HostName
    tls: Tls | None = None
    """None for plain HTTP."""
    redirect: bool = True
    """With TLS: whether plain HTTP is answered with a redirect (301)."""
    policies: tuple[Name, ...] = ()
    """Of all routes of the host; a route's own of the same type replaces one."""


# --- backends ----------------------------------------------------------------------------------


class Service(Model):
    """A Service of the cluster."""

    name: Label
    namespace: Label
    port: Port


class External(Model):
    """A host outside, by its DNS name."""

    host: Annotated[str, BeforeValidator(hostile.dns_name)]
    port: Port


class RoundRobin(Model):
    """Each endpoint in turn."""

    type: Literal["roundRobin"] = "roundRobin"


class LeastConnections(Model):
    """The endpoint with the fewest connections."""

    type: Literal["leastConnections"]


class ConsistentHash(Model):
    """The same endpoint for the same client; when one goes only its own clients move."""

    type: Literal["hash"]
    by: Literal["clientAddress", "header", "cookie"]
    name: str | None = None
    """Of the header or cookie."""

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if (self.by == "clientAddress") != (self.name is None):
            raise ValueError(
                f"by is {self.by!r} and name is {self.name!r}: give a name with header and cookie, "
                "and none with clientAddress"
            )
        if self.name is not None:
            (hostile.header_name if self.by == "header" else hostile.token)(self.name)
        return self


Balance = Annotated[RoundRobin | LeastConnections | ConsistentHash, Field(discriminator="type")]


class ActiveHealth(Model):
    """Endpoints are asked, and left out while they don't answer with a status of 200 to 399."""

    path: UrlPath = "/"
    interval: Duration = 5_000
    timeout: Duration = 1_000
    unhealthy: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row after which an endpoint is left out."""
    healthy: Annotated[int, Field(ge=1, le=100)] = 2
    """Successes in a row after which it is back."""


class PassiveHealth(Model):
    """Endpoints at which requests fail are left out for a while."""

    failures: Annotated[int, Field(ge=1, le=1000)] = 3
    timeout: Duration = 10_000
    """The time in which so many must fail, and for which the endpoint is left out."""


class Retries(Model):
    """Requests that fail are sent to another endpoint.

    Those that are not idempotent (POST, PATCH) only where `non_idempotent` allows it, or nothing
    of them had been sent.
    """

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Tries in all, with the first."""
    when: tuple[Literal["error", "timeout", "500", "502", "503", "504", "429"], ...] = (
        "error",
        "timeout",
    )
    timeout: Duration = 10_000
    """The time in which another try may begin."""
    non_idempotent: bool = False


class Timeouts(Model):
    """How long the gateway waits for a backend."""

    connect: Duration = 5_000
    read: Duration = 60_000
    """Between two reads; of TCP 10 minutes, where no timeouts are given."""
    send: Duration = 60_000
    """Between two writes."""


class SessionCookie(Model):
    """The gateway sets a cookie, by which a client comes back to its endpoint."""

    name: Token
    expires: Duration | None = None
    """None for the browser's session."""


class UpstreamTls(Model):
    """How a backend's certificate is proven."""

    ca_secret: Label
    """A Secret with `ca.crt` in the gateway's namespace."""
    server_name: Annotated[str, BeforeValidator(hostile.dns_name)]


class Backend(Model):
    """Where requests go: the endpoints of a Service, or a host outside."""

    name: Name
    service: Service | None = None
    external: External | None = None
    protocol: Literal["http", "https", "grpc", "grpcs", "websocket", "tcp"] = "http"
    balance: Balance = RoundRobin()
    active_health: ActiveHealth | None = None
    passive_health: PassiveHealth = PassiveHealth()
    retries: Retries = Retries()
    timeouts: Timeouts = Timeouts()
    max_connections: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Of each endpoint, from each gateway; 0 for no limit."""
    keepalive: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Idle connections that each worker keeps."""
    slow_start: Duration = 0
    """The time in which an endpoint that is back comes to its full share."""
    session_cookie: SessionCookie | None = None
    backup: Service | None = None
    """Takes requests while no endpoint of the backend is left."""
    tls: UpstreamTls | None = None
    """With https and grpcs; None for encrypted, with nothing proven."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.service is None) == (self.external is None):
            raise ValueError("give either service (name, namespace, port) or external (host, port)")
        if self.tls and self.protocol not in {"https", "grpcs"}:
            raise ValueError(
                f"tls is set, but protocol is {self.protocol!r}: make it https or grpcs, or remove "
                "tls"
            )
        return self


# --- policies ----------------------------------------------------------------------------------


class Access(Model):
    """Who may come, by the client's address: what `deny` holds may not; if there is `allow`, only
    what it holds may."""

    type: Literal["access"]
    name: Name
    allow: tuple[Cidr, ...] = ()
    deny: tuple[Cidr, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.allow and not self.deny:
            raise ValueError("allow and deny are empty: give one of them, or remove the policy")
        return self


class Limits(Model):
    """Larger requests are refused (413)."""

    type: Literal["limits"]
    name: Name
    body: Size


class Filter(Model):
    """Requests that match any of these are refused (403). Expressions are looked for anywhere: in
    the decoded path, in the query as it came, with its escapes, and in the header User-Agent."""

    type: Literal["filter"]
    name: Name
    methods: tuple[Method, ...] = ()
    paths: tuple[Regex, ...] = ()
    queries: tuple[Regex, ...] = ()
    user_agents: tuple[Regex, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.methods or self.paths or self.queries or self.user_agents):
            raise ValueError("nothing is refused: give methods, paths, queries or userAgents")
        return self


class Compression(Model):
    """Responses are compressed with gzip for clients that take it."""

    type: Literal["compression"]
    name: Name
    types: tuple[Annotated[str, BeforeValidator(hostile.media_type)], ...] = (
        "application/javascript",
        "application/json",
        "application/xml",
        "image/svg+xml",
        "text/css",
        "text/plain",
    )
    """Beside text/html, which always is."""
    min_length: Size = 1024
    level: Annotated[int, Field(ge=1, le=9)] = 5


class Cache(Model):
    """Responses that may be shared are kept and given again.

    On a route with authentication each consumer has its own.
    """

    type: Literal["cache"]
    name: Name
    time: Duration = 60_000
    """How long a response is fresh that does not say so itself."""
    size: Size = 100 * 1024**2
    methods: tuple[Literal["GET", "HEAD"], ...] = ("GET", "HEAD")
    statuses: tuple[Annotated[int, Field(ge=200, le=599)], ...] = (200, 301)
    vary: tuple[HeaderName, ...] = ()
    """Request headers by which responses differ."""
    stale: bool = False
    """Whether an old response is given while the backend fails."""


class ApiKey(Model):
    """Consumers come with a key, in a header or a query argument. Else 401."""

    type: Literal["apiKey"]
    name: Name
    consumers: Annotated[tuple[Name, ...], Field(min_length=1)]
    header: HeaderName | None = "X-API-Key"
    query: Token | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.header and not self.query:
            raise ValueError("header and query are empty: a key needs one of them to come in")
        return self


class Basic(Model):
    """Consumers come with a password (RFC 7617). Else 401."""

    type: Literal["basic"]
    name: Name
    consumers: Annotated[tuple[Name, ...], Field(min_length=1)]
    realm: Literally = "gateway"


class Jwt(Model):
    """Clients come with a bearer token that `issuer` signed (RFC 9068). Else 401.

    The key is found by the issuer's discovery document, or is `public_key`.
    """

    type: Literal["jwt"]
    name: Name
    issuer: Url
    audiences: tuple[Literally, ...] = ()
    public_key: Annotated[str, BeforeValidator(hostile.public_key)] | None = None
    """PEM, RSA or EC."""


class Vouched(Jwt):
    """In no file: what is left of a `jwt` whose tokens a proxy in front has checked.

    It says so by a header with the policy's name, which is believed of connections from `networks`
    alone. Else 401.
    """

    HEADER: ClassVar = "X-Checked-Policy"
    networks: tuple[Cidr, ...]


class Oidc(Model):
    """Browsers sign in through the platform's Dex. `groups` empty takes everybody who can."""

    type: Literal["oidc"]
    name: Name
    groups: tuple[Literally, ...] = ()


class RateLimit(Model):
    """Requests above the rate are refused (429)."""

    type: Literal["rateLimit"]
    name: Name
    requests: Annotated[int, Field(ge=1, le=1_000_000)]
    per: Literal["second", "minute", "hour"] = "second"
    by: Literal["client", "consumer", "header", "route"] = "client"
    """Whose requests are counted together: of an address, of a consumer, of a header's value, or
    all of the route."""
    header: HeaderName | None = None
    burst: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How many may come at once above the rate; None for what one `per` holds."""
    scope: Literal["local", "divided", "redis"] = "local"
    """Where it is counted: in each gateway; in each gateway, for its part of the rate; or in one
    Redis for all."""

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if (self.by == "header") != (self.header is not None):
            raise ValueError(
                f"by is {self.by!r} and header is {self.header!r}: give a header with by: header "
                "alone"
            )
        return self


class HeaderChange(Model):
    """Changes of headers, each of which is named once."""

    set: Mapping[ChangedHeader, HeaderValue] = {}
    """Replaces what is there."""
    add: Mapping[ChangedHeader, HeaderValue] = {}
    """Beside what is there."""
    remove: tuple[ChangedHeader, ...] = ()

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = Counter(name.lower() for name in (*self.set, *self.add, *self.remove))
        if twice := sorted(name for name, times in names.items() if times > 1):
            raise ValueError(f"names {', '.join(twice)} twice, in whatever case; keep one")
        return self


class Headers(Model):
    """Headers that are changed on the way to the backend, and back."""

    type: Literal["headers"]
    name: Name
    request: HeaderChange = HeaderChange()
    response: HeaderChange = HeaderChange()


class Cors(Model):
    """What pages of other origins may do (the Fetch standard)."""

    type: Literal["cors"]
    name: Name
    origins: Annotated[tuple[Origin, ...], Field(min_length=1)]
    """`https://app.example.com`, or `*`."""
    methods: tuple[Method, ...] = ("GET", "HEAD", "POST")
    headers: tuple[HeaderName, ...] = ()
    expose: tuple[HeaderName, ...] = ()
    max_age: Duration = 3_600_000
    credentials: bool = False

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.credentials and "*" in self.origins:
            raise ValueError("origins is '*' with credentials: browsers refuse it; name origins")
        return self


Policy = Annotated[
    Access
    | Limits
    | Filter
    | Compression
    | Cache
    | ApiKey
    | Basic
    | Jwt
    | Oidc
    | RateLimit
    | Headers
    | Cors,
    Field(discriminator="type"),
]
AUTHENTICATION: Final = ("apiKey", "basic", "jwt", "oidc")
"""Types of policies of which a route has one at most."""
SEVERAL: Final = ("rateLimit",)
"""Types of policies of which a route or host may have several."""


# --- routes ------------------------------------------------------------------------------------


class PathMatch(Model):
    """Which paths: one, those below one, or those that an expression matches as a whole."""

    type: Literal["exact", "prefix", "regex"] = "prefix"
    value: str

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.type == "regex":
            hostile.path_regex(self.value)
        else:
            hostile.path(self.value)
        return self


class HeaderMatch(Model):
    """A header with exactly this value."""

    name: HeaderName
    value: Literally


class Weighted(Model):
    """A backend, and its share in hundredths."""

    name: Name
    weight: Annotated[int, Field(ge=0, le=100)] = 100


class Canary(Model):
    """A backend for those who ask for it, by a header or a cookie with this value.

    For a share of all requests give weights instead.
    """

    backend: Name
    header: HeaderName | None = None
    cookie: Token | None = None
    value: Literally = "always"

    @model_validator(mode="after")
    def _is_asked_for(self) -> Self:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("give either header or cookie, by which the canary is asked for")
        return self


class Rewrite(Model):
    """The path that the backend sees: `prefix` instead of the route's prefix, or `path` instead of
    the whole, of a route with an exact path or a regular expression, whose groups it may hold:
    `/v2/$1`.
    """

    prefix: UrlPath | None = None
    path: Annotated[str, BeforeValidator(hostile.rewrite)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.prefix is None) == (self.path is None):
            raise ValueError("give either prefix or path")
        return self


class Route(Model):
    """Requests, and where they go."""

    name: Name
    hosts: Annotated[tuple[HostName, ...], Field(min_length=1)]
    """Names of `Gateway.hosts`."""
    path: PathMatch = PathMatch(type="prefix", value="/")
    methods: tuple[Method, ...] = ()
    """Empty for all."""
    headers: tuple[HeaderMatch, ...] = ()
    """All of them must match."""
    backends: Annotated[tuple[Weighted, ...], Field(min_length=1)]
    """Weights are hundredths and sum up to 100."""
    canary: Canary | None = None
    rewrite: Rewrite | None = None
    policies: tuple[Name, ...] = ()


# --- the whole ---------------------------------------------------------------------------------


class Tracing(Model):
    """Request ids and trace contexts (W3C) are passed on; spans go to `endpoint`, if any."""

    request_id: bool = True
    """`X-Request-ID`: as it comes, or else made."""
    endpoint: Annotated[str, BeforeValidator(hostile.address)] | None = None
    """`host:port` of an OpenTelemetry collector (OTLP)."""


class Observability(Model):
    """What the gateway tells."""

    access_log: Literal["json", "off"] = "json"
    metrics: bool = True
    """For Prometheus."""
    tracing: Tracing = Tracing()


class Consumer(Model):
    """Somebody who comes with a key or a password, which is generated or a setting."""

    name: Name


class Chain(Model):
    """How many pods each part of a chain has."""

    balancers: Annotated[int, Field(ge=1, le=100)] = 2
    proxies: Annotated[int, Field(ge=1, le=100)] = 2
    gateways: Annotated[int, Field(ge=1, le=100)] = 2


class Gateway(Model):
    """All of it.

    `topology` is `single`, where one box does all, or `chain`: a balancer passes connections to
    proxies (TLS, compression, caching, limits), and those to a gateway (authentication, rates,
    transformation, routing).
    """

    topology: Topology = "single"
    chain: Chain = Chain()
    listeners: tuple[Listener, ...] = (
        HttpListener(protocol="http", name="http"),
        HttpsListener(protocol="https", name="https"),
    )
    hosts: tuple[Host, ...] = ()
    backends: tuple[Backend, ...] = ()
    routes: tuple[Route, ...] = ()
    policies: tuple[Policy, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    header_size: Size = 32 * 1024
    """The most that all headers of a request may be."""
    observability: Observability = Observability()

    # --- what is derived ---------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for host in self.hosts if host.name == name)

    def backend(self, name: str) -> Backend:
        """The backend of that name."""
        return next(backend for backend in self.backends if backend.name == name)

    def policy(self, name: str) -> Policy:
        """The policy of that name."""
        return next(policy for policy in self.policies if policy.name == name)

    def routes_of(self, host: str) -> tuple[Route, ...]:
        """The routes of a host, in the order in which they are tried."""
        return tuple(sorted((r for r in self.routes if host in r.hosts), key=_precedence))

    def policies_of(self, route: Route, host: str) -> tuple[Policy, ...]:
        """What applies to a route at one of its hosts: its own, and the host's of other types."""
        own = [self.policy(name) for name in route.policies]
        types = {policy.type for policy in own}
        types |= set(AUTHENTICATION) if types & set(AUTHENTICATION) else set()
        inherited = (self.policy(name) for name in self.host(host).policies)
        return (*own, *(policy for policy in inherited if policy.type not in types))


def _precedence(route: Route) -> tuple[int, int, str, int, bool]:
    """Sorts routes of a host into the order in which they are tried; what is left is the file's."""
    kind = ("exact", "regex", "prefix").index(route.path.type)
    # Expressions stay in the order of the file, of which the first one that matches is taken.
    value = "" if route.path.type == "regex" else route.path.value
    if route.path.type == "prefix":
        value = value.rstrip("/")
    return kind, -len(value), value, -len(route.headers), not route.methods


def parse(source: str | Mapping[str, Any], name: str = "routes") -> Gateway:
    """The gateway of a YAML text, or of the mapping that it holds; errors name the file `name`.

    Raises:
        RoutesError: one line for each problem: path in the file, value, and what mends it.
    """
    values: Any = load(source, name) if isinstance(source, str) else source
    if not isinstance(values, Mapping):
        raise RoutesError(
            f"{name} holds {_shown(values)}: give a mapping with listeners, hosts, routes"
        )
    try:
        gateway = Gateway.model_validate(dict(values))
    except ValidationError as error:
        lines = [_line(values, problem) for problem in error.errors()]
    else:
        # It reads this model, so it can't be read before.
        from components.gateway.consistency import problems

        lines = problems(gateway)
    if lines:
        raise RoutesError("\n".join(f"{name}: {line}" for line in dict.fromkeys(lines)))
    return gateway


def load(text: str, name: str) -> object:
    """What the one document of a YAML text holds, for `parse`; errors name the file `name`.

    Raises:
        RoutesError: it is not YAML, or more or less than one document.
    """
    try:
        documents = load_all(text)
    except YamlError as error:
        said = " ".join(str(error).split())
        raise RoutesError(f"{name} is not YAML: {said}") from None
    if len(documents) != 1:
        raise RoutesError(f"{name} holds {len(documents)} documents: give one")
    return documents[0]


def _line(values: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    """A problem that pydantic found: `routes[0].path.value is '/..': holds a segment '..', ...`."""
    message = continued(problem)
    where, value = "", values
    there = True
    for step in problem["loc"]:
        if isinstance(step, int):
            where += f"[{step}]"
        elif step in _kinds(value) or step == "[key]":
            # A union's tag, not a step in the file.
            continue
        else:
            where += f".{step}" if where else str(step)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            there = False
    if problem["type"] == "missing" or not there:
        return f"{where} is missing: give it"
    if problem["type"] == "extra_forbidden":
        return f"{where} is {_shown(value)}: there is no such key; remove it"
    return f"{where} is {_shown(value)}: {message}" if where else message


def _kinds(value: object) -> set[object]:
    if not isinstance(value, Mapping):
        return set()
    return {value.get("type", "roundRobin"), value.get("protocol")} - set(value)


def _shown(value: object) -> str:
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

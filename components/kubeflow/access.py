"""Who may enter the platform: no credential that upstream publishes survives in the objects.

Values are only placed, never read or encoded: a secret may be a `pulumi.Output` whose value is not
known while the objects are planned. Secrets therefore go into `stringData`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import bcrypt
import orjson

from components.cluster.base import Database
from components.kubeflow.objects import Object, pod_references, pod_template
from components.kubeflow.sign_in import (
    ISSUER,
    SignIn,
    SignInError,
    dex_configuration,
    proxy_configuration,
    request_authentication,
)
from components.kubeflow.yamljson import dump, load_all

DEFAULT_EMAIL = "user@example.com"
"""Upstream's user."""

# kubeflow/manifests: common/dex, common/oauth2-proxy, applications/pipeline, back to v1.3.
_KNOWN_VALUES: Mapping[str, str] = {
    "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72": "the hash of 12341234",
    "$2y$12$ruoM7FqXrpVgaol44eRZW.4HWS8SAvg6KYVVSCIwKQPBmTpCm.EeO": "the hash of 12341234",
    "12341234": "upstream's password",
    "pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok": "upstream's OIDC client secret",
    "7d16fee92f8d11b8940b081b3f8b8acb": "upstream's cookie secret",
    "minio123": "upstream's object store key",
}
_DEX_CONFIG = "config.yaml"
_DEX_HASH = "DEX_USER_PASSWORD"
_PROXY_CONFIG = "oauth2_proxy.cfg"
_EMPTY_PASSWORD = "MYSQL_ALLOW_EMPTY_PASSWORD"  # noqa: S105 - the name of a variable
_ROOT_PASSWORD = "MYSQL_ROOT_PASSWORD"  # noqa: S105 - the name of a variable
_BCRYPT_LIMIT = 72
_PIPELINES_DATABASE = "mysql-secret"
_PIPELINES_CONFIG = "pipeline-install-config"
_PIPELINES_HOSTS = ("dbHost", "mysqlHost")
_DIGEST_ANNOTATION = "ml-platform/credentials"


class AccessError(ValueError):
    """A credential that cannot be used, or one of upstream's that is still in an object."""


@dataclass(frozen=True)
class Credentials:
    """The credentials of one installation.

    `user_email` is plain text; every other field may be a `pulumi.Output`. `password_hash` is
    bcrypt's, `cookie_secret` base64 of 32 bytes, `object_store_access_key` at least 3 characters
    and `object_store_secret_key` at least 8.
    """

    user_email: str
    password_hash: Any = field(repr=False)
    oidc_client_secret: Any = field(repr=False)
    cookie_secret: Any = field(repr=False)
    object_store_access_key: Any = field(repr=False)
    object_store_secret_key: Any = field(repr=False)
    pipelines_database_password: Any = field(repr=False)
    katib_database_password: Any = field(repr=False)


@dataclass(frozen=True, order=True)
class Finding:
    """A credential of upstream's: the object, the path in it, and what was found there."""

    object: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.object} has {self.what} at {self.path}"


def _letters(size: int) -> Callable[[Callable[[int], bytes]], str]:
    # Letters and digits only: the values go through command lines and connection strings.
    return lambda randbytes: base64.b32encode(randbytes(size)).decode().rstrip("=").lower()


GENERATED: Mapping[str, Callable[[Callable[[int], bytes]], str]] = {
    "password": _letters(15),
    "oidc_client_secret": _letters(25),
    "cookie_secret": lambda randbytes: base64.urlsafe_b64encode(randbytes(32)).decode(),
    "object_store_access_key": _letters(10),
    "object_store_secret_key": _letters(25),
    "pipelines_database_password": _letters(20),
    "katib_database_password": _letters(20),
}


def generate(
    kept: Mapping[str, str], randbytes: Callable[[int], bytes] = secrets.token_bytes
) -> dict[str, str]:
    """The secrets of an installation: those in `kept` as they are, the missing ones new.

    The names are the fields of `Credentials`, and `password` for the user's password. The result
    is decided by `kept` and what `randbytes` gives; the state keeps it from then on.
    """
    return {name: kept.get(name) or make(randbytes) for name, make in GENERATED.items()}


def check_password(password: str) -> None:
    """See whether a password can be used.

    Raises:
        AccessError: it is empty, longer than bcrypt's 72 bytes, holds a NUL, or is upstream's.
    """
    encoded = password.encode()
    if not encoded or len(encoded) > _BCRYPT_LIMIT or b"\0" in encoded:
        raise AccessError(
            f"userPassword has {len(encoded)} bytes; give it 1 to {_BCRYPT_LIMIT} bytes without NUL"
        )
    if password in _KNOWN_VALUES:
        raise AccessError("userPassword is one that anybody can read in kubeflow/manifests")


def hash_password(password: str, kept: str | None = None, cost: int = 10) -> str:
    """A bcrypt hash of the password: `kept`, if that is one, so that nothing changes needlessly.

    Raises:
        AccessError: as `check_password`.
    """
    check_password(password)
    encoded = password.encode()
    if kept is not None and verify(password, kept):
        return kept
    return bcrypt.hashpw(encoded, bcrypt.gensalt(cost)).decode()


def verify(password: str, password_hash: str) -> bool:
    """Whether the bcrypt hash is of the password; False for text that is no hash."""
    try:
        return bcrypt.checkpw(password.encode(), password_hash.encode())
    except ValueError:
        return False


def dashboard_url(port: int = 8080) -> str:
    """Where the dashboard is once `port_forward_command` runs with the same local port."""
    return f"http://localhost:{port}"


def port_forward_command(port: int = 8080, kubeconfig: str | None = None) -> str:
    """The command that brings the ingress gateway to a local port until it is stopped."""
    option = f" --kubeconfig {kubeconfig}" if kubeconfig else ""
    return (
        f"kubectl{option} port-forward --namespace istio-system "
        f"service/istio-ingressgateway {port}:80"
    )


def digest(values: Sequence[str]) -> str:
    """A short digest of credentials that are known: 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256("\0".join(values).encode()).hexdigest()[:16]


def secure(
    objects: Sequence[Object],
    credentials: Credentials,
    summarise: Callable[[Sequence[Any]], Any] = digest,
    sign_in: SignIn | None = None,
    database: Database | None = None,
) -> list[dict[str, Any]]:
    """The objects with upstream's credentials replaced; what is not there is not needed.

    With `sign_in`, Dex has no user of its own, and asks a provider. Clients of pipelines' MySQL are
    led to `database`, where it is not on the cluster.

    Pods that read a credential carry `summarise` of those they read as an annotation, so that a
    changed one restarts them; with outputs for values it is
    `lambda values: pulumi.Output.all(*values).apply(digest)`.

    Raises:
        AccessError: a credential of upstream's is somewhere else; every place is named.
    """
    result, placed = [], {}
    issuer = _dex_issuer(objects) if sign_in else ""
    for body in objects:
        secured, values = _secured(body, credentials, sign_in, database)
        if sign_in and body["kind"] == "RequestAuthentication":
            secured = request_authentication(secured, issuer, sign_in)
        result.append(secured)
        if values:
            placed[_reference(body)] = values
    if issuer and not any(ISSUER in (body.get("stringData") or {}) for body in result):
        raise AccessError(
            f"no Secret has {_DEX_HASH}, in whose place Dex would read of whom it asks: "
            "leave Secret/auth/dex-passwords as upstream has it"
        )
    result = [_restarted(body, placed, summarise) for body in result]
    if found := find_defaults(result, credentials.user_email):
        raise AccessError(
            "credentials that anybody can read in kubeflow/manifests are left; "
            "replace them by a patch or a transform:\n"
            + "\n".join(f"  {finding}" for finding in found)
        )
    return result


def find_defaults(objects: Iterable[Object], user_email: str = "") -> list[Finding]:
    """Where upstream's published credentials are in the objects.

    Upstream's user counts as one unless it is the `user_email` that was chosen.
    """
    known = dict(_KNOWN_VALUES)
    if user_email != DEFAULT_EMAIL:
        known[DEFAULT_EMAIL] = "upstream's user"
    needles = [value.encode() for value in known]
    found: set[Finding] = set()
    for body in objects:
        content = orjson.dumps(body, default=lambda _: None)
        if body["kind"] == "Secret":
            found.update(_in_secret(body, known))
        if any(needle in content for needle in needles):
            found.update(_known_values(body, known))
        if _EMPTY_PASSWORD.encode() in content:
            found.update(_empty_passwords(body))
    return sorted(found)


# --- finding ---------------------------------------------------------------------------------


def _known_values(body: Object, known: Mapping[str, str]) -> Iterator[Finding]:
    for path, text in _texts(body):
        for value, what in known.items():
            if value in text:
                yield Finding(_name(body), path, what)


def _in_secret(body: Object, known: Mapping[str, str]) -> Iterator[Finding]:
    """Defaults in a Secret: those that base64 hides, and words too common to look for elsewhere."""
    for key, value in _values(body):
        path = f"{'stringData' if key in (body.get('stringData') or {}) else 'data'}.{key}"
        for text, what in known.items():
            if text in value:
                yield Finding(_name(body), path, what)
        word = key.lower().replace("-", "").replace("_", "")
        if word.endswith("password") and value in ("", "test", "root", "password"):
            yield Finding(_name(body), path, f"the password {value!r}")
        if word == "accesskey" and value == "minio":
            yield Finding(_name(body), path, "upstream's object store user")


def _values(secret: Object) -> Iterator[tuple[str, str]]:
    """The values of a Secret that are known; `stringData` wins, as in the API server."""
    plain = secret.get("stringData") or {}
    for key, value in plain.items():
        if isinstance(value, str):
            yield key, value
    for key, value in (secret.get("data") or {}).items():
        if isinstance(value, str) and key not in plain:
            try:
                yield key, base64.b64decode(value, validate=False).decode(errors="replace")
            except binascii.Error:
                continue


def _empty_passwords(body: Object) -> Iterator[Finding]:
    for path, container in _containers(body):
        for entry in container.get("env") or []:
            if entry.get("name") == _EMPTY_PASSWORD:
                yield Finding(_name(body), f"{path}.env", "a database without a password")


def _texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


# --- replacing -------------------------------------------------------------------------------

_Placed = list[Any]
"""The credentials that were put into an object, in a fixed order."""


def _secured(
    body: Object, credentials: Credentials, sign_in: SignIn | None, database: Database | None
) -> tuple[dict[str, Any], _Placed]:
    kind = body["kind"]
    if kind == "Secret":
        return _secret(body, credentials, sign_in, database)
    if kind == "ConfigMap":
        return _config_map(body, credentials, sign_in, database)
    if kind == "Profile":
        return _profile(body, credentials), []
    if kind in ("Deployment", "StatefulSet"):
        return _database(body), []
    return dict(body), []


def _secret(
    body: Object, credentials: Credentials, sign_in: SignIn | None, database: Database | None
) -> tuple[dict[str, Any], _Placed]:
    """Places credentials by the Secret's keys; its name may carry a suffix of its content."""
    keys = {*(body.get("data") or {}), *(body.get("stringData") or {})}
    name = str(body["metadata"]["name"])
    placed: dict[str, Any] = {}
    if _DEX_HASH in keys:
        # Dex has all of this Secret in its environment.
        placed |= _client(sign_in) if sign_in else {_DEX_HASH: credentials.password_hash}
    if "OIDC_CLIENT_SECRET" in keys:
        placed["OIDC_CLIENT_SECRET"] = credentials.oidc_client_secret
    if {"client-secret", "cookie-secret"} <= keys:
        placed["client-secret"] = credentials.oidc_client_secret
        placed["cookie-secret"] = credentials.cookie_secret
    if name == "mlpipeline-minio-artifact":
        placed["accesskey"] = credentials.object_store_access_key
        placed["secretkey"] = credentials.object_store_secret_key
    if name == _PIPELINES_DATABASE:
        placed["password"] = credentials.pipelines_database_password
        if database is not None:
            placed["username"] = database.user
    if name == "katib-mysql-secrets":
        placed[_ROOT_PASSWORD] = credentials.katib_database_password
    if not placed:
        return dict(body), []
    replaced = {*placed, _DEX_HASH}
    result = dict(body)
    data, plain = (
        {key: value for key, value in (body.get(part) or {}).items() if key not in replaced}
        for part in ("data", "stringData")
    )
    result.pop("data", None)
    if data:
        result["data"] = data
    result["stringData"] = {**plain, **placed}
    return result, list(placed.values())


def _client(sign_in: SignIn) -> dict[str, Any]:
    if sign_in.client is None:
        raise AccessError("sign-in needs the client under which the provider knows the platform")
    return sign_in.client.environment


def _config_map(
    body: Object, credentials: Credentials, sign_in: SignIn | None, database: Database | None
) -> tuple[dict[str, Any], _Placed]:
    data = body.get("data") or {}
    name = str(body["metadata"]["name"])
    if name == _PIPELINES_CONFIG and database is not None:
        hosts = {key: database.host for key in _PIPELINES_HOSTS if key in data}
        return {**body, "data": {**data, **hosts}}, [database.host]
    changed: dict[str, str] = {}
    read = credentials.user_email
    try:
        if name == "dex" and _DEX_CONFIG in data:
            changed[_DEX_CONFIG] = _dex_config(data[_DEX_CONFIG], credentials.user_email, sign_in)
            read = changed[_DEX_CONFIG] if sign_in else read
        if sign_in and _PROXY_CONFIG in data:
            read = changed[_PROXY_CONFIG] = proxy_configuration(data[_PROXY_CONFIG], sign_in)
    except SignInError as error:
        raise AccessError(f"{_name(body)}: {error}") from error
    if name.startswith("default-install-config") and data.get("user") == DEFAULT_EMAIL:
        changed["user"] = credentials.user_email
    if not changed:
        return dict(body), []
    return {**body, "data": {**data, **changed}}, [read]


def _dex_issuer(objects: Sequence[Object]) -> str:
    """Whose tokens are trusted before; "" without Dex."""
    for body in objects:
        text = (body.get("data") or {}).get(_DEX_CONFIG)
        if body["kind"] == "ConfigMap" and body["metadata"]["name"] == "dex" and text:
            return str(_dex_parsed(text).get("issuer"))
    return ""


def _dex_parsed(text: str) -> dict[str, Any]:
    try:
        (config,) = load_all(text)
        return {**config}
    except (ValueError, TypeError) as error:
        raise AccessError(f"ConfigMap/auth/dex: {_DEX_CONFIG} is no Dex configuration") from error


def _dex_config(text: str, email: str, sign_in: SignIn | None) -> str:
    """Dex's configuration with its user renamed, the hash read from the environment.

    Or without users, if others sign in.
    """
    config = _dex_parsed(text)
    if sign_in is not None:
        return dump(dex_configuration(config, sign_in))
    for user in config.get("staticPasswords") or []:
        if user.get("email") == DEFAULT_EMAIL:
            user.pop("hash", None)
            user.update(email=email, hashFromEnv=_DEX_HASH)
    return dump(config)


def _profile(body: Object, credentials: Credentials) -> dict[str, Any]:
    owner = (body.get("spec") or {}).get("owner") or {}
    if owner.get("name") != DEFAULT_EMAIL:
        return dict(body)
    return {**body, "spec": {**body["spec"], "owner": {**owner, "name": credentials.user_email}}}


def _database(body: Object) -> dict[str, Any]:
    """A MySQL that upstream starts without a password: its clients' Secret gives it one."""
    if not any(
        entry.get("name") == _EMPTY_PASSWORD
        for _, container in _containers(body)
        for entry in container.get("env") or []
    ):
        return dict(body)
    result: dict[str, Any] = deepcopy(dict(body))
    for _, container in _containers(result):
        variables = container.get("env") or []
        own = [entry for entry in variables if entry.get("name") != _EMPTY_PASSWORD]
        if len(own) == len(variables):
            continue
        if not any(entry.get("name") == _ROOT_PASSWORD for entry in own):
            reference = {"name": _PIPELINES_DATABASE, "key": "password"}
            own.insert(0, {"name": _ROOT_PASSWORD, "valueFrom": {"secretKeyRef": reference}})
        container["env"] = own
    return result


def _restarted(
    body: dict[str, Any],
    placed: Mapping[tuple[str, str, str], _Placed],
    summarise: Callable[[Sequence[Any]], Any],
) -> dict[str, Any]:
    template = (body.get("spec") or {}).get("template")
    if template is None or pod_template(body) is None:
        return body
    namespace = str(body["metadata"].get("namespace") or "")
    read = dict.fromkeys((r.kind, namespace, r.name) for r in pod_references(template))
    values = [value for reference in sorted(read) for value in placed.get(reference, [])]
    if not values:
        return body
    metadata = dict(template.get("metadata") or {})
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        _DIGEST_ANNOTATION: summarise(values),
    }
    return {**body, "spec": {**body["spec"], "template": {**template, "metadata": metadata}}}


def _containers(body: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    template = (body.get("spec") or {}).get("template") or {}
    spec = template.get("spec") or {}
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or []):
            yield f"spec.template.spec.{kind}[{index}]", container


def _reference(body: Object) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return (str(body["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]))


def _name(body: Object) -> str:
    return "/".join(part for part in _reference(body) if part)

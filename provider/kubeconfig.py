"""From a kubeconfig to a connection: server address, TLS context and credentials.

Certificates, tokens and basic authentication are read here; exec plugins and auth providers (EKS,
OIDC) are left to the official `kubernetes` package, which takes over a second to import and so is
imported only for them. Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from provider.rpc import PluginError


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach an API server; `authorization` gives the header's value, empty for none."""

    server: str
    tls: ssl.SSLContext | None
    tls_server_name: str
    proxy: str
    authorization: Callable[[], str]


def parse(text: str) -> dict[str, Any]:
    """Read a kubeconfig given as contents (YAML or JSON) or path; empty means the user's own.

    Raises:
        PluginError: it can't be read; the text never quotes the contents, which hold credentials.
    """
    base = Path.cwd()
    if not text.strip():
        ambient = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        text = ambient or str(Path.home() / ".kube" / "config")
    if "\n" not in text and not text.lstrip().startswith("{"):
        path = Path(text).expanduser()
        base = path.parent.resolve()
        try:
            text = path.read_text()
        except OSError as error:
            raise PluginError(f"kubeconfig: can't read {path}: {error.strerror}") from None
    config = _load(text)
    if not isinstance(config, dict) or not config.get("clusters"):
        raise PluginError("kubeconfig: it names no cluster (`clusters` is empty)")
    config["_base"] = str(base)
    return config


def _load(text: str) -> Any:  # noqa: ANN401
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(text)
    # A fifth of a plugin's start, and many kubeconfigs are JSON, which is YAML.
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506  it is a safe loader
    except yaml.YAMLError:
        raise PluginError("kubeconfig: neither a readable path nor valid YAML") from None


def _named(config: Mapping[str, Any], section: str, entry: str, name: str) -> dict[str, Any]:
    for item in config.get(section) or ():
        if item.get("name") == name:
            return dict(item.get(entry) or {})
    raise PluginError(f"kubeconfig: there is no {entry} {name!r} in `{section}`")


def _context(config: Mapping[str, Any], context: str) -> dict[str, Any]:
    name = context or config.get("current-context") or ""
    if not name:
        raise PluginError("kubeconfig: set `current-context` in it or `context` on the provider")
    return _named(config, "contexts", "context", name)


def active_cluster(text: str, context: str = "", cluster: str = "") -> dict[str, Any] | None:
    """The entry of the cluster that a kubeconfig selects, None where it can't be told."""
    try:
        config = parse(text)
        selected = cluster or _context(config, context).get("cluster", "")
        return _named(config, "clusters", "cluster", selected)
    except PluginError:
        return None


def connect(text: str, context: str = "", cluster: str = "") -> Connection:
    """Make the connection that a kubeconfig describes, without using the network.

    Raises:
        PluginError: something is missing or unreadable; the text says which entry.
    """
    config = parse(text)
    base = Path(config.pop("_base"))
    selected = _context(config, context)
    target = _named(config, "clusters", "cluster", cluster or selected.get("cluster", ""))
    user = _named(config, "users", "user", selected["user"]) if selected.get("user") else {}
    server = str(target.get("server") or "")
    if not server:
        raise PluginError("kubeconfig: the selected cluster has no `server`")
    if user.get("as"):
        raise PluginError(
            f"kubeconfig: user {selected['user']!r} impersonates (`as`), which is not supported; "
            "give credentials of the user itself"
        )
    authorization: Callable[[], str] = lambda: ""  # noqa: E731
    if user.get("exec") or user.get("auth-provider"):
        authorization, user = _official(config, context, user)
    elif user.get("token"):
        header = f"Bearer {user['token']}"
        authorization = lambda: header  # noqa: E731
    elif user.get("tokenFile"):
        file = base / str(user["tokenFile"])
        authorization = lambda: f"Bearer {file.read_text().strip()}"  # noqa: E731
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        basic = f"Basic {base64.b64encode(pair).decode()}"
        authorization = lambda: basic  # noqa: E731
    return Connection(
        server=server.rstrip("/"),
        tls=_tls(target, user, base) if server.startswith("https") else None,
        tls_server_name=str(target.get("tls-server-name") or ""),
        proxy=str(target.get("proxy-url") or _proxy_of(server)),
        authorization=authorization,
    )


def _proxy_of(server: str) -> str:
    """The proxy that the environment gives for a server, as kubectl reads it; empty for none."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    proxies = {name.lower(): value for name, value in os.environ.items() if name != "HTTP_PROXY"}
    found = proxies.get(f"{parts.scheme}_proxy", "")
    if not found or host == "localhost" or host.startswith("127.") or host == "::1":
        return ""
    from urllib.request import proxy_bypass

    return "" if proxy_bypass(host) else found


def _official(
    config: Mapping[str, Any], context: str, user: dict[str, Any]
) -> tuple[Callable[[], str], dict[str, Any]]:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigLoader

    settings = Configuration()
    try:
        loader: Any = KubeConfigLoader  # the package has no types
        loader(dict(config), active_context=context or None).load_and_set(settings)
    except ConfigException as error:
        raise PluginError(f"kubeconfig: {error}") from None
    lock = threading.Lock()

    def authorization() -> str:
        with lock:  # the package runs the exec plugin again when the token has expired
            return str(settings.get_api_key_with_prefix("authorization") or "")

    certificate = {"client-certificate": settings.cert_file, "client-key": settings.key_file}
    return authorization, {**user, **{key: value for key, value in certificate.items() if value}}


def _data(entry: Mapping[str, Any], name: str, base: Path) -> str:
    encoded = entry.get(f"{name}-data")
    if encoded:
        try:
            return base64.b64decode(encoded).decode()
        except ValueError:
            raise PluginError(f"kubeconfig: `{name}-data` is not base64") from None
    if entry.get(name):
        path = base / str(entry[name])
        try:
            return path.read_text()
        except OSError as error:
            raise PluginError(
                f"kubeconfig: `{name}`: can't read {path}: {error.strerror}"
            ) from None
    return ""


def _tls(target: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    authority = _data(target, "certificate-authority", base)
    try:
        tls = ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError as error:
        raise PluginError(f"kubeconfig: `certificate-authority`: {error.reason}") from None
    if target.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _data(user, "client-certificate", base), _data(user, "client-key", base)
    if certificate and key:
        # The standard library takes them from a file only.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(f"{certificate}\n{key}\n")
            file.flush()
            try:
                tls.load_cert_chain(file.name)
            except ssl.SSLError as error:
                raise PluginError(f"kubeconfig: `client-certificate`: {error.reason}") from None
    return tls

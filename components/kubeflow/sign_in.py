"""Sign-in by an OpenID Connect provider, which the platform's Dex asks: the typed model. Pure.

Dex stays the one issuer inside of the platform. Its connector refuses a callback that is not below
its own issuer, and browsers come back from the provider to that callback: so the issuer must be the
platform's public URL, not the Service's as upstream has it. What trusts Dex's tokens (OAuth2-Proxy
and Istio) is told the new name, and goes on to fetch keys inside of the cluster.

The connector: https://dexidp.io/docs/connectors/oidc/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

PATH: Final = "/dex"
"""Where Dex is below the platform's URL: what upstream's VirtualService leads there."""
CONNECTOR: Final = "oidc"
EVERYBODY: Final = "*"
ISSUER, CLIENT_ID, CLIENT_SECRET = (
    "SIGN_IN_ISSUER",
    "SIGN_IN_CLIENT_ID",
    "SIGN_IN_CLIENT_SECRET",
)
"""Variables of Dex's environment that its connector reads."""
_LOOPBACK = re.compile(r"localhost|.+\.localhost|127(\.\d+){3}|\[::1\]")
_DOMAIN = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,}")
# Dex replaces $NAME in the connector's JSON, of which quotes or a backslash would then be a part.
_PLAIN = re.compile(r"[^\"\\$\x00-\x1f\x7f]+")
_VALUE = re.compile(r"[^\"\\\x00-\x1f\x7f]+")


class SignInError(ValueError):
    """Sign-in that can't be had as the settings ask; a line for each."""


@dataclass(frozen=True)
class Client:
    """The platform as the provider knows it; each value may be a `pulumi.Output`."""

    issuer: Any
    """The provider's URL, below which its discovery document is."""
    id: Any
    secret: Any = field(repr=False)

    @property
    def environment(self) -> dict[str, Any]:
        """What Dex's connector reads."""
        return {ISSUER: self.issuer, CLIENT_ID: self.id, CLIENT_SECRET: self.secret}


PLANNED: Final = Client("<issuer>", "<client id>", "<client secret>")
"""Stands for a client while objects are only planned."""


@dataclass(frozen=True)
class SignIn:
    """Where the platform is, and who of the provider may enter.

    Args:
        url: of the platform in browsers, without a path: "https://ml.example.com".
        scopes: asked of the provider, besides openid.
        domains: of e-mail addresses that may enter; empty for all.
        groups: whose members may enter; empty for all.
        groups_claim: the claim of the provider's tokens that has the groups.
        client: None until it is known.
    """

    url: str
    scopes: tuple[str, ...] = ("profile", "email")
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    groups_claim: str = "groups"
    client: Client | None = None

    @property
    def host(self) -> str:
        """Of `url`, without a port."""
        return urlsplit(self.url).hostname or ""

    @property
    def issuer(self) -> str:
        """Dex's name in its own tokens."""
        return f"{self.url}{PATH}"

    @property
    def callback(self) -> str:
        """Where the provider sends browsers back; it must be allowed there, letter by letter."""
        return f"{self.issuer}/callback"

    def connector(self) -> dict[str, Any]:
        """The connector of Dex's configuration, which holds no value of the client."""
        config: dict[str, Any] = {
            "issuer": f"${ISSUER}",
            "clientID": f"${CLIENT_ID}",
            "clientSecret": f"${CLIENT_SECRET}",
            "redirectURI": self.callback,
            "scopes": list(self.scopes),
            # Dex refuses who has no name; not every provider tells one, and the platform knows
            # people by their addresses.
            "userNameKey": "email",
        }
        if self.groups:
            config["insecureEnableGroups"] = True
            config["allowedGroups"] = list(self.groups)
            config["claimMapping"] = {"groups": self.groups_claim}
        return {"type": "oidc", "id": CONNECTOR, "name": "Single sign-on", "config": config}


def dex_configuration(config: Mapping[str, Any], sign_in: SignIn) -> dict[str, Any]:
    """Dex's configuration with the connector instead of passwords.

    Raises:
        SignInError: Dex is at another path than `PATH`, or has connectors of its own.
    """
    if connectors := config.get("connectors"):
        names = ", ".join(str(one.get("id")) for one in connectors)
        raise SignInError(f"Dex has connectors of its own ({names}): remove them, or set signIn")
    if (path := urlsplit(str(config.get("issuer"))).path) != PATH:
        raise SignInError(f"Dex's issuer is at {path!r}, not at {PATH!r}, where sign-in needs it")
    kept = {key: value for key, value in config.items() if key != "staticPasswords"}
    return {
        **kept,
        "issuer": sign_in.issuer,
        "enablePasswordDB": False,
        "connectors": [sign_in.connector()],
    }


def proxy_configuration(text: str, sign_in: SignIn) -> str:
    """OAuth2-Proxy's configuration (TOML), which takes tokens of the new issuer.

    Raises:
        SignInError: it has not the lines that upstream's has.
    """
    changed = {"oidc_issuer_url": json.dumps(sign_in.issuer)}
    if sign_in.domains:
        changed["email_domains"] = json.dumps(list(sign_in.domains))
    for name, value in changed.items():
        # Values are plain: JSON's text is TOML's, and has no backslash for `re`.
        text, count = re.subn(rf"(?m)^{name}\s*=.*$", f"{name} = {value}", text)
        if count != 1:
            raise SignInError(f"OAuth2-Proxy's configuration has {count} lines {name!r}, not one")
    return text


def request_authentication(body: Mapping[str, Any], issuer: str, sign_in: SignIn) -> dict[str, Any]:
    """A RequestAuthentication of Istio that takes tokens of the new issuer instead of `issuer`.

    The keys are fetched where they were: the public URL may not be reached from the cluster.
    """
    rules = [
        {"jwksUri": f"{issuer}/keys", **rule, "issuer": sign_in.issuer}
        if rule.get("issuer") == issuer
        else rule
        for rule in body["spec"].get("jwtRules") or []
    ]
    return {**body, "spec": {**body["spec"], "jwtRules": rules}}


# --- settings ------------------------------------------------------------------------------------


def parse(
    url: str,
    email: str,
    client: Client,
    scopes: Sequence[str],
    domains: Sequence[str],
    groups: Sequence[str],
    groups_claim: str,
) -> SignIn:
    """Sign-in as settings ask for it; an empty secret may be one that is encrypted.

    Raises:
        SignInError: a line for every setting that can't be used.
    """
    lines = [*_client_problems(client), *_people_problems(email, domains, groups)]
    if problem := url_problem(url, path=False):
        lines.append(f"signInUrl is {url!r}: {problem}")
    if "email" not in scopes:
        lines.append(f"oidcScopes is {list(scopes)}: add email, by which the platform knows people")
    for name, values in (
        ("oidcScopes", scopes),
        ("oidcGroups", groups),
        ("oidcGroupsClaim", (groups_claim,)),
    ):
        lines += [
            f"{name} has {value!r}: Dex can't read quotes, $ and backslashes, nor nothing"
            for value in values
            if not _PLAIN.fullmatch(value)
        ]
    if lines:
        raise SignInError("\n".join(lines))
    return SignIn(
        url,
        # Dex asks for openid by itself.
        tuple(scope for scope in scopes if scope != "openid"),
        () if EVERYBODY in domains else tuple(domains),
        tuple(groups),
        groups_claim,
    )


def user_problems(why: str, email: str, default: str, password: str) -> list[str]:
    """What of the first user can't be, where a provider signs in: `why` names the setting."""
    lines = []
    if email == default:
        lines.append(
            f"userEmail is {email!r}, but {why}: name the first user's address, as the provider "
            "has it"
        )
    if password:
        lines.append(f"userPassword is set, but {why}: nobody signs in by it; remove it")
    return lines


def url_problem(url: str, *, path: bool) -> str:
    """Why a URL can't be used; "" if it can. Only a `path` may be in it, and only if it may."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "give a URL, like https://accounts.example.com"
    if not host or parts.scheme not in ("https", "http") or re.search(r"[\s\"\\$]", url):
        return "give a URL, like https://accounts.example.com"
    bracketed = f"[{host}]" if ":" in host else host
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(bracketed):
        return "give it with https; only this machine may be reached by http"
    if parts.username or parts.query or parts.fragment or "?" in url or "#" in url:
        return "give it without a user, a query and a fragment"
    if not path and parts.path:
        return "give it without a path, also without a slash at its end"
    return ""


def _client_problems(client: Client) -> list[str]:
    lines = []
    if not client.issuer:
        lines.append("oidcIssuer is empty: name the provider, like https://accounts.example.com")
    elif problem := url_problem(client.issuer, path=True):
        lines.append(f"oidcIssuer is {client.issuer!r}: {problem}")
    elif "/.well-known/" in client.issuer:
        issuer = client.issuer.partition("/.well-known/")[0]
        lines.append(f"oidcIssuer is {client.issuer!r}: give the issuer itself, {issuer}")
    if not client.id:
        lines.append("oidcClientId is empty: give the id under which the provider knows this")
    elif not _VALUE.fullmatch(client.id):
        lines.append(f"oidcClientId is {client.id!r}: Dex can't read quotes and backslashes")
    if client.secret and not _VALUE.fullmatch(client.secret):
        lines.append("oidcClientSecret is a secret: Dex can't read quotes and backslashes in it")
    return lines


def _people_problems(email: str, domains: Sequence[str], groups: Sequence[str]) -> list[str]:
    if not domains and not groups:
        return [
            "oidcDomains and oidcGroups are empty: name whose e-mail addresses or which groups "
            f"may enter; oidcDomains [{EVERYBODY!r}] is everybody whom the provider knows"
        ]
    lines = [
        f"oidcDomains has {domain!r}: give a domain in small letters, like example.com"
        for domain in domains
        if domain != EVERYBODY and not _DOMAIN.fullmatch(domain)
    ]
    own = email.rpartition("@")[2]
    if domains and not lines and EVERYBODY not in domains and own not in domains:
        lines.append(
            f"userEmail is {email!r}, which is of no domain of oidcDomains {list(domains)}: "
            "the first user could not sign in"
        )
    return lines

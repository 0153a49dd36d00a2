"""Sign-in by a provider: what Dex, OAuth2-Proxy and Istio are told, and settings that can't be."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.choose import kubeflow_args
from components.gateway.create import Wishes, arguments
from components.gateway.errors import GatewayError
from components.gateway.install import InstallArgs
from components.kubeflow.access import AccessError, Credentials, secure
from components.kubeflow.render import render
from components.kubeflow.sign_in import Client, SignIn, url_problem
from components.kubeflow.source import SourceSpec, resolve
from components.settings import SettingsError, parse
from toolchain.tools import find

IN_CLUSTER = "http://dex.auth.svc.cluster.local:5556/dex"
CLIENT = Client("https://accounts.corp.org", "planted-id", "planted-secret")
CREDENTIALS = Credentials("ann@corp.org", *(f"the credential {number}" for number in range(7)))
DEX, PROXY = "ConfigMap/auth/dex", "ConfigMap/oauth2-proxy/oauth2-proxy"
SECRET, TOKENS = "Secret/auth/dex-passwords", "RequestAuthentication/istio-system/dex-jwt"

Objects = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def upstream(
    kubeflow_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The whole platform of v1.10.2."""
    cache = tmp_path_factory.mktemp("cache")
    source = resolve(SourceSpec(path=kubeflow_source), cache, cache / "kubeflow.lock")
    return render(source, [], [], find("kustomize"), cache)


def named(objects: list[dict[str, Any]]) -> Objects:
    """By kind, namespace and name without the digest that kustomize puts at its end."""
    found = {}
    for body in objects:
        name = body["metadata"]["name"]
        if body["kind"] in ("ConfigMap", "Secret") and name.startswith("oauth2-proxy-"):
            name = name.rpartition("-")[0]
        found["/".join((body["kind"], body["metadata"].get("namespace", ""), name))] = body
    return found


def signed_in(upstream: list[dict[str, Any]], **values: Any) -> Objects:
    sign_in = SignIn(**{"url": "https://ml.corp.org", "client": CLIENT, **values})
    return named(secure(upstream, CREDENTIALS, sign_in=sign_in))


def dex(objects: Objects) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(objects[DEX]["data"]["config.yaml"])
    return config


# --- what is rendered ----------------------------------------------------------------------------


def test_only_what_has_to_do_with_dexs_issuer_differs(upstream: list[dict[str, Any]]) -> None:
    by_password, by_provider = named(secure(upstream, CREDENTIALS)), signed_in(upstream)
    assert list(by_password) == list(by_provider)
    assert {name for name, body in by_password.items() if body != by_provider[name]} == {
        DEX,
        SECRET,
        PROXY,
        TOKENS,
        # They start again when one of these changes.
        "Deployment/auth/dex",
        "Deployment/oauth2-proxy/oauth2-proxy",
    }
    for name in ("Deployment/auth/dex", "Deployment/oauth2-proxy/oauth2-proxy"):
        one, other = by_password[name]["spec"], by_provider[name]["spec"]
        assert one["template"]["spec"] == other["template"]["spec"]


def test_dex_has_a_provider_and_no_user(upstream: list[dict[str, Any]]) -> None:
    before, after = dex(named(upstream)), dex(signed_in(upstream))
    assert after["enablePasswordDB"] is False
    assert "staticPasswords" not in after
    for same in ("storage", "web", "oauth2", "staticClients"):
        assert after[same] == before[same]
    [connector] = after["connectors"]
    assert (connector["type"], connector["id"]) == ("oidc", "oidc")
    assert connector["config"] == {
        "issuer": "$SIGN_IN_ISSUER",
        "clientID": "$SIGN_IN_CLIENT_ID",
        "clientSecret": "$SIGN_IN_CLIENT_SECRET",
        "redirectURI": "https://ml.corp.org/dex/callback",
        "scopes": ["profile", "email"],
        "userNameKey": "email",
    }


def test_the_callback_is_below_dexs_issuer_which_is_public(upstream: list[dict[str, Any]]) -> None:
    """Dex compares them letter by letter before it sends anybody to the provider."""
    for url in ("https://ml.corp.org", "http://localhost:8080", "https://ml.localhost:8443"):
        config = dex(signed_in(upstream, url=url))
        assert config["issuer"] == f"{url}/dex"
        [connector] = config["connectors"]
        assert connector["config"]["redirectURI"] == config["issuer"] + "/callback"


def test_who_trusts_dexs_tokens_knows_its_new_name_and_asks_it_inside(
    upstream: list[dict[str, Any]],
) -> None:
    after = signed_in(upstream)
    proxy = tomllib.loads(after[PROXY]["data"]["oauth2_proxy.cfg"])
    before = tomllib.loads(named(upstream)[PROXY]["data"]["oauth2_proxy.cfg"])
    assert proxy == {**before, "oidc_issuer_url": "https://ml.corp.org/dex"}
    assert proxy["redeem_url"] == f"{IN_CLUSTER}/token"
    assert proxy["oidc_jwks_url"] == f"{IN_CLUSTER}/keys"
    [rule] = after[TOKENS]["spec"]["jwtRules"]
    [old] = named(upstream)[TOKENS]["spec"]["jwtRules"]
    assert rule == {**old, "issuer": "https://ml.corp.org/dex", "jwksUri": f"{IN_CLUSTER}/keys"}


def test_nothing_else_of_the_platform_names_dexs_old_issuer(
    upstream: list[dict[str, Any]],
) -> None:
    """A release with one more that trusts Dex's tokens fails here."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in texts(item)]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) else []

    for name, body in signed_in(upstream).items():
        for text in texts(body):
            for rest in text.split(IN_CLUSTER)[1:]:
                assert rest.startswith(("/keys", "/token")), name


def test_the_client_is_in_dexs_secret_only(upstream: list[dict[str, Any]]) -> None:
    after = signed_in(upstream)
    assert after[SECRET]["stringData"] == {
        "SIGN_IN_ISSUER": CLIENT.issuer,
        "SIGN_IN_CLIENT_ID": CLIENT.id,
        "SIGN_IN_CLIENT_SECRET": CLIENT.secret,
    }
    assert "data" not in after[SECRET]
    reads = after["Deployment/auth/dex"]["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert {"secretRef": {"name": "dex-passwords"}} in reads
    for name, body in after.items():
        if name != SECRET:
            assert "planted" not in json.dumps(body), name
    assert "planted-secret" not in repr(SignIn("https://ml.corp.org", client=CLIENT))


def test_a_changed_client_or_group_restarts_dex(upstream: list[dict[str, Any]]) -> None:
    def digests(**values: Any) -> dict[str, str]:
        found = {}
        for name in ("Deployment/auth/dex", "Deployment/oauth2-proxy/oauth2-proxy"):
            template = signed_in(upstream, **values)[name]["spec"]["template"]
            found[name] = template["metadata"]["annotations"]["ml-platform/credentials"]
        return found

    first = digests()
    assert digests() == first

    def changed(**values: Any) -> set[str]:
        return {n.rpartition("/")[2] for n, text in digests(**values).items() if text != first[n]}

    assert changed(client=Client(CLIENT.issuer, CLIENT.id, "another")) == {"dex"}
    assert changed(groups=("ml",)) == {"dex"}
    assert changed(domains=("corp.org",)) == {"oauth2-proxy"}
    assert changed(url="https://other.corp.org") == {"dex", "oauth2-proxy"}


def test_domains_are_held_by_oauth2_proxy_and_groups_by_dex(
    upstream: list[dict[str, Any]],
) -> None:
    after = signed_in(upstream, domains=("corp.org", "a.net"), groups=("ml",), groups_claim="roles")
    proxy = tomllib.loads(after[PROXY]["data"]["oauth2_proxy.cfg"])
    assert proxy["email_domains"] == ["corp.org", "a.net"]
    [connector] = dex(after)["connectors"]
    config = connector["config"]
    assert (config["insecureEnableGroups"], config["allowedGroups"]) == (True, ["ml"])
    assert config["claimMapping"] == {"groups": "roles"}


def test_the_profile_is_of_the_address_that_comes_with_a_request(
    upstream: list[dict[str, Any]],
) -> None:
    after = signed_in(upstream)
    owner = after["Profile//kubeflow-user-example-com"]["spec"]["owner"]
    assert owner == {"kind": "User", "name": "ann@corp.org"}
    claims = after[TOKENS]["spec"]["jwtRules"][0]["outputClaimToHeaders"]
    assert {"header": "kubeflow-userid", "claim": "email"} in claims


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connectors": [{"id": "ldap"}]}, "connectors of its own \\(ldap\\)"),
        ({"issuer": "https://ml.corp.org/auth"}, "issuer is at '/auth', not at '/dex'"),
    ],
)
def test_a_dex_that_was_changed_is_left_alone(
    upstream: list[dict[str, Any]], change: dict[str, Any], message: str
) -> None:
    config = {**dex(named(upstream)), **change}
    changed = [
        {**body, "data": {"config.yaml": yaml.safe_dump(config)}}
        if (body["kind"], body["metadata"]["name"]) == ("ConfigMap", "dex")
        else body
        for body in upstream
    ]
    with pytest.raises(AccessError, match=f"ConfigMap/auth/dex: .*{message}"):
        signed_in(changed)


def test_what_sign_in_can_not_do_without(upstream: list[dict[str, Any]]) -> None:
    lacking = [body for body in upstream if body["metadata"]["name"] != "dex-passwords"]
    with pytest.raises(AccessError, match="no Secret has DEX_USER_PASSWORD"):
        signed_in(lacking)
    with pytest.raises(AccessError, match="sign-in needs the client"):
        signed_in(upstream, client=None)
    odd = [
        {**body, "data": {"oauth2_proxy.cfg": 'provider = "oidc"'}}
        if "oauth2_proxy.cfg" in (body.get("data") or {})
        else body
        for body in upstream
    ]
    with pytest.raises(AccessError, match=r"oauth2-proxy.* has 0 lines 'oidc_issuer_url'"):
        signed_in(odd)


# --- settings ------------------------------------------------------------------------------------

OIDC = {
    "signIn": "oidc",
    "userEmail": "ann@corp.org",
    "oidcIssuer": "https://accounts.corp.org",
    "oidcClientId": "ml-platform",
    "oidcClientSecret": "hush-hush",
    "oidcDomains": ["corp.org"],
}


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({}, "http://localhost:8080"),
        ({"dashboardPort": 9000}, "http://localhost:9000"),
        ({"gateway": "nginx"}, "https://kubeflow.localhost:8443"),
        ({"gateway": "kong", "gatewayHost": ""}, "http://localhost:8080"),
        ({"gateway": "nginx", "signInUrl": "https://ml.corp.org"}, "https://ml.corp.org"),
        (
            {"cluster": "eks", "awsRegion": "eu-central-1", "gateway": "nginx"},
            "https://kubeflow.localhost",
        ),
    ],
)
def test_people_come_back_to_where_browsers_reach_the_platform(
    more: dict[str, Any], url: str
) -> None:
    found = parse({**OIDC, **more}).signs_in()
    assert found is not None
    assert found.url == url
    assert found.domains == ("corp.org",)


def test_everybody_is_no_limit_and_openid_is_asked_for_once() -> None:
    found = parse({**OIDC, "oidcDomains": ["*"], "oidcScopes": ["openid", "email"]}).signs_in()
    assert found is not None
    assert (found.domains, found.scopes) == ((), ("email",))


def test_passwords_are_the_default() -> None:
    assert parse({}).signs_in() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"oidcIssuer": ""}, "oidcIssuer is empty: name the provider"),
        ({"oidcIssuer": "accounts.corp.org"}, "oidcIssuer is 'accounts.corp.org': give a URL"),
        ({"oidcIssuer": "http://accounts.corp.org"}, "oidcIssuer is 'http://.*: .* with https"),
        ({"oidcIssuer": "https://a.org/?x=1"}, "oidcIssuer is .*: give it without a user, a query"),
        ({"oidcIssuer": "https://a.org:port"}, "oidcIssuer is 'https://a.org:port': give a URL"),
        (
            {"oidcIssuer": "https://a.org/x/.well-known/openid-configuration"},
            "oidcIssuer is .*: give the issuer itself, https://a.org/x$",
        ),
        ({"oidcClientId": ""}, "oidcClientId is empty"),
        ({"oidcClientId": 'a"b'}, "oidcClientId is 'a\"b': Dex can't read quotes"),
        ({"oidcClientSecret": "hush\\hush"}, "oidcClientSecret is a secret: Dex can't read"),
        ({"oidcDomains": []}, "oidcDomains and oidcGroups are empty"),
        ({"oidcDomains": ["@corp.org"]}, "oidcDomains has '@corp.org': give a domain"),
        ({"oidcDomains": ["other.org"]}, "userEmail is 'ann@corp.org', which is of no domain"),
        ({"oidcGroups": ["$HOME"]}, r"oidcGroups has '\$HOME': Dex can't read"),
        ({"oidcGroupsClaim": ""}, "oidcGroupsClaim has ''"),
        ({"oidcScopes": ["profile"]}, r"oidcScopes is \['profile'\]: add email"),
        ({"signInUrl": "https://ml.corp.org/"}, "signInUrl is .*: give it without a path"),
        ({"signInUrl": "http://ml.corp.org"}, "signInUrl is 'http://ml.corp.org': .* https"),
        (
            {"userEmail": "user@example.com"},
            "userEmail is 'user@example.com', but signIn is 'oidc'",
        ),
        ({"userPassword": "hush-hush"}, "userPassword is set, but signIn is 'oidc'"),
        ({"signIn": "password"}, "oidcIssuer, .*oidcDomains is set, but signIn is 'password'"),
        ({"signIn": "saml"}, "signIn is 'saml'"),
    ],
)
def test_a_bad_setting_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        parse({**OIDC, **change})
    assert "hush" not in str(error.value)
    lines = str(error.value).splitlines()
    # The default address is of no domain that was named, either.
    assert len(lines) == 1 + ("userEmail" in change)


def test_every_bad_setting_has_a_line() -> None:
    with pytest.raises(SettingsError) as error:
        parse({"signIn": "oidc"})
    assert [line.split()[0] for line in str(error.value).splitlines()] == [
        "userEmail",
        "oidcIssuer",
        "oidcClientId",
        "oidcDomains",
    ]


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:5556/dex", "http://x.localhost"],
)
def test_this_machine_may_be_reached_without_tls(url: str) -> None:
    assert not url_problem(url, path=True)


def test_the_plan_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a stack has it encrypted; `explain` reads that file."""
    monkeypatch.setattr("components.choose.find", Path)
    args = kubeflow_args(parse({**OIDC, "oidcClientSecret": ""}))
    assert args.sign_in is not None
    assert args.sign_in.client is None


# --- the gateway ---------------------------------------------------------------------------------


def test_people_sign_in_at_one_host(tmp_path: Path) -> None:
    routes = {
        "hosts": [{"name": "models.corp.org", "tls": {"type": "ownCa"}}],
        "backends": [{"name": "one", "service": {"name": "a", "namespace": "b", "port": 80}}],
        "policies": [{"type": "oidc", "name": "people"}],
        "routes": [
            {
                "name": "one",
                "hosts": ["models.corp.org"],
                "backends": [{"name": "one"}],
                "policies": ["people"],
            }
        ],
    }
    install = InstallArgs("nginx", tmp_path, tmp_path, tmp_path)

    def wishes(host: str) -> Wishes:
        return Wishes(install, routes, "ml.corp.org", sign_in_host=host)

    with pytest.raises(GatewayError, match=r"oidc at models\.corp\.org, but .* ml\.corp\.org"):
        arguments(wishes("ml.corp.org"), [])
    for host in ("", "models.corp.org"):
        assert arguments(wishes(host), []).routes.routes

"""Access: none of upstream's credentials survives, secrets stay in Secrets."""

import base64
import json
import secrets
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backup.select import databases
from components.cluster.base import Database
from components.kubeflow.access import (
    AccessError,
    Credentials,
    dashboard_url,
    find_defaults,
    generate,
    hash_password,
    port_forward_command,
    secure,
    verify,
)
from components.kubeflow.database import without_server
from components.kubeflow.plan import plan
from components.kubeflow.render import render
from components.kubeflow.source import SourceSpec, resolve
from components.kubeflow.yamljson import load_all
from toolchain.tools import find

FIELDS = (
    "password_hash",
    "oidc_client_secret",
    "cookie_secret",
    "object_store_access_key",
    "object_store_secret_key",
    "pipelines_database_password",
    "katib_database_password",
)
UPSTREAMS_HASH = "$2y$12$4K/VkmDd1q1Orb3xAt82zu8gk7Ad6ReFR4LCP9UeYE90NLiN9Df72"


class Opaque:
    """A value that is not known yet, as an output is: it can only be passed on."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        raise AssertionError(f"{self.name} was read")

    __bool__ = __eq__ = __hash__ = __iter__ = __str__  # type: ignore[assignment]


def opaque() -> Credentials:
    return Credentials("ann@corp.org", **{name: Opaque(name) for name in FIELDS})


def known(email: str = "ann@corp.org") -> Credentials:
    return Credentials(email, **{name: f"the {name}" for name in FIELDS})


@pytest.fixture(scope="module")
def objects(
    kubeflow_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The components of v1.10.2 that have credentials, and what they require."""
    cache = tmp_path_factory.mktemp("cache")
    source = resolve(SourceSpec(path=kubeflow_source), cache, cache / "kubeflow.lock")
    names = ["dex", "oauth2-proxy", "pipelines", "katib", "user-namespace", "notebooks", "volumes"]
    return render(source, names, [], find("kustomize"), cache)


def by_name(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        "/".join((o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"])): o
        for o in objects
    }


def secret(name: str, namespace: str = "kubeflow", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **parts}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_upstreams_defaults_are_found(objects: list[dict[str, Any]]) -> None:
    assert [str(finding) for finding in find_defaults(objects)] == [
        "ConfigMap/auth/dex has upstream's user at data.config.yaml",
        "ConfigMap/default-install-config-9h2h2b6hbk has upstream's user at data.user",
        "Deployment/kubeflow/katib-mysql has a database without a password"
        " at spec.template.spec.containers[0].env",
        "Deployment/kubeflow/mysql has a database without a password"
        " at spec.template.spec.containers[0].env",
        "Profile/kubeflow-user-example-com has upstream's user at spec.owner.name",
        "Secret/auth/dex-oidc-client has upstream's OIDC client secret at data.OIDC_CLIENT_SECRET",
        "Secret/auth/dex-passwords has the hash of 12341234 at stringData.DEX_USER_PASSWORD",
        "Secret/kubeflow/katib-mysql-secrets has the password 'test' at data.MYSQL_ROOT_PASSWORD",
        "Secret/kubeflow/mlpipeline-minio-artifact has upstream's object store user"
        " at stringData.accesskey",
        "Secret/kubeflow/mlpipeline-minio-artifact has upstream's object store key"
        " at stringData.secretkey",
        "Secret/kubeflow/mysql-secret has the password '' at stringData.password",
        "Secret/oauth2-proxy/oauth2-proxy-h675gf55ht has upstream's OIDC client secret"
        " at data.client-secret",
        "Secret/oauth2-proxy/oauth2-proxy-h675gf55ht has upstream's cookie secret"
        " at data.cookie-secret",
    ]


def test_each_secret_has_its_credential(objects: list[dict[str, Any]]) -> None:
    before = deepcopy(objects)
    credentials = opaque()
    secured = by_name(secure(objects, credentials, lambda values: "digest"))
    assert objects == before
    placed = {
        f"{name}.{key}": value.name
        for name, body in secured.items()
        if body["kind"] == "Secret"
        for key, value in (body.get("stringData") or {}).items()
        if isinstance(value, Opaque)
    }
    assert placed == {
        "Secret/auth/dex-oidc-client.OIDC_CLIENT_SECRET": "oidc_client_secret",
        "Secret/auth/dex-passwords.DEX_USER_PASSWORD": "password_hash",
        "Secret/kubeflow/katib-mysql-secrets.MYSQL_ROOT_PASSWORD": "katib_database_password",
        "Secret/kubeflow/mlpipeline-minio-artifact.accesskey": "object_store_access_key",
        "Secret/kubeflow/mlpipeline-minio-artifact.secretkey": "object_store_secret_key",
        "Secret/kubeflow/mysql-secret.password": "pipelines_database_password",
        "Secret/oauth2-proxy/oauth2-proxy-h675gf55ht.client-secret": "oidc_client_secret",
        "Secret/oauth2-proxy/oauth2-proxy-h675gf55ht.cookie-secret": "cookie_secret",
    }


def test_every_other_value_of_a_secret_is_public(objects: list[dict[str, Any]]) -> None:
    """A release that brings a new credential fails here."""
    left = {
        (body["metadata"]["name"], key): value
        for body in secure(objects, opaque(), lambda values: "digest")
        if body["kind"] == "Secret"
        for part in ("data", "stringData")
        for key, value in (body.get(part) or {}).items()
        if not isinstance(value, Opaque)
    }
    identifier = encoded("kubeflow-oidc-authservice")
    assert left == {
        ("dex-oidc-client", "OIDC_CLIENT_ID"): identifier,
        ("oauth2-proxy-h675gf55ht", "client-id"): identifier,
        ("mysql-secret", "username"): "root",
    }


def test_secrets_are_nowhere_but_in_secrets(objects: list[dict[str, Any]]) -> None:
    for body in secure(objects, known()):
        if body["kind"] != "Secret":
            assert not [name for name in FIELDS if f"the {name}" in str(body)]


def test_the_user_is_the_one_of_the_settings(objects: list[dict[str, Any]]) -> None:
    secured = by_name(secure(objects, opaque(), lambda values: "digest"))
    before = by_name(objects)
    profile = secured["Profile//kubeflow-user-example-com"]
    assert profile["spec"]["owner"] == {"kind": "User", "name": "ann@corp.org"}
    old, new = (
        yaml.safe_load(o["ConfigMap/auth/dex"]["data"]["config.yaml"]) for o in (before, secured)
    )
    old["staticPasswords"][0]["email"] = "ann@corp.org"
    assert new == old
    assert new["staticPasswords"][0]["hashFromEnv"] == "DEX_USER_PASSWORD"


@pytest.mark.parametrize("name", ["mysql", "katib-mysql"])
def test_databases_start_with_a_password(name: str, objects: list[dict[str, Any]]) -> None:
    body = by_name(secure(objects, known()))[f"Deployment/kubeflow/{name}"]
    environment = {e["name"]: e for e in body["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "MYSQL_ALLOW_EMPTY_PASSWORD" not in environment
    reference = environment["MYSQL_ROOT_PASSWORD"]["valueFrom"]["secretKeyRef"]
    expected = {
        "mysql": {"name": "mysql-secret", "key": "password"},
        "katib-mysql": {"name": "katib-mysql-secrets", "key": "MYSQL_ROOT_PASSWORD"},
    }
    assert reference == expected[name]


def test_a_backup_finds_the_databases_and_no_others(objects: list[dict[str, Any]]) -> None:
    for bodies in (objects, secure(objects, known())):
        workloads = [o for o in bodies if o["kind"] in ("Deployment", "StatefulSet")]
        found = databases(workloads, {"kubeflow"})
        assert [(one.name, one.claims) for one in found] == [
            ("katib-mysql", ("katib-mysql",)),
            ("mysql", ("mysql-pv-claim",)),
        ]


def annotations(objects: list[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for body in objects:
        template = (body.get("spec") or {}).get("template") or {}
        notes = (template.get("metadata") or {}).get("annotations") or {}
        if "ml-platform/credentials" in notes:
            found[body["metadata"]["name"]] = notes["ml-platform/credentials"]
    return found


def test_a_changed_credential_restarts_its_readers_only(objects: list[dict[str, Any]]) -> None:
    one = known()
    other = Credentials("ann@corp.org", **{n: f"the {n}" for n in FIELDS} | {"password_hash": "x"})
    before, after = annotations(secure(objects, one)), annotations(secure(objects, other))
    assert set(before) == {
        "cache-server",
        "dex",
        "katib-db-manager",
        "katib-mysql",
        "kubeflow-pipelines-profile-controller",
        "metadata-grpc-deployment",
        "minio",
        "ml-pipeline",
        "ml-pipeline-ui",
        "mysql",
        "oauth2-proxy",
    }
    assert {name for name in before if before[name] != after[name]} == {"dex"}
    renamed = annotations(secure(objects, known("bob@corp.org")))
    assert {name for name in before if before[name] != renamed[name]} == {"dex"}
    assert annotations(secure(objects, one)) == before


def test_clients_of_pipelines_mysql_are_led_to_another_one(objects: list[dict[str, Any]]) -> None:
    host = Opaque("host")
    database = Database(host, "platform")  # type: ignore[arg-type]
    outside = secure(without_server(objects), opaque(), lambda _: "", database=database)
    before, found = by_name(secure(objects, opaque(), lambda _: "")), by_name(outside)
    assert set(before) - set(found) == {
        "AuthorizationPolicy/kubeflow/mysql",
        "Deployment/kubeflow/mysql",
        "DestinationRule/kubeflow/ml-pipeline-mysql",
        "Service/kubeflow/mysql",
    }
    assert set(found) < set(before)
    # What was recorded outlives the change.
    assert "PersistentVolumeClaim/kubeflow/mysql-pv-claim" in found
    config = found["ConfigMap/kubeflow/pipeline-install-config"]["data"]
    assert {name for name, value in config.items() if value is host} == {"dbHost", "mysqlHost"}
    assert config["bucketName"] == "mlpipeline"
    login = found["Secret/kubeflow/mysql-secret"]
    assert login["stringData"]["username"] == "platform"
    assert "username" not in (login.get("data") or {})
    plan(outside)


def test_another_address_restarts_who_reads_it_only(objects: list[dict[str, Any]]) -> None:
    one, other = (
        annotations(secure(without_server(objects), known(), database=Database(host, "platform")))
        for host in ("one.example", "other.example")
    )
    assert {name for name in one if one[name] != other[name]} == {
        "cache-server",
        "kubeflow-pipelines-profile-controller",
        "metadata-grpc-deployment",
        "ml-pipeline",
        "ml-pipeline-scheduledworkflow",
    }


def test_no_pod_is_told_of_the_server_that_is_gone(objects: list[dict[str, Any]]) -> None:
    """Which address a client of MySQL reads, by its environment: upstream may come to name more."""
    asked = set()
    found = by_name(secure(without_server(objects), known(), database=Database("db", "platform")))
    config = found["ConfigMap/kubeflow/pipeline-install-config"]["data"]
    # The kind of database is called so, too.
    assert [name for name, value in config.items() if value == "mysql"] == ["dbType"]
    for name, body in found.items():
        if not name.startswith("Deployment/kubeflow/") or "katib" in name:
            continue
        for container in body["spec"]["template"]["spec"]["containers"]:
            values = {e["name"]: e.get("value", "") for e in container.get("env") or []}
            asked |= {name for name, value in values.items() if value.startswith("mysql")}
            words = [*(container.get("args") or []), *(container.get("command") or [])]
            assert not [word for word in words if "=mysql" in word or word == "mysql"]
    assert asked == {"DBCONFIG_DRIVER"}


def test_only_what_has_credentials_changes(objects: list[dict[str, Any]]) -> None:
    secured = secure(objects, known())
    assert len(secured) == len(objects)
    changed = {a["kind"] for a, b in zip(objects, secured, strict=True) if a != b}
    assert changed == {"Secret", "ConfigMap", "Profile", "Deployment"}
    assert sum(a != b for a, b in zip(objects, secured, strict=True)) == 20


def test_the_default_user_may_be_chosen(objects: list[dict[str, Any]]) -> None:
    secured = secure(objects, known("user@example.com"))
    assert find_defaults(secured, "user@example.com") == []
    assert {finding.what for finding in find_defaults(secured)} == {"upstream's user"}


def test_a_hash_in_dexs_configuration_moves_to_the_secret() -> None:
    users = [
        {"email": "user@example.com", "hash": UPSTREAMS_HASH, "username": "user"},
        {"email": "root@corp.org", "hash": "own"},
    ]
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dex", "namespace": "auth"},
        "data": {"config.yaml": yaml.safe_dump({"staticPasswords": users})},
    }
    (secured,) = secure([body], opaque())
    assert yaml.safe_load(secured["data"]["config.yaml"])["staticPasswords"] == [
        {"email": "ann@corp.org", "username": "user", "hashFromEnv": "DEX_USER_PASSWORD"},
        users[1],
    ]


def test_dex_reads_text_in_its_configuration_as_text() -> None:
    users = [{"email": "user@example.com", "username": "y", "userID": "1e3"}]
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dex", "namespace": "auth"},
        "data": {"config.yaml": json.dumps({"staticPasswords": users})},
    }
    (secured,) = secure([body], opaque())
    (config,) = load_all(secured["data"]["config.yaml"])
    assert config["staticPasswords"] == [
        {
            "email": "ann@corp.org",
            "username": "y",
            "userID": "1e3",
            "hashFromEnv": "DEX_USER_PASSWORD",
        }
    ]


@pytest.mark.parametrize("text", ["# empty", "a: [", "- a", "text", "1"])
def test_what_is_no_configuration_of_dex_is_told(text: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dex", "namespace": "auth"},
        "data": {"config.yaml": text},
    }
    with pytest.raises(AccessError, match=r"ConfigMap/auth/dex: config.yaml is no Dex config"):
        secure([body], opaque())


def test_text_wins_over_base64_in_a_secret() -> None:
    body = secret("x", data={"password": encoded("test")}, stringData={"password": "fine"})
    assert find_defaults([body]) == []


def test_a_platform_without_these_components() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    assert secure([namespace], opaque()) == [namespace]


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "old", "namespace": "auth"},
                "data": {"config": f"staticPasswords: [{{hash: {UPSTREAMS_HASH}}}]"},
            },
            "ConfigMap/auth/old has the hash of 12341234 at data.config",
        ),
        (
            secret("copy", data={"key": encoded("minio123")}),
            "Secret/kubeflow/copy has upstream's object store key at data.key",
        ),
        (
            secret("db", stringData={"DB_PASSWORD": "test"}),
            "Secret/kubeflow/db has the password 'test' at stringData.DB_PASSWORD",
        ),
        (
            {
                "apiVersion": "example.org/v1",
                "kind": "Anything",
                "metadata": {"name": "deep"},
                "spec": {"list": [{"url": "s3://minio:minio123@x"}]},
            },
            "Anything/deep has upstream's object store key at spec.list[0].url",
        ),
    ],
)
def test_a_hidden_default_stops_everything(body: dict[str, Any], finding: str) -> None:
    with pytest.raises(AccessError) as error:
        secure([body], opaque())
    assert str(error.value).splitlines()[1:] == [f"  {finding}"]


@given(
    st.sampled_from(["12341234", "minio123", "7d16fee92f8d11b8940b081b3f8b8acb", UPSTREAMS_HASH]),
    st.recursive(
        st.none(),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.text("ab.", min_size=1, max_size=3), inner, min_size=1, max_size=3)
        ),
        max_leaves=8,
    ),
    st.text(max_size=5),
)
def test_a_default_is_found_at_any_depth(value: str, shape: Any, around: str) -> None:
    def fill(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: fill(item) for key, item in part.items()}
        if isinstance(part, list):
            return [fill(item) for item in part]
        return f"{around}{value}{around}"

    body = {"apiVersion": "v1", "kind": "Any", "metadata": {"name": "x"}, "spec": fill(shape)}
    assert find_defaults([body])


def test_credentials_do_not_show_in_a_trace() -> None:
    assert "the " not in repr(known())


def test_what_is_kept_stays_and_what_is_missing_is_made() -> None:
    first = generate({})
    assert set(first) == {"password", *FIELDS} - {"password_hash"}
    assert len(set(first.values())) == len(first)
    assert generate(first) == first
    partial = {name: value for name, value in first.items() if name != "cookie_secret"}
    second = generate(partial)
    assert {**second, "cookie_secret": ""} == {**partial, "cookie_secret": ""}
    assert second["cookie_secret"] != first["cookie_secret"]


@given(st.randoms(use_true_random=False))
def test_generated_credentials_are_fit_for_their_use(random: Any) -> None:
    made = generate({}, random.randbytes)
    assert len(base64.urlsafe_b64decode(made["cookie_secret"])) == 32
    assert 3 <= len(made["object_store_access_key"]) <= 20
    assert 8 <= len(made["object_store_secret_key"]) <= 40
    for name, value in made.items():
        assert name == "cookie_secret" or value.isalnum()
        assert len(value) >= 16
    hash_password(made["password"], cost=4)


def test_generated_credentials_are_decided_by_the_randomness() -> None:
    assert generate({}, lambda n: b"x" * n) == generate({}, lambda n: b"x" * n)
    assert generate({}) != generate({})


def test_a_hash_is_one_that_dex_reads_and_is_kept() -> None:
    first = hash_password("correct horse", cost=4)
    assert first.startswith("$2b$04$")
    assert verify("correct horse", first)
    assert not verify("wrong", first)
    assert hash_password("correct horse", first) == first
    assert hash_password("another", first, cost=4) != first
    assert hash_password("correct horse").startswith("$2b$10$")


def test_what_is_no_hash() -> None:
    assert not verify("x", "")
    assert not verify("x", "$2y$12$short")
    assert verify("12341234", UPSTREAMS_HASH)


@pytest.mark.parametrize("password", ["", "x" * 73, "ä" * 37, "a\0b"])
def test_a_password_that_bcrypt_would_cut(password: str) -> None:
    with pytest.raises(AccessError, match=r"userPassword has \d+ bytes"):
        hash_password(password)


def test_ways_to_the_dashboard() -> None:
    assert dashboard_url() == "http://localhost:8080"
    assert dashboard_url(9000) == "http://localhost:9000"
    assert port_forward_command(9000) == (
        "kubectl port-forward --namespace istio-system service/istio-ingressgateway 9000:80"
    )
    assert "--kubeconfig /tmp/k " in port_forward_command(kubeconfig="/tmp/k")


def test_the_randomness_is_the_systems() -> None:
    assert generate.__defaults__ == (secrets.token_bytes,)

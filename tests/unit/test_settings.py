"""Settings: every bad value is one clear error, and Pulumi.yaml declares what the program reads."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pulumi.runtime.config as runtime_config
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components import settings as module
from components.settings import (
    Settings,
    SettingsError,
    in_project,
    load,
    of_stack,
    parse,
    with_overrides,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "cluster",
            "k3s",
            "cluster is 'k3s': input should be 'minikube', 'existing', 'sandbox' or 'eks'",
        ),
        ("minikubeCpus", 1, "minikubeCpus is 1: .* greater than or equal to 2"),
        ("minikubeCpus", "8", "minikubeCpus is '8': .* valid integer"),
        ("minikubeMemory", 512, "minikubeMemory is 512: .* 2048"),
        ("minikubeDisk", 5, "minikubeDisk is 5: .* 20"),
        ("minikubeNodes", 11, "minikubeNodes is 11: .* 10"),
        ("minikubeProfile", "My Profile", "minikubeProfile is 'My Profile': .* pattern"),
        ("minikubeKubernetesVersion", "latest", "minikubeKubernetesVersion is 'latest'"),
        ("minikubeContainerRuntime", "rkt", "minikubeContainerRuntime is 'rkt': .*'containerd'"),
        ("minikubeRunning", "yes", "minikubeRunning is 'yes': .* valid boolean"),
        ("sandboxName", "-", "sandboxName is '-'"),
        ("userEmail", "me", "userEmail is 'me': give an e-mail address"),
        ("userPassword", "12341234", "userPassword is a secret: .* anybody can read"),
        ("userPassword", "x" * 73, "userPassword is a secret: userPassword has 73 bytes"),
        ("kubeflowComponents", "katib", "kubeflowComponents is 'katib': .* array"),
        ("kubeflowComponents", [1], r"kubeflowComponents is \[1\]: .* valid string"),
        ("kubeflowTransforms", ["x.py"], r"kubeflowTransforms is \['x.py'\]: 'x.py' is not of the"),
        ("dashboardPort", 0, "dashboardPort is 0: .* greater than or equal to 1"),
        ("timeoutMinutes", 0, "timeoutMinutes is 0: .* 1"),
        ("clusterr", "minikube", "clusterr is not a setting; did you mean cluster"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(name: str, value: object, message: str) -> None:
    values: dict[str, Any] = {name: value}
    if name == "sandboxName":
        values["cluster"] = "sandbox"
    with pytest.raises(SettingsError, match=message) as error:
        parse(values)
    assert len(str(error.value).splitlines()) == 1


def test_every_bad_setting_has_its_line() -> None:
    with pytest.raises(SettingsError) as error:
        parse({"cluster": "k3s", "userEmail": "me", "dashboardPort": -1})
    assert [line.split()[0] for line in str(error.value).splitlines()] == [
        "cluster",
        "userEmail",
        "dashboardPort",
    ]


def test_a_password_is_in_no_error_and_no_representation() -> None:
    password = "hunter2-" * 10
    with pytest.raises(SettingsError) as error:
        parse({"userPassword": password})
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(parse({"userPassword": "hunter2-hunter2"}))


@pytest.mark.parametrize(
    ("cluster", "name", "value"),
    [
        ("sandbox", "minikubeCpus", 4),
        ("minikube", "kubeContext", "prod"),
        ("existing", "sandboxName", "mine"),
        ("sandbox", "kubeconfig", "x"),
    ],
)
def test_a_setting_of_another_cluster_is_refused(cluster: str, name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name} is set, but the cluster is '{cluster}'"):
        parse({"cluster": cluster, name: value})
    assert parse({"cluster": cluster, name: Settings.model_fields[_field(name)].default})


def _field(alias: str) -> str:
    return next(n for n, field in Settings.model_fields.items() if field.alias == alias)


@given(
    st.dictionaries(
        st.sampled_from([field.alias for field in Settings.model_fields.values()]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_any_values_are_settings_or_an_error_of_theirs(values: dict[str, object]) -> None:
    try:
        settings = parse(values)
    except SettingsError as error:
        assert str(error)
    else:
        assert all(getattr(settings, _field(name)) is not None for name in values)


# --- what Pulumi hands over ----------------------------------------------------------------------


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch):
    def configure(secrets: tuple[str, ...] = (), **values: str) -> None:
        texts = {f"ml-platform:{name}": text for name, text in values.items()}
        runtime_config.set_all_config(
            {**texts, "other:cluster": "x"}, [f"ml-platform:{name}" for name in secrets]
        )

    yield configure
    runtime_config.set_all_config({}, [])


def test_texts_of_the_engine_become_values(configured) -> None:
    configured(
        cluster="minikube",
        minikubeCpus="4",
        minikubeRunning="false",
        kubeflowComponents='["dex"]',
        kubeflowRef="1.10",
    )
    settings = load()
    assert settings.minikube_cpus == 4 and settings.minikube_running is False
    assert settings.kubeflow_components == ("dex",)
    assert settings.kubeflow_ref == "1.10"


def test_a_text_of_the_wrong_type_is_an_error(configured) -> None:
    configured(minikubeCpus="four")
    with pytest.raises(SettingsError, match=r"minikubeCpus is 'four': .* valid integer"):
        load()


def test_a_password_in_plain_text_is_refused(configured) -> None:
    configured(userPassword="correct horse")
    with pytest.raises(SettingsError, match="userPassword is in plain text; encrypt it: pulumi"):
        load()
    configured(secrets=("userPassword",), userPassword="correct horse")
    assert load().user_password == "correct horse"


# --- files ---------------------------------------------------------------------------------------


def _documented() -> dict[str, str]:
    """The docstring under each field."""
    body = ast.parse(inspect.getsource(module)).body
    [settings] = [n for n in body if isinstance(n, ast.ClassDef) and n.name == "Settings"]
    found = {}
    for node, following in zip(settings.body, settings.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
            found[node.target.id] = following.value.value  # type: ignore[union-attr,attr-defined]
    return found


def test_pulumi_yaml_declares_exactly_the_settings() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    documented = _documented()
    expected = {}
    for name, field in Settings.model_fields.items():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        kind = {bool: "boolean", int: "integer", str: "string", list: "array"}[type(default)]
        expected[field.alias] = {
            "type": kind,
            **({"items": {"type": "string"}} if kind == "array" else {}),
            "default": default,
            "description": documented[name],
        }
    assert declared == expected


@pytest.mark.parametrize("stack", ["local", "aws", "sandbox"])
def test_the_file_of_every_stack_holds_settings(stack: str) -> None:
    parse(of_stack(stack))


def test_an_unknown_stack_names_those_that_are_there() -> None:
    with pytest.raises(SettingsError, match=r"no .*Pulumi\.prod\.yaml; stacks: .*local"):
        of_stack("prod")


def test_a_command_line_goes_over_the_file() -> None:
    values = with_overrides({"minikubeCpus": 8}, ["minikubeCpus=4", "kubeflowComponents=[]"])
    assert values == {"minikubeCpus": 4, "kubeflowComponents": []}
    with pytest.raises(SettingsError, match="--set cluster: give SETTING=VALUE"):
        with_overrides({}, ["cluster"])


def test_the_kubeconfig_of_an_existing_cluster() -> None:
    home = Path.home() / ".kube" / "config"
    assert parse({"cluster": "existing"}).kubeconfig_path({}) == home
    environ = {"KUBECONFIG": "/a:/b"}
    assert parse({"cluster": "existing"}).kubeconfig_path(environ) == Path("/a")
    chosen = parse({"cluster": "existing", "kubeconfig": "clusters/x"})
    assert chosen.kubeconfig_path(environ) == ROOT / "clusters" / "x"
    assert in_project("~/x") == Path.home() / "x"

"""The whole program as resources: every object of the plan, where it goes and what it waits for."""

from __future__ import annotations

import runpy
from pathlib import Path

import pulumi
import pulumi.runtime.config as runtime_config
import pytest
import yaml
from pulumi.runtime import mocks

from components.choose import kubeflow_args
from components.kubeflow.component import planned
from components.kubeflow.manifests import resource_name
from components.settings import parse
from provider.values import SECRET_MARK, SIGNATURE

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
USED = {"cluster": "existing", "kubeflowPath": str(SOURCE)}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    named = {"name": "one"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{**named, "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{**named, "cluster": {"server": "https://one:6443"}}],
        "users": [{**named, "user": {"token": "hush"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def main(run_program, kubeconfig: Path):
    """Run `__main__.py` with settings on top of those for an existing cluster."""

    def run(**settings: str):
        values = {**USED, "kubeconfig": str(kubeconfig), **settings}
        runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in values.items()}, [])
        return run_program(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"))

    yield run
    runtime_config.set_all_config({}, [])


def test_every_object_is_a_resource_in_the_order_of_the_plan(main) -> None:
    ran = main(kubeflowComponents='["cert-manager", "katib"]')
    plan = planned(kubeflow_args(parse({**USED, "kubeflowComponents": ["cert-manager", "katib"]})))
    made = {
        (resource.type, resource.name): resource
        for resource in ran.registered
        if resource.type.startswith(("kubernetes:", "mlplatform:kubernetes:"))
    }
    tokens = {}
    for node in plan.nodes:
        name = resource_name(node.ref)
        [token] = [t for t, n in made if n == name and t.rpartition(":")[2] == node.ref.kind]
        tokens[node.ref] = (token, name)
    assert len(tokens) == len(made) == len(plan.nodes) > 100
    for ref, key in tokens.items():
        request = made[key].request
        waited = {urn.split("::")[-1] for urn in request.dependencies}
        assert {resource_name(needed) for needed in plan.needed[ref]} <= waited, ref
        assert request.parent.endswith("mlplatform:kubeflow:Manifests::kubeflow")
        plugin = "mlplatform" if key[0].startswith("mlplatform:") else "kubernetes"
        assert f"pulumi:providers:{plugin}::cluster" in request.provider
        assert request.customTimeouts.create == "30m"


def test_no_credential_of_upstreams_and_no_secret_in_plain(main) -> None:
    ran = main(kubeflowComponents='["dex"]')
    assert ran.of("mlplatform:access:Credentials").inputs.get("password") is None
    secret = next(r for r in ran.registered if r.name.startswith("auth/dex-passwords"))
    assert secret.inputs["stringData"]["DEX_USER_PASSWORD"] == "made"
    providers = [r for r in ran.registered if r.type.startswith("pulumi:providers:")]
    assert len(providers) == 2
    for provider in providers:
        kubeconfig = provider.request.object.fields["kubeconfig"].struct_value.fields
        assert kubeconfig[SIGNATURE].string_value == SECRET_MARK


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kubeflowComponents": '["kateb"]'}, "no component 'kateb'.*did you mean 'katib'"),
        ({"kubeflowPath": "/nowhere"}, "kubeflowPath is /nowhere, which is no folder"),
        ({"userEmail": "me", "dashboardPort": "0"}, "userEmail is 'me'(?s:.*)dashboardPort is 0"),
        ({"kubeContext": "two"}, "kubeContext is 'two'"),
        ({"kubeflowTransforms": '["nofile.py:f"]'}, "nofile.py is no file"),
    ],
)
def test_a_bad_setting_is_an_error_before_anything_is_registered(
    main, monkeypatch: pytest.MonkeyPatch, settings, message
) -> None:
    registered = []
    register = mocks.MockMonitor.RegisterResource

    def note(monitor, request):
        registered.append(request.type)
        return register(monitor, request)

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResource", note)
    with pytest.raises(pulumi.RunError, match=message):
        main(**settings)
    assert set(registered) <= {"pulumi:pulumi:Stack"}

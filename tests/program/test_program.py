"""`__main__.py` for each kind of cluster: the same graph of the same objects, as planned."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime.config as runtime_config
import pytest
from pulumi.runtime import mocks

from components.choose import kubeflow_args
from components.kubeflow.component import planned
from components.kubeflow.manifests import FIELD_MANAGER
from components.kubeflow.objects import CRD_KIND
from components.kubeflow.plan import Plan
from components.settings import parse
from provider.values import SECRET_MARK, SIGNATURE
from tests.support.plans import name_of
from tests.support.programs import existing_kubeconfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
ON_CLUSTER = ("kubernetes:", "mlplatform:kubernetes:", "mlplatform:access:")
CREDENTIALS = "mlplatform:access:Credentials::kubeflow-credentials"
GUARD = "mlplatform:kubeflow:Release::kubeflow"

Clusters = Mapping[str, dict[str, str]]
Main = Callable[..., dict[str, Any]]


@pytest.fixture
def clusters(tmp_path: Path, play_sandbox) -> Clusters:
    """Settings for a cluster of each kind that needs nothing to be there."""
    kubeconfig = existing_kubeconfig(tmp_path)

    folder = play_sandbox(kubeconfig.read_bytes())
    return {
        "existing": {"cluster": "existing", "kubeconfig": str(kubeconfig)},
        "sandbox": {"cluster": "sandbox", "sandboxName": "mine", "sandboxData": str(folder)},
    }


@pytest.fixture
def ran(run_program):
    """Run `__main__.py`; everything that it registers."""

    def run(**settings: str):
        values = {"kubeflowPath": str(SOURCE), **settings}
        runtime_config.set_all_config({f"ml-platform:{k}": v for k, v in values.items()}, [])
        return run_program(lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"))

    yield run
    runtime_config.set_all_config({}, [])


@pytest.fixture
def main(ran) -> Main:
    """As `ran`; only what is on the cluster, by "<type>::<name>"."""

    def run(**settings: str) -> dict[str, Any]:
        found = [r for r in ran(**settings).registered if r.type.startswith(ON_CLUSTER)]
        named = {f"{r.type}::{r.name}": r for r in found}
        assert len(named) == len(found)
        return named

    return run


def planned_as(settings: Mapping[str, str]) -> Plan:
    return planned(kubeflow_args(parse({"kubeflowPath": str(SOURCE), **settings})))


def tail(urn: str) -> str:
    """ "<type>::<name>" of a URN."""
    _, _, types, name = urn.split("::", 3)
    return f"{types.rpartition('$')[2]}::{name}"


@pytest.mark.parametrize("cluster", ["existing", "sandbox"])
def test_the_whole_platform_is_the_graph_of_the_plan(main: Main, clusters: Clusters, cluster: str):
    found, plan = main(**clusters[cluster]), planned_as(clusters[cluster])
    assert set(found) == {CREDENTIALS, *map(name_of, plan.nodes)}
    assert len(found) > 600
    for node in plan.nodes:
        request = found[name_of(node)].request
        waited = {tail(urn) for urn in request.dependencies} - {CREDENTIALS, GUARD}
        needed = {name_of(plan.by_ref[ref]) for ref in plan.needed[node.ref]}
        assert waited == needed, node.ref
        # Nothing is made before the guard has passed.
        assert needed or GUARD in map(tail, request.dependencies)
        assert tail(request.parent) == "mlplatform:kubeflow:Manifests::kubeflow"
        own = node.gate or node.ref.kind == CRD_KIND
        provider = "mlplatform" if own else "kubernetes"
        assert f"::pulumi:providers:{provider}::cluster::" in request.provider.replace("$", "::")
        assert not request.deletedWith
        assert request.customTimeouts.create == "30m"
    readers = {
        name for name, r in found.items() if CREDENTIALS in map(tail, r.request.dependencies)
    }
    kinds = {name.split("::")[0].rpartition(":")[2] for name in readers}
    assert kinds == {"Secret", "Deployment"}
    assert len(readers) > 8


def test_the_graph_does_not_depend_on_the_kind_of_cluster(main: Main, clusters: Clusters):
    def graph(settings: Mapping[str, str]) -> dict[str, tuple[object, set[str]]]:
        return {
            name: (found.inputs, {tail(urn) for urn in found.request.dependencies})
            for name, found in main(**settings, kubeflowComponents='["katib"]').items()
        }

    assert graph(clusters["existing"]) == graph(clusters["sandbox"])


def test_what_the_provider_is_told_about_each_object(main: Main, clusters: Clusters):
    found = main(**clusters["existing"], kubeflowComponents='["katib"]')
    told = {
        name: {
            key.removeprefix("pulumi.com/"): value
            for key, value in r.inputs["metadata"]["annotations"].items()
            if key.startswith("pulumi.com/")
        }
        for name, r in found.items()
        if name.startswith("kubernetes:")
    }
    always = {"patchFieldManager": FIELD_MANAGER, "patchForce": "true"}
    for name, annotations in told.items():
        added = {key: value for key, value in annotations.items() if key not in always}
        if name.startswith("kubernetes:core/v1:Service::"):
            assert added == {"skipAwait": "true"}
        elif ":cert-manager.io/v1:" in name and "ClusterIssuer" not in name:
            assert added == {"waitFor": "condition=Ready"}
        else:
            assert added == {}, name
        assert annotations.items() >= always.items()


def test_a_sandbox_that_does_not_run_is_an_error_before_anything_is_made(
    run_program, main: Main, tmp_path: Path
):
    with pytest.raises(pulumi.RunError, match="no sandbox of that name runs; start it: python -m"):
        main(cluster="sandbox", sandboxName="none", sandboxData=str(tmp_path / "none"))


def test_no_credential_of_upstreams_and_no_secret_in_plain(ran, clusters: Clusters) -> None:
    made = ran(**clusters["existing"], kubeflowComponents='["dex"]')
    assert made.of("mlplatform:access:Credentials").inputs.get("password") is None
    secret = next(r for r in made.registered if r.name.startswith("auth/dex-passwords"))
    assert secret.inputs["stringData"]["DEX_USER_PASSWORD"] == "made"
    providers = [r for r in made.registered if r.type.startswith("pulumi:providers:")]
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
    main: Main, clusters: Clusters, monkeypatch: pytest.MonkeyPatch, settings, message
) -> None:
    registered = []
    register = mocks.MockMonitor.RegisterResource

    def note(monitor, request):
        registered.append(request.type)
        return register(monitor, request)

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResource", note)
    with pytest.raises(pulumi.RunError, match=message):
        main(**{**clusters["existing"], **settings})
    assert set(registered) <= {"pulumi:pulumi:Stack"}

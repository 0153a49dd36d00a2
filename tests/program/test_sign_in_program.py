"""`__main__.py` where a provider signs in: outputs, and where its secret goes."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime.config as runtime_config
import pytest

from components.kubeflow import dashboard
from provider.values import SECRET_MARK, SIGNATURE
from tests.support.gateway_sources import MANIFESTS
from tests.support.programs import Ran, existing_kubeconfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "sources" / "kubeflow-manifests" / "v1.10.2"
PLANTED = "planted-client-secret"
OIDC = {
    "signIn": "oidc",
    "userEmail": "ann@corp.org",
    "oidcIssuer": "https://accounts.corp.org",
    "oidcClientId": "ml-platform",
    "oidcClientSecret": PLANTED,
    "oidcDomains": '["corp.org"]',
    "kubeflowComponents": '["dex", "oauth2-proxy", "istio", "user-namespace"]',
}
OUTPUTS = ("url", "email", "password", "portForward")
Main = Callable[..., tuple[Ran, dict[str, Any]]]


@pytest.fixture
def main(tmp_path: Path, run_program, monkeypatch: pytest.MonkeyPatch) -> Main:
    """Run `__main__.py` on a cluster that is there; what it registers and what it exports."""
    kubeconfig = existing_kubeconfig(tmp_path)
    exported: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)

    def program() -> pulumi.Output[Any]:
        runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
        return pulumi.Output.all(**{name: exported[name] for name in exported if name in OUTPUTS})

    def run(secrets: tuple[str, ...] = ("oidcClientSecret",), **more: str):
        values = {"cluster": "existing", "kubeconfig": str(kubeconfig), **OIDC, **more}
        values = {"kubeflowPath": str(SOURCE), **{k: v for k, v in values.items() if v}}
        runtime_config.set_all_config(
            {f"ml-platform:{k}": v for k, v in values.items()},
            [f"ml-platform:{name}" for name in secrets],
        )
        ran = run_program(program)
        return ran, ran.returned[0]

    yield run
    runtime_config.set_all_config({}, [])


def test_the_secret_is_in_dexs_environment_and_nowhere_else(main: Main, capfd) -> None:
    ran, told = main()
    holders = [r for r in ran.registered if PLANTED in json.dumps(r.inputs, default=str)]
    assert [r.name for r in holders] == ["auth/dex-passwords"]
    data = holders[0].request.object.fields["stringData"].struct_value.fields
    marked = data["SIGN_IN_CLIENT_SECRET"].struct_value.fields
    assert marked[SIGNATURE].string_value == SECRET_MARK
    assert marked["value"].string_value == PLANTED
    assert PLANTED not in json.dumps(told)
    assert PLANTED not in "".join(capfd.readouterr())


def test_no_password_is_told_that_opens_nothing(main: Main) -> None:
    _, told = main()
    assert told["password"] == "none: sign in by the account at https://accounts.corp.org"
    assert (told["url"], told["email"]) == ("http://localhost:8080", "ann@corp.org")


def test_behind_a_gateway_the_dashboard_is_there_only(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, told = main(gateway="nginx", gatewayPath=str(MANIFESTS["nginx"]))
    assert told["url"] == "https://kubeflow.localhost:8443"
    gateway = ran.of("mlplatform:gateway:Gateway")
    assert gateway.name == "gateway"
    outputs = {
        **told,
        "kubeconfig": "{}",
        "gatewayUrl": told["url"],
        "gatewayPortForward": "kubectl port-forward service/nginx 8443:443",
    }
    done = dashboard.subprocess.CompletedProcess([], 0, json.dumps(outputs), "")
    monkeypatch.setattr(dashboard.subprocess, "run", lambda *_, **__: done)
    found = dashboard.dashboard_of(Path("pulumi"), "local", ROOT)
    assert found.command[-1] == "8443:443"
    outputs["gatewayUrl"] = "https://another.localhost:8443"
    done.stdout = json.dumps(outputs)
    assert dashboard.dashboard_of(Path("pulumi"), "local", ROOT).command[-1] == "8080:80"


@pytest.mark.parametrize(
    ("secrets", "more", "message"),
    [
        ((), {"oidcClientSecret": ""}, "oidcClientSecret is empty; set it: pulumi config set"),
        ((), {}, "oidcClientSecret is in plain text; encrypt it"),
        (("oidcClientSecret",), {"oidcIssuer": "http://corp.org"}, "oidcIssuer is 'http://corp"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(
    main: Main, secrets: tuple[str, ...], more: dict[str, str], message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message) as error:
        main(secrets, **more)
    assert PLANTED not in str(error.value)

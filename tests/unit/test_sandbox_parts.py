"""Command lines, credentials and kwok's configuration of a sandbox."""

import json
import re
import stat
from pathlib import Path

import pytest
import yaml

from sandbox import nodes, parts
from sandbox.parts import Layout
from sandbox.state import State

PORTS = {
    "etcd": 20001,
    "etcd-peer": 20002,
    "kube-apiserver": 20003,
    "kube-controller-manager": 20004,
    "kube-scheduler": 20005,
}


@pytest.fixture(scope="module")
def state() -> State:
    return State("unit", 42, 3, 7.5, dict(PORTS))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory, state: State) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("sandbox"))
    for folder in (layout.logs, layout.pki, layout.config):
        folder.mkdir()
    parts.write_credentials(layout, state)
    parts.write_kubeconfigs(layout, state)
    parts.write_config(layout, state)
    return layout


def argv(part: str, layout: Layout, state: State) -> list[str]:
    found = next(p for p in parts.PARTS if p.name == part)
    return found.argv(lambda tool: Path("/tools") / tool, layout, state)


@pytest.mark.parametrize("part", [part.name for part in parts.PARTS])
def test_every_file_that_a_part_is_given_exists(part: str, layout: Layout, state: State):
    given = re.findall(
        rf"{layout.root}/(?:pki|config)/\S+|{layout.root}/\S*kubeconfig",
        " ".join(argv(part, layout, state)),
    )
    assert [path for path in given if not Path(path).is_file()] == []
    assert given or part == parts.SIMULATORS


def test_everything_written_is_private(layout: Layout):
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in layout.root.rglob("*") if path.is_file()
    }
    assert modes
    assert {path: mode for path, mode in modes.items() if mode != 0o600} == {}


@pytest.mark.parametrize(
    "flag",
    [
        "--bind-address=127.0.0.1",
        "--secure-port=20003",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=127.42.0.0/16",
        "--etcd-servers=https://127.42.0.2:20001",
    ],
)
def test_the_api_server_is_set_up_as_in_production(flag: str, layout: Layout, state: State):
    assert flag in argv(parts.API_SERVER, layout, state)


@pytest.mark.parametrize("part", [parts.API_SERVER, parts.CONTROLLERS, parts.SCHEDULER])
def test_nothing_listens_beyond_loopback(part: str, layout: Layout, state: State):
    assert "--bind-address=127.0.0.1" in argv(part, layout, state)


def test_etcd_is_closed_to_other_users_of_the_machine(layout: Layout, state: State):
    arguments = argv(parts.ETCD, layout, state)
    assert "--client-cert-auth=true" in arguments
    assert "--peer-client-cert-auth=true" in arguments
    assert not [argument for argument in arguments if "http://" in argument]


def test_controller_manager_and_api_server_share_the_service_range(layout: Layout, state: State):
    flag = "--service-cluster-ip-range=127.42.0.0/16"
    assert flag in argv(parts.CONTROLLERS, layout, state)


def test_the_simulators_get_the_admission_delay(layout: Layout, state: State):
    assert "--admission-delay=7.5" in argv(parts.SIMULATORS, layout, state)


def test_the_deployer_has_a_kubeconfig_of_its_own(layout: Layout):
    deployer = json.loads(layout.kubeconfig(parts.DEPLOYER).read_text())
    admin = json.loads(layout.kubeconfig(parts.ADMIN).read_text())
    assert layout.kubeconfig(parts.DEPLOYER).name == "kubeconfig"
    assert deployer["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:20003"
    assert deployer["users"][0]["name"] == "deployer"
    assert deployer["users"] != admin["users"]


def test_the_audit_policy_leaves_out_only_the_control_planes_own_loops(layout: Layout):
    policy = json.loads((layout.config / "audit-policy.json").read_text())
    assert policy["omitStages"] == ["RequestReceived"]
    assert policy["rules"][-1] == {"level": "Metadata"}
    for rule in policy["rules"][:-1]:
        users = [*rule.get("users", ()), *rule.get("userGroups", ())]
        assert all(user.startswith("system:") for user in users)
        assert users or rule.keys() & {"resources", "nonResourceURLs"}
        assert not users or rule["verbs"] == ["get", "list", "watch"]


def test_kwok_moves_nodes_and_pods_through_their_whole_life():
    stages = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(nodes.kwok_config())}
    assert set(stages) == {"node-ready", "pod-running", "pod-succeeded", "pod-deleted"}
    assert stages["pod-deleted"]["spec"]["next"] == {"delete": True}


def test_nodes_are_told_apart_and_spread_over_three_zones():
    made = [nodes.node(index) for index in range(300)]
    assert len({node["metadata"]["name"] for node in made}) == 300
    assert len({node["status"]["addresses"][0]["address"] for node in made}) == 300
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in made}
    assert len(zones) == 3


def test_one_storage_class_is_the_default():
    classes = nodes.storage_classes()
    defaults = [
        item["metadata"]["name"]
        for item in classes
        if item["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    ]
    assert defaults == ["standard"]
    assert {item["volumeBindingMode"] for item in classes} == {"Immediate", "WaitForFirstConsumer"}

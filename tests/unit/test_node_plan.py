"""Names, addresses, objects and configuration files of real nodes."""

import itertools
import json
import tomllib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from sandbox import network, nodes, parts
from sandbox.node import cgroups, configs, objects, plan, processes
from sandbox.parts import Layout
from sandbox.state import State

OCTET = 42
PORTS = {
    "etcd": 20001,
    "etcd-peer": 20002,
    "kube-apiserver": 20003,
    "kube-controller-manager": 20004,
}
DATA = Path("/data")


@pytest.fixture
def state() -> State:
    return State("unit", OCTET, 1, 0.0, dict(PORTS), real_nodes=3)


@pytest.fixture
def real() -> tuple[plan.Node, ...]:
    return plan.nodes("unit", OCTET, 3, DATA)


def find(tool: str) -> Path:
    return Path("/tools") / tool / tool


# --- addresses -----------------------------------------------------------------------------------


def test_no_two_of_all_the_ranges_and_addresses_overlap():
    most = plan.nodes("unit", OCTET, plan.MAX_NODES, DATA)
    machines = [
        plan.host_address(OCTET),
        plan.control_plane_address(OCTET),
        *(node.address for node in most),
    ]
    ranges = [plan.service_range(OCTET), *(node.pods for node in most)]
    ranges += [IPv4Network(address) for address in machines]
    assert not [pair for pair in itertools.combinations(ranges, 2) if pair[0].overlaps(pair[1])]
    assert all(one.subnet_of(plan.whole_range(OCTET)) for one in ranges)
    # kube-proxy tells pods from others by it.
    assert all(node.pods.subnet_of(plan.pod_range(OCTET)) for node in most)
    assert not [address for address in machines if IPv4Address(address) in plan.pod_range(OCTET)]
    assert plan.dns_address(OCTET) in plan.service_range(OCTET)


def test_two_sandboxes_share_nothing_even_under_one_name():
    one, other = (plan.nodes("unit", octet, 1, DATA / str(octet))[0] for octet in (42, 43))
    assert one.namespace != other.namespace
    assert one.cgroup != other.cgroup
    assert not plan.whole_range(42).overlaps(plan.whole_range(43))
    assert plan.host_interface(42) != plan.host_interface(43)


def test_an_interface_has_a_name_that_the_kernel_takes():
    names = [plan.host_interface(network.LAST_OCTET)]
    names += [node.name for node in plan.nodes("unit", 250, plan.MAX_NODES, DATA)]
    assert max(map(len, names)) <= 15


def test_a_range_that_this_machine_has_a_route_to_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    first = network.choose_range("seed", plan.whole_range)
    assert network.choose_range("seed") == first
    taken = [IPv4Network(f"10.{first}.7.0/24")]
    monkeypatch.setattr(network, "routed", lambda: taken)
    assert network.choose_range("seed", plan.whole_range) != first
    assert network.choose_range("seed") == first


# --- the control plane ---------------------------------------------------------------------------


def argv(part: str, state: State) -> list[str]:
    found = next(one for one in parts.PARTS if one.name == part)
    return found.argv(find, Layout(DATA), state)


def test_the_api_server_is_where_containers_reach_it(state: State):
    flags = argv(parts.API_SERVER, state)
    assert "--bind-address=10.42.0.1" in flags
    assert "--advertise-address=10.42.0.1" in flags
    assert "--service-cluster-ip-range=10.42.128.0/17" in flags
    assert not [flag for flag in flags if flag.startswith("--endpoint-reconciler-type")]
    assert "--service-cluster-ip-range=10.42.128.0/17" in argv(parts.CONTROLLERS, state)
    assert parts.server_url(state) == "https://10.42.0.1:20003"
    state.real_nodes = 0
    assert parts.server_url(state) == "https://127.0.0.1:20003"
    assert "--endpoint-reconciler-type=none" in argv(parts.API_SERVER, state)


def test_nodes_that_fall_silent_are_noticed_and_simulated_ones_do_not(state: State):
    assert "--node-monitor-grace-period=50s" in argv(parts.CONTROLLERS, state)
    names = [stage["metadata"]["name"] for stage in nodes.stages(heartbeats=True)]
    assert "node-heartbeat" in names
    assert "node-heartbeat" not in [stage["metadata"]["name"] for stage in nodes.stages()]


def test_every_node_has_credentials_of_its_own(state: State, tmp_path: Path):
    layout = Layout(tmp_path)
    for folder in (layout.logs, layout.pki, layout.config):
        folder.mkdir()
    parts.write_credentials(layout, state)
    parts.write_kubeconfigs(layout, state)
    users = parts.users(layout, state)
    for node in plan.nodes("unit", OCTET, 3, tmp_path):
        assert users[node.user] == ("system:nodes",)
        assert layout.kubeconfig(node.user).is_file()
    assert set(parts.USERS) < set(users)
    state.real_nodes = 0
    assert parts.users(layout, state) == parts.USERS


# --- objects -------------------------------------------------------------------------------------


def test_pods_stay_off_simulated_nodes_unless_they_tolerate_them():
    simulated = objects.simulated(nodes.node(0))
    assert simulated["spec"]["taints"] == [
        {"key": "ml-platform/node", "value": "simulated", "effect": "NoSchedule"}
    ]
    assert simulated["metadata"]["labels"]["ml-platform/node"] == "simulated"
    assert simulated["metadata"]["labels"]["kubernetes.io/hostname"] == "sandbox-0"
    assert simulated["metadata"]["annotations"] == nodes.node(0)["metadata"]["annotations"]


def test_kwok_leaves_real_nodes_alone(real: tuple[plan.Node, ...]):
    node = objects.node(real[1])
    assert "annotations" not in node["metadata"]
    assert node["metadata"]["labels"]["ml-platform/node"] == "real"
    assert node["spec"]["podCIDRs"] == ["10.42.65.0/24"]


def test_the_dns_pod_is_selected_by_its_service():
    service, pod = objects.dns_service(OCTET), objects.dns_pod("sandbox-0")
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["metadata"]["namespace"] == pod["metadata"]["namespace"] == "kube-system"
    assert objects.dns_pod_status(OCTET)["status"]["podIP"] in configs.corefile(DATA, OCTET)


def test_volumes_wait_for_a_pod_where_nodes_are_real():
    modes = {one["volumeBindingMode"] for one in nodes.storage_classes(real_nodes=True)}
    assert modes == {"WaitForFirstConsumer"}
    assert all(one["allowVolumeExpansion"] for one in nodes.storage_classes())


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("unified", [False, True])
def test_all_that_a_node_runs_is_in_its_cgroup_and_its_network(
    state: State, monkeypatch: pytest.MonkeyPatch, unified: bool
):
    monkeypatch.setattr(cgroups, "is_unified", lambda: unified)
    root = "/sys/fs/cgroup" if unified else "/sys/fs/cgroup/pids"
    layout = Layout(DATA)
    made = processes.parts(layout, state)
    assert len({part.name for part in made}) == len(made)
    for node in plan.nodes("unit", OCTET, 3, DATA):
        own = [part for part in made if part.name.endswith(node.name)]
        assert len(own) == 4
        for part in own:
            command = part.argv(find, layout, state)
            assert f"{root}/{node.cgroup}/system/cgroup.procs" in command
            assert f"--net=/run/netns/{node.namespace}" in command
            assert f"--mount={node.mount_namespace}" in command
    state.real_nodes = 0
    assert processes.parts(layout, state) == ()


def test_containers_outlive_the_loss_of_the_api_server(state: State):
    follows = {part.name: part.follows_api for part in processes.parts(Layout(DATA), state)}
    assert not follows["containerd-real-0"]
    assert follows["kubelet-real-0"]
    assert follows["coredns"]


def test_every_file_that_a_process_is_given_is_written_privately(state: State, tmp_path: Path):
    layout = Layout(tmp_path)
    processes.write_config(layout, state, find, "registry.example/pause:1")
    for part in processes.parts(layout, state):
        for word in part.argv(find, layout, state):
            flag, _, value = word.partition("=")
            if flag.lstrip("-") in ("config", "conf"):
                assert Path(value).is_file(), word
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_file()} == {
        "0o600"
    }


# --- configuration -------------------------------------------------------------------------------


def test_containerd_keeps_all_in_the_nodes_folder(real: tuple[plan.Node, ...]):
    text = configs.containerd(real[0], Path("/t/runc"), (Path("/t/a"), Path("/t/b")), "pause:1")
    found = tomllib.loads(text)
    assert found["root"] == "/data/nodes/real-0/containerd"
    assert found["grpc"]["address"] == "/data/nodes/real-0/containerd.sock"
    images = found["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"] == {"sandbox": "pause:1"}
    runtime = found["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"]["bin_dirs"] == ["/t/a", "/t/b"]
    runc = runtime["containerd"]["runtimes"]["runc"]
    assert runc["options"] == {"BinaryName": "/t/runc", "SystemdCgroup": False}


def test_the_kubelet_lets_in_nobody_without_a_certificate_or_token(real: tuple[plan.Node, ...]):
    found = json.loads(configs.kubelet(real[2], "/c", "/k", "/ca"))
    assert found["authentication"]["anonymous"] == {"enabled": False}
    assert found["authorization"] == {"mode": "Webhook"}
    assert found["address"] == "10.42.0.12"
    assert found["cgroupRoot"] == f"/{real[2].cgroup}"
    assert found["clusterDNS"] == ["10.42.128.10"]
    # It must not set this host's kernel to its own taste.
    assert found["protectKernelDefaults"] is True


def test_pods_get_addresses_of_their_nodes_range(real: tuple[plan.Node, ...]):
    [network_plugin, _] = json.loads(configs.cni(real[1]))["plugins"]
    assert network_plugin["type"] == "ptp"
    assert network_plugin["ipam"]["ranges"] == [[{"subnet": "10.42.65.0/24"}]]


def test_kube_proxy_leaves_the_hosts_table_of_connections_alone():
    found = json.loads(configs.kube_proxy(DATA, "real-0", "10.42.0.10", OCTET))
    assert found["conntrack"]["maxPerCore"] == found["conntrack"]["min"] == 0
    assert found["clusterCIDR"] == "10.42.64.0/18"

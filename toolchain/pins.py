"""The tools, their versions, and where each comes from. The one place that pins them.

`toolchain/go/*/go.mod` must require the same versions; a unit test compares the two.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

MODULES = Path(__file__).resolve().parent / "go"
# The last before automatic log files, which cost the engine a quarter of its time on hundreds of
# objects and can't be turned off (docs/decisions/pulumi-version.md).
_PULUMI = "3.232.0"
_KUBERNETES = "1.34.4"
_KUSTOMIZE = "5.4.3"
_ETCD = "3.6.5"
_KWOK = "0.8.0"
_CONTAINERD = "2.2.9"
_CNI = "1.9.0"
_COREDNS = "1.13.1"
# Newer versions were refused by the Go module proxy where this was built.
_KUBE_ROUTER = "2.1.0"
# Likewise: what the gateway installs is 3.5.13.
_KONG_INGRESS_CONTROLLER = "3.5.11"
# 1.37 would ask GitHub whether Kubernetes 1.34.4 exists; 1.38 knows it.
_MINIKUBE = "1.38.1"

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class UnsupportedPlatform(RuntimeError):
    """The machine is neither Linux nor macOS on amd64 or arm64; the message names it."""


@dataclass(frozen=True)
class Platform:
    """What a tool runs on, in Go's words: `linux` or `darwin`, `amd64` or `arm64`."""

    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}-{self.arch}"


@cache
def this_platform() -> Platform:
    """The platform of this machine. Raises UnsupportedPlatform."""
    machine = os.uname().machine if hasattr(os, "uname") else "unknown"
    arch = _ARCHITECTURES.get(machine.lower())
    if sys.platform not in ("linux", "darwin") or arch is None:
        raise UnsupportedPlatform(
            f"this machine is {sys.platform} on {machine}; "
            "the tools need Linux or macOS on amd64 or arm64"
        )
    return Platform(sys.platform, arch)


@dataclass(frozen=True)
class Release:
    """A publisher's download.

    All three are templates of `{version}`, `{os}`, `{arch}` and `{x64}` (`amd64` as Pulumi calls
    it). `checksums` is a file of sha256 sums, one `<sum>  <file>` a line or a lone sum. `folder`
    is the folder of an archive whose files are the tool; None where the download is the tool.
    """

    url: str
    checksums: str
    folder: str | None = None

    def of(self, version: str, platform: Platform) -> Release:
        """The release with its templates filled in."""

        def fill(template: str) -> str:
            x64 = "x64" if platform.arch == "amd64" else platform.arch
            return template.format(version=version, os=platform.os, arch=platform.arch, x64=x64)

        folder = None if self.folder is None else fill(self.folder)
        return Release(fill(self.url), fill(self.checksums), folder)


@dataclass(frozen=True)
class GoSource:
    """A tool's source: a package that the Go module in `module` requires.

    `version_variable` is what the linker sets to `v<version>`, for a tool that does not know it.
    `tags` are Go's build tags, separated by commas; tools of one module have the same. `parent` is
    the module whose version the tool has, for a package of this project's own.
    """

    module: Path
    package: str
    version_variable: str = ""
    tags: str = ""
    parent: str = ""


@dataclass(frozen=True)
class DebianSource:
    """A tool from packages of the machine's own Debian or Ubuntu, unpacked and not installed.

    `packages` are the tool's and those of its libraries that not every machine has. `programs` are
    the executables by the names they are called by: each the path in the packages, and the words
    that come before a caller's own.
    """

    packages: tuple[str, ...]
    programs: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Tool:
    """One executable. `sandbox`: needed by the embedded control plane only, which is for Linux.

    `real_nodes`: needed by real nodes of the embedded control plane only, or by tests beside them.
    `without`: what does not work without it; a tool that has it is optional.
    """

    name: str
    version: str
    release: Release | None = None
    source: GoSource | None = None
    sandbox: bool = False
    without: str = ""
    debian: DebianSource | None = None
    real_nodes: bool = False


@dataclass(frozen=True)
class Plugin:
    """A resource plugin of Pulumi's; its version is that of the Python package `distribution`.

    `without`: what serves in its place, or does not work without it.
    """

    name: str
    distribution: str
    release: Release
    without: str


def _kubernetes(name: str, *, sandbox: bool, real_nodes: bool = False) -> Tool:
    url = f"https://dl.k8s.io/release/v{{version}}/bin/{{os}}/{{arch}}/{name}"
    return Tool(
        name,
        _KUBERNETES,
        Release(url, f"{url}.sha256"),
        GoSource(
            MODULES / ("kubernetes-node" if real_nodes else "kubernetes"),
            f"k8s.io/kubernetes/cmd/{name}",
            "k8s.io/component-base/version.gitVersion",
        ),
        sandbox,
        real_nodes=real_nodes,
    )


def _of_a_node(version: str, source: GoSource) -> Tool:
    """A tool of real nodes that is built on each machine, as Go is there for kwok anyway."""
    name = PurePosixPath(source.package).name
    return Tool(name, version, source=source, real_nodes=True)


def _iptables(*names: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    # One program that goes by its first word. Its rules are nf_tables', which every kernel has.
    return tuple((name, "usr/sbin/xtables-nft-multi", (name,)) for name in names)


_GITHUB = "https://github.com"
_PULUMI_RELEASE = f"{_GITHUB}/pulumi/pulumi/releases/download/v{{version}}"
_KUSTOMIZE_RELEASE = (
    f"{_GITHUB}/kubernetes-sigs/kustomize/releases/download/kustomize%2Fv{{version}}"
)
_MINIKUBE_RELEASE = (
    f"{_GITHUB}/kubernetes/minikube/releases/download/v{{version}}/minikube-{{os}}-{{arch}}"
)
_ETCD_RELEASE = f"{_GITHUB}/etcd-io/etcd/releases/download/v{{version}}"

TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "pulumi",
            _PULUMI,
            # With the language hosts that `pulumi up` starts from the same folder.
            Release(
                f"{_PULUMI_RELEASE}/pulumi-v{{version}}-{{os}}-{{x64}}.tar.gz",
                f"{_PULUMI_RELEASE}/pulumi-{{version}}-checksums.txt",
                "pulumi",
            ),
            GoSource(
                MODULES / "pulumi",
                "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
                "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",
            ),
        ),
        _kubernetes("kubectl", sandbox=False),
        Tool(
            "kustomize",
            _KUSTOMIZE,
            Release(
                f"{_KUSTOMIZE_RELEASE}/kustomize_v{{version}}_{{os}}_{{arch}}.tar.gz",
                f"{_KUSTOMIZE_RELEASE}/checksums.txt",
                "",
            ),
            GoSource(
                MODULES / "kustomize",
                "sigs.k8s.io/kustomize/kustomize/v5",
                "sigs.k8s.io/kustomize/api/provenance.version",
            ),
        ),
        Tool(
            "minikube",
            _MINIKUBE,
            Release(_MINIKUBE_RELEASE, f"{_MINIKUBE_RELEASE}.sha256"),
            without="the stack `local` needs it",
        ),
        Tool(
            "etcd",
            _ETCD,
            Release(
                f"{_ETCD_RELEASE}/etcd-v{{version}}-{{os}}-{{arch}}.tar.gz",
                f"{_ETCD_RELEASE}/SHA256SUMS",
                "etcd-v{version}-{os}-{arch}",
            ),
            GoSource(MODULES / "etcd", "go.etcd.io/etcd/server/v3"),
            sandbox=True,
        ),
        _kubernetes("kube-apiserver", sandbox=True),
        _kubernetes("kube-controller-manager", sandbox=True),
        _kubernetes("kube-scheduler", sandbox=True),
        Tool(
            "kwok",
            _KWOK,
            # No release: the publisher gives no checksums.
            source=GoSource(MODULES / "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
            sandbox=True,
        ),
        _kubernetes("kubelet", sandbox=False, real_nodes=True),
        _kubernetes("kube-proxy", sandbox=False, real_nodes=True),
        *(
            _of_a_node(
                _CONTAINERD,
                GoSource(
                    MODULES / "containerd",
                    f"github.com/containerd/containerd/v2/cmd/{name}",
                    "github.com/containerd/containerd/v2/version.Version",
                    # Without the snapshotters that nodes don't use, one of which needs C.
                    "no_btrfs,no_devmapper,no_zfs",
                ),
            )
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        ),
        *(
            _of_a_node(
                _CNI,
                GoSource(MODULES / "cni", f"github.com/containernetworking/plugins/plugins/{name}"),
            )
            for name in ("main/ptp", "main/loopback", "ipam/host-local", "meta/portmap")
        ),
        _of_a_node(
            _COREDNS,
            GoSource(MODULES / "coredns", "toolchain/coredns", parent="github.com/coredns/coredns"),
        ),
        _of_a_node(
            _KUBE_ROUTER,
            GoSource(
                MODULES / "kube-router",
                "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
            ),
        ),
        # For a test: that it reads the objects of a gateway as they are meant.
        Tool(
            "kong-ingress-controller",
            _KONG_INGRESS_CONTROLLER,
            source=GoSource(
                MODULES / "kong-ingress-controller",
                "github.com/kong/kubernetes-ingress-controller/v3/internal/cmd",
                "github.com/kong/kubernetes-ingress-controller/v3/pkg/metadata.Release",
            ),
            real_nodes=True,
        ),
        Tool(
            "runc",
            "debian",
            # The module's own build needs libseccomp's headers; without seccomp it refuses pods
            # that ask for the default profile, as the restricted Pod Security Standard has them do.
            debian=DebianSource(("runc",), (("runc", "usr/sbin/runc", ()),)),
            real_nodes=True,
        ),
        Tool(
            "iptables",
            "debian",
            debian=DebianSource(
                (
                    "iptables",
                    "libip4tc2",
                    "libip6tc2",
                    "libmnl0",
                    "libnetfilter-conntrack3",
                    "libnfnetlink0",
                    "libnftnl11",
                    "libxtables12",
                ),
                _iptables(
                    *("iptables", "iptables-save", "iptables-restore"),
                    *("ip6tables", "ip6tables-save", "ip6tables-restore"),
                ),
            ),
            real_nodes=True,
        ),
        Tool(
            "ipset",
            "debian",
            debian=DebianSource(
                ("ipset", "libipset13", "libmnl0"), (("ipset", "usr/sbin/ipset", ()),)
            ),
            real_nodes=True,
        ),
    )
}


def _plugin(name: str, without: str) -> Plugin:
    release = f"{_GITHUB}/pulumi/pulumi-{name}/releases/download/v{{version}}"
    return Plugin(
        name,
        f"pulumi-{name}",
        Release(
            f"{release}/pulumi-resource-{name}-v{{version}}-{{os}}-{{arch}}.tar.gz",
            f"{release}/pulumi-{name}_{{version}}_checksums.txt",
        ),
        without,
    )


PLUGINS = (
    _plugin("kubernetes", "the project's stand-in serves the tests and the sandbox"),
    _plugin("command", "the stack `local` needs it"),
)

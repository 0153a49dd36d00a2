"""Settings of the AWS stack: what is refused, in one line each, and what follows from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.aws import versions
from components.aws.shape import Eks, ShapeError, architecture, parse
from components.settings import SettingsError
from components.settings import parse as parse_settings

ROOT = Path(__file__).parents[2]
VPC = "vpc-0123456789abcdef0"
TWO = ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1")


def shape(ref: str = "v1.10.2", **settings: Any) -> tuple[Any, Eks]:
    values = {"awsRegion": "eu-central-1", **settings}
    aws = {name: value for name, value in values.items() if name.startswith("aws")}
    eks = {name: value for name, value in values.items() if name.startswith("eks")}
    return parse(aws, eks, ref)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"awsRegion": ""}, "awsRegion is '': name a region"),
        ({"awsRegion": "Frankfurt"}, "awsRegion is 'Frankfurt': .* pattern"),
        ({"awsRegion": "cn-north-1"}, "awsRegion is 'cn-north-1': regions in China"),
        ({"awsAccount": "12"}, "awsAccount is '12': .* pattern"),
        ({"awsZones": 4}, "awsZones is 4: .* less than or equal to 3"),
        ({"awsVpcCidr": "10.0.0.0/24"}, "awsVpcCidr is '10.0.0.0/24': .* between /16 and /20"),
        ({"awsVpcCidr": "8.0.0.0/16"}, "awsVpcCidr is '8.0.0.0/16': .* private range"),
        ({"awsVpcCidr": "10.0.0.1/16"}, "awsVpcCidr is '10.0.0.1/16': .* not a range of IPv4"),
        ({"awsTags": ("team",)}, "awsTags is .*: 'team' is not of the form key=value"),
        ({"awsTags": ("aws:x=1",)}, "awsTags is .*: 'aws:x=1' is not"),
        ({"awsPrivateSubnets": TWO}, "awsPrivateSubnets is set, but awsVpc names no existing VPC"),
        ({"awsVpc": VPC}, f"awsPrivateSubnets has 0 of the VPC {VPC}; name 2"),
        ({"awsVpc": VPC, "awsPrivateSubnets": TWO, "awsZones": 2}, "awsZones is set, but the VPC"),
        (
            {
                "awsVpc": VPC,
                "awsPrivateSubnets": TWO,
                "awsEntry": "internet",
                "awsEntryCidrs": ("203.0.113.0/24",),
            },
            "awsPublicSubnets is empty, but awsEntry is 'internet'",
        ),
        ({"awsEntry": "internet"}, "awsEntryCidrs is empty: name who may reach"),
        ({"awsDomain": "ml.example.com"}, "awsHostedZone '': set both"),
        (
            {"awsDomain": "example.com", "awsHostedZone": "example.com"},
            "awsDomain is 'example.com', which is not below awsHostedZone",
        ),
        ({"eksName": "-"}, "eksName is '-'"),
        ({"eksVersion": "1.20"}, r"eksVersion is '1\.20': add-ons are pinned for 1\.33, 1\.34"),
        ({"eksPublicCidrs": ("0.0.0.0/0",)}, "eksPublicCidrs is .* opens the API server"),
        ({"eksPublicCidrs": ("0.0.0.0/1", "128.0.0.0/1")}, "opens the API server"),
        ({"eksAdmins": ("root",)}, "eksAdmins is .*: 'root' is not the ARN"),
        ({"eksLogDays": 7}, "eksLogDays is 7"),
        ({"eksNodesMax": 2}, "eksNodesMax is 2, less than eksNodesMin 3"),
        ({"eksNodeTypes": ()}, "eksNodeTypes is empty"),
        ({"eksNodeTypes": ("big",)}, "eksNodeTypes is .*: 'big' is not a type of instance"),
        ({"eksSpotTypes": ("m7g.large",)}, r"mix architectures: .*m7g\.large \(arm64\)"),
        ({"eksGpuTypes": ("m6i.large",)}, r"eksGpuTypes has 'm6i\.large', which has no NVIDIA"),
        ({"eksNodeTypes": ("g5.xlarge",)}, r"eksNodeTypes has 'g5\.xlarge'; GPUs belong"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message) as error:
        shape(**settings)
    assert len(str(error.value).splitlines()) == 1, error.value


def test_every_bad_setting_has_its_line() -> None:
    with pytest.raises(ShapeError) as error:
        shape(awsZones=9, awsRegion="x", eksVersion="1.1", eksNodesMin=1)
    assert [line.split()[0] for line in str(error.value).splitlines()] == [
        "awsRegion",
        "awsZones",
        "eksVersion",
        "eksNodesMin",
    ]


def test_kubernetes_must_be_one_that_kubeflow_supports() -> None:
    with pytest.raises(ShapeError, match=r"Kubeflow v1\.9\.1 supports Kubernetes 1\.29 to 1\.31"):
        shape("v1.9.1")
    shape("v1.10.0")
    shape("my-branch")


def test_each_version_of_kubernetes_has_all_add_ons_and_its_own_proxy() -> None:
    wanted = {
        versions.CNI,
        versions.PROXY,
        versions.DNS,
        versions.POD_IDENTITY,
        versions.EBS,
        versions.EFS,
    }
    assert versions.DEFAULT in versions.ADDONS
    for kubernetes, addons in versions.ADDONS.items():
        assert set(addons) == wanted
        assert addons[versions.PROXY].startswith(f"v{kubernetes}.")


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "172.16.0.0/20"])
@pytest.mark.parametrize("zones", [2, 3])
def test_subnets_are_in_the_network_and_apart(cidr: str, zones: int) -> None:
    import ipaddress

    aws, _ = shape(awsVpcCidr=cidr, awsZones=zones)
    found = [ipaddress.ip_network(c) for c in (*aws.private_cidrs, *aws.public_cidrs)]
    assert len(found) == 2 * zones
    for index, one in enumerate(found):
        assert one.subnet_of(ipaddress.ip_network(cidr))
        # EC2 takes no subnet smaller than /28, and keeps five addresses of each.
        assert one.prefixlen <= 28
        assert not any(one.overlaps(other) for other in found[index + 1 :])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m6i.2xlarge", "amd64"),
        ("m7g.large", "arm64"),
        ("g4dn.xlarge", "amd64"),
        ("g5g.xlarge", "arm64"),
        ("c6gn.large", "arm64"),
        ("p5en.48xlarge", "amd64"),
        ("a1.large", "arm64"),
    ],
)
def test_the_architecture_is_in_the_name(name: str, expected: str) -> None:
    assert architecture(name) == expected


def test_nodes_of_arm_have_images_of_arm() -> None:
    _, eks = shape(eksNodeTypes=("m7g.large",), eksGpuTypes=("g5g.xlarge",))
    assert eks.architecture == "arm64"
    assert {g.name: g.ami_type for g in eks.groups} == {
        "cpu": "AL2023_ARM_64_STANDARD",
        "gpu": "AL2023_ARM_64_NVIDIA",
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cluster": "eks"}, "awsRegion is '': name a region"),
        ({"cluster": "minikube", "eksNodesMin": 4}, "eksNodesMin is set, but the cluster is"),
        (
            {
                "cluster": "eks",
                "awsRegion": "eu-central-1",
                "awsDomain": "ml.example.com",
                "awsHostedZone": "example.com",
            },
            r"awsDomain is 'ml\.example\.com', but gateway is 'none'",
        ),
        (
            {
                "cluster": "eks",
                "awsRegion": "eu-central-1",
                "awsDomain": "ml.example.com",
                "awsHostedZone": "example.com",
                "gateway": "nginx",
            },
            r"gatewayHost is 'kubeflow\.localhost', but awsDomain is",
        ),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(values)


def test_other_stacks_do_not_pay_for_the_sdk_of_aws() -> None:
    program = (
        "import sys, components.choose, components.settings as s; s.parse({}); "
        "print([m for m in sys.modules if m.startswith(('pulumi_aws', 'boto', 'components.aws'))])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "[]"

"""Every name that manifests ask for is found by the container runtime, so nothing is pulled."""

import grpc
import pytest

from sandbox.controlplane import RunningSandbox
from sandbox.images.recipes import RECIPES
from sandbox.node.plan import Node
from tests.support.faults import nodes_of

UNKNOWN = f"docker.io/library/redis:7.2.16@sha256:{'0' * 64}"


def found(node: Node, reference: str) -> bool:
    """Whether the runtime says that it has an image, as the kubelet asks it.

    ImageStatus of the Container Runtime Interface, runtime.v1: the request's image is field 1, and
    its name field 1 of that; the reply without an image is empty.
    """
    name = _field(reference.encode())
    with grpc.insecure_channel(f"unix://{node.socket}") as channel:
        ask = channel.unary_unary("/runtime.v1.ImageService/ImageStatus")
        return bool(ask(_field(name), timeout=10))


def _field(content: bytes) -> bytes:
    """A length-delimited field 1 of protobuf."""
    length, number = b"", len(content)
    while number > 0x7F:
        length += bytes([number & 0x7F | 0x80])
        number >>= 7
    return b"\x0a" + length + bytes([number]) + content


@pytest.mark.parametrize("reference", [r for recipe in RECIPES for r in recipe.references])
def test_each_node_has_the_image(real_sandbox: RunningSandbox, reference: str):
    for node in nodes_of(real_sandbox.data_dir):
        assert found(node, reference)


def test_another_digest_is_not_taken_for_it(real_sandbox: RunningSandbox):
    for node in nodes_of(real_sandbox.data_dir):
        assert not found(node, UNKNOWN)

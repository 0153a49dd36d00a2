"""Loopback addresses and ports of a sandbox.

A sandbox owns one /16 inside 127.0.0.0/8. Linux answers on every address in there without any
configuration, so a ClusterIP of the sandbox is an address that a local process can listen on.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import random
import socket
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

FIRST_OCTET, LAST_OCTET = 16, 250
# Below the kernel's default ephemeral ports (32768-60999), so that an outgoing connection of some
# other program can't take the port between our choice and the daemon's bind.
_PORTS = range(20000, 32000)
_LISTEN = "0A"


class NetworkError(RuntimeError):
    """No address range or port of the kind that the sandbox needs is free."""


@contextlib.contextmanager
def lock(name: str, timeout: float = 60.0) -> Iterator[None]:
    """Hold a machine-wide lock while the block runs.

    An abstract Unix socket: the kernel frees it when its holder dies, it leaves no file behind, and
    it reaches exactly as far as the loopback addresses it protects (one network namespace).
    Raises NetworkError when somebody else holds it for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        while True:
            try:
                holder.bind("\0ml-platform-sandbox:" + hashlib.sha256(name.encode()).hexdigest())
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise NetworkError(
                        f"another `sandbox` command has held the lock '{name}' for {timeout:.0f} s;"
                        " wait for it or end it, then try again"
                    ) from error
                time.sleep(0.05)
        yield


def listening() -> set[ipaddress.IPv4Address]:
    """IPv4 addresses that some process on this machine listens on (TCP)."""
    addresses = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            packed = bytes.fromhex(fields[1].split(":")[0])[::-1]
            addresses.add(ipaddress.IPv4Address(packed))
    return addresses


def service_range(octet: int) -> ipaddress.IPv4Network:
    """Range of the sandbox with this second octet: 127.<octet>.0.0/16."""
    return ipaddress.IPv4Network(f"127.{octet}.0.0/16")


def own_address(octet: int) -> str:
    """Address on which the sandbox's etcd listens, and so claims the range.

    It lies in the 256 lowest addresses, which Kubernetes gives to no Service by itself.
    """
    return f"127.{octet}.0.2"


def is_claimed(octet: int) -> bool:
    """Whether a running sandbox has the range of `octet`."""
    return ipaddress.IPv4Address(own_address(octet)) in listening()


def routed() -> list[ipaddress.IPv4Network]:
    """Ranges that this machine has IPv4 routes to, but for the default one."""
    ranges = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (
            ipaddress.IPv4Address(bytes.fromhex(field)[::-1]) for field in (fields[1], fields[7])
        )
        if int(mask):
            ranges.append(ipaddress.IPv4Network(f"{destination}/{mask}"))
    return ranges


def choose_range(seed: str, also: Callable[[int], ipaddress.IPv4Network] | None = None) -> int:
    """Second octet of a free range; `seed` spreads sandboxes that are not running over the space.

    `also` gives a range that goes with an octet and that this machine may have no route to. Call
    it under `lock`, and have something listen in the range before the lock goes.
    """
    taken = routed() if also else []
    octets = list(range(FIRST_OCTET, LAST_OCTET + 1))
    random.Random(seed).shuffle(octets)  # noqa: S311 - no secret
    busy = listening()
    for octet in octets:
        if any(address in service_range(octet) for address in busy):
            continue
        if not also or not any(also(octet).overlaps(other) for other in taken):
            return octet
    raise NetworkError(
        f"all ranges from 127.{FIRST_OCTET}.0.0/16 to 127.{LAST_OCTET}.0.0/16 are in use; "
        "stop a sandbox: python -m sandbox stop --name <name>"
    )


def port_is_free(address: str, port: int) -> bool:
    """Whether `address:port` can be bound now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def answers(address: str, port: int) -> bool:
    """Whether something accepts connections on `address:port`."""
    try:
        socket.create_connection((address, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def choose_port(address: str, taken: Collection[int] = ()) -> int:
    """A port of `address` that is free now and not in `taken`."""
    for port in random.sample(_PORTS, 200):
        if port not in taken and port_is_free(address, port):
            return port
    raise NetworkError(f"found no free port on {address} between {_PORTS.start} and {_PORTS.stop}")


def can_listen_below_1024() -> bool:
    """Whether this user may listen on port 443 of a loopback address, as webhooks do."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.255.255.1", 443))
        except PermissionError:
            return False
        except OSError:
            return True
    return True

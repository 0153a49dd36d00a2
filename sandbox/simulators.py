"""Process that stands for what runs in a cluster's containers: `python -m sandbox.simulators`.

Webhook servers, cert-manager and a storage provisioner, in one process to keep memory small.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import threading
import time
from pathlib import Path

from sandbox import parts
from sandbox.admission import AdmissionSimulator, Loopback, RequestLog
from sandbox.api import ApiError, Client
from sandbox.certmanager import CertManagerSimulator
from sandbox.node.addresses import HostAddresses
from sandbox.node.volumes import LocalVolumes
from sandbox.state import State
from sandbox.storage import StorageSimulator

_log = logging.getLogger(__name__)
# Events come in bursts; one look at the end of a burst costs as much as one at its start.
_SETTLE = 0.02
_RETRY = 1.0


def run(data_dir: Path, admission_delay: float) -> None:
    """Simulate until the process ends. Pods of real nodes are left to what runs them."""
    layout = parts.Layout(data_dir)
    state = State.load(data_dir)
    nodes = parts.real_nodes(layout, state) if state else ()
    names = frozenset(node.name for node in nodes)
    changed = threading.Event()

    def client(user: str) -> Client:
        return Client(layout.kubeconfig(user), user_agent=user)

    cert_manager = CertManagerSimulator(client(parts.CERT_MANAGER_USER), changed.set, layout.pki)
    admission = AdmissionSimulator(
        client(parts.ADMISSION_USER),
        changed.set,
        pki_folder=layout.pki,
        log=RequestLog(layout.admission_log),
        delay=admission_delay,
        secrets=cert_manager.secrets,
        certificates=cert_manager.certificates,
        injector_available=cert_manager.injector_available,
        addresses=HostAddresses(nodes[0].octet) if nodes else Loopback(),
        real_nodes=names,
    )
    storage = StorageSimulator(
        client(parts.STORAGE_USER), changed.set, LocalVolumes(data_dir, names)
    )
    for simulator in (cert_manager, admission, storage):
        simulator.start()
    due: float | None = None
    while True:
        changed.wait(None if due is None else max(0.0, due - time.monotonic()))
        time.sleep(_SETTLE)
        changed.clear()
        try:
            storage.reconcile()
            cert_manager.reconcile(datetime.datetime.now(datetime.UTC))
            due = admission.reconcile(time.monotonic())
        except (ApiError, OSError) as error:
            _log.warning("%s; again in %.0f s", error, _RETRY)
            due = time.monotonic() + _RETRY


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.simulators", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="the sandbox's data folder")
    parser.add_argument("--admission-delay", type=float, default=0.0, metavar="SECONDS")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run(arguments.data_dir, arguments.admission_delay)


if __name__ == "__main__":
    main()

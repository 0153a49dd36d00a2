"""A cluster that is there already: made by somebody else, and not deleted with the stack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.cluster.base import AMD64, Capabilities, Cluster
from components.cluster.kubeconfig import select

DEFAULT_KUBECONFIG = Path("~/.kube/config")
"""Where kubectl looks when nothing else is said."""


@dataclass(frozen=True)
class ExistingArgs:
    """Which cluster, and what it can do.

    Args:
        kubeconfig_path: None for `DEFAULT_KUBECONFIG`.
        context: context of the kubeconfig; "" for its current one.
        load_balancer, storage_class, architecture: see `Capabilities`. The cluster isn't asked, so
            that a preview needs no connection.
    """

    kubeconfig_path: Path | None = None
    context: str = ""
    load_balancer: bool = False
    storage_class: str = ""
    architecture: str = AMD64


class Existing(Cluster):
    """A cluster from a kubeconfig, which is read and never written.

    Raises:
        ClusterError: the kubeconfig or its context isn't there or isn't valid.
    """

    def __init__(
        self, name: str, args: ExistingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        path = (args.kubeconfig_path or DEFAULT_KUBECONFIG).expanduser()
        selected = select(path, args.context)
        super().__init__("Existing", name, opts)
        self._offer(
            name,
            json.dumps(selected.content),
            # Credentials and certificates are renewed; the address stays.
            f"existing/{selected.server}",
            Capabilities(args.load_balancer, args.storage_class, args.architecture),
        )

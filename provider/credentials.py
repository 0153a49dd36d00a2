"""Generated credentials, kept in a Secret of the cluster they are for.

The state alone would not do: a run that is killed before its state is written would generate
others, and a database that was started meanwhile would refuse them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from components.kubeflow import access
from provider.client import ApiError, Client, Object

NAMESPACE: Final = "kube-system"
NAME: Final = "ml-platform-credentials"
FIELD_MANAGER: Final = "ml-platform"
HASH: Final = "password_hash"
FIELDS: Final = (*access.GENERATED, HASH)


def stored(client: Client, name: str = NAME) -> dict[str, str]:
    """What the cluster keeps; empty if it keeps nothing."""
    try:
        secret = client.get(client.resource("v1", "Secret"), NAMESPACE, name)
    except ApiError as error:
        if error.code == 404:
            return {}
        raise
    return {
        key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()
    }


def complete(kept: Mapping[str, str], password: str | None) -> dict[str, str]:
    """All credentials: those in `kept`, the missing ones new, the user's password as given.

    Raises:
        components.kubeflow.access.AccessError: the password can't be hashed.
    """
    given = {**kept, **({"password": password} if password else {})}
    values = access.generate(given)
    return {**values, HASH: access.hash_password(values["password"], kept.get(HASH))}


def store(client: Client, values: Mapping[str, str], name: str = NAME) -> None:
    """Write them to the cluster by server-side apply."""
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
    client.apply(
        client.resource("v1", "Secret"),
        body,
        NAMESPACE,
        name,
        field_manager=FIELD_MANAGER,
        force=True,
        dry_run=False,
    )


def remove(client: Client, name: str = NAME) -> None:
    """Take them from the cluster; no-op when they are gone."""
    try:
        client.delete(client.resource("v1", "Secret"), NAMESPACE, name, propagation="Background")
    except ApiError as error:
        if error.code != 404:
            raise

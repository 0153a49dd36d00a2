"""A folder of object bodies, each under its own digest.

The schemas of Kubeflow's 71 CustomResourceDefinitions are seven eighths of its bytes. The state
holds their digests; the plugin reads the bodies from here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import orjson

from components.kubeflow.objects import Object


def put(store: Path, body: Object) -> str:
    """Keep a body and return its digest, "sha256:<hex>", over its JSON with sorted keys."""
    content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()
    path = store / f"{digest}.json"
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=store)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # A reader sees the whole body or none, whenever this is interrupted.
        Path(name).replace(path)
    return f"sha256:{digest}"

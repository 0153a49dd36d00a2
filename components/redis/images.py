"""Official images, by tag and by the digest of their multi-architecture index.

The digests of redis and haproxy are those that docker-library/repo-info (the log of Docker
Official Images) lists for the tag. Those of redis_exporter and rclone are not in such a log; each
was found the same in several public repositories, named beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# docker-library/repo-info: repos/redis/remote/<tag>.md
REDIS: Final[Mapping[str, str]] = {
    "7.2.16": "docker.io/library/redis:7.2.16@sha256:"
    "0637954999d01b7c9ce9167db2da50656e2590d3b884f1c600c5f63bb6e6773c",
    "7.4.11": "docker.io/library/redis:7.4.11@sha256:"
    "c6eabf748fc7a61dbb5a705c78bcf3d6377b1127a97d0ce965c11c44ba46896f",
}
"""Redis by version, oldest first. 7.2 is the last branch under the BSD licence."""
DEFAULT_REDIS: Final = "7.2.16"
REDIS_UID: Final = 999
"""User and group `redis` of the image."""

# docker-library/repo-info: repos/haproxy/remote/2.6.34.md
HAPROXY: Final = (
    "docker.io/library/haproxy:2.6.34@sha256:"
    "82c023b4f99e2090b14dbe7f04b0590b4e0af608f7c29cedcabf25c34fb066cd"
)
HAPROXY_UID: Final = 99
"""User and group `haproxy` of the image."""

# n8n-io/terraform-aws-n8n, appolon1908-hue/Codestra-Redis-Exporter
REDIS_EXPORTER: Final = (
    "docker.io/oliver006/redis_exporter:v1.90.0@sha256:"
    "a129504e65b87c54f79bc92f1afc403475e8ff646a3d7512de469904ceddf986"
)
EXPORTER_UID: Final = 59000
"""User of the image, which has no group of its own."""

# Pinned so in several public repositories that are kept by Renovate.
RCLONE: Final = (
    "docker.io/rclone/rclone:1.68.2@sha256:"
    "74c51b8817e5431bd6d7ed27cb2a50d8ee78d77f6807b72a41ef6f898845942b"
)

# Pinned so in several public repositories, among them those of Envoy Gateway's users.
ENVOY: Final = (
    "docker.io/envoyproxy/envoy:distroless-v1.39.1@sha256:"
    "eb2c01c13125d1629637cb4e4cce7207009fb7cc2c8027f9742758549d15b6f4"
)
ENVOY_UID: Final = 101
"""User `envoy` of the image with a shell; the other one takes any."""

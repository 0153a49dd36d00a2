"""Images of the gateways: by tag, and by the digest of their multi-architecture index where known.

The digest of kong is the one that docker-library/repo-info (the log of Docker Official Images)
lists for the tag. The images of the two controllers are in no such log, and no public record of
these releases with a digest was found; they are named by the release's full tag, which their
publishers may push again.
"""

from __future__ import annotations

from typing import Final

# deployments/deployment/nginx-ingress.yaml of the release.
NGINX: Final = "docker.io/nginx/nginx-ingress:5.5.4"
NGINX_UID: Final = 101
"""User `nginx` of the image."""

# docker-library/repo-info: repos/kong/remote/3.9.3.md
KONG: Final = (
    "docker.io/library/kong:3.9.3@sha256:"
    "62721edc9669e2a96fe9d188ab8950b9105e69abb033129624a72d3e10da6777"
)
# config/image/oss of the release has the moving tag 3.5.
KONG_CONTROLLER: Final = "docker.io/kong/kubernetes-ingress-controller:3.5.13"
KONG_UID: Final = 1000
"""User of both images."""

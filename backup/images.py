"""The official image of the pods that read and fill volumes, by the digest of its index."""

from typing import Final

# docker-library/repo-info: repos/debian/remote/trixie-slim.md, which is the same image.
DEBIAN: Final = (
    "docker.io/library/debian:13.6-slim@sha256:"
    "3a39a0592364683e6bab97937b72cad5a8fa6dcbbee90edb3bb48c7f8e94f258"
)

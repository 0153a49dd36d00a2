"""The one place that turns settings into the AWS stack."""

from __future__ import annotations

from components.aws import policies
from components.aws.entry import Name
from components.aws.keys import Key, key
from components.aws.network import Network, existing
from components.aws.shape import Aws
from components.aws.shape import Eks as EksShape
from components.aws.site import Site, site
from components.cluster.eks import Eks, EksArgs


def eks(name: str, aws: Aws, shape: EksShape) -> Eks:
    """The cluster as settings ask, in a network of its own or an existing one.

    The program ends with an error once AWS has told that subnets or zones are not as the settings
    say.
    """
    place = site(shape.name, aws)
    data = data_key(place)
    subnets = (
        existing(place) if aws.vpc else Network("network", place, data, place.options()).subnets
    )
    named = Name("name", place, place.options()) if aws.domain else None
    kept = None
    if aws.artifact_profiles:
        # The SDK of S3 is large, and other stacks have no bucket.
        from components.aws.artifacts import Artifacts

        kept = Artifacts("artifacts", place, data, place.options())
    return Eks(name, EksArgs(place, shape, subnets, data, named, kept))


def data_key(place: Site) -> Key:
    """The key of all that holds data outside of Kubernetes' own store."""
    text = place.scope.apply(policies.data_key)
    return key(place, "data", text, "Volumes, files, logs and databases", place.options())

"""Programs of AWS, run against moto."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto import mock_aws

from tests.aws import backends  # noqa: F401 (registers all)
from tests.aws.moto_mocks import REGION, Aws, MotoMocks
from tests.support.programs import Ran, run


@dataclasses.dataclass
class RanOnAws(Ran):
    """What a program registered, and the AWS that it made: `aws.ec2.describe_vpcs()`."""

    aws: Aws
    mocks: MotoMocks

    def id_of(self, type_: str, name: str) -> str:
        """The id that a resource was given."""
        [found] = [id_ for t, n, id_ in self.mocks.created if (t, n) == (type_, name)]
        return found


def run_on_aws(program: Callable[[], Any], region: str = REGION) -> RanOnAws:
    """Run a program within `in_moto`; its first error is raised."""
    mocks = MotoMocks(region)
    try:
        ran = run(program, mocks)
    except Exception:
        mocks.over = True
        if mocks.errors:
            # Its traceback is of a thread of the SDK, and tells nothing.
            raise mocks.errors[0].with_traceback(None) from None
        raise
    if mocks.errors:
        raise mocks.errors[0].with_traceback(None)
    return RanOnAws(ran.registered, ran.returned, Aws(region), mocks)


def in_moto() -> mock_aws:
    """An empty AWS, with AWS's own managed policies."""
    return mock_aws(config={"iam": {"load_aws_managed_policies": True}})


@pytest.fixture
def aws() -> Iterator[Aws]:
    """An empty AWS, with AWS's own managed policies."""
    with in_moto():
        yield Aws()


@pytest.fixture
def run_aws(aws: Aws) -> Callable[..., RanOnAws]:
    """Run a program whose `aws:*` resources are created in moto; its first error is raised."""
    return run_on_aws

"""Writes docs/aws-tested.md: which types of AWS the tests create in moto, and which not.

python -m tests.aws.tested
"""

from __future__ import annotations

from pathlib import Path

from tests.aws.backends import ALL
from tests.aws.moto_mocks import BACKED, INVOKES, NOT_BACKED

FILE = Path(__file__).parents[2] / "docs" / "aws-tested.md"

_TEXT = """# What of AWS the tests create, and where

Written by `python -m tests.aws.tested`; a test holds it to the code.

Nothing here has run on an AWS account. The tests run the program against Pulumi's mocks, and create
each resource in [moto](https://github.com/getmoto/moto), a second implementation of AWS's APIs, by
boto3. Whatever looks like an id or ARN in the inputs of a resource must exist there by then. That
holds for types that are not backed, too, policies included.

## Created in moto

{backed}

## Not backed

Inputs and references are checked, nothing is created.

| type | why |
| --- | --- |
{not_backed}

## Functions answered by moto

{invokes}
"""


def text() -> str:
    """The page."""
    assert ALL
    return _TEXT.format(
        backed="\n".join(f"- `{type_}`" for type_ in sorted(BACKED)),
        not_backed="\n".join(f"| `{type_}` | {why} |" for type_, why in sorted(NOT_BACKED.items())),
        invokes="\n".join(f"- `{token}`" for token in sorted(INVOKES)),
    )


if __name__ == "__main__":
    FILE.write_text(text())

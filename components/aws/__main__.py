"""Print what an AWS stack needs and costs, without AWS: python -m components.aws policy -s aws."""

from __future__ import annotations

import argparse
import sys

from components import settings as configuration
from components.aws import checks, cost, permissions
from components.cluster.base import ClusterError
from components.redis.managed import Managed


def main() -> int:
    """Run a command; 1 for settings that can't be used."""
    parser = argparse.ArgumentParser(prog="python -m components.aws", description=__doc__)
    parser.add_argument("command", choices=("cost", "policy"))
    parser.add_argument("-s", "--stack", required=True, help="whose file, Pulumi.<stack>.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    arguments = parser.parse_args()
    try:
        values = configuration.of_stack(arguments.stack)
        settings = configuration.parse(configuration.with_overrides(values, arguments.set))
        stack = settings.aws()
        if stack is None:
            raise configuration.SettingsError(
                f"the cluster of {arguments.stack} is {settings.cluster!r}, not 'eks'"
            )
    except (configuration.SettingsError, ClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    found = settings.redis()
    redis = found if isinstance(found, Managed) else None
    if arguments.command == "cost":
        print(cost.as_table(cost.estimate(checks.stack(*stack, redis))))
    else:
        aws, eks = stack
        # An ARN takes any account where none is named.
        print(permissions.policy(checks.place(aws, eks, aws.account or "*", redis)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

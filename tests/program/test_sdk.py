import asyncio

import pulumi
import pytest

from components import sdk

COUNT = 400


def resources(count: int) -> list[pulumi.Resource]:
    """Each needs the one before, as the objects of a platform do."""
    made: list[pulumi.Resource] = []
    for number in range(count):
        options = pulumi.ResourceOptions(depends_on=made[-1:])
        made.append(pulumi.CustomResource("test:index:Thing", f"r{number}", {"n": 1}, options))
    return made


def test_pending_resources_are_waited_for_together(run_program, monkeypatch):
    watched: list[int] = []
    wait = asyncio.wait

    async def counted(futures, **options):
        futures = list(futures)
        watched.append(len(futures))
        return await wait(futures, **options)

    monkeypatch.setattr("asyncio.wait", counted)
    ran = run_program(lambda: sdk.wait_for_all(resources(COUNT)))
    assert len(ran.registered) == COUNT
    assert sum(watched) < 3 * COUNT


def test_an_output_that_fails_is_reported_with_other_resources_still_pending(run_program):
    class Broken(Exception):
        pass

    def fail(_: object) -> None:
        raise Broken

    def program() -> None:
        made = resources(COUNT)
        made[0].urn.apply(fail)
        sdk.wait_for_all(made)

    with pytest.raises(Broken):
        run_program(program)


def test_a_program_without_resources_ends(run_program):
    assert run_program(lambda: sdk.wait_for_all([])).registered == []

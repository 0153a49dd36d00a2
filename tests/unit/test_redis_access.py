"""Redis's users and certificates, how they are kept, and the guard of its data."""

import datetime
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from components.platform_provider import RedisAccess as Resource
from components.redis import access, names
from components.redis.topology import Replicated, Sharded, Standalone
from provider import credentials
from provider.redis import RedisAccess, RedisTopology, secret_name
from provider.rpc import Call
from provider.values import UNKNOWN, Secret

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NAMES = ["localhost", "*.redis-nodes.redis.svc"]


def complete(kept: dict[str, str] | None = None, wanted: list[str] = NAMES, days: int = 0):
    return access.complete(kept or {}, wanted, NOW + datetime.timedelta(days=days))


def passwords(values: dict[str, str]) -> dict[str, str]:
    return {user: values[access.password_field(user)] for user in access.USERS}


def test_everything_is_made_once_and_then_kept():
    first = complete()
    assert set(first) == set(access.FIELDS) == set(Resource.__annotations__)
    assert complete(first) == first == complete(first, days=700)
    assert len(set(passwords(first).values())) == len(access.USERS)
    assert all(len(password) >= 32 for password in passwords(first).values())


def test_what_a_killed_run_did_not_keep_is_made_anew_alone():
    first = complete()
    partly = {key: value for key, value in first.items() if key != "reader_password"}
    again = complete(partly)
    assert {key for key in first if again[key] != first[key]} == {"reader_password"}


@pytest.mark.parametrize(("wanted", "days"), [(["other"], 0), (NAMES, 740), (NAMES, 900)])
def test_a_certificate_for_other_names_or_that_ends_is_made_anew_by_the_same_authority(
    wanted, days
):
    first = complete()
    again = complete(first, wanted, days)
    assert {key for key in first if again[key] != first[key]} == {"certificate", "key"}


def test_clients_trust_the_certificate_by_its_authority():
    values = complete()
    authority = x509.load_pem_x509_certificate(values["ca_certificate"].encode())
    leaf = x509.load_pem_x509_certificate(values["certificate"].encode())
    verifier = (
        PolicyBuilder()
        .store(Store([authority]))
        .time(NOW)
        .build_server_verifier(x509.DNSName("redis-2.redis-nodes.redis.svc"))
    )
    assert verifier.verify(leaf, [])
    assert len(names.certificate_names("redis")) == len(set(names.certificate_names("redis")))


def test_acl_files_hold_digests_and_nobody_is_let_in_without_a_name():
    values = complete()
    for text in (access.acl(passwords(values)), access.sentinel_acl(passwords(values))):
        assert text.splitlines()[0] == "user default reset off"
        assert not any(password in text for password in passwords(values).values())
        assert all(" on #" in line for line in text.splitlines()[1:])
        assert "nopass" not in text
    app = next(line for line in access.acl(passwords(values)).splitlines() if " app " in line)
    assert app.index("-@admin -@dangerous") > app.index("+@all")


# --- the resource that keeps them ----------------------------------------------------------------


class Plugin:
    """As much of the plugin as the kinds use; the cluster's Secret is a dictionary."""

    def __init__(self, monkeypatch) -> None:
        self.kept: dict[str, dict[str, str]] = {}
        self.cluster = self
        self.client = self
        monkeypatch.setattr(credentials, "stored", lambda _, name: self.kept.get(name, {}))
        monkeypatch.setattr(credentials, "store", lambda _, v, name: self.kept.update({name: v}))
        monkeypatch.setattr(credentials, "remove", lambda _, name: self.kept.pop(name, None))


@pytest.fixture
def plugin(monkeypatch) -> Plugin:
    return Plugin(monkeypatch)


INPUTS = {"installation": "redis", "names": NAMES}
CALL = Call("urn", "mlplatform:redis:Access", "redis-access")
PREVIEW = Call("urn", "mlplatform:redis:Access", "redis-access", preview=True)


def opened(outputs: dict[str, Any]) -> dict[str, Any]:
    return {k: v.value if isinstance(v, Secret) else v for k, v in outputs.items()}


def test_a_run_whose_state_was_lost_finds_what_it_made(plugin):
    identifier, first = RedisAccess().write(plugin, CALL, INPUTS)
    assert identifier == secret_name("redis") == "ml-platform-redis-redis"
    assert all(isinstance(first[name], Secret) for name in access.FIELDS)
    assert opened(RedisAccess().write(plugin, CALL, INPUTS)[1]) == opened(first)


def test_what_the_state_knows_stands_and_a_cluster_that_lost_it_gets_it_back(plugin):
    _, first = RedisAccess().write(plugin, CALL, INPUTS)
    state = {**INPUTS, **opened(first)}
    plugin.kept.clear()
    _, read, _ = RedisAccess().read(
        plugin, Call("u", "t", "n", id="ml-platform-redis-redis"), state, INPUTS
    )
    assert read["stored"] is False
    assert [change.path for change in RedisAccess().diff(read, INPUTS)] == ["stored"]
    assert opened(RedisAccess().change(plugin, CALL, state, INPUTS)) == opened(first)
    assert plugin.kept


def test_a_preview_makes_nothing_and_knows_what_will_change(plugin):
    _, shown = RedisAccess().write(plugin, PREVIEW, INPUTS)
    assert opened(shown)["app_password"] is UNKNOWN and not plugin.kept
    state = {**INPUTS, **opened(RedisAccess().write(plugin, CALL, INPUTS)[1])}
    assert RedisAccess().diff(state, INPUTS) == []
    other = {**INPUTS, "names": ["other"]}
    assert [change.path for change in RedisAccess().diff(state, other)] == ["names"]
    shown = opened(RedisAccess().change(plugin, PREVIEW, state, other))
    assert shown["certificate"] is UNKNOWN and shown["app_password"] == state["app_password"]


def test_bad_inputs_are_named():
    failures = RedisAccess().check({"installation": "", "names": "localhost"})
    assert [failure.property for failure in failures] == ["installation", "names"]


# --- the guard -----------------------------------------------------------------------------------


def refused(old: dict[str, Any], new: dict[str, Any], consent: bool = False) -> list[str]:
    inputs = {"shape": new, "allowDataLoss": consent}
    failures = RedisTopology().check_change(mock.Mock(), {"shape": old} if old else {}, inputs)
    return [failure.reason for failure in failures]


def test_a_change_that_loses_data_needs_consent():
    old, new = Replicated().shape(), Sharded().shape()
    [reason] = refused(old, new)
    assert reason.startswith("redisTopology was 'replicated' and is 'sharded'")
    assert reason.endswith("set redisAllowDataLoss to true for this one update")
    assert refused(old, new, consent=True) == []
    assert refused({}, new) == [] and refused(new, new) == []


def test_what_can_not_be_done_is_refused_with_consent_too():
    old, new = Standalone(storage=9).shape(), Standalone().shape()
    assert len(refused(old, new, consent=True)) == 1


def test_the_guard_notes_another_shape_and_no_consent():
    old, new = Standalone().shape(), Replicated().shape()
    changes = RedisTopology().diff({"shape": old}, {"shape": new, "allowDataLoss": True})
    assert [change.path for change in changes] == ["shape.topology"]
    assert RedisTopology().diff({"shape": new}, {"shape": new, "allowDataLoss": True}) == []
    assert RedisTopology().check({"shape": "x"})[0].property == "shape"

"""No secret that a log holds in plain text is in a report."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.secrets import HIDDEN, Redactor, telling
from tests.support.review_log import deployment

PLANTED = "hunter2-correct-horse"


def hidden(value, *, learned=()):
    redactor = Redactor(["kubeflow"])
    for one in (*learned, value):
        redactor.learn(one)
    return json.dumps(redactor.hide(value), ensure_ascii=False)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "userPassword",
        "MYSQL_ROOT_PASSWORD",
        "db-passwd",
        "clientSecret",
        "secret-key",
        "API_KEY",
        "apiKey",
        "authToken",
        "requirepass",
        "proxy_pass",
        "privateKey",
        "passwordHash",
        "credentials",
        "licence",
    ],
)
def test_a_telling_key(key):
    assert telling(key)
    assert PLANTED not in hidden({"spec": {key: PLANTED}})
    assert PLANTED not in hidden({"spec": {key: [PLANTED]}})
    assert PLANTED not in hidden({"spec": {key: {"first": PLANTED}}})
    assert PLANTED not in hidden({"env": [{"name": key, "value": PLANTED}]})
    assert PLANTED not in hidden({"data": {"file": f"x: 1\n{key}: {PLANTED}\n"}})
    assert PLANTED not in hidden({"data": {"file": f'{{"a": 1, "{key}": "{PLANTED}"'}})
    assert PLANTED not in hidden({"data": {"file": f"a=b {key}={PLANTED}"}})
    assert PLANTED not in hidden({"args": [f"--{key}={PLANTED}"]})
    assert PLANTED not in hidden({"args": [f"--{key}", PLANTED]})
    assert PLANTED not in hidden({"command": ["sh", "-c", f"run --{key} {PLANTED} --other 1"]})


@pytest.mark.parametrize(
    "key",
    ["secretName", "passwordPath", "tokenExpirationSeconds", "key", "monkey", "tokenizer", "image"],
)
def test_a_key_that_tells_of_no_secret(key):
    assert not telling(key)
    assert "visible-value" in hidden({"spec": {key: "visible-value"}})


@pytest.mark.parametrize(
    "text",
    [
        "redis://app:{}@redis.redis:6379/0",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        "Authorization: Bearer {}",
        "password: |\n  {}\n",
        "requirepass {}",
        "- name: DB_PASSWORD\n  value: {}\n",
        "<password>{}</password>",
        'password = "a, b {}"',
    ],
)
def test_a_secret_inside_a_text(text):
    assert PLANTED not in hidden({"data": {"any": text.format(PLANTED)}})


def test_what_a_secret_of_kubernetes_holds():
    encoded = base64.b64encode(PLANTED.encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "kubeflow",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
                    {"apiVersion": "v1", "kind": "Secret", "data": {"any": encoded}}
                )
            },
        },
        "data": {"any": encoded},
        "stringData": {"other": PLANTED},
    }
    shown = hidden(secret)
    assert PLANTED not in shown
    assert encoded not in shown
    assert shown.count(HIDDEN) == 3


def test_a_copy_elsewhere_of_a_secret_that_is_known():
    encoded = base64.b64encode(PLANTED.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"any": encoded}}
    other = deployment("a", "nginx:1", args=[f"start {PLANTED} now", encoded])
    shown = hidden(other, learned=[secret])
    assert PLANTED not in shown
    assert encoded not in shown
    redactor = Redactor()
    redactor.learn(secret)
    assert PLANTED not in redactor.text(f"cannot sign in with {PLANTED}")


def test_names_of_objects_stay():
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"user": "kubeflow"}}
    assert "kubeflow" in hidden({"namespace": "kubeflow"}, learned=[secret])


def test_what_only_says_where_a_secret_is_stays():
    pod = {
        "volumes": [{"secret": {"secretName": "redis-tls", "items": [{"key": "ca", "path": "p"}]}}],
        "env": [
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "app"}}},
            {"name": "URL", "value": "redis://app:$(PASSWORD)@redis:6379"},
            {"name": "DB_PASSWORD", "value": "$(PASSWORD)"},
        ],
        "automountServiceAccountToken": False,
    }
    shown = hidden(pod)
    for kept in ("redis-tls", '"app"', '"$(PASSWORD)"', "false"):
        assert kept in shown


def test_a_value_before_a_secret_does_not_hide_it_from_the_search():
    assert PLANTED not in hidden({"file": f"level: info password={PLANTED}"})


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=12))
def test_any_secret_of_kubernetes_is_hidden(value):
    encoded = base64.b64encode(value.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"any": encoded}}
    assert encoded not in hidden(secret)

"""Hostile input: what could break out of a configuration, or stop a gateway, is refused."""

import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.gateway import hostile, nginx, regexes
from components.gateway.nginx_snippets import quoted
from components.gateway.routes import RoutesError, parse
from tests.support.gateway_models import base, directives, route, target

BREAKS = (
    "a\r\nX-Evil: 1",
    "a\nb",
    'a"; return 200 "pwned',
    "a\\",
    "${document_root}",
    "$http_authorization",
    "a${clientAddress",
    "{a}",
    "a\x00b",
    "a\x7fb",
    "Äpfel",
    "a" * 2000,
    "",
    " padded ",
)


@pytest.mark.parametrize("value", BREAKS)
@pytest.mark.parametrize("where", ["request", "response"])
def test_a_header_can_not_break_out(value: str, where: str) -> None:
    policy = {"type": "headers", "name": "h", where: {"set": {"X-A": value}}}
    with pytest.raises(RoutesError, match=rf"policies\[0\].{where}.set.X-A is "):
        parse(base(policies=[policy]))


@pytest.mark.parametrize("name", ["X A", "X:A", "X\nA", "X;A", "", "X_A", "Ä", "9" * 99])
def test_a_name_of_a_header_is_one_word(name: str) -> None:
    with pytest.raises(ValueError, match="give"):
        hostile.header_name(name)


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "transfer-encoding", "Connection", "Upgrade", "TE"]
)
def test_headers_that_frame_a_request_are_left_alone(name: str) -> None:
    policy = {"type": "headers", "name": "h", "request": {"remove": [name]}}
    with pytest.raises(RoutesError, match="smuggled"):
        parse(base(policies=[policy]))


PATHS = (
    "/a/../b",
    "/..",
    "/a/./b",
    "/a/%2e%2e/b",
    "/a%2fb",
    "//evil.com",
    "/a//b",
    "a",
    "",
    "/a b",
    "/a;b",
    "/a{b",
    "/a}b",
    '/a"b',
    "/a'b",
    "/a$uri",
    "/a\\b",
    "/a\nb",
    "/a#b",
    "/a?b",
    "/ä",
    "/" + "a" * 600,
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_nowhere_else(path: str) -> None:
    for kind in ("exact", "prefix"):
        with pytest.raises(RoutesError, match=r"routes\[0\].path"):
            parse(base(routes=[route("app", path={"type": kind, "value": path})]))
    with pytest.raises(RoutesError, match=r"routes\[0\].rewrite.prefix"):
        parse(base(routes=[route("app", rewrite={"prefix": path})]))


@pytest.mark.parametrize("path", [*PATHS, "/$10", "/$0", "/$uri", "/${uri}", "/$1;return"])
def test_a_rewrite_leads_nowhere_else(path: str) -> None:
    made = route("app", path={"type": "regex", "value": "/(a)"}, rewrite={"path": path})
    with pytest.raises(RoutesError, match=r"routes\[0\].rewrite.path"):
        parse(base(routes=[made]))


@pytest.mark.parametrize("key", ["hosts", "routes", "policies", "snippets", "backends"])
def test_a_file_that_grows_without_end_is_refused_at_once(key: str) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for last, new in pairwise("abcdefghijkl"):
        bomb += f"{new}: &{new} [{', '.join([f'*{last}'] * 10)}]\n"
    with pytest.raises(RoutesError) as error:
        parse(f"{bomb}{key}: *l\n")
    assert len(str(error.value)) < 10_000


@pytest.mark.parametrize(
    "key",
    ["snippet", "snippets", "serverSnippets", "server-snippets", "location-snippets", "lua"],
)
def test_nobody_writes_a_snippet(key: str) -> None:
    for body in (base(**{key: "return 200;"}), base(routes=[route("app", **{key: "return 200;"})])):
        with pytest.raises(RoutesError, match="there is no such key"):
            parse(body)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (
            hostile.host_name,
            ["a b", "a;b", "A.com", "-a.com", "a..b", "*.*.a", "a.com.", "a" * 254],
        ),
        (hostile.cidr, ["10.0.0.0/33", "10.0.0.1/8", "all", "0.0.0.0/0; deny all", "a:b"]),
        (hostile.url, ["ftp://a", "https://a/?x=y", "https://a b", "https://a;b", "javascript:x"]),
        (hostile.origin, ["null", "https://a/b", "a.com", "https://*", 'https://a"']),
        (hostile.token, ["a-b", "a;b", "$a", "", "a b", "1a"]),
        (hostile.plain_value, ["~evil", "!a;b", "a b", '"', "$a", "", "a\n", "a" * 300, "(a)"]),
        (hostile.media_type, ["text", "text/css;q=1", "text/*", "TEXT/CSS"]),
        (hostile.cipher, ["RC4-MD5", "NULL-SHA256", "ALL:!x", "ecdhe", "A;B", "EXP-DES-CBC"]),
        (hostile.email, ["a", "a@b", "a@b.c;d", "a b@c.de", '"a"@b.de']),
        (hostile.address, ["a", "a:0", "a:99999", "a:b", "a;b:1"]),
        (hostile.duration, ["5", "5 s", "-5s", "5d", "25h", "5s; x", True, None, 1.5]),
        (hostile.size, ["5k", "-1", "0", "2048Gi", "5 Mi", True, None]),
        (hostile.public_key, ["", "-----BEGIN PUBLIC KEY-----", 5]),
    ],
)
def test_a_value_of_a_kind_is_of_that_kind(check: Any, values: list[object]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=r"\w"):
            check(value)


# --- regular expressions -------------------------------------------------------------------------

CATASTROPHES = (
    "/(a+)+",
    "/(a*)*b",
    "/(a|a)*b",
    "/(a|ab|b)*c",
    "/([a-zA-Z]+)*$",
    "/(x+x+)+y",
    "/(.*)(.*)(.*)=",
    "/.*a.*b.*c",
    "/" + "a?" * 30 + "a{30}",
    "/(a?){30}a{30}",
    "/(.|a){40}x",
    "/" + "a{0,10}" * 8 + "b",
    "/((a{1,9}){1,9}){1,9}",
)


@pytest.mark.parametrize("text", CATASTROPHES)
def test_an_expression_that_could_stop_a_gateway_is_refused(text: str) -> None:
    with pytest.raises(RoutesError, match=r"routes\[0\].path"):
        parse(base(routes=[route("app", path={"type": "regex", "value": text})]))


@pytest.mark.parametrize(
    "text",
    [
        r"/(a)\1",
        "/(?=a)b",
        "/(?!a)b",
        "/(?i)a",
        "/(?P<n>a)",
        "/a*?",
        "/a++",
        "/a**",
        "/(a",
        "/a)",
        "/[a",
        "/[z-a]",
        "/[!-~]+",
        "/[^A-z]",
        "/[]",
        "/[[:alpha:]]",
        "/a{",
        "/a{3,1}",
        "/a{0}",
        "/a{101}",
        "/(a|)(b|)*",
        r"/\x41",
        r"/\Aa",
        r"/\bword",
        '/a"b',
        "/a'b",
        "/a;b",
        "/a$b",
        "/^a",
        r"/a\$",
        r"/a\\b",
        "/a|/b$",
        "/é",
        "/a\nb",
        "a",
        "/" + "(" * 9 + "a" + ")" * 9,
        "/" + "a" * 300,
        "/(ab){90}",
    ],
)
def test_an_expression_is_of_the_subset(text: str) -> None:
    with pytest.raises(RoutesError, match=r"routes\[0\].path"):
        parse(base(routes=[route("app", path={"type": "regex", "value": text})]))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("/api/v[0-9]+/.*", "^/api/v[0-9]+/.*$"),
        (r"/\w+\.html", "^/[0-9A-Z_a-z]+[.]html$"),
        ("/(a|b)/(?:c|d)?", "^/(a|b)/(?:c|d)?$"),
        ("^/[^/]+/[a-z-]{2,}$", "^/[^/]+/[a-z-]{2,}$"),
        ("/[^/]+/[^/]+/[^/]+/[^/]+", "^/[^/]+/[^/]+/[^/]+/[^/]+$"),
        ("/([a-z]+/)*x", "^/([a-z]+/)*x$"),
        (r"/\D\S", "^/[^0-9][^ ]$"),
    ],
)
def test_an_expression_is_printed_anew(text: str, printed: str) -> None:
    assert str(regexes.parse(text, anywhere=False)) == printed


atoms = st.sampled_from(("a", "b", "c", "/", ".", "[ab]", "[^a]", r"\d", "-", "(a|b)", "(?:ab|c)"))
repeats = st.sampled_from(("", "", "*", "+", "?", "{2}", "{1,3}", "{2,}"))
texts = st.lists(st.tuples(atoms, repeats), min_size=1, max_size=6).map(
    lambda parts: "/" + "".join(atom + repeat for atom, repeat in parts)
)
words = st.text("abc/-1.x", max_size=12)


def parsed(text: str) -> regexes.Expression:
    try:
        return regexes.parse(text, anywhere=False)
    except ValueError:
        assume(False)
        raise


@given(texts, words)
def test_what_is_printed_matches_what_was_written(text: str, word: str) -> None:
    printed = str(parsed(text))
    assert bool(re.fullmatch(text, f"/{word}")) == bool(re.search(printed, f"/{word}"))
    # And stays as it is.
    assert str(regexes.parse(printed, anywhere=False)) == printed


@given(texts, words)
def test_without_counts_it_matches_the_same_and_has_the_same_groups(text: str, word: str) -> None:
    expression = parsed(text)
    other = str(expression.uncounted())
    assert "{" not in other
    found, again = (re.search(one, f"/{word}") for one in (str(expression), other))
    assert (found and found.groups()) == (again and again.groups())


@given(texts, texts, st.lists(words, min_size=5, max_size=20))
def test_inclusion_and_overlap_agree_with_what_is_matched(
    one: str, two: str, tried: list[str]
) -> None:
    first, second = parsed(one), parsed(two)
    matched = [
        (bool(re.fullmatch(one, f"/{word}")), bool(re.fullmatch(two, f"/{word}"))) for word in tried
    ]
    if regexes.includes(first.body, second.body):
        assert (False, True) not in matched
        assert regexes.overlap(first.body, second.body)
    if not regexes.overlap(first.body, second.body):
        assert (True, True) not in matched


@pytest.mark.parametrize(
    ("whole", "part", "does"),
    [
        ("/.*", "/a/b", True),
        ("/(a|b)+", "/(ab)*a", True),
        ("/a+", "/a*b?", False),
        ("/[a-z]+/x", "/(foo|bar)/x", True),
        ("/[a-f]+", "/[a-g]+", False),
    ],
)
def test_inclusion(whole: str, part: str, does: bool) -> None:
    assert regexes.includes(parsed(whole).body, parsed(part).body) is does


def test_what_is_accepted_takes_no_engine_long() -> None:
    """Python's engine backtracks as PCRE does. In a process of its own, which can be ended."""
    accepted = [
        str(regexes.parse(text, anywhere=False))
        for text in (
            "/.*a.*b",
            "/([a-z]+/)*x",
            "/(a|b)*c",
            "/[a-z]([a-z-]{0,61}[a-z])?",
            "/(ab?)*c",
        )
    ]
    code = (
        "import re, sys\n"
        "for text in sys.argv[1:]:\n"
        "    for evil in ('/' + 'a' * 4000, '/' + 'ab' * 2000, '/' + 'a/' * 2000):\n"
        "        re.search(text, evil + '!')\n"
    )
    subprocess.run([sys.executable, "-c", code, *accepted], check=True, timeout=60)


# --- nothing breaks out of a snippet -------------------------------------------------------------


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "a\rb", "a\x00b"])
def test_what_could_end_a_word_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="can't stand"):
        quoted(text)


anything = st.one_of(
    st.text(max_size=40),
    st.text("a$;{}\"'\\ \n\r#.(/-)=_", max_size=20),
    st.sampled_from(BREAKS),
)


@settings(max_examples=300)
@given(anything)
def test_whatever_is_accepted_stays_within_its_word(text: str) -> None:
    policies = [
        {"type": "headers", "name": "h", "request": {"set": {"X-A": "${requestId}" + text}}},
        {"type": "headers", "name": "i", "request": {"add": {"X-A": text}}},
        {"type": "filter", "name": "j", "paths": [text], "userAgents": [text], "queries": [text]},
        {"type": "oidc", "name": "k", "groups": [text]},
        {"type": "compression", "name": "l", "types": [text]},
    ]
    for policy in policies:
        try:
            gateway = parse(base(policies=[policy], routes=[route("a", policies=[policy["name"]])]))
        except RoutesError:
            continue
        for body in nginx.render(gateway, target(gateway)):
            for snippet in _snippets(body):
                assert {line[0] for line in directives(snippet)} <= KNOWN


KNOWN = {
    "}",
    '""',
    "",
    "add_header",
    "allow",
    "auth_request_set",
    "client_max_body_size",
    "default",
    "deny",
    "error_page",
    "gzip",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "if",
    "large_client_header_buffers",
    "map",
    "proxy_set_header",
    "return",
    "set",
    "~^[A-Za-z0-9-]+$",
    "~^(?P<gateway_raw_path>[^?]*)",
}


def _snippets(body: Any) -> list[str]:
    if isinstance(body, dict):
        own = [
            text for key, text in body.items() if key.lower().replace("-", "").endswith("snippets")
        ]
        return [*own, *(text for one in body.values() for text in _snippets(one))]
    return [text for one in body for text in _snippets(one)] if isinstance(body, list) else []

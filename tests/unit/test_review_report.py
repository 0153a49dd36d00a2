"""The report: the same as reviewed, inert, bounded, and without secrets."""

import base64
import dataclasses
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review import markdown, page
from review.cli import main
from review.events import preview_of, read
from review.markdown import LIMIT, LimitError
from review.model import (
    Change,
    Cost,
    DocumentError,
    Field,
    Operation,
    Preview,
    from_json,
    to_json,
)
from review.wording import cost_text
from tests.support.review_log import KUBEFLOW, REDIS, SECRET, Log, deployment

GOLDEN = Path(__file__).parent / "golden"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
HOSTILE = (
    "`", "``` x", "|", "\\|", "</details>", "</code></summary></table>", "@octocat", "#1",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "https://evil.example", "www.evil.example", "a@evil.example", "-->", "\n\n# Title\n\n",
    "a\r\nb", "**bold**", "&lt;b&gt;", "{{ 7 * 7 }}", "\u202eevil", "$x$", "~~no~~", "\x00",
    ":tada:",
)  # fmt: skip


def sample() -> Preview:
    """A preview with something of everything."""
    log = Log()
    log.step("same", "pulumi:pulumi:Stack", "ml-platform-team", {}, {})
    claim = {"spec": {"storageClassName": "slow", "resources": {"requests": {"storage": "8Gi"}}}}
    faster = {"spec": {**claim["spec"], "storageClassName": "fast"}}
    diff = {"spec.storageClassName": "update-replace"}
    for op in ("create-replacement", "replace", "delete-replaced"):
        log.step(
            op, "kubernetes:core/v1:PersistentVolumeClaim", "redis/data", claim, faster, diff,
            chain=REDIS,
        )  # fmt: skip
    log.step("delete", "kubernetes:core/v1:Namespace", "kubeflow", {}, None, chain=KUBEFLOW)
    log.step("delete", CONFIG_MAP, "kubeflow/old", {}, None, chain=KUBEFLOW)
    before, after = deployment("ui", "ui:1"), deployment("ui", "ui:2", tty=True)
    changed = {
        "spec.template.spec.containers[0].image": "update",
        "spec.template.spec.containers[0].tty": "add",
    }
    log.step("update", DEPLOYMENT, "kubeflow/ui", before, after, changed, chain=KUBEFLOW)
    file = "a: 1\nb: 2\nc: 3\nd: 4\n"
    log.step(
        "update", CONFIG_MAP, "kubeflow/settings", {"data": {"file": file}},
        {"data": {"file": file.replace("2", "5")}}, {'data["file"]': "update"}, chain=KUBEFLOW,
    )  # fmt: skip
    log.step(
        "update", "mlplatform:access:Credentials", "kubeflow-credentials", {"password": SECRET},
        {"password": SECRET}, {"password": "update"}, chain="mlplatform:kubeflow:Kubeflow$",
    )  # fmt: skip
    for name in ("one", "two"):
        log.step("create", CONFIG_MAP, f"kubeflow/{name}", None, {}, chain=KUBEFLOW)
    log.step("same", DEPLOYMENT, "kubeflow/same", {}, {}, chain=KUBEFLOW)
    urn = f"urn:pulumi:team::ml-platform::{KUBEFLOW}{DEPLOYMENT}::kubeflow/ui"
    log.violation("image-tags", "ui:latest has no fixed tag", "mandatory", urn)
    log.violation("pod-security", "runs as root", "advisory", urn)
    log.says("warning", "deprecated API\nuse another", urn).end()
    return preview_of(read(log.lines), cost=Cost(100, 112.5))


def hostile(text: str) -> Preview:
    """A preview that has a text wherever one can be."""
    log = Log()
    urn = f"urn:pulumi:team::ml-platform::{KUBEFLOW}{DEPLOYMENT}::{text}"
    quoted = json.dumps(text, ensure_ascii=False).replace("\\n", "\n").replace("\\r", "\r")
    path = f"[{quoted}]".replace("\\u0000", "\0")
    diff = {"a": "update", path: "add-replace"}
    for op in ("update", "delete", "create"):
        old, new = {"a": text, text: 1}, {"a": f"{text}\n{text}", text: 2}
        log.step(op, DEPLOYMENT, f"{op}{text}", old, new, diff, chain=KUBEFLOW)
    log.step("delete", "kubernetes:core/v1:Namespace", text, {}, None)
    log.violation(text, text, "mandatory", urn).says("error", text, urn).says("warning", text, urn)
    return preview_of(read(log.end().lines), stack=text)


def comment() -> str:
    return markdown.render_all([sample()], "https://example.com/a")


def whole() -> str:
    return page.render([sample()])


@pytest.mark.parametrize(("file", "render"), [("preview.md", comment), ("preview.html", whole)])
def test_the_report_is_as_reviewed(file, render):
    """After a change on purpose: python -m tests.unit.test_review_report"""
    assert render() == (GOLDEN / file).read_text()


def test_losses_of_data_come_first_and_in_bold():
    text = markdown.render(sample())
    loss = text.index("**replace <code>PersistentVolumeClaim</code>")
    assert loss < text.index("**delete <code>Namespace</code>") < text.index("**Policies**")
    assert "old" not in text[: text.index("**Policies**")]


class _Tags(HTMLParser):
    """What a browser would take for tags and for text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def _parsed(text: str) -> _Tags:
    parser = _Tags()
    parser.feed(text)
    return parser


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_inert_in_markdown(text):
    plain, strange = markdown.render(hostile("x")), markdown.render(hostile(text))
    # The structure is the same as with a harmless text: lines, and tags.
    lines = [re.sub(r"<code>.*?</code>", "C", line) for line in strange.splitlines()]
    expected = [re.sub(r"<code>.*?</code>", "C", line) for line in plain.splitlines()]
    same = [re.sub(r"(C<br>)+C", "C", line) for line in lines]
    assert same == [re.sub(r"(C<br>)+C", "C", line) for line in expected]
    assert {tag for tag, _ in _parsed(strange).tags} <= {"details", "summary", "code", "br"}
    for quoted in re.findall(r"<code>(.*?)</code>", strange):
        assert re.fullmatch(r"(?:[\w /,.()+=;…↵-]|&#\d+;)*", quoted), quoted
        assert "www." not in quoted.lower()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_inert_in_the_page(text):
    plain, strange = _parsed(page.render([hostile("x")])), _parsed(page.render([hostile(text)]))
    kept = [tag for tag in strange.tags if tag[0] not in ("ins", "del")]
    assert kept == [tag for tag in plain.tags if tag[0] not in ("ins", "del")]
    assert not {"script", "img"} & {tag for tag, _ in strange.tags}
    assert "\u202e" not in strange.text


@given(st.text(max_size=40))
def test_any_text_is_inert(text):
    quoted = re.fullmatch(r"<code>(.*)</code>", markdown.code(text), re.DOTALL)
    assert quoted
    assert not re.search(r"""[<>`|*_@#\[\]\\"'\n\r!~$]""", re.sub(r"&#\d+;", "", quoted[1]))
    if text.isprintable():
        assert html.unescape(quoted[1]) == text


def many(updates: int, creations: int, losses: int = 2) -> Preview:
    """A preview that is larger than a comment."""
    field = Field("spec.template.spec.containers[0].image", "registry/image:1" * 5, "image:2" * 9)

    def change(operation: Operation, number: int, lost: str = "", fields: int = 0) -> Change:
        name = f"kubeflow/object-{number:05}"
        return Change(operation, DEPLOYMENT, name, "Kubeflow", lost, fields=(field,) * fields)

    changes = [change(Operation.DELETE, number, "a volume") for number in range(losses)]
    changes += [change(Operation.UPDATE, number, fields=4) for number in range(updates)]
    changes += [change(Operation.CREATE, number) for number in range(creations)]
    return Preview("team", tuple(changes))


def left_out(text: str) -> str:
    found = re.search(r"\*\*Left out, as a comment has no more room:\*\* (.*)\.", text)
    return found[1] if found else ""


@pytest.mark.parametrize("limit", [1_500, 5_000, 20_000, LIMIT])
def test_a_large_report_is_cut_by_importance(limit):
    text = markdown.render_all([many(300, 900)], "https://example.com", limit)
    assert len(text.encode()) <= limit
    assert text.count("**delete") == 2
    shown = text.count("<details><summary>update") + text.count("- update")
    assert left_out(text) == f"{300 - shown} updates, 900 creations"
    assert text.endswith("[The whole report](<https://example.com>)\n")
    # No block is cut in its middle.
    assert text.count("<details>") == text.count("</details>")
    assert len(re.findall(r"<code>[^<]*</code>", text)) == text.count("<code>")
    assert limit - len(text.encode()) < 1_000


def test_creations_are_left_out_before_updates():
    text = markdown.render(many(10, 2_000))
    assert text.count("<details><summary>update") == 10
    shown = text.count("- create")
    assert 0 < shown < 2_000
    assert left_out(text) == f"{2_000 - shown:,} creations"


def test_nothing_less_important_takes_the_place_of_what_did_not_fit():
    update, creation = many(1, 1, 0).changes
    long = dataclasses.replace(update, name="long-" * 30)
    preview = Preview("team", (long, creation))
    texts = [markdown.render(preview, limit=limit) for limit in range(350, 900, 10)]
    assert "long-" not in texts[0]
    assert "long-" in texts[-1]
    for text in texts:
        assert "long-" in text or "- create" not in text


def test_exactly_at_the_limit_nothing_is_left_out_and_one_byte_less_leaves_one_out():
    whole = many(3, 40)
    text = markdown.render(whole, limit=10**9)
    assert not left_out(text)
    # The place for the line that counts what is left out is always kept free.
    spare = next(
        n
        for n in range(1_000)
        if not left_out(markdown.render(whole, limit=len(text.encode()) + n))
    )
    limit = len(text.encode()) + spare
    assert markdown.render(whole, limit=limit) == text
    assert left_out(markdown.render(whole, limit=limit - 1)) == "1 creation"


@given(st.integers(500, 9_000), st.integers(0, 40), st.integers(0, 80), st.integers(0, 9))
@settings(max_examples=60)
def test_never_over_the_limit(limit, updates, creations, losses):
    text = markdown.render(many(updates, creations, losses), limit=limit)
    assert len(text.encode()) <= limit


def test_many_characters_of_several_bytes_stay_in_the_limit():
    change = many(1, 0, 0).changes[0]
    wide = [dataclasses.replace(change, name="\u00e9" * 100) for _ in range(900)]
    assert len(markdown.render(Preview("team", tuple(wide))).encode()) <= LIMIT


def test_a_limit_that_not_even_the_summary_keeps():
    with pytest.raises(LimitError, match="the limit is 100"):
        markdown.render(sample(), limit=100)


def test_a_block_that_does_not_fit_is_shown_by_its_name():
    text = markdown.render(many(1, 0, 0), limit=900)
    assert "- update <code>Deployment</code>" in text
    assert not left_out(text)


def test_the_page_leaves_nothing_out_and_needs_nothing_else():
    text = page.render([many(300, 900)])
    assert text.count("object-00299") == 2
    assert not re.search(r"(?:src|href)=|url\(|@import|https?:", text)


def test_stacks_share_the_room_of_a_comment():
    text = markdown.render_all([many(300, 900), many(5, 5)], "https://example.com")
    assert len(text.encode()) <= LIMIT
    assert text.startswith(markdown.MARKER)
    assert text.count("### Preview of the stack") == 2
    assert text.count("Left out") == 1
    assert "touches no stack" in markdown.render_all([])
    assert "touches no stack" in page.render([])


def test_a_preview_is_the_same_when_it_is_rendered_elsewhere():
    assert from_json(to_json(sample())) == sample()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "ml-platform/preview/1", "preview": {"stack": 1}}']
)
def test_a_document_that_is_no_preview(text):
    with pytest.raises(DocumentError):
        from_json(text)


def test_a_preview_without_changes():
    text = markdown.render(Preview("team", unchanged=624))
    assert "Nothing changes; 624 resources as they are." in text
    assert "|" not in text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(100, 110), "10.00 USD more each month: from 100.00 to 110.00"),
        (Cost(1100, 100), "1,000.00 USD less each month: from 1,100.00 to 100.00"),
        (Cost(5, 5.001), "5.00 USD each month, as before"),
        (Cost(None, 5), "5.00 USD each month after the change"),
        (Cost(5, None), "5.00 USD each month before the change"),
    ],
)
def test_cost(cost, text):
    assert cost_text(cost) == text


# --- planted secrets --------------------------------------------------------------------------

# One for each place: a copy elsewhere would be hidden as well.
PLANTED = {
    place: f"hunter2-{place}-correct-horse"
    for place in (
        *("data", "string", "applied", "env", "option", "token", "uri", "file", "message", "pem"),
        *("before", "block"),
    )
}


def encoded(place: str) -> str:
    return base64.b64encode(PLANTED[place].encode()).decode()


def planted() -> Log:
    """A log that has a secret in every place, and changes that show each place."""
    applied = json.dumps({"apiVersion": "v1", "kind": "Secret", "data": {"x": encoded("applied")}})
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": annotations}}
    diff = dict.fromkeys(("data", "stringData.y", "metadata.annotations"), "update")
    log = Log()
    log.step(
        "update", "kubernetes:core/v1:Secret", "kubeflow/s",
        {**secret, "data": {"x": encoded("before")}, "stringData": {"y": "old"}},
        {**secret, "data": {"x": encoded("data")}, "stringData": {"y": PLANTED["string"]}}, diff,
    )  # fmt: skip
    container = {
        "env": [
            {"name": "DB_PASSWORD", "value": PLANTED["env"]},
            {"name": "COPY", "value": PLANTED["data"]},
        ],
        "args": [
            "--password", PLANTED["option"], f"--token={PLANTED['token']}",
            f"redis://u:{PLANTED['uri']}@host",
        ],
    }  # fmt: skip
    log.step(
        "update", DEPLOYMENT, "kubeflow/a", deployment("a", "a:1"),
        deployment("a", "a:1", **container),
        {
            "spec.template.spec.containers[0].env": "add",
            "spec.template.spec.containers[0].args": "add",
        },
    )  # fmt: skip
    key = f"-----BEGIN PRIVATE KEY-----\n{PLANTED['pem']}\n-----END PRIVATE KEY-----"
    files = {
        "app.yaml": f"user: me\npassword: {PLANTED['file']}\nsecret: |\n  {PLANTED['block']}\n",
        "key.pem": key,
        "copy": f"{PLANTED['string']} {encoded('applied')}",
    }
    log.step("update", CONFIG_MAP, "kubeflow/c", {}, {"data": files}, {"data": "add"})
    log.violation("p", f"the password is {PLANTED['env']}", "mandatory")
    log.says("error", f"cannot sign in: password={PLANTED['message']}")
    log.says("warning", f"{encoded('data')} is weak")
    return log.end()


def test_no_planted_secret_is_in_either_form():
    preview = preview_of(read(planted().lines))
    for text in (markdown.render(preview), page.render([preview]), to_json(preview)):
        seen = html.unescape(text)
        assert "hunter2" not in seen
        for place in PLANTED:
            assert encoded(place) not in seen
        assert seen.count("[secret]") > 8


# --- the command ------------------------------------------------------------------------------


def test_the_command_writes_both_forms(tmp_path, capsys):
    log, cost = tmp_path / "events.json", tmp_path / "cost.json"
    log.write_text("\n".join(planted().lines))
    cost.write_text('{"before": 1, "after": 3}')
    markdown_file, page_file = tmp_path / "preview.md", tmp_path / "preview.html"
    written = ["--markdown", str(markdown_file), "--html", str(page_file), "--cost", str(cost)]
    assert main(["report", str(log), *written, "--link", "https://e.example/x y"]) == 0
    assert "2.00 USD more" in markdown_file.read_text()
    assert "(<https://e.example/x%20y>)" in markdown_file.read_text()
    assert page_file.read_text().startswith("<!doctype html>")
    assert main(["report", str(log)]) == 0
    assert capsys.readouterr().out.startswith("<!-- ml-platform preview -->\n")


@pytest.mark.parametrize(
    ("content", "more", "problem"),
    [
        (None, [], "No such file"),
        ("{}", [], "no event of Pulumi's engine"),
        ('{"sequence": 1}', ["--limit", "9"], "the limit is"),
        ('{"sequence": 1}', ["--cost", __file__], "US dollars each month"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys, content, more, problem):
    log = tmp_path / "events.json"
    if content is not None:
        log.write_text(content)
    assert main(["report", str(log), *more]) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_preview_that_left_no_log_is_reported_as_one_that_failed(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.touch()
    for log in (empty, tmp_path / "none"):
        assert main(["report", str(log), "--stack", "aws"]) == 0
        text = capsys.readouterr().out
        assert "<code>aws</code>" in text
        assert "The preview did not finish." in text
        assert "the preview ended before it began" in text


def test_the_command_is_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "review", "--help"], check=True, capture_output=True, text=True
    )
    assert "report" in done.stdout


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "preview.md").write_text(comment())
    (GOLDEN / "preview.html").write_text(whole())

"""One comment and one issue, updated in place, on a stand-in for the forges' APIs."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from review.cli import main
from review.forge import ForgeError, GitHub, GitLab
from review.markdown import MARKER, render_all
from review.model import Change, Operation, Preview, to_json

BOT = "github-actions[bot]"
SHA = "a" * 40


class Api:
    """What the forge has; answers as GitHub and GitLab do, two items a page less than asked."""

    def __init__(self):
        self.items = {}
        self.writes = []
        self.tokens = set()
        self.fails = None

    def answer(self, method, path, query, body):
        if self.fails:
            return self.fails, {"message": "no"}
        if method == "GET":
            page, size = int(query["page"][0]), int(query["per_page"][0])
            wanted = query.get("head", [None])[0]
            found = [
                item
                for item in self.items.get(path, [])
                if wanted in (None, item.get("head", {}).get("label"))
            ]
            return 200, found[(page - 1) * size : page * size]
        self.writes.append((method, path, body))
        if method == "POST":
            number = 1 + sum(map(len, self.items.values()))
            item = {"id": number, "number": number, "iid": number, **body}
            item |= {"user": {"login": BOT}, "author": {"username": BOT}}
            self.items.setdefault(path, []).append(item)
            return 201, item
        return 200, {}


@pytest.fixture
def api():
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            url = urlparse(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            state.tokens.add(self.headers.get("PRIVATE-TOKEN") or self.headers.get("Authorization"))
            code, answer = state.answer(self.command, unquote(url.path), parse_qs(url.query), body)
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = handle_any

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[GitHub, GitLab])
def forge(request, api):
    return request.param(api.url, "team/platform", "token")


def comments_of(forge):
    return (
        "/repos/team/platform/issues/7/comments"
        if isinstance(forge, GitHub)
        else "/projects/team/platform/merge_requests/7/notes"
    )


def test_a_comment_is_written_once_and_then_updated(api, forge):
    put = lambda body: forge.put_comment(7, MARKER, body, user=BOT)  # noqa: E731
    assert put(f"{MARKER}\nfirst") == "created"
    assert put(f"{MARKER}\nfirst\n") == "unchanged"
    assert put(f"{MARKER}\nsecond") == "updated"
    method = "PATCH" if isinstance(forge, GitHub) else "PUT"
    assert [write[0] for write in api.writes] == ["POST", method]
    assert api.writes[1][2] == {"body": f"{MARKER}\nsecond"}


def test_a_comment_of_others_that_quotes_the_marker_is_left_alone(api, forge):
    other = {"id": 1, "body": MARKER, "user": {"login": "eve"}, "author": {"username": "eve"}}
    api.items[comments_of(forge)] = [other]
    assert forge.put_comment(7, MARKER, MARKER, user=BOT) == "created"


def test_a_comment_after_hundreds_of_others_is_found(api, forge):
    mine = {"id": 999, "body": MARKER, "user": {"login": BOT}, "author": {"username": BOT}}
    others = [{"id": n, "body": "x", "user": None, "author": None} for n in range(250)]
    api.items[comments_of(forge)] = [*others, mine]
    assert forge.put_comment(7, MARKER, f"{MARKER}!", user=BOT) == "updated"
    assert api.writes[0][1].endswith("/999")


def test_no_comment_where_there_is_nothing_to_tell(api, forge):
    assert forge.put_comment(7, MARKER, MARKER, user=BOT, only_update=True) == "unchanged"
    assert not api.writes


def test_an_issue_is_opened_updated_and_closed(api, forge):
    put = lambda body, resolved=False: forge.put_issue(  # noqa: E731
        "<!-- m -->", "Drift", f"<!-- m -->{body}", user=BOT, resolved=resolved
    )
    assert put("", resolved=True) == "unchanged"
    assert put("first") == "created"
    assert put("first") == "unchanged"
    assert put("second") == "updated"
    assert put("", resolved=True) == "closed"
    closed = api.writes[-1][2]
    assert closed.get("state") == "closed" or closed.get("state_event") == "close"


def test_a_pull_request_is_found_by_its_newest_commit_only(api):
    forge = GitHub(api.url, "team/platform", "token")
    api.items["/repos/team/platform/pulls"] = [
        {"number": 7, "head": {"sha": SHA, "label": "eve:a/b c@d"}},
        {"number": 8, "head": {"sha": SHA, "label": "eve:other"}},
    ]
    assert forge.pull_request("eve", "a/b c@d", SHA) == 7
    assert forge.pull_request("eve", "a/b c@d", "b" * 40) is None


def test_what_the_forge_refuses_is_said(api, forge):
    api.fails = 403
    with pytest.raises(ForgeError, match="403"):
        forge.put_comment(7, MARKER, MARKER, user=BOT)


def test_a_forge_that_does_not_answer(free_port=1):
    with pytest.raises(ForgeError, match="refused"):
        GitHub(f"http://127.0.0.1:{free_port}", "a/b", "t").put_comment(1, "m", "m", user=BOT)


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("REVIEW_TOKEN", "token")


def common(api, forge="github"):
    return ["--api", api.url, "--repository", "team/platform", "--user", BOT, "--forge", forge]


def test_the_command_comments_on_the_pull_request_of_a_commit(api, token, tmp_path, capsys):
    file = tmp_path / "comment.md"
    file.write_text(MARKER)
    api.items["/repos/team/platform/pulls"] = [
        {"number": 7, "head": {"sha": SHA, "label": "eve:branch"}}
    ]
    words = ["comment", str(file), *common(api)]
    assert main([*words, "--head", f"eve:branch@{SHA}"]) == 0
    assert capsys.readouterr().out == "comment on 7: created\n"
    assert api.tokens == {"Bearer token"}
    assert main([*words, "--head", f"eve:branch@{'b' * 40}"]) == 0
    assert "no open pull request" in capsys.readouterr().out
    assert len(api.writes) == 1
    assert main(["comment", str(file), *common(api, "gitlab"), "--number", "3"]) == 0
    assert "token" in api.tokens


def test_a_change_of_no_stack_gets_no_comment_of_its_own(api, token, tmp_path, capsys):
    file = tmp_path / "comment.md"
    words = ["comment", str(file), *common(api), "--number", "7"]
    file.write_text(render_all([]))
    assert main(words) == 0
    assert not api.writes
    file.write_text(f"{MARKER}\nsome stack")
    assert main(words) == 0
    file.write_text(render_all([]))
    assert main(words) == 0
    assert [write[0] for write in api.writes] == ["POST", "PATCH"]
    assert capsys.readouterr().out.splitlines()[-1] == "comment on 7: updated"


def test_the_command_opens_and_closes_the_issue_of_a_stack(api, token, tmp_path, capsys):
    file = tmp_path / "preview.json"
    drifted = Change(Operation.UPDATE, "kubernetes:apps/v1:Deployment", "a/b", "Kubeflow")
    words = ["issue", str(file), "--stack", "aws", "--link", "https://e.example", *common(api)]
    file.write_text(to_json(Preview("aws", drift=(drifted,))))
    assert main(words) == 0
    body = api.writes[0][2]
    assert body["title"] == "Drift of the stack aws"
    assert "Changed by others than Pulumi" in body["body"]
    file.write_text(to_json(Preview("aws")))
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "issue about aws: closed"


def test_the_command_says_what_it_lacks(api, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("REVIEW_TOKEN", raising=False)
    assert main(["comment", "x", *common(api), "--number", "1"]) == 1
    assert "REVIEW_TOKEN is not set" in capsys.readouterr().err
    monkeypatch.setenv("REVIEW_TOKEN", "t")
    assert main(["comment", str(tmp_path / "none"), *common(api), "--number", "1"]) == 1
    assert "No such file" in capsys.readouterr().err
    assert main(["comment", "x", *common(api)]) == 1
    assert "give --number" in capsys.readouterr().err

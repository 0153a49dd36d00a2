"""Command line: `python -m review report|comment|issue`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from review import events, markdown, page
from review.forge import Forge, ForgeError, GitHub, GitLab
from review.model import Cost, DocumentError, Message, Preview, from_json, to_json


class UsageError(ValueError):
    """Something given cannot be used; the message says what and why."""


def _report(arguments: argparse.Namespace) -> int:
    cost = _cost(arguments.cost) if arguments.cost else None
    previews = [_preview(file, arguments.stack, cost) for file in arguments.previews]
    text = markdown.render_all(previews, arguments.link, arguments.limit)
    if arguments.html:
        Path(arguments.html).write_text(page.render(previews))
    if arguments.json:
        if len(previews) != 1:
            raise UsageError("--json takes one preview")
        Path(arguments.json).write_text(to_json(previews[0]))
    if arguments.markdown:
        Path(arguments.markdown).write_text(text)
    else:
        print(text, end="")
    return 0


def _preview(file: str, stack: str, cost: Cost | None) -> Preview:
    path = Path(file)
    if stack and (not path.exists() or not path.stat().st_size):
        # A preview that is refused before the engine starts; its reviewers are told as well.
        said = "the preview ended before it began; the run's output says why"
        return Preview(stack, messages=(Message("error", said),), finished=False)
    try:
        text = path.read_text()
        if text.startswith('{"format":'):
            return from_json(text)
        return events.preview_of(events.read(text.splitlines()), stack, cost)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (events.EventLogError, DocumentError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from None


def _comment(arguments: argparse.Namespace) -> int:
    forge, number = _forge(arguments), arguments.number
    if number is None:
        if not isinstance(forge, GitHub) or not arguments.head:
            raise UsageError("give --number, or on GitHub --head OWNER:BRANCH@SHA")
        owner, _, rest = arguments.head.partition(":")
        branch, _, sha = rest.rpartition("@")
        number = forge.pull_request(owner, branch, sha)
        if number is None:
            print("no open pull request has this commit as its newest")
            return 0
    body = _body(arguments.file)
    done = forge.put_comment(
        number,
        markdown.MARKER,
        body,
        user=arguments.user,
        # Nothing is told of nothing, unless an earlier commit did touch a stack.
        only_update=body == markdown.render_all([]),
    )
    print(f"comment on {number}: {done}")
    return 0


def _issue(arguments: argparse.Namespace) -> int:
    forge = _forge(arguments)
    marker = f"<!-- ml-platform drift: {arguments.stack} -->"
    previews = [_preview(file, arguments.stack, None) for file in [arguments.preview]]
    resolved = not any(preview.drift or preview.errors for preview in previews)
    room = markdown.LIMIT - len(marker) - 1
    body = f"{marker}\n{markdown.render_all(previews, arguments.link, room)}"
    title = f"Drift of the stack {arguments.stack}"
    done = forge.put_issue(marker, title, body, user=arguments.user, resolved=resolved)
    print(f"issue about {arguments.stack}: {done}")
    return 0


def _body(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _forge(arguments: argparse.Namespace) -> Forge:
    token = os.environ.get("REVIEW_TOKEN", "")
    if not token:
        raise UsageError("REVIEW_TOKEN is not set; it must be able to write comments or issues")
    kind = GitHub if arguments.forge == "github" else GitLab
    return kind(arguments.api, arguments.repository, token)


def _cost(file: str) -> Cost:
    try:
        document = json.loads(Path(file).read_text())
        return Cost(document.get("before"), document.get("after"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (ValueError, AttributeError):
        raise UsageError(
            f'{file}: expected {{"before": 12.5, "after": 20}}, US dollars each month'
        ) from None


def build_parser() -> argparse.ArgumentParser:
    """Parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m review", description="What a change would do, for whoever reviews it."
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    summary = "a preview as Markdown for a comment, and as a page"
    report = verbs.add_parser("report", help=summary, description=summary)
    report.add_argument(
        "previews", nargs="*", help="event log of each stack's preview, or what --json wrote"
    )
    report.add_argument("--stack", default="", help="its name, where the log does not tell")
    report.add_argument("--markdown", metavar="FILE", help="(default: standard output)")
    report.add_argument("--html", metavar="FILE", help="write the whole report as a page")
    report.add_argument(
        "--json", metavar="FILE", help="write it, without secrets, to be rendered elsewhere"
    )
    report.add_argument("--link", default="", metavar="URL", help="where the page will be")
    report.add_argument("--cost", metavar="FILE", help='JSON: {"before": 12.5, "after": 20}')
    report.add_argument(
        "--limit", type=int, default=markdown.LIMIT, metavar="BYTES", help="(%(default)s)"
    )
    report.set_defaults(run=_report)
    summary = "write a report as a comment on a pull or merge request, over the one that is there"
    comment = verbs.add_parser("comment", help=summary, description=summary)
    comment.add_argument("file", help="Markdown that `report` wrote")
    comment.add_argument("--number", type=int, help="of the pull or merge request")
    comment.add_argument("--head", metavar="OWNER:BRANCH@SHA", help="its branch and newest commit")
    comment.set_defaults(run=_comment)
    summary = "open, update or close the issue about a stack's drift"
    issue = verbs.add_parser("issue", help=summary, description=summary)
    issue.add_argument("preview", help="event log of `pulumi refresh --preview-only`")
    issue.add_argument("--stack", required=True, help="its name")
    issue.add_argument("--link", default="", metavar="URL", help="where the whole report is")
    issue.set_defaults(run=_issue)
    for verb in (comment, issue):
        verb.add_argument("--forge", choices=["github", "gitlab"], default="github")
        verb.add_argument("--api", required=True, metavar="URL", help="of the forge")
        verb.add_argument("--repository", required=True, help="owner/name; on GitLab its number")
        verb.add_argument("--user", required=True, help="who writes: its own texts are updated")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; errors that the user can mend are one line on standard error, exit code 1."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (UsageError, ForgeError, markdown.LimitError) as error:
        print(f"review: {error}", file=sys.stderr)
        return 1

"""Comments and issues on GitHub and GitLab, found again by a marker and updated in place.

GitHub: REST API 2022-11-28, https://docs.github.com/rest/issues. GitLab: API v4,
https://docs.gitlab.com/api/notes and https://docs.gitlab.com/api/issues.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final

_PAGE: Final = 100
_TIMEOUT: Final = 30.0  # seconds


class ForgeError(RuntimeError):
    """The forge refused or did not answer; the message says what it said."""


class Forge(ABC):
    """One repository on a forge. `token` must be able to write comments and issues."""

    def __init__(self, api: str, repository: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._repository = repository
        self._token = token

    # What differs.

    @abstractmethod
    def _headers(self) -> dict[str, str]: ...

    @abstractmethod
    def _comments(self, number: int) -> str: ...

    @abstractmethod
    def _comment(self, number: int, comment: Any) -> str: ...  # noqa: ANN401

    @abstractmethod
    def _issues(self) -> str: ...

    @abstractmethod
    def _open_issues(self) -> str: ...

    @abstractmethod
    def _save_issue(self, issue: dict[str, Any], title: str, body: str, *, close: bool) -> None: ...

    @abstractmethod
    def _own(self, item: dict[str, Any], user: str) -> bool: ...

    text: str
    """The field that holds a text."""
    update: str
    """The method that updates."""

    # What is the same.

    def put_comment(
        self, number: int, marker: str, body: str, *, user: str, only_update: bool = False
    ) -> str:
        """Write the comment with that marker, over the one that is there.

        Args:
            number: of the pull or merge request.
            marker: a line that the body has.
            user: whose comments are looked at: others may quote the marker.
            only_update: whether to write none where there is none.

        Returns:
            "created", "updated" or "unchanged".

        Raises:
            ForgeError: it can't be read or written.
        """
        for comment in self._all(self._comments(number)):
            if self._own(comment, user) and marker in (comment.get("body") or ""):
                if comment["body"].strip() == body.strip():
                    return "unchanged"
                self._send(self.update, self._comment(number, comment), {"body": body})
                return "updated"
        if only_update:
            return "unchanged"
        self._send("POST", self._comments(number), {"body": body})
        return "created"

    def put_issue(self, marker: str, title: str, body: str, *, user: str, resolved: bool) -> str:
        """Write the open issue with that marker, over the one that is there; close it if resolved.

        Returns:
            "created", "updated", "closed" or "unchanged".

        Raises:
            ForgeError: it can't be read or written.
        """
        for issue in self._all(self._open_issues()):
            if self._own(issue, user) and marker in (issue.get(self.text) or ""):
                if not resolved and issue[self.text].strip() == body.strip():
                    return "unchanged"
                self._save_issue(issue, title, body, close=resolved)
                return "closed" if resolved else "updated"
        if resolved:
            return "unchanged"
        self._send("POST", self._issues(), {"title": title, self.text: body})
        return "created"

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        page = 1
        joint = "&" if "?" in path else "?"
        while items := self._send("GET", f"{path}{joint}per_page={_PAGE}&page={page}"):
            yield from items
            if len(items) < _PAGE:
                return
            page += 1

    def _send(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self._headers()}
        request = urllib.request.Request(  # noqa: S310  the address is the forge's own
            f"{self._api}{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace")
            raise ForgeError(f"{method} {path}: {error.code} {error.reason}: {said}") from None
        except (urllib.error.URLError, TimeoutError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ForgeError(f"{method} {path}: {reason}") from None


class GitHub(Forge):
    """`repository` is owner/name."""

    text = "body"
    update = "PATCH"

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def _comments(self, number: int) -> str:
        return f"/repos/{self._repository}/issues/{number}/comments"

    def _comment(self, number: int, comment: Any) -> str:  # noqa: ANN401
        return f"/repos/{self._repository}/issues/comments/{comment['id']}"

    def _issues(self) -> str:
        return f"/repos/{self._repository}/issues"

    def _open_issues(self) -> str:
        return f"{self._issues()}?state=open"

    def _save_issue(self, issue: dict[str, Any], title: str, body: str, *, close: bool) -> None:
        state = {"state": "closed", "state_reason": "completed"} if close else {}
        path = f"{self._issues()}/{issue['number']}"
        self._send("PATCH", path, {"title": title, "body": body, **state})

    def _own(self, item: dict[str, Any], user: str) -> bool:
        return (item.get("user") or {}).get("login") == user and "pull_request" not in item

    def pull_request(self, head_owner: str, branch: str, sha: str) -> int | None:
        """The open pull request whose newest commit is `sha`; None where there is none any more.

        Raises:
            ForgeError: they can't be read.
        """
        head = urllib.parse.quote(f"{head_owner}:{branch}", safe="")
        found = self._all(f"/repos/{self._repository}/pulls?state=open&head={head}")
        return next((int(pull["number"]) for pull in found if pull["head"]["sha"] == sha), None)


class GitLab(Forge):
    """`repository` is the project's number, or its path."""

    text = "description"
    update = "PUT"

    def _headers(self) -> dict[str, str]:
        return {"PRIVATE-TOKEN": self._token}

    def _project(self) -> str:
        return f"/projects/{urllib.parse.quote(self._repository, safe='')}"

    def _comments(self, number: int) -> str:
        return f"{self._project()}/merge_requests/{number}/notes"

    def _comment(self, number: int, comment: Any) -> str:  # noqa: ANN401
        return f"{self._comments(number)}/{comment['id']}"

    def _issues(self) -> str:
        return f"{self._project()}/issues"

    def _open_issues(self) -> str:
        return f"{self._issues()}?state=opened"

    def _save_issue(self, issue: dict[str, Any], title: str, body: str, *, close: bool) -> None:
        state = {"state_event": "close"} if close else {}
        path = f"{self._issues()}/{issue['iid']}"
        self._send("PUT", path, {"title": title, "description": body, **state})

    def _own(self, item: dict[str, Any], user: str) -> bool:
        return (item.get("author") or {}).get("username") == user

"""Takes secrets out of what a report shows.

The engine blinds what Pulumi knows to be secret. Plain text remains: what Secrets of Kubernetes
hold, values whose key says that they are secret, and copies of both in annotations, arguments,
files inside ConfigMaps and messages. Where it is in doubt a value is hidden.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

HIDDEN: Final = "[secret]"
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TELLING: Final = frozenset(
    {
        *(
            "apikey",
            "authtoken",
            "cookie",
            "credential",
            "credentials",
            "dsn",
            "licence",
            "license",
        ),
        *("masterauth", "passphrase", "passwd", "password", "passwords", "pwd", "requirepass"),
        *("secret", "secrets", "token", "tokens"),
    }
)
_TELLING_LAST: Final = frozenset({"auth", "pass"})
_TELLING_PAIRS: Final = frozenset(
    {
        *(("access", "key"), ("api", "key"), ("encryption", "key"), ("private", "key")),
        *(("signing", "key"), ("connection", "string"), ("master", "key"), ("account", "key")),
    }
)
# What is said about a secret, and is none: `secretName`, `passwordPath`, `tokenExpirationSeconds`.
_ABOUT: Final = frozenset(
    {
        *("audience", "audiences", "class", "count", "enabled", "endpoint", "expiration", "expiry"),
        *("field", "file", "issuer", "kind", "length", "method", "mode", "mount", "name", "names"),
        *("namespace", "optional", "path", "paths", "policy", "provider", "ref", "refs"),
        *("reference", "required", "revision", "rotation", "rules", "seconds", "selector", "size"),
        *("store", "template", "ttl", "type", "types", "uri", "url", "version"),
    }
)
_REFERENCE: Final = re.compile(r"\$[({].+[)}]|<[^<>]*>|")
_LITERALS: Final = frozenset({"true", "false", "null", "none", "None", "True", "False", HIDDEN})
# Shorter ones are too likely part of another word.
_SHORTEST: Final = 6

_KEY: Final = r"(?P<key>[A-Za-z_][\w.-]*)"
_ASSIGNED: Final = re.compile(rf"""{_KEY}(?:\\?["'])?[ \t]*(?:=>|:=|=|:)[ \t]*""")
_ELEMENT: Final = re.compile(rf"<{_KEY}>")
_OPTION: Final = re.compile(rf"""(?<![\w-])--?{_KEY}[ \t]+(?!-)""")
_PAIR: Final = re.compile(
    rf"""name["']?[ \t]*:[ \t]*["']?{_KEY}["']?[ \t]*[,\n][ \t]*["']?value["']?[ \t]*:[ \t]*"""
)
_VALUE: Final = re.compile(
    r"""[|>][-+]?\d?[ \t]*\n(?:[ \t]+[^\n]*(?:\n|\Z))+"""  # a block of YAML
    r"""|\\?"(?:[^"\\]|\\.)*\\?"|'[^'\n]*'|[^\s,;&"'{}\[\]<][^\n,;&"'}\]<]*"""
)
_DIRECTIVE: Final = re.compile(
    r"(?im)^(?P<before>[ \t]*(?:requirepass|masterauth|sentinel auth-pass \S+)[ \t]+)\S+"
)
_SHAPES: Final = (
    (
        re.compile(
            r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.S
        ),
        HIDDEN,
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"), HIDDEN),
    (re.compile(r"\b(gh[opsur]_|github_pat_|glpat-|xox[abp]-)[\w-]{10,}"), HIDDEN),
    (re.compile(r"(\w[\w+.-]*://[^\s/@:]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)[ ]+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {HIDDEN}"),
)


def telling(key: str) -> bool:
    """Whether a key says that its value is a secret: `redisPassword`, `API_KEY`."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] in _ABOUT:
        return False
    return (
        words[-1] in _TELLING_LAST
        or not _TELLING.isdisjoint(words)
        or any(pair in _TELLING_PAIRS for pair in itertools.pairwise(words))
    )


class Redactor:
    """Hides secrets: first shown all of them (`learn`), then asked for what may be seen.

    Args:
        names: what is no secret even where a Secret holds it: names of objects and namespaces.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: Any) -> None:  # noqa: ANN401
        """Remember the secrets of a resource's properties, to hide copies of them elsewhere."""
        self._pattern = None
        self._walk(value)

    def hide(self, value: Any) -> Any:  # noqa: ANN401
        """A copy of a resource's properties without secrets."""
        return self._everywhere(self._walk(value))

    def text(self, text: str) -> str:
        """A message without secrets."""
        return self.copies(self._prose(text))

    # What is known by where it stands.

    def _walk(self, value: Any, *, secret: bool = False) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return self._object(value, secret=secret)
        if isinstance(value, list):
            return self._list(value, secret=secret)
        if isinstance(value, bool) or value is None:
            return value
        if secret:
            return self._secret(value)
        return self._string(value) if isinstance(value, str) else value

    def _object(self, value: Mapping[str, Any], *, secret: bool) -> dict[str, Any]:
        if not {"secretName", "name"}.isdisjoint(value):
            secret = False  # it only says which secret is meant
        if value.get("kind") == "Secret" and value.get("apiVersion", "v1") == "v1":
            held = [key for key in ("data", "stringData") if isinstance(value.get(key), dict)]
        else:
            held = []
        named = value.get("name", value.get("key"))
        pair = isinstance(named, str) and "value" in value and telling(named)
        shown = {}
        for key, item in value.items():
            if key in held:
                shown[key] = {name: self._secret(text) for name, text in item.items()}
            elif key == "value" and pair:
                shown[key] = self._walk(item, secret=True)
            else:
                about = not telling(key) and (not secret or key.lower() in _ABOUT or key == "key")
                shown[key] = self._walk(item, secret=not about)
        return shown

    def _list(self, value: list[Any], *, secret: bool) -> list[Any]:
        shown: list[Any] = []
        option = False
        for item in value:
            shown.append(self._walk(item, secret=secret or (option and isinstance(item, str))))
            option = (
                isinstance(item, str) and item.startswith("-") and "=" not in item and telling(item)
            )
        return shown

    def _secret(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict | list):
            return self._walk(value, secret=True)
        text = str(value)
        if _REFERENCE.fullmatch(text) or value is None or value is True or value is False:
            return value
        self._remember(text)
        return HIDDEN

    def _string(self, text: str) -> str:
        if text[:1] in ("{", "["):
            try:
                document = json.loads(text)
            except ValueError:
                return self._prose(text)
            if isinstance(document, dict | list):
                return json.dumps(self._walk(document), ensure_ascii=False)
        return self._prose(text)

    def _prose(self, text: str) -> str:
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        text = _DIRECTIVE.sub(rf"\g<before>{HIDDEN}", text)
        for before in (_PAIR, _OPTION, _ELEMENT, _ASSIGNED):
            text = self._after(before, text)
        return text

    def _after(self, before: re.Pattern[str], text: str) -> str:
        """The text without the values that follow telling keys."""
        parts, done, position = [], 0, 0
        while match := before.search(text, position):
            position = match.end()
            value = _VALUE.match(text, position) if telling(match["key"]) else None
            if value is None:
                continue
            bare = value[0].strip("\\\"' \t\n")
            position = value.end()
            if _REFERENCE.fullmatch(bare) or bare in _LITERALS:
                continue
            self._remember(bare)
            parts += [text[done : value.start()], HIDDEN]
            done = position
        return "".join([*parts, text[done:]])

    # Copies of what is known.

    def _remember(self, text: str) -> None:
        if HIDDEN in text:
            return
        forms = {text, text.strip()}
        with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
            forms.add(base64.b64decode(text, validate=True).decode().strip())
        for form in tuple(forms):
            forms.add(base64.b64encode(form.encode()).decode())
            forms.add(json.dumps(form, ensure_ascii=False)[1:-1])
        self._known |= {
            form for form in forms if len(form) >= _SHORTEST and form not in self._names
        }

    def copies(self, text: str) -> str:
        """The text without copies of known secrets."""
        if self._pattern is None:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        return self._pattern.sub(HIDDEN, text)

    def _everywhere(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return {self.copies(key): self._everywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._everywhere(item) for item in value]
        return self.copies(value) if isinstance(value, str) else value

"""What may stand in a gateway's configuration: every text of the file passes one of these. Pure.

Each returns the value to use, or raises ValueError with what is wrong and what mends it. They let
through what is known to be harmless in the configuration of NGINX and of Kong, and nothing else.

In NGINX a header's value stands in double quotes (`printf "%q"` of the controller's template), so
that `;`, braces and single quotes mean nothing there, and `"`, a backslash and `$` are refused.
Paths stand without quotes: letters, digits and a few marks. Regular expressions are parsed, and
printed anew without a backslash, a quote or a `$`: see `regexes.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from components.gateway import regexes

VARIABLES: Final = ("clientAddress", "host", "method", "requestId", "requestUri", "scheme")
"""What the values of headers may hold, as `${clientAddress}`; `requestUri` is the path with its
query, as the client wrote it."""

_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_HOST_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PLAIN = re.compile(r"[A-Za-z0-9._~:/@=+,-]{1,256}")
_VARIABLE = re.compile(r"\$\{([A-Za-z]+)\}")
_PATH = re.compile(r"/[A-Za-z0-9._~@:=,/-]*")
_URL = re.compile(
    rf"https://{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?(/[A-Za-z0-9._~@:+=,/-]*)?|"
    rf"http://{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?(/[A-Za-z0-9._~@:+=,/-]*)?"
)
_ORIGIN = re.compile(rf"\*|https?://(\*\.)?{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?")
_EMAIL = re.compile(r"[A-Za-z0-9._+-]{1,64}@[a-z0-9.-]{1,190}\.[a-z]{2,63}")
_MEDIA_TYPE = re.compile(r"[a-z]{1,32}/[a-z0-9][a-z0-9.+-]{0,63}")
_CIPHER = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+){1,7}")
_WEAK = frozenset({"NULL", "EXP", "EXPORT", "RC4", "DES", "CBC3", "MD5", "ADH", "AECDH"})
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)")
_SIZE = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi)?")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_BYTES = {None: 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_LONGEST_HEADER, _LONGEST_PATH = 1024, 512


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise ValueError("give a text")
    if len(value) > longest:
        raise ValueError(f"has {len(value)} characters; give at most {longest}")
    for char in value:
        if not " " <= char <= "~":
            raise ValueError(f"holds the character {char!r}; give printable ASCII alone")
    return value


def _matching(pattern: re.Pattern[str], longest: int, mends: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _text(value, longest)
        if not pattern.fullmatch(text):
            raise ValueError(mends)
        return text

    return check


host_name = _matching(
    _HOST_NAME, 253, "give a DNS name in lower case, like ml.example.com or *.example.com"
)
"""A DNS name in lower case, or `*.` and one."""
dns_name = _matching(_DNS_NAME, 253, "give a DNS name in lower case, like api.example.com")
"""A DNS name in lower case."""
header_name = _matching(_HEADER, 64, "give letters, digits and hyphens, beginning with a letter")
"""A name of a header: letters, digits and hyphens."""
token = _matching(_TOKEN, 64, "give letters, digits and _, beginning with a letter")
"""A name of a cookie or an argument: letters, digits and `_`."""
url = _matching(_URL, 512, "give a URL like https://dex.example.com/dex, with no query")
"""`https://host/path`, with no query."""
origin = _matching(_ORIGIN, 300, "give an origin like https://app.example.com, or *")
"""`https://app.example.com` or `*`."""
email = _matching(_EMAIL, 254, "give an e-mail address, like name@example.com")
"""An address of e-mail."""
media_type = _matching(_MEDIA_TYPE, 97, "give a media type, like text/css")
"""Like `text/css`."""


def address(value: object) -> str:
    """`host:port`."""
    text = _text(value, 260)
    host, _, port = text.rpartition(":")
    if not _DNS_NAME.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("give host:port, like collector.monitoring:4317")
    return text


def changed_header(value: object) -> str:
    """The name of a header that may be changed: not one that frames a request or names its host."""
    text = header_name(value)
    if text.lower() in _FRAMING:
        raise ValueError(
            "this header tells where a request ends or whose it is, and changing it would let "
            "requests be smuggled; leave it to the gateway"
        )
    return text


def header_value(value: object) -> str:
    """Printable ASCII without `"` and backslash, and with variables of `VARIABLES`."""
    text = _text(value, _LONGEST_HEADER)
    if not text or text != text.strip():
        raise ValueError("is empty or begins or ends with a space; give a value, or remove it")
    if bad := sorted(set(text) & set('"\\`')):
        raise ValueError(f"holds {bad[0]!r}, which would end it in a configuration; leave it out")
    bare = _VARIABLE.sub("", text)
    if "$" in bare or "{" in bare or "}" in bare:
        raise ValueError(f"holds a '$' or a brace that is no variable; there are {_variables()}")
    for name in _VARIABLE.findall(text):
        if name not in VARIABLES:
            raise ValueError(f"has no variable ${{{name}}}; there are {_variables()}")
    return text


def plain_value(value: object) -> str:
    """A value to compare with: letters, digits and `._~:/@=+,-`."""
    text = _text(value, 256)
    if not _PLAIN.fullmatch(text) or text.startswith("~"):
        raise ValueError("give letters, digits and ._~:/@=+,- (not ~ at the beginning)")
    return text


def path(value: object) -> str:
    """A path as it is when decoded: from the root, no `..`, nothing that a configuration reads."""
    text = _text(value, _LONGEST_PATH)
    if "%" in text:
        raise ValueError("write the path decoded, without '%'")
    segments = text.split("/")
    if ".." in segments or "." in segments:
        raise ValueError("holds a segment '..' or '.', which leads to other paths; leave it out")
    if "//" in text:
        raise ValueError("holds '//', which never comes: slashes are merged; write one")
    if not _PATH.fullmatch(text):
        raise ValueError("begin with / and give letters, digits and ._~@:=,/- alone")
    return text


def rewrite(value: object) -> str:
    """A path, with `$1` to `$9` for groups of the route's regular expression."""
    text = _text(value, _LONGEST_PATH)
    path(re.sub(r"\$[1-9](?![0-9])", "x", text))
    return text


def regex(value: object) -> str:
    """An expression that is looked for anywhere; see `regexes.parse`."""
    text = _text(value, regexes.LONGEST)
    regexes.parse(text, anywhere=True)
    return text


def path_regex(value: object) -> str:
    """An expression that a whole path must match; see `regexes.parse`."""
    text = _text(value, regexes.LONGEST)
    regexes.parse(text, anywhere=False)
    if not text.removeprefix("^").startswith("/"):
        raise ValueError("begin with /, as every path does")
    return text


def cidr(value: object) -> str:
    """A network, or an address, of IPv4 or IPv6."""
    text = _text(value, 64)
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; give a network like 10.0.0.0/8 or 2001:db8::/32") from None
    return str(network)


def cipher(value: object) -> str:
    """A cipher suite by OpenSSL's name."""
    text = _text(value, 64)
    if not _CIPHER.fullmatch(text) or {"NULL", "EXPORT", "RC4", "DES", "MD5"} & set(
        text.split("-")
    ):
        raise ValueError(
            "give a name of OpenSSL's of a safe cipher, like ECDHE-RSA-AES128-GCM-SHA256"
        )
    return text


def public_key(value: object) -> str:
    """A public key in PEM, RSA of 2048 bits or more or EC, as it is printed anew."""
    text = value if isinstance(value, str) else ""
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("give a public key in PEM, -----BEGIN PUBLIC KEY-----") from None
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise ValueError(f"is an RSA key of {key.key_size} bits; give one of 2048 or more")
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("is a key of another kind; give RSA or EC")
    return text.strip() + "\n"


def duration(value: object) -> int:
    """Milliseconds of `500ms`, `5s`, `2m` or `1h`, up to a day. A whole number is milliseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif match := _DURATION.fullmatch(value if isinstance(value, str) else ""):
        found = int(match[1]) * _MILLISECONDS[match[2]]
    else:
        raise ValueError("give a duration like 500ms, 5s, 2m or 1h")
    if not 0 <= found <= 86_400_000:
        raise ValueError("give at most 24h")
    return found


def size(value: object) -> int:
    """Bytes of `8Ki`, `10Mi` or `1Gi`, up to 1 TiB. A whole number is bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif match := _SIZE.fullmatch(value if isinstance(value, str) else ""):
        found = int(match[1]) * _BYTES[match[2]]
    else:
        raise ValueError("give a size like 8Ki, 10Mi or 1Gi")
    if not 0 < found <= 1024**4:
        raise ValueError("give more than 0 and at most 1024Gi")
    return found


def _variables() -> str:
    return ", ".join(f"${{{name}}}" for name in VARIABLES)

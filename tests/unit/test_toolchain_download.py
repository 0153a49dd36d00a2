"""Downloads against a real server: verified, resumed, refused."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolchain_support import Publisher, Reply, archive, serving, sha256

from toolchain.download import DownloadError, Downloads, Refused, _SecureRedirects, place
from toolchain.pins import Release

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as publisher:
        yield publisher


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def downloads(said: list[str]) -> Downloads:
    return Downloads(said.append)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "tool"


def test_a_file_with_the_right_sum_is_kept(
    publisher: Publisher, downloads: Downloads, kept: Path, said: list[str]
) -> None:
    release = publisher.release(content=CONTENT)
    assert downloads.fetch("tool 1", release, kept) == kept
    assert kept.read_bytes() == CONTENT
    assert said[0] == f"tool 1: downloading {release.url}"
    assert "1.0 MB" in said[1] and "sha256 as published" in said[1]


def test_what_is_there_whole_is_not_asked_for_again(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(content=CONTENT)
    downloads.fetch("tool", release, kept)
    downloads.fetch("tool", release, kept)
    assert publisher.ranges("/tool") == [None]


def test_a_wrong_sum_keeps_nothing_and_names_all(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(Reply(b"other"), content=CONTENT)
    with pytest.raises(DownloadError) as error:
        downloads.fetch("tool", release, kept)
    for part in (release.url, release.checksums, sha256(CONTENT), sha256(b"other")):
        assert part in str(error.value)
    assert not kept.exists()
    assert publisher.ranges("/tool") == [None]


@pytest.mark.parametrize("gone", ["/sums", "/tool"])
def test_a_missing_file_is_refused_but_its_host_is_asked_again(
    publisher: Publisher, downloads: Downloads, kept: Path, said: list[str], gone: str
) -> None:
    release = publisher.release(content=CONTENT)
    answer = publisher.replies.pop(gone)
    with pytest.raises(Refused, match=f"{gone}: HTTP 404"):
        downloads.fetch("tool", release, kept)
    assert said[-1] == f"{publisher.url}{gone}: not there (HTTP 404)"
    publisher.replies[gone] = answer
    assert downloads.fetch("tool", release, kept).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 407, 429, 500, 503])
def test_a_host_that_refuses_is_asked_once(
    publisher: Publisher, downloads: Downloads, kept: Path, said: list[str], status: int
) -> None:
    release = publisher.release(content=CONTENT)
    publisher.serve("/sums", Reply(status=status))
    for _ in range(2):
        with pytest.raises(Refused, match=f"HTTP {status}"):
            downloads.fetch("tool", release, kept)
    assert publisher.asked == [("/sums", None)]
    assert [line for line in said if "refused" in line] == [
        f"{release.url.split('/')[2]}: downloads are refused (HTTP {status})"
    ]


def test_a_host_that_does_not_answer_is_refused(
    downloads: Downloads, kept: Path, said: list[str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Refused, match="Connection refused"):
            downloads.fetch("tool", Release(f"{url}/tool", f"{url}/sums"), kept)
    assert len(said) == 1


def test_a_name_that_is_not_known_is_refused(downloads: Downloads, kept: Path) -> None:
    url = "http://nowhere.invalid"
    with pytest.raises(Refused, match=r"nowhere\.invalid: "):
        downloads.fetch("tool", Release(f"{url}/tool", f"{url}/sums"), kept)


def test_a_cut_body_is_completed_at_once(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(
        Reply(CONTENT, cut=300_000), Reply(CONTENT, cut=200_000), Reply(CONTENT), content=CONTENT
    )
    assert downloads.fetch("tool", release, kept).read_bytes() == CONTENT
    assert publisher.ranges("/tool") == [None, "bytes=300000-", "bytes=500000-"]


def test_a_download_that_broke_off_goes_on_in_the_next_run(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(
        Reply(CONTENT, cut=300_000), Reply(CONTENT, cut=0), Reply(CONTENT), content=CONTENT
    )
    with pytest.raises(DownloadError, match=r"broke off after 0\.3 MB.* run the same command"):
        downloads.fetch("tool", release, kept)
    assert kept.stat().st_size == 300_000
    assert Downloads(print).fetch("tool", release, kept).read_bytes() == CONTENT
    assert publisher.ranges("/tool")[-1] == "bytes=300000-"


def test_a_host_that_refuses_half_way_is_no_reason_to_build(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(Reply(CONTENT, cut=300_000), Reply(status=403), content=CONTENT)
    with pytest.raises(DownloadError, match="broke off"):
        downloads.fetch("tool", release, kept)


def test_a_host_that_never_sends_a_byte_is_refused(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(Reply(CONTENT, cut=0), content=CONTENT)
    with pytest.raises(Refused, match="the connection ended"):
        downloads.fetch("tool", release, kept)


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
@pytest.mark.parametrize("ranges", [True, False])
def test_what_does_not_fit_is_fetched_from_the_start(
    publisher: Publisher, downloads: Downloads, kept: Path, left: bytes, ranges: bool
) -> None:
    release = publisher.release(Reply(CONTENT, ranges=ranges), content=CONTENT)
    kept.parent.mkdir()
    kept.write_bytes(left)
    assert downloads.fetch("tool", release, kept).read_bytes() == CONTENT


def test_a_redirect_is_followed_also_when_resuming(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    release = publisher.release(
        Reply(status=302, headers={"Location": "/mirror/tool"}), content=CONTENT
    )
    publisher.serve("/mirror/tool", Reply(CONTENT, cut=300_000), Reply(CONTENT))
    assert downloads.fetch("tool", release, kept).read_bytes() == CONTENT
    assert publisher.ranges("/mirror/tool") == [None, "bytes=300000-"]


def test_a_redirect_away_from_https_is_refused_and_keeps_its_secrets() -> None:
    request = urllib.request.Request("https://github.com/tool")
    target = "http://mirror.example/tool?signature=s3cret"
    with pytest.raises(Refused, match=r"mirror\.example without https") as error:
        _SecureRedirects().redirect_request(request, None, 302, "", {}, target)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "sums",
    [
        "{sum}\n",
        "{sum}  tool\n",
        "{sum} *tool\n",
        "{sum}  ./tool",
        "{other}  tool.old\n{sum}  tool\n{other}  xtool\n",
        "{upper}  tool\n",
    ],
)
def test_the_ways_that_publishers_write_sums(
    publisher: Publisher, downloads: Downloads, kept: Path, sums: str
) -> None:
    release = publisher.release(content=CONTENT)
    right, other = sha256(CONTENT), sha256(b"")
    text = sums.format(sum=right, upper=right.upper(), other=other)
    publisher.serve("/sums", Reply(text.encode()))
    assert downloads.fetch("tool", release, kept).exists()


@pytest.mark.parametrize(
    "sums", ["", "<html>please log in</html>", f"{sha256(b'')}  other\n", "abc  tool\n"]
)
def test_a_file_without_the_sum_is_an_error(
    publisher: Publisher, downloads: Downloads, kept: Path, sums: str
) -> None:
    release = publisher.release(content=CONTENT)
    publisher.serve("/sums", Reply(sums.encode()))
    with pytest.raises(DownloadError, match="/sums holds no sha256 of tool"):
        downloads.fetch("tool", release, kept)
    assert publisher.ranges("/tool") == []


def test_the_file_of_an_escaped_url_is_looked_up_by_its_name(
    publisher: Publisher, downloads: Downloads, kept: Path
) -> None:
    url = publisher.serve("/kustomize%2Fv5/a%2Bb.tar.gz", Reply(CONTENT))
    sums = publisher.serve("/sums", Reply(f"{sha256(CONTENT)}  a+b.tar.gz".encode()))
    assert downloads.fetch("tool", Release(url, sums), kept).exists()


def _release(folder: str | None) -> Release:
    return Release("https://example.org/tool", "https://example.org/sums", folder)


def test_a_bare_executable_is_placed_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"program")
    place("tool", tmp_path / "file", _release(None), tmp_path / "out")
    assert (tmp_path / "out" / "tool").read_bytes() == b"program"
    assert (tmp_path / "out" / "tool").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("folder", "expected"), [("pulumi", {"tool", "tool-language"}), ("", {"tool"})]
)
def test_the_files_of_one_folder_of_an_archive_are_the_tool(
    tmp_path: Path, folder: str, expected: set[str]
) -> None:
    content = {
        "pulumi__tool": b"program",
        "pulumi__tool-language": b"host",
        "pulumi__deeper__other": b"no",
        "tool": b"program",
        "..__evil": b"no",
    }
    (tmp_path / "file").write_bytes(archive(**content))
    place("tool", tmp_path / "file", _release(folder), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert (tmp_path / "out" / "tool").read_bytes() == b"program"
    assert (tmp_path / "out" / "tool").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "evil").exists()


def test_an_archive_without_the_tool_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(archive(readme=b"hello"))
    with pytest.raises(DownloadError, match=r"example\.org/tool does not hold pulumi/tool"):
        place("tool", tmp_path / "file", _release("pulumi"), tmp_path / "out")


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no archive")
    with pytest.raises(DownloadError, match="is no archive"):
        place("tool", tmp_path / "file", _release(""), tmp_path / "out")

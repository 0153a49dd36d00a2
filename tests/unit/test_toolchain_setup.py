"""Setting up, against a real server and with real builds of a tiny Go module."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from toolchain_support import VERSION, Publisher, Reply, archive, hello, serving, write_module

from toolchain import __main__ as command_line
from toolchain import inventory
from toolchain.build import BuildError, executable
from toolchain.download import DownloadError
from toolchain.inventory import missing, rows, table
from toolchain.pins import PLUGINS, TOOLS, GoSource, Platform, Plugin, Release, Tool
from toolchain.plugins import PluginError, plugin_folder, plugin_installed
from toolchain.setup import setup
from toolchain.tools import Origin, ToolMissing, cache_folder, find, installed

GO = shutil.which("go")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def go_cache() -> str:
    """Go's own cache, outside of what the tests call the cache."""
    assert GO, "these tests build with Go; install it"
    return subprocess.check_output([GO, "env", "GOCACHE"], text=True).strip()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go_cache: str) -> None:
    """A machine that has Go, and nothing of the project's yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("GOCACHE", go_cache)
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as publisher:
        yield publisher


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def source(tmp_path: Path) -> GoSource:
    return write_module(tmp_path / "module")


def run(path: Path) -> str:
    return subprocess.run([path], check=True, capture_output=True, text=True).stderr.strip()


def folders(tool: str) -> list[str]:
    folder = cache_folder() / "tools" / tool
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def refusing(publisher: Publisher) -> Release:
    publisher.serve("/sums", Reply(status=403))
    return Release(f"{publisher.url}/tool", f"{publisher.url}/sums")


# Downloads


def test_a_download_is_preferred_and_comes_whole(
    publisher: Publisher, source: GoSource, said: list[str]
) -> None:
    content = archive(**{"top__hello": b"#!/bin/sh\necho hi >&2\n", "top__hello-language": b"x"})
    tool = hello(source, publisher.release(content=content, folder="top"))
    setup([tool], [], said.append)
    found = installed(tool)
    assert found and found.origin is Origin.DOWNLOADED
    assert run(found.path) == "hi"
    assert (found.path.parent / "hello-language").is_file()
    assert not any("building" in line for line in said)
    assert not list((cache_folder() / "downloads").iterdir())


def test_a_mismatch_is_an_error_and_never_a_build(
    publisher: Publisher, source: GoSource, said: list[str]
) -> None:
    tool = hello(source, publisher.release(Reply(b"evil"), content=b"good"))
    with pytest.raises(DownloadError, match=r"expected sha256 .* found .* nothing was kept"):
        setup([tool], [], said.append)
    assert installed(tool) is None
    assert not any("building" in line for line in said)
    assert not list((cache_folder() / "downloads").iterdir())


def test_an_interrupted_download_goes_on_in_the_next_setup(
    publisher: Publisher, source: GoSource, said: list[str]
) -> None:
    content = b"#!/bin/sh\necho hi >&2\n" + b"#" * 100_000
    release = publisher.release(
        Reply(content, cut=60_000), Reply(content, cut=0), Reply(content), content=content
    )
    tool = hello(source, release)
    with pytest.raises(DownloadError, match="broke off"):
        setup([tool], [], said.append)
    assert installed(tool) is None
    setup([tool], [], said.append)
    assert publisher.ranges("/tool")[-1] == "bytes=60000-"
    assert run(find_installed(tool)) == "hi"


def find_installed(tool: Tool) -> Path:
    found = installed(tool)
    assert found
    return found.path


# Builds


def test_a_refused_download_is_built(
    publisher: Publisher, source: GoSource, said: list[str]
) -> None:
    tool = hello(source, refusing(publisher))
    setup([tool], [], said.append)
    found = installed(tool)
    assert found and found.origin is Origin.BUILT
    assert run(found.path) == f"v{VERSION}"
    refused = [line for line in said if "are refused" in line]
    assert refused == [f"{publisher.url[7:]}: downloads are refused (HTTP 403)"]
    assert any(re.fullmatch(r"hello: built in \d+ s", line) for line in said)
    assert publisher.ranges("/tool") == []


def test_a_refused_download_is_not_asked_for_once_built_unless_told_to(
    publisher: Publisher, source: GoSource, said: list[str]
) -> None:
    tool = hello(source, refusing(publisher))
    setup([tool], [], said.append)
    asked = len(publisher.asked)
    setup([tool], [], said.append)
    assert len(publisher.asked) == asked
    setup([tool], [], said.append, retry=True)
    assert len(publisher.asked) == asked + 1
    assert installed(tool).origin is Origin.BUILT
    content = b"#!/bin/sh\n"
    setup([hello(source, publisher.release(content=content))], [], said.append, retry=True)
    assert installed(tool).origin is Origin.DOWNLOADED


def test_what_is_not_published_with_checksums_is_built(source: GoSource, said: list[str]) -> None:
    tool = hello(source)
    setup([tool], [], said.append)
    assert run(find_installed(tool)) == f"v{VERSION}"
    assert not any("refused" in line for line in said)


def test_another_module_makes_another_build(source: GoSource, said: list[str]) -> None:
    tool = hello(source)
    setup([tool], [], said.append)
    (source.module / "go.sum").write_text("\n")
    assert installed(tool) is None
    setup([tool], [], said.append)
    assert len(folders("hello")) == 2


def test_a_build_that_fails_shows_why_and_keeps_nothing(source: GoSource, said: list[str]) -> None:
    write_module(source.module, main="package main\n\nfunc main() { broken }\n")
    with pytest.raises(BuildError, match=r"exit code 1(?s:.*)undefined: broken"):
        setup([hello(source)], [], said.append)
    assert folders("hello") == []
    write_module(source.module)
    setup([hello(source)], [], said.append)
    assert run(find_installed(hello(source))) == f"v{VERSION}"


def test_the_users_go_settings_do_not_decide_what_is_built(
    source: GoSource, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("GOOS", "plan9"), ("GOFLAGS", "-mod=vendor"), ("GO111MODULE", "off")):
        monkeypatch.setenv(name, value)
    setup([hello(source)], [], said.append)
    assert run(find_installed(hello(source))) == f"v{VERSION}"


@pytest.mark.parametrize("release", [True, False])
def test_without_go_and_download_the_ways_out_are_named(
    publisher: Publisher,
    source: GoSource,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    release: bool,
) -> None:
    tool = hello(source, refusing(publisher) if release else None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match="no Go on PATH") as error:
        setup([tool], [], said.append)
    message = str(error.value)
    assert "install Go 1.21 or newer" in message and "make setup" in message
    assert ("let this machine download" in message) is release
    assert ("HTTP 403" if release else "not published with checksums") in message


def fake_go(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "go").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("policy", ["local", "path", "go1.25.2+path", "go1.25.2", ""])
def test_a_go_that_is_too_old_is_named_with_the_one_that_is_needed(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    source = write_module(tmp_path / "new", go="1.25.11")
    fake_go(tmp_path / "bin", f"echo go1.25.2\necho {policy}", monkeypatch)
    with pytest.raises(BuildError, match=r"needs Go 1\.25\.11 or newer, found 1\.25\.2 .*/bin/go"):
        setup([hello(source)], [], said.append)


def test_an_old_go_that_may_get_a_newer_one_is_let(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_module(tmp_path / "new", go="1.25.11")
    fake_go(tmp_path / "bin", "[ $1 = env ] || exit 9; echo go1.22.0; echo auto", monkeypatch)
    with pytest.raises(BuildError, match="exit code 9"):
        setup([hello(source)], [], said.append)
    assert "hello: Go 1.22.0 first gets itself Go 1.25.11" in said


# Interruption, and two at once

STOPPING_GO = f"""
if [ $1 = install ] && mkdir "$ONCE" 2>/dev/null; then
  echo $$ > "$STARTED"
  read word < "$RELEASE"
fi
exec {GO} "$@"
"""
RUNNER = """
import sys
from pathlib import Path
from toolchain import __main__ as command_line
from toolchain.pins import GoSource, Tool
source = GoSource(Path(sys.argv[1]), "example.org/hello/cmd/hello", "main.version")
tools = {name: Tool(name, "1.2.3", source=source) for name in ["hello"]}
command_line.TOOLS = {**command_line.TOOLS, **tools}
command_line._wanted = lambda **_: list(tools.values())
command_line.PLUGINS = ()
sys.exit(command_line.main(["setup"]))
"""


class Interruptible:
    """Setups in processes of their own; the first build stops in the middle."""

    def __init__(self, folder: Path, source: GoSource, monkeypatch: pytest.MonkeyPatch) -> None:
        self._source = source
        self.started, self._release = folder / "started", folder / "release"
        for fifo in (self.started, self._release):
            os.mkfifo(fifo)
        monkeypatch.setenv("ONCE", str(folder / "once"))
        monkeypatch.setenv("STARTED", str(self.started))
        monkeypatch.setenv("RELEASE", str(self._release))
        fake_go(folder / "bin", STOPPING_GO, monkeypatch)
        self._processes: list[subprocess.Popen[str]] = []

    def setup(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, self._source.module],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        return process

    def in_the_middle(self) -> int:
        """Wait until the first build runs; its process id."""
        return int(self.started.read_text())

    def release(self) -> None:
        """Let the first build go on."""
        self._release.write_text("go\n")

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):  # nobody waits for it
            os.close(os.open(self._release, os.O_WRONLY | os.O_NONBLOCK))


@pytest.fixture
def interruptible(
    tmp_path: Path, source: GoSource, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Interruptible]:
    made = Interruptible(tmp_path, source, monkeypatch)
    yield made
    made.end()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    assert text in "".join(lines[-1:]), "".join(lines)
    return "".join(lines)


def test_a_setup_that_was_killed_is_done_by_the_next(
    interruptible: Interruptible, source: GoSource
) -> None:
    first = interruptible.setup()
    interruptible.in_the_middle()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert installed(hello(source)) is None
    second = interruptible.setup()
    # The build that the first left behind still holds the lock.
    read_until(second, f"waiting for another setup (process {first.pid}, or a build it left)")
    assert installed(hello(source)) is None
    interruptible.release()
    output, _ = second.communicate()
    assert second.returncode == 0, output
    assert run(find_installed(hello(source))) == f"v{VERSION}"
    assert len(folders("hello")) == 1
    assert not (cache_folder() / "tools" / ".staging").exists()


def test_two_setups_at_once_build_once(interruptible: Interruptible, source: GoSource) -> None:
    first = interruptible.setup()
    interruptible.in_the_middle()
    second = interruptible.setup()
    read_until(second, f"waiting for another setup (process {first.pid},")
    interruptible.release()
    outputs = [process.communicate()[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert "building from source" in outputs[0] and "building" not in outputs[1]


def test_a_setup_that_is_told_to_end_ends_its_build(interruptible: Interruptible) -> None:
    first = interruptible.setup()
    build = interruptible.in_the_middle()
    first.terminate()
    first.communicate()
    assert first.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(build, 0)


# What is optional


def test_something_optional_that_is_refused_is_no_error_and_remembered_for_a_day(
    publisher: Publisher, said: list[str]
) -> None:
    tool = hello(release=refusing(publisher), without="the stack `local` needs it")
    setup([tool], [], said.append)
    host = publisher.url[7:]
    refused = f"not available here ({host}: HTTP 403); the stack `local` needs it"
    assert f"hello {VERSION}: {refused}" in said
    assert not missing([tool], [])
    assert [(row.origin, row.needed, row.there) for row in rows([tool], [])] == [
        ("not available", False, False)
    ]
    setup([tool], [], said.append)
    assert len(publisher.asked) == 1
    setup([tool], [], said.append, retry=True)
    assert len(publisher.asked) == 2
    (memory,) = (cache_folder() / "refused").iterdir()
    yesterday = time.time() - inventory._ASK_AGAIN - 1
    os.utime(memory, (yesterday, yesterday))
    setup([tool], [], said.append)
    assert len(publisher.asked) == 3


def test_something_optional_may_be_on_path(
    tmp_path: Path, publisher: Publisher, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = hello(release=refusing(publisher), without="the stack `local` needs it")
    (tmp_path / "hello").write_text("#!/bin/sh\n")
    (tmp_path / "hello").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    setup([tool], [], said.append)
    assert publisher.asked == []
    assert f"hello  as it is  on PATH  {tmp_path / 'hello'}" in table(rows([tool], []))


def test_a_pinned_tool_is_never_taken_from_path(
    tmp_path: Path, source: GoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hello").write_text("#!/bin/sh\n")
    (tmp_path / "hello").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed(hello(source)) is None


def plugin(release: Release) -> Plugin:
    return Plugin("kubernetes", "pulumi-kubernetes", release, "the stand-in serves")


FAKE_PULUMI = """#!/bin/sh
echo "$@" > "$PULUMI_HOME/called"
[ "$2" = install ] || exit 1
mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"
tar xzf "$8" -C "$PULUMI_HOME/plugins/resource-$4-v$5"
"""


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "fake-pulumi"
    file.write_text(FAKE_PULUMI)
    file.chmod(0o755)
    (tmp_path / "pulumi").mkdir()
    monkeypatch.setattr("toolchain.setup.find", lambda _: file)
    return file


def test_a_plugin_is_verified_and_given_to_pulumi(
    pulumi: Path, publisher: Publisher, said: list[str], tmp_path: Path
) -> None:
    content = archive(**{"pulumi-resource-kubernetes": b"plugin", "README.md": b""})
    wanted = plugin(publisher.release(content=content))
    number = version("pulumi-kubernetes")
    setup([], [wanted], said.append)
    assert plugin_installed(wanted, number)
    called = (tmp_path / "pulumi" / "called").read_text()
    assert called.startswith(f"plugin install resource kubernetes {number} --exact --file ")
    assert not missing([], [wanted])
    assert "plugin kubernetes" in table(rows([], [wanted]))
    partial = plugin_folder(wanted, number).with_suffix(f"{number[number.rindex('.') :]}.partial")
    partial.touch()
    assert missing([], [wanted]).plugins == (wanted,)


def test_a_plugin_that_is_refused_says_what_serves_instead(
    pulumi: Path, publisher: Publisher, said: list[str]
) -> None:
    setup([], [plugin(refusing(publisher))], said.append)
    assert said[-1].endswith("HTTP 403); the stand-in serves")
    assert not missing([], [plugin(refusing(publisher))])


def test_a_plugin_that_pulumi_does_not_take_is_an_error_with_its_words(
    pulumi: Path, publisher: Publisher, said: list[str]
) -> None:
    pulumi.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    wanted = plugin(publisher.release(content=b"plugin"))
    with pytest.raises(PluginError, match="exit code 3: no room"):
        setup([], [wanted], said.append)


def test_a_package_that_is_not_installed_is_named(publisher: Publisher) -> None:
    wanted = Plugin("nothing", "no-such-package", refusing(publisher), "")
    with pytest.raises(PluginError, match=r"no-such-package is not installed.* make setup"):
        missing([], [wanted])


# The command line


@pytest.fixture
def one_tool(source: GoSource, monkeypatch: pytest.MonkeyPatch) -> Tool:
    tool = hello(source)
    monkeypatch.setattr(command_line, "_wanted", lambda **_: [tool])
    monkeypatch.setattr(command_line, "PLUGINS", ())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tool


def test_with_all_there_nothing_is_run_asked_or_imported(
    one_tool: Tool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.main(["setup"]) == 0

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("not with all there")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setitem(sys.modules, "toolchain.setup", None)
    capsys.readouterr()
    assert command_line.main(["setup"]) == 0
    heading, line, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["tool", "version", "from", "path"]
    assert line.split() == ["hello", VERSION, "built", str(find_installed(one_tool))]


def test_the_command_imports_no_network_before_it_must() -> None:
    script = "import sys, toolchain.__main__; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", script], text=True, cwd=REPOSITORY)
    heavy = {"ssl", "urllib.request", "http.client", "tarfile", "toolchain.setup", "yaml", "pulumi"}
    assert not heavy & set(modules.split())


def test_list_fails_while_something_needed_is_missing(
    one_tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["list"]) == 1
    output = capsys.readouterr()
    assert "missing hello; run: make setup" in output.err
    assert "hello" in output.out and "missing" in output.out
    assert command_line.main(["setup"]) == 0
    assert command_line.main(["list"]) == 0


def test_an_error_is_one_message_without_a_traceback(
    one_tool: Tool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_line.main(["setup"]) == 1
    assert capsys.readouterr().err.startswith("toolchain: hello: no download")


def test_a_cache_that_cannot_be_written_is_named(
    one_tool: Tool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert command_line.main(["setup"]) == 1
    assert str(tmp_path / "cache") in capsys.readouterr().err


def test_the_path_of_a_missing_tool_is_an_error_with_the_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command_line.main(["path", "kubectl"]) == 1
    assert "kubectl" in capsys.readouterr().err


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_the_sandbox_is_for_linux(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    monkeypatch.setattr(command_line, "this_platform", lambda: Platform(system, "arm64"))
    names = {tool.name for tool in command_line._wanted(sandbox=True, real_nodes=True)}
    assert ("kwok" in names) is ("kubelet" in names) is (system == "linux")
    assert ("is for Linux" in capsys.readouterr().out) is (system == "darwin")
    alone = {tool.name for tool in command_line._wanted(sandbox=True, real_nodes=False)}
    assert ("kwok" in alone) is (system == "linux")
    assert "kubelet" not in alone
    none = {tool.name for tool in command_line._wanted(sandbox=False, real_nodes=False)}
    assert not {"kwok", "kubelet"} & none


# The pins


def test_find_names_the_tool_and_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissing, match=r"^kubectl .* is not installed; run: make setup$"):
        find("kubectl")
    with pytest.raises(ToolMissing, match=r"minikube .*stack `local`.*make setup.*on PATH"):
        find("minikube")
    with pytest.raises(ToolMissing, match=r"nonsense is none of this project's tools, .*pulumi"):
        find("nonsense")


def test_find_gives_the_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    tool = TOOLS["kubectl"]
    monkeypatch.setattr("toolchain.tools.this_platform", lambda: Platform("linux", "amd64"))
    file = Path("relative/ml-platform/tools/kubectl") / f"{tool.version}-linux-amd64-downloaded"
    file.mkdir(parents=True)
    (file / "kubectl").write_text("")
    with pytest.raises(ToolMissing):
        find("kubectl")
    (file / "kubectl").chmod(0o755)
    assert find("kubectl") == tmp_path / file / "kubectl"


@pytest.mark.parametrize("tool", [tool for tool in TOOLS.values() if tool.source], ids=str)
def test_a_build_has_the_version_of_the_download(tool: Tool) -> None:
    assert tool.source
    text = (tool.source.module / "go.mod").read_text()
    required = dict(re.findall(r"^\s*(?:require )?(\S+) v(\S+)", text, re.MULTILINE))
    package = tool.source.parent or tool.source.package
    module = max((path for path in required if f"{package}/".startswith(f"{path}/")), key=len)
    assert required[module] == tool.version
    if tool.source.parent:
        return
    declared = set(re.findall(r"^(?:tool |\t)(\S+)$", text, re.MULTILINE))
    assert tool.source.package in declared


@pytest.mark.parametrize("platform", [Platform("linux", "amd64"), Platform("darwin", "arm64")])
def test_every_download_is_https_of_one_release(platform: Platform) -> None:
    for tool in TOOLS.values():
        if tool.release:
            release = tool.release.of(tool.version, platform)
            assert release.url.startswith("https://") and "{" not in release.url
            assert release.checksums.startswith("https://") and "{" not in release.checksums
            assert tool.version in release.url and tool.version in release.checksums
            assert release.url.split("/")[:7] == release.checksums.split("/")[:7]
    pulumi = TOOLS["pulumi"]
    assert pulumi.release
    arch = {"amd64": "x64", "arm64": "arm64"}[platform.arch]
    expected = f"pulumi-v{pulumi.version}-{platform.os}-{arch}.tar.gz"
    assert pulumi.release.of(pulumi.version, platform).url.endswith(f"/{expected}")
    for plugin in PLUGINS:
        assert plugin.release.of("1.0.0", platform).url.startswith("https://github.com/pulumi/")


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("sigs.k8s.io/kustomize/kustomize/v5", "kustomize"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ],
)
def test_what_go_calls_an_executable(package: str, expected: str) -> None:
    assert executable(package) == expected

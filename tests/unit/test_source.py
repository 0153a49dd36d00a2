"""Sources: what is fetched, what the lock file holds, and what each failure says."""

import os
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from components.kubeflow import source
from components.kubeflow.source import SourceError, SourceSpec, resolve, tree_digest

EXAMPLE = "resources:\n- ../common/dex/base\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def commit(folder: Path, files: dict[str, str]) -> str:
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A git repository laid out as kubeflow/manifests, with the tag v1 and the branch main."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit(
        folder,
        {
            "example/kustomization.yaml": EXAMPLE,
            "common/dex/base/a.yaml": "a: 1\n",
            "applications/x/b.yaml": "b: 2\r\n",
        },
    )
    git(folder, "tag", "--annotate", "v1", "--message", "v1")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "kubeflow.lock"


def spec(upstream: Path, ref: str = "v1") -> SourceSpec:
    return SourceSpec(repository=upstream.as_uri(), ref=ref)


def left_over(cache: Path) -> list[str]:
    return [path.name for path in (cache / "sources").glob(".tmp-*")]


def test_a_ref_is_cloned_at_exactly_its_commit_and_locked(
    upstream: Path, cache: Path, lock: Path
) -> None:
    expected = git(upstream, "rev-parse", "v1^{commit}")
    commit(upstream, {"common/dex/base/a.yaml": "a: 9\n"})
    messages: list[str] = []
    found = resolve(spec(upstream), cache, lock, messages.append)
    assert found.root == cache / "sources" / expected
    assert (found.root / "common/dex/base/a.yaml").read_text() == "a: 1\n"
    assert (found.root / "applications/x/b.yaml").read_bytes() == b"b: 2\r\n"
    assert not (found.root / ".git").exists()
    assert orjson.loads(lock.read_bytes()) == {
        "sources": {f"{upstream.as_uri()}@v1": {"commit": expected, "digest": found.digest}}
    }
    assert messages == [f"fetching v1 of {upstream.as_uri()}"]
    assert left_over(cache) == []


@pytest.mark.parametrize("kind", ["tag", "branch", "commit"])
def test_tags_branches_and_commits_are_refs(
    kind: str, upstream: Path, cache: Path, lock: Path
) -> None:
    head = git(upstream, "rev-parse", "HEAD")
    ref = {"tag": "v1", "branch": "main", "commit": head}[kind]
    assert resolve(spec(upstream, ref), cache, lock).root.name == head


def test_a_locked_and_cached_ref_needs_no_repository(
    upstream: Path, cache: Path, lock: Path
) -> None:
    first = resolve(spec(upstream), cache, lock)
    shutil.rmtree(upstream)
    assert resolve(spec(upstream), cache, lock) == first


def test_another_checkout_has_the_same_digest(
    upstream: Path, cache: Path, lock: Path, tmp_path: Path
) -> None:
    first = resolve(spec(upstream), cache, lock)
    second = resolve(spec(upstream), tmp_path / "elsewhere", lock)
    assert second.digest == first.digest
    assert second.root != first.root


def test_the_lock_keeps_other_entries_and_its_order(
    upstream: Path, cache: Path, lock: Path
) -> None:
    resolve(spec(upstream, "v1"), cache, lock)
    resolve(spec(upstream, "main"), cache, lock)
    text = lock.read_text()
    assert list(orjson.loads(text)["sources"]) == [
        f"{upstream.as_uri()}@main",
        f"{upstream.as_uri()}@v1",
    ]
    assert text.endswith("}\n")


def test_a_moved_ref_is_refused_with_both_commits_and_the_way_out(
    upstream: Path, cache: Path, lock: Path
) -> None:
    old = resolve(spec(upstream, "main"), cache, lock).root.name
    new = commit(upstream, {"common/dex/base/a.yaml": "a: 2\n"})
    shutil.rmtree(cache)
    before = lock.read_bytes()
    with pytest.raises(SourceError) as error:
        resolve(spec(upstream, "main"), cache, lock)
    for part in ("main", old, new, str(lock), f'"{upstream.as_uri()}@main"'):
        assert part in str(error.value)
    assert lock.read_bytes() == before
    assert left_over(cache) == []
    lock.unlink()
    assert resolve(spec(upstream, "main"), cache, lock).root.name == new


def test_a_lock_with_another_digest_is_refused(upstream: Path, cache: Path, lock: Path) -> None:
    found = resolve(spec(upstream), cache, lock)
    lock.write_text(lock.read_text().replace(found.digest, "sha256:" + "0" * 64))
    with pytest.raises(SourceError, match=r"digest sha256:0{64}, the repository now has sha256:"):
        resolve(spec(upstream), cache, lock)


def test_a_changed_copy_in_the_cache_is_fetched_again(
    upstream: Path, cache: Path, lock: Path
) -> None:
    first = resolve(spec(upstream), cache, lock)
    (first.root / "common/dex/base/a.yaml").write_text("a: tampered\n")
    (first.root / "common/more.yaml").write_text("c: 3\n")
    assert resolve(spec(upstream), cache, lock) == first
    assert tree_digest(first.root) == first.digest


def test_what_a_killed_clone_left_behind_is_not_used_and_goes_away(
    upstream: Path, cache: Path, lock: Path
) -> None:
    half = cache / "sources" / ".tmp-killed" / "tree"
    half.mkdir(parents=True)
    (half / "part").write_text("half")
    resolve(spec(upstream), cache, lock)
    assert left_over(cache) == []


def test_an_interruption_leaves_no_clone(
    upstream: Path, cache: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = source._git

    def interrupted(git: str, *arguments: str) -> str:
        if "checkout" in arguments:
            raise KeyboardInterrupt
        return run(git, *arguments)

    monkeypatch.setattr(source, "_git", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve(spec(upstream), cache, lock)
    assert [path.name for path in (cache / "sources").iterdir()] == [".lock"]
    assert not lock.exists()


def test_git_variables_of_a_surrounding_hook_are_ignored(
    upstream: Path, cache: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    assert resolve(spec(upstream), cache, lock).root.is_dir()


def test_a_users_git_settings_do_not_change_the_content(
    upstream: Path, cache: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\nautocrlf = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    root = resolve(spec(upstream), cache, lock).root
    assert (root / "common/dex/base/a.yaml").read_bytes() == b"a: 1\n"


def test_an_unknown_ref(upstream: Path, cache: Path, lock: Path) -> None:
    with pytest.raises(SourceError, match=r"kubeflowRef is v9, which .* does not have"):
        resolve(spec(upstream, "v9"), cache, lock)
    with pytest.raises(SourceError, match="does not have"):
        resolve(spec(upstream, "0" * 40), cache, lock)


def test_a_repository_that_does_not_answer(tmp_path: Path, cache: Path, lock: Path) -> None:
    missing = SourceSpec(repository=(tmp_path / "none").as_uri(), ref="v1")
    with pytest.raises(SourceError, match=r"kubeflowRepository .*none cannot be reached \(.+\)"):
        resolve(missing, cache, lock)


@pytest.mark.parametrize("ref", ["", "--upload-pack=x", "a b", "+v1", "v1:refs/heads/x"])
def test_a_ref_that_git_would_take_for_something_else(ref: str, cache: Path, lock: Path) -> None:
    with pytest.raises(SourceError, match="expected a tag, a branch or a commit hash"):
        resolve(SourceSpec(repository="file:///none", ref=ref), cache, lock)


def test_no_git(
    upstream: Path, cache: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git is not installed"):
        resolve(spec(upstream), cache, lock)


def test_a_repository_that_is_not_kubeflows(tmp_path: Path, cache: Path, lock: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "--initial-branch=main")
    commit(other, {"README.md": "hello"})
    with pytest.raises(SourceError, match=r"main of .*no common, no example"):
        resolve(SourceSpec(repository=other.as_uri(), ref="main"), cache, lock)
    assert not lock.exists()


def test_an_unreadable_lock_file(upstream: Path, cache: Path, lock: Path) -> None:
    lock.write_text('{"sources": {"x": 1}}')
    with pytest.raises(SourceError, match=f"{lock} is not readable as a lock file"):
        resolve(spec(upstream), cache, lock)


def test_a_path_is_used_as_it_is(upstream: Path, cache: Path, lock: Path) -> None:
    found = resolve(SourceSpec(path=upstream), cache, lock)
    assert found.root == upstream
    assert not cache.exists()
    assert not lock.exists()


def test_a_path_that_is_no_folder(tmp_path: Path, cache: Path, lock: Path) -> None:
    with pytest.raises(SourceError, match=r"kubeflowPath is .*none, which is no folder"):
        resolve(SourceSpec(path=tmp_path / "none"), cache, lock)


@pytest.mark.parametrize("missing", ["common", "example"])
def test_a_path_without_manifests(missing: str, upstream: Path, cache: Path, lock: Path) -> None:
    shutil.rmtree(upstream / missing)
    with pytest.raises(SourceError, match=f"it has no {missing}"):
        resolve(SourceSpec(path=upstream), cache, lock)


def test_the_digest_sees_names_and_content_and_nothing_else(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, {"a": "xy", "b/c": "z"})
    write(two, {"b/c": "z", "a": "xy", ".git/HEAD": "ref"})
    os.utime(two / "a", (1, 1))
    assert tree_digest(one) == tree_digest(two)
    seen = {tree_digest(one)}
    for files in (
        {"a": "x", "b/c": "yz"},
        {"a": "xy", "b/d": "z"},
        {"a": "xy", "b/c": "z", "e": ""},
    ):
        shutil.rmtree(two)
        write(two, files)
        seen.add(tree_digest(two))
    assert len(seen) == 4


def test_a_link_counts_with_what_it_says(tmp_path: Path) -> None:
    write(tmp_path, {"folder/a": "x"})
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "broken").symlink_to("none")
    before = tree_digest(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("folder/a")
    assert tree_digest(tmp_path) != before

"""Images are built once for a recipe; what the recipes are and what they stand for."""

import dataclasses
import json
import tarfile
from pathlib import Path

import pytest

from components.gateway import images as gateway_images
from components.redis import images
from sandbox.images import cli, golang
from sandbox.images.debian import Archive, needs
from sandbox.images.recipe import Config, ImageError, Program, Recipe, Text, Wheel
from sandbox.images.recipes import BASE_PACKAGES, PAUSE, RECIPES
from sandbox.images.store import Store

PLAIN = Recipe("plain", ("localhost/plain:1",), entries=(Text("hello", "there"),))
SAID: list[str] = []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(("base-files",), tmp_path / "images")


def test_an_image_is_built_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    assert store.find(PLAIN) is None
    [built] = store.build([PLAIN], SAID.append)
    assert store.find(PLAIN) == built
    monkeypatch.setattr("sandbox.images.store._Build", None)
    assert store.build([PLAIN], SAID.append) == [built]


def test_a_blob_that_is_gone_is_built_again(store: Store):
    [built] = store.build([PLAIN], SAID.append)
    store.blobs.path(built.layers[0].digest).unlink()
    assert store.find(PLAIN) is None
    assert store.build([PLAIN], SAID.append) == [built]


def test_the_image_holds_what_the_recipe_says(store: Store):
    recipe = dataclasses.replace(PLAIN, config=Config(user="7", cmd=("/hello",)))
    [built] = store.build([recipe], SAID.append)
    with tarfile.open(store.blobs.path(built.layers[0].digest)) as layer:
        assert layer.extractfile("hello").read() == b"there"
    manifest = json.loads(store.blobs.path(built.manifest.digest).read_bytes())
    config = json.loads(store.blobs.path(manifest["config"]["digest"]).read_bytes())
    assert (config["config"]["User"], config["config"]["Cmd"]) == ("7", ["/hello"])


def test_another_content_is_another_image_and_another_name_is_not(tmp_path: Path):
    changed = dataclasses.replace(PLAIN, entries=(Text("hello", "you"),))
    assert changed.key() != PLAIN.key()
    assert dataclasses.replace(PLAIN, references=("x:2",)).key() == PLAIN.key()
    assert dataclasses.replace(PLAIN, packages=("dash",)).key() != PLAIN.key()


def test_a_changed_source_is_another_image(tmp_path: Path):
    for name in ("go.mod", "main.go"):
        (tmp_path / name).write_text(f"// {name}\n")
    recipe = dataclasses.replace(PLAIN, programs=(Program(tmp_path, "run"),))
    before = recipe.key()
    (tmp_path / "main.go").write_text("// another\n")
    assert recipe.key() != before


def test_a_program_knows_its_version(tmp_path: Path):
    text = (
        "module x\n\ngo 1.25.0\n\nrequire (\n\texample.com/a v1.2.3\n\texample.com/ab v9.0.0\n)\n"
    )
    (tmp_path / "go.mod").write_text(text)
    assert Program(tmp_path, "a", "example.com/a").version() == "v1.2.3"
    (tmp_path / "go.mod").write_text("module x\n\nrequire example.com/a v1.2.4\n")
    assert Program(tmp_path, "a", "example.com/a").version() == "v1.2.4"
    assert Program(tmp_path, "a").version() == ""


def test_a_program_that_does_not_compile_is_an_error(tmp_path: Path):
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.25.0\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(ImageError, match="nonsense"):
        golang.build(Program(tmp_path, "x"), tmp_path / "x")


def test_a_wheel_that_is_not_installed_is_an_error():
    with pytest.raises(ImageError, match=r"no-such-thing is not installed; run: make setup"):
        dataclasses.replace(PLAIN, wheels=(Wheel("no-such-thing", "x", "x"),)).key()


def test_a_wheels_program_is_in_the_image(store: Store):
    recipe = dataclasses.replace(PLAIN, wheels=(Wheel("pytest", "pytest/__init__.py", "bin/x"),))
    [built] = store.build([recipe], SAID.append)
    assert built.contents == {"pytest": pytest.__version__}
    with tarfile.open(store.blobs.path(built.layers[0].digest)) as layer:
        assert layer.getmember("bin/x").mode == 0o755
        assert layer.extractfile("bin/x").read() == Path(pytest.__file__).read_bytes()


def test_without_apt_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert needs() == ["apt-get", "dpkg-deb"]
    with pytest.raises(ImageError, match="needs apt-get and dpkg-deb"):
        Archive("trixie", tmp_path)


def test_there_is_a_recipe_for_every_image_that_redis_asks_for():
    proxies = {images.HAPROXY, images.ENVOY}
    asked = {*images.REDIS.values(), *proxies, images.REDIS_EXPORTER, images.RCLONE, PAUSE}
    assert asked <= {reference for recipe in RECIPES for reference in recipe.references}


def test_names_and_references_are_unique():
    references = [reference for recipe in RECIPES for reference in recipe.references]
    assert len(set(references)) == len(references)
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)


def test_users_are_those_of_the_components():
    uids = {user.name: user.uid for recipe in RECIPES for user in recipe.users}
    of_redis = {"redis": images.REDIS_UID, "haproxy": images.HAPROXY_UID}
    of_mysql = {"mysql": 999}  # docker-library/mysql
    assert uids == {**of_redis, **of_mysql, "nginx": gateway_images.NGINX_UID}
    [exporter] = [recipe for recipe in RECIPES if recipe.name == "redis-exporter"]
    assert exporter.config.user.split(":")[0] == str(images.EXPORTER_UID)


def test_list_says_what_each_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["list", "haproxy"]) == 0
    said = capsys.readouterr().out
    assert images.HAPROXY in said
    assert "not built" in said


def test_load_without_a_client_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["load", "--address", "/nowhere"]) == 1
    assert capsys.readouterr().err.startswith("images: ctr, which comes with containerd, is not")
    assert BASE_PACKAGES

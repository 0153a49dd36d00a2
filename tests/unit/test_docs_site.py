"""The documentation: it builds whole, without a broken link, and fetches nothing when viewed."""

import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from components.reference import render

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [*PAGES, *sorted(ROOT.glob("*.md"))]
# Code is no link: fences, then spans.
CODE = re.compile(r"^(`{3,}).*?^\1`*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")


def build(folder):
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def copy(folder):
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(DOCS, folder / "docs")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = copy(tmp_path_factory.mktemp("docs"))
    built = build(folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "dist" / "site"


def pages_in(nav):
    for entry in nav:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from pages_in(value)


def relative_links(file):
    for target in LINK.findall(CODE.sub("", file.read_text())):
        url = urlsplit(target)
        if not url.scheme and not url.netloc and url.path:
            yield target, file.parent / unquote(url.path)


class Fetched(HTMLParser):
    """Addresses that a browser fetches by itself to show a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "embed"):
            self.addresses.append(given.get("src"))
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(given.get("href"))


def test_every_page_is_built(site):
    missing = [
        page for page in PAGES if not (site / page.relative_to(DOCS).with_suffix(".html")).is_file()
    ]
    assert not missing


def test_every_page_is_in_the_navigation_once():
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(pages_in(nav)) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_every_file_that_is_linked_to_is_there():
    links = [(file, *link) for file in WRITTEN for link in relative_links(file)]
    assert len(links) > 50
    broken = [
        f"{file.relative_to(ROOT)}: {text}" for file, text, path in links if not path.exists()
    ]
    assert not broken


@pytest.mark.parametrize("link", ["nowhere.md", "redis.md#nowhere"])
def test_a_broken_link_fails_the_build(tmp_path, link):
    folder = copy(tmp_path)
    with (folder / "docs" / "index.md").open("a") as file:
        file.write(f"\n[broken]({link})\n")
    built = build(folder)
    assert built.returncode != 0
    assert "does not exist" in built.stdout + built.stderr


def test_nothing_is_fetched_from_elsewhere(site):
    found = set()
    for file in site.rglob("*.html"):
        page = Fetched()
        page.feed(file.read_text())
        found |= {address for address in page.addresses if address and urlsplit(address).netloc}
        # The theme draws diagrams by a script that it fetches.
        assert "mermaid" not in re.findall(r'<pre class="(\w+)', file.read_text()), file
    for file in site.rglob("*.css"):
        text = file.read_text()
        found |= set(re.findall(r"(?:url\(|@import\s*)[\"']?(https?://[^\"')]+)", text))
    assert not found


def test_the_reference_of_settings_is_current():
    current = (DOCS / "reference" / "settings.md").read_text()
    assert current == render(), "python -m components.reference > docs/reference/settings.md"

"""The report's page in a real browser: it is laid out, runs nothing, and asks for nothing."""

import re
import struct
from pathlib import Path

import pytest
from test_review_report import hostile, many, sample

from review import page
from tests.support import browser


@pytest.fixture(scope="module", autouse=True)
def _browser():
    try:
        browser.find()
    except browser.NoBrowser as error:
        pytest.skip(f"needs chromium: {error}")


def shown(tmp_path: Path, *previews, flags=()) -> str:
    file = tmp_path / "preview.html"
    file.write_text(page.render(previews))
    return browser.open_page(file, tmp_path / "profile", *flags)


def test_the_page_is_shown_with_all_of_its_parts(tmp_path):
    image = tmp_path / "page.png"
    text = shown(tmp_path, sample(), flags=[f"--screenshot={image}", "--window-size=900,700"])
    for words in (
        "Preview of the stack team",
        "Data is lost, unless it is saved first",
        "kubeflow/settings",
        "ui:latest has no fixed tag",
    ):
        assert words in text
    assert text.count("<details") == 4
    assert "<ins>+b: 5</ins>" in text
    if image.exists():  # not every version takes both
        assert struct.unpack(">II", image.read_bytes()[16:24]) == (900, 700)


def test_a_large_page_is_read_to_its_end(tmp_path):
    text = shown(tmp_path, many(300, 900))
    assert "object-00899" in text
    assert text.count("<details") == 300


def test_a_script_in_a_name_does_not_run(tmp_path):
    # The probe works: without the escaping its text would be there.
    attack = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    text = shown(tmp_path, hostile(attack))
    assert re.search(r"<title>(.*?)</title>", text, re.DOTALL)[1] != "ran"
    assert "<script" not in text
    assert "<img" not in text
    probe = tmp_path / "probe.html"
    probe.write_text(f"<!doctype html><title>no</title>{attack}")
    assert "<title>ran</title>" in browser.open_page(probe, tmp_path / "profile")


def test_the_policy_of_the_page_stops_what_escaping_would_have_missed(tmp_path):
    file = tmp_path / "preview.html"
    text = page.render([sample()])
    file.write_text(text.replace("</body>", "<script>document.title='ran'</script></body>"))
    assert "<title>ran</title>" not in browser.open_page(file, tmp_path / "profile")

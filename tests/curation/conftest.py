"""Small OUTs, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import open_run
from gpa.curation.report.write import write_report
from tests.curation.report.synthetic import write_out
from tests.in_process import talks, whole

__all__ = ["talks", "whole"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium, headless and without sound."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def watched(browser, own: Callable[[str], bool]) -> Iterator:
    """A page; fails on any message of the console, any dialog, and a request that is not `own`."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: own(request.url) or problems.append(request.url))
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 100 utterances, three voters and a verifier, with its report."""
    folder = tmp_path_factory.mktemp("out")
    write_out(folder, utterances=20, verifier="delta")
    run = open_run(str(folder))
    write_report(run, audit(run, 40))
    return folder

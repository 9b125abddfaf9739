"""The explorer over HTTP, and in a real browser: open, filter, listen, correct, download."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import uvicorn
from starlette.testclient import TestClient

from gpa.curation.explore.app import build
from gpa.curation.explore.catalogue import Catalogue
from gpa.curation.explore.verdicts import NAME, Verdicts
from gpa.curation.report.outputs import open_run
from gpa.eval.labels.calibrate import read_verdicts
from tests.curation.conftest import watched
from tests.curation.report.synthetic import ATTACK, NASTY_PATH


@pytest.fixture
def own(out: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(out, tmp_path / "out"))


def application(out: Path, reviewer: str = "ann"):
    verdicts = Verdicts(out / NAME)
    return build(Catalogue(open_run(str(out))), verdicts, reviewer, ["127.0.0.1", "localhost"])


@pytest.fixture
def client(own: Path) -> TestClient:
    return TestClient(application(own), base_url="http://localhost")


class TestOverHTTP:
    def test_a_condition_that_is_wrong_is_a_sentence(self, client):
        answer = client.get("/api/utterances", params={"where": "nope = 1"})
        assert answer.status_code == 400
        assert "is no condition on the columns" in answer.json()["error"]

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_a_download_has_the_rows_that_are_counted(self, client, kind, tmp_path):
        asked = {"where": "kept", "sort": "pwer"}
        counts = client.get("/api/utterances", params=asked).json()["counts"]
        file = tmp_path / f"rows.{kind}"
        file.write_bytes(client.get(f"/api/download.{kind}", params=asked).content)
        table = pyarrow.csv.read_csv(file) if kind == "csv" else pq.read_table(file)
        assert table.num_rows == counts["utterances"] == counts["kept"] > 0

    def test_a_verdict_is_on_the_disk_with_its_reviewer(self, client, own):
        utterance_id = client.get("/api/utterances").json()["rows"][0]["utterance_id"]
        said = {"utterance_id": utterance_id, "verdict": "wrong", "text": "what was said"}
        assert client.post("/api/verdicts", json=said).json() == {"judged": 1}
        assert json.loads((own / NAME).read_text()).items() >= (said | {"reviewer": "ann"}).items()
        assert read_verdicts(own / NAME) == {utterance_id: "wrong"}
        (shown,) = client.get(f"/api/utterance/{utterance_id}").json()["verdicts"]
        assert shown["text"] == "what was said"

    def test_where_two_reviewers_differ_is_said(self, own):
        for reviewer, verdict in (("ann", "right"), ("bo", "wrong")):
            client = TestClient(application(own, reviewer), base_url="http://localhost")
            utterance_id = client.get("/api/utterances").json()["rows"][0]["utterance_id"]
            client.post("/api/verdicts", json={"utterance_id": utterance_id, "verdict": verdict})
        assert client.get("/api/utterances").json()["differing"] == [utterance_id]

    def test_nobody_judges_what_is_not_there_or_from_another_site(self, client, own):
        unknown = {"utterance_id": "nobody", "verdict": "right"}
        assert client.post("/api/verdicts", json=unknown).status_code == 400
        known = client.get("/api/utterances").json()["rows"][0]["utterance_id"]
        body = json.dumps({"utterance_id": known, "verdict": "right"})
        plain = {"Content-Type": "text/plain"}  # what a form of another site may send unasked
        assert client.post("/api/verdicts", content=body, headers=plain).status_code >= 400
        rebound = {"Host": "attacker.example"}
        assert client.get("/api/utterances", headers=rebound).status_code == 400
        assert not (own / NAME).exists()


@contextlib.contextmanager
def served(app) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    started = threading.Event()
    startup = server.startup

    async def and_say_so(*args, **kwargs) -> None:
        await startup(*args, **kwargs)
        started.set()

    server.startup = and_say_so  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(30)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(browser, own: Path) -> Iterator:
    """The explorer; fails on any message of the console and on any request elsewhere."""
    with (
        served(application(own)) as url,
        watched(browser, lambda asked: asked.startswith((url, "data:"))) as page,
    ):
        page.goto(url)
        page.wait_for_selector("#table tbody tr")
        yield page


def test_a_person_filters_listens_corrects_and_downloads(page, own: Path):
    everything = page.locator("#table tbody tr").count()
    page.keyboard.press("/")
    page.keyboard.type("kept and pwer > 0")
    page.keyboard.press("Enter")
    page.wait_for_url("**where=kept+and+pwer+%3E+0")
    page.locator("#table[aria-busy=false]").wait_for()
    rows = page.locator("#table tbody tr").count()
    assert 0 < rows < everything

    page.locator("#where").blur()
    page.keyboard.press("j")
    page.wait_for_selector("#card article")
    page.keyboard.press("p")
    page.locator("#card .playhead").wait_for(state="visible")

    page.keyboard.press("c")
    page.locator("#said").fill("what is really said")
    page.keyboard.press("Enter")
    page.locator("#verdicts", has_text="ann: wrong (what is really said)").wait_for()
    opened = page.locator("#card article").get_attribute("data-utterance")
    assert read_verdicts(own / NAME) == {opened: "wrong"}

    with page.expect_download() as download:
        page.locator("#parquet").click()
    assert pq.read_table(download.value.path()).num_rows == rows


def test_hostile_text_and_file_names_are_shown_and_never_run(page):
    page.locator("#where").fill("contains(text, '<script>')")
    page.keyboard.press("Enter")
    page.wait_for_url("**where=contains*")
    page.locator("#table[aria-busy=false]").wait_for()
    row = page.locator("#table tbody tr", has_text=NASTY_PATH).first
    assert ATTACK in row.inner_text()
    row.click()
    page.wait_for_selector("#card article")
    assert ATTACK in page.locator("#card").inner_text()


def test_an_address_shows_a_colleague_the_same(page, browser):
    page.locator("#table thead button", has_text="pwer").click()
    page.wait_for_selector("th[aria-sort=ascending]")
    page.locator("#table tbody tr").nth(3).click()
    page.wait_for_selector("#card article")
    shown = page.locator("#card article").get_attribute("data-utterance")
    colleague = browser.new_page()
    colleague.goto(page.url)
    colleague.wait_for_selector("#card article")
    assert colleague.locator("#card article").get_attribute("data-utterance") == shown
    assert colleague.locator("th[aria-sort=ascending]").inner_text().startswith("pwer")
    colleague.close()


def test_disputed_words_lead_to_their_utterances(page):
    page.locator("#show-disputes").click()
    first = page.locator("#disputes tbody button").first
    first.wait_for()
    first.click()
    page.wait_for_url("**where=utterance_id+in+*")
    page.locator("#table tbody tr").first.click()
    page.wait_for_selector("#card article")
    assert "utterance_id in" in page.locator("#where").input_value()
    assert page.locator("#error").is_hidden()


def test_the_vocabulary_leads_to_its_utterances_and_the_card_has_a_spectrogram(page):
    page.locator("#show-vocabulary").click()
    word = page.locator("#words tr").first
    word.wait_for()
    times, shown = word.locator("td").all_inner_texts()
    word.locator("button").click()
    page.wait_for_url("**where=regexp_matches*")
    page.locator("#table[aria-busy=false]").wait_for()
    assert 0 < int(page.locator("#counts").inner_text().split()[0]) <= int(times)
    assert shown in page.locator("#where").input_value()
    page.locator("#table tbody tr").first.click()
    picture = page.locator(".spectrogram")
    assert picture.evaluate("image => image.decode().then(() => image.naturalHeight)") == 128
    assert page.locator("#error").is_hidden()

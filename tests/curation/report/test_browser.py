"""The page in a real browser, from disk: slider, sound, verdicts; no error, no request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpa.eval.labels.calibrate import read_verdicts
from tests.curation.conftest import watched


@pytest.fixture
def page(browser, out: Path) -> Iterator:
    """The report, opened from disk; fails on any message of the console and any request."""
    url = (out / "report" / "index.html").as_uri()
    with watched(
        browser, lambda asked: asked == url or asked.startswith(("data:", "blob:"))
    ) as page:
        page.goto(url)
        yield page


@pytest.fixture(scope="module")
def thresholds(out: Path) -> dict[float, dict]:
    steps = json.loads((out / "report" / "summary.json").read_text())["audit"]["thresholds"]
    return {step["threshold"]: step for step in steps}


def move_slider(page, threshold: float) -> None:
    place = round(threshold * 200)
    page.locator("#threshold").evaluate(
        "(slider, place) => { slider.value = place; "
        "slider.dispatchEvent(new Event('input', { bubbles: true })) }",
        place,
    )


@pytest.mark.parametrize("threshold", [0.0, 0.15, 0.3, 0.5])
def test_the_slider_shows_what_a_threshold_keeps(page, thresholds, threshold: float):
    move_slider(page, threshold)
    expected = thresholds[threshold]
    assert page.locator("#kept-audio").inner_text() == f"{expected['kept_s'] / 60:.2f} min"
    assert page.locator("#kept-count").inner_text() == f"{expected['kept_utterances']} utterances"
    assert page.locator("#changes").inner_text() == str(expected["change_sides"])
    mean = expected["mean_pwer"]
    shown = "–" if mean is None else f"{mean * 100:.2f} %"
    assert page.locator("#kept-pwer").inner_text() == shown
    assert page.locator("#threshold-value").inner_text() == f"{threshold * 100:.1f} %"


def test_the_slider_moves_by_keys(page):
    page.locator("#threshold").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#threshold-value").inner_text() == "15.5 %"
    page.locator("#threshold-reset").click()
    assert page.locator("#threshold-value").inner_text() == "15.0 %"


def test_a_clip_plays(page):
    page.locator(".sample:not([hidden]) audio").scroll_into_view_if_needed()
    page.locator("h1").click()
    page.keyboard.press("p")
    heard_s = page.locator(".sample:not([hidden]) audio").evaluate(
        "audio => new Promise(done => audio.addEventListener('timeupdate', "
        "() => { if (audio.currentTime > 0.2) done(audio.currentTime) }))"
    )
    assert heard_s > 0.2
    assert page.locator(".sample:not([hidden]) audio").evaluate("a => a.duration") > 0.5


def test_verdicts_are_given_by_key_and_button_and_downloaded(page, tmp_path: Path):
    page.locator("h1").click()
    page.keyboard.press("r")
    first = page.locator(".sample:not([hidden])").get_attribute("data-utterance")
    page.keyboard.press("j")
    second = page.locator(".sample:not([hidden])").get_attribute("data-utterance")
    page.locator(".sample:not([hidden]) [data-verdict=wrong]").click()
    assert page.locator("#judged").inner_text() == "2 judged"
    with page.expect_download() as download:
        page.locator("#export").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "verdicts.jsonl"
    assert read_verdicts(file) == {first: "right", second: "wrong"}


def test_verdicts_outlive_a_reload(page):
    page.locator("h1").click()
    page.keyboard.press("u")
    page.reload()
    button = page.locator(".sample:not([hidden]) [data-verdict=unsure]")
    assert button.get_attribute("aria-pressed") == "true"


def test_a_stratum_can_be_listened_to_alone(page):
    options = page.locator("#stratum option")
    name = options.nth(1).get_attribute("value")
    page.locator("#stratum").select_option(name)
    shown = page.locator(".sample:not([hidden])")
    assert shown.count() == 1
    assert shown.get_attribute("data-stratum") == name


def test_a_phone_has_one_column_and_nothing_to_scroll_sideways(browser, out: Path):
    for scheme in ("light", "dark"):
        context = browser.new_context(
            viewport={"width": 375, "height": 812}, color_scheme=scheme, has_touch=True
        )
        page = context.new_page()
        page.goto((out / "report" / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        context.close()


def test_nothing_moves_after_the_page_is_there(browser, out: Path):
    page = browser.new_page()
    page.add_init_script(
        "window.shifts = 0; new PerformanceObserver((list) => "
        "{ for (const entry of list.getEntries()) window.shifts += entry.value })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    page.goto((out / "report" / "index.html").as_uri())
    page.wait_for_load_state("load")
    assert page.evaluate("window.shifts") < 0.02
    page.close()


def test_everything_that_can_be_used_has_a_name(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, audio')].filter(e => "
        "!(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length)))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []

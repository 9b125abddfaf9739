"""Answers to a test set: all items have one, whatever the model can't work on."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from gpa.eval import answers
from gpa.eval.answers import answer
from gpa.eval.datasets import Item, TestSet
from gpa.eval.prompts import Request
from gpa.eval.scoring import read_spoken
from gpa.runtime.errors import UserError

QUIET = Console(quiet=True)
SILENCE = np.zeros(16_000, np.float32)


def test_recognition_writes_what_the_generator_writes(make_generator, voice, tmp_path):
    generator = make_generator()
    items = tuple(Item(key, "text", audio=lambda: voice) for key in "ab")
    found = answer(generator, TestSet("s", "asr", "en", items), tmp_path, QUIET)
    (expected,) = generator.generate([Request("asr", audio=voice)])
    assert found.texts == {"a": expected.text, "b": expected.text}
    assert found.failed == {}
    assert not list(tmp_path.iterdir())


def test_speech_is_written_as_it_was_said(make_generator, voice, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "HELD_ITEMS", 1)  # so that the set comes in portions
    generator = make_generator()
    items = tuple(Item(key, f"text {key}", voice=lambda: voice) for key in "ab")
    answer(generator, TestSet("s", "tts", "en", items), tmp_path / "said", QUIET)
    requests = [
        Request("tts", text=f"text {key}", voice=voice, seed=n) for n, key in enumerate("ab")
    ]
    for key, result in zip("ab", generator.generate(requests), strict=True):
        said = read_spoken(tmp_path / "said", key)
        np.testing.assert_allclose(said, np.clip(result.waveform, -1, 1), atol=2 / 32768)


def test_what_the_model_cannot_work_on_has_an_empty_answer_and_a_reason(
    make_generator, voice, tmp_path
):
    items = (
        Item("good", "text", audio=lambda: voice, voice=lambda: voice),
        Item("silent", "text", audio=lambda: SILENCE, voice=lambda: voice),
    )
    generator = make_generator()
    heard = answer(generator, TestSet("s", "asr", "en", items), tmp_path, QUIET)
    assert set(heard.texts) == {"good", "silent"}
    assert heard.texts["silent"] == ""
    assert "silent" in heard.failed["silent"]
    converted = answer(generator, TestSet("s", "vc", "en", items), tmp_path, QUIET)
    assert list(converted.failed) == ["silent"]
    assert read_spoken(tmp_path, "silent").size == 0


def test_a_test_set_that_cannot_be_read_stops_the_command(make_generator, tmp_path):
    def broken():
        raise UserError("clip.wav can't be used: no audio.")

    items = (Item("a", "text", audio=broken),)
    with pytest.raises(UserError, match=r"clip\.wav can't be used"):
        answer(make_generator(), TestSet("s", "asr", "en", items), tmp_path, QUIET)

"""Answers to a test set: all items have one, whatever the model can't work on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from gpa.eval.benchmarks import answers
from gpa.eval.benchmarks.answers import answer, answer_tokens
from gpa.eval.benchmarks.datasets import Item, TestSet, read_sets
from gpa.eval.benchmarks.scoring import read_spoken
from gpa.eval.generation.prompts import Request
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.sequences import asr_prompt
from gpa.tokenize.shards import UtteranceTokens
from gpa.tokenize.vocabulary import StructureTokens

QUIET = Console(quiet=True)
STRUCTURE = StructureTokens(*range(151_669, 151_677), im_end=151_645)
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


def test_tokens_have_the_answer_of_their_audio(
    make_generator, make_model, tokenizers, voice, tmp_path
):
    bicodec, glm = tokenizers
    (tokens,) = bicodec.encode([voice], SAMPLE_RATE)
    made = UtteranceTokens(
        np.zeros(0, np.int32),
        glm.encode([voice], SAMPLE_RATE)[0],
        tokens.semantic_tokens,
        tokens.global_tokens,
    )
    tokenized = TestSet("s", "asr", "en", (Item("a", "text", tokens=lambda: made),))
    heard = TestSet("s", "asr", "en", (Item("a", "text", audio=lambda: voice),))
    found = answer_tokens(make_model(), tokenized, QUIET)
    assert found.texts["a"]
    assert found == answer(make_generator(), heard, tmp_path, QUIET)


def test_tokens_that_fill_the_context_fail_alone(
    make_model, make_shards, tiny_model, monkeypatch, tmp_path
):
    make_shards(tmp_path, 8)
    (english, _) = read_sets("tokens", str(tmp_path), None, 0)
    lengths = {}
    for item in english.items:
        tokens = item.tokens()
        lengths[item.key] = len(asr_prompt(STRUCTURE, tokens.glm_tokens, tokens.semantic_tokens))
    longest = max(lengths, key=lengths.__getitem__)
    monkeypatch.setattr(tiny_model.config, "max_position_embeddings", lengths[longest])
    found = answer_tokens(make_model(), english, QUIET)
    assert set(found.texts) == set(lengths)
    assert list(found.failed) == [longest]
    assert found.texts[longest] == ""


def test_tokens_of_another_vocabulary_are_refused(make_model, make_shards, tmp_path):
    provenance = make_shards(tmp_path, 8).provenance
    other = replace(provenance, text_digest="other")
    (english, _) = read_sets("tokens", str(tmp_path), None, 0)
    with pytest.raises(UserError, match="another vocabulary"):
        answer_tokens(make_model(), replace(english, tokenized=other), QUIET)


def test_a_test_set_that_cannot_be_read_stops_the_command(make_generator, tmp_path):
    def broken():
        raise UserError("clip.wav can't be used: no audio.")

    items = (Item("a", "text", audio=broken),)
    with pytest.raises(UserError, match=r"clip\.wav can't be used"):
        answer(make_generator(), TestSet("s", "asr", "en", items), tmp_path, QUIET)

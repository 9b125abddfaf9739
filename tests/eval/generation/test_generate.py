"""Requests in, answers out: whole and in pieces they are the same, and nothing grows on the way."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.eval.generation.generate import Generator, Request
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.vocabulary import SEMANTIC, TEXT
from tests.models import make_speech

# What a sample waits for in BiCodec (tests/tokenize/bicodec/test_streaming.py).
LOOKAHEAD = 67
CHUNK = 25
LONG = {"temperature": 1.0, "max_new_tokens": 200}


@pytest.fixture(scope="module")
def generator(make_generator) -> Generator:
    return make_generator()


@pytest.fixture
def steps(tiny_model):
    """Lengths of what the model was given in each of its steps, since the test began."""
    seen: list[int] = []
    hook = tiny_model.model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    yield seen
    hook.remove()


def test_each_task_has_its_kind_of_answer(generator, voice):
    heard, said, converted = generator.generate(
        [
            Request("asr", audio=voice),
            Request("tts", text="Good morning", voice=voice),
            Request("vc", audio=voice, voice=voice),
        ]
    )
    assert heard.waveform is None
    assert isinstance(heard.text, str)
    for result in (said, converted):
        assert result.text is None
        assert result.waveform.dtype == np.float32
        # 12 tokens of 20 ms at 16 kHz.
        assert result.waveform.shape == (12 * 320,)
    assert {r.stopped for r in (heard, said, converted)} == {"length"}
    assert {r.new_tokens for r in (heard, said, converted)} == {12}


def test_together_requests_have_the_answers_they_have_alone_in_order(generator):
    short, long = make_speech(8_000, seed=2), make_speech(40_000, seed=3)
    requests = [
        Request("tts", text="Yes", voice=short),
        Request("asr", audio=long),
        Request("vc", audio=short, voice=long),
        Request("asr", audio=short),
        Request("tts", text="It was the best of times, it was the worst of times", voice=long),
        Request("vc", audio=long, voice=short, seed=3),
    ]
    for request, result in zip(requests, generator.generate(requests), strict=True):
        (alone,) = generator.generate([request])
        assert (result.text, result.new_tokens) == (alone.text, alone.new_tokens)
        if result.waveform is not None:
            np.testing.assert_allclose(result.waveform, alone.waveform, atol=1e-5)


def test_a_continued_answer_goes_on_from_what_the_voice_says(
    generator, voice, tiny_model, vocabulary
):
    given = []
    hook = tiny_model.model.register_forward_pre_hook(
        lambda module, args, inputs: given.append(inputs["input_ids"][0]), with_kwargs=True
    )
    request = Request("tts", text="Good morning", voice=voice, voice_text="We are glad.")
    (said,) = generator.generate([request])
    hook.remove()
    # 99 semantic tokens of the voice stand last; only what follows them is spoken.
    assert SEMANTIC.holds(given[0]).tolist()[-100:] == [False] + [True] * 99
    text = given[0][TEXT.holds(given[0])].tolist()
    assert "".join(vocabulary.decode_pieces(text)) == "We are glad.Good morning"
    assert said.waveform.shape == (12 * 320,)


def test_batches_hold_no_more_than_the_cache_may(make_generator, voice, tiny_model):
    requests = [Request("vc", audio=voice, voice=voice)] * 5
    # A prompt of 99 source tokens, 32 of the voice and 5 others, and an answer of 12: two fit.
    generator = make_generator(batch_tokens=2 * (99 + 32 + 5 + 12))
    rows = []
    hook = tiny_model.model.register_forward_pre_hook(
        lambda module, args, inputs: rows.append(inputs["input_ids"].shape[0]), with_kwargs=True
    )
    results = generator.generate(requests)
    hook.remove()
    assert max(rows) == 2
    assert len(results) == 5


def test_pieces_of_text_make_the_whole_text(make_generator, voice):
    # Random tokens, of any script and with broken characters among them.
    generator = make_generator(asr={"temperature": 2.0, "max_new_tokens": 60})
    for seed in range(3):
        request = Request("asr", audio=voice, seed=seed)
        pieces = list(generator.stream(request))
        (whole,) = generator.generate([request])
        assert "".join(pieces) == whole.text
        assert len(pieces) > 5
        assert all(piece.encode("utf-8") for piece in pieces)


@pytest.mark.parametrize("task", ["tts", "vc"])
def test_pieces_of_speech_make_the_whole_speech(make_generator, voice, task):
    generator = make_generator(**{task: LONG})
    request = Request(task, text="Good morning", audio=voice, voice=voice)
    pieces = list(generator.stream(request))
    (whole,) = generator.generate([request])
    assert len(pieces) > 3
    assert all(len(piece) for piece in pieces)
    np.testing.assert_allclose(np.concatenate(pieces), whole.waveform, atol=1e-5)


def test_the_first_speech_comes_after_as_many_steps_for_any_text(make_generator, voice, steps):
    generator = make_generator(tts=LONG)
    taken = []
    for text in ("Yes", "It was the best of times, it was the worst of times " * 10):
        steps.clear()
        with_first = generator.stream(Request("tts", text=text, voice=voice))
        next(with_first)
        taken.append(len(steps))
        with_first.close()
    # The first whole chunks beyond what a sample waits for: 75 tokens.
    assert taken == [3 * CHUNK, 3 * CHUNK]


def test_a_step_reads_one_token_and_never_the_prompt_again(generator, voice, steps):
    list(generator.stream(Request("asr", audio=voice)))
    assert steps[0] > 100
    assert steps[1:] == [1] * 11


def test_audio_lags_behind_the_tokens_by_a_bounded_time(make_generator, voice, steps):
    generator = make_generator(tts={"temperature": 1.0, "max_new_tokens": 400})
    given = 0
    waiting = []
    for piece in generator.stream(Request("tts", text="Yes", voice=voice)):
        given += len(piece) // 320
        waiting.append(len(steps) - given)
    assert given == 400
    assert len(waiting) > 10
    # Whatever the decoder holds back is no longer at the end than at the beginning.
    assert max(waiting) == LOOKAHEAD


def test_a_closed_stream_makes_no_more_steps(make_generator, voice, steps):
    stream = make_generator(tts=LONG).stream(Request("tts", text="Yes", voice=voice))
    next(stream)
    stream.close()
    taken = len(steps)
    assert list(stream) == []
    assert len(steps) == taken < 200


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("tts", text=" \n", voice=make_speech(8_000)), "no text to say"),
        (Request("tts", voice=make_speech(8_000)), "no text to say"),
        (
            Request("tts", text="Yes", voice=make_speech(8_000), voice_text=""),
            "no text of the voice",
        ),
        (Request("tts", text="Yes"), "no voice"),
        (Request("vc", voice=make_speech(8_000)), "no audio"),
        (Request("asr"), "no audio"),
        (Request("asr", audio=np.zeros(8_000, np.float32)), "audio is silent"),
        (Request("vc", audio=make_speech(8_000), voice=np.zeros(9, np.float32)), "voice is silent"),
        (Request("asr", audio=make_speech(399)), "one token takes 400"),
        (Request("asr", audio=np.zeros(0, np.float32)), "it is empty"),
        (Request("asr", audio=np.full(8_000, np.nan, np.float32)), "NaN"),
        (Request("tts", text="Yes", voice=np.full(8_000, 9, np.int16)), "int16"),
        (Request("asr", audio=make_speech(41 * SAMPLE_RATE)), "it lasts 41.0 s"),
    ],
)
def test_what_cannot_be_worked_on_is_refused_before_anything_is_generated(
    generator, steps, request_, says
):
    for attempt in (lambda: generator.generate([request_]), lambda: generator.stream(request_)):
        with pytest.raises(UserError, match=says):
            attempt()
    assert steps == []


def test_a_prompt_that_fills_the_context_is_refused(make_generator, voice, tiny_model, monkeypatch):
    monkeypatch.setattr(tiny_model.config, "max_position_embeddings", 64)
    with pytest.raises(UserError, match=r"takes 1\d\d tokens, and the model's context of 64"):
        make_generator().stream(Request("asr", audio=voice))

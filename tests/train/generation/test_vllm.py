"""Settings and answers in vLLM's terms. vLLM itself needs a GPU and is not run here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import TASKS, asr_prompt, tts_prompt, vc_prompt
from gpa.tokenize.vocabulary import SEMANTIC, TEXT, StructureTokens
from gpa.train.generation.decoding import Legal, Token
from gpa.train.generation.sampling import SamplingConfig
from gpa.train.generation.vllm import VLLMEngine, sampling_settings, tokens_of

STRUCTURE = StructureTokens(*range(151_669, 151_677), im_end=151_645)
VOICE, HEARD = np.arange(32), np.arange(20)
PROMPTS = {
    "asr": asr_prompt(STRUCTURE, HEARD, HEARD),
    "tts": tts_prompt(STRUCTURE, VOICE, [11, 12]),
    "vc": vc_prompt(STRUCTURE, VOICE, HEARD),
}
DRAWN = SamplingConfig(
    temperature=0.7, top_k=50, top_p=0.9, repetition_penalty=1.2, max_new_tokens=100
)
IM_END = STRUCTURE.im_end
SPEECH = Legal.of("tts", STRUCTURE)


def test_settings_keep_their_meaning():
    found = sampling_settings(PROMPTS["tts"], 32_768, SPEECH, DRAWN, (0, 1))
    assert found["allowed_token_ids"] == [*range(172_207, 180_399), IM_END]
    assert found["stop_token_ids"] == [IM_END]
    same = ("temperature", "top_k", "top_p", "repetition_penalty")
    assert {name: found[name] for name in same} == {name: getattr(DRAWN, name) for name in same}
    assert found["max_tokens"] == 100
    assert found["detokenize"] is False


def test_text_may_end_in_two_ways():
    legal = Legal.of("asr", STRUCTURE)
    found = sampling_settings(PROMPTS["asr"], 32_768, legal, DRAWN, 0)
    assert found["stop_token_ids"] == [STRUCTURE.end_content, IM_END]
    assert len(found["allowed_token_ids"]) == TEXT.size + 2


@pytest.mark.parametrize("task", TASKS)
def test_a_penalty_that_would_count_the_prompt_is_refused(task):
    arguments = PROMPTS[task], 32_768, Legal.of(task, STRUCTURE)
    plain = DRAWN.model_copy(update={"repetition_penalty": 1.0})
    assert sampling_settings(*arguments, plain, 0)["repetition_penalty"] == 1
    if task == "vc":
        with pytest.raises(UserError, match="would count the prompt's tokens"):
            sampling_settings(*arguments, DRAWN, 0)
    else:
        assert sampling_settings(*arguments, DRAWN, 0)["repetition_penalty"] == 1.2


def test_answers_are_no_longer_than_the_context():
    prompt = PROMPTS["tts"]
    assert sampling_settings(prompt, len(prompt) + 7, SPEECH, DRAWN, 0)["max_tokens"] == 7


def test_seeds_tell_requests_apart_and_repeat():
    first, again, second = (
        sampling_settings(PROMPTS["tts"], 32_768, SPEECH, DRAWN, seed)["seed"]
        for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert first == again != second


@pytest.mark.parametrize(
    ("new_ids", "finish_reason", "tokens"),
    [
        ([SEMANTIC.offset + 5], None, [Token(1, 5, None)]),
        ([IM_END], "stop", [Token(1, None, "end")]),
        ([], "stop", [Token(1, None, "end")]),
        ([SEMANTIC.offset, IM_END], "stop", [Token(1, 0, None), Token(1, None, "end")]),
        (
            [SEMANTIC.offset + 1, SEMANTIC.offset + 2],
            "length",
            [Token(1, 1, None), Token(1, 2, "context")],
        ),
    ],
)
def test_a_step_in_our_terms(new_ids, finish_reason, tokens):
    assert tokens_of(1, new_ids, finish_reason, SPEECH, "context") == tokens


@pytest.mark.parametrize("given_up", ["abort", "error"])
def test_a_request_that_vllm_gives_up_is_no_answer(given_up):
    with pytest.raises(RuntimeError, match=f"gave up a request: {given_up}"):
        tokens_of(1, [], given_up, SPEECH, "length")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_remedy_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="`pip install vllm` on a GPU machine"):
        VLLMEngine(tmp_path, 32_768)

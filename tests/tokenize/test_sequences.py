"""Task sequences are those of the authors, and references are other utterances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.tokenize.sequences import (
    COMPOSITIONS,
    IGNORED,
    asr,
    asr_prompt,
    choose_references,
    sequence_lengths,
    tts,
    tts_continued,
    tts_prompt,
    vc,
    vc_prompt,
)
from gpa.tokenize.vocabulary import STRUCTURE_NAMES, StructureTokens

TOKENS = StructureTokens(*range(151669, 151677), im_end=151645)


@pytest.fixture(scope="module")
def published(shared_fixtures: Path) -> dict:
    return json.loads((shared_fixtures / "gpa_sequences.json").read_text())


@pytest.fixture(scope="module")
def published_tokens(published: dict) -> StructureTokens:
    return StructureTokens(*(published["special"][f"<|{name}|>"] for name in STRUCTURE_NAMES))


def published_text(published: dict) -> list[int]:
    """The fixture's text ids are the code points of the text without its remark."""
    return [ord(letter) for letter in published["text"].split(" (")[0]]


def test_training_sequences_are_the_published_ones(published, published_tokens):
    clip, reference, target = (published["audio"][name] for name in ("a.wav", "r.wav", "v.wav"))
    text = published_text(published)
    ours = {
        "stt": asr(published_tokens, published["glm"], clip["semantic"], text),
        "tts-a": tts(published_tokens, reference["glob"], text, clip["semantic"]),
        "vc": vc(published_tokens, reference["glob"], clip["semantic"], target["semantic"]),
    }
    for name, sequence in ours.items():
        assert sequence.ids.tolist() == published["train"][name]["input_ids"], name
        assert sequence.labels.tolist() == published["train"][name]["labels"], name


def test_prompts_are_the_published_ones(published, published_tokens):
    clip, reference = (published["audio"][name] for name in ("a.wav", "r.wav"))
    ours = {
        "stt": asr_prompt(published_tokens, published["glm"], clip["semantic"]),
        "tts-a": tts_prompt(published_tokens, reference["glob"], published_text(published)),
        "vc": vc_prompt(published_tokens, reference["glob"], clip["semantic"]),
    }
    for name, prompt in ours.items():
        assert prompt.tolist() == published["infer"][name]["input_ids"], name


def test_a_continuation_is_laid_out_as_described():
    reference = {"codes": range(32), "text": [7, 8], "semantic": [0, 8191]}
    sequence = tts_continued(TOKENS, *reference.values(), text_ids=[9], semantic=[5, 6])
    voice = [168_111 + code for code in range(32)]
    prompt = [151_671, *voice, 151_672, 151_669, 7, 8, 9, 151_670, 151_673, 172_207, 180_398]
    assert sequence.prompt.tolist() == prompt
    assert sequence.ids.tolist() == [*prompt, 172_212, 172_213, 151_645]


@given(text=st.integers(0, 9), glm=st.integers(0, 9), semantic=st.integers(0, 9))
def test_lengths_are_known_before_a_sequence_is_composed(text, glm, semantic):
    text_ids, glm_codes, semantic_codes, reference = map(np.arange, (text, glm, semantic, 32))
    composed = {
        "asr": asr(TOKENS, glm_codes, semantic_codes, text_ids),
        "tts": tts(TOKENS, reference, text_ids, semantic_codes),
        "tts_continued": tts_continued(
            TOKENS, reference, text_ids, semantic_codes, text_ids, semantic_codes
        ),
        "vc": vc(TOKENS, reference, semantic_codes, semantic_codes),
    }
    for name in COMPOSITIONS:
        texts = 2 * text if name == "tts_continued" else text
        speech = 2 * semantic if name in ("tts_continued", "vc") else semantic
        assert sequence_lengths(name, texts, glm, speech) == len(composed[name].ids)


@given(st.integers(0, 9))
def test_the_prompt_is_exactly_what_is_not_supervised(semantic):
    sequence = asr(TOKENS, [1, 2], np.arange(semantic), [5, 6])
    assert (sequence.ids[sequence.labels == IGNORED] == sequence.prompt).all()


def test_codes_outside_their_codebook_are_refused():
    with pytest.raises(ValueError, match="semantic code"):
        asr_prompt(TOKENS, [1], [8192])
    with pytest.raises(ValueError, match="32 global codes"):
        tts_prompt(TOKENS, range(31), [1])


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.integers(0, 5))
def test_a_reference_is_another_utterance_of_the_same_speaker(speakers, seed):
    references, fell_back = choose_references(speakers, seed)
    for i, reference in enumerate(references):
        assert speakers[reference] == speakers[i]
        assert fell_back[i] == (speakers.count(speakers[i]) == 1)
        assert (reference == i) == fell_back[i]


def test_every_other_utterance_of_a_speaker_can_be_the_reference():
    chosen = {int(choose_references(["a"] * 4, seed)[0][0]) for seed in range(50)}
    assert chosen == {1, 2, 3}

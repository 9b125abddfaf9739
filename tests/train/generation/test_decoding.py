"""The loop: rows do not disturb each other, answers hold legal tokens only, and end in time."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3ForCausalLM

from gpa.tokenize.sequences import TASKS
from gpa.tokenize.vocabulary import SEMANTIC, VOCABULARY_SIZE, Block, StructureTokens
from gpa.train.generation.decoding import Legal, Token, TransformersEngine
from gpa.train.generation.sampling import SamplingConfig
from gpa.train.sizes import load_model, model_config

STRUCTURE = StructureTokens(*range(151_669, 151_677), im_end=151_645)
GREEDY = SamplingConfig(max_new_tokens=8)
DRAWN = SamplingConfig(temperature=1.0, top_k=50, top_p=0.9, max_new_tokens=8)
# So few codes that an end is drawn soon.
SHORT_ANSWERS = Legal(Block("few", SEMANTIC.offset, 5), (STRUCTURE.im_end,))


@pytest.fixture(scope="module")
def engine(tiny_model) -> TransformersEngine:
    return TransformersEngine(tiny_model)


def prompt(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([length, seed]).integers(0, VOCABULARY_SIZE, length, np.int32)


def answers(engine, prompts, legal, config, seeds) -> list[list[Token]]:
    """The tokens of each row, in order."""
    rows: list[list[Token]] = [[] for _ in prompts]
    for token in engine.decode(prompts, legal, config, seeds):
        rows[token.row].append(token)
    return rows


def codes(row: list[Token]) -> list[int | None]:
    return [token.code for token in row]


@pytest.mark.parametrize("task", TASKS)
def test_greedy_answers_are_those_of_transformers_own_generation(engine, tiny_model, task):
    legal = Legal.of(task, STRUCTURE)
    allowed = [*range(legal.block.offset, legal.block.offset + legal.block.size), *legal.ends]
    ids = torch.from_numpy(prompt(30)).long()[None]
    theirs = tiny_model.generate(
        ids,
        max_new_tokens=8,
        do_sample=False,
        eos_token_id=list(legal.ends),
        prefix_allowed_tokens_fn=lambda row, before: allowed,
    )
    (ours,) = answers(engine, [prompt(30)], legal, GREEDY, [0])
    assert codes(ours) == (theirs[0, 30:] - legal.block.offset).tolist()


@settings(max_examples=8)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=4), st.sampled_from([GREEDY, DRAWN]))
def test_a_batch_gives_each_prompt_the_answer_it_has_alone(engine, lengths, config):
    prompts = [prompt(length, seed) for seed, length in enumerate(lengths)]
    for legal in (Legal.of("tts", STRUCTURE), SHORT_ANSWERS):
        together = answers(engine, prompts, legal, config, range(len(prompts)))
        for seed, one in enumerate(prompts):
            (alone,) = answers(engine, [one], legal, config, [seed])
            assert codes(together[seed]) == codes(alone)
            assert [token.stopped for token in together[seed]] == [t.stopped for t in alone]


def test_rows_that_end_leave_the_others_going_on(engine):
    config = SamplingConfig(temperature=5.0, max_new_tokens=40)
    rows = answers(engine, [prompt(9, seed) for seed in range(6)], SHORT_ANSWERS, config, range(6))
    assert len({len(row) for row in rows}) > 2
    for row in rows:
        assert [token.stopped for token in row[:-1]] == [None] * (len(row) - 1)
        assert (row[-1].code is None) == (row[-1].stopped == "end")


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_holds_codes_of_its_block_only(engine, task):
    legal = Legal.of(task, STRUCTURE)
    wild = SamplingConfig(temperature=100.0, max_new_tokens=30)
    (row,) = answers(engine, [prompt(5)], legal, wild, [0])
    assert all(token.code is None or 0 <= token.code < legal.block.size for token in row)
    assert len(set(codes(row))) > 20


def test_in_bfloat16_the_loop_is_the_same(tmp_path, tiny_model):
    tiny_model.save_pretrained(tmp_path)
    half = load_model("tiny", tmp_path, torch.bfloat16, attn_implementation="sdpa")
    assert half.dtype == torch.bfloat16
    (row,) = answers(TransformersEngine(half), [prompt(5)], SHORT_ANSWERS, DRAWN, [0])
    assert len(row) == 8 or row[-1].code is None


def test_a_seed_decides_what_is_drawn(engine):
    legal = Legal.of("vc", STRUCTURE)
    same, again, other = (answers(engine, [prompt(7)], legal, DRAWN, [s])[0] for s in (1, 1, 2))
    assert codes(same) == codes(again) != codes(other)


def test_the_repetition_penalty_never_counts_the_prompt(engine):
    # This model's answer is what it heard last, again and again.
    heard = np.append(prompt(5), SHORT_ANSWERS.block.offset + 4).astype(np.int32)
    plain = SamplingConfig(max_new_tokens=3)
    strict = SamplingConfig(max_new_tokens=3, repetition_penalty=1000.0)
    (free,) = answers(engine, [heard], SHORT_ANSWERS, plain, [0])
    assert codes(free) == [4, 4, 4]
    (penalised,) = answers(engine, [heard], SHORT_ANSWERS, strict, [0])
    assert codes(penalised)[0] == 4
    assert codes(penalised)[1] != 4


def test_an_answer_stops_where_the_context_is_full():
    config = model_config("tiny")
    config.max_position_embeddings = 16
    engine = TransformersEngine(Qwen3ForCausalLM(config))
    rows = answers(engine, [prompt(12), prompt(3)], Legal.of("tts", STRUCTURE), GREEDY, [0, 0])
    assert [len(row) for row in rows] == [4, 8]
    assert [row[-1].stopped for row in rows] == ["context", "length"]


def test_closing_stops_the_model_and_frees_the_cache(engine, tiny_model):
    caches = []
    hook = tiny_model.model.register_forward_pre_hook(
        lambda module, args, inputs: caches.append(weakref.ref(inputs["past_key_values"])),
        with_kwargs=True,
    )
    try:
        tokens = engine.decode([prompt(5)], Legal.of("tts", STRUCTURE), GREEDY, [0])
        next(tokens), next(tokens)
        assert caches[0]() is not None
        tokens.close()
        gc.collect()
        assert len(caches) == 2
        assert caches[0]() is None
    finally:
        hook.remove()

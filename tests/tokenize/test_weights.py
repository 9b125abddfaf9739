"""Tokenizers are found in every published folder layout, and named in one sentence where not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gpa.runtime.errors import UserError
from gpa.tokenize.weights import (
    TokenizerConfig,
    checkpoint_folders,
    load_tokenizers,
    tokenizer_facts,
)

WAV2VEC2 = "wav2vec2-large-xlsr-53"


@pytest.fixture
def layouts(small_folders, tmp_path) -> dict[str, TokenizerConfig]:
    """The same small weights as Spark-TTS and GLM-4-Voice lie, and as the GPA release lies."""
    bicodec, glm = small_folders
    spark, gpa = tmp_path / "Spark-TTS-0.5B", tmp_path / "GPA"
    shutil.copytree(bicodec, spark / "BiCodec")
    (spark / "BiCodec" / WAV2VEC2).rename(spark / WAV2VEC2)
    (spark / "config.yaml").write_text("highpass_cutoff_freq: 40\n")
    shutil.copytree(bicodec, gpa / "BiCodec")
    shutil.copytree(glm, gpa / "glm-4-voice-tokenizer")
    # The language model's own files, which must not be taken for a tokenizer's.
    (gpa / "config.json").write_text('{"model_type": "qwen3"}')
    (gpa / "model.safetensors").write_bytes(b"the language model")
    return {
        "own folders": TokenizerConfig(bicodec=str(bicodec), glm=str(glm)),
        "Spark-TTS and GLM-4-Voice": TokenizerConfig(bicodec=str(spark), glm=str(glm)),
        "GPA": TokenizerConfig(bicodec=str(gpa), glm=str(gpa)),
        "folders inside GPA": TokenizerConfig(
            bicodec=str(gpa / "BiCodec"), glm=str(gpa / "glm-4-voice-tokenizer")
        ),
    }


def test_every_published_layout_gives_the_same_tokens_under_one_identity(layouts, speech):
    clip = speech(20_000)
    found = []
    for config in layouts.values():
        bicodec, glm = load_tokenizers(config)
        (tokens,) = bicodec.encode([clip], 16000)
        found.append((tokens.semantic_tokens, tokens.global_tokens, glm.encode([clip], 16000)[0]))
    for tokens in found[1:]:
        for got, expected in zip(tokens, found[0], strict=True):
            np.testing.assert_array_equal(got, expected)
    facts = [tokenizer_facts(config) for config in layouts.values()]
    assert len({f["bicodec"].identity for f in facts}) == 1
    assert len({f["glm"].identity for f in facts}) == 1


def test_other_weights_and_other_settings_have_another_identity(layouts):
    config = layouts["Spark-TTS and GLM-4-Voice"]
    first = tokenizer_facts(config)["bicodec"].identity
    settings = Path(config.bicodec) / WAV2VEC2 / "config.json"
    # Digests are kept for the life of a process, so a changed copy lies elsewhere.
    copy = Path(config.bicodec).with_name("changed")
    shutil.copytree(config.bicodec, copy)
    (copy / WAV2VEC2 / "config.json").write_text(settings.read_text() + "\n")
    changed = config.model_copy(update={"bicodec": str(copy)})
    assert tokenizer_facts(changed)["bicodec"].identity != first


def test_random_ones_are_made_from_the_seed_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = TokenizerConfig(bicodec="random", glm="random", seed=1)
    assert not config.trained
    facts = tokenizer_facts(config)
    assert facts["bicodec"].model == "small random BiCodec"
    assert facts["glm"].model == "small random GLM-4-Voice tokenizer"
    assert facts != tokenizer_facts(TokenizerConfig(bicodec="random", glm="random", seed=2))


def test_one_random_tokenizer_is_enough_to_make_tokens_untrained(small_folders):
    config = TokenizerConfig(bicodec=str(small_folders[0]), glm="random")
    assert not config.trained
    assert TokenizerConfig().trained
    assert TokenizerConfig(bicodec="a/b", glm="c/d").trained


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-owner/no-such-tokenizer", "neither a folder nor to be had from the hub"),
        ("/no/such/folder", "There is no tokenizer checkpoint in /no/such/folder"),
        ("./nowhere", "There is no tokenizer checkpoint in ./nowhere"),
    ],
)
def test_weights_that_are_nowhere_are_named_with_the_remedy(name, said, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for config in (TokenizerConfig(bicodec=name, glm="."), TokenizerConfig(bicodec=".", glm=name)):
        with pytest.raises(UserError, match=said) as raised:
            checkpoint_folders(config)
        assert "pipelines.yaml" in str(raised.value)


def test_a_folder_without_its_wav2vec2_is_refused_before_any_work(small_folders, tmp_path):
    shutil.copytree(small_folders[0], tmp_path / "BiCodec")
    shutil.rmtree(tmp_path / "BiCodec" / WAV2VEC2)
    with pytest.raises(UserError, match=f"There is no folder {WAV2VEC2}"):
        tokenizer_facts(TokenizerConfig(bicodec=str(tmp_path), glm=str(small_folders[1])))


def test_a_missing_gpu_is_named(small_folders, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="is set to device cuda but torch sees no GPU"):
        load_tokenizers(TokenizerConfig(device="cuda"))

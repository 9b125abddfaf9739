"""Paraformer as FunASR runs it, on small random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gpa.curation.models.asr.paraformer import Paraformer, ParaformerConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.transcribe.stage import build_asr
from gpa.eval.benchmarks.seed_tts import units
from gpa.runtime.errors import UserError
from tests.curation.models import tiny_paraformer
from tests.curation.models.asr.samples import sample_clip

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_paraformer.paraformer(tmp_path_factory.mktemp("tiny") / "paraformer-zh")


@pytest.fixture(scope="module")
def paraformer(folder: Path) -> Paraformer:
    adapter = build_asr(ParaformerConfig(weights=str(folder)))
    adapter.load()
    return adapter


def text(paraformer: Paraformer, clip: np.ndarray) -> str:
    (hypothesis,) = paraformer.transcribe([clip], RATE, ["zh"])
    assert isinstance(hypothesis, Hypothesis)
    return hypothesis.text


def test_it_writes_the_characters_that_the_library_does(paraformer: Paraformer, folder: Path):
    from funasr import AutoModel

    clip = sample_clip("zh/jishu")
    model = AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True)
    torch.manual_seed(0)
    (expected,) = model.generate(input=[clip], fs=RATE)
    heard = text(paraformer, clip)
    assert heard == expected["text"]
    assert set(units(heard, "zh")) <= set(tiny_paraformer.TOKENS)
    assert len(units(heard, "zh")) > 10


def test_the_same_clip_is_heard_alike_whatever_was_drawn_before(paraformer: Paraformer):
    clip = sample_clip("zh/jishu")
    torch.manual_seed(1)
    first = text(paraformer, clip)
    torch.rand(100)
    drawn = torch.random.get_rng_state()
    assert text(paraformer, clip) == first
    # Nor does hearing change what others draw.
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_loading_leaves_the_threads_of_the_process(folder: Path):
    threads = torch.get_num_threads()
    Paraformer(ParaformerConfig(weights=str(folder))).load()
    assert torch.get_num_threads() == threads


def test_a_folder_without_its_features_norm_is_refused(folder: Path, tmp_path: Path):
    for name in ("model.pt", "config.yaml", "tokens.json"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(UserError, match=r"am\.mvn"):
        Paraformer(ParaformerConfig(weights=str(tmp_path))).facts()

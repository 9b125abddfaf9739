"""It learns: a tiny model that has heard sixteen utterances often enough transcribes them."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
import torch
import yaml
from transformers import Qwen3ForCausalLM

from gpa.tokenize.sequences import asr_prompt
from gpa.train.catalogue import Catalogue
from gpa.train.command import prepare, train
from gpa.train.config import TrainConfig
from gpa.train.data import EvaluationRows
from gpa.train.loss import with_packed_loss
from gpa.train.packing import collate
from gpa.train.sizes import new_model
from tests.runs import ROOT

STEPS = 270
# Of the first loss, what synthesis and conversion may have left: most steps go to recognition.
LEARNT = 0.5


def mean_loss(model, task, shards, vocabulary) -> float:
    """Loss of the answers of all utterances in one task, nats a token."""
    catalogue, everybody = Catalogue(shards, 0), np.arange(16)
    rows = EvaluationRows(task, shards, vocabulary.structure, catalogue, everybody, 768, seed=0)
    inputs = collate([rows[number] for number in range(len(rows))])
    with torch.no_grad():
        return with_packed_loss(model)(**inputs).loss.item()


@pytest.mark.slow
def test_a_tiny_model_learns_sixteen_utterances_by_heart(speech_shards, vocabulary, tmp_path):
    shards = speech_shards
    assert len(shards) == 16
    recipe = yaml.safe_load((ROOT / "train" / "by_heart.yaml").read_text(encoding="utf-8"))["train"]
    recipe["batches"]["tiny"]["row_tokens"] = 768
    recipe["phases"]["pretrain"]["mixture"]["tasks"] = {"asr": 0.84, "tts": 0.08, "vc": 0.08}
    config = TrainConfig.model_validate(recipe)
    where = {"tokens": shards.folder, "out": tmp_path / "out"}
    checkpoint = train(prepare(config, model="tiny", phase="pretrain", steps=STEPS, **where))

    model = Qwen3ForCausalLM.from_pretrained(checkpoint).eval()
    structure = vocabulary.structure
    written, heard = [], []
    for number, text in enumerate(shards.table(["text"])["text"].to_pylist()):
        tokens = shards.tokens(number)
        prompt = asr_prompt(structure, tokens.glm_tokens, tokens.semantic_tokens)
        made = model.generate(
            torch.from_numpy(prompt).long()[None],
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=structure.end_content,
        )
        written.append(text)
        heard.append(vocabulary.decode_text(made[0, len(prompt) :].numpy()))
    assert len(written) == 16
    fresh = new_model("tiny", config.seed)
    for task in ("tts", "vc"):
        start, end = (mean_loss(each, task, shards, vocabulary) for each in (fresh, model))
        print(f"{task}: {start:.2f} nats a token at the start, {end:.2f} at the end")
        assert end < LEARNT * start
    assert jiwer.wer(written, heard) == 0

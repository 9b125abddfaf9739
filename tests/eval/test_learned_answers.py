"""Real speech through the whole loop: what a model has learnt by heart is what comes out."""

from __future__ import annotations

from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch

from gpa.curation.ingest.sample import AUDIOEVAL
from gpa.curation.models.weights import wheel_file
from gpa.eval.generation.commands import read_speech
from gpa.eval.generation.generate import Request
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.sequences import asr, tts, vc
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.loss import with_packed_loss
from gpa.train.packing import collate, fill_row
from gpa.train.sizes import load_model, new_model

CLIPS = "pytest_audioeval/samples/audio/"
# Letters of one, two and three bytes in UTF-8; Qwen's tokens cut the Hindi ones.
NAMES = ("en/hello_world", "hi/namaste_duniya", "zh/nihao_shijie")
STEPS = 45
LEARNING_RATE = 4e-3


def clip(name: str) -> Path:
    return wheel_file(AUDIOEVAL, f"{CLIPS}{name}.wav")


def learn(sequences, folder: Path) -> None:
    """A checkpoint in `folder` that has these sequences' answers by heart."""
    batch = collate([fill_row(sequences, sum(len(one.ids) for one in sequences), False)])
    model = with_packed_loss(new_model("tiny", 0, attn_implementation="sdpa_by_sequence"))
    adam = torch.optim.AdamW(model.parameters(), weight_decay=0, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, LEARNING_RATE, total_steps=STEPS, pct_start=0.1
    )
    for _ in range(STEPS):
        model(**batch).loss.backward()
        adam.step()
        schedule.step()
        adam.zero_grad()
    model.save_pretrained(folder)


@pytest.mark.slow
def test_what_was_learnt_is_recognised_said_and_converted(tokenizers, make_generator, tmp_path):
    bicodec, glm = tokenizers
    vocabulary = Vocabulary.build()
    structure = vocabulary.structure
    audio = [read_speech(clip(name)) for name in NAMES]
    texts = [clip(name).with_suffix(".txt").read_text("utf-8").strip() for name in NAMES]
    ids = [vocabulary.encode_text(text) for text in texts]
    tokens = bicodec.encode(audio, SAMPLE_RATE)
    content, voice = tokens[0].semantic_tokens, tokens[1].global_tokens
    learn(
        [
            *(
                asr(structure, heard, one.semantic_tokens, text)
                for heard, one, text in zip(
                    glm.encode(audio, SAMPLE_RATE), tokens, ids, strict=True
                )
            ),
            tts(structure, voice, ids[0], content),
            vc(structure, voice, content, content),
        ],
        tmp_path,
    )
    answer = {"max_new_tokens": 100}
    model = load_model("tiny", tmp_path, attn_implementation="sdpa")
    generator = make_generator(model, asr=answer, tts=answer, vc=answer)
    recognise = [Request("asr", audio=waveform) for waveform in audio]
    *heard, said, converted = generator.generate(
        [
            *recognise,
            Request("tts", text=texts[0], voice=audio[1]),
            Request("vc", audio=audio[0], voice=audio[1]),
        ]
    )
    assert {result.stopped for result in (*heard, said, converted)} == {"end"}
    assert jiwer.wer(texts, [result.text for result in heard]) == 0
    spoken = bicodec.decode(content, voice)
    for result in (said, converted):
        np.testing.assert_allclose(result.waveform, spoken, atol=1e-5)

    pieces = [list(generator.stream(request)) for request in recognise]
    assert ["".join(one) for one in pieces] == texts
    # Hindi comes in more tokens than whole characters can be shown after.
    assert len(pieces[1]) < heard[1].new_tokens - 1

"""`gpa codec`: lower losses, exact resume after a kill, folders that load, speakers kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from gpa.curation.curated import CuratedUtterance
from gpa.curation.models.diarization.hearing import load_voice
from gpa.curation.models.protocols import Hypothesis
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.audio import mel_spectrogram
from gpa.tokenize.bicodec.config import QuantizerConfig
from gpa.tokenize.bicodec.loading import find_parts
from gpa.tokenize.bicodec.quantizer import SemanticQuantizer
from gpa.tokenize.bicodec.speaker_encoder import FiniteScalarQuantizer
from gpa.tokenize.weights import SMALL_BICODEC
from gpa.train.codec import command
from gpa.train.codec.codebook import Codebook
from gpa.train.codec.command import FRESH, CodecConfig, begin, train_codec
from gpa.train.codec.data import Pieces, Speech, read_utterances, split
from gpa.train.codec.fresh import spread_voices
from gpa.train.codec.objective import (
    Batch,
    Listeners,
    LossConfig,
    losses,
    sameness,
    spectral_losses,
    unevenness,
    words_loss,
)
from gpa.train.codec.trainer import word_error_rate
from gpa.train.metrics import read_metrics
from gpa.train.trainer import checkpoints
from tests.curation.curated_out import entry, flac, write_curated
from tests.models import make_speech

STEPS = 8
# The parts that speak semantic tokens.
SPEAKING = {"decoder", "prenet", "postnet", "speaker_encoder", "quantizer.out_project"}
# And those that make them.
MAKING = {"encoder", *(f"quantizer.{part}" for part in ("in_project", "codebook", "cluster_size"))}
DISCRIMINATORS = {"periods": [2], "windows": [256], "channels": 2, "learning_rate": 1e-2}


def short(**changes) -> CodecConfig:
    return CodecConfig.model_validate(
        {
            "held_back_share": 0.3,
            "pieces": 2,
            "piece_tokens": 30,
            "voice_s": 0.6,
            "evaluate_every_steps": 4,
            "save_every_steps": 2,
            "keep_checkpoints": 3,
            "losses": {
                "continuous_steps": 2,
                "adversarial": 1,
                "matching": 2,
                "discriminators": DISCRIMINATORS,
            },
        }
        | changes
    )


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    """Four clips of a second, of four speakers."""
    entries = [
        entry(number, flac(make_speech(16_000, number), 16_000), 1.0, "text") for number in range(4)
    ]
    return write_curated(tmp_path_factory.mktemp("curated"), [entries])


@pytest.fixture(scope="module")
def whole_run(curated, tmp_path_factory) -> Path:
    """Fresh weights, never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return train_codec(short(), curated=str(curated), out=out, steps=STEPS, start=FRESH)


def test_the_loss_falls_and_what_is_held_back_is_measured(whole_run):
    lines = read_metrics(whole_run / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == STEPS
    for loss in ("mel", "discriminators"):
        assert steps[-1][loss] < steps[0][loss]
    assert all(line["adversarial"] > 0 and line["matching"] > 0 for line in steps)
    assert [line["step"] for line in lines if "eval_mel_loss" in line] == [4, 8]
    assert (whole_run / "loss.png").is_file()
    assert len([*(whole_run / "samples").glob("*.original.wav")]) == 1
    assert len([*(whole_run / "samples").glob("*.codec.wav")]) == 1


class Judge:
    """An ASR that always writes down the same."""

    def __init__(self, heard: str):
        self.heard = heard

    def transcribe(self, waveforms, sample_rate, languages):
        return [Hypothesis(self.heard)]


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 7:
            raise KeyboardInterrupt


def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    whole_run, curated, tmp_path, monkeypatch
):
    """Discriminators, too, go on where they stopped."""
    out = tmp_path / "killed"
    run = {"curated": str(curated), "out": out, "steps": STEPS, "start": FRESH}
    with monkeypatch.context() as patched:
        patched.setattr(command, "LossBar", Kill)
        with pytest.raises(KeyboardInterrupt):
            train_codec(short(), **run)
    with pytest.raises(UserError, match="checkpoint-6 of a run; go on with RESUME=1"):
        train_codec(short(), **run)
    with pytest.raises(UserError, match="another config"):
        train_codec(short(seed=1), **run, resume=True)
    train_codec(short(), **run, resume=True)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (out / name).read_bytes() == (whole_run / name).read_bytes()


def test_the_word_error_rate_is_of_what_has_a_text_and_a_judge():
    judges = {"en": Judge("The dog it")}
    said = [("en", "the dog, it barked"), ("en", ""), ("zh", "一二三")]
    utterances = [CuratedUtterance({"language": each, "text": text}, b"") for each, text in said]
    heard = [np.ones(1600, np.float32)] * 3
    assert word_error_rate(utterances, heard, judges) == 1 / 4
    assert np.isnan(word_error_rate(utterances[1:], heard[1:], judges))


def test_a_fresh_codec_learns_everything_at_once(whole_run):
    begun = begin(find_parts(SMALL_BICODEC), 0, fresh=True).network.state_dict()
    end = BiCodec.load(whole_run).network.state_dict()
    assert parts_changed(begun, end) == SPEAKING | MAKING


@pytest.mark.parametrize("tokens_stay", [True, False])
def test_semantic_tokens_of_a_trained_codec_stay_unless_they_may_not(
    tokens_stay, curated, whole_run, tmp_path
):
    config = short(tokens_stay=tokens_stay)
    out = train_codec(config, curated=str(curated), out=tmp_path, steps=2, start=str(whole_run))
    before, after = (BiCodec.load(each).network.state_dict() for each in (whole_run, out))
    assert parts_changed(before, after) == SPEAKING | (set() if tokens_stay else MAKING)


def parts_changed(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> set[str]:
    """The parts of a network that training changed, of the quantizer each by itself."""
    changed = [name.split(".") for name in after if not torch.equal(before[name], after[name])]
    return {".".join(each[: 2 if each[0] == "quantizer" else 1]) for each in changed}


def test_checkpoints_and_the_result_are_folders_that_bicodec_loads(whole_run, speech):
    for folder in (whole_run, *checkpoints(whole_run)):
        codec = BiCodec.load(folder)
        (tokens,) = codec.encode([speech(8_000)], 16_000)
        waveform = codec.decode(tokens.semantic_tokens, tokens.global_tokens)
        assert np.isfinite(waveform).all()
    halves = load_file(whole_run / "model.safetensors")
    assert {tensor.dtype for tensor in halves.values()} == {torch.float16}


def test_a_codec_of_the_published_layout_is_trained_by_the_same_code(
    curated, small_folders, tmp_path
):
    out = tmp_path / "tuned"
    config = short(learning_rate=1e-4, evaluate_every_steps=2, losses={})
    train_codec(config, curated=str(curated), out=out, steps=2, start=str(small_folders[0]))
    before, after = (
        BiCodec.load(folder).network.state_dict() for folder in (small_folders[0], out)
    )
    assert before.keys() == after.keys()
    assert not torch.equal(before["decoder.model.0.weight_v"], after["decoder.model.0.weight_v"])


@pytest.mark.parametrize("heard", ["words", "conversion"])
def test_pieces_too_short_to_be_heard_are_refused_where_somebody_listens(heard):
    deaf = {"words": 0, "conversion": 0}
    with pytest.raises(ValueError, match="too short to be heard; raise piece_tokens"):
        short(piece_tokens=20, losses=deaf | {heard: 1})
    assert short(piece_tokens=20, losses=deaf).piece_tokens == 20


def test_fewer_than_one_step_or_no_speech_is_said_before_any_work(curated, tmp_path):
    with pytest.raises(UserError, match="make curate"):
        train_codec(short(), curated=str(tmp_path), out=tmp_path / "out", start=FRESH)
    assert not (tmp_path / "out").exists()


def utterance(speaker: str, number: int, seconds: float) -> CuratedUtterance:
    metadata = {
        "utterance_id": f"{speaker}-{number}",
        "speaker": speaker,
        "duration_s": seconds,
    }
    return CuratedUtterance(metadata, b"")


def test_no_speaker_is_on_both_sides_and_the_one_who_says_most_is_trained_on():
    utterances = [utterance("much", number, 10) for number in range(20)]
    utterances += [utterance(f"little-{number % 4}", number, 1) for number in range(12)]
    trained, held = split(utterances, 0.05)
    speakers = [{each.metadata["speaker"] for each in side} for side in (trained, held)]
    assert held
    assert not speakers[0] & speakers[1]
    assert "much" in speakers[0]
    assert len(trained) + len(held) == len(utterances)


def test_a_piece_is_cut_out_of_what_is_heard_of_its_whole_clip(curated):
    """Of two utterances of one speaker each says whose voice it is for the other, too."""
    utterances = read_utterances(str(curated))[0][:2]
    for each in utterances:
        each.metadata["speaker"] = "one"
    codec = begin(find_parts(SMALL_BICODEC), 0, fresh=True)
    speech = Speech(utterances, codec)
    clips = [speech.clip(number) for number in range(2)]
    whole = [speech.heard(number) for number in range(2)]
    pieces = [Pieces(speech, 20, 10, 0.3, 0)[number] for number in range(20)]
    voices = set()
    for piece in pieces:
        (spoken,) = (number for number in range(2) if contains(clips[number], piece["waveforms"]))
        (voice,) = (number for number in range(2) if contains(clips[number], piece["voices"]))
        assert contains(whole[spoken].ravel(), piece["features"].ravel())
        voices.add(spoken == voice)
    assert voices == {True, False}


def test_what_is_too_short_for_the_codec_is_left_out():
    clips = [
        CuratedUtterance({"duration_s": samples / 16_000}, flac(make_speech(samples), 16_000))
        for samples in (300, 16_000)
    ]
    assert Speech(clips, begin(find_parts(SMALL_BICODEC), 0, fresh=True)).left_out == 1


def contains(long: np.ndarray, part: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(long, len(part))
    return bool((windows == part).all(axis=1).any())


def test_of_one_speaker_utterances_are_held_back():
    trained, held = split([utterance("one", number, 5) for number in range(20)], 0.1)
    assert (len(trained), len(held)) == (18, 2)


def test_of_speakers_too_long_for_the_share_the_shortest_is_held_back():
    trained, held = split([utterance("a", 0, 50), utterance("b", 1, 10)], 0.01)
    assert [each.metadata["speaker"] for each in held] == ["b"]
    assert len(trained) == 1


def quantizer(codes: int, dim: int = 2) -> SemanticQuantizer:
    made = SemanticQuantizer(QuantizerConfig(input_dim=dim, codebook_size=codes, codebook_dim=dim))
    torch.nn.init.normal_(made.codebook.weight, generator=torch.Generator().manual_seed(0))
    made.cluster_size.zero_()
    return made.train()


def test_codes_move_to_the_means_of_what_is_looked_up_by_them():
    made = quantizer(2)
    with torch.no_grad():
        made.codebook.weight.copy_(torch.tensor([[1.0, 0.1], [0.1, 1.0]]))
    frames = torch.tensor([[3.0, 0.0], [0.0, 2.0]]).repeat(50, 1).T[None]
    book = Codebook(made)
    for _ in range(600):
        book.look_up(frames)
    torch.testing.assert_close(
        made.codebook.weight.detach(), torch.tensor([[3.0, 0.0], [0.0, 2.0]]), atol=0.02, rtol=0
    )


def test_a_dead_code_begins_again_where_speech_is():
    torch.manual_seed(0)
    made = quantizer(2)
    with torch.no_grad():
        made.codebook.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    frames = torch.randn(1, 2, 64).abs()
    book = Codebook(made)
    for _ in range(300):
        book.look_up(frames)
    assert (made.codebook.weight > 0).all()


def test_an_evaluation_moves_no_code():
    made = quantizer(8).eval()
    before = made.codebook.weight.clone()
    Codebook(made).look_up(torch.randn(1, 2, 16))
    assert torch.equal(made.codebook.weight, before)


def test_global_codes_in_training_are_those_of_inference_and_pass_gradients():
    torch.manual_seed(0)
    made = FiniteScalarQuantizer(6, [4] * 6)
    latents = torch.randn(3, 5, 6, requires_grad=True)
    trained = made.straight_through(latents)
    torch.testing.assert_close(trained, made.decode(made.encode(latents)))
    trained.sum().backward()
    assert latents.grad.abs().sum() > 0


def test_latents_that_use_all_dimensions_alike_are_even_and_collapsed_ones_are_not():
    frames = torch.randn(2, 8, 4000, generator=torch.Generator().manual_seed(0))
    assert unevenness(frames) < 0.01
    assert unevenness(frames[:, :1].expand(-1, 8, -1)) == pytest.approx(7)


def test_voices_that_have_the_same_tokens_are_drawn_apart():
    scalars = torch.randn(64, 32, 6, generator=torch.Generator().manual_seed(0))
    assert sameness(scalars) < 0.05
    alike = (1e-3 * scalars + 3).requires_grad_()
    sameness(alike).backward()
    moved = alike - 1e3 * alike.grad
    assert moved.mean().abs() < alike.mean().abs()
    assert (moved.var(dim=0) > alike.var(dim=0)).all()


def test_what_is_converted_teaches_how_to_speak_in_a_voice_and_nothing_to_who_listens():
    network = begin(find_parts(SMALL_BICODEC), 0, fresh=True).network
    speech = torch.stack([torch.from_numpy(make_speech(9_600, voice)) for voice in range(2)])
    batch = Batch(speech, torch.randn(2, 30, 384), speech)
    codebook, voice = Codebook(network.quantizer), load_voice("cpu").requires_grad_(False)
    assert "conversion" not in losses(network, batch, LossConfig(), codebook, tokens_stay=True)
    listeners = Listeners(voice=voice)
    conversion = losses(network, batch, LossConfig(), codebook, True, listeners)["conversion"]
    assert 0 < conversion < 2
    conversion.backward()
    taught = {
        name.split(".")[0] for name, each in network.named_parameters() if each.grad is not None
    }
    assert taught == {"quantizer", "prenet", "decoder", "speaker_encoder"}
    assert network.quantizer.in_project.weight_v.grad is None


def test_words_are_heard_in_what_is_spoken_at_any_level_and_teach_who_speaks():
    words = BiCodec.load(SMALL_BICODEC).features
    spoken, other = (torch.from_numpy(make_speech(16_000, voice))[None] for voice in range(2))
    assert words_loss(spoken / 3, spoken, words) < 1e-4
    assert words_loss(other, spoken, words) > 0.1
    spoken.requires_grad_()
    words_loss(spoken, other, words).backward()
    moved = (spoken - 0.01 * spoken.grad / spoken.grad.abs().max()).detach()
    assert words_loss(moved, other, words) < words_loss(spoken, other, words)


def test_fresh_weights_give_voices_tokens_that_differ_from_voice_to_voice_and_token_to_token():
    codec = begin(find_parts(SMALL_BICODEC), 0, fresh=True)
    params = codec.config.audio_tokenizer.mel_params
    voices = torch.stack([torch.from_numpy(make_speech(16_000, voice)) for voice in range(8)])
    mels = mel_spectrogram(voices, params)
    spread_voices(codec.network.speaker_encoder, mels.split(2))
    tokens = codec.network.speaker_encoder.encode(mels)
    assert len(tokens.unique(dim=0)) == 8
    assert len(tokens.unique(dim=1)[0]) == 32


def test_equal_waveforms_have_no_spectral_loss_and_others_have():
    waveform = torch.from_numpy(make_speech(8_000))[None]
    assert sum(spectral_losses(waveform, waveform, LossConfig())) == 0
    assert all(loss > 0.1 for loss in spectral_losses(waveform / 2, waveform, LossConfig()))


def test_the_shipped_codec_says_words_again():
    """A clip that it was never trained on, of a speaker it never heard: nearer than silence."""
    from tests.curation.curated_out import spoken

    samples, rate = spoken("hello_world")
    codec = BiCodec.load(SMALL_BICODEC)
    clip = codec.prepare(0, samples, rate)
    (tokens,) = codec.encode_prepared([clip])
    ours = codec.decode(tokens.semantic_tokens, tokens.global_tokens)
    pair = [torch.from_numpy(wave[: len(ours)])[None] for wave in (ours, clip)]
    distance = spectral_losses(*pair, LossConfig())[0]
    assert distance < 0.5 * spectral_losses(pair[0] * 0, pair[1], LossConfig())[0]

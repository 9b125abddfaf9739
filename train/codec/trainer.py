"""The trainer of a codec: the checkpoints, metrics and resuming of `gpa train`, other losses."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from gpa.curation.curated import CuratedUtterance
from gpa.curation.models.diarization.hearing import load_voice
from gpa.curation.models.protocols import ASR
from gpa.curation.text.units import units
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.audio import mel_spectrogram
from gpa.tokenize.bicodec.loading import WAV2VEC2
from gpa.tokenize.bicodec.model import Waveform
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.glm.tokenizer import RELEASED
from gpa.tokenize.report import perplexity
from gpa.train.codec.codebook import Codebook
from gpa.train.codec.data import Pieces, Speech
from gpa.train.codec.discriminators import Discriminators
from gpa.train.codec.fresh import spread_voices
from gpa.train.codec.objective import Batch, Listeners, LossConfig, losses, spectral_losses
from gpa.train.judges import hear
from gpa.train.trainer import WholeCheckpoints

SAMPLES = "samples"
DISCRIMINATORS = "discriminators.pt"
# Of the learning rate. At the whole of it d-vectors grow without end, and the loss with them.
VOICES_RATE = 0.1
# Pieces that the codebook's first codes are drawn from.
STARTING_PIECES = 200


def complete(folder: Path, parts: Mapping[str, Path]) -> None:
    """Lay what is not trained beside the weights in `folder`: config.yaml, and what it hears by."""
    shutil.copy(parts["bicodec"] / "config.yaml", folder)
    if "glm" in parts:
        shutil.copytree(parts["glm"], folder / RELEASED, dirs_exist_ok=True)
    if "wav2vec2" in parts and not (folder / WAV2VEC2).exists():
        (folder / WAV2VEC2).symlink_to(parts["wav2vec2"].resolve())


def word_error_rate(
    utterances: Sequence[CuratedUtterance],
    spoken: Sequence[Waveform],
    judges: Mapping[str, ASR],
) -> float:
    """What the judges of their languages mishear, over the units of consensus of all texts.

    An utterance without a judge or a text is not heard; NaN where none is.
    """
    edits = count = 0
    for utterance, waveform in zip(utterances, spoken, strict=True):
        language = utterance.metadata["language"]
        said = units(utterance.metadata["text"], language)
        if said and language in judges:
            heard = hear(judges[language], waveform, language)
            edits += Levenshtein.distance(said, units(heard, language))
            count += len(said)
    return edits / count if count else float("nan")


def _listeners(settings: LossConfig, codec: BiCodec) -> Listeners:
    """Those whose loss has a weight, where the codec works."""
    words = voice = discriminators = None
    if settings.words:
        words = codec.features
    if settings.conversion:
        voice = load_voice(str(codec.device)).requires_grad_(False)
    if settings.adversarial or settings.matching:
        discriminators = Discriminators(settings.discriminators, codec.device)
    return Listeners(words, voice, discriminators)


class CodecTrainer(WholeCheckpoints):
    """Trains the network of `codec`; every checkpoint is a folder that BiCodec.load takes.

    Its semantic tokens may stay; those of a `fresh` one can't. `held` are the clips that it is
    evaluated on: whole, through tokens and back; where `judges` has an ASR of their language, it
    listens. `parts` are the folders of the codec that training began with.
    """

    def __init__(
        self,
        codec: BiCodec,
        pieces: Pieces,
        held: Speech,
        settings: LossConfig,
        out: Path,
        keep: int,
        fresh: bool,
        tokens_stay: bool,
        parts: Mapping[str, Path],
        judges: Mapping[str, ASR],
        **options: Any,
    ):
        super().__init__(
            pieces, out, keep, model=codec.network, eval_dataset=held or None, **options
        )
        self.codec, self.held, self.settings, self.parts = codec, held, settings, parts
        self.tokens_stay, self.judges = tokens_stay, judges
        self.codebook = Codebook(codec.network.quantizer)
        self.fresh = fresh
        # A codebook that was trained before is looked up in from the first step.
        half = self.args.max_steps // 2
        self.continuous_steps = min(settings.continuous_steps, half) if fresh else 0
        codec.to(self.args.device)
        self.listeners = _listeners(settings, codec)
        self.discriminators = self.listeners.discriminators
        self._parts: dict[str, list[Tensor]] = defaultdict(list)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The sum of all losses of a batch of pieces."""
        step = self.state.global_step
        if self.fresh and step == 0:
            network = self.codec.network
            voices = (
                mel_spectrogram(batch.voices, network.mel_params)
                for batch in self._starting_batches()
            )
            spread_voices(network.speaker_encoder, list(voices))
        if step == self.continuous_steps and step > 0:
            self._start_codebook()
        codebook = self.codebook if step >= self.continuous_steps else None
        if self.tokens_stay:
            model.eval()  # no code moves
        # Batches are too small to normalise by, and a voice must not depend on its neighbours.
        self._network(model).speaker_encoder.eval()
        found = losses(
            self._network(model),
            Batch(**inputs),
            self.settings,
            codebook,
            self.tokens_stay,
            self.listeners,
        )
        for name, loss in found.items():
            self._parts[name].append(loss.detach())
        if self.discriminators:
            self._parts["discriminators"].append(self.discriminators.loss)
        return torch.stack(list(found.values())).sum()

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """That of the arguments, but for voices, which learn more slowly."""
        optimizer = super().create_optimizer(model)
        voices = set(self.codec.network.speaker_encoder.parameters())
        for group in list(optimizer.param_groups):
            slow = [each for each in group["params"] if each in voices]
            group["params"] = [each for each in group["params"] if each not in voices]
            optimizer.add_param_group({**group, "params": slow, "lr": VOICES_RATE * group["lr"]})
        return optimizer

    def _network(self, model: nn.Module) -> BiCodecNetwork:
        return self.accelerator.unwrap_model(model)

    def _starting_batches(self) -> Iterator[Batch]:
        """Pieces beyond those of the run."""
        count, size = len(self.rows), self.args.per_device_train_batch_size
        for first in range(count, count + STARTING_PIECES, size):
            pieces = [self.rows[number] for number in range(first, first + size)]
            yield Batch(**self._prepare_inputs(self.data_collator(pieces)))

    @torch.no_grad()
    def _start_codebook(self) -> None:
        network, pieces = self.codec.network, []
        for batch in self._starting_batches():
            latents = network.encoder(batch.features.transpose(1, 2))
            projected = F.normalize(network.quantizer.in_project(latents), dim=1)
            pieces.append(projected.transpose(1, 2).flatten(0, 1))
        self.codebook.start(torch.cat(pieces))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Each loss beside their sum."""
        if "loss" in logs:
            logs |= {
                name: float(torch.stack(part).mean()) for name, part in self._parts.items() if part
            }
            self._parts.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mel distance and WER of clips held back, and how the codebook is used; writes samples."""
        self.codec.network.eval()
        clips = [self.held.clip(number) for number in range(len(self.held))]
        tokens = self.codec.encode_prepared(clips)
        spoken = self.codec.decode_batch(
            [each.semantic_tokens for each in tokens], [each.global_tokens for each in tokens]
        )
        distances, lengths = [], []
        for number, (clip, ours) in enumerate(zip(clips, spoken, strict=True)):
            made, target = (torch.from_numpy(each[: len(ours)])[None] for each in (ours, clip))
            distances.append(float(spectral_losses(made, target, LossConfig())[0]))
            lengths.append(len(ours))
            self._write_samples(number, clip, ours)
        used = np.bincount(np.concatenate([each.semantic_tokens for each in tokens]))
        metrics = {
            "eval_mel_loss": float(np.average(distances, weights=lengths)),
            "eval_codes_used": int(np.count_nonzero(used)),
            "eval_codes_perplexity": perplexity(used),
        }
        if self.judges:
            metrics["eval_wer"] = word_error_rate(self.held.utterances, spoken, self.judges)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _write_samples(self, number: int, clip: Waveform, ours: Waveform) -> None:
        folder = self.out / SAMPLES
        folder.mkdir(parents=True, exist_ok=True)
        name = self.held.utterances[number].metadata["utterance_id"]
        for version, waveform in (("original", clip), ("codec", ours)):
            soundfile.write(folder / f"{name}.{version}.wav", waveform, SAMPLE_RATE, "PCM_16")

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.out)
        complete(folder, self.parts)
        if self.discriminators:
            torch.save(self.discriminators.state_dict(), folder / DISCRIMINATORS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.discriminators:
            state = torch.load(
                Path(resume_from_checkpoint) / DISCRIMINATORS, self.args.device, weights_only=True
            )
            self.discriminators.load_state_dict(state)

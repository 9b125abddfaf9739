"""`gpa codec`: check everything, say what is about to happen, train a BiCodec, leave it loadable."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from safetensors.torch import save_file
from torch import nn
from transformers.trainer_callback import ProgressCallback

from gpa.curation.transcribe.stage import ASRSection
from gpa.runtime.config import Config, digest, parse, read_yaml
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.config import read_config as read_codec_config
from gpa.tokenize.bicodec.features import HOP_SAMPLES
from gpa.tokenize.bicodec.loading import find_parts, load_ear
from gpa.tokenize.bicodec.weight_norm import unfold_weight_norm
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.weights import SMALL, SMALL_BICODEC, find_bicodec
from gpa.train.codec.data import Pieces, Speech, collate, read_utterances, split
from gpa.train.codec.fresh import fresh_network
from gpa.train.codec.objective import LossConfig
from gpa.train.codec.trainer import CodecTrainer, complete
from gpa.train.judges import load_judges
from gpa.train.metrics import LossBar, MetricsFile, draw_losses
from gpa.train.similarity import LEAST_VOICE_S
from gpa.train.trainer import DataIdentity, arguments, check_identity, last_checkpoint, read_step

# Instead of a checkpoint to start from: the small codec, its weights drawn from the seed.
FRESH = "fresh"
# Widths of the small codec's ECAPA-TDNN, which config.yaml has no room for.
ECAPA_CHANNELS = 32
ECAPA_FEATURES = 64


class CodecConfig(Config):
    """The section `codec` of pipelines.yaml."""

    seed: NonNegativeInt = 0
    # Share of the speech whose speakers are only evaluated on; evaluated are so many utterances.
    held_back_share: float = Field(default=0.05, ge=0, lt=1)
    evaluated_utterances: PositiveInt = 16
    # The semantic tokens of a trained codec stay as they are; a fresh one learns its own.
    tokens_stay: bool = True
    steps: PositiveInt = 1000
    learning_rate: PositiveFloat = 1e-3
    warmup_share: float = Field(default=0.02, ge=0, lt=1)
    # A batch: pieces of `piece_tokens` tokens each, and the speech that says whose voice it is.
    pieces: PositiveInt = 8
    piece_tokens: PositiveInt = 50
    voice_s: PositiveFloat = 1.5
    evaluate_every_steps: PositiveInt = 500
    save_every_steps: PositiveInt = 250
    keep_checkpoints: PositiveInt = 2
    losses: LossConfig = LossConfig()
    # An ASR a language: who listens to what is evaluated; clips of other languages are not heard.
    judges: dict[str, ASRSection] = {}

    @model_validator(mode="after")
    def _pieces_can_be_heard(self) -> CodecConfig:
        shortest_s = min(self.piece_tokens * HOP_SAMPLES / SAMPLE_RATE, self.voice_s)
        if (self.losses.words or self.losses.conversion) and shortest_s < LEAST_VOICE_S:
            raise ValueError(
                f"speech of {shortest_s} s is too short to be heard; raise piece_tokens or voice_s to "
                f"{LEAST_VOICE_S} s, or set losses.words and losses.conversion to 0"
            )
        return self


def read_config(file: Path) -> CodecConfig:
    """The section `codec`; raises UserError."""
    return parse(CodecConfig, read_yaml(file).get("codec", {}), f"{file}, section codec")


def train_codec(
    config: CodecConfig,
    *,
    curated: str,
    out: Path,
    steps: int | None = None,
    start: str = SMALL,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a codec on curated shards; returns `out`, a folder that BiCodec.load takes.

    `start` is a checkpoint, `small` (the one that is shipped) or `fresh` (weights drawn from the
    seed). With `resume` the run in `out` goes on where it stopped. Raises UserError for whatever
    is wrong, before a step is spent.
    """
    steps = steps or config.steps
    going_on = last_checkpoint(out, resume)
    utterances, data = read_utterances(curated)
    parts = find_parts(SMALL_BICODEC if start == FRESH else find_bicodec(start))
    codec = begin(parts, config.seed, fresh=start == FRESH)
    trained, held = (Speech(part, codec) for part in split(utterances, config.held_back_share))
    held.utterances = held.utterances[: config.evaluated_utterances]
    identity = {
        "data": data,
        "steps": str(steps),
        "start": start,
        "config": digest(config.model_dump(mode="json", exclude={"steps", "keep_checkpoints"})),
    }
    if going_on:
        check_identity(going_on, identity)
    judged = {each.metadata["language"] for each in held.utterances} & config.judges.keys()
    pieces = Pieces(
        trained,
        steps * config.pieces,
        config.piece_tokens,
        config.voice_s,
        config.seed,
        read_step(going_on) * config.pieces if going_on else 0,
    )
    losses = config.losses
    if pieces.voices == 1:  # of one speaker, differences are none of voices
        losses = losses.model_copy(update={"voices": 0, "conversion": 0})
    parameters = sum(parameter.numel() for parameter in codec.network.parameters())
    say(f"Codec        {parameters:,} parameters, from {going_on or start}")
    say(
        f"Data         {curated} ({data}): {len(trained)} utterances to train on, {len(held)} of "
        f"other speakers to evaluate on, {trained.left_out + held.left_out} unusable"
    )
    say(
        f"Training     {steps:,} steps of {config.pieces} pieces of {config.piece_tokens} tokens; "
        f"checkpoints every {config.save_every_steps:,} steps to {out}"
    )
    shutil.rmtree(out / CodecTrainer.UNFINISHED, ignore_errors=True)
    trainer = CodecTrainer(
        codec,
        pieces,
        held,
        losses,
        out,
        config.keep_checkpoints,
        fresh=start == FRESH,
        tokens_stay=config.tokens_stay and start != FRESH,
        parts=parts,
        judges=load_judges(config.judges, judged, "codec"),
        args=arguments(
            config,
            steps,
            out,
            config.warmup_share,
            bool(len(held)),
            per_device_train_batch_size=config.pieces,
            learning_rate=config.learning_rate,
            optim="adamw_torch_fused",
            adam_beta2=0.99,
            weight_decay=0.01,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
        ),
        data_collator=collate,
        callbacks=[DataIdentity(**identity), MetricsFile(out)],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(LossBar)
    trainer.train(resume_from_checkpoint=str(going_on) if going_on else None)
    draw_losses(out, "nats")
    export(codec.network, out, parts)
    say(f"Codec        {out}: name it as `bicodec` under tokenize.tokenizers in pipelines.yaml")
    return out


def begin(parts: Mapping[str, Path], seed: int, fresh: bool) -> BiCodec:
    """The codec that training begins with, its weight norms unfolded."""
    if fresh:
        config = read_codec_config(parts["bicodec"] / "config.yaml")
        network = fresh_network(config.audio_tokenizer, ECAPA_CHANNELS, ECAPA_FEATURES, seed)
        return BiCodec(config, network, load_ear(config.audio_tokenizer, parts))
    codec = BiCodec.load(parts["bicodec"])
    unfold_weight_norm(codec.network.requires_grad_(True))
    return codec


def export(network: nn.Module, out: Path, parts: Mapping[str, Path]) -> None:
    """Write a checkpoint as the published ones are, its weights in half precision."""
    halves = {key: tensor.half().contiguous() for key, tensor in network.state_dict().items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    complete(out, parts)

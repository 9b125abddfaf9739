"""The section `train` of pipelines.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from gpa.runtime.config import Config
from gpa.train.mixture import MixtureConfig
from gpa.train.rewards import RewardsConfig
from gpa.train.sizes import Size

Phase = Literal["pretrain", "sft", "reinforce"]


Layer = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraConfig(Config):
    """Matrices of a low rank that are trained beside frozen weights (arXiv:2106.09685), by peft."""

    rank: PositiveInt = 16
    # In every block: of attention, and of the layers between.
    layers: tuple[Layer, ...] = get_args(Layer)


class PhaseConfig(Config):
    """One phase of training; `pretrain` supervises all tokens, the others the answers."""

    supervise: Literal["all", "answer"]
    mixture: MixtureConfig = MixtureConfig()
    steps: dict[Size, PositiveInt]
    learning_rate: dict[Size, PositiveFloat]
    # Share of the steps in which the learning rate rises; then it falls to 0 along a cosine.
    warmup_share: float = Field(default=0.01, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    beta2: float = Field(default=0.95, gt=0, lt=1)
    # Adam moves a weight by the learning rate however small its gradients are, down to about this.
    adam_epsilon: PositiveFloat = 1e-8
    # Of `sft`: train this instead of all weights.
    lora: LoraConfig | None = None


class BatchConfig(Config):
    """How much is computed at once, for one size of model."""

    row_tokens: int = Field(ge=64, le=32_768)
    # Rows of an optimizer step, over all GPUs; and of one forward pass on one GPU.
    rows_per_step: PositiveInt
    rows_at_once: PositiveInt
    # Recompute activations in the backward pass: a third more time, far less memory.
    activation_checkpointing: bool = False


class ReinforceConfig(Config):
    """The section `train.reinforce`: how many answers, how long they may become, what they earn."""

    # A step asks the prompts whose sequences fill so many rows, each for so many answers.
    rows_per_step: PositiveInt = 1
    answers: int = Field(8, ge=2)
    # Weight of the divergence from the weights that the phase starts from.
    kl: NonNegativeFloat = 0.0
    asr_tokens: PositiveInt = 512
    speech_tokens: PositiveInt = 2000
    # Bounds the KV cache, as in eval.generation.
    batch_tokens: PositiveInt = 16_384
    rewards: RewardsConfig = RewardsConfig()


class TrainConfig(Config):
    """The section `train` of pipelines.yaml."""

    seed: NonNegativeInt = 0
    # Share of the speakers whose utterances are only evaluated on; 0 trains on everybody.
    held_back_share: float = Field(default=0.05, ge=0, lt=1)
    evaluate_every_steps: PositiveInt = 500
    save_every_steps: PositiveInt = 500
    keep_checkpoints: PositiveInt = 3
    # auto: bf16 on a GPU that has it, else fp32.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # auto: FlashAttention where it is installed beside a GPU, else SDPA a sequence at a time;
    # sdpa: one call with a mask, slower, but of one shape, as `compile` likes it.
    attention: Literal["auto", "sdpa_by_sequence", "sdpa", "flash_attention_2"] = "auto"
    compile: bool = False
    # How weights are spread over GPUs; more than one needs torchrun or accelerate launch.
    sharding: Literal["none", "fsdp", "zero2"] = "none"
    loader_workers: NonNegativeInt = 2
    # Parallel utterances for conversion: a Parquet or CSV file of source_id and target_id.
    vc_pairs: Path | None = None
    batches: dict[Size, BatchConfig]
    phases: dict[Phase, PhaseConfig]
    reinforce: ReinforceConfig = ReinforceConfig()

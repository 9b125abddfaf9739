"""What a run measured, step by step: metrics.jsonl, a picture of it, and how fast it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from gpa.tokenize.sequences import IGNORED

METRICS = "metrics.jsonl"
# Times differ from run to run, and stand in TensorBoard and on the screen.
_TIMES = ("_runtime", "_per_second", "total_flos", "_preparation_time", "num_input_tokens_seen")
# Dense bf16 of NVIDIA's data sheets, TFLOP/s, by what a device's name holds; the first one counts.
PEAK_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "RTX A6000": 155,
    "RTX 4090": 165,
    "RTX 3090": 71,
}


def peak_flops(device: str | None = None) -> float | None:
    """What a GPU of this name does at most in a second, bf16; None for others and for a CPU."""
    if device is None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((1e12 * peak for name, peak in PEAK_TFLOPS.items() if name in device), None)


def model_flops(config: Qwen3Config, batch: Mapping[str, Any]) -> float:
    """Operations that forward and backward of packed rows need: none of padding or recomputing.

    A multiplication and an addition are two; backward is twice forward. Only supervised tokens
    meet the output layer, and a token sees those before it in its own sequence.
    """
    width, head_dim = config.hidden_size, int(config.head_dim or 0)
    key_value_heads = config.num_key_value_heads or config.num_attention_heads
    heads, others = config.num_attention_heads * head_dim, 2 * key_value_heads * head_dim
    layer = width * (2 * heads + others + 3 * config.intermediate_size)
    starts = batch["cu_seq_lens_q"].long()
    useful = batch["input_ids"].flatten()[starts[:-1]] != config.pad_token_id
    lengths = starts.diff()[useful].double()
    supervised = float((batch["labels"][:, 1:] != IGNORED).sum())
    layers = layer * lengths.sum() + heads * (lengths**2).sum()
    return float(6 * (config.num_hidden_layers * layers + width * config.vocab_size * supervised))


class LossBar(ProgressCallback):
    """The Trainer's progress bar, with the loss in it instead of a line a step, and the speed.

    Useful tokens a second over all processes, and the share of the GPUs' peak that the model's
    operations are (MFU, arXiv:2204.02311) where it is known; evaluating and saving do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = peak_flops()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self._start(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_evaluate(args, state, control, **kwargs)
        self._start(state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start(state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Show the losses logged last, and the speed since."""
        if self.training_bar is None:
            return
        shown = {name: f"{v:.4g}" for name, v in (logs or {}).items() if name.endswith("loss")}
        if "loss" in shown and state.num_input_tokens_seen > self.tokens:
            seconds = time.perf_counter() - self.clock
            shown["tokens/s"] = f"{(state.num_input_tokens_seen - self.tokens) / seconds:,.0f}"
            if self.peak:
                flops = (state.total_flos - self.flops) / seconds
                shown["MFU"] = f"{flops / (self.peak * args.world_size):.1%}"
            self._start(state)
        self.training_bar.set_postfix(shown)

    def _start(self, state: Any) -> None:
        self.clock, self.tokens = time.perf_counter(), state.num_input_tokens_seen
        self.flops = state.total_flos


class MetricsFile(TrainerCallback):
    """Appends what is logged to metrics.jsonl, one line a step and kind.

    A resumed run first drops the lines after its checkpoint, so that the file reads as if the run
    had never stopped.
    """

    def __init__(self, out: Path):
        self.path = out / METRICS

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the lines up to where training goes on."""
        if state.is_world_process_zero:
            kept = [line for line in read_metrics(self.path) if line["step"] <= state.global_step]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        measured = {
            name: value
            for name, value in (logs or {}).items()
            if not name.endswith(_TIMES) and name not in ("epoch", "train_loss")
        }
        if measured and state.is_world_process_zero:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": state.global_step} | measured) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl; a last line that was cut by a kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def draw_losses(out: Path, unit: str = "nats a token") -> Path:
    """Draw training and evaluation losses over the steps into loss.png; returns its path.

    Of reinforcement, whose loss says nothing, the rewards.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_metrics(out / METRICS)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    logged = {name for line in lines for name in line}
    rewarded = any(name.endswith("_reward") for name in logged)
    axes = figure.add_subplot(
        xlabel="optimizer step", ylabel="reward" if rewarded else f"loss, {unit}"
    )
    names = sorted(name for name in logged if name.endswith("_reward" if rewarded else "loss"))
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        held_back = name.startswith("eval_")
        task = name.removeprefix("eval_").removesuffix("_loss").removesuffix("_reward")
        label = f"held back, {task}" if held_back else "training" + (f", {task}" * rewarded)
        marker = "o" if held_back else ""
        axes.plot(*zip(*points, strict=True), label=label, marker=marker, linewidth=1)
    if not rewarded:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if names:
        axes.legend()
    path = out / "loss.png"
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path

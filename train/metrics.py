"""What a run measured, step by step: metrics.jsonl, and a picture of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback

METRICS = "metrics.jsonl"
# Times differ from run to run, and stand in TensorBoard and on the screen.
_TIMES = ("_runtime", "_per_second", "total_flos", "_preparation_time")


class LossBar(ProgressCallback):
    """The Trainer's progress bar, with the loss in it instead of a line a step."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Show the losses logged last."""
        if self.training_bar is not None:
            losses = {name: f"{v:.4g}" for name, v in (logs or {}).items() if name.endswith("loss")}
            self.training_bar.set_postfix(losses)


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
        """Append one line."""
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
    """Draw training and evaluation losses over the steps into loss.png; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_metrics(out / METRICS)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="optimizer step", ylabel=f"loss, {unit}")
    names = sorted({name for line in lines for name in line if name.endswith("loss")})
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        label = "training" if name == "loss" else f"held back, {name.split('_')[1]}"
        marker = "" if name == "loss" else "o"
        axes.plot(*zip(*points, strict=True), label=label, marker=marker, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if names:
        axes.legend()
    path = out / "loss.png"
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path

"""The whole pipeline against the bare calls of its models, on the sample corpus.

The pipeline runs as `gpa curate` does. Then every stage is called again in this process on the
same inputs, with the time inside its model's methods taken: the same audio in the same batches,
models loaded. What the pipeline's workers needed beyond that is the cost of everything that is
not a model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gpa.curation import run
from gpa.curation.audio import decode_flac
from gpa.curation.ingest import sample
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.pipeline import PipelineConfig, build_stages, read_pipeline
from gpa.curation.transcribe.stage import BATCH_UTTERANCES, build_asr
from gpa.runtime import record
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.bench.figures import Measurement, one_torch_thread
from gpa.runtime.options import pipelines
from gpa.runtime.stage import NoAttempts
from gpa.runtime.storage import Store

NAME = "laptop"
# One, so that workers do not slow each other down: how two share the machine is `bench_engine`'s.
WORKERS = 1


def bench() -> Iterator[Measurement]:
    """All measurements; they run every model, and take about four minutes."""
    config = read_pipeline(pipelines(), NAME)
    resources = config.resources.model_copy(update={"cpus": WORKERS})
    config = config.model_copy(update={"resources": resources})
    with tempfile.TemporaryDirectory() as folder:
        corpus, out = sample.write(Path(folder) / "corpus"), str(Path(folder) / "out")
        began = time.perf_counter()
        run.curate(str(corpus), out, NAME, config, Console(quiet=True))
        wall_s = time.perf_counter() - began
        with one_torch_thread():
            yield from _against_bare_calls(out, config, wall_s)
            yield _batched_against_single(out, config)


class _ModelClock:
    """Seconds inside the public methods of models."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def watch(self, model: Any) -> None:
        """Take the time of what `model` does from now on; methods that call each other count once."""
        for name in set(dir(model)) - {"facts", "load"}:
            if not name.startswith("_") and callable(method := getattr(model, name)):
                setattr(model, name, self._timed(method))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return method(*arguments, **named)
            self._inside = True
            began = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - began
                self._inside = False

        return timed


def _against_bare_calls(out: str, config: PipelineConfig, wall_s: float) -> Iterator[Measurement]:
    content = record.require(Store(out))
    artifacts, named = ArtifactStore(Store(out)), content["fingerprints"]
    clock = _ModelClock()
    for stage in build_stages(config):
        if not stage.models():
            continue
        stage.load()
        for held in vars(stage).values():
            if hasattr(held, "facts"):  # an adapter
                clock.watch(held)
        for partition in content["partitions"]:
            inputs = {name: artifacts.read(name, named[name], partition) for name in stage.inputs}
            stage.process(partition, inputs, NoAttempts())
    spent = content["stages"].values()
    worked_s = sum(stage["worker_s"] for stage in spent)
    bare = "bare model calls"
    yield Measurement(
        f"workers' time, models loaded / {bare}", worked_s / clock.seconds, "x", at_most=1.05
    )
    wall = f"pipeline's wall time x workers / {bare}, on 2.6 minutes of audio"
    yield Measurement(wall, wall_s * WORKERS / clock.seconds, "x")
    waiting = "of that wall time, loading models and waiting for Ray"
    yield Measurement(waiting, wall_s - worked_s / WORKERS, "s")


def _batched_against_single(out: str, config: PipelineConfig) -> Measurement:
    """Every ASR on a batch of the utterances, together and one by one; the texts must be equal."""
    content = record.require(Store(out))
    artifacts, fingerprint = ArtifactStore(Store(out)), content["fingerprints"]["utterances"]
    clips, sample_rate = [], 0
    for partition in content["partitions"]:
        for name, data in artifacts.read("utterances", fingerprint, partition).files.items():
            if name.endswith(f".{config.transcribe.hears}.flac"):
                waveform, sample_rate = decode_flac(data)
                clips.append(waveform)
    clips = clips[:BATCH_UTTERANCES]
    together_s = alone_s = 0.0
    for section in config.transcribe.asr.values():
        asr = build_asr(section)
        asr.load()
        began = time.perf_counter()
        together = asr.transcribe(clips, sample_rate, ["en"] * len(clips))
        between = time.perf_counter()
        alone = [asr.transcribe([clip], sample_rate, ["en"])[0] for clip in clips]
        ended = time.perf_counter()
        together_s, alone_s = together_s + between - began, alone_s + ended - between
        if _texts(together) != _texts(alone):
            raise ArithmeticError(f"{asr.facts().model} hears another text in a batch")
    name = f"transcription one by one / in batches of {len(clips)}, same text"
    return Measurement(name, alone_s / together_s, "x")


def _texts(heard: Sequence[Hypothesis | Exception]) -> list[str]:
    return [each.text if isinstance(each, Hypothesis) else repr(each) for each in heard]

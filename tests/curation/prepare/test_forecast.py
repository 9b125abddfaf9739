"""A forecast is arithmetic over assumed rates: each figure worked out by hand."""

from __future__ import annotations

import pytest

from gpa.curation.pipeline import ForecastConfig, StageRate
from gpa.curation.prepare.forecast import Forecast, StageForecast, forecast, workers
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Pool
from gpa.runtime.stage import Artifact, Stage
from tests.runs import gpa


class Listen(Stage):
    step = "transcribe"

    def process(self, partition, inputs, attempts) -> Artifact:
        raise AssertionError("a forecast runs nothing")


class Choose(Listen):
    step = "consensus"


STAGES = [Listen("hypotheses/one", Config()), Choose("consensus", Config())]
POOLS = {"transcribe": Pool(cpus=2, gpus=0.5), "consensus": Pool()}
RATES = ForecastConfig(
    source="a test",
    stages={
        "hypotheses/one": StageRate(rtf=0.1, handed_on=0.5, mb_an_hour=2),
        "consensus": StageRate(rtf=0.01),
    },
)


def test_each_stage_works_on_what_the_ones_before_hand_on():
    found = forecast(RATES, STAGES, POOLS, 1000, 30, cpus=16, gpus=2)
    first, second = found.stages
    assert (first.audio_hours, second.audio_hours) == (1000, 500)
    assert (first.worker_hours, first.cpu_hours, first.gpu_hours) == (100, 200, 50)
    assert first.workers == 4  # two to a GPU, though there are cores for eight
    assert first.finish_hours == 25
    assert first.terabytes == pytest.approx(0.002)
    assert second.workers == 16
    assert (found.kept_hours, found.partitions) == (500, 2000)
    assert found.total("cpu_hours") == pytest.approx(205)


def test_a_stage_without_a_rate_is_named():
    silent = RATES.model_copy(update={"stages": {}})
    with pytest.raises(UserError, match="no rate for hypotheses/one"):
        forecast(silent, STAGES, POOLS, 1, 30, cpus=2, gpus=1)


def test_a_cluster_too_small_for_a_worker_is_told():
    with pytest.raises(UserError, match=r"A worker of transcribe holds 2 CPUs and 0\.5 GPUs"):
        workers("transcribe", POOLS["transcribe"], cpus=64, gpus=0)


def test_the_command_reckons_the_papers_pipeline_without_its_weights():
    printed = gpa(
        "plan", "--pipeline", "paper", "--hours", "1000000", "--cpus", 2048, "--gpus", 256
    )
    assert "in 1,000,000 partitions" in printed
    assert "assumed rates" in printed


def test_a_corpus_or_a_size_is_needed_not_both():
    assert "--corpus" in gpa("plan", status=2)
    assert "--hours" in gpa("plan", "--corpus", "x", "--hours", "3", status=2)


def test_of_audio_that_is_pruned_one_wave_lies_there():
    audio = StageForecast("normalized", 100.0, 0.0, 0.0, 0.0, 1, terabytes=10.0)
    shards = StageForecast("packaged", 100.0, 0.0, 0.0, 0.0, 1, terabytes=1.0)
    found = Forecast(100.0, 50.0, 100, (audio, shards), "")
    assert (found.peak_tb(10.0), found.peak_tb(1000.0)) == (2.0, 11.0)

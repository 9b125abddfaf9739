"""MossFormer2: the real package in an interpreter of its own, with random weights.

What the published weights make of noise can't be shown here; that they are found, read whole and
called rightly can.
"""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gpa.curation import audio
from gpa.curation.denoise import DenoiseStage
from gpa.curation.doctor import Finding, look_at
from gpa.curation.models.denoise import mossformer2
from gpa.curation.models.denoise.mossformer2 import MossFormer2, MossFormer2Config
from gpa.runtime import interpreter as other
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from tests.curation.models import random_mossformer2
from tests.curation.test_denoise import noise, normalized
from tests.interpreters import interpreter
from tests.runs import ROOT

PACKAGES = (
    "clearvoice==0.1.2",
    "numpy==1.26.4",
    "pandas==3.0.0",  # 3.1 and pyarrow 26 refuse such a numpy
    "pyarrow==25.0.1",
    "pydub==0.25.1",
    "rotary-embedding-torch==0.8.3",
    "torchinfo==1.8.0",
    "yamlargparse==1.31.1",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """An interpreter that holds the package and the numpy that it wants."""
    return str(interpreter(tmp_path_factory.mktemp("environments") / "clearvoice", *PACKAGES))


@pytest.fixture(scope="module")
def weights(python, tmp_path_factory) -> Path:
    """Random weights with which what comes out is what went in."""
    folder = tmp_path_factory.mktemp("checkpoints") / "random"
    return other.call(python, partial(random_mossformer2.mossformer2, folder, saturation=30.0))


def there(python: str, weights: Path | str) -> MossFormer2Config:
    return MossFormer2Config(model="mossformer2", weights=str(weights), environment=python)


def test_a_library_that_is_not_here_is_sent_to_its_own_environment(tmp_path):
    with pytest.raises(UserError, match=r"name its python in denoise\.environment"):
        MossFormer2(MossFormer2Config(model="mossformer2", weights=str(tmp_path))).facts()


def test_a_folder_names_its_checkpoint(tmp_path):
    (tmp_path / "last_best_checkpoint").write_text("epoch-9.pt\n")
    with pytest.raises(UserError, match="names no file that is there"):
        mossformer2.checkpoint(tmp_path)
    (tmp_path / "epoch-9.pt").touch()
    assert mossformer2.checkpoint(tmp_path) == tmp_path / "epoch-9.pt"


def test_a_checkpoint_that_lacks_a_weight_is_refused(tmp_path):
    """Where the package itself would leave the weight random and say nothing."""
    import torch

    network = torch.nn.Linear(2, 3)
    torch.save({"model": {"module.weight": torch.ones(3, 2)}}, tmp_path / "part.pt")
    with pytest.raises(UserError, match="lacks 1 of 2 weights, bias first"):
        mossformer2.fill(network, tmp_path / "part.pt")
    torch.save({"weight": torch.ones(2, 2), "bias": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="can't be read as MossFormer2_SE_48K"):
        mossformer2.fill(network, tmp_path / "other.pt")
    torch.save({"weight": torch.ones(3, 2), "bias": torch.ones(3)}, tmp_path / "whole.pt")
    mossformer2.fill(network, tmp_path / "whole.pt")
    assert network.weight.tolist() == torch.ones(3, 2).tolist()


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_checkpoint_can_run_no_code(tmp_path):
    import torch

    file = tmp_path / "checkpoint.pt"
    torch.save({"model": _Touch(tmp_path / "touched")}, file)
    with pytest.raises(UserError, match="can't be read as MossFormer2_SE_48K"):
        mossformer2.fill(torch.nn.Linear(2, 3), file)
    assert not (tmp_path / "touched").exists()


@pytest.mark.slow
def test_doctor_asks_its_environment_for_library_licence_and_weights(python, weights):
    def found(place: Path | str) -> Finding:
        stage = DenoiseStage("denoised", there(python, place), ["normalized"])
        ((name, adapter),) = stage.adapters().items()
        return look_at(stage, name, adapter, Resources(offline=True))

    here = found(weights)
    assert here.problem is None
    assert "clearvoice 0.1.2), Apache-2.0; Apache-2.0 weights from" in here.found
    assert here.found.endswith(f"in {python}")
    assert "`gpa fetch` gets them" in (found("alibabasglab/MossFormer2_SE_48K").problem or "")


@pytest.mark.slow
def test_it_keeps_the_promises_of_every_denoiser(python):
    suite = Path(__file__).with_name("test_conformance.py")
    ran = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), "-k", "mossformer2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout


@pytest.mark.slow
def test_windows_of_a_recording_join_without_a_seam(python, weights):
    """22 s are two windows; the package alone would leave the last half second silent."""
    inputs = normalized(a=noise(22))
    stage = DenoiseStage("denoised", there(python, weights), ["normalized"])
    made = other.call(python, partial(random_mossformer2.processed, stage, inputs))
    assert made.rejects == []
    clean, rate = audio.decode_flac(made.files["a.flac"])
    noisy, _ = audio.decode_flac(inputs["normalized"].files["a.flac"])
    assert rate == 24000
    resampled = audio.resample(audio.resample(noisy, rate, 48000), 48000, rate)
    np.testing.assert_allclose(clean, resampled, atol=1e-3)

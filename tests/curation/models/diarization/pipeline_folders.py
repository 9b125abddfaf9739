"""Folders in the layouts of pyannote's published pipelines, of weights that come in wheels.

The segmentation is whisperx's, the embedding GE2E. The published segmentation models score sets of
speakers (powerset) where whisperx's scores speakers: `powerset` writes the one as the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import lightning
import numpy as np
import torch
import yaml
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet

from gpa.curation.models.diarization.ge2e import DIMENSION, GE2E
from gpa.curation.models.diarization.pyannet import segmentation_model
from gpa.curation.models.weights import wheel_file

# No speaker, one of three, two of three: the order of pyannote's powerset classes.
SETS = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))


def layout_3_1(folder: Path) -> Path:
    """A lone config that names its models by path, one absolute and one beside it."""
    pipeline, models = folder / "pipeline", folder / "models"
    (pipeline / "beside").mkdir(parents=True)
    models.mkdir()
    shutil.copy(_segmentation_file(), models / "pytorch_model.bin")
    _save(_voice(), pipeline / "beside")
    config = {
        "version": "3.1.0",
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "clustering": "AgglomerativeClustering",
                "embedding": "beside/pytorch_model.bin",
                "embedding_batch_size": 32,
                "embedding_exclude_overlap": True,
                "segmentation": str(models / "pytorch_model.bin"),
                "segmentation_batch_size": 32,
            },
        },
        "params": {
            "clustering": {"method": "average", "min_cluster_size": 12, "threshold": 0.35},
            "segmentation": {"threshold": 0.5, "min_duration_off": 0.0},
        },
    }
    (pipeline / "config.yaml").write_text(yaml.safe_dump(config))
    return pipeline


def layout_community_1(folder: Path) -> Path:
    """All models in folders of the pipeline's own, joined by VBx clustering with a PLDA."""
    for part in ("segmentation", "embedding", "plda"):
        (folder / part).mkdir(parents=True)
    _save(powerset(segmentation_model(_segmentation_file())), folder / "segmentation")
    _save(_voice(), folder / "embedding")
    _save_plda(folder / "plda")
    config = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "clustering": "VBxClustering",
                "embedding": "$model/embedding",
                "embedding_batch_size": 32,
                "embedding_exclude_overlap": True,
                "plda": "$model/plda",
                "segmentation": "$model/segmentation",
                "segmentation_batch_size": 32,
            },
        },
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 1.0, "Fb": 1.0},
            "segmentation": {"min_duration_off": 0.0},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def powerset(scores_speakers: PyanNet) -> PyanNet:
    """The same network with a score for each set of at most two speakers.

    Where speakers are independent, the logarithm of a set's odds is the sum of its members'.
    """
    model = PyanNet(lstm=scores_speakers.hparams.lstm, linear=scores_speakers.hparams.linear)
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=scores_speakers.specifications.duration,
        classes=scores_speakers.specifications.classes,
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.setup()
    members = torch.tensor([[float(speaker in each) for speaker in range(3)] for each in SETS])
    state = scores_speakers.state_dict()
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = members @ state[name]
    model.load_state_dict(state)
    return model.eval()


def _segmentation_file() -> Path:
    return wheel_file("whisperx", "whisperx/assets/pytorch_model.bin")


def _voice() -> GE2E:
    voice = GE2E.from_checkpoint(wheel_file("Resemblyzer", "resemblyzer/pretrained.pt"))
    voice.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0
    )
    return voice


def _save(model: Model, folder: Path) -> None:
    """A checkpoint as pyannote's training writes it."""
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "pyannote.audio": {
            "versions": {"torch": torch.__version__, "pyannote.audio": "4.0.0"},
            "architecture": {"module": type(model).__module__, "class": type(model).__name__},
            "specifications": model.specifications,
        },
    }
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _save_plda(folder: Path) -> None:
    """A PLDA of 128 dimensions in which voices lie apart as the embeddings do."""
    dimensions = 128
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION)))[0]
    np.savez(
        folder / "xvec_transform.npz",
        mean1=np.zeros(DIMENSION),
        mean2=np.zeros(dimensions),
        lda=rotation[:, :dimensions],
    )
    np.savez(
        folder / "plda.npz",
        mu=np.zeros(dimensions),
        tr=np.eye(dimensions),
        psi=np.linspace(2, 1, dimensions),
    )

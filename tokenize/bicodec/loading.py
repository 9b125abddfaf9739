"""Where the parts of a BiCodec checkpoint lie, and how they become networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mode

import torch
from torch import Tensor

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.config import BiCodecConfig, NetworkConfig, read_config
from gpa.tokenize.bicodec.features import FeatureExtractor, load_features
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.bicodec.weight_norm import fold_weight_norm
from gpa.tokenize.bicodec.whisper import WhisperFeatures, load_whisper
from gpa.tokenize.checkpoint import load_strictly, read_tensors
from gpa.tokenize.glm.tokenizer import RELEASED, SMALL_GLM

WAV2VEC2 = "wav2vec2-large-xlsr-53"

Features = FeatureExtractor | WhisperFeatures

# Constants that the published file leaves out (and other exports may hold): we compute them.
COMPUTED_PREFIX = "mel_transformer."


def find_parts(folder: Path) -> dict[str, Path]:
    """Folders of BiCodec itself, and of `wav2vec2` or the `glm` that it hears by; raises UserError.

    `folder` holds `config.yaml` and `model.safetensors`, or a folder `BiCodec/` that does: the
    roots of Spark-TTS and of the GPA release, where files of these names belong to others. The
    wav2vec 2.0 folder lies inside (the GPA release) or beside it (Spark-TTS). A small codec hears by
    the GLM tokenizer that lies inside, or else by the shipped one.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} to load BiCodec from.")
    if (folder / "BiCodec").is_dir():
        folder = folder / "BiCodec"
    if read_config(folder / "config.yaml").audio_tokenizer.features:
        inside = folder / RELEASED
        return {"bicodec": folder, "glm": inside if inside.is_dir() else SMALL_GLM}
    for wav2vec2 in (folder / WAV2VEC2, folder.parent / WAV2VEC2):
        if wav2vec2.is_dir():
            return {"bicodec": folder, "wav2vec2": wav2vec2}
    raise UserError(f"There is no folder {WAV2VEC2} in {folder} or beside it.")


def load_parts(folder: Path) -> tuple[BiCodecConfig, BiCodecNetwork, Features]:
    """Load all parts on the CPU; raises UserError that names what is missing or does not fit."""
    parts = find_parts(folder)
    folder = parts["bicodec"]
    config = read_config(folder / "config.yaml")
    tensors = {
        key: tensor
        for key, tensor in read_tensors(folder).items()
        if not key.startswith(COMPUTED_PREFIX)
    }
    channels, features = _ecapa_widths(tensors)
    with torch.device("meta"):
        network = BiCodecNetwork(config.audio_tokenizer, channels, features)
    load_strictly(network, tensors, folder)
    fold_weight_norm(network)
    return config, network, load_ear(config.audio_tokenizer, parts)


def load_ear(config: NetworkConfig, parts: Mapping[str, Path]) -> Features:
    """The network that makes the features, from the folder that `find_parts` found."""
    if config.features:
        return load_whisper(parts["glm"], config.features.whisper_layers)
    return load_features(parts["wav2vec2"])


def _ecapa_widths(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Channels and features of ECAPA-TDNN, which config.yaml does not name.

    Taken from what most of the shapes say, so that one wrong tensor is named as the wrong one.
    """
    prefix = "speaker_encoder.speaker_encoder."
    per_channel = [
        f"{prefix}layer{layer}.{norm}.bias"
        for layer, norm in [(1, "bn"), *((layer, "se_res2block.0.bn") for layer in (2, 3, 4))]
    ]
    per_feature = [f"{prefix}{name}.bias" for name in ("conv", "pool.linear2")]
    per_feature.append("speaker_encoder.perceiver_sampler.proj_context.weight")
    try:
        channels = mode(tensors[key].shape[0] for key in per_channel if key in tensors)
        features = mode(tensors[key].shape[-1] for key in per_feature if key in tensors)
    except ValueError:
        raise UserError(f"The checkpoint has no tensors under {prefix}: is it BiCodec?") from None
    return channels, features

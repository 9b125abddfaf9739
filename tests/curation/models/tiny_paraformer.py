"""A small random Paraformer in FunASR's layout: the classes and the files of `paraformer-zh`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

# Blank, begin and end come first, the unknown last, and before it the word that says "no hotword".
TOKENS = [
    "<blank>",
    "<s>",
    "</s>",
    *"的一是了我不人在他有这个上们来到时大地为",
    "hel@@",
    "lo",
    "<unk>",
]
WIDTH = 16
_ATTENTION = {"attention_heads": 2, "linear_units": 32, "kernel_size": 11, "sanm_shfit": 0}

CONFIG: dict[str, Any] = {
    "model": "SeacoParaformer",
    "model_conf": {
        "inner_dim": WIDTH,
        "bias_encoder_type": "lstm",
        "predictor_bias": 1,
        "sampling_ratio": 0.75,
        "NO_BIAS": len(TOKENS) - 2,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        **_ATTENTION,
        "output_size": WIDTH,
        "num_blocks": 2,
        "input_layer": "pe",
        "pos_enc_class": "SinusoidalPositionEncoder",
        "selfattention_layer_type": "sanm",
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {**_ATTENTION, "num_blocks": 2, "att_layer_num": 2},
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf": {
        **_ATTENTION,
        "num_blocks": 1,
        "att_layer_num": 1,
        "use_output_layer": False,
        "wo_input_layer": True,
    },
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        "idim": WIDTH,
        "threshold": 1.0,
        "l_order": 1,
        "r_order": 1,
        "tail_threshold": 0.45,
        "smooth_factor2": 0.25,
        "noise_threshold2": 0.01,
        "upsample_times": 3,
        "use_cif1_cnn": False,
        "upsample_type": "cnn_blstm",
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 6,
    },
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}
# Which file of the folder is what, as FunASR reads it.
CONFIGURATION = {
    "framework": "pytorch",
    "task": "auto-speech-recognition",
    "model": {"type": "funasr"},
    "file_path_metas": {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"},
        "frontend_conf": {"cmvn_file": "am.mvn"},
    },
}
FEATURES = 80 * 7


def paraformer(folder: Path) -> Path:
    """Write it to a new folder."""
    from funasr import AutoModel

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (folder / "configuration.json").write_text(json.dumps(CONFIGURATION), encoding="utf-8")
    (folder / "tokens.json").write_text(json.dumps(TOKENS), encoding="utf-8")
    (folder / "seg_dict").write_text("hello hel@@ lo\n", encoding="utf-8")
    (folder / "am.mvn").write_text(
        "<Nnet>\n"
        f"<AddShift> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {'-10 ' * FEATURES}]\n"
        f"<Rescale> {FEATURES} {FEATURES}\n<LearnRateCoef> 0 [ {'0.3 ' * FEATURES}]\n"
        "</Nnet>\n"
    )
    # FunASR alone knows what its networks hold: it builds one without weights, and we keep those.
    torch.save({}, folder / "model.pt")
    built = AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True)
    torch.manual_seed(0)
    drawn = {
        name: torch.randn_like(weight) / weight.shape[-1] ** 0.5
        if weight.is_floating_point() and weight.dim() > 1
        else weight
        for name, weight in built.model.state_dict().items()
    }
    torch.save(drawn, folder / "model.pt")
    return folder

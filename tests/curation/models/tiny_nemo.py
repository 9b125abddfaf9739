"""Small random NeMo checkpoints with the architecture of the published ones, saved as `.nemo`."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

RATE = 16000
WIDTH = 16
MEL_BANDS = 32
TEXT = """the quick brown fox jumps over the lazy dog and counts one two three four five six seven
hello world it was the best of times it was the worst of times in the age of wisdom"""


def preprocessor() -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": RATE,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": MEL_BANDS,
        "n_fft": 512,
        "dither": 1e-5,
        "pad_to": 0,
    }


def fastconformer() -> dict[str, Any]:
    """One layer of the encoder that all of them share: frames of 80 ms."""
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": MEL_BANDS,
        "feat_out": -1,
        "n_layers": 1,
        "d_model": WIDTH,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 8,
        "ff_expansion_factor": 2,
        "self_attention_model": "rel_pos",
        "n_heads": 2,
        "conv_kernel_size": 9,
        "dropout": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }


def sentencepiece(folder: Path, symbols: Sequence[str] = ()) -> Path:
    """A folder with a small tokenizer."""
    from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model

    folder.mkdir(parents=True)
    (folder / "text.txt").write_text(TEXT)
    create_spt_model(
        str(folder / "text.txt"),
        vocab_size=48 + len(symbols),
        sample_size=-1,
        do_lower_case=False,
        output_dir=str(folder),
        user_defined_symbols=list(symbols) or None,
    )
    return folder


def parakeet(folder: Path) -> Path:
    """FastConformer-TDT, as Parakeet-TDT-0.6B-v3."""
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    durations = [0, 1, 2, 3, 4]
    config = {
        "sample_rate": RATE,
        "tokenizer": {"dir": str(sentencepiece(folder / "tokenizer")), "type": "bpe"},
        "model_defaults": {"enc_hidden": WIDTH, "pred_hidden": WIDTH, "joint_hidden": WIDTH},
        "preprocessor": preprocessor(),
        "encoder": fastconformer(),
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": WIDTH, "pred_rnn_layers": 1, "dropout": 0.1},
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "num_extra_outputs": len(durations),
            "jointnet": {"joint_hidden": WIDTH, "activation": "relu", "dropout": 0.1},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": durations,
            "greedy": {"max_symbols": 10},
        },
        "loss": {
            "loss_name": "tdt",
            "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1},
        },
    }
    return _save(EncDecRNNTBPEModel, config, folder / "parakeet.nemo")


def canary(folder: Path, prompt_format: str, languages: Sequence[str]) -> Path:
    """FastConformer with a Transformer decoder, as Canary; `canary` is 1B's prompt, `canary2` v2's."""
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.collections.common.tokenizers.canary_tokenizer import CANARY2_BOCTX, CanaryTokenizer

    symbols = ["transcribe", "translate", *languages]
    if prompt_format == "canary2":
        symbols += [CANARY2_BOCTX, "emo:undefined", "itn", "noitn", "timestamp", "notimestamp"]
        symbols += ["diarize", "nodiarize"]
    CanaryTokenizer.build_special_tokenizer(symbols, folder / "special")
    words = sentencepiece(folder / "words")
    config = {
        "sample_rate": RATE,
        "prompt_format": prompt_format,
        "restore_timestamps_model": prompt_format == "canary2",
        "tokenizer": {
            "type": "agg",
            "dir": None,
            "langs": {
                "spl_tokens": {"dir": str(folder / "special"), "type": "bpe"},
                **{language: {"dir": str(words), "type": "bpe"} for language in languages},
            },
            "custom_tokenizer": {
                "_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryTokenizer"
            },
        },
        "model_defaults": {
            "asr_enc_hidden": WIDTH,
            "lm_enc_hidden": WIDTH,
            "lm_dec_hidden": WIDTH,
        },
        "preprocessor": preprocessor(),
        "encoder": fastconformer(),
        "transf_decoder": {
            "_target_": "nemo.collections.asr.modules.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 512,
                "num_token_types": 0,
                "embedding_dropout": 0.1,
                "learn_positional_encodings": False,
                "hidden_size": WIDTH,
                "inner_size": 2 * WIDTH,
                "num_layers": 1,
                "num_attention_heads": 2,
                "ffn_dropout": 0.1,
                "attn_score_dropout": 0.1,
                "attn_layer_dropout": 0.1,
                "hidden_act": "relu",
                "pre_ln": True,
                "vocab_size": None,
            },
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": WIDTH,
            "num_classes": None,
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": {
            "strategy": "beam",
            "return_best_hypothesis": True,
            "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 20},
        },
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
    }
    return _save(EncDecMultiTaskModel, config, folder / "canary.nemo")


def sortformer(folder: Path, streaming: bool) -> Path:
    """NEST under a Transformer with four speakers, as Sortformer v1, or v2 in steps."""
    from nemo.collections.asr.models import SortformerEncLabelModel

    speakers = 4
    config = {
        "sample_rate": RATE,
        "max_num_of_spks": speakers,
        "streaming_mode": streaming,
        "model_defaults": {"fc_d_model": WIDTH, "tf_d_model": WIDTH // 2},
        "preprocessor": preprocessor(),
        "encoder": fastconformer(),
        "sortformer_modules": {
            "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
            "num_spks": speakers,
            "fc_d_model": WIDTH,
            "tf_d_model": WIDTH // 2,
        },
        "transformer_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders"
            ".TransformerEncoder",
            "num_layers": 1,
            "hidden_size": WIDTH // 2,
            "inner_size": WIDTH,
            "num_attention_heads": 2,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.bce_loss.BCELoss",
            "weight": None,
            "reduction": "mean",
        },
    }
    folder.mkdir(parents=True)
    return _save(SortformerEncLabelModel, config, folder / "sortformer.nemo")


def aligner(folder: Path) -> Path:
    """FastConformer-CTC, as the one by which Canary-1B-v2 times its words."""
    from nemo.collections.asr.models import EncDecCTCModelBPE

    config = {
        "sample_rate": RATE,
        "tokenizer": {"dir": str(sentencepiece(folder / "tokenizer")), "type": "bpe"},
        "preprocessor": preprocessor(),
        "encoder": fastconformer(),
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": WIDTH,
            "num_classes": -1,
            "vocabulary": [],
        },
    }
    return _save(EncDecCTCModelBPE, config, folder / "aligner.nemo")


def with_aligner(canary: Path, aligner: Path) -> Path:
    """Canary with the aligner inside, where NeMo looks for it: beside its own config and weights."""
    inside = {
        "model_config.yaml": "timestamps_asr_model_config.yaml",
        "model_weights.ckpt": "timestamps_asr_model_weights.ckpt",
    }
    both = canary.with_name("canary-with-aligner.nemo")
    with tarfile.open(both, "w") as archive:
        for source, names in ((canary, {}), (aligner, inside)):
            with tarfile.open(source) as parts:
                for part in parts.getmembers():
                    content = parts.extractfile(part)
                    if content is not None:
                        name = part.name.removeprefix("./")
                        part.name = names.get(name, name)
                        archive.addfile(part, content)
    return both


def _save(model_class: Any, config: dict[str, Any], path: Path) -> Path:
    from nemo.utils import logging as nemo_logging
    from nemo.utils.app_state import AppState
    from omegaconf import OmegaConf

    nemo_logging.setLevel(logging.ERROR)
    torch.manual_seed(0)
    # A Canary that is built looks for its aligner in what this process has restored before.
    AppState()._all_model_restore_paths.clear()
    model = model_class(cfg=OmegaConf.create(config))
    if "prompt_format" in config:
        _end_by_itself(model)
    if "sortformer_modules" in config:
        _take_turns(model)
    if config.get("prompt_format") == "canary2":
        _write_words(model)
    model.save_to(str(path))
    return path


def _end_by_itself(canary: Any) -> None:
    """Weights with which what is written depends on what is heard, and ends.

    A text that never ends is cut by the length of its batch, and then no batch equals its singles.
    """
    for name, parameter in canary.named_parameters():
        if "transf_decoder" in name and "embedding" not in name and parameter.ndim == 2:
            parameter.data *= 20
    head = canary.log_softmax.mlp.last_linear_layer
    head.weight.data.normal_(0, 1)
    head.bias.data[canary.tokenizer.eos_id] += 2


def _take_turns(sortformer: Any) -> None:
    """A last layer with which everybody talks now and then: centred and spread on noise."""
    logits: list[torch.Tensor] = []
    last = sortformer.sortformer_modules.single_hidden_to_spks
    hook = last.register_forward_hook(lambda *call: logits.append(call[-1]))
    swelling = torch.linspace(0, 40 * torch.pi, 20 * RATE).sin() ** 4
    with torch.no_grad():
        sortformer.eval()(
            audio_signal=(swelling * torch.randn(20 * RATE))[None],
            audio_signal_length=torch.tensor([20 * RATE]),
        )
        hook.remove()
        spread, centre = torch.std_mean(torch.cat(logits, dim=1)[0], dim=0)
        last.weight /= spread[:, None]
        last.bias.copy_((last.bias - centre) / spread)


def _write_words(canary: Any) -> None:
    """Nothing but words is written, as by a trained model: no special token, no padding of the head."""
    tokenizer = canary.tokenizer
    specials = tokenizer.tokenizers_dict["spl_tokens"].vocab_size
    bias = canary.log_softmax.mlp.last_linear_layer.bias.data
    for index in range(len(bias)):
        token = tokenizer.ids_to_tokens([index])[0] if index < tokenizer.vocab_size else "<unk>"
        if index == tokenizer.eos_id:
            bias[index] += 1
        elif index < specials or token == "<unk>":
            bias[index] = -1000
        elif token.startswith("▁"):
            bias[index] += 2

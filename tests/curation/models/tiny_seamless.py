"""A small random SeamlessM4T-v2 checkpoint in transformers' layout."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    SeamlessM4TFeatureExtractor,
    SeamlessM4TTokenizer,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LANGUAGES = ("eng", "deu", "fra", "cmn")


def seamless(folder: Path) -> Path:
    """Feature extractor, tokenizer with language tokens, and one layer of everything."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS, *(f"▁{letter}" for letter in LETTERS)]
    tokenizer = SeamlessM4TTokenizer(
        vocab={token: place for place, token in enumerate(tokens)},
        merges=[],
        additional_special_tokens=[f"__{language}__" for language in LANGUAGES],
        src_lang="eng",
        tgt_lang="eng",
    )
    tokenizer.save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    width = 16
    config = SeamlessM4Tv2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        max_position_embeddings=512,
        encoder_layers=1,
        encoder_ffn_dim=2 * width,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_ffn_dim=2 * width,
        decoder_attention_heads=2,
        feature_projection_input_dim=160,
        speech_encoder_layers=1,
        speech_encoder_attention_heads=2,
        speech_encoder_intermediate_size=2 * width,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = SeamlessM4Tv2ForSpeechToText(config)
    # Random weights would otherwise end at once, or write the same whatever they hear.
    model.lm_head.weight.data.normal_(0, 1)
    model.lm_head.weight.data[: len(tokens) - 2 * len(LETTERS)] = 0
    model.generation_config = GenerationConfig(
        text_decoder_lang_to_code_id={
            language: tokenizer.convert_tokens_to_ids(f"__{language}__") for language in LANGUAGES
        },
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    )
    model.save_pretrained(folder)
    return folder

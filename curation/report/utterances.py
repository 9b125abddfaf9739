"""One partition's utterances with all that aggregates need, as columns side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpa.curation.report.outputs import Run
from gpa.curation.tables import CONSENSUS, MEASURES, QUALITY

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
UTTERANCE_COLUMNS = (
    "utterance_id", "recording_id", "speaker", "duration_s", "speech_s", "snr_db", "start_s", "end_s",
)  # fmt: skip
CONSENSUS_COLUMNS = (
    "utterance_id", "language", "voters", "struck", "wer_matrix", "pwer", "pwer_other_rule",
    "pwer_without", "verifier", "verifier_distance", "kept", "reason", "early_exit", "given_pwer",
)  # fmt: skip
QUALITY_COLUMNS = ("utterance_id", "kept_version", "normalized_mos", "denoised_mos", *MEASURES)


@dataclass(frozen=True)
class Votes:
    """The votes of those utterances of a partition that have N voters.

    `rows` are their places in the partition, shape (M,); `voters` indexes into the names of
    recognisers, shape (M, N); `wer`, capped at 1, has shape (M, N, N) with [m, i, j] =
    WER(y_i, y_j); `pwer_without` has shape (M, N).
    """

    rows: NDArray[np.int64]
    voters: NDArray[np.int64]
    wer: Floats
    pwer_without: Floats


@dataclass(frozen=True)
class Utterances:
    """Columns of one length, in the order of the table `utterances`; NaN where not known.

    Without consensus (`decided` is False) nobody voted and nothing is kept or dropped.
    """

    ids: pa.ChunkedArray
    recordings: pa.ChunkedArray
    speakers: pa.ChunkedArray
    languages: pa.ChunkedArray
    reasons: pa.ChunkedArray  # null where kept
    duration_s: Floats
    speech_s: Floats
    snr_db: Floats
    start_s: Floats
    end_s: Floats
    mos_normalized: Floats
    mos_denoised: Floats
    mos: Floats  # of the version that is kept
    bandwidth_hz: Floats
    clipped_share: Floats
    level_dbfs: Floats
    noise_floor_dbfs: Floats
    pwer: Floats
    given_pwer: Floats  # against the text that a manifest gives
    # By the rule that the run does not go by: with or without the voter that lies apart.
    pwer_other_rule: Floats
    # Dropped before all were asked: pwer is a lower bound.
    early_exit: Bools
    kept: Bools
    # Whether pWER alone decides: the other gates let it through.
    eligible: Bools
    votes: tuple[Votes, ...]
    # (recogniser, reason) -> hypotheses, and the seconds of their utterances
    struck: dict[tuple[str, str], tuple[int, float]]
    decided: bool

    def __len__(self) -> int:
        return len(self.duration_s)


def read_utterances(run: Run, partition: str) -> Utterances | None:
    """The utterances of a partition, None where it has not been cut yet."""
    cuts = run.table("utterances", partition, UTTERANCE_COLUMNS)
    if cuts is None:
        return None
    ids = cuts["utterance_id"]
    consensus = run.table("consensus", partition, CONSENSUS_COLUMNS)
    decided = consensus is not None
    consensus = _beside(consensus, CONSENSUS, CONSENSUS_COLUMNS, ids)
    kept, early_exit = (_truth(consensus[name]) for name in ("kept", "early_exit"))
    quality = run.table("quality", partition, QUALITY_COLUMNS)
    quality = _beside(quality, QUALITY, QUALITY_COLUMNS, ids)
    normalized, denoised = (
        _floats(pc.struct_field(quality[f"{version}_mos"], "overall"))
        for version in ("normalized", "denoised")
    )
    is_denoised = _truth(pc.equal(quality["kept_version"], "denoised"))
    return Utterances(
        ids=ids,
        recordings=cuts["recording_id"],
        speakers=cuts["speaker"],
        languages=consensus["language"],
        reasons=consensus["reason"],
        **{
            name: _floats(cuts[name])
            for name in ("duration_s", "speech_s", "snr_db", "start_s", "end_s")
        },
        mos_normalized=normalized,
        mos_denoised=denoised,
        mos=np.where(is_denoised, denoised, normalized),
        **{name: _floats(quality[name]) for name in MEASURES},
        pwer=_floats(consensus["pwer"]),
        given_pwer=_floats(consensus["given_pwer"]),
        pwer_other_rule=_floats(pc.coalesce(consensus["pwer_other_rule"], consensus["pwer"])),
        early_exit=early_exit,
        kept=kept,
        eligible=_eligible(run, consensus, kept, early_exit),
        votes=tuple(_read_votes(consensus, run.voters)),
        struck=_struck(consensus["struck"], cuts["duration_s"]),
        decided=decided,
    )


def _floats(column: pa.ChunkedArray) -> Floats:
    return column.cast(pa.float64()).to_numpy()


def _truth(column: pa.ChunkedArray) -> Bools:
    return pc.fill_null(column, False).to_numpy()


def _beside(
    table: pa.Table | None, schema: pa.Schema, columns: Sequence[str], ids: pa.ChunkedArray
) -> pa.Table:
    """The rows of `table` in the order of `ids`; a row of nulls where it has none, or is not yet."""
    if table is None:
        table = schema.empty_table().select(columns)
    if not table["utterance_id"].equals(ids):
        table = table.take(pc.index_in(ids, value_set=table["utterance_id"]))
    return table.combine_chunks()


def _eligible(run: Run, consensus: pa.Table, kept: Bools, early_exit: Bools) -> Bools:
    """What was kept, or fell for disagreement although its verifier would let it through.

    Not what early exit settled: at the thresholds that can be tried it is dropped whatever the
    ASRs that were skipped would have heard.
    """
    panels = run.consensus_config["panels"]
    default = panels.get("default", {})
    distance = _floats(consensus["verifier_distance"])
    most = np.full(len(kept), default.get("max_verifier_distance", np.inf))
    for language, panel in panels.items():
        if language != "default":
            spoken = _truth(pc.equal(consensus["language"], language))
            most[spoken] = panel.get("max_verifier_distance", np.inf)
    unasked = pc.is_null(consensus["verifier"]).to_numpy()
    disagreed = _truth(pc.equal(consensus["reason"], "disagreement")) & ~early_exit
    # NaN, a verifier that heard nothing usable, is not within any distance.
    return kept | (disagreed & (unasked | (distance <= most)))


def _read_votes(consensus: pa.Table, names: list[str]) -> Iterator[Votes]:
    """Votes by how many voters there are, most first; `names` are those that `voters` indexes.

    `consensus` has `voters`, `wer_matrix` and `pwer_without`, each in one chunk.
    """
    lists = _array(consensus["voters"])
    counts = pc.list_value_length(lists).fill_null(0).to_numpy()
    codes = pc.index_in(lists.values, value_set=pa.array(names, pa.string())).to_numpy(
        zero_copy_only=False
    )
    first = lists.offsets.to_numpy()[:-1]
    without = _array(consensus["pwer_without"])
    matrix = _array(consensus["wer_matrix"])
    matrix_rows = matrix.values
    values = matrix_rows.values.to_numpy(zero_copy_only=False)
    for count in sorted({int(n) for n in counts if n > 1}, reverse=True):
        rows = np.flatnonzero(counts == count)
        each = np.arange(count)
        in_matrix = matrix.offsets.to_numpy()[rows][:, None] + each
        cells = matrix_rows.offsets.to_numpy()[in_matrix][:, :, None] + each
        yield Votes(
            rows=rows,
            voters=codes[first[rows][:, None] + each],
            wer=np.minimum(values[cells], 1.0),
            pwer_without=without.values.to_numpy(zero_copy_only=False)[
                without.offsets.to_numpy()[rows][:, None] + each
            ],
        )


def _struck(
    column: pa.ChunkedArray, duration_s: pa.ChunkedArray
) -> dict[tuple[str, str], tuple[int, float]]:
    lists = _array(column)
    flat = lists.flatten()
    if not len(flat):
        return {}
    table = pa.table(
        {
            "asr": flat.field("asr"),
            "reason": flat.field("reason"),
            "seconds": duration_s.take(pc.list_parent_indices(lists)),
        }
    )
    sums = table.group_by(["asr", "reason"]).aggregate([("seconds", "count"), ("seconds", "sum")])
    return {
        (row["asr"], row["reason"]): (row["seconds_count"], row["seconds_sum"])
        for row in sums.to_pylist()
    }


def _array(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column whose chunks were combined."""
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)

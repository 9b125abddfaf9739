"""One partition's utterances with all that aggregates need, as columns side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpa.curation.report.outputs import Run
from gpa.curation.tables import MEASURES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
UTTERANCE_COLUMNS = (
    "utterance_id", "recording_id", "speaker", "duration_s", "speech_s", "snr_db", "start_s", "end_s",
)  # fmt: skip
CONSENSUS_COLUMNS = (
    "utterance_id", "language", "voters", "struck", "wer_matrix", "pwer", "pwer_other_rule",
    "pwer_without", "verifier", "verifier_distance", "kept", "reason", "early_exit", "given_pwer",
)  # fmt: skip


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
    columns = ["utterance_id", "kept_version", "normalized_mos", "denoised_mos", *MEASURES]
    quality = run.table("quality", partition, columns)
    empty = pa.nulls(len(ids))
    pwer = given_pwer = other_rule = np.full(len(ids), np.nan)
    eligible = None
    kept = early_exit = np.zeros(len(ids), bool)
    languages = reasons = pa.chunked_array([empty.cast(pa.string())])
    votes: tuple[Votes, ...] = ()
    struck: dict[tuple[str, str], tuple[int, float]] = {}
    if consensus is not None:
        consensus = _in_order(consensus, ids)
        pwer, given_pwer, languages, reasons = (
            _floats(consensus["pwer"]),
            _floats(consensus["given_pwer"]),
            consensus["language"],
            consensus["reason"],
        )
        other_rule = _floats(pc.coalesce(consensus["pwer_other_rule"], consensus["pwer"]))
        kept, early_exit = (
            pc.fill_null(consensus[name], False).to_numpy() for name in ("kept", "early_exit")
        )
        eligible = _eligible(run, consensus, kept)
        votes = tuple(_read_votes(consensus, run.voters))
        struck = _struck(consensus["struck"], cuts["duration_s"])
    normalized = denoised = mos = np.full(len(ids), np.nan)
    measures = dict.fromkeys(MEASURES, mos)
    if quality is not None:
        quality = _in_order(quality, ids)
        normalized, denoised = (
            _floats(pc.struct_field(quality[f"{version}_mos"], "overall"))
            for version in ("normalized", "denoised")
        )
        is_denoised = pc.equal(quality["kept_version"], "denoised").fill_null(False).to_numpy()
        mos = np.where(is_denoised, denoised, normalized)
        measures = {name: _floats(quality[name]) for name in MEASURES}
    return Utterances(
        ids=ids,
        recordings=cuts["recording_id"],
        speakers=cuts["speaker"],
        languages=languages,
        reasons=reasons,
        **{
            name: _floats(cuts[name])
            for name in ("duration_s", "speech_s", "snr_db", "start_s", "end_s")
        },
        mos_normalized=normalized,
        mos_denoised=denoised,
        mos=mos,
        **measures,
        pwer=pwer,
        given_pwer=given_pwer,
        pwer_other_rule=other_rule,
        early_exit=early_exit,
        kept=kept,
        eligible=eligible if eligible is not None else kept,
        votes=votes,
        struck=struck,
        decided=consensus is not None,
    )


def _floats(column: pa.ChunkedArray) -> Floats:
    return column.cast(pa.float64()).to_numpy()


def _in_order(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """The rows of `table` in the order of `ids`; a row of nulls where it has none."""
    if table["utterance_id"].equals(ids):
        return table.combine_chunks()
    places = pc.index_in(ids, value_set=table["utterance_id"])
    return table.take(places).combine_chunks()


def _eligible(run: Run, consensus: pa.Table, kept: Bools) -> Bools:
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
            spoken = pc.equal(consensus["language"], language).fill_null(False).to_numpy()
            most[spoken] = panel.get("max_verifier_distance", np.inf)
    unasked = pc.is_null(consensus["verifier"]).to_numpy()
    disagreed = pc.equal(consensus["reason"], "disagreement").fill_null(False).to_numpy()
    disagreed &= ~pc.fill_null(consensus["early_exit"], False).to_numpy()
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

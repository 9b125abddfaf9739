"""Where every second went: in, kept, dropped by step and reason; and whether it adds up."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.report.books import DECODED, NON_SPEECH, QUARANTINED, TOLERANCE_S, sums, went_in
from gpa.curation.report.outputs import Run
from gpa.curation.report.utterances import Utterances

STEPS = ("ingest", "normalize", "denoise", "segment", "quality", "transcribe", "consensus",
         "punctuate", "package")  # fmt: skip
# Of recordings in trouble so many are named; all stand in rejected.parquet.
NAMED = 50
TROUBLE = ("failed", "unreadable", QUARANTINED)


@dataclass
class Funnel:
    """Sums over a run; all seconds. `undecided_s` is what a partial run has yet to decide."""

    in_s: float = 0.0
    kept_s: float = 0.0
    kept_utterances: int = 0
    undecided_s: float = 0.0
    dropped_s: Counter[tuple[str, str]] = field(default_factory=Counter)  # by (step, reason)
    dropped_utterances: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped_recordings: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)  # by state
    trouble: list[dict[str, Any]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)  # recordings that do not add up
    different: int = 0  # how many there are of them

    @property
    def balance_s(self) -> float:
        """What went in less all that came out; 0 where all is accounted for."""
        return self.in_s - self.kept_s - self.undecided_s - sum(self.dropped_s.values())

    @property
    def silence_s(self) -> float:
        """Where nobody speaks."""
        return sum(s for (_, reason), s in self.dropped_s.items() if reason == NON_SPEECH)

    @property
    def reconciles(self) -> bool:
        """Whether every recording's seconds, and their sum, are accounted for."""
        return not self.different and abs(self.balance_s) <= TOLERANCE_S * max(
            1, self.files.total()
        )

    def rows(self) -> list[dict[str, Any]]:
        """What was dropped, in the order of the recipe, most seconds first."""
        order = sorted(
            self.dropped_s, key=lambda key: (STEPS.index(key[0]), -self.dropped_s[key], key)
        )
        return [
            {
                "step": step,
                "reason": reason,
                "seconds": self.dropped_s[step, reason],
                "utterances": self.dropped_utterances[step, reason],
                "recordings": self.dropped_recordings[step, reason],
                "kind": reason if reason in (NON_SPEECH, QUARANTINED) else "dropped",
            }
            for step, reason in order
        ]

    def add_files(self, run: Run) -> None:
        """Every file of the corpus, and what ingest dropped."""
        for state in run.corpus["state"].value_counts().to_pylist():
            self.files[state["values"]] += state["counts"]
        dropped = run.dropped_at_ingest()
        self._drop(dropped)
        self.in_s += float(np.sum(dropped["seconds"].to_numpy()))

    def add(self, run: Run, partition: str, utterances: Utterances | None) -> pa.Table:
        """One partition; returns what was dropped of it."""
        parts = list(run.dropped(partition))
        dropped = pa.concat_tables(parts) if parts else run.dropped_at_ingest().slice(0, 0)
        self._drop(dropped)
        out_s = defaultdict(float, sums(dropped["recording_id"], dropped["seconds"]))
        listed, decoded = (
            [table] if (table := run.table(name, partition, DECODED)) is not None else []
            for name in ("recordings", "normalized")
        )
        in_s = went_in(listed, decoded, dropped, out_s)
        self.in_s += sum(in_s.values())
        kept = packaged = run.table("packaged", partition, DECODED)
        if packaged is None and utterances is not None and utterances.decided:
            cuts = pa.table([utterances.recordings, utterances.duration_s], DECODED)
            kept = cuts.filter(pa.array(utterances.kept))
        if kept is not None:
            self.kept_utterances += kept.num_rows
            for recording, seconds in sums(kept["recording_id"], kept["duration_s"]).items():
                out_s[recording] += seconds
                self.kept_s += seconds
        for recording in sorted(in_s.keys() | out_s.keys()):
            rest_s = in_s.get(recording, 0.0) - out_s[recording]
            if packaged is None and run.partial and rest_s > 0:
                self.undecided_s += rest_s
            elif abs(rest_s) > TOLERANCE_S:
                self.different += 1
                if len(self.differences) < NAMED:
                    self.differences.append(f"{recording}: {rest_s:+.3f} s are unaccounted for")
        return dropped

    def _drop(self, dropped: pa.Table) -> None:
        by_reason = (
            dropped.append_column("whole", dropped["start_s"].is_null())
            .group_by(["stage", "reason", "whole"])
            .aggregate([("seconds", "sum"), ("seconds", "count"), ("utterance_id", "count")])
        )
        for row in by_reason.to_pylist():
            key = row["stage"], row["reason"]
            self.dropped_s[key] += row["seconds_sum"]
            self.dropped_utterances[key] += row["utterance_id_count"]
            if row["whole"]:
                self.dropped_recordings[key] += row["seconds_count"] - row["utterance_id_count"]
        if len(self.trouble) < NAMED:
            in_trouble = pc.is_in(dropped["reason"], value_set=pa.array(TROUBLE))
            named = dropped.filter(pc.and_(in_trouble, dropped["start_s"].is_null()))
            columns = ["path", "stage", "reason", "detail"]
            self.trouble += named.select(columns).slice(0, NAMED - len(self.trouble)).to_pylist()

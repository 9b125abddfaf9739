"""`gpa compare OUT1 OUT2`: what another config, model or threshold did to the same corpus.

Utterances are known by their ids, which are the recording's content and the start. Where another
cut was made they are in one of the runs only, and only their seconds can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gpa.curation.report.outputs import Run, open_run
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.errors import UserError

# What became of an utterance, in the words of the tables.
KEPT, NOT_CUT = "kept", "not cut"
STATE_COLUMNS = ("utterance_id", "kept", "reason", "pwer", "text")
# One row an utterance that changed sides.
CHANGES = pa.schema(
    [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("before", pa.string(), nullable=False),  # "kept" or the reason why not
        pa.field("after", pa.string(), nullable=False),
        pa.field("pwer_before", pa.float64()),
        pa.field("pwer_after", pa.float64()),
        pa.field("text_before", pa.string()),
        pa.field("text_after", pa.string()),
    ]
)
# So many of them are printed, the longest first.
SHOWN = 20


@dataclass
class Comparison:
    """Sums over both runs; `moves` are by (before, after), also of utterances of one run only."""

    config: list[tuple[str, Any, Any]]  # (dotted key, before, after)
    models: list[tuple[str, Any, Any]]
    kept_before_s: float = 0.0
    kept_after_s: float = 0.0
    kept_before: int = 0
    kept_after: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    moved_s: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_text: int = 0  # kept in both, with another text
    changes: list[pa.Table] = field(default_factory=list)

    def changed(self) -> pa.Table:
        """CHANGES, the longest first."""
        table = pa.concat_tables([CHANGES.empty_table(), *self.changes])
        return table.sort_by([("duration_s", "descending"), ("utterance_id", "ascending")])


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Leaves that differ between two nested mappings, by dotted key; None where one has none."""
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            empty: dict[str, Any] = {}
            if isinstance(one or empty, Mapping) and isinstance(other or empty, Mapping):
                yield from differences(one or empty, other or empty, f"{prefix}{key}.")
                continue
        if one != other:
            yield f"{prefix}{key}", one, other


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs, a few partitions at a time."""
    found = Comparison(
        config=list(differences(before.content["config"], after.content["config"])),
        models=list(
            differences(_identities(before.content["models"]), _identities(after.content["models"]))
        ),
    )
    for ours, theirs in _pairs(before.partitions, after.partitions):
        _add(found, _states(before, ours), _states(after, theirs))
    return found


def _identities(models: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: " ".join(
            [model["model"], model["library"], *(w["sha256"][:12] for w in model["weights"])]
        )
        for name, model in models.items()
    }


def _pairs(
    before: Sequence[str], after: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Partitions that hold the same recordings: those of one name, then all the others at once."""
    common = set(before) & set(after)
    for name in before:
        if name in common:
            yield [name], [name]
    yield [n for n in before if n not in common], [n for n in after if n not in common]


def _states(run: Run, partitions: Sequence[str]) -> pa.Table:
    """What became of every utterance of some partitions."""
    tables = []
    for partition in partitions:
        cuts = run.table("utterances", partition, ["utterance_id", "duration_s"])
        decided = run.table("consensus", partition, STATE_COLUMNS)
        if cuts is None or decided is None:
            continue
        places = pc.index_in(cuts["utterance_id"], value_set=decided["utterance_id"])
        decided = decided.take(places)
        tables.append(
            pa.table(
                {
                    "utterance_id": cuts["utterance_id"],
                    "duration_s": cuts["duration_s"],
                    "state": pc.if_else(decided["kept"], KEPT, decided["reason"]),
                    "pwer": decided["pwer"],
                    "text": decided["text"],
                }
            )
        )
    empty = pa.table(
        {
            "utterance_id": pa.array([], pa.string()),
            "duration_s": pa.array([], pa.float64()),
            "state": pa.array([], pa.string()),
            "pwer": pa.array([], pa.float64()),
            "text": pa.array([], pa.string()),
        }
    )
    return pa.concat_tables([empty, *tables])


def _add(found: Comparison, before: pa.Table, after: pa.Table) -> None:
    for table, when in ((before, "before"), (after, "after")):
        kept = table.filter(pc.equal(table["state"], KEPT))["duration_s"]
        setattr(found, f"kept_{when}", getattr(found, f"kept_{when}") + len(kept))
        seconds = pc.sum(kept).as_py() or 0.0
        setattr(found, f"kept_{when}_s", getattr(found, f"kept_{when}_s") + seconds)
    both = before.join(
        after,
        "utterance_id",
        join_type="full outer",
        left_suffix="_before",
        right_suffix="_after",
        coalesce_keys=True,
    )
    rows = pa.table(
        {
            "utterance_id": both["utterance_id"],
            "duration_s": pc.coalesce(both["duration_s_after"], both["duration_s_before"]),
            "before": both["state_before"].fill_null(NOT_CUT),
            "after": both["state_after"].fill_null(NOT_CUT),
            **{
                name: both[name]
                for name in ("pwer_before", "pwer_after", "text_before", "text_after")
            },
        },
        schema=CHANGES,
    )
    moves = rows.filter(pc.not_equal(rows["before"], rows["after"]))
    sums = moves.group_by(["before", "after"]).aggregate(
        [("duration_s", "sum"), ("duration_s", "count")]
    )
    for row in sums.to_pylist():
        found.moves[row["before"], row["after"]] += row["duration_s_count"]
        found.moved_s[row["before"], row["after"]] += row["duration_s_sum"]
    was_kept, is_kept = pc.equal(rows["before"], KEPT), pc.equal(rows["after"], KEPT)
    other = pc.not_equal(rows["text_before"], rows["text_after"])
    found.other_text += pc.sum(pc.and_(pc.and_(was_kept, is_kept), other)).as_py() or 0
    found.changes.append(rows.filter(pc.xor(was_kept, is_kept)))


def show(found: Comparison, console: Console) -> None:
    """Print what changed, in config and in the data."""
    for title, changes in (("Config", found.config), ("Models", found.models)):
        if changes:
            table = Table(title=title, title_justify="left", box=None)
            for column in ("", "before", "after"):
                table.add_column(column)
            for key, one, other in changes:
                table.add_row(*(_plain(value) for value in (key, one, other)))
            console.print(table)
    if not found.config and not found.models:
        console.print("Config and models are the same.")
    gained = found.kept_after_s - found.kept_before_s
    console.print(
        f"Kept: {found.kept_before_s / 3600:.3f} h in {found.kept_before} utterances before, "
        f"{found.kept_after_s / 3600:.3f} h in {found.kept_after} after ({gained / 3600:+.3f} h). "
        f"{found.other_text} utterances are kept in both with another text."
    )
    if found.moves:
        table = Table(title="What became of utterances", title_justify="left", box=None)
        for column in ("before", "after"):
            table.add_column(column)
        for column in ("utterances", "minutes"):
            table.add_column(column, justify="right")
        for (one, other), count in sorted(
            found.moves.items(), key=lambda move: (-move[1], move[0])
        ):
            table.add_row(one, other, f"{count:,}", f"{found.moved_s[one, other] / 60:.2f}")
        console.print(table)
    changed = found.changed()
    if changed.num_rows:
        title = f"Changed sides: {changed.num_rows:,} utterances"
        if changed.num_rows > SHOWN:
            title += f", the longest {SHOWN} of them"
        table = Table(title=title, title_justify="left", box=None)
        for column in ("utterance", "before", "after", "pWER", "text"):
            table.add_column(column, overflow="fold")
        for row in changed.slice(0, SHOWN).to_pylist():
            pwer = " -> ".join(
                "–" if value is None else f"{value:.1%}"
                for value in (row["pwer_before"], row["pwer_after"])
            )
            text = row["text_after"] if row["after"] == KEPT else row["text_before"]
            cells = (row["utterance_id"], row["before"], row["after"], pwer, text or "")
            table.add_row(*(_plain(cell) for cell in cells))
        console.print(table)


def _plain(value: Any) -> str:
    """A value as text that the console does not take for markup."""
    return escape("–" if value is None else str(value))


def run(before: str, after: str, table: Path | None, console: Console) -> None:
    """`gpa compare`: print, and write CHANGES to `table`; raises UserError for an unfit OUT."""
    runs = []
    for out in (before, after):
        found = open_run(out)
        if "consensus" not in found.fingerprints:
            raise UserError(
                f"The run in {out} has decided on no utterance yet; `gpa curate` goes on with it."
            )
        if found.partial:
            console.print(
                f"{out} is not finished: what is done is compared.", style="yellow", markup=False
            )
        runs.append(found)
    comparison = compare(*runs)
    show(comparison, console)
    if table is not None:
        table.write_bytes(parquet_bytes(comparison.changed()))
        console.print(f"All that changed sides: {table}", markup=False)

"""`gpa compare OUT1 OUT2`: what another config, model or threshold did to the same corpus.

Utterances are known by their ids, which are the recording's content and the start. Where another
cut was made they are in one of the runs only, and only their seconds can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gpa.curation.report.outputs import Run, open_run
from gpa.runtime.errors import UserError

# What became of an utterance, in the words of the tables.
KEPT, NOT_CUT = "kept", "not cut"
STATE_COLUMNS = ("utterance_id", "kept", "reason", "pwer", "text")
# One row an utterance of one run.
STATES = pa.schema(
    [
        pa.field("utterance_id", pa.string()),
        pa.field("recording_id", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("state", pa.string()),  # "kept" or the reason why not
        pa.field("pwer", pa.float64()),
        pa.field("text", pa.string()),
    ]
)
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
    changed: int = 0  # that are kept in one of them only
    longest: pa.Table = field(default_factory=CHANGES.empty_table)  # SHOWN of those


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


def compare(
    before: Run, after: Run, changes: Callable[[pa.Table], object] = lambda table: None
) -> Comparison:
    """Compare two runs, a partition at a time; `changes` is handed CHANGES as they are found."""
    found = Comparison(
        config=list(differences(before.content["config"], after.content["config"])),
        models=list(
            differences(_identities(before.content["models"]), _identities(after.content["models"]))
        ),
    )
    for ours, theirs in _pairs(before, after):
        changed = _add(found, ours, theirs)
        if len(changed):
            changes(changed)
            found.changed += len(changed)
            order = [("duration_s", "descending"), ("utterance_id", "ascending")]
            longest = pa.concat_tables([found.longest, changed]).sort_by(order)
            found.longest = longest.slice(0, SHOWN).combine_chunks()
    return found


def _identities(models: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: " ".join(
            [model["model"], model["library"], *(w["sha256"][:12] for w in model["weights"])]
        )
        for name, model in models.items()
    }


def _pairs(before: Run, after: Run) -> Iterator[tuple[pa.Table, pa.Table]]:
    """What became of the utterances of the same recordings in both runs, in STATES.

    Partitions of one name hold the same ones. Those of any other partition are looked up where
    they lie in the other run: next to one another, as both runs are in the order of paths.
    """
    common = set(before.partitions) & set(after.partitions)
    for name in before.partitions:
        if name in common:
            yield _states(before, name), _states(after, name)
    ours = [name for name in before.partitions if name not in common]
    theirs = [name for name in after.partitions if name not in common]
    places = {key: name for name in theirs for key in _recordings(after, name)}
    near = lru_cache(maxsize=4)(partial(_states, after))
    for name in ours:
        keys = _recordings(before, name)
        found = dict.fromkeys(places.pop(key) for key in keys if key in places)
        tables = [STATES.empty_table(), *(_only(near(other), keys) for other in found)]
        yield _states(before, name), pa.concat_tables(tables)
    alone: dict[str, list[str]] = {}
    for key, name in places.items():
        alone.setdefault(name, []).append(key)
    for name, keys in alone.items():
        yield STATES.empty_table(), _only(_states(after, name), keys)


def _recordings(run: Run, partition: str) -> list[str]:
    listed = run.table("recordings", partition, ["recording_id"])
    return [] if listed is None else listed["recording_id"].to_pylist()


def _only(states: pa.Table, recordings: Sequence[str]) -> pa.Table:
    keys = pa.array(recordings, pa.string())
    return states.filter(pc.is_in(states["recording_id"], value_set=keys))


def _states(run: Run, partition: str) -> pa.Table:
    """What became of every utterance of a partition, in STATES."""
    cuts = run.table("utterances", partition, ["utterance_id", "recording_id", "duration_s"])
    decided = run.table("consensus", partition, STATE_COLUMNS)
    if cuts is None or decided is None:
        return STATES.empty_table()
    places = pc.index_in(cuts["utterance_id"], value_set=decided["utterance_id"])
    decided = decided.take(places)
    columns = {
        "state": pc.if_else(decided["kept"], KEPT, decided["reason"]),
        **{name: cuts[name] for name in cuts.column_names},
        **{name: decided[name] for name in ("pwer", "text")},
    }
    return pa.table({name: columns[name] for name in STATES.names}, STATES)


def _add(found: Comparison, before: pa.Table, after: pa.Table) -> pa.Table:
    """Count two tables of STATES; returns CHANGES."""
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
    return rows.filter(pc.xor(was_kept, is_kept))


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
    if found.changed:
        title = f"Changed sides: {found.changed:,} utterances"
        if found.changed > SHOWN:
            title += f", the longest {SHOWN} of them"
        table = Table(title=title, title_justify="left", box=None)
        for column in ("utterance", "before", "after", "pWER", "text"):
            table.add_column(column, overflow="fold")
        for row in found.longest.to_pylist():
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
    first, second = (_open(out, console) for out in (before, after))
    if table is None:
        show(compare(first, second), console)
        return
    with pq.ParquetWriter(table, CHANGES) as writer:
        comparison = compare(first, second, writer.write_table)
    show(comparison, console)
    console.print(f"All that changed sides: {table}", markup=False)


def _open(out: str, console: Console) -> Run:
    found = open_run(out)
    if "consensus" not in found.fingerprints:
        raise UserError(
            f"The run in {out} has decided on no utterance yet; `gpa curate` goes on with it."
        )
    if found.partial:
        console.print(
            f"{out} is not finished: what is done is compared.", style="yellow", markup=False
        )
    return found

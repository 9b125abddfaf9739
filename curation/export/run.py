"""`gpa export OUT --to FORMAT`: curated utterances as another trainer's data, shard by shard.

A shard that is exported leaves a mark that names all that its files depend on; the same command
goes on from there, and a command with another selection makes only what it changes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from gpa.curation.curated import CuratedShards, CuratedUtterance, find_shards, read_shard
from gpa.curation.export.contamination import Match, TestSet, read_test_set
from gpa.curation.export.formats import FORMATS, Format, NeMo
from gpa.curation.export.repeats import repeats, sharing_words
from gpa.curation.selection import select
from gpa.runtime.config import digest
from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store

# In the folder of an export. Only DATA is the trainer's: readers of Shar take all that lies there.
DATA, MARKS, BOOKS = "data", "marks", "export.json"
# What stands in a test set and was left out, and what is heard again: a line each.
CONTAMINATED, REPEATED = "contaminated.jsonl", "repeated.jsonl"


def export(
    curated: str,
    to: str,
    out: str,
    where: str | None,
    console: Console,
    buckets: Sequence[float] = (),
    contamination: Path | None = None,
    repeats: Literal["list", "drop"] | None = None,
) -> dict[str, Any]:
    """Write the utterances for which `where` holds into `out`; returns the books (`export.json`).

    `buckets` are the seconds at which NeMo's buckets end but the last; what also stands in the test
    set below `contamination` is left out and listed; what is heard again is listed, too, where `repeats`
    says so, and left out where it says "drop".
    Raises UserError where there are no shards or no test set, the format is not known or has no
    buckets, or `where` is no condition.
    """
    if to not in FORMATS:
        raise UserError(f"There is no format {to!r}; there are {', '.join(FORMATS)}.")
    form = FORMATS[to]
    if buckets:
        if not isinstance(form, NeMo):
            raise UserError(f"Buckets are of the format nemo, and {to} has none.")
        form = NeMo(tuple(sorted(set(buckets))))
    shards = find_shards(curated)
    test_set = read_test_set(contamination) if contamination else None
    store = Store(out)
    with only_run(store):
        repeated = _repeats(shards, where) if repeats else {}
        _list(store, REPEATED, [{"utterance_id": a, "repeats": b} for a, b in repeated.items()])
        dropped = repeated if repeats == "drop" else {}
        books = _export(shards, to, form, store, where, dropped, test_set)
        books["repeated"] = len(repeated)
        store.write(BOOKS, json.dumps(books, indent=1).encode())
    of_which = f", {books['contaminated']:,} of them for the test set" if test_set else ""
    again = f"{len(repeated):,} of what was selected is heard before ({REPEATED})"
    console.print(
        f"{books['utterances']:,} utterances, {books['seconds'] / 3600:.2f} h, in {store.url}; "
        f"{books['left_out']:,} left out{of_which}{f'; {again}' if repeats else ''}.",
        markup=False,
        soft_wrap=True,
    )
    return books


def _export(
    shards: CuratedShards,
    to: str,
    form: Format,
    store: Store,
    where: str | None,
    dropped: Collection[str],
    test_set: TestSet | None,
) -> dict[str, Any]:
    data = Store(f"{store.url}/{DATA}")
    made_of = [to, form.version, *getattr(form, "ends_s", ()), test_set and test_set.identity]
    about: dict[str, dict[str, Any]] = {}
    wanted = (
        (partition, keys)
        for partition, told in _selected(shards, where)
        if (keys := set(told["utterance_id"].to_pylist()).difference(dropped))
    )
    for number, (partition, keys) in enumerate(wanted):
        sha256 = shards.partitions[partition]["sha256"][0].as_py()
        named = digest([*made_of, sha256, sorted(keys)])
        mark = f"{MARKS}/{number:06d}-{named}.json"
        if not _whole(store, mark):
            taken, left = _taken(shards.partitions[partition], keys, test_set)
            _forget(store, f"{MARKS}/{number:06d}-")
            files = form.files(number, taken)
            data.write_all(files)
            made = {
                "utterances": len(taken),
                "seconds": sum(each.duration_s for each in taken),
                "files": [f"{DATA}/{name}" for name in sorted(files)],
                "contaminated": [asdict(each) for each in left],
            }
            store.write(mark, json.dumps(made).encode())
        about[mark] = json.loads(store.read(mark))
    for stale in store.names(MARKS):
        if f"{MARKS}/{stale}" not in about:
            _forget(store, f"{MARKS}/{stale}")
    if about:
        data.write_all(form.close(data, len(about)))
    contaminated = [each for shard in about.values() for each in shard["contaminated"]]
    _list(store, CONTAMINATED, contaminated)
    exported = sum(shard["utterances"] for shard in about.values())
    return {
        "format": to,
        "where": where,
        "shards": len(about),
        "utterances": exported,
        "seconds": round(sum(shard["seconds"] for shard in about.values()), 3),
        "left_out": shards.utterances - exported,
        "contaminated": len(contaminated),
    }


def _list(store: Store, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write a list; without any rows, one of before goes."""
    if rows:
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        store.write(name, lines.encode())
    elif store.exists(name):
        store.remove(name)


def _repeats(shards: CuratedShards, where: str | None) -> dict[str, str]:
    """Of what is selected: ids of utterances that are heard before, and what they are copies of."""
    columns = ["utterance_id", "text", "language"]
    wanted = {partition: told.select(columns) for partition, told in _selected(shards, where)}
    compared = sharing_words(row for told in wanted.values() for row in rows(told))
    return repeats(
        each
        for partition, told in wanted.items()
        if not compared.isdisjoint(told["utterance_id"].to_pylist())
        for each in read_shard(shards.partitions[partition])
        if each.metadata["utterance_id"] in compared
    )


def _taken(
    partition: pa.Table, keys: set[str], test_set: TestSet | None
) -> tuple[list[CuratedUtterance], list[Match]]:
    """Of the utterances of a shard that are wanted: those that are exported, and the others."""
    taken, left = [], []
    for each in read_shard(partition):
        if each.metadata["utterance_id"] in keys:
            match = test_set.match(each) if test_set else None
            if match:
                left.append(match)
            else:
                taken.append(each)
    return taken, left


def _selected(shards: CuratedShards, where: str | None) -> Iterator[tuple[str, pa.Table]]:
    """Partitions in their order, each with the rows of its manifest that are exported."""
    for partition, index in shards.indexes():
        if where:
            keys = pa.array(select(index, where), pa.string())
            index = index.filter(pc.is_in(index["utterance_id"], keys))
        yield partition, index


def _whole(store: Store, mark: str) -> bool:
    """Whether a shard was exported and its files still lie there."""
    return store.exists(mark) and all(map(store.exists, json.loads(store.read(mark))["files"]))


def _forget(store: Store, begins: str) -> None:
    """Take away the files of marks that begin so, and last the marks themselves."""
    for name in store.names(MARKS):
        mark = f"{MARKS}/{name}"
        if mark.startswith(begins):
            for file in json.loads(store.read(mark))["files"]:
                store.remove(file)
            store.remove(mark)

"""`gpa export OUT --to FORMAT`: curated utterances as another trainer's data, shard by shard.

A shard that is exported leaves a mark that names all that its files depend on; the same command
goes on from there, and a command with another selection makes only what it changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from gpa.curation.curated import CuratedShards, CuratedUtterance, find_shards, read_shard
from gpa.curation.export.contamination import Match, TestSet, read_test_set
from gpa.curation.export.formats import FORMATS, Format, NeMo
from gpa.curation.selection import select
from gpa.runtime.config import digest
from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.storage import Store

# In the folder of an export. Only DATA is the trainer's: readers of Shar take all that lies there.
DATA, MARKS, BOOKS = "data", "marks", "export.json"
# What stands in a test set and was left out: a line each.
CONTAMINATED = "contaminated.jsonl"


def export(
    curated: str,
    to: str,
    out: str,
    where: str | None,
    console: Console,
    buckets: Sequence[float] = (),
    contamination: Path | None = None,
) -> dict[str, Any]:
    """Write the utterances for which `where` holds into `out`; returns the books (`export.json`).

    `buckets` are the seconds at which NeMo's buckets end but the last; what also stands in the test
    set below `contamination` is left out and listed. Raises UserError where there are no shards or
    no test set, the format is not known or has no buckets, or `where` is no condition.
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
        return _export(shards, to, form, store, where, test_set, console)


def _export(
    shards: CuratedShards,
    to: str,
    form: Format,
    store: Store,
    where: str | None,
    test_set: TestSet | None,
    console: Console,
) -> dict[str, Any]:
    data = Store(f"{store.url}/{DATA}")
    made_of = [to, form.version, *getattr(form, "ends_s", ()), test_set and test_set.identity]
    marks: list[str] = []
    about: list[dict[str, Any]] = []
    for number, (partition, keys) in enumerate(_selected(shards, where)):
        row = shards.partitions[partition].to_pylist()[0]
        named = digest([*made_of, row["sha256"], sorted(keys)])
        mark = f"{MARKS}/{number:06d}-{named}.json"
        if not _whole(store, mark):
            taken, left = _taken(row, keys, test_set)
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
        marks.append(mark)
        about.append(json.loads(store.read(mark)))
    for stale in store.names(MARKS):
        if f"{MARKS}/{stale}" not in marks:
            _forget(store, f"{MARKS}/{stale}")
    if marks:
        data.write_all(form.close(data, len(marks)))
    contaminated = [each for shard in about for each in shard["contaminated"]]
    if test_set:
        lines = "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in contaminated)
        store.write(CONTAMINATED, lines.encode())
    elif store.exists(CONTAMINATED):
        store.remove(CONTAMINATED)
    exported = sum(shard["utterances"] for shard in about)
    seconds = sum(shard["seconds"] for shard in about)
    books = {
        "format": to,
        "where": where,
        "shards": len(marks),
        "utterances": exported,
        "seconds": round(seconds, 3),
        "left_out": shards.utterances - exported,
        "contaminated": len(contaminated),
    }
    store.write(BOOKS, json.dumps(books, indent=1).encode())
    of_which = f", {len(contaminated):,} of them for the test set" if test_set else ""
    console.print(
        f"{exported:,} utterances, {seconds / 3600:.2f} h, in {store.url}; "
        f"{books['left_out']:,} left out{of_which}.",
        markup=False,
        soft_wrap=True,
    )
    return books


def _taken(
    shard: dict[str, Any], keys: set[str], test_set: TestSet | None
) -> tuple[list[CuratedUtterance], list[Match]]:
    """Of the utterances of a shard that are wanted: those that are exported, and the others."""
    taken, left = [], []
    for each in read_shard(shard["uri"], shard["sha256"]):
        if each.metadata["utterance_id"] in keys:
            match = test_set.match(each) if test_set else None
            if match:
                left.append(match)
            else:
                taken.append(each)
    return taken, left


def _selected(shards: CuratedShards, where: str | None) -> Iterator[tuple[str, set[str]]]:
    """Partitions in their order, each with the ids of what is exported; none without any."""
    for partition, index in shards.indexes():
        if keys := select(index, where) if where else set(index["utterance_id"].to_pylist()):
            yield partition, keys


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

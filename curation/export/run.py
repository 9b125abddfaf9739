"""`gpa export OUT --to FORMAT`: curated utterances as another trainer's data, shard by shard.

A shard that is exported leaves a mark that names all that its files depend on; the same command
goes on from there, and a command with another selection makes only what it changes.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow.compute as pc
from rich.console import Console

from gpa.curation.curated import CuratedShards, find_shards, read_shard
from gpa.curation.export.formats import FORMATS, Format
from gpa.curation.selection import select
from gpa.runtime.config import digest
from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.storage import Store

# In the folder of an export. Only DATA is the trainer's: readers of Shar take all that lies there.
DATA, MARKS, BOOKS = "data", "marks", "export.json"


def export(curated: str, to: str, out: str, where: str | None, console: Console) -> dict[str, Any]:
    """Write the utterances for which `where` holds into `out`; returns the books (`export.json`).

    Raises UserError where there are no shards, the format is not known or `where` is no condition.
    """
    if to not in FORMATS:
        raise UserError(f"There is no format {to!r}; there are {', '.join(FORMATS)}.")
    shards = find_shards(curated)
    store = Store(out)
    with only_run(store):
        return _export(shards, to, FORMATS[to], store, where, console)


def _export(
    shards: CuratedShards,
    to: str,
    form: Format,
    store: Store,
    where: str | None,
    console: Console,
) -> dict[str, Any]:
    wanted = _selected(shards, where)
    data = Store(f"{store.url}/{DATA}")
    marks: list[str] = []
    seconds = 0.0
    for partition, keys in wanted.items():
        row = shards.partitions[partition].to_pylist()[0]
        mark = f"{MARKS}/{len(marks):06d}-{digest([to, form.version, row['sha256'], sorted(keys)])}.json"
        if not _whole(store, mark):
            taken = [
                each
                for each in read_shard(row["uri"], row["sha256"])
                if each.metadata["utterance_id"] in keys
            ]
            _forget(store, f"{MARKS}/{len(marks):06d}-")
            files = form.files(len(marks), taken)
            data.write_all(files)
            held = sum(each.duration_s for each in taken)
            about = {
                "utterances": len(taken),
                "seconds": held,
                "files": [f"{DATA}/{name}" for name in sorted(files)],
            }
            store.write(mark, json.dumps(about).encode())
        marks.append(mark)
        seconds += json.loads(store.read(mark))["seconds"]
    for stale in store.names(MARKS):
        if f"{MARKS}/{stale}" not in marks:
            _forget(store, f"{MARKS}/{stale}")
    if marks:
        data.write_all(form.close(data, len(marks)))
    exported = sum(map(len, wanted.values()))
    books = {
        "format": to,
        "where": where,
        "shards": len(marks),
        "utterances": exported,
        "seconds": round(seconds, 3),
        "left_out": shards.manifest.num_rows - exported,
    }
    store.write(BOOKS, json.dumps(books, indent=1).encode())
    console.print(
        f"{exported:,} utterances, {seconds / 3600:.2f} h, in {store.url}; "
        f"{books['left_out']:,} left out.",
        markup=False,
        soft_wrap=True,
    )
    return books


def _selected(shards: CuratedShards, where: str | None) -> dict[str, set[str]]:
    """Ids of what is exported, by partition, in their order; partitions with none are left out."""
    found: dict[str, set[str]] = {}
    for partition in shards.partitions:
        name = partition.rpartition("-")[0]
        of_shard = shards.manifest.filter(pc.field("shard") == name)
        keys = select(of_shard, where) if where else set(of_shard["utterance_id"].to_pylist())
        if keys:
            found[partition] = keys
    return found


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

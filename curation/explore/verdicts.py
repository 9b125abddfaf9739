"""`verdicts.jsonl` as one works: a line each (`gpa.curation.package.verdicts`), never lost and never rewritten."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from gpa.curation.package.verdicts import Verdict, read_verdicts

NAME = "verdicts.jsonl"


class Verdicts:
    """The verdicts of an OUT; may be used from many threads of one process."""

    def __init__(self, file: Path):
        self._file = file
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, Verdict]] = {}
        if not file.exists():
            return
        data = file.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            # The last line of a process that was killed while it wrote: nobody was told it is kept.
            os.truncate(file, len(whole))
        self._latest = read_verdicts(file)

    def add(self, verdict: Verdict) -> None:
        """On the disk before this returns."""
        line = json.dumps(verdict.model_dump(exclude_none=True), ensure_ascii=False) + "\n"
        with self._lock, self._file.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
            self._latest.setdefault(verdict.utterance_id, {})[verdict.reviewer] = verdict

    def of(self, utterance_id: str) -> list[Verdict]:
        """The last verdict of each reviewer about an utterance."""
        return list(self._latest.get(utterance_id, {}).values())

    def __len__(self) -> int:
        return len(self._latest)

    def differing(self) -> list[str]:
        """Utterances on which two reviewers say different things."""
        return [
            utterance_id
            for utterance_id, by_reviewer in self._latest.items()
            if len({(each.verdict, each.text) for each in by_reviewer.values()}) > 1
        ]

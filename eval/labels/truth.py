"""Ground truth of recordings, from the files that corpora come with.

A folder is searched for

- `<stem>.jsonl`: one turn a line with `start`, `end` (seconds), `speaker`, and if known `text`,
  `language`, and `source`, the clip that the turn was made from;
- `<stem>.rttm`: speaker turns without text;
- `<stem>.regions.json`: `noise`, a list of spans with `start` and `end`;
- `<stem>.TextGrid`: word times, in a tier called `words`;
- `manifest.jsonl`: one file a line with `path` and, of what is known, `text`, `text_punct`,
  `text_ok`, `text_style`, `language`, `speaker`, `duration_s`, and `rttm`, `segments`, `textgrid`:
  paths of the files above where they have another stem.

Recordings are known by the stem of their file name, in Unicode's composed form.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import regex
from praatio import textgrid

from gpa.curation.models.protocols import Word
from gpa.curation.text.units import primary_language
from gpa.runtime.config import read_text
from gpa.runtime.errors import UserError

Seconds = tuple[float, float]
_MARK = regex.compile(r"[.,;:!?。，；：！？、]")


@dataclass(frozen=True)
class TruthTurn:
    """What one person said without a break of another; times are seconds in the recording.

    `text` has all the words, `written` has the words with the punctuation that a person gave
    them; each is None where nobody wrote it down.
    """

    start_s: float
    end_s: float
    speaker: str
    text: str | None = None
    written: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Truth:
    """What is known of one recording.

    Where nothing says when someone speaks, `timed` is False and one turn covers the whole file.
    `words` are empty where no word times are known.
    """

    turns: tuple[TruthTurn, ...]
    timed: bool
    words: tuple[Word, ...] = ()
    noise: tuple[Seconds, ...] = ()


def stem(path: str) -> str:
    """The name by which a recording is known: that of its file, without folder and suffix."""
    return unicodedata.normalize("NFC", PurePosixPath(path).stem)


def read_truth(folder: Path) -> dict[str, Truth]:
    """All the ground truth in a folder and its subfolders, by `stem`.

    Raises UserError where there is none, or where a file of it can't be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder with ground truth.")
    entries = {}
    for manifest in sorted(folder.rglob("manifest.jsonl")):
        for row in _json_lines(manifest):
            if not isinstance(row.get("path"), str):
                raise UserError(f"{manifest} has a line without `path`, the file that it is about.")
            entries[manifest.parent / row["path"]] = row
    written = {str(row["path"]): _written(row) for row in entries.values()}
    found: dict[str, Truth] = {}
    for path, row in sorted(entries.items()):
        if truth := _from_manifest(path, row, folder, written):
            found[stem(path.name)] = truth
    for path in sorted(folder.rglob("*.rttm")):
        for name, turns in _rttm(path).items():
            found.setdefault(name, Truth(turns, timed=True))
    for path in sorted(folder.rglob("*.jsonl")):
        if path.name != "manifest.jsonl" and (turns := _turns(path, written)):
            found[stem(path.name)] = Truth(turns, timed=True)
    for path in sorted(folder.rglob("*.TextGrid")):
        name = stem(path.name)
        words = _words(path)
        whole = TruthTurn(0.0, words[-1].end_s if words else 0.0, name)
        found[name] = replace(found.get(name, Truth((whole,), timed=False)), words=words)
    for path in sorted(folder.rglob("*.regions.json")):
        name = stem(path.name.removesuffix(".regions.json") + ".json")
        if name in found:
            found[name] = replace(found[name], noise=_noise(path))
    if not found:
        raise UserError(
            f"{folder} holds no ground truth: no .rttm, no .jsonl of turns, no .TextGrid, "
            f"no manifest.jsonl with texts."
        )
    return found


def _from_manifest(
    path: Path, row: Mapping[str, Any], folder: Path, written: Mapping[str, str | None]
) -> Truth | None:
    """What a line of a manifest says of its file, with the files that it names."""
    root = path.parents[len(PurePosixPath(row["path"]).parts) - 1]
    words = _words(root / row["textgrid"]) if row.get("textgrid") else ()
    if row.get("segments"):
        return Truth(_turns(root / row["segments"], written), timed=True, words=words)
    if row.get("rttm"):
        turns = [turn for named in _rttm(root / row["rttm"]).values() for turn in named]
        return Truth(tuple(turns), timed=True, words=words)
    if not row.get("text") or not row.get("text_ok", True):
        return None
    turn = TruthTurn(
        start_s=0.0,
        end_s=row.get("duration_s") or float("inf"),
        speaker=row.get("speaker") or stem(path.name),
        text=row["text"],
        written=_written(row),
        language=_language(row),
    )
    return Truth((turn,), timed=False, words=words)


def _written(row: Mapping[str, Any]) -> str | None:
    """The punctuated text of a manifest's line or a turn, None where it has none."""
    if row.get("text_punct"):
        return row["text_punct"]
    text = row.get("text") or ""
    if str(row.get("text_style", "")).endswith("nopunct") or text.isupper():
        return None
    return text if _MARK.search(text) else None


def _turns(path: Path, written: Mapping[str, str | None]) -> tuple[TruthTurn, ...]:
    """Turns of a JSONL file; none where its lines are something else."""
    rows = list(_json_lines(path))
    if not all({"start", "end", "speaker"} <= row.keys() for row in rows):
        return ()
    turns = []
    for number, row in enumerate(rows, start=1):
        try:
            start_s, end_s = float(row["start"]), float(row["end"])
        except (TypeError, ValueError):
            raise UserError(
                f"{path}: start and end of turn {number} must be numbers of seconds."
            ) from None
        turns.append(
            TruthTurn(
                start_s=start_s,
                end_s=end_s,
                speaker=str(row["speaker"]),
                text=row.get("text"),
                written=written.get(row.get("source") or "") or _written(row),
                language=_language(row),
            )
        )
    return tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.end_s)))


def _language(row: Mapping[str, Any]) -> str | None:
    """The ISO 639-1 code of a row, None where it has none or names several ("en+zh")."""
    code = primary_language(row.get("language") or "")
    return code if len(code) == 2 else None


def _rttm(path: Path) -> dict[str, tuple[TruthTurn, ...]]:
    """Turns of an RTTM file: under the file's stem, or by the names in it where it has several."""
    by_name: dict[str, list[TruthTurn]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start_s, duration_s = float(fields[3]), float(fields[4])
            turn = TruthTurn(start_s, start_s + duration_s, fields[7])
        except (IndexError, ValueError):
            raise UserError(f"{path}, line {number} is no SPEAKER line of RTTM.") from None
        by_name.setdefault(unicodedata.normalize("NFC", fields[1]), []).append(turn)
    if len(by_name) == 1:
        by_name = {stem(path.name): next(iter(by_name.values()))}
    return {
        name: tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.end_s)))
        for name, turns in by_name.items()
    }


def _words(path: Path) -> tuple[Word, ...]:
    """Word times of a TextGrid."""
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
        entries = grid.getTier("words").entries
    except (OSError, ValueError, KeyError, textgrid.utils.errors.PraatioException) as error:
        raise UserError(f"{path} is no TextGrid with a tier `words`: {error}.") from None
    return tuple(Word(label, start_s, end_s) for start_s, end_s, label in entries)


def _noise(path: Path) -> tuple[Seconds, ...]:
    try:
        return tuple(
            (span["start"], span["end"]) for span in json.loads(read_text(path)).get("noise", [])
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} has no list `noise` of spans with start and end.") from None


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is no JSON object.")
        yield row

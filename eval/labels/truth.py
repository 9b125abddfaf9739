"""Ground truth of recordings, from the files that corpora come with.

A folder is searched for

- `<stem>.jsonl`: one turn a line with `start`, `end` (seconds), `speaker`, and if known `text`,
  `language`, and `source`, the clip that the turn was made from;
- `<stem>.rttm`: speaker turns without text;
- `<stem>.regions.json`: `noise`, a list of spans with `start` and `end`;
- `<stem>.TextGrid`: word times, in a tier called `words`;
- `manifest.jsonl`: one file a line with `path` (or `audio_filepath`) and, of what is known, `text`,
  `text_punct`, `text_ok`, `text_style`, `language`, `speaker`, `duration_s`, and `rttm`, `segments`,
  `textgrid`: paths of the files above where they have another stem. With `offset` and `duration`, or
  `start` and `end`, a line is about that segment of the file, and a file may have several.

Recordings are known by the stem of their file name, in Unicode's composed form, and by their folders
as far as that is needed to tell them apart. What has no number or text where one belongs is named
with its file and line; a TextGrid without word times is passed over.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
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
    path: str = ""  # of the recording in the folder of truth, without suffix, where that is known

    def of_segment(self, start_s: float, duration_s: float) -> Truth:
        """What is known of a segment of the recording, in the segment's time.

        Turns that reach beyond it keep their times, which their text needs.
        """
        end_s = start_s + duration_s
        return replace(
            self,
            turns=tuple(
                replace(turn, start_s=turn.start_s - start_s, end_s=turn.end_s - start_s)
                for turn in self.turns
                if turn.start_s < end_s and turn.end_s > start_s
            ),
            words=tuple(
                replace(word, start_s=word.start_s - start_s, end_s=word.end_s - start_s)
                for word in self.words
                if start_s <= (word.start_s + word.end_s) / 2 < end_s
            ),
            noise=tuple(
                (max(first, start_s) - start_s, min(last, end_s) - start_s)
                for first, last in self.noise
                if first < end_s and last > start_s
            ),
        )


def stem(path: str) -> str:
    """The name by which a recording is known: that of its file, without folder and suffix."""
    return unicodedata.normalize("NFC", PurePosixPath(path).stem)


def read_truth(folder: Path) -> dict[str, Truth]:
    """All the ground truth in a folder and its subfolders.

    Known by `stem`, or by the path in the folder where two recordings have one stem.
    Raises UserError where there is none, or where a file of it can't be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder with ground truth.")
    entries: dict[Path, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for manifest in sorted(folder.rglob("manifest.jsonl")):
        for number, row in _json_lines(manifest):
            row.setdefault("path", row.get("audio_filepath"))
            if not isinstance(row["path"], str):
                raise UserError(f"{manifest} has a line without `path`, the file that it is about.")
            entries[manifest.parent / row["path"]].append((f"{manifest}, line {number}", row))
    written = {str(row["path"]): _written(row) for lines in entries.values() for _, row in lines}
    turns = {
        path: spoken
        for path in sorted(folder.rglob("*.jsonl"))
        if path.name != "manifest.jsonl" and (spoken := _turns(path, written))
    }
    kinds = (entries, folder.rglob("*.rttm"), turns, folder.rglob("*.TextGrid"))
    shared = {
        name
        for paths in kinds
        for name, count in Counter(stem(path.name) for path in paths).items()
        if count > 1
    }

    def known_as(path: Path) -> str:
        """The stem, or the path where others of the same kind have that stem."""
        inside = PurePosixPath(_path_in(folder, path))
        return str(inside) if inside.name in shared else inside.name

    found: dict[str, Truth] = {}
    for path, lines in sorted(entries.items(), key=lambda entry: entry[0]):
        if truth := _of_lines(path, lines, written):
            found[known_as(path)] = replace(truth, path=_path_in(folder, path))
    for path in sorted(folder.rglob("*.rttm")):
        for name, spoken in _rttm(path).items():
            of_file = name == stem(path.name)
            truth = Truth(spoken, timed=True, path=_path_in(folder, path) if of_file else "")
            found.setdefault(known_as(path) if of_file else name, truth)
    for path, spoken in turns.items():
        found[known_as(path)] = Truth(spoken, timed=True, path=_path_in(folder, path))
    for path in sorted(folder.rglob("*.TextGrid")):
        if words := _words(path):
            inside = _path_in(folder, path)
            whole = TruthTurn(0.0, words[-1].end_s, stem(path.name))
            alone = Truth((whole,), timed=False, path=inside)
            found[known_as(path)] = replace(found.get(known_as(path), alone), words=words)
    for path in sorted(folder.rglob("*.regions.json")):
        name = known_as(path.with_name(path.name.removesuffix(".regions.json") + ".json"))
        if name in found:
            found[name] = replace(found[name], noise=_noise(path))
    if not found:
        raise UserError(
            f"{folder} holds no ground truth: no .rttm, no .jsonl of turns, no .TextGrid, "
            f"no manifest.jsonl with texts."
        )
    return found


def matches(paths: Sequence[str], truths: Mapping[str, Truth]) -> dict[str, Truth]:
    """The truth of each recording that has one, by its path.

    Where several have one stem, both sides must be each other's best by the folders that they
    share, counted from the file; what stays ambiguous is left out.
    """
    recordings: dict[str, list[str]] = defaultdict(list)
    known: dict[str, list[tuple[str, Truth]]] = defaultdict(list)
    for path in dict.fromkeys(paths):  # segments of one file have one path
        recordings[stem(path)].append(path)
    for name, truth in truths.items():
        known[PurePosixPath(name).name].append((truth.path or name, truth))
    found = {}
    for name, these in recordings.items():
        for path in these:
            by_truth = [_shared_parts(path, other) for other, _ in known[name]]
            if by_truth.count(max(by_truth, default=0)) != 1:
                continue
            other, truth = known[name][by_truth.index(max(by_truth))]
            rivals = [_shared_parts(each, other) for each in these]
            if max(rivals) == max(by_truth) and rivals.count(max(rivals)) == 1:
                found[path] = truth
    return found


def _shared_parts(path: str, truth: str) -> int:
    """How many parts two paths share from their ends, the stem among them."""
    one = unicodedata.normalize("NFC", path.replace("::", "/"))
    pairs = zip(
        (stem(one), *reversed(PurePosixPath(one).parts[:-1])),
        reversed(PurePosixPath(truth).parts),
        strict=False,
    )
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _path_in(folder: Path, path: Path) -> str:
    """A file's path in the folder of truth, without suffix."""
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return unicodedata.normalize("NFC", inside.parent.joinpath(inside.stem).as_posix())


def _of_lines(
    path: Path, lines: Sequence[tuple[str, dict[str, Any]]], written: Mapping[str, str | None]
) -> Truth | None:
    """What lines of manifests say of a file: of its segments, or the last one of all of it."""
    segments = [
        truth
        for where, row in lines
        if _segment(row, where) and (truth := _from_manifest(path, row, where, written))
    ]
    if not segments:
        where, row = lines[-1]
        return _from_manifest(path, row, where, written)
    turns = [turn for truth in segments for turn in truth.turns]
    words = next((truth.words for truth in segments if truth.words), ())
    return Truth(
        tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))), timed=False, words=words
    )


def _segment(row: Mapping[str, Any], where: str) -> Seconds | None:
    """The times between which a line of a manifest says something; None for the whole file."""
    names = ("offset", "duration") if "offset" in row else ("start", "end")
    if not all(_said(row.get(name)) for name in names):
        return None
    first, second = (_seconds(row[name], f"{where}: {name}") for name in names)
    return first, first + second if names[0] == "offset" else second


def _from_manifest(
    path: Path, row: Mapping[str, Any], where: str, written: Mapping[str, str | None]
) -> Truth | None:
    """What a line of a manifest says of its file, with the files that it names."""
    root = path.parents[len(PurePosixPath(row["path"]).parts) - 1]
    words = _words(root / row["textgrid"]) if row.get("textgrid") else ()
    if row.get("segments"):
        return Truth(_turns(root / row["segments"], written), timed=True, words=words)
    if row.get("rttm"):
        turns = [turn for named in _rttm(root / row["rttm"]).values() for turn in named]
        return Truth(tuple(turns), timed=True, words=words)
    text = _said(row.get("text"))
    if not text or not row.get("text_ok", True):
        return None
    whole_s = (
        _seconds(row["duration_s"], f"{where}: duration_s")
        if _said(row.get("duration_s"))
        else math.inf
    )
    start_s, end_s = _segment(row, where) or (0.0, whole_s)
    turn = TruthTurn(
        start_s=start_s,
        end_s=end_s,
        speaker=_said(row.get("speaker")) or stem(path.name),
        text=text,
        written=_written(row),
        language=_language(row),
    )
    return Truth((turn,), timed=False, words=words)


def _written(row: Mapping[str, Any]) -> str | None:
    """The punctuated text of a manifest's line or a turn, None where it has none."""
    if punctuated := _said(row.get("text_punct")):
        return punctuated
    text = _said(row.get("text")) or ""
    if str(row.get("text_style", "")).endswith("nopunct") or text.isupper():
        return None
    return text if _MARK.search(text) else None


def _turns(path: Path, written: Mapping[str, str | None]) -> tuple[TruthTurn, ...]:
    """Turns of a JSONL file; none where its lines are something else."""
    rows = list(_json_lines(path))
    if not all({"start", "end", "speaker"} <= row.keys() for _, row in rows):
        return ()
    turns = []
    for number, row in rows:
        where = f"{path}: start and end of turn {number}"
        turns.append(
            TruthTurn(
                start_s=_seconds(row["start"], where),
                end_s=_seconds(row["end"], where),
                speaker=str(row["speaker"]),
                text=_said(row.get("text")),
                written=written.get(row.get("source") or "") or _written(row),
                language=_language(row),
            )
        )
    return tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.end_s)))


def _said(value: Any) -> str | None:
    """A text as it was written, also one that a table took for a number; None where it has none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value)


def _seconds(value: Any, what: str) -> float:
    """A number of seconds, also one that stands as text; `what` names it where it is none."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UserError(f"{what} must be numbers of seconds.")
    return seconds


def _language(row: Mapping[str, Any]) -> str | None:
    """The ISO 639-1 code of a row, None where it has none or names several ("en+zh")."""
    code = primary_language(_said(row.get("language")) or "")
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
            is_turn = math.isfinite(turn.end_s)
        except (IndexError, ValueError):
            is_turn = False
        if not is_turn:
            raise UserError(f"{path}, line {number} is no SPEAKER line of RTTM.")
        by_name.setdefault(unicodedata.normalize("NFC", fields[1]), []).append(turn)
    if len(by_name) == 1:
        by_name = {stem(path.name): next(iter(by_name.values()))}
    return {
        name: tuple(sorted(turns, key=lambda turn: (turn.start_s, turn.end_s)))
        for name, turns in by_name.items()
    }


def _words(path: Path) -> tuple[Word, ...]:
    """Word times of a TextGrid, from its tier "words" or "SPEAKER - words"; empty without one."""
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    except Exception as error:  # the library raises whatever its parsing meets
        raise UserError(f"{path} is no TextGrid: {' '.join(str(error).split())}.") from None
    return tuple(
        sorted(
            (
                Word(entry.label, entry.start, entry.end)
                for name in grid.tierNames
                if regex.search(r"\bwords?$", name.strip().lower())
                for entry in grid.getTier(name).entries
                if hasattr(entry, "end")  # points have no length
            ),
            key=lambda word: word.start_s,
        )
    )


def _noise(path: Path) -> tuple[Seconds, ...]:
    try:
        return tuple(
            (float(span["start"]), float(span["end"]))
            for span in json.loads(read_text(path)).get("noise", [])
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} has no list `noise` of spans with start and end.") from None


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is no JSON object.")
        yield number, row

"""A drawn sample with all that a person needs to judge it."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from gpa.curation.audio import Waveform
from gpa.curation.consensus.rover import align
from gpa.curation.consensus.stage import ConsensusRow
from gpa.curation.report.clips import BEST_BPS, bits_per_second, mp3_data_uri, outline
from gpa.curation.report.outputs import Run
from gpa.curation.report.samples import Drawn, Stratum
from gpa.curation.tables import MEASURES
from gpa.curation.text.units import pieces
from gpa.runtime.config import digest


@dataclass(frozen=True)
class Cell:
    """What one recogniser wrote in a column; `differs` from the chosen hypothesis there."""

    written: str
    differs: bool


@dataclass(frozen=True)
class Pause:
    """An edit of punctuation, with the place of the pause that decided it in [0, 1]."""

    action: str
    mark: str
    word: str
    pause_ms: float
    start: float
    end: float


@dataclass(frozen=True)
class Sample:
    """One sample of the page. `rows` are (recogniser, cells, text), the chosen one first.

    `consensus` has the fields of ConsensusRow, all empty where nothing was decided.
    """

    number: int
    key: str  # of the label that is judged: changes with the text
    utterance_id: str
    stratum: str
    stands_for: float  # utterances of its stratum
    about: str  # "text", or "drop" where there is none
    audio: str
    outline: str
    clip_s: float
    source: str
    partition: str
    start_s: float
    end_s: float
    kept: bool
    reason: str | None
    value: float | None
    consensus: Mapping[str, Any]
    speaker: str
    snr_db: float | None
    mos: float | None
    bandwidth_hz: float | None
    clipped_share: float | None
    level_dbfs: float | None
    noise_floor_dbfs: float | None
    kept_version: str
    text: str
    text_before: str
    edits: tuple[Pause, ...]
    words: tuple[tuple[str, float, float], ...]  # word, start and end in [0, 1]
    words_from: str
    rows: tuple[tuple[str, tuple[Cell, ...], str], ...]


def columns(
    hypotheses: Mapping[str, str], chosen: str, language: str
) -> list[tuple[str, list[Cell]]]:
    """Hypotheses as written, aligned so that what was heard at one place stands in one column.

    The chosen one comes first and is what the others are compared with, in agreement units.
    """
    order = [chosen, *(asr for asr in hypotheses if asr != chosen)]
    written = [pieces(hypotheses[asr], language) for asr in order]
    network = align([[" ".join(piece.units) for piece in each] for each in written])
    rows: list[tuple[str, list[Cell]]] = []
    for voter, asr in enumerate(order):
        cells = []
        for slot in network:
            own, first = slot[voter], slot[0]
            piece = written[voter][own] if own is not None else None
            base = written[0][first] if first is not None else None
            differs = (piece.units if piece else None) != (base.units if base else None)
            cells.append(Cell(piece.written if piece else "", differs))
        rows.append((asr, cells))
    return rows


def read_samples(run: Run, chosen: Sequence[tuple[Stratum, Sequence[Drawn]]]) -> list[Sample]:
    """All samples, stratum by stratum; each partition's files are opened once."""
    drawn = [
        (stratum, stratum.population / len(of_stratum), one)
        for stratum, of_stratum in chosen
        for one in of_stratum
    ]
    bps = bits_per_second(sum(one.clip_s for *_, one in drawn))
    numbers_in: dict[str, list[int]] = defaultdict(list)
    for number, (*_, one) in enumerate(drawn):
        numbers_in[one.partition].append(number)
    found: dict[int, Sample] = {}
    for partition, numbers in numbers_in.items():
        reader = _Partition(run, partition, [drawn[number][-1].utterance_id for number in numbers])
        for number in numbers:
            found[number] = reader.sample(number, *drawn[number], bps)
    return [found[number] for number in range(len(drawn))]


def read_sample(run: Run, drawn: Drawn) -> Sample:
    """One utterance by itself, which stands for no stratum."""
    reader = _Partition(run, drawn.partition, [drawn.utterance_id])
    return reader.sample(0, Stratum(""), 1.0, drawn, BEST_BPS)


def read_sound(run: Run, drawn: Drawn) -> tuple[Waveform, int]:
    """Samples of one utterance, as it would be kept, and their rate; none where it has no audio."""
    reader = _Partition(run, drawn.partition, [drawn.utterance_id])
    return reader.sound(drawn)


class _Partition:
    """The rows of one partition's samples, and its audio."""

    def __init__(self, run: Run, name: str, utterance_ids: Iterable[str | None]):
        self._name = name
        self._wanted = pa.array([key for key in utterance_ids if key is not None], pa.string())
        self._normalized = run.files("normalized", name)
        self._cuts = run.files("utterances", name)
        # Of what was pruned, what is kept lies in the shards.
        self._kept = run.kept_audio(name, self._wanted.to_pylist()) if self._cuts is None else {}
        self._tables = {
            part: self._rows(run.table(part, name, wanted))
            for part, wanted in (
                ("utterances", ["utterance_id", "speaker", "snr_db"]),
                ("quality", None),
                ("consensus", None),
                ("alignment", None),
            )
        }
        self._hypotheses = {
            asr: self._rows(run.table(f"hypotheses/{asr}", name, ["utterance_id", "text", "error"]))
            for asr in run.asrs
        }
        listed = run.table("recordings", name, ["recording_id", "path", "start_s"])
        self._recordings = {row["recording_id"]: row for row in _rows(listed)}

    def _rows(self, table: pa.Table | None) -> dict[str, dict[str, Any]]:
        if table is None:
            return {}
        wanted = pc.is_in(table["utterance_id"], value_set=self._wanted)
        return {row["utterance_id"]: row for row in table.filter(wanted).to_pylist()}

    def sample(
        self, number: int, stratum: Stratum, stands_for: float, drawn: Drawn, bps: int
    ) -> Sample:
        key = drawn.utterance_id or ""
        cut, quality, consensus, aligned = (
            self._tables[part].get(key, {})
            for part in ("utterances", "quality", "consensus", "alignment")
        )
        consensus = vars(ConsensusRow("", kept=False)) | consensus
        recording = self._recordings.get(
            drawn.recording_id, {"path": drawn.recording_id, "start_s": 0.0}
        )
        kept_version = quality.get("kept_version", "normalized")
        waveform, sample_rate = self.sound(drawn)
        clip_s = len(waveform) / sample_rate if sample_rate else 0.0
        words = aligned.get("words") or []
        heard = {
            asr: rows[key]["text"]
            for asr, rows in self._hypotheses.items()
            if key in rows and rows[key]["error"] is None
        }
        # Where nobody had a vote, the others are compared with the first.
        chosen = consensus["chosen_asr"]
        base = chosen if chosen in heard else next(iter(heard), None)
        table = columns(heard, base, consensus["language"]) if base is not None else []
        text = aligned.get("text") or consensus["text"] or ""
        mos = quality.get(f"{kept_version}_mos")
        place = f"{drawn.recording_id}-{round(drawn.start_s * 1000):09d}"
        return Sample(
            number=number,
            key=digest([key or place, text]),
            utterance_id=key or place,
            stratum=stratum.label,
            stands_for=stands_for,
            about="text" if text else "drop",
            audio=mp3_data_uri(waveform, sample_rate, bps) if clip_s else "",
            outline=outline(waveform),
            clip_s=clip_s,
            source=recording["path"],
            partition=self._name,
            start_s=recording["start_s"] + drawn.start_s,  # in the file, as people find it
            end_s=recording["start_s"] + drawn.end_s,
            kept=consensus["kept"],
            reason=drawn.reason,
            value=drawn.value,
            consensus=consensus,
            speaker=cut.get("speaker", ""),
            snr_db=cut.get("snr_db"),
            mos=mos["overall"] if mos else None,
            **{name: quality.get(name) for name in MEASURES},
            kept_version=kept_version,
            text=text,
            text_before=aligned.get("text_before", ""),
            edits=tuple(_pauses(aligned.get("edits") or [], words, clip_s)),
            words=tuple(
                (word["word"], word["start_s"] / clip_s, word["end_s"] / clip_s)
                for word in words
                if clip_s
            ),
            words_from=aligned.get("aligner", ""),
            rows=tuple((asr, tuple(cells), heard[asr]) for asr, cells in table),
        )

    def sound(self, drawn: Drawn) -> tuple[Waveform, int]:
        """The utterance as it would be kept, or a stretch of the recording; may be empty."""
        quality = self._tables["quality"].get(drawn.utterance_id or "", {})
        version = quality.get("kept_version", "normalized")
        if drawn.utterance_id is not None and self._cuts is not None:
            name = f"{drawn.utterance_id}.{version}.flac"
            return _decode(self._cuts, name, 0.0, drawn.clip_s)
        if drawn.utterance_id in self._kept:
            return _decode(self._kept, drawn.utterance_id, 0.0, drawn.clip_s)
        if self._normalized is None:
            return np.zeros(0, np.float32), 0
        name = f"{drawn.recording_id}.flac"
        return _decode(self._normalized, name, drawn.start_s, drawn.clip_s)


def _decode(
    files: Mapping[str, bytes], name: str, start_s: float, seconds: float
) -> tuple[Waveform, int]:
    """At most so many seconds of a FLAC; empty where the file is not there."""
    try:
        data = files[name]
    except (KeyError, FileNotFoundError):
        return np.zeros(0, np.float32), 0
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        file.seek(min(round(start_s * file.samplerate), file.frames))
        return file.read(round(seconds * file.samplerate), dtype="float32"), file.samplerate


def _pauses(
    edits: Sequence[Mapping[str, Any]], words: Sequence[Mapping[str, Any]], clip_s: float
) -> Iterator[Pause]:
    for edit in edits:
        index = edit["word_index"]
        # The pause lies between this word and the next; without word times it has no place.
        known = clip_s and 0 <= index < len(words) - 1
        yield Pause(
            action=edit["action"],
            mark=edit["mark"],
            word=words[index]["word"] if 0 <= index < len(words) else "",
            pause_ms=edit["pause_ms"],
            start=words[index]["end_s"] / clip_s if known else 0.0,
            end=words[index + 1]["start_s"] / clip_s if known else 0.0,
        )


def _rows(table: pa.Table | None) -> list[dict[str, Any]]:
    return table.to_pylist() if table is not None else []

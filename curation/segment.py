"""Segment: recordings into utterances of one speaker (GPA section 3.1).

VAD and speaker diarization together say who talks when. Of the recording is then

1. cut away: overlapped speech, with a collar; what lies around an interruption, a change of
   speaker without a pause, where a quieter voice goes on unheard; and places where the voice is
   not the speaker's (`voices.py`: a wrong label, a hidden change of speaker, more cross-talk);
2. joined: turns of one speaker over short pauses, with nobody else between;
3. split: at the longest pauses until each part is short enough;
4. placed: boundaries move outward by a little padding to the quietest place near, never into
   somebody else's speech. Where a word is cut there, as it is beside what was cut away, the
   utterance shrinks to its next pause, if it has one;
5. judged: too short, too long without a pause, doubtful speaker, **truncated at a boundary**
   (`boundaries.py` defines it).

Each utterance is cut from the normalised and the denoised recording, and each cut's peak is
brought to 0.6 again. Utterances, drops and non-speech tile every recording exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation import audio, boundaries, voices
from gpa.curation.audio import Waveform
from gpa.curation.boundaries import Levels
from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.curation.models.diarization.sortformer import Sortformer, SortformerConfig
from gpa.curation.models.protocols import Adapter, Diarization, Diarizer
from gpa.curation.normalize import normalize_peak
from gpa.curation.tables import UTTERANCES
from gpa.curation.turns import (
    Drop,
    Span,
    Stretch,
    interruptions,
    intersect,
    shared,
    split,
    stretches,
    subtract,
    tile,
    union,
    widen,
)
from gpa.runtime.config import Config
from gpa.runtime.errors import NOBODYS_FAULT, UserError
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage, rows

# Somebody who waits for the other to end leaves a pause of more than this.
_TURN_TAKING_S = 0.1
# Turns shorter than this interrupt nobody: they are slips of the diarizer.
_BLIP_S = 0.25
# Speech left over at a boundary that moved inward by less than this is its padding, no loss.
_CRUMB_S = 0.1


DiarizerSection = Annotated[PyannoteConfig | SortformerConfig, Field(discriminator="model")]


class SegmentConfig(Config):
    """The diarizer, and the rules by which turns become utterances."""

    diarizer: DiarizerSection = PyannoteConfig()
    # Which version of a recording the diarizer and the boundary rules hear.
    hears: Literal["normalized", "denoised"] = "normalized"
    min_s: float = Field(1.0, gt=0)
    max_s: float = Field(30.0, gt=0)
    # Turns of one speaker with no more than this between them make one utterance.
    merge_pause_s: float = Field(0.8, ge=0)
    # A pause at which a long stretch may be split, or a cut word be left out.
    split_pause_ms: float = Field(100.0, ge=20)
    # Dropped on both sides of overlapped speech.
    overlap_collar_ms: float = Field(100.0, ge=0)
    # Dropped as overlap on both sides of a change of speaker with no pause between.
    interruption_collar_s: float = Field(2.0, ge=0)
    # How far outside the speech a boundary is to be, and how far it may move to a quieter place.
    padding_ms: float = Field(100.0, ge=0)
    search_ms: float = Field(150.0, ge=0)
    # Probability that a clip is its speaker's, below which it is dropped.
    min_speaker_confidence: float = Field(0.5, ge=0, le=1)
    # Shares of the way from the noise floor to the speech level: under the first there is a pause;
    # a boundary with more than the second around it cuts a word, if it is also above this level
    # relative to the speech.
    quiet_position: float = Field(0.35, gt=0, lt=1)
    cut_position: float = Field(0.58, gt=0, lt=1)
    cut_db: float = Field(-32.0, lt=0)
    # Of each cut utterance again.
    peak: float = Field(0.6, gt=0, le=1)


@dataclass(frozen=True)
class Utterance:
    """One cut, in samples, and whose voice it is; `speech` counts samples of speech by VAD."""

    start: int
    end: int
    speaker: int
    speech: int
    embedding: NDArray[np.float32]
    confidence: float


class SegmentStage(Stage):
    """recordings, normalized, denoised -> utterances: one row a cut, one FLAC a version."""

    step: ClassVar[str] = "segment"
    config: SegmentConfig

    def __init__(self, name: str, config: SegmentConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        if config.hears not in self.inputs:
            raise UserError(
                f"segment.hears is {config.hears}, which this pipeline does not make; "
                "set it to normalized, or name a denoiser in denoise.model."
            )
        self.versions: list[str] = [
            name for name in ("normalized", "denoised") if name in self.inputs
        ]
        self._diarizer: Diarizer = (
            Sortformer(config.diarizer)
            if isinstance(config.diarizer, SortformerConfig)
            else Pyannote(config.diarizer)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        """The diarizer."""
        return {self.config.diarizer.model: self._diarizer}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Cut every recording of the partition that the stages above handed on."""
        language = {
            row["recording_id"]: row["language"]
            for row in rows(inputs["recordings"].table.select(["recording_id", "language"]))
        }
        # A recording that a version lacks was rejected by the stage that makes it.
        handed_on = set.intersection(
            *(set(inputs[v].table["recording_id"].to_pylist()) for v in self.versions)
        )
        table: list[dict] = []
        files: dict[str, bytes] = {}
        rejects: list[Reject] = []
        audio_s = 0.0
        normalized = inputs["normalized"].table.select(["recording_id", "duration_s"])
        for recording in rows(normalized):
            recording_id, seconds = recording["recording_id"], recording["duration_s"]
            if recording_id not in handed_on:
                continue
            if recording_id in attempts.quarantined:
                rejects.append(Reject(recording_id, "quarantined", seconds))
                continue
            try:
                with attempts.on([recording_id]):
                    versions = {
                        v: audio.decode_flac(inputs[v].files[f"{recording_id}.flac"])
                        for v in self.versions
                    }
                    found = self._segment(recording_id, language.get(recording_id), versions)
            except NOBODYS_FAULT:
                raise
            except Exception as error:  # one recording's fault is its reject, not the run's end
                detail = f"{type(error).__name__}: {error}"
                rejects.append(Reject(recording_id, "failed", seconds, detail=detail))
                continue
            table += found[0]
            files |= found[1]
            rejects += found[2]
            audio_s += seconds
        return Artifact(
            table=pa.Table.from_pylist(table, schema=UTTERANCES),
            files=files,
            rejects=rejects,
            audio_s=audio_s,
        )

    def _segment(
        self,
        recording_id: str,
        language: str | None,
        versions: Mapping[str, tuple[Waveform, int]],
    ) -> tuple[list[dict], dict[str, bytes], list[Reject]]:
        """Rows, files and rejects of one recording."""
        heard, rate = versions[self.config.hears]
        diarization = self._diarizer.diarize(heard, rate)
        utterances, drops = cut(heard, rate, diarization, self._diarizer, self.config)
        table, files = [], {}
        for utterance in utterances:
            utterance_id = f"{recording_id}-{utterance.start * 1000 // rate:09d}"
            levels = boundaries.levels_db(heard[utterance.start : utterance.end], rate)
            head, tail = boundaries.edges(heard, rate, utterance.start, utterance.end)
            table.append(
                {
                    "utterance_id": utterance_id,
                    "recording_id": recording_id,
                    "start_s": utterance.start / rate,
                    "end_s": utterance.end / rate,
                    "duration_s": (utterance.end - utterance.start) / rate,
                    "sample_rate": rate,
                    "speaker": f"{recording_id}-S{utterance.speaker}",
                    "speaker_confidence": utterance.confidence,
                    "speaker_embedding": utterance.embedding,
                    "speech_s": utterance.speech / rate,
                    "snr_db": boundaries.loudness(levels).snr_db,
                    "head_db": head.loudest_db,
                    "tail_db": tail.loudest_db,
                    "language": language,
                }
            )
            for version, (waveform, _) in versions.items():
                clip = normalize_peak(waveform[utterance.start : utterance.end], self.config.peak)
                files[f"{utterance_id}.{version}.flac"] = audio.encode_flac(clip, rate)
        rejects = [
            Reject(
                recording_id,
                drop.reason,
                (drop.end - drop.start) / rate,
                start_s=drop.start / rate,
                end_s=drop.end / rate,
                value=drop.value,
            )
            for drop in drops
        ]
        return table, files, rejects


def cut(
    waveform: Waveform,
    sample_rate: int,
    diarization: Diarization,
    diarizer: Diarizer,
    config: SegmentConfig,
) -> tuple[list[Utterance], list[Drop]]:
    """Utterances of a recording, and drops that with them tile it, both in order of time."""
    samples = len(waveform)
    turns_of = _turns_in_samples(diarization, sample_rate, samples)
    collar = round(config.overlap_collar_ms * sample_rate / 1000)
    marked = [(round(a * sample_rate), round(b * sample_rate)) for a, b in diarization.overlaps]
    talked_into = interruptions(
        turns_of, shortest=round(_BLIP_S * sample_rate), pause=round(_TURN_TAKING_S * sample_rate)
    )
    overlap = union(
        [
            *widen([*shared(turns_of), *intersect(marked, [(0, samples)])], collar, samples),
            *widen(talked_into, round(config.interruption_collar_s * sample_rate), samples),
        ]
    )
    merge_pause = round(config.merge_pause_s * sample_rate)
    doubtful = _doubtful(
        waveform,
        sample_rate,
        stretches(turns_of, overlap, merge_pause),
        diarization,
        diarizer,
        config,
    )
    foreign = union([*overlap, *doubtful])
    levels = boundaries.levels_db(waveform, sample_rate)
    parts = [
        part
        for stretch in stretches(turns_of, foreign, merge_pause)
        for part in _split(stretch, levels, sample_rate, config)
    ]
    utterances: list[Utterance] = []
    drops: list[Drop] = []
    for part, room in zip(parts, _rooms(parts, foreign, samples), strict=True):
        placed = _place(part, room, levels, sample_rate, config)
        judged = _judge(part, placed, waveform, sample_rate, diarization, diarizer, config)
        utterances += judged[0]
        drops += judged[1]
    # What is left lay between a boundary that moved inward and the end of the speech.
    kept = [(u.start, u.end) for u in utterances]
    claims = [
        *(Drop(*span, "overlap") for span in overlap),
        *(Drop(*span, "low_speaker_confidence") for span in doubtful),
        *drops,
    ]
    claimed = [*kept, *((drop.start, drop.end) for drop in claims)]
    left = subtract((span for part in parts for span in part.speech), claimed)
    crumb = round(_CRUMB_S * sample_rate)
    cut_off = [Drop(a, b, "truncated") for a, b in left if b - a >= crumb]
    return utterances, tile(samples, kept, [*claims, *cut_off])


def _turns_in_samples(diarization: Diarization, rate: int, samples: int) -> list[list[Span]]:
    """Each speaker's turns, inside the recording."""
    turns_of: list[list[Span]] = [[] for _ in diarization.embeddings]
    for turn in diarization.turns:
        span = (round(turn.start_s * rate), min(round(turn.end_s * rate), samples))
        turns_of[turn.speaker].append(span)
    return [union(turns) for turns in turns_of]


def _doubtful(
    waveform: Waveform,
    rate: int,
    alone: Sequence[Stretch],
    diarization: Diarization,
    diarizer: Diarizer,
    config: SegmentConfig,
) -> list[Span]:
    """Where the voice in a stretch is not, or not only, its speaker's."""
    spans: list[Span] = []
    for stretch in alone:
        found = voices.windows(stretch.start, stretch.end, rate)
        clips = diarizer.embed([waveform[start:end] for start, end in found], rate)
        confidences = voices.speaker_confidence(clips, diarization.embeddings, stretch.speaker)
        spans += voices.doubtful(found, confidences, config.min_speaker_confidence, rate)
    return union(spans)


def _split(part: Stretch, levels: Levels, rate: int, config: SegmentConfig) -> list[Stretch]:
    """Parts of at most `max_s` with their padding, cut at pauses."""
    outside_s = 2 * (config.padding_ms + config.search_ms) / 1000
    return split(
        part,
        _pauses(part.start, part.end, levels, rate, config),
        shortest=round(config.min_s * rate),
        longest=round(max(config.max_s - outside_s, config.min_s) * rate),
    )


def _pauses(start: int, end: int, levels: Levels, rate: int, config: SegmentConfig) -> list[Span]:
    """Pauses in a span by level, in samples; noise floor and speech level are the span's own."""
    size = boundaries.frame_samples(rate)
    inside = levels[start // size : -(-end // size)]
    if not len(inside):
        return []
    quiet_db = boundaries.loudness(inside).quiet_below_db(config.quiet_position)
    first = start // size
    return [
        ((first + a) * size, (first + b) * size)
        for a, b in boundaries.pauses(inside, quiet_db, config.split_pause_ms)
    ]


def _rooms(parts: Sequence[Stretch], foreign: Sequence[Span], samples: int) -> list[Span]:
    """How far each part's boundaries may move: to foreign speech, or half way to a neighbour."""
    rooms: list[Span] = []
    for n, part in enumerate(parts):
        start = (parts[n - 1].end + part.start + 1) // 2 if n else 0
        end = (part.end + parts[n + 1].start + 1) // 2 if n + 1 < len(parts) else samples
        start = max([start, *(b for _, b in foreign if b <= part.start)])
        end = min([end, *(a for a, _ in foreign if a >= part.end)])
        rooms.append((start, end))
    return rooms


def _place(part: Stretch, room: Span, levels: Levels, rate: int, config: SegmentConfig) -> Span:
    """Boundaries of a part in the quietest places near, inside its room."""
    size = boundaries.frame_samples(rate)
    lowest, highest = -(-room[0] // size), room[1] // size
    padding, search = (
        round(ms / boundaries.FRAME_MS) for ms in (config.padding_ms, config.search_ms)
    )
    inward = max(search - padding, 0)
    head, tail = part.start // size, -(-part.end // size)

    def quietest(target: int, first: int, last: int) -> int:
        first, last = max(first, lowest), min(last, highest)
        return boundaries.quietest(levels, min(max(target, first), last), first, max(first, last))

    start = quietest(head - padding, head - padding - search, head + inward)
    end = quietest(tail + padding, tail - inward, tail + padding + search)
    return start * size, end * size


def _judge(
    part: Stretch,
    placed: Span,
    waveform: Waveform,
    rate: int,
    diarization: Diarization,
    diarizer: Diarizer,
    config: SegmentConfig,
) -> tuple[list[Utterance], list[Drop]]:
    """Keep a part or drop it; a part with a cut word is tried again from its next pause on."""
    start, end = placed
    least, most = round(config.min_s * rate), round(config.max_s * rate)
    if end - start < least:
        return [], [Drop(start, max(start, end), "too_short", max(0, end - start) / rate)]
    if end - start > most:
        return [], [Drop(start, end, "too_long", (end - start) / rate)]
    head, tail = boundaries.is_truncated(
        waveform, rate, start, end, config.cut_position, config.quiet_position, config.cut_db
    )
    if head or tail:
        levels = boundaries.levels_db(waveform[start:end], rate)
        pauses = _pauses(0, end - start, levels, rate, config)
        inner = [pause for pause in pauses if pause[0] > 0 and pause[1] < end - start]
        new_start = start + (_middle(inner[0]) if head and inner else 0)
        new_end = start + _middle(inner[-1]) if tail and inner else end
        if new_end - new_start < least or (new_start, new_end) == (start, end):
            edges = boundaries.edges(waveform, rate, start, end)
            value = max(
                edge.loudest_db for edge, cut in zip(edges, (head, tail), strict=True) if cut
            )
            return [], [Drop(start, end, "truncated", value)]
        kept, dropped = _judge(
            part, (new_start, new_end), waveform, rate, diarization, diarizer, config
        )
        ends = subtract([(start, end)], [(new_start, new_end)])
        return kept, [*dropped, *(Drop(*span, "truncated") for span in ends)]
    embeddings = diarizer.embed([waveform[start:end]], rate)
    own = voices.speaker_confidence(embeddings, diarization.embeddings, part.speaker)
    confidence = float(own[0])
    if confidence < config.min_speaker_confidence:
        return [], [Drop(start, end, "low_speaker_confidence", confidence)]
    speech = sum(b - a for a, b in intersect(part.speech, [(start, end)]))
    return [Utterance(start, end, part.speaker, speech, embeddings[0], confidence)], []


def _middle(span: Span) -> int:
    return (span[0] + span[1]) // 2

"""Cut: the turns of a recording become utterances of one speaker, and drops that say why not.

1. Cut away is overlapped speech, with a collar; what lies around an interruption, a change of
   speaker without a pause, where a quieter voice goes on unheard; and places where the voice is
   not the speaker's (`voices.py`: a wrong label, a hidden change of speaker, more cross-talk);
2. joined are turns of one speaker over short pauses, with nobody else between, unless another voice
   goes on after the pause (two people whom the diarizer takes for one);
3. split is at the longest pauses until each part is short enough;
4. placed: boundaries move outward by a little padding to the quietest place near, never into
   somebody else's speech. Where a word is cut there, as it is beside what was cut away, the
   utterance shrinks to its next pause, if it has one;
5. judged: too short, too long without a pause, doubtful speaker, **truncated at a boundary**
   (`boundaries.py` defines it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.audio import Waveform
from gpa.curation.models.protocols import Diarization, Diarizer
from gpa.curation.segment import boundaries, voices
from gpa.curation.segment.boundaries import Levels
from gpa.curation.segment.turns import (
    Drop,
    Stretch,
    apart,
    interruptions,
    shared,
    split,
    stretches,
    tile,
)
from gpa.curation.spans import Span, intersect, subtract, union, widen
from gpa.runtime.config import Config

# Somebody who waits for the other to end leaves a pause of more than this.
_TURN_TAKING_S = 0.1
# In shorter pauses inside a stretch nobody else begins: they are closures and breaths.
_CHANGE_PAUSE_S = 0.3
# Turns shorter than this interrupt nobody: they are slips of the diarizer.
_BLIP_S = 0.25
# Speech left over at a boundary that moved inward by less than this is its padding, no loss.
_CRUMB_S = 0.1


class CutConfig(Config):
    """The rules by which turns become utterances."""

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


@dataclass(frozen=True)
class Utterance:
    """One cut, in samples, and whose voice it is; `speech` counts samples of speech by VAD."""

    start: int
    end: int
    speaker: int
    speech: int
    embedding: NDArray[np.float32]
    confidence: float


def cut(
    waveform: Waveform,
    sample_rate: int,
    diarization: Diarization,
    diarizer: Diarizer,
    config: CutConfig,
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
        for one_voice in _by_voice(stretch, waveform, levels, sample_rate, diarizer, config)
        for part in _split(one_voice, levels, sample_rate, config)
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
    config: CutConfig,
) -> list[Span]:
    """Where the voice in a stretch is not, or not only, its speaker's."""
    spans: list[Span] = []
    for stretch in alone:
        found = voices.windows(stretch.start, stretch.end, rate)
        clips = diarizer.embed([waveform[start:end] for start, end in found], rate)
        confidences = voices.speaker_confidence(clips, diarization.embeddings, stretch.speaker)
        spans += voices.doubtful(found, confidences, config.min_speaker_confidence, rate)
    return union(spans)


def _by_voice(
    stretch: Stretch,
    waveform: Waveform,
    levels: Levels,
    rate: int,
    diarizer: Diarizer,
    config: CutConfig,
) -> list[Stretch]:
    """A stretch, cut at the pauses after which another voice goes on."""
    parts = [stretch]
    for pause in _pauses(stretch.start, stretch.end, levels, rate, config):
        rest = parts[-1]
        inside = rest.start < pause[0] and pause[1] < rest.end
        if inside and pause[1] - pause[0] >= _CHANGE_PAUSE_S * rate:
            sides = voices.around(pause, rest.start, rest.end, rate)
            if voices.changes(*diarizer.embed([waveform[a:b] for a, b in sides], rate)):
                parts[-1:] = apart(rest, pause)
    return parts


def _split(part: Stretch, levels: Levels, rate: int, config: CutConfig) -> list[Stretch]:
    """Parts of at most `max_s` with their padding, cut at pauses."""
    outside_s = 2 * (config.padding_ms + config.search_ms) / 1000
    return split(
        part,
        _pauses(part.start, part.end, levels, rate, config),
        shortest=round(config.min_s * rate),
        longest=round(max(config.max_s - outside_s, config.min_s) * rate),
    )


def _pauses(start: int, end: int, levels: Levels, rate: int, config: CutConfig) -> list[Span]:
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


def _place(part: Stretch, room: Span, levels: Levels, rate: int, config: CutConfig) -> Span:
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
    config: CutConfig,
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

"""`gpa asr`: every recogniser of a pipeline alone, on clips whose text is known.

An adapter may make its model worse without anyone seeing it in the panel's agreement: so each is
held against truth by itself, and where that is another way of calling it, beside its bare library with
the library's own defaults, on the same clips. Texts are the same every time; times are CPU seconds
of one thread.
"""

from __future__ import annotations

import glob
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from gpa.curation.audio import decode, mix_down, resample
from gpa.curation.consensus.hallucination import HallucinationConfig, find_hallucination
from gpa.curation.ingest.names import says_audio
from gpa.curation.intervals import Estimate
from gpa.curation.models.asr.hearing import SAMPLE_RATE
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import ASR, Hypothesis, Waveform
from gpa.curation.pipeline import PipelineConfig
from gpa.curation.text.units import is_character, units
from gpa.curation.transcribe.stage import build_asr, spoken_languages
from gpa.eval.labels.truth import Truth, TruthTurn, read_truth
from gpa.eval.metrics import corpus_wer, errors
from gpa.runtime.bench.figures import one_torch_thread
from gpa.runtime.errors import UserError

# Shorter turns are hardly a word, longer ones more than some recognisers take at once.
SHORTEST_S, LONGEST_S = 0.5, 30.0
LOOPS = ("loop", "compression")

Hear = Callable[[Waveform, str], Hypothesis | Exception]


@dataclass(frozen=True)
class Clip:
    """One person's turn at 16 kHz, and the units of what is said in it."""

    waveform: Waveform
    language: str
    said: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


@dataclass(frozen=True)
class Alone:
    """What one way of hearing makes of all clips of a language."""

    recogniser: str
    language: str
    unit: str  # "CER" where most units are characters, else "WER"
    clips: int
    seconds: float
    error: Estimate
    rtf: float
    calls: float | None  # of the network's decoder a clip: windows; None where not counted
    loops: int
    empty: int
    failed: int


def read_clips(folder: Path) -> list[Clip]:
    """All turns of a folder of truth that have a text, a language and nobody else in them."""
    clips = []
    for truth in read_truth(folder).values():
        usable = [turn for turn in truth.turns if _usable(turn, truth)]
        file = _audio(folder, truth.path) if usable else None
        if file is None:
            continue
        samples, rate = decode(str(file))
        whole = resample(mix_down(samples), rate, SAMPLE_RATE)
        for turn in usable:
            waveform = whole
            if truth.timed:  # else the turn may have no known end
                begin, end = (round(s * SAMPLE_RATE) for s in (turn.start_s, turn.end_s))
                waveform = whole[begin:end]
            said = units(turn.text or "", turn.language or "")
            if said and SHORTEST_S <= len(waveform) / SAMPLE_RATE <= LONGEST_S:
                clips.append(Clip(waveform, turn.language or "", said))
    if not clips:
        raise UserError(
            f"{folder} has no audio beside its truth with text and language, of {SHORTEST_S:g} to "
            f"{LONGEST_S:g} s a turn: `gpa asr` needs clips whose text is known."
        )
    return clips


def _usable(turn: TruthTurn, truth: Truth) -> bool:
    apart = all(
        other is turn or other.end_s <= turn.start_s or turn.end_s <= other.start_s
        for other in truth.turns
    )
    return bool(turn.text and turn.language and apart)


def _audio(folder: Path, path: str) -> Path | None:
    """The audio of a path without suffix."""
    whole = folder / path
    beside = sorted(whole.parent.glob(glob.escape(whole.name) + ".*"))
    return next((file for file in beside if says_audio(file.name)), None)


def measure(
    recogniser: str,
    hear: Hear,
    clips: Sequence[Clip],
    limits: HallucinationConfig,
    calls: Callable[[], int] | None = None,
) -> Iterator[Alone]:
    """A row a language, of clips heard one by one; `calls` counts those of the network so far."""
    for language in dict.fromkeys(clip.language for clip in clips):
        these = [clip for clip in clips if clip.language == language]
        counted, found = [], Counter[str]()
        began_s, began_calls = time.process_time(), calls() if calls else 0
        results = [hear(clip.waveform, language) for clip in these]
        spent_s = time.process_time() - began_s
        for clip, result in zip(these, results, strict=True):
            heard = units(result.text if isinstance(result, Hypothesis) else "", language)
            counted.append(errors(clip.said, heard))
            invented = find_hallucination(heard, clip.seconds, limits)
            found["loops"] += invented is not None and invented.reason in LOOPS
            found["failed"] += isinstance(result, Exception)
            found["empty"] += not heard and not isinstance(result, Exception)
        seconds = sum(clip.seconds for clip in these)
        characters = [is_character(unit) for clip in these for unit in clip.said]
        yield Alone(
            recogniser,
            language,
            "CER" if 2 * sum(characters) > len(characters) else "WER",
            len(these),
            seconds,
            corpus_wer(counted),
            spent_s / seconds,
            (calls() - began_calls) / len(these) if calls else None,
            found["loops"],
            found["empty"],
            found["failed"],
        )


class _Counting:
    """An object whose method `method` is counted."""

    def __init__(self, inner: Any, method: str):
        self._inner, self._method, self.calls = inner, method, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += name == self._method
        return getattr(self._inner, name)


def _windows(model: Any) -> Callable[[], int]:
    """Counts the windows that a faster-whisper model decodes from now on."""
    model.model = counting = _Counting(model.model, "generate")
    return lambda: counting.calls


def _bare_whisper(section: WhisperConfig) -> tuple[Hear, Callable[[], int]]:
    """faster-whisper as its README calls it, told the language."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        Whisper(section).facts().weights[0].path,
        device=section.device,
        compute_type=section.compute_type,
        cpu_threads=section.threads,
        local_files_only=True,
    )

    def hear(waveform: Waveform, language: str) -> Hypothesis:
        segments, _ = model.transcribe(waveform, language=language)
        return Hypothesis("".join(segment.text for segment in segments))

    return hear, _windows(model)


def recognisers(config: PipelineConfig, clips: Sequence[Clip]) -> Iterator[Alone]:
    """Every recogniser of a pipeline on the clips in languages that it speaks, in running order."""
    limits = config.consensus.hallucination
    with one_torch_thread():
        for name in config.transcribe.order:
            section = config.transcribe.asr[name]
            asr = build_asr(section)
            spoken = spoken_languages(section.languages, asr.facts().languages)
            these = [clip for clip in clips if spoken is None or clip.language in spoken]
            if not these:
                continue
            asr.load()
            counted = _windows(asr.model) if isinstance(asr, Whisper) else None
            yield from measure(name, one_by_one(asr), these, limits, counted)
            if isinstance(section, WhisperConfig):
                bare, windows = _bare_whisper(section)
                yield from measure(f"{name}, bare library", bare, these, limits, windows)


def one_by_one(asr: ASR) -> Hear:
    """A recogniser that is loaded, asked about one clip at a time."""
    return lambda waveform, language: asr.transcribe([waveform], SAMPLE_RATE, [language])[0]


def row(alone: Alone) -> str:
    """A row of Markdown."""
    error = alone.error
    interval = f" ({100 * error.low:.1f}-{100 * error.high:.1f})" if alone.clips > 1 else ""
    cells = (
        alone.recogniser,
        alone.language,
        f"{alone.clips} ({alone.seconds:.0f} s)",
        f"{alone.unit} {100 * error.value:.1f} %{interval}",
        f"{alone.rtf:.3f}",
        "" if alone.calls is None else f"{alone.calls:.2f}",
        f"{alone.loops}, {alone.empty}, {alone.failed}",
    )
    return f"| {' | '.join(cells)} |"


def run(truth: Path, config: PipelineConfig, json_file: Path | None, console: Console) -> None:
    """`gpa asr --truth DIR`: a table of Markdown, row by row as they come."""
    clips = read_clips(truth)
    heads = ("recogniser", "language", "clips", "error", "RTF", "windows a clip")
    console.print(f"| {' | '.join((*heads, 'loops, empty, failed'))} |", markup=False)
    console.print("|---" * (len(heads) + 1) + "|", markup=False)
    found = []
    for alone in recognisers(config, clips):
        console.print(row(alone), markup=False, soft_wrap=True)
        found.append(asdict(alone) | {"error": alone.error.as_json()})
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")

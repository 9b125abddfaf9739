"""Mixes that imitate podcasts, with ground truth, made from clips of one speaker each.

`python -m gpa.eval.studies.mixes --speech DIR --out OUT` makes them from a folder of speech with a
`manifest.jsonl`, and from its clips of noise and music. Clips that turns in `--without` name as
their `source` are left out: what was tuned on those is then tested on other speech. The same seed
and folder give the same bytes.

Each mix has several readers in random order with pauses between, something before the first
word, noise over about a third, and one reader who breaks in on another.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from gpa.curation.audio import Waveform, decode, mix_down, resample
from gpa.curation.normalize import normalize_peak
from gpa.curation.segment.boundaries import FRAME_MS, levels_db, loudness

RATE = 24000
SPEAKERS = 4
# At most, so that every mix has more than one voice.
CLIPS_OF_A_SPEAKER = 6
LEAST_CLIP_S = 1.5
GAIN_DB = (-10.0, 0.0)
GAP_S = (0.2, 2.0)
LEAD_IN_S = 5.0
LEAD_IN_DB = -15.0
NOISE_SHARE = 0.35
NOISE_SNR_DB = (10.0, 17.0)
BREAKS_IN_S = (1.5, 2.5)
PEAK = 0.9
# Of the way from a clip's noise floor to its speech level: quieter ends are not its speech.
SPEECH_POSITION = 0.35


# One speaker's clip, as the manifest has it: `path`, `speaker`, `language`, `text`, `text_punct`.
Clip = Mapping[str, Any]


@dataclass(frozen=True)
class Mix:
    """A mix and its truth: rows for `<name>.jsonl` and the content of `<name>.regions.json`."""

    waveform: Waveform
    turns: list[dict[str, Any]]
    regions: dict[str, Any]


def main() -> None:
    """Make the mixes of a folder of speech."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder with manifest.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the mixes")
    parser.add_argument("--without", type=Path, help="truth whose sources are left out")
    parser.add_argument("--folders", nargs="+", default=["en_emilia", "en_libri", "en_lj"])
    parser.add_argument("--mixes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    manifest = _rows(given.speech / "manifest.jsonl")
    clips = usable(manifest, given.folders, sources(given.without))
    backgrounds = [row["path"] for row in manifest if row["category"] in ("noise", "music")]
    generator = np.random.default_rng(given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    for number, chosen in enumerate(share_out(clips, given.mixes, generator), start=1):
        write(
            given.out,
            f"mix_{number}",
            arrange(given.speech, chosen, sorted(backgrounds), generator),
        )


def sources(truth: Path | None) -> set[str]:
    """Clips from which the turns in a folder of truth were made."""
    if truth is None:
        return set()
    return {row["source"] for path in sorted(truth.glob("*.jsonl")) for row in _rows(path)}


def usable(
    manifest: Sequence[dict[str, Any]], folders: Sequence[str], without: set[str]
) -> list[Clip]:
    """Clips of the folders whose text is known and right, in the order of their paths."""
    return [
        {"text_punct": None, **row, "speaker": row.get("speaker") or Path(row["path"]).stem}
        for row in sorted(manifest, key=lambda row: row["path"])
        if row["path"].split("/")[0] in folders
        and row["path"] not in without
        and row.get("text")
        and row.get("text_ok", True)
        and row["duration_s"] >= LEAST_CLIP_S
    ]


def share_out(
    clips: Sequence[Clip], mixes: int, generator: np.random.Generator
) -> list[list[Clip]]:
    """Clips of each mix in the order of its turns; none is used twice."""
    left = {
        speaker: [clip for clip in clips if clip["speaker"] == speaker]
        for speaker in sorted({clip["speaker"] for clip in clips})
    }
    shared: list[list[Clip]] = []
    for _ in range(mixes):
        # Those with most to say first, so that no mix is left with one voice alone.
        order = sorted(left, key=lambda speaker: (-len(left[speaker]), generator.random()))
        chosen: list[Clip] = []
        for speaker in order[:SPEAKERS]:
            chosen += left[speaker][:CLIPS_OF_A_SPEAKER]
            left[speaker] = left[speaker][CLIPS_OF_A_SPEAKER:]
        generator.shuffle(chosen)
        shared.append(chosen)
    return shared


def arrange(
    speech: Path, clips: Sequence[Clip], backgrounds: Sequence[str], generator: np.random.Generator
) -> Mix:
    """One mix of at least one clip."""
    cut = [_speech_of(speech / clip["path"]) for clip in clips]
    breaks_in = _who_breaks_in(clips, cut, generator)
    starts: list[int] = []
    end = round(LEAD_IN_S * RATE)
    for number, waveform in enumerate(cut):
        start = end + round(generator.uniform(*GAP_S) * RATE)
        if number == breaks_in:
            start = end - round(generator.uniform(*BREAKS_IN_S) * RATE)
        starts.append(start)
        end = max(end, start + len(waveform))
    mixed = np.zeros(end + RATE, np.float32)
    turns = []
    for clip, waveform, start in zip(clips, cut, starts, strict=True):
        gain = 10 ** (generator.uniform(*GAIN_DB) / 20)
        mixed[start : start + len(waveform)] += gain * waveform
        turns.append(
            {
                "start": round(start / RATE, 3),
                "end": round((start + len(waveform)) / RATE, 3),
                **{name: clip[name] for name in ("speaker", "text", "text_punct", "language")},
                "source": clip["path"],
            }
        )
    lead_in, noise = generator.choice(list(backgrounds), size=2, replace=False)
    before = _as_long_as(speech / lead_in, round(LEAD_IN_S * RATE))
    mixed[: len(before)] += before * 10 ** (LEAD_IN_DB / 20)
    length = round(NOISE_SHARE * len(mixed))
    first = int(generator.integers(len(before), len(mixed) - length))
    snr_db = float(generator.uniform(*NOISE_SNR_DB))
    mixed[first : first + length] += _at_snr(
        _as_long_as(speech / noise, length), mixed[first : first + length], snr_db
    )
    span = {
        "start": round(first / RATE, 3),
        "end": round((first + length) / RATE, 3),
        "snr_db": round(snr_db, 2),
        "file": str(noise),
    }
    regions = {"lead_in": {"start": 0.0, "end": LEAD_IN_S, "file": str(lead_in)}, "noise": [span]}
    return Mix(normalize_peak(mixed, PEAK), turns, regions)


def write(folder: Path, name: str, mix: Mix) -> None:
    """Write a mix as `<name>.flac` with its turns and regions beside it."""
    soundfile.write(folder / f"{name}.flac", mix.waveform, RATE)
    lines = [json.dumps(turn, ensure_ascii=False) + "\n" for turn in mix.turns]
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    regions = json.dumps(mix.regions, indent=1, ensure_ascii=False)
    (folder / f"{name}.regions.json").write_text(regions, encoding="utf-8")


def _who_breaks_in(
    clips: Sequence[Clip], cut: Sequence[Waveform], generator: np.random.Generator
) -> int | None:
    """A turn whose speaker differs from the one before, both long enough to be talked over."""
    least = 2 * BREAKS_IN_S[1] * RATE
    able = [
        number
        for number in range(1, len(clips))
        if clips[number]["speaker"] != clips[number - 1]["speaker"]
        and min(len(cut[number - 1]), len(cut[number])) >= least
    ]
    return int(generator.choice(able)) if able else None


def _speech_of(path: Path) -> Waveform:
    """A clip from its first to its last loud frame, with one peak for all."""
    waveform = _read(path)
    levels = levels_db(waveform, RATE)
    loud = np.flatnonzero(levels >= loudness(levels).quiet_below_db(SPEECH_POSITION))
    frame = RATE * FRAME_MS // 1000
    return normalize_peak(waveform[loud[0] * frame : (loud[-1] + 1) * frame], PEAK)


def _read(path: Path) -> Waveform:
    waveform, rate = decode(str(path))
    return resample(mix_down(waveform), rate, RATE)


def _as_long_as(path: Path, samples: int) -> Waveform:
    """A background, repeated until it is long enough."""
    return np.resize(normalize_peak(_read(path), PEAK), samples)


def _at_snr(noise: Waveform, speech: Waveform, snr_db: float) -> Waveform:
    """Noise scaled so that the speech lies `snr_db` above it, pauses of the speech not counted."""
    loud = loudness(levels_db(speech, RATE)).speech_db
    return noise * np.float32(10 ** ((loud - snr_db - 10 * np.log10(np.mean(noise**2))) / 20))


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()

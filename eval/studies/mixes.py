"""Recordings with ground truth, mixed from clips of known text: shows of one, two and many speakers.

`python -m gpa.eval.studies.mixes --speech DIR --out NEW` takes a folder of truth whose clips a
`manifest.jsonl` names, with `noise/`, and only clips that are in none of its recordings
(`raw/*.jsonl`). Every show has clips in a random order and at levels of their own, noise behind two
fifths of it, and, of several speakers, one who breaks in on another. NEW is a CORPUS for `gpa curate`
and the TRUTH for `gpa score`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from gpa.curation.audio import Waveform, decode, encode_flac, mix_down, resample
from gpa.curation.normalize import active_level_db
from gpa.curation.segment.boundaries import frame_samples, levels_db, loudness

RATE = 24000
SHOWS: dict[str, tuple[tuple[str, ...], float]] = {  # folders, about how many seconds
    "reader": (("en_lj",), 60),
    "readers": (("en_libri",), 80),
    "interview": (("en_lj", "en_speechbrain"), 60),
    "strangers": (("en_emilia", "en_libri"), 80),
    "mandarin": (("zh_emilia",), 80),
}
SEED = 0
GAP_S, BREAK_IN_S = (0.3, 1.5), 2.0
LEVEL_DB, SNR_DB = (-29.0, -20.0), (10.0, 17.0)
SAID = ("text", "text_punct", "text_style", "language")


def main() -> None:
    """Mix all shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder with manifest.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the recordings")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    generator = np.random.default_rng(SEED)
    clips = unused(options.speech)
    noises = sorted((options.speech / "noise").glob("noise*.wav"))
    for name, (folders, seconds) in SHOWS.items():
        mine = [clip for clip in clips if clip["path"].split("/")[0] in folders]
        generator.shuffle(mine)
        ends_s = np.cumsum([clip["duration_s"] for clip in mine])
        mine = mine[: int(np.searchsorted(ends_s, seconds)) + 1]
        clips = [clip for clip in clips if clip not in mine]
        show, turns = mixed(options.speech, mine, generator)
        start, end = (round(part * len(show)) for part in (0.3, 0.7))
        noise = _read(noises[generator.integers(len(noises))])
        behind = at_level(noise, _level_db(show) - generator.uniform(*SNR_DB))
        show[start:end] += np.resize(behind, end - start)
        (options.out / f"{name}.flac").write_bytes(encode_flac(show, RATE))
        lines = [json.dumps(turn, ensure_ascii=False) + "\n" for turn in turns]
        (options.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        regions = {"noise": [{"start": start / RATE, "end": end / RATE}]}
        (options.out / f"{name}.regions.json").write_text(json.dumps(regions))


def unused(speech: Path) -> list[dict[str, Any]]:
    """Lines of the manifest with a right text, without the clips of which `raw` is made."""
    turns = [line for file in speech.glob("raw/*.jsonl") for line in file.open(encoding="utf-8")]
    taken = {json.loads(turn)["source"] for turn in turns}
    lines = map(json.loads, (speech / "manifest.jsonl").open(encoding="utf-8"))
    known = (line for line in lines if line.get("text") and line.get("text_ok", True))
    return [line for line in known if line["path"] not in taken]


def mixed(
    speech: Path, clips: list[dict[str, Any]], generator: np.random.Generator
) -> tuple[Waveform, list[dict[str, Any]]]:
    """A show, shape (samples,) at RATE, and its turns; the middle one breaks in."""
    show, end = np.zeros(0, np.float32), 0
    turns: list[dict[str, Any]] = []
    for number, clip in enumerate(clips):
        waveform = spoken(_read(speech / clip["path"]))
        gap_s = generator.uniform(*GAP_S)
        speaker = clip["speaker"] or Path(clip["path"]).stem
        if turns and number == len(clips) // 2 and turns[-1]["speaker"] != speaker:
            gap_s = -BREAK_IN_S
        start = end + round(gap_s * RATE)
        end = start + len(waveform)
        show = np.pad(show, (0, end + RATE - len(show)))
        show[start:end] += at_level(waveform, generator.uniform(*LEVEL_DB))
        times = {"start": start / RATE, "end": end / RATE, "speaker": speaker}
        turns.append(times | {key: clip.get(key) for key in SAID})
    return show, turns


def spoken(waveform: Waveform) -> Waveform:
    """A clip without what is quiet before and after its speech."""
    levels, size = levels_db(waveform, RATE), frame_samples(RATE)
    loud = np.flatnonzero(levels > loudness(levels).quiet_below_db(0.3))
    return waveform[loud[0] * size : (loud[-1] + 1) * size]


def at_level(waveform: Waveform, level_db: float) -> Waveform:
    """With an active level of `level_db` of full scale."""
    return waveform * np.float32(10 ** ((level_db - _level_db(waveform)) / 20))


def _level_db(waveform: Waveform) -> float:
    return active_level_db(levels_db(waveform, RATE))


def _read(file: Path) -> Waveform:
    waveform, rate = decode(str(file))
    return resample(mix_down(waveform), rate, RATE)


if __name__ == "__main__":
    main()

"""Copies that are planted: how many of them an audio fingerprint finds, and what else it takes for one.

`python -m gpa.eval.studies.copies FOLDER...` takes folders of clips of speech that are all different.
Every fourth clip is a test set; the corpus is its copies, each changed in one way, and all other
clips, after the pipeline's own normalisation. A row of Markdown for each change: recall is the share of
copies that are found as what they are, precision the share of such findings among all there are, those
among the other clips included.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from gpa.curation.audio import DecodeError, Waveform, decode, mix_down, resample
from gpa.curation.export.contamination import AUDIO
from gpa.curation.export.fingerprint import SPEEDS, Fingerprints
from gpa.curation.normalize import NormalizeConfig, normalize

EVERY = 4
SHORTEST_S = 2.0
RATE = 24000
BETWEEN = (SPEEDS[4] + SPEEDS[5]) / 2

Clip = tuple[str, Waveform, int]  # name, samples, rate


def coded(container: str, codec: str) -> Callable[[Waveform, int], tuple[Waveform, int]]:
    """Encode and decode, near the lowest bit rate that libsndfile knows (30 kbit/s and less)."""

    def change(waveform: Waveform, rate: int) -> tuple[Waveform, int]:
        buffer, at = io.BytesIO(), resample(waveform, rate, RATE)
        soundfile.write(buffer, at, RATE, codec, format=container, compression_level=0.9)
        return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")

    return change


def cut(waveform: Waveform, rate: int) -> tuple[Waveform, int]:
    """A second and a half out of the middle."""
    middle, half = len(waveform) // 2, round(0.75 * rate)
    return waveform[middle - half : middle + half], rate


def noisy(waveform: Waveform, rate: int) -> tuple[Waveform, int]:
    """White noise at 20 dB below."""
    noise = np.random.default_rng(0).normal(0, 0.1 * waveform.std(), len(waveform))
    return waveform + noise.astype(np.float32), rate


def played(speed: float) -> Callable[[Waveform, int], tuple[Waveform, int]]:
    """Faster and higher, as a tape."""
    return lambda waveform, rate: (waveform, round(speed * rate))


CHANGES: dict[str, Callable[[Waveform, int], tuple[Waveform, int]]] = {
    "none": lambda waveform, rate: (waveform, rate),
    "MP3": coded("MP3", "MPEG_LAYER_III"),
    "Opus": coded("OGG", "OPUS"),
    "cut to 1.5 s": cut,
    "noise at 20 dB": noisy,
    # The second lies between two that are indexed.
    **{
        f"at {speed:.4g} times the speed": played(speed)
        for speed in (0.9, BETWEEN, 0.97, 1.03, 1.1)
    },
}


def main() -> None:
    """Plant, look, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of clips, all different")
    clips = list(read(parser.parse_args().folders))
    planted = clips[::EVERY]
    others = [normalized(*clip[1:]) for number, clip in enumerate(clips) if number % EVERY]
    copies = {
        name: [normalized(*change(*clip[1:])) for clip in planted]
        for name, change in CHANGES.items()
    }
    seconds = sum(len(clip) / RATE for clip in others)
    print(f"{len(planted)} planted; {len(others)} others, {seconds / 60:.0f} min")
    known, taken_s = Fingerprints.of(planted), -time.process_time()
    wrong = sum(known.find(clip, RATE) is not None for clip in others)
    taken_s += time.process_time()
    size = sum(each.nbytes for each in (known.numbers, known.times, known.clips))
    planted_s = sum(len(waveform) / rate for _, waveform, rate in planted)
    print(
        f"{1000 * taken_s / seconds:.1f} ms of CPU a second, {size / planted_s * 3600 / 1e6:.0f} MB "
        f"an hour of test set; {wrong} of the others taken for a copy\n\n"
        "| change | recall | precision |\n|---|---|---|"
    )
    for change, changed in copies.items():
        recall, precision = found(known, [name for name, *_ in planted], changed, wrong)
        print(f"| {change} | {recall:.0%} | {precision:.0%} |")


def read(folders: Sequence[Path]) -> Iterator[Clip]:
    """All that decodes in them and is not too short to be cut, in order of names."""
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in AUDIO:
                try:
                    waveform, rate = decode(str(file))
                except DecodeError:
                    continue
                if waveform.shape[1] >= SHORTEST_S * rate:
                    yield str(file), mix_down(waveform), rate


def normalized(waveform: Waveform, rate: int) -> Waveform:
    """As an utterance of a corpus is, at RATE."""
    return normalize(waveform[None], rate, NormalizeConfig(sample_rate=RATE)).waveform


def found(
    known: Fingerprints, names: Sequence[str], copies: Sequence[Waveform], wrong: int
) -> tuple[float, float]:
    """Recall and precision over copies of clips by these names; `wrong` others were taken for some."""
    answers = [known.find(copy, RATE) for copy in copies]
    right = sum(name == answer for name, answer in zip(names, answers, strict=True))
    all_found = wrong + sum(answer is not None for answer in answers)
    return right / len(names), right / all_found if all_found else 1.0


if __name__ == "__main__":
    main()

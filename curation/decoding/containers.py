"""Headers that were never finished, or lie: where the samples of a container really end.

Recorders that crash or write to a pipe leave sizes of zero, of 4 GB, or of what was there when
the header was last written. Here the chunks of a file are walked; where the size of its samples
leads to nothing that could be the next chunk, the samples go on to the end of the file, and
whoever decodes it is shown a header that says so. Files that were laid end to end (chained Ogg,
`cat a.wav b.wav`) come apart again.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

# A size this large stands for "unknown": what pipes and recorders write before they know it.
UNKNOWN_SIZE = 0x7FFF0000
_SEARCH_BYTES = 1 << 16
_OGG_HEADER_BYTES = 27
_OGG_BEGINS = 0x02
_FLAC_TOTAL_BITS = 36
# Samples of these AIFF-C kinds take as many bytes as COMM says; ulaw and alaw take one.
_AIFF_PLAIN = (b"NONE", b"twos", b"sowt", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")
_AIFF_BYTES = (b"ulaw", b"ULAW", b"alaw", b"ALAW")


@dataclass(frozen=True)
class Part:
    """One file's worth of bytes, from `start` to `end`, with the header it should have had."""

    start: int
    end: int
    patches: dict[int, bytes] = field(default_factory=dict)  # by place in the whole file
    # Bytes of samples that the header says against those that are there; 1 where it is right.
    promised: float = 1.0


@dataclass(frozen=True)
class _Layout:
    """How a family of containers lays out its chunks."""

    header_bytes: int
    id_bytes: int
    size: str  # format of a chunk's size, as `struct` spells it
    data: bytes  # the beginning of the id of the chunk with the samples
    align: int = 2
    size_of_all: bool = False  # whether a size includes the chunk's own header
    total: tuple[int, str] | None = (4, "<I")  # place and format of the file's size


_RIFF = _Layout(12, 4, "<I", b"data")
_LAYOUTS = {
    b"RIFF": _RIFF,
    b"RF64": _RIFF,
    b"BW64": _RIFF,
    b"RIFX": _Layout(12, 4, ">I", b"data", total=(4, ">I")),
    b"FORM": _Layout(12, 4, ">I", b"SSND", total=(4, ">I")),
    b"caff": _Layout(8, 4, ">q", b"data", align=1, total=None),
    b"riff": _Layout(40, 16, "<Q", b"data\xf3\xac", align=8, size_of_all=True, total=(16, "<Q")),
}
_BEGINNINGS = (b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM", b"riff")
_KINDS = (b"WAVE", b"AIFF", b"AIFC")


def parts(file: IO[bytes]) -> list[Part]:
    """The files that a file consists of: nearly always one. Its position is lost."""
    length = file.seek(0, io.SEEK_END)
    beginning = _read(file, 0, 4)
    if beginning == b"OggS":
        starts = list(_chain_starts(file, length)) or [0]
        return [Part(*ends) for ends in zip(starts, [*starts[1:], length], strict=True)]
    if beginning == b".snd":
        return [_sun_au(file, length)]
    found: list[Part] = []
    start: int | None = 0
    while start is not None and (layout := _LAYOUTS.get(_read(file, start, 4))):
        part, start = _chunked(file, start, length, layout)
        found.append(part)
    return found or [Part(0, length)]


def flac_samples(file: IO[bytes]) -> int:
    """The samples a FLAC file says it has; 0 where it does not say. Its position is lost."""
    return int.from_bytes(_read(file, 18, 8), "big") & ((1 << _FLAC_TOTAL_BITS) - 1)


class PartFile(io.RawIOBase):
    """A part of an open file as a file of its own, without a name by which it could be judged."""

    def __init__(self, file: IO[bytes], part: Part):
        self._file = file
        self._part = part
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Fill a buffer from here, with the header as it should have been."""
        here = self._part.start + self._at
        self._file.seek(here)
        data = self._file.read(max(0, min(len(buffer), self._part.end - here)))
        buffer[: len(data)] = data
        for place, patch in self._part.patches.items():
            first, last = max(place, here), min(place + len(patch), here + len(data))
            if first < last:
                buffer[first - here : last - here] = patch[first - place : last - place]
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._part.end - self._part.start
        place = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence] + offset
        if place < 0:
            raise OSError("a place before the start")
        self._at = place
        return place

    def tell(self) -> int:
        return self._at


def _read(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _chunked(file: IO[bytes], start: int, length: int, layout: _Layout) -> tuple[Part, int | None]:
    """A file of chunks from `start` on, and where the next file begins, if one does."""
    seen: dict[bytes, int] = {}  # where the bodies of the chunks begin
    place = start + layout.header_bytes
    while (chunk := _chunk(file, place, layout)) is not None:
        name, size, body = chunk
        if name.startswith(layout.data):
            return _with_samples(file, start, length, layout, seen, body, size)
        seen.setdefault(name[:4], body)
        following = _aligned(body + size - start, layout) + start
        if size < 0 or following > length:
            break
        place = following
    return Part(start, length), None


def _with_samples(
    file: IO[bytes],
    start: int,
    length: int,
    layout: _Layout,
    seen: dict[bytes, int],
    body: int,
    size: int,
) -> tuple[Part, int | None]:
    large = seen.get(b"ds64") if size == 0xFFFFFFFF else None
    said = struct.unpack("<Q", _read(file, large + 8, 8))[0] if large else size
    if 0 <= said <= length - body:
        for end in dict.fromkeys((_aligned(body + said - start, layout) + start, body + said)):
            last = _last_chunk_end(file, end, length, layout)
            if last is not None:
                return Part(start, last), last if last < length else None
    held = length - body
    patches = _size_patches(start, length, layout, body, held, large)
    if layout.data == b"SSND" and (comm := seen.get(b"COMM")):
        patches |= _aiff_frames(file, comm, held - 8)
    is_promise = held < said < (UNKNOWN_SIZE if not large else 1 << 62)
    return Part(start, length, patches, said / held if is_promise and held else 1.0), None


def _size_patches(
    start: int, length: int, layout: _Layout, body: int, held: int, large: int | None
) -> dict[int, bytes]:
    """The sizes as they should have been; what has no room for them stays."""
    width = struct.calcsize(layout.size)
    own = layout.id_bytes + width if layout.size_of_all else 0
    patches = {}
    if large:
        patches[large] = struct.pack("<QQ", length - start - 8, held)
    else:
        most = 0xFFFFFFFF if width == 4 else (1 << 63) - 1
        patches[body - width] = struct.pack(layout.size, min(held + own, most))
        if layout.total:
            at, kind = layout.total
            total = length - start - (0 if layout.size_of_all else 8)
            patches[start + at] = struct.pack(kind, min(total, most))
    return patches


def _last_chunk_end(file: IO[bytes], place: int, length: int, layout: _Layout) -> int | None:
    """Where chunks from `place` on end: at the file's end or the next file's start, else None."""
    while length - place > layout.id_bytes:
        if _read(file, place, 4) in _BEGINNINGS and _read(file, place + 8, 4) in _KINDS:
            return place
        chunk = _chunk(file, place, layout)
        # What tags put behind the last chunk is no sample either.
        if _read(file, place, 3) == b"TAG" and length - place == 128:
            return length
        if chunk is None or not chunk[0][:4].isascii() or not chunk[0][:4].decode().isprintable():
            return None
        _, size, body = chunk
        if size < 0 or body + size > length:
            return None
        place = _aligned(body + size, layout) if layout.align == 2 else body + size
    return length


def _chunk(file: IO[bytes], place: int, layout: _Layout) -> tuple[bytes, int, int] | None:
    """Id, size of the body and place of the body; None where no chunk has room."""
    width = struct.calcsize(layout.size)
    head = _read(file, place, layout.id_bytes + width)
    if len(head) < layout.id_bytes + width:
        return None
    size = struct.unpack(layout.size, head[layout.id_bytes :])[0]
    own = len(head) if layout.size_of_all else 0
    return head[: layout.id_bytes], size - own, place + len(head)


def _aligned(place: int, layout: _Layout) -> int:
    return place + -place % layout.align


def _aiff_frames(file: IO[bytes], comm: int, held: int) -> dict[int, bytes]:
    """COMM's number of frames, where a frame's size is known."""
    fields = _read(file, comm, 22)
    if len(fields) < 18:
        return {}
    channels, _, bits = struct.unpack(">hIh", fields[:8])
    kind = fields[18:22] if _read(file, 8, 4) == b"AIFC" else b"NONE"
    if channels < 1 or not (kind in _AIFF_BYTES or kind in _AIFF_PLAIN):
        return {}
    sample_bytes = 1 if kind in _AIFF_BYTES else (bits + 7) // 8
    frames = max(0, held) // (channels * max(1, sample_bytes))
    return {comm + 2: struct.pack(">I", min(frames, 0xFFFFFFFF))}


def _sun_au(file: IO[bytes], length: int) -> Part:
    head = _read(file, 0, 12)
    if len(head) < 12:
        return Part(0, length)
    offset, said = struct.unpack(">II", head[4:])
    held = length - offset
    if held <= 0:
        return Part(0, length)
    is_promise = held < said < UNKNOWN_SIZE
    patch = {8: struct.pack(">I", min(held, 0xFFFFFFFF))}
    return Part(0, length, patch, said / held if is_promise else 1.0)


def _chain_starts(file: IO[bytes], length: int) -> Iterator[int]:
    """Where the links of an Ogg chain begin: a first page behind pages that were none."""
    place, in_headers = 0, False
    while place < length:
        page = _read(file, place, _OGG_HEADER_BYTES)
        if page[:4] != b"OggS" or len(page) < _OGG_HEADER_BYTES:
            following = _next_page(file, place + 1)
            if following is None:
                return
            place = following
            continue
        begins = bool(page[5] & _OGG_BEGINS)
        if begins and not in_headers:
            yield place
        elif place == 0:
            yield 0  # a stream whose beginning is missing
        in_headers = begins
        place += _OGG_HEADER_BYTES + page[26] + sum(file.read(page[26]))


def _next_page(file: IO[bytes], place: int) -> int | None:
    while len(data := _read(file, place, _SEARCH_BYTES)) >= 4:
        found = data.find(b"OggS")
        if found >= 0:
            return place + found
        place += len(data) - 3
    return None

"""`gpa say`, `gpa transcribe` and `gpa convert`: the model's three tasks, for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import soundfile

from gpa.curation.audio import DecodeError, Waveform, decode
from gpa.eval.generation.generate import Request
from gpa.eval.generation.prompts import as_speech
from gpa.eval.model import Model
from gpa.runtime.errors import NotReadError, UserError
from gpa.runtime.options import tell
from gpa.runtime.storage import Store
from gpa.tokenize.clips import SAMPLE_RATE


def say(text: str, voice: Path, voice_text: str | None, out: Path, model: Model) -> None:
    """Write `text`, spoken in the voice of a recording, to the WAV file `out`.

    With `voice_text`, the words of the recording, the model goes on from how they are said.
    """
    _check_out(out)
    request = Request("tts", text=text, voice=read_speech(voice), voice_text=voice_text)
    _write_answer(request, out, model)


def convert(source: Path, voice: Path, out: Path, model: Model) -> None:
    """Write what `source` says, spoken in the voice of a recording, to the WAV file `out`."""
    _check_out(out)
    request = Request("vc", audio=read_speech(source), voice=read_speech(voice))
    _write_answer(request, out, model)


def transcribe(recordings: Sequence[Path], model: Model, write: Callable[[str], object]) -> None:
    """Write the text of each recording while it is recognised, after its name if it is not alone.

    A recording that can't be transcribed does not stop the others; raises UserError about those
    at the end.
    """
    audio: dict[Path, Waveform] = {}
    failures = []
    for recording in recordings:
        try:
            audio[recording] = read_speech(recording)
        except UserError as error:
            failures.append(str(error))
    if audio:
        generator = model.load()
    for recording, waveform in audio.items():
        try:
            pieces = generator.stream(Request("asr", audio=waveform))
        except UserError as error:
            failures.append(f"{recording}: {error}")
            continue
        if len(recordings) > 1:
            write(f"{recording}: ")
        for piece in pieces:
            write(str(piece))
        write("\n")
    if failures:
        raise UserError(" ".join(failures))


def read_speech(path: Path) -> Waveform:
    """A recording in any format as mono at 16 kHz, (samples,); raises UserError."""
    try:
        return as_speech(*decode(str(path)))
    except DecodeError as error:
        raise UserError(f"{path} can't be used: {error}.") from None
    except NotReadError as error:
        reasons = "; ".join(error.why.values())
        raise UserError(f"{path} can't be used: it can't be opened: {reasons}.") from None


def _check_out(out: Path) -> None:
    """What can be known before a model is loaded."""
    if out.suffix.lower() != ".wav":
        raise UserError(f"Speech is written as WAV; give {out} a name that ends in .wav.")


def _write_answer(request: Request, out: Path, model: Model) -> None:
    (result,) = model.load().generate([request])
    if result.waveform is None or not len(result.waveform):
        raise UserError("The model ended its answer before it said anything; nothing is written.")
    if result.stopped == "length":
        tell(f"WARNING: cut off at max_new_tokens of eval.generation.{request.task}")
    if result.stopped == "context":
        tell("WARNING: cut off where the model's context was full")
    wav = io.BytesIO()
    soundfile.write(wav, result.waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    try:
        Store(str(out.absolute().parent)).write(out.name, wav.getvalue())
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}).") from None
    tell(f"{out}: {len(result.waveform) / SAMPLE_RATE:.2f} s of speech")

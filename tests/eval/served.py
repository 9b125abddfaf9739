"""A real `gpa serve` on a small random model, and what tests ask it."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import numpy as np
import soundfile

from gpa.curation.audio import Waveform
from gpa.eval.config import read_config
from gpa.eval.generation.generate import Generator
from gpa.eval.generation.prompts import Request
from gpa.tokenize.weights import TokenizerConfig
from gpa.train.sizes import new_model
from tests.runs import configured, start

PATIENCE_S = 120


def checkpoint(folder: Path, context: int) -> Path:
    """A `tiny` of random weights, whose prompts and answers hold `context` tokens."""
    model = new_model("tiny", seed=0)
    model.config.max_position_embeddings = context
    model.save_pretrained(str(folder))
    return folder


def config_file(folder: Path, longest: dict[str, int], **limits: float) -> Path:
    """pipelines.yaml with answers of at most so many tokens, all drawn at random."""

    def change(content: dict[str, Any]) -> None:
        for task, tokens in longest.items():
            content["eval"]["generation"][task] = {"temperature": 1.0, "max_new_tokens": tokens}
        content["eval"]["serve"] |= limits
        content["eval"]["latency"] |= {"at_once": [1, 3], "sustained_requests": 4}

    return configured(folder, change)


@dataclass(frozen=True)
class Served:
    """A running server, and the generator that it runs, loaded here."""

    url: str
    process: subprocess.Popen[str]
    generator: Generator
    config: Path

    @property
    def client(self) -> httpx2.Client:
        """A new client, which a `with` closes."""
        return httpx2.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)

    def health(self) -> dict[str, int]:
        """How many requests are worked on and wait."""
        with self.client as client:
            return client.get("/health").raise_for_status().json()

    def wait_until(self, holds: Callable[[dict[str, int]], bool]) -> None:
        """Ask for its health until that is as it should be."""
        deadline = monotonic() + PATIENCE_S
        while not holds(found := self.health()):
            assert monotonic() < deadline, found

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def served(model: Path, config: Path) -> Iterator[Served]:
    """`gpa serve` on a free port."""
    process = start("serve", "--checkpoint", model, "--port", "0", "--config", config)
    try:
        generator = Generator.load(model, TokenizerConfig(), read_config(config).generation)
        yield Served(_url(process), process, generator, config)
    finally:
        process.kill()
        process.wait()


def _url(process: subprocess.Popen[str]) -> str:
    """Where it listens, when it does; its later lines are read and dropped."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return found[1]
    raise AssertionError("".join(said))


def speech(seconds: float, pitch_hz: float = 140.0) -> Waveform:
    """Harmonics that come and go, at 16 kHz, already rounded to 16 bits."""
    time_s = np.arange(int(16000 * seconds)) / 16000
    harmonics = sum(np.sin(2 * np.pi * pitch_hz * n * time_s) / n for n in range(1, 12))
    waveform = 0.2 * harmonics * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))
    return (np.round(waveform * 32768) / 32768).astype(np.float32)


def wav(waveform: Waveform, sample_rate: int = 16000) -> bytes:
    """A recording as a client sends it."""
    data = io.BytesIO()
    soundfile.write(data, waveform, sample_rate, format="WAV", subtype="PCM_16")
    return data.getvalue()


def form(request: Request) -> dict[str, Any]:
    """A request as httpx sends it: its path, fields and files."""
    path = {"tts": "/say", "vc": "/convert", "asr": "/transcribe"}[request.task]
    data = {"seed": str(request.seed)}
    if request.text is not None:
        data["text"] = request.text
    if request.voice_text is not None:
        data["voice_text"] = request.voice_text
    recordings = {"audio": request.audio, "voice": request.voice}
    files = {name: wav(found) for name, found in recordings.items() if found is not None}
    return {"url": path, "data": data, "files": files}


def events(content: str) -> list[str]:
    """The texts of server-sent events, the whole one last."""
    return [
        json.loads(line.removeprefix("data: "))["text"]
        for line in content.splitlines()
        if line.startswith("data: ")
    ]

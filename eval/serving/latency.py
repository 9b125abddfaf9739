"""`gpa latency`: how soon and how fast a running `gpa serve` answers when many ask at once.

The paper's protocol: N requests at the same moment, for N up to 160, and of each the time to the
first chunk of speech (TTFC) or to the first token of text (TTFT), and the real-time factor (RTF):
seconds from the request to the end of its answer, over seconds of speech in it. The sustained mode
keeps a fixed number of requests going. The client runs on the server's machine and takes a share
of its cores.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import numpy as np
from pydantic import Field
from rich.console import Console

from gpa.eval.benchmarks.published import latency_cells, markdown
from gpa.eval.serving.framing import BYTES_PER_SAMPLE
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.sequences import TASKS, Task
from gpa.tokenize.small import NOTICE

PATHS: dict[Task, str] = {"asr": "/transcribe", "tts": "/say", "vc": "/convert"}
TITLES: dict[Task, str] = {"tts": "Synthesis", "vc": "Conversion", "asr": "Recognition"}
REPORT, TABLES = "latency.json", "latency.md"


class LatencyConfig(Config):
    """The section `eval.latency` of pipelines.yaml."""

    text: str = "The first snow fell on the harbour, and by noon every boat was white."
    at_once: tuple[int, ...] = (1, 5, 10, 20, 40, 80, 160)
    sustained_at_once: int = Field(20, ge=1)
    sustained_requests: int = Field(200, ge=1)
    # A request has failed when nothing of its answer comes for so long.
    answer_s: float = Field(600, gt=0)


@dataclass(frozen=True)
class Timing:
    """One request; times in seconds from its start. `error` says why it has no whole answer."""

    task: Task
    first_s: float | None
    total_s: float
    audio_s: float  # of speech that was generated; 0 for text
    error: str | None = None


@dataclass(frozen=True)
class Spread:
    """Mean, median and 99th percentile (linear between two requests) of some requests."""

    mean: float
    p50: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there is nothing to tell."""
        if not values:
            return None
        return cls(float(np.mean(values)), *map(float, np.percentile(values, [50, 99])))


@dataclass(frozen=True)
class Row:
    """Requests of one task under one load. Failed ones are counted, and in no other figure."""

    at_once: int
    requests: int
    failed: int
    errors: tuple[str, ...]  # the different ones among them
    elapsed_s: float  # from the first request to the end of the last answer
    first_s: Spread | None
    total_s: Spread | None
    rtf: Spread | None
    audio_s: float  # mean

    @classmethod
    def of(cls, at_once: int, timings: Sequence[Timing], elapsed_s: float) -> Row:
        """Figures of all requests that ran under one load."""
        whole = [timing for timing in timings if timing.error is None]
        spoken = [timing for timing in whole if timing.audio_s > 0]
        return cls(
            at_once=at_once,
            requests=len(timings),
            failed=len(timings) - len(whole),
            errors=tuple(sorted({timing.error for timing in timings if timing.error is not None})),
            elapsed_s=elapsed_s,
            first_s=Spread.of([timing.first_s for timing in whole if timing.first_s is not None]),
            total_s=Spread.of([timing.total_s for timing in whole]),
            rtf=Spread.of([timing.total_s / timing.audio_s for timing in spoken]),
            audio_s=float(np.mean([timing.audio_s for timing in spoken])) if spoken else 0.0,
        )


def local_server(url: str) -> httpx2.URL:
    """The address; raises UserError for one that is not this machine's loopback interface."""
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise UserError(f"{url} is no address of a server: {error}.") from None
    if address.scheme != "http" or not _is_loopback(address.host):
        raise UserError(
            f"{url} is not on this machine; latency is measured against a server on "
            "http://127.0.0.1 alone, where no network is in the figures."
        )
    return address


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Load:
    """Requests of one text and one recording, which is voice and source of speech alike."""

    def __init__(self, client: httpx2.AsyncClient, text: str, recording: bytes) -> None:
        self._client = client
        self._text = text
        self._recording = recording

    async def ask(self, task: Task, seed: int) -> Timing:
        """One request, from its start to the end of its answer."""
        fields = {"seed": str(seed)} | ({} if task == "asr" else {"format": "pcm"})
        fields |= {"text": self._text} if task == "tts" else {}
        names = {"asr": ("audio",), "tts": ("voice",), "vc": ("audio", "voice")}[task]
        files = dict.fromkeys(names, self._recording)
        begun = time.perf_counter()
        first_s, received, error = None, 0, None
        try:
            async with self._client.stream(
                "POST", PATHS[task], data=fields, files=files
            ) as response:
                if response.is_error:
                    error = f"{response.status_code} {(await response.aread()).decode()}"
                else:
                    async for chunk in response.aiter_raw():
                        first_s = first_s or time.perf_counter() - begun
                        received += len(chunk)
        except httpx2.HTTPError as broken:
            error = f"{type(broken).__name__} {broken}".strip()
        total_s = time.perf_counter() - begun
        audio_s = 0.0 if task == "asr" else received / BYTES_PER_SAMPLE / SAMPLE_RATE
        return Timing(task, first_s, total_s, audio_s, error)

    async def sustained(self, task: Task, at_once: int, count: int) -> Row:
        """`count` requests, of which `at_once` are under way until no more are left to send."""
        seeds = iter(range(count))
        timings: list[Timing] = []

        async def client() -> None:
            for seed in seeds:
                timings.append(await self.ask(task, seed))

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return Row.of(at_once, timings, time.perf_counter() - begun)


@dataclass(frozen=True)
class Loads:
    """What one task was put through: numbers of requests at once, and the sustained load."""

    at_once: list[Row]
    sustained: Row


@dataclass(frozen=True)
class Measured:
    """The figures of one server; `trained` is whether its tokenizers are."""

    trained: bool
    text: str
    tasks: dict[Task, Loads]


async def measure(
    server: httpx2.URL, recording: bytes, config: LatencyConfig, console: Console
) -> Measured:
    """Run the whole protocol.

    One request a task goes before and is not counted: it warms the server up. Raises UserError
    where no server answers, or where that request is refused.
    """
    async with httpx2.AsyncClient(
        base_url=server,
        timeout=config.answer_s,
        limits=httpx2.Limits(max_connections=None),
        trust_env=False,  # a proxy would be measured too
    ) as client:
        measured = Measured(await _trained(client), config.text, {})
        load = Load(client, config.text, recording)
        for task in TASKS:
            first = await load.ask(task, seed=0)
            if first.error is not None:
                raise UserError(f"{server} can't be measured with this recording: {first.error}")
            at_once = []
            for count in config.at_once:
                at_once.append(await load.sustained(task, count, count))
                console.print(_progress(task, at_once[-1]), markup=False)
            sustained = await load.sustained(
                task, config.sustained_at_once, config.sustained_requests
            )
            console.print(_progress(task, sustained), markup=False)
            measured.tasks[task] = Loads(at_once, sustained)
    return measured


async def _trained(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).raise_for_status().json()["trained"]
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        raise UserError(
            f"No `gpa serve` answers at {client.base_url} ({type(error).__name__}); start one, or "
            "name another with --server."
        ) from None


def _progress(task: Task, row: Row) -> str:
    return (
        f"{PATHS[task]}: {row.requests} requests, {row.at_once} at once, {row.failed} failed, "
        f"{row.elapsed_s:.1f} s"
    )


def tables(measured: Measured) -> str:
    """The figures as Markdown, in the columns of the paper's tables."""
    lines = [] if measured.trained else [f"Tokens are {NOTICE}.", ""]
    for task, title in TITLES.items():
        loads = measured.tasks[task]
        lines += [f"## {title}", "", *_table(task, loads.at_once), ""]
        lines += [_throughput(loads.sustained), ""]
    return "\n".join(lines)


def _table(task: Task, rows: Iterable[Row]) -> list[str]:
    first = "TTFT" if task == "asr" else "TTFC"
    heads = ["concurrent requests", *(f"{each} {first} ms" for each in ("mean", "P50", "P99"))]
    heads += ["mean total ms"] if task == "asr" else ["mean RTF", "P50 RTF", "P99 RTF", "audio s"]
    cells = ([*latency_cells(task, asdict(row)), str(row.failed)] for row in rows)
    return markdown([*heads, "failed"], cells, texts=())


def _throughput(row: Row) -> str:
    whole = row.requests - row.failed
    spoken = f", {whole * row.audio_s / row.elapsed_s:.2f} s of speech" if row.audio_s else ""
    return (
        f"Sustained, {row.at_once} at a time: {whole} of {row.requests} requests answered in "
        f"{row.elapsed_s:.1f} s, which is {whole / row.elapsed_s:.2f} requests{spoken} a second."
    )


def run(server: str, recording: Path, out: Path, config: LatencyConfig, console: Console) -> None:
    """Measure, and write `latency.json` and `latency.md` into `out`."""
    address = local_server(server)
    try:
        data = recording.read_bytes()
    except OSError as error:
        raise UserError(f"{recording} can't be read: {error.strerror}.") from None
    measured = asyncio.run(measure(address, data, config, console))
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT).write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="utf-8")
    (out / TABLES).write_text(tables(measured), encoding="utf-8")
    console.print(f"Figures: {out / REPORT} and {out / TABLES}", markup=False)

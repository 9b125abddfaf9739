"""`gpa serve` as a client meets it: a real process, real sockets, a small random model."""

from __future__ import annotations

import io
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest
import soundfile

from gpa.eval.generation.prompts import Request
from gpa.eval.serving import latency
from gpa.eval.serving.framing import PCM, pcm16
from gpa.eval.serving.serve import Answer
from gpa.eval.serving.workers import Workers
from tests.eval.served import Served, checkpoint, config_file, events, form, served, speech, wav

SAY = Request("tts", text="Good morning.", voice=speech(1.5), seed=3)
HEAR = Request("asr", audio=speech(1.0, 200), seed=1)
GO_ON = replace(SAY, voice_text="We are glad.")
CONVERT = Request("vc", audio=speech(1.0, 180), voice=speech(1.5, 110), seed=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two slots, answers of less than a second, and a context of 600 tokens."""
    folder = tmp_path_factory.mktemp("server")
    longest = {"tts": 40, "vc": 40, "asr": 12}
    config = config_file(folder, longest, queue=40, body_mb=1, text_characters=100, audio_s=20)
    with served(checkpoint(folder / "model", 600), config) as running:
        yield running


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One slot, one place in the queue, and minutes of speech as an answer to /say."""
    folder = tmp_path_factory.mktemp("slow")
    config = config_file(folder, {"tts": 30_000, "vc": 250}, slots=1, queue=1)
    with served(checkpoint(folder / "model", 32_768), config) as running:
        yield running


def idle(health: dict[str, int]) -> bool:
    return (health["working"], health["waiting"]) == (0, 0)


def samples(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<i2").astype(int)


def same_speech(content: bytes, waveform: np.ndarray) -> bool:
    """Sample for sample, where a tie between two 16-bit steps may fall either way."""
    said, expected = samples(content), samples(pcm16(waveform))
    return len(said) == len(expected) and bool(np.abs(said - expected).max(initial=0) <= 1)


@pytest.mark.parametrize("request_", [SAY, GO_ON, CONVERT], ids=["say", "go on", "convert"])
def test_speech_is_the_offline_answer_sample_for_sample(server: Served, request_: Request):
    (expected,) = server.generator.generate([request_])
    with server.client as client:
        asked = form(request_)
        spoken = client.post(**asked).raise_for_status()
        asked["data"] |= {"format": "pcm"}
        raw = client.post(**asked).raise_for_status()
    assert (spoken.headers["content-type"], spoken.headers["transfer-encoding"]) == (
        "audio/wav",
        "chunked",
    )
    assert len(expected.waveform) > 1000
    assert same_speech(raw.content, expected.waveform)
    in_wav, sample_rate = soundfile.read(io.BytesIO(spoken.content), dtype="int16")
    assert (sample_rate, in_wav.tobytes()) == (16000, raw.content)


def test_text_is_the_offline_answer_piece_by_piece(server: Served):
    (expected,) = server.generator.generate([HEAR])
    with server.client as client:
        answer = client.post(**form(HEAR)).raise_for_status()
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, whole = events(answer.text)
    assert whole == "".join(pieces) == expected.text
    assert len(pieces) > 1


def test_an_answer_begins_before_it_is_whole(slow_server: Served):
    """Its whole would be ten minutes of speech."""
    with slow_server.client as client, client.stream("POST", **form(SAY)) as answer:
        chunks = answer.iter_raw()
        assert next(chunks)[:4] == b"RIFF"
        assert slow_server.health()["working"] == 1
    slow_server.wait_until(idle)


WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    ("/sing", {"files": {"voice": wav(speech(1))}}, 404, "POST to /say, /transcribe or /convert"),
    ("/say", {"content": b"\x00\xff junk"}, 422, "the field 'text' is missing"),
    ("/say", {"json": {"text": "Hello."}}, 422, "Send a form (multipart/form-data)"),
    ("/say", {"data": {"text": "Hello."}}, 422, "the field 'voice' is missing"),
    ("/say", {"data": {"text": "Hello.", "voice": "me"}}, 422, "the field 'voice'"),
    ("/say", {"files": {"text": b"Hello.", "voice": wav(speech(1))}}, 422, "the field 'text'"),
    ("/convert", {"files": {"audio": wav(speech(1))}}, 422, "the field 'voice' is missing"),
    ("/transcribe", {"data": {"audio": "a.wav"}}, 422, "the field 'audio'"),
    (
        "/transcribe",
        {"content": b"junk", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "boundary",
    ),
    (
        "/transcribe",
        {"content": b"junk", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        400,
        "",
    ),
    ("/transcribe", {"data": {f"field{n}": "x" for n in range(9)}}, 400, "Too many fields"),
    ("/transcribe", {"files": {f"audio{n}": b"x" for n in range(3)}}, 400, "Too many files"),
    (
        "/transcribe",
        {"files": [("audio", wav(speech(1))), ("audio", wav(speech(1)))]},
        400,
        "'audio' was sent 2 times",
    ),
    ("/transcribe", {"files": {"audio": b""}}, 422, "no audio"),
    ("/transcribe", {"files": {"audio": b"RIFF" + bytes(400)}}, 422, "no audio"),
    ("/transcribe", {"files": {"audio": b"MZ" + bytes(range(256)) * 40}}, 422, "no audio"),
    ("/transcribe", {"files": {"audio": wav(np.zeros(16000))}}, 422, "silent"),
    ("/transcribe", {"files": {"audio": wav(speech(0.01))}}, 422, "can't be tokenized"),
    ("/transcribe", {"files": {"audio": wav(speech(0))}}, 422, "can't be tokenized"),
    ("/transcribe", {"files": {"audio": wav(speech(21))}}, 422, "lasts 21.0 s"),
    ("/transcribe", {"files": {"audio": wav(speech(15))}}, 422, "context of 600"),
    ("/transcribe", {"files": {"audio": bytes(1_100_000)}}, 413, "larger than 1 MB"),
]


@pytest.mark.parametrize(("path", "sent", "status", "says"), WRONG)
def test_a_bad_request_is_a_4xx_in_one_sentence(
    server: Served, path: str, sent: dict[str, Any], status: int, says: str
):
    with server.client as client:
        answer = client.post(path, **sent)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"text": ""}, "text"),
        ({"text": "   "}, "no text to say"),
        ({"text": "Hello.", "voice_text": "a" * 101}, "'voice_text' has 101 characters"),
        ({"text": "x" * 101}, "has 101 characters, and 100 are allowed"),
        ({"text": "Hi.", "seed": "many"}, "the field 'seed'"),
        ({"text": "Hi.", "seed": "-1"}, "the field 'seed'"),
        ({"text": "Hi.", "format": "mp3"}, "the field 'format'"),
        ({"text": "Hi.", "sed": "1"}, "there is no field 'sed'"),
    ],
)
def test_a_bad_field_is_named(server: Served, fields: dict[str, str], says: str):
    with server.client as client:
        answer = client.post("/say", data=fields, files={"voice": wav(speech(1))})
    assert answer.status_code == 422
    assert says in answer.json()["error"]


def test_a_get_is_told_what_to_do(server: Served):
    with server.client as client:
        answer = client.get("/say")
    assert (answer.status_code, answer.json()["error"]) == (405, "/say takes POST.")


def connected(server: Served) -> socket.socket:
    url = httpx2.URL(server.url)
    return socket.create_connection((url.host, url.port), timeout=120)


def test_a_gigabyte_is_refused_before_any_of_it_is_sent(server: Served):
    with connected(server) as client:
        client.sendall(
            b"POST /transcribe HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_of_undeclared_length_is_cut_off_at_the_limit(server: Served):
    head = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
    with connected(server) as client:
        client.sendall(
            b"POST /transcribe HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        for chunk in (head, bytes(900_000), bytes(100_001)):
            client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_after_all_that_it_answers_as_before(server: Served):
    server.wait_until(idle)
    test_text_is_the_offline_answer_piece_by_piece(server)


def test_a_client_that_leaves_frees_its_slot_or_its_place(slow_server: Served):
    """The answer would take minutes, so that a free slot is one that was freed."""
    asked = httpx2.Request("POST", slow_server.url + form(SAY)["url"], **_body(SAY))
    speaking, waiting = connected(slow_server), connected(slow_server)
    speaking.sendall(_bytes(asked))
    assert speaking.recv(1000).startswith(b"HTTP/1.1 200")
    waiting.sendall(_bytes(asked))
    slow_server.wait_until(lambda health: (health["working"], health["waiting"]) == (1, 1))

    with slow_server.client as client:
        refused = client.post(**form(SAY))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "try again" in refused.json()["error"]

    waiting.close()
    slow_server.wait_until(lambda health: (health["working"], health["waiting"]) == (1, 0))
    speaking.close()
    slow_server.wait_until(idle)


def _body(request: Request) -> dict[str, Any]:
    asked = form(request)
    return {"data": asked["data"], "files": asked["files"]}


def _bytes(asked: httpx2.Request) -> bytes:
    lines = [f"POST {asked.url.path} HTTP/1.1", *(f"{k}: {v}" for k, v in asked.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + asked.read()


def test_latency_is_measured_and_written(
    server: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from gpa.eval.config import read_config
    from gpa.runtime.options import console

    recording = tmp_path / "voice.wav"
    recording.write_bytes(wav(speech(1.0)))
    latency.run(
        server.url, recording, tmp_path / "out", read_config(server.config).latency, console
    )
    written = json.loads((tmp_path / "out" / "latency.json").read_text())
    for task in ("asr", "tts", "vc"):
        rows = written["tasks"][task]["at_once"]
        assert [(row["at_once"], row["failed"]) for row in rows] == [(1, 0), (3, 0)]
        assert written["tasks"][task]["sustained"]["requests"] == 4
        assert all(0 < row["first_s"]["p50"] <= row["total_s"]["p99"] for row in rows)
    # 40 tokens at most, 50 a second
    assert 0 < written["tasks"]["tts"]["at_once"][0]["audio_s"] <= 0.8
    assert "| 3 |" in (tmp_path / "out" / "latency.md").read_text()


def various(count: int) -> list[Request]:
    """Requests of all tasks, no two alike."""
    sources, voices = [speech(0.8, 90 + 20 * n) for n in range(5)], [speech(1.0), speech(1.0, 210)]
    makes = [
        lambda n: Request("tts", text=f"Sentence {n}.", voice=voices[n % 2], seed=n),
        lambda n: Request("asr", audio=sources[n % 5], seed=n),
        lambda n: Request("vc", audio=sources[n % 5], voice=voices[n % 2], seed=n),
    ]
    return [makes[number % 3](number) for number in range(count)]


@pytest.mark.slow
def test_200_requests_at_concurrency_20_have_each_its_own_answer(server: Served):
    different = various(20)
    # Alone, as the server works: in a batch the last bit of a logit may differ, and one draw in
    # many thousands with it.
    alone = [server.generator.generate([request])[0] for request in different]
    requests, expected = different * 10, alone * 10
    with server.client as client, ThreadPoolExecutor(20) as pool:

        def ask(request: Request) -> httpx2.Response:
            asked = form(request)
            if request.task != "asr":
                asked["data"] |= {"format": "pcm"}
            return client.post(**asked)

        answers = list(pool.map(ask, requests))
    assert {answer.status_code for answer in answers} == {200}
    for request, answer, result in zip(requests, answers, expected, strict=True):
        if request.task == "asr":
            assert events(answer.text)[-1] == result.text
        else:
            assert same_speech(answer.content, result.waveform)
    # Were two answers alike, it could not be told whether they were mixed up.
    assert len({answer.content for answer in answers}) == len(different)
    server.wait_until(idle)


def test_what_is_inside_ends_before_the_server_does(slow_server: Served):
    (expected,) = slow_server.generator.generate([CONVERT])
    asked = form(CONVERT)
    asked["data"] |= {"format": "pcm"}
    with slow_server.client as client, client.stream("POST", **asked) as answer:
        chunks = answer.iter_raw()
        begun = next(chunks)
        with ThreadPoolExecutor(1) as pool:
            status = pool.submit(slow_server.stop)
            said = begun + b"".join(chunks)
        assert status.result() == -signal.SIGTERM
    assert same_speech(said, expected.waveform)


def test_a_client_that_reads_nothing_is_cut_off():
    closed = Event()

    def endless() -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.zeros(100, np.float32)
        finally:
            closed.set()

    async def send(message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    async def main() -> None:
        workers = Workers(1)
        await Answer(endless, PCM(), workers, stall_s=0.01)({}, anyio.sleep_forever, send)
        assert workers.working == 0

    anyio.run(main)
    assert closed.is_set()

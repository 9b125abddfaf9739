"""`gpa serve`: recognition, synthesis and conversion over HTTP, sent while they are generated.

A request passes the door (admission.py), is read as a form, waits for a worker (workers.py), which
decodes its recordings (limits.py) and generates; each piece is framed (framing.py) and sent. The
status is sent with the first piece, so that whatever is wrong with a request is a 4xx. A client
that leaves, or that stops reading, ends its generation.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import anyio
import torch
import uvicorn
from anyio import CancelScope
from anyio.abc import TaskGroup
from fastapi import Depends, FastAPI, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gpa.curation.audio import Waveform
from gpa.eval.generation.generate import Generator
from gpa.eval.generation.prompts import Request
from gpa.eval.serving.admission import Admission, refusal
from gpa.eval.serving.framing import PCM, WAV, Events, Framing
from gpa.eval.serving.limits import ServeConfig, check_text, read_recording
from gpa.eval.serving.workers import Workers
from gpa.runtime.errors import UserError

Piece = str | Waveform


class _Form(BaseModel):
    """What every task takes; a field that is not named here or below is an error."""

    model_config = ConfigDict(extra="forbid")
    seed: int = Field(0, ge=0, lt=2**63)


class _SpokenForm(_Form):
    format: Literal["wav", "pcm"] = "wav"

    @property
    def framing(self) -> Framing:
        return WAV() if self.format == "wav" else PCM()


class SayForm(_SpokenForm):
    """Text, and a recording of the voice that is to speak it, maybe with what that says."""

    text: str
    voice: UploadFile
    voice_text: str | None = None


class ConvertForm(_SpokenForm):
    """Speech, and a recording of the voice that it is to be spoken in."""

    audio: UploadFile
    voice: UploadFile


class TranscribeForm(_Form):
    """Speech."""

    audio: UploadFile


class Health(BaseModel):
    """What `GET /health` says; `trained` is whether tokens, and so answers, mean anything."""

    working: int
    waiting: int
    trained: bool


class Answer(Response):
    """One generation. It begins when `start` is called, in a worker, and is sent as it is made."""

    def __init__(
        self,
        start: Callable[[], Iterator[Piece]],
        framing: Framing,
        workers: Workers,
        stall_s: float,
    ) -> None:
        self.start = start
        self.framing = framing
        self.workers = workers
        self.stall_s = stall_s
        self.media_type = framing.media_type
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                await self._send(tasks, send)
                tasks.cancel_scope.cancel()
        except* UserError as errors:
            await refusal(422, str(errors.exceptions[0]))(scope, receive, send)
        except* TimeoutError:
            pass  # it reads nothing; the server closes what was not answered to its end

    async def _send(self, tasks: TaskGroup, send: Send) -> None:
        async def put(chunk: bytes, more: bool = True) -> None:
            with anyio.fail_after(self.stall_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

        with self.workers.stream(tasks, self.start) as pieces:
            # Nothing is promised before it is known that there is an answer.
            piece = await anext(pieces, None)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await put(self.framing.begin())
            while piece is not None:
                await put(self.framing.frame(piece))
                piece = await anext(pieces, None)
        await put(self.framing.end(), more=False)


async def _cancel_when_gone(receive: Receive, scope: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def build(generator: Generator, config: ServeConfig) -> Admission:
    """The server as an ASGI application."""
    workers = Workers(config.slots)
    app = FastAPI(
        title="GPA",
        docs_url=None,  # a page that loads its script from elsewhere
        redoc_url=None,
        form_limits={"max_fields": 8, "max_files": 2},
        dependencies=[Depends(_one_of_each)],
        exception_handlers={
            HTTPException: _explain_status,
            RequestValidationError: _explain_form,
            UserError: _explain,
        },
    )
    door = Admission(app, config)

    def answer(framing: Framing, request: Callable[[], Request]) -> Answer:
        return Answer(lambda: generator.stream(request()), framing, workers, config.stall_s)

    def speech(field: str, upload: UploadFile) -> Waveform:
        return read_recording(field, upload.file, config)

    @app.get("/health")
    async def health() -> Health:
        """How many requests are worked on, and how many wait."""
        return Health(
            working=workers.working,
            waiting=door.inside - workers.working,
            trained=generator.trained,
        )

    @app.post("/say")
    async def say(form: Annotated[SayForm, Form()]) -> Answer:
        """Speech of `text` in the voice of `voice`."""
        check_text(form.text, config)
        check_text(form.voice_text or "", config, "voice_text")
        return answer(
            form.framing,
            lambda: Request(
                "tts",
                text=form.text,
                voice=speech("voice", form.voice),
                seed=form.seed,
                voice_text=form.voice_text,
            ),
        )

    @app.post("/convert")
    async def convert(form: Annotated[ConvertForm, Form()]) -> Answer:
        """What is said in `audio`, in the voice of `voice`."""
        return answer(
            form.framing,
            lambda: Request(
                "vc",
                audio=speech("audio", form.audio),
                voice=speech("voice", form.voice),
                seed=form.seed,
            ),
        )

    @app.post("/transcribe")
    async def transcribe(form: Annotated[TranscribeForm, Form()]) -> Answer:
        """What is said in `audio`, as server-sent events."""
        return answer(
            Events(), lambda: Request("asr", audio=speech("audio", form.audio), seed=form.seed)
        )

    return door


def serve(generator: Generator, config: ServeConfig, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; requests that are inside may then end.

    The slots share the cores, so that torch's threads do not wait for each other's.
    """
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // config.slots))
    uvicorn.run(
        build(generator, config),
        host=host,
        port=port,
        timeout_graceful_shutdown=config.shutdown_s,
    )


async def _explain(_: HTTPRequest, error: UserError) -> JSONResponse:
    return refusal(422, str(error))


async def _explain_status(request: HTTPRequest, error: HTTPException) -> JSONResponse:
    path, headers = request.url.path, dict(error.headers or {})
    match error.status_code:
        case 404:
            sentence = f"There is no {path}; POST to /say, /transcribe or /convert, or GET /health."
        case 405:
            sentence = f"{path} takes {headers.get('Allow', 'another method')}."
        case _:
            sentence = error.detail
    return refusal(error.status_code, sentence, headers)


async def _one_of_each(request: HTTPRequest) -> None:
    """Refuse a form that names a field twice: the first would be passed over without a word."""
    sent = Counter(name for name, _ in (await request.form()).multi_items())
    twice = sorted(name for name, times in sent.items() if times > 1)
    if twice:
        raise HTTPException(
            400, f"The field {twice[0]!r} was sent {sent[twice[0]]} times; send one a request."
        )


async def _explain_form(_: HTTPRequest, error: RequestValidationError) -> JSONResponse:
    problems = [_problem(str(found["loc"][-1]), found) for found in error.errors()]
    return refusal(422, f"Send a form (multipart/form-data): {'; '.join(problems)}.")


def _problem(field: str, found: dict[str, Any]) -> str:
    match found["type"]:
        case "missing":
            return f"the field {field!r} is missing"
        case "extra_forbidden":
            return f"there is no field {field!r}"
        case _:
            return f"the field {field!r}: {found['msg'][0].lower()}{found['msg'][1:]}"

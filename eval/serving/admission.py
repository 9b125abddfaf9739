"""The door of `gpa serve`: who may come in, before a byte of the request's body is read.

It counts requests from their headers to the last byte of their answers. So at any moment no more
than `slots + queue` bodies and answers are held, whatever clients do.
"""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpa.eval.serving.limits import ServeConfig

RETRY_AFTER_S = 1


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says in one sentence why there is no other."""
    return JSONResponse({"error": sentence}, status, headers)


class Admission:
    """ASGI middleware that bounds requests at once, the bytes of a body and the time it takes."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app = app
        self.config = config
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(Headers(scope=scope).get("content-length", "0"))
        if refused is not None:
            await refused(scope, receive, send)
            return
        self.inside += 1
        try:
            await self.app(scope, self._bounded(receive), send)
        finally:
            self.inside -= 1

    def _refusal(self, declared_bytes: str) -> JSONResponse | None:
        if int(declared_bytes) > self.config.body_bytes:
            return refusal(413, self._too_large)
        if self.inside >= self.config.slots + self.config.queue:
            sentence = (
                f"All places are taken, those in the queue too; try again in {RETRY_AFTER_S} s."
            )
            return refusal(503, sentence, {"Retry-After": str(RETRY_AFTER_S)})
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """`receive` that raises HTTPException for a body that is too long or comes too slowly."""
        deadline = anyio.current_time() + self.config.upload_s
        received_bytes = 0
        complete = False

        async def bounded() -> Message:
            nonlocal received_bytes, complete
            if complete:  # all that can still come is that the client leaves
                return await receive()
            with anyio.move_on_at(deadline):
                message = await receive()
                received_bytes += len(message.get("body", b""))
                if received_bytes > self.config.body_bytes:
                    raise HTTPException(413, self._too_large)
                complete = not message.get("more_body", False)
                return message
            raise HTTPException(
                408, f"The request did not arrive within {self.config.upload_s:g} s; send it again."
            )

        return bounded

    @property
    def _too_large(self) -> str:
        return f"The request is larger than {self.config.body_mb:g} MB; send less audio."

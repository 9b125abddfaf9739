"""`gpa explore OUT`: the pages and what they ask for, over HTTP on this machine.

Nothing is written but verdicts. Texts of the corpus reach the browser as JSON or escaped by the
report's templates, and the content security policy runs no script but the page's own.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.csv
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from rich.console import Console
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gpa.curation.explore.catalogue import Catalogue
from gpa.curation.explore.spectrogram import spectrogram
from gpa.curation.explore.verdicts import NAME, Verdicts
from gpa.curation.explore.vocabulary import vocabulary
from gpa.curation.package.verdicts import Verdict
from gpa.curation.report.listen import read_sample, read_sound
from gpa.curation.report.outputs import open_run
from gpa.curation.report.page import templates
from gpa.curation.report.samples import Drawn
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.errors import UserError

PAGE_ROWS = 50
# Partitions that are read before the first page is served.
AT_FIRST = 2
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "media-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_STATIC = {
    "/": ("gpa.curation.explore", "explore.html", "text/html"),
    "/explore.js": ("gpa.curation.explore", "explore.js", "text/javascript"),
    "/explore.css": ("gpa.curation.explore", "explore.css", "text/css"),
    "/page.css": ("gpa.curation.report", "page.css", "text/css"),
}


def build(catalogue: Catalogue, verdicts: Verdicts, reviewer: str, hosts: list[str]) -> FastAPI:
    """The application; `hosts` are the names under which it answers."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    card = templates().get_template("sample.html.j2")

    def found(utterance_id: str) -> Drawn:
        drawn = catalogue.find(utterance_id)
        if drawn is None:
            raise UserError(f"There is no utterance {utterance_id}.")
        return drawn

    @app.middleware("http")
    async def with_policy(request: Request, call: Callable) -> Response:
        response = await call(request)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.exception_handler(UserError)
    async def refuse(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=400)

    for path, (package, name, kind) in _STATIC.items():
        app.get(path)(_serve(files(package).joinpath(name).read_bytes(), kind))

    @app.get("/api/utterances")
    def utterances(
        where: str = "", sort: str = "", descending: bool = False, offset: int = 0
    ) -> dict[str, Any]:
        return {
            "columns": catalogue.columns,
            "rows": catalogue.rows(where, sort, descending, max(0, offset), PAGE_ROWS),
            "counts": asdict(catalogue.count(where)),
            "read": catalogue.progress,
            "judged": len(verdicts),
            "differing": verdicts.differing(),
        }

    @app.get("/api/download.{kind}")
    def download(kind: str, where: str = "", sort: str = "", descending: bool = False) -> Response:
        table = catalogue.table(where, sort, descending)
        if kind == "parquet":
            return _file(parquet_bytes(table), "application/vnd.apache.parquet", kind)
        if kind == "csv":
            buffer = io.BytesIO()
            pyarrow.csv.write_csv(table, buffer)
            return _file(buffer.getvalue(), "text/csv", kind)
        raise UserError(f"Downloads are csv or parquet, not {kind!r}.")

    @app.get("/api/utterance/{utterance_id}")
    def utterance(utterance_id: str) -> dict[str, Any]:
        sample = read_sample(catalogue.run, found(utterance_id))
        return {
            "card": card.render(sample=sample, run=catalogue.run, sample_first=True),
            "text": sample.text,
            "neighbours": catalogue.neighbours(utterance_id),
            "verdicts": [each.model_dump() for each in verdicts.of(utterance_id)],
        }

    @app.get("/api/spectrogram/{utterance_id}.png")
    def picture(utterance_id: str) -> Response:
        sound = read_sound(catalogue.run, found(utterance_id))
        return Response(spectrogram(*sound), media_type="image/png")

    # Counted once for a selection, as long as nothing more is read.
    @lru_cache(maxsize=16)
    def disputes_of(where: str, state: int) -> list[dict[str, Any]]:
        return catalogue.disputes(where)

    @lru_cache(maxsize=16)
    def vocabulary_of(where: str, state: int) -> dict[str, Any]:
        return vocabulary(catalogue, where)

    @app.get("/api/disputes")
    def disputes(where: str = "") -> list[dict[str, Any]]:
        return disputes_of(where, catalogue.state)

    @app.get("/api/vocabulary")
    def words(where: str = "") -> dict[str, Any]:
        return vocabulary_of(where, catalogue.state)

    @app.post("/api/verdicts")
    def judge(verdict: Verdict) -> dict[str, int]:
        drawn = found(verdict.utterance_id)
        heard = {"reviewer": reviewer, "duration_s": round(drawn.end_s - drawn.start_s, 3)}
        verdicts.add(verdict.model_copy(update=heard))
        return {"judged": len(verdicts)}

    return app


def _serve(data: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(data, media_type=kind)


def _file(data: bytes, media_type: str, kind: str) -> Response:
    named = {"Content-Disposition": f'attachment; filename="utterances.{kind}"'}
    return Response(data, media_type=media_type, headers=named)


def explore(out: str, host: str, port: int, reviewer: str, console: Console) -> None:
    """Serve until Ctrl-C; raises UserError where there is no run."""
    catalogue = Catalogue(open_run(out), AT_FIRST)
    verdicts = Verdicts(Path(out) / NAME)
    hosts = sorted({host, "127.0.0.1", "localhost"})
    console.print(f"{out}: http://{host}:{port}  (Ctrl-C ends it)", markup=False)
    app = build(catalogue, verdicts, reviewer, hosts)
    stop = threading.Event()
    reader = threading.Thread(target=catalogue.follow, args=(stop,))
    reader.start()
    try:
        uvicorn.run(app, host=host, port=port, log_level="warning")
    finally:
        stop.set()
        reader.join()
        catalogue.close()

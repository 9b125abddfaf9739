"""`gpa explore OUT`: the pages and what they ask for, over HTTP on this machine.

Nothing is written but verdicts. Texts of the corpus reach the browser as JSON or escaped by the
report's templates, and the content security policy runs no script but the page's own.
"""

from __future__ import annotations

import io
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
from gpa.curation.explore.disputes import disputed
from gpa.curation.explore.verdicts import NAME, Verdicts
from gpa.curation.report.listen import read_sample
from gpa.curation.report.outputs import open_run
from gpa.curation.report.page import templates
from gpa.curation.verdicts import Verdict
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.errors import UserError

PAGE_ROWS = 50
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "media-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
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
        drawn = catalogue.find(utterance_id)
        if drawn is None:
            raise UserError(f"There is no utterance {utterance_id}.")
        sample = read_sample(catalogue.run, drawn)
        return {
            "card": card.render(sample=sample, run=catalogue.run, sample_first=True),
            "text": sample.text,
            "neighbours": catalogue.neighbours(utterance_id),
            "verdicts": [each.model_dump() for each in verdicts.of(utterance_id)],
        }

    # Counted once for a selection: the tables behind it do not change.
    @lru_cache(maxsize=16)
    def disputes_of(where: str) -> list[dict[str, Any]]:
        return [asdict(each) for each in disputed(catalogue.texts(where), catalogue.asrs)]

    @app.get("/api/disputes")
    def disputes(where: str = "") -> list[dict[str, Any]]:
        return disputes_of(where)

    @app.post("/api/verdicts")
    def judge(verdict: Verdict) -> dict[str, int]:
        drawn = catalogue.find(verdict.utterance_id)
        if drawn is None:
            raise UserError(f"There is no utterance {verdict.utterance_id}.")
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
    catalogue = Catalogue(open_run(out))
    verdicts = Verdicts(Path(out) / NAME)
    hosts = sorted({host, "127.0.0.1", "localhost"})
    console.print(f"{out}: http://{host}:{port}  (Ctrl-C ends it)", markup=False)
    app = build(catalogue, verdicts, reviewer, hosts)
    uvicorn.run(app, host=host, port=port, log_level="warning")

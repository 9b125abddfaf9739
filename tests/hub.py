"""A hub on this machine: what huggingface_hub's real client asks for, for repositories of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """Serves `repositories` (name -> file -> content); `gated` ones to nobody.

    Downloads of `broken` files fail; the first one of a file in `cut_after` breaks off after so
    many bytes. `asked` holds all requests for content as (path, the Range header).
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]):
        self.repositories = repositories
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.cut_after: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Hub]:
        """Answer on a free port of this machine."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = Thread(target=server.serve_forever)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
                self._api(found[1], found[2] or "")
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                self._file(found[1], found[2])
            else:
                self._say(404)

        def _api(self, name: str, what: str) -> None:
            files = hub.repositories.get(name)
            if files is None:
                self._say(401, {"X-Error-Code": "RepoNotFound"})
            elif what == "/auth-check":
                self._refuse() if name in hub.gated else self._say(200, body=b"{}")
            elif what.startswith("/tree/"):
                tree = [
                    {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                    for path, content in files.items()
                ]
                self._say(200, body=json.dumps(tree).encode())
            else:
                self._say(200, body=json.dumps({"id": name, "sha": COMMIT}).encode())

        def _file(self, name: str, path: str) -> None:
            content = hub.repositories.get(name, {}).get(path)
            if name in hub.gated:
                self._refuse()
            elif path in hub.broken and self.command == "GET":
                self._say(500)
            elif content is None:
                self._say(404, {"X-Error-Code": "EntryNotFound"})
            else:
                headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT}
                wanted = self.headers.get("Range", "")
                if self.command == "GET":
                    hub.asked.append((path, wanted))
                if wanted:
                    start = int(wanted.removeprefix("bytes=").rstrip("-"))
                    last = len(content) - 1
                    headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
                    self._say(206, headers, content[start:])
                else:
                    getting = self.command == "GET"
                    cut_after = hub.cut_after.pop(path, None) if getting else None
                    self._say(200, headers, content, cut_after)

        def _refuse(self) -> None:
            self._say(403, {"X-Error-Code": "GatedRepo"})

        def _say(
            self,
            status: int,
            headers: Mapping[str, str] | None = None,
            body: bytes = b"",
            cut_after: int | None = None,
        ) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:cut_after])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()

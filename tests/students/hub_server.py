"""A small server that speaks the Hub's protocol, and a script that asks it in a fresh process.

The Hub's client reads its settings when it is imported, so each case needs a process with them.

    python hub_server.py MODEL [REVISION]     prints what `hub_folder` gives or raises, as JSON
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "c" * 40
# What the Hub says of models that cannot be had: status and the code in its header.
REFUSED = {
    "meta/gated": (403, "GatedRepo"),
    "some/missing": (404, "RepoNotFound"),
    "some/private": (401, "RepoNotFound"),
    "some/forbidden": (403, ""),
    "some/broken": (503, ""),
}


class Hub(ThreadingHTTPServer):
    """Serves folders as models or data sets, and keeps the paths that were asked for."""

    def __init__(self, models: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = models
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        for prefix in ("/api", "/models", "/datasets"):
            path = path.removeprefix(prefix)
        parts = path.strip("/").split("/")
        name = "/".join(parts[:2])
        if name in REFUSED:
            self.refuse(*REFUSED[name])
        elif name not in self.server.models:
            self.refuse(404, "RepoNotFound")
        elif parts[3] not in ("main", COMMIT):
            self.refuse(404, "RevisionNotFound")
        else:
            self.serve(self.server.models[name], parts[2], "/".join(parts[4:]))

    def serve(self, folder: Path, what: str, file: str) -> None:
        if what == "revision":
            files = [{"rfilename": one.name} for one in sorted(folder.iterdir())]
            self.answer(json.dumps({"id": "x/y", "sha": COMMIT, "siblings": files}).encode())
        elif what == "tree":
            files = [
                {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": _oid(one)}
                for one in sorted(folder.iterdir())
            ]
            self.answer(json.dumps(files).encode())
        else:
            self.answer((folder / file).read_bytes(), etag=_oid(folder / file))

    def answer(self, body: bytes, etag: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub_server(models: dict[str, Path]) -> Iterator[Hub]:
    """A server that runs as long as the block."""
    with Hub(models) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


def main(cases: list[list[str]]) -> None:
    from distill.errors import DistillError
    from engine.hub import hub_folder

    found = {}
    for model, *revision in cases:
        try:
            found[model] = {"folder": str(hub_folder(model, *revision))}
        except DistillError as error:
            found[model] = {"problem": error.problem, "hint": error.hint}
    sys.stdout.write(json.dumps({"found": found, "torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

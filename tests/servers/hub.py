"""A server that speaks the part of the Hub's protocol that a push needs, Git LFS included.

What is sent is kept in a folder. It can be told to make every repository public, as an old server
does that does not know how privacy is asked for, to have a Xet store, and to hang up in the middle
of an upload.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.xet import XetStore

WRITE_TOKEN, READ_TOKEN = "hf_may_write", "hf_may_read"


@dataclass(slots=True)
class Repo:
    """One repository."""

    kind: str
    is_private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


class HubServer(ThreadingHTTPServer):
    """The server, with all that it holds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.uploaded: list[str] = []
        self.makes_public = False
        self.xet: XetStore | None = None
        self.hangs_up_after: int | None = None
        self.holds_after: int | None = None
        self.has_received = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        repo = self.server.repos.get(self._name(path))
        if "xet-write-token" in path and repo is not None and self.server.xet is not None:
            self._answer_with_token()
            return
        if "xet-write-token" in path or repo is None:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": "0" * 40}
            for name, data in repo.files.items()
        ]
        sha = f"{repo.commits:040x}"
        record = {"id": self._name(path), "private": repo.is_private, "sha": sha}
        self._answer({**record, "siblings": siblings})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path.startswith("/cas/") and self.server.xet is not None:
            self._store(self.server.xet, path, body)
        elif self.headers.get("Authorization") != f"Bearer {WRITE_TOKEN}":
            self._answer({"error": "You don't have the rights to write here"}, 403)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            self._preupload(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/commit/" in path:
            self._commit(self._name(path), [json.loads(line) for line in body.splitlines()])
        else:
            self._answer({}, 200)

    def do_PUT(self) -> None:
        oid, size = self.path.rpartition("/")[2], int(self.headers["Content-Length"])
        data = b""
        while len(data) < size:
            data += self.rfile.read(min(65_536, size - len(data)))
            limit = self.server.hangs_up_after
            if limit is not None and len(data) >= limit:
                self.close_connection = True
                self.connection.close()
                return
            if self.server.holds_after is not None and len(data) >= self.server.holds_after:
                self.server.has_received.set()
                threading.Event().wait()
        assert hashlib.sha256(data).hexdigest() == oid
        self.server.objects[oid] = data
        self.server.uploaded.append(oid)
        self.server.has_received.set()
        self._answer({})

    def _answer_with_token(self) -> None:
        """As headers for the Hub's client, and as a record for that of the store."""
        url, end = f"{self.server.address}/cas", int(time.time()) + 3600
        self._answer(
            {"casUrl": url, "exp": end, "accessToken": "xet"},
            headers={
                "X-Xet-Cas-Url": url,
                "X-Xet-Access-Token": "xet",
                "X-Xet-Token-Expiration": str(end),
            },
        )

    def _store(self, store: XetStore, path: str, body: bytes) -> None:
        if "/xorbs/" in path:
            store.keep(path.rpartition("/")[2], body)
            self.server.has_received.set()
            if self.server.holds_after is not None:
                threading.Event().wait()
            self._answer({"was_inserted": True})
        elif path.endswith("/v1/shards") or ("/shards" in path and store.is_odd):
            oid, data = store.file()
            self.server.objects[oid] = data
            self._answer({"result": 1})
        else:  # such as the newer ways of a client, which then takes the older one
            self._answer({"error": "Not found"}, 404)

    def _create(self, wish: dict[str, Any]) -> None:
        name = f"{wish['organization']}/{wish['name']}"
        if name in self.server.repos:
            self._answer({"error": "You already created this repo"}, 409)
            return
        is_private = wish.get("visibility") == "private" and not self.server.makes_public
        self.server.repos[name] = Repo(wish.get("type", "model"), is_private)
        self._answer({"url": f"{self.server.address}/{name}", "name": name})

    def _preupload(self, wish: dict[str, Any]) -> None:
        large = (".safetensors", ".gguf", ".parquet")
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in wish["files"]
        ]
        self._answer({"files": modes})

    def _batch(self, wish: dict[str, Any]) -> None:
        found = []
        for one in wish["objects"]:
            record = dict(one)
            if one["oid"] not in self.server.objects:
                href = f"{self.server.address}/upload/{one['oid']}"
                record["actions"] = {"upload": {"href": href}}
            found.append(record)
        self._answer({"transfer": "basic", "objects": found})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repo = self.server.repos[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.server.objects[value["oid"]]
        repo.commits += 1
        url = f"{self.server.address}/{name}/commit/{repo.commits:040x}"
        self._answer({"commitUrl": url, "commitOid": f"{repo.commits:040x}", "success": True})

    def _name(self, path: str) -> str:
        parts = path.removeprefix("/api/").strip("/").split("/")
        return "/".join(parts[1:3])

    def _answer(
        self, record: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub() -> Iterator[HubServer]:
    """A server that runs as long as the block."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def stored_folder(server: HubServer, name: str, folder: Path) -> Path:
    """A repository as somebody who downloads it has it."""
    for path, data in server.repos[name].files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder

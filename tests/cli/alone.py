"""Serve an unpacked bundle where there is no network but the machine's own, and ask it.

    unshare --user --map-root-user --net python tests/cli/alone.py FOLDER

Prints what a request to the outside ends with, then the models and a reply, as one JSON document.
"""

import contextlib
import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_PORT = 8000  # nobody else is here


def raise_loopback() -> None:
    """A new network namespace has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        name, flags = struct.unpack("16sh22x", fcntl.ioctl(control, _GET_FLAGS, request))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh22x", name, flags | _UP))


def way_out() -> str:
    """What becomes of a connection to another machine."""
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=10).close()
    except OSError as error:
        return str(error)
    return "reached"


def ask(path: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{_PORT}{path}", data)
    with urllib.request.urlopen(request, timeout=100) as answer:
        return json.load(answer)


def main(folder: Path) -> None:
    raise_loopback()
    outside = way_out()
    command = [folder / "start.sh", "serve", "--port", str(_PORT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 400  # with wheels it installs first
            while server.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    models = ask("/v1/models")
                    break
                time.sleep(0.05)
            question = {"role": "user", "content": "What is 3 + 4?"}
            reply = ask("/v1/chat/completions", {"messages": [question], "max_tokens": 8})
        finally:
            server.terminate()
    json.dump({"outside": outside, "models": models, "reply": reply}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""``distill serve`` as a process: it starts, refuses, and ends with what is under way answered."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from students.load import EMBEDDED
from tests.cli.conftest import Invoke
from tests.conftest import clean_environment


@contextmanager
def server(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running ``distill serve`` and its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "distill", "serve", str(EMBEDDED), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "http" in line or "error" in line)
            assert "http://" in line, line + process.stderr.read()
            yield process, line.split(" at ")[1].split()[0]
        finally:
            process.kill()


def test_told_to_end_it_answers_what_is_under_way() -> None:
    body = {"messages": [{"role": "user", "content": "What is 3 + 4?"}], "stream": True, "n": 8}
    with server() as (process, url):
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=100) as answer:
            answer.readline()
            os.kill(process.pid, signal.SIGTERM)
            text = answer.read().decode()
        assert text.count('"finish_reason": "stop"') + text.count('"length"') == 8
        assert text.endswith("data: [DONE]\n\n")
        assert process.wait(timeout=100) == 0


def test_others_are_let_in_with_a_key_only(invoke: Invoke, tmp_path: Path) -> None:
    shown = invoke("serve", EMBEDDED, "--host", "0.0.0.0")
    assert shown.code == 2
    assert "there is no API key" in shown.err
    assert "DISTILL_API_KEY" in shown.err
    (tmp_path / "key").write_text("\n")
    shown = invoke("serve", EMBEDDED, "--api-key-file", "key")
    assert shown.code == 2
    assert "the file is empty" in shown.err


def test_a_port_in_use_is_an_error(invoke: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = invoke("serve", EMBEDDED, "--port", str(port))
    assert shown.code == 1
    assert f"port {port} of 127.0.0.1 is in use" in shown.err


def test_what_is_no_model_is_an_error(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.gguf").write_text("no")
    assert invoke("serve", "empty").code == 6
    assert "no GGUF file" in invoke("serve", "notes.gguf").err
    assert invoke("serve", "nowhere").code == 6

"""``teacher.kind = "engine"`` with ``transformers serve``, a real server, under a custom command.

Stopped (SIGSTOP), it is started again, the client waits, and no stored row is asked for again.
`benchmarks/engine_watchdog.py` measures how long that takes, and kills it too.
"""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

from students.load import EMBEDDED
from tests.cli.conftest import invoke_in
from tests.servers.recipes import stored_traces, write_recipe
from tests.teachers.test_engine import generate, pids, rows, wait_for

COUNT = 12
PROGRAM = Path(sys.executable).with_name("transformers")
SERVE = (
    f"echo $$ >> pids; exec {shlex.quote(str(PROGRAM))} serve {{model}} --host 127.0.0.1"
    " --port {port} --device cpu"
)


def test_transformers_serve_is_started_again_when_it_stops(
    tmp_path: Path,
) -> None:
    recipe = write_recipe(
        tmp_path,
        kind="engine",
        prompts=f'kind = "embedded"\nsplit = "train"\ncount = {COUNT}\nlevels = [1]',
        teacher=[
            f'model = "{EMBEDDED}"',
            f"command = {json.dumps(['sh', '-c', SERVE])}",
            "stall_seconds = 8",
            'client = { endpoint = "transformers", concurrency = 2 }',
        ],
        generate=["samples = 1", "max_tokens = 48"],
    )
    seen: list[tuple[str, int]] = []

    def strike() -> None:
        wait_for(lambda: rows(tmp_path) >= 3)
        os.kill(pids(tmp_path)[0], signal.SIGSTOP)
        seen.extend(stored_traces(tmp_path / "run").keys)

    shown = generate(tmp_path, recipe, strike)
    assert shown.code == 0, shown.err
    lives = len(pids(tmp_path))
    assert lives >= 2, shown.err
    assert "sent no token for 8 s" in shown.err
    keys = stored_traces(tmp_path / "run").keys
    assert len(set(keys)) == len(keys) == COUNT
    assert keys[: len(seen)] == seen
    again = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run")
    assert again.code == 0
    assert len(pids(tmp_path)) == lives  # nothing is left to ask: no server is started

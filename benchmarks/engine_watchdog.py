"""How long the engine's watchdog takes, with its default limits, until traces come again.

    python benchmarks/engine_watchdog.py [killed stopped silent real-killed real-stopped]

A server is started by a recipe, writes some traces, and is killed (SIGKILL), stopped (SIGSTOP), or
silent: it answers health and takes requests, and sends nothing. It is a stub; in the cases named
``real`` it is ``transformers serve`` with the embedded student. Measured is the time from there to
the first trace of the next life. Bar: 60 s. Expected with `stall_seconds` at its default of 40: 3 s
after a kill, 45 s after the others, each with what the server takes to start (0.5 s here for the
stub, 7 for the real one; a large model takes minutes). Also counted: stored rows that were asked
for again, which must be none: by the stub's ledger, or by the real server's own log of requests.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import results_file
from students.load import EMBEDDED
from tests.servers.ledger import read_ledger
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.settings import Settings

_PROMPTS, _BEFORE, _BEFORE_SILENCE = 100, 40, 10
_REAL_PROMPTS, _BEFORE_REAL, _REAL_CALLS = 16, 4, 2
_CASES = ("killed", "stopped", "silent", "real-killed", "real-stopped")
_ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure what is named, or all; print and write the figures."""
    figures = _earlier() if sys.argv[1:] else {}
    figures |= {case: _measure(case) for case in sys.argv[1:] or _CASES}
    results_file.write("engine_watchdog", figures)


def _earlier() -> dict[str, dict[str, float]]:
    """What was measured before, when cases are measured one by one."""
    path = results_file.RESULTS / "engine_watchdog.json"
    figures: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return figures


def _measure(case: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        is_real, is_silent = case.startswith("real-"), case == "silent"
        prompts = _REAL_PROMPTS if is_real else _PROMPTS
        recipe = _real_recipe(folder) if is_real else _recipe(folder, is_silent=is_silent)
        process = subprocess.Popen(
            [sys.executable, "-m", "distill", "generate", str(recipe), "--run-dir", "run"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before_strike = _BEFORE_REAL if is_real else _BEFORE_SILENCE if is_silent else _BEFORE
        _wait_for_rows(folder, before_strike, process)
        began = time.monotonic()
        if not is_silent:
            number = signal.SIGKILL if case.endswith("killed") else signal.SIGSTOP
            os.kill(int((folder / "pids").read_text().split()[0]), number)
        before = stored_traces(folder / "run").keys
        # What was on its way then still arrives: those that come from the next life count.
        while not (folder / "pids").read_text().split()[1:]:
            time.sleep(0.02)
        _wait_for_rows(folder, len(stored_traces(folder / "run").keys) + 1, process)
        seconds = time.monotonic() - began
        code = process.wait()
        again = _asked_again_by_log(folder) if is_real else _asked_again(folder, before)
        stored = stored_traces(folder / "run").keys
    print(
        f"{case:8} back at work after {seconds:.1f} s; exit code {code}; {len(set(stored))} of"
        f" {prompts} stored, {again} of {len(before)} stored rows asked for again",
        flush=True,
    )
    return {"seconds": seconds, "stored": len(set(stored)), "asked_again": again}


def _asked_again(folder: Path, before: list[tuple[str, int]]) -> int:
    """Stored rows that the stub was asked for more than once, by its ledger."""
    lines = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
    texts = {line["id"]: line["text"] for line in lines}
    produced = [line.prompt for line in read_ledger(folder / "ledger")]
    return sum(produced.count(texts[prompt]) > 1 for prompt, _ in before)


def _asked_again_by_log(folder: Path) -> int:
    """Requests that the real server answered beyond one a row and those cut off by the strike."""
    posts = (folder / "server.log").read_text().count("POST /v1/chat/completions")
    return max(posts - _REAL_PROMPTS - _REAL_CALLS, 0)


def _real_recipe(folder: Path) -> Path:
    program = Path(sys.executable).with_name("transformers")
    serve = (
        f"echo $$ >> pids; exec {program} serve {{model}} --host 127.0.0.1 --port {{port}}"
        " --device cpu >> server.log 2>&1"
    )
    return write_recipe(
        folder,
        kind="engine",
        prompts=f'kind = "embedded"\nsplit = "train"\ncount = {_REAL_PROMPTS}\nlevels = [1]',
        teacher=[
            f'model = "{EMBEDDED}"',
            f"command = {json.dumps(['sh', '-c', serve])}",
            f'client = {{ endpoint = "transformers", concurrency = {_REAL_CALLS} }}',
        ],
        generate=["samples = 1", "max_tokens = 64"],
    )


def _recipe(folder: Path, *, is_silent: bool) -> Path:
    write_sums(folder / "prompts.jsonl", _PROMPTS)
    settings = Settings(
        latency_seconds=0.3, reasoning_chars=300, ledger=str(folder / "ledger"), writes=1
    )
    lines = ["echo $$ >> pids", "here=$PWD", f"cd {_ROOT}", f"settings='{_json(settings)}'"]
    if is_silent:  # in its first life more and more places are held by requests that get no answer
        hangs = Settings(**{**asdict(settings), "faults": {"hang": 0.6}})
        lines.append(f"[ $(wc -l < $here/pids) = 1 ] && settings='{_json(hangs)}'")
    lines.append(f'exec {sys.executable} -m tests.servers.stub --port $1 --settings "$settings"')
    (folder / "serve.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = json.dumps(["sh", "serve.sh", "{port}"])
    return write_recipe(
        folder,
        kind="engine",
        teacher=['model = "stub"', f"command = {command}", "client = { concurrency = 16 }"],
    )


def _json(settings: Settings) -> str:
    return json.dumps(asdict(settings))


def _wait_for_rows(folder: Path, rows: int, process: "subprocess.Popen[bytes]") -> None:
    journal = folder / "run" / "traces.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") - 1 < rows:
        if process.poll() is not None:
            raise SystemExit("it ended before it was struck")
        time.sleep(0.02)


if __name__ == "__main__":
    main()

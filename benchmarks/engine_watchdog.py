"""How long the engine's watchdog takes, with its default limits, until traces come again.

    python benchmarks/engine_watchdog.py [killed stopped silent]

A stub of a server is started by a recipe, writes 40 traces (10 where it gets silent), and is then
killed (SIGKILL), stopped (SIGSTOP), or silent: it answers health and takes requests, and sends
nothing. Measured is the time from there to the first trace of the next life. Bar: 60 s. Expected
with `stall_seconds` at its default of 40: 3 s after a kill, 45 s after the others, each with what
the server takes to start (0.5 s here; a large model takes minutes). Also counted: stored rows that
were asked for again, which must be none.
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
from tests.servers.ledger import read_ledger
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.settings import Settings

_PROMPTS, _BEFORE, _BEFORE_SILENCE = 100, 40, 10
_ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure what is named, or all; print and write the figures."""
    figures = {case: _measure(case) for case in sys.argv[1:] or ("killed", "stopped", "silent")}
    results_file.write("engine_watchdog", figures)


def _measure(case: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = _recipe(folder, is_silent=case == "silent")
        process = subprocess.Popen(
            [sys.executable, "-m", "distill", "generate", str(recipe), "--run-dir", "run"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for_rows(folder, _BEFORE_SILENCE if case == "silent" else _BEFORE, process)
        began = time.monotonic()
        if case != "silent":
            number = signal.SIGKILL if case == "killed" else signal.SIGSTOP
            os.kill(int((folder / "pids").read_text().split()[0]), number)
        before = stored_traces(folder / "run").keys
        # What was on its way then still arrives: those that come from the next life count.
        while not (folder / "pids").read_text().split()[1:]:
            time.sleep(0.02)
        _wait_for_rows(folder, len(stored_traces(folder / "run").keys) + 1, process)
        seconds = time.monotonic() - began
        code = process.wait()
        lines = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
        texts = {line["id"]: line["text"] for line in lines}
        produced = [line.prompt for line in read_ledger(folder / "ledger")]
        again = sum(produced.count(texts[prompt]) > 1 for prompt, _ in before)
        stored = stored_traces(folder / "run").keys
    print(
        f"{case:8} back at work after {seconds:.1f} s; exit code {code}; {len(set(stored))} of"
        f" {_PROMPTS} stored, {again} of {len(before)} stored rows asked for again",
        flush=True,
    )
    return {"seconds": seconds, "stored": len(set(stored)), "asked_again": again}


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
    recipe = write_recipe(
        folder,
        teacher=['model = "stub"', f"command = {command}", "client = { concurrency = 16 }"],
    )
    text = recipe.read_text(encoding="utf-8").replace('kind = "api"', 'kind = "engine"')
    recipe.write_text(text, encoding="utf-8")
    return recipe


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

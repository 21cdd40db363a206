"""The watchdog of ``teacher.kind = "engine"`` with a real vLLM: killed and stopped in mid-run.

    DISTILL_VLLM=path/to/vllm python benchmarks/engine_vllm.py [killed] [stopped]

`benchmarks/engine_watchdog.py` measures the watchdog itself with a server that starts at once; here
the server is vLLM (a CPU build where there is no GPU), on the embedded student, with the command
line that `distill` makes. It is struck (SIGKILL or SIGSTOP, its whole group) once 40 of 400 traces
are stored. Expected: seen within 3 s after a kill and 45 s after a stop (`stall_seconds` 40), and
then what vLLM takes to start, 30 to 60 s on two cores; no trace lost, none stored twice.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import results_file
from engine.vllm_program import require_vllm
from students.load import EMBEDDED
from tests.servers.recipes import stored_traces, write_recipe

_PROMPTS, _BEFORE = 400, 40
_ROOT = Path(__file__).parents[1]
_NAME = "engine_vllm"


def main() -> None:
    """Measure what is named, or all; figures of the cases that are not named are kept."""
    stored = results_file.RESULTS / f"{_NAME}.json"
    figures = json.loads(stored.read_text())["figures"] if stored.is_file() else {}
    figures["vllm"] = _version()
    for case in sys.argv[1:] or ("killed", "stopped"):
        figures[case] = _measure(case)
        results_file.write(_NAME, figures)


def _version() -> str:
    python = require_vllm().absolute().with_name("python")
    code = "import vllm._version as v; print(v.__version__)"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return shown.stdout.split()[-1]


def _measure(case: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = _recipe(folder)
        log = folder / "err"
        with log.open("wb") as err:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "distill", "generate", str(recipe), "--run-dir", "run"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(_ROOT), "VLLM_CPU_KVCACHE_SPACE": "1"},
                stdout=subprocess.DEVNULL,
                stderr=err,
            )
        _wait_for_rows(folder, _BEFORE, process, log)
        start = time.monotonic() - began
        before = set(stored_traces(folder / "run").keys)
        struck = time.monotonic()
        _strike(process.pid, signal.SIGKILL if case == "killed" else signal.SIGSTOP)
        while b"is started again" not in log.read_bytes():
            _check(process, log)
            time.sleep(0.05)
        seen = time.monotonic() - struck
        _wait_for_rows(folder, len(stored_traces(folder / "run").keys) + 1, process, log)
        back = time.monotonic() - struck
        code = process.wait()
        keys = stored_traces(folder / "run").keys
        left = [line for line in _processes() if str(EMBEDDED) in line[2]]
    figures = {
        "first_traces_seconds": round(start, 1),
        "seen_seconds": round(seen, 1),
        "back_at_work_seconds": round(back, 1),
        "exit_code": code,
        "stored": len(set(keys)),
        "stored_twice": len(keys) - len(set(keys)),
        "lost": len(before - set(keys)),
        "processes_left": len(left),
    }
    print(case, json.dumps(figures), flush=True)
    return figures


def _recipe(folder: Path) -> Path:
    teacher = [
        f'model = "{EMBEDDED}"',
        'gpus = "1x80GB"  # what its layout is planned for; a CPU build asks for none',
        "context_tokens = 1024",
        'arguments = ["--dtype", "float32", "--enforce-eager"]',
        "client = { concurrency = 8, expects_reasoning = false }",
    ]
    prompts = f'kind = "embedded"\nsplit = "train"\ncount = {_PROMPTS}'
    generate = ["samples = 1", "max_tokens = 256"]
    recipe = write_recipe(folder, prompts=prompts, teacher=teacher, generate=generate)
    text = recipe.read_text(encoding="utf-8").replace('kind = "api"', 'kind = "engine"')
    recipe.write_text(text, encoding="utf-8")
    return recipe


def _strike(root: int, number: signal.Signals) -> None:
    """Signal vLLM and all that it started: everything below the keeper, which we leave alone."""
    below = {root}
    lines = _processes()
    for _ in range(5):
        below |= {pid for pid, parent, _command in lines if parent in below}
    for pid, _parent, command in lines:
        if pid in below - {root} and "server_keeper" not in command and "VLLM" in command.upper():
            os.kill(pid, number)


def _processes() -> list[tuple[int, int, str]]:
    """Number, parent's number and command of each process."""
    shown = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    return [(int(pid), int(parent), command) for pid, parent, command in rows]


def _wait_for_rows(folder: Path, rows: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    journal = folder / "run" / "traces.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") - 1 < rows:
        _check(process, log)
        time.sleep(0.02)


def _check(process: "subprocess.Popen[bytes]", log: Path) -> None:
    if process.poll() is not None:
        raise SystemExit(f"it ended too early:\n{log.read_text(errors='replace')[-2000:]}")


if __name__ == "__main__":
    main()

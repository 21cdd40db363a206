"""Does a bundle with real wheels answer on a machine that has nothing and no network?

python benchmarks/bundle_wheels.py runs/quickstart
    `distill bundle --wheels` fetches every package that the lock names, torch included; the bundle
    is unpacked elsewhere; then, in a network namespace without a route, its start script makes an
    empty environment, installs the wheels with --no-index, serves, and is asked a question.
    Expected: it answers; torch is most of the size; installing takes the longest.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import results_file

ALONE = Path(__file__).parents[1] / "tests" / "cli" / "alone.py"
_ALONE = ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(ALONE)]


def measure(student: Path, folder: Path) -> dict[str, Any]:
    """Bundle, unpack, install, serve, ask."""
    bundle = folder / "student.tar"
    begun = time.perf_counter()
    command = [sys.executable, "-m", "distill", "bundle", str(student), "--to", str(bundle)]
    done = subprocess.run([*command, "--wheels", "--json"], check=True, capture_output=True)
    bundled = time.perf_counter()
    made = json.loads(done.stdout)
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / "student"
    bare = {"PATH": "/usr/bin:/bin", "PYTHON": sys._base_executable}  # type: ignore[attr-defined]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        asked = subprocess.run(
            [*_ALONE, str(unpacked)], env=bare, check=True, capture_output=True, text=True
        )
        seconds.append(round(time.perf_counter() - started, 1))
    answer = json.loads(asked.stdout)
    assert "Network is unreachable" in answer["outside"], answer["outside"]
    assert answer["reply"]["usage"]["completion_tokens"] > 0
    wheels = [one["size"] for one in made["files"] if "/wheels/" in one["name"]]
    inside = sum(one.stat().st_size for one in (unpacked / ".venv").rglob("*") if one.is_file())
    return {
        "bundle_mb": round(made["bytes"] / 1e6, 1),
        "wheels": len(wheels),
        "wheels_mb": round(sum(wheels) / 1e6, 1),
        "largest_wheel_mb": round(max(wheels) / 1e6, 1),
        "installed_mb": round(inside / 1e6, 1),
        "bundle_seconds": round(bundled - begun, 1),
        "first_start_to_answer_seconds": seconds[0],
        "second_start_to_answer_seconds": seconds[1],
        "way_out": answer["outside"],
        "reply_tokens": answer["reply"]["usage"]["completion_tokens"],
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student", type=Path, help="folder of a run or of its student")
    student = parser.parse_args().student.resolve()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", Path.cwd())) as name:
        figures = measure(student, Path(name))
    print(json.dumps(figures, indent=2))
    print(results_file.write("bundle_wheels", figures))


if __name__ == "__main__":
    main()

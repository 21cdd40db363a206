"""The quickstart with its controls: the figures of the README's example.

    python benchmarks/documented_run.py

Does the run if it is not done yet (a quarter of an hour on two cores), prints its tables and writes
the results.
"""

import json
import subprocess
import sys
from pathlib import Path

import results_file

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.toml"


def without_lists(value: object) -> object:
    """The figures without those of each step and each problem, which the run folder holds."""
    if isinstance(value, dict):
        long = {"losses", "scores"}
        return {key: without_lists(each) for key, each in value.items() if key not in long}
    return [without_lists(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Run, print, write the results."""
    command = [sys.executable, "-m", "distill", "run", str(RECIPE), "--controls"]
    subprocess.run(command, check=True)
    done = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE)
    print(results_file.write("documented_run", {"run": without_lists(json.loads(done.stdout))}))


if __name__ == "__main__":
    main()

"""Only the user's own word lets code run where the sandbox does not hold."""

import json
from pathlib import Path

from tests.conftest import RunDistill


def test_unsafe_is_said_on_the_command_line(run_distill: RunDistill, tmp_path: Path) -> None:
    tests = {"kind": "stdio", "cases": [{"stdin": "1", "stdout": "1"}]}
    row = {
        "prompt": "echo",
        "answer": json.dumps(tests),
        "reasoning": "read, then print",
        "text": "```python\nprint(input())\n```",
    }
    (tmp_path / "traces.jsonl").write_text(json.dumps(row) + "\n")
    code = ["filter", "--traces", "traces.jsonl", "--set", "verify.kind=code"]
    shown = run_distill(*code, "--unsafe", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["kept"] == 1
    wrong = run_distill("filter", "--traces", "traces.jsonl", "--unsafe", "--to", "other")
    assert wrong.returncode == 2  # the answer verifier runs nothing
    assert "unsafe" in wrong.stderr

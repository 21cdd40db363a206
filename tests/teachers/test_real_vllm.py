"""The command lines that we print, held against the vLLM that is installed."""

import re
import subprocess

import pytest

from engine.vllm_program import PROGRAM_VARIABLE, find_vllm, serve_command
from teachers.engine_command import Serving, commands
from teachers.shard_plan import Layout

LAYOUTS = [
    Layout(tensor=1, pipeline=1, data=1, expert=1),
    Layout(tensor=8, pipeline=2, data=1, expert=1),
    Layout(tensor=1, pipeline=1, data=16, expert=16),
    Layout(tensor=16, pipeline=1, data=1, expert=16),
]


def test_vllm_knows_every_option_that_is_printed() -> None:
    program = find_vllm()
    if program is None:
        pytest.skip(f"vLLM is not installed, and {PROGRAM_VARIABLE} names none")
    shown = subprocess.run(
        [*serve_command(program, "model"), "--help=all"], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"--[a-z][a-z-]+", shown.stdout))
    assert "--max-model-len" in known
    for layout in LAYOUTS:
        serving = Serving("model", "deepseek_v3", layout, context_tokens=8192, port=8000)
        printed = {word for line in commands("vllm", serving) for word in line if word[:2] == "--"}
        assert printed <= known, printed - known

"""``--with lm-eval``: what the harness is told, and its figures, kept apart from ours.

The harness is not installed beside us, so a program stands for it that asks the model once, at the
address that it was told, and writes results in the harness's form.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from distill.errors import DataError, StageError
from distill.layout import RunLayout
from distill.theirs import read_lm_eval, read_theirs
from tests.cli.conftest import invoke_in
from tests.servers.running import running_stub
from tests.servers.settings import Settings

PROGRAM = """#!{python}
import json, os, pathlib, sys, urllib.request
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "--apply_chat_template" in sys.argv:
    place = sys.argv.index("--apply_chat_template")
    rest = sys.argv[1:place] + sys.argv[place + 1:]
    options = dict(zip(rest[::2], rest[1::2]))
model = dict(pair.split("=", 1) for pair in options["--model_args"].split(","))
body = {{"model": model["model"], "messages": [{{"role": "user", "content": "what is 2 + 3?"}}]}}
request = urllib.request.Request(
    model["base_url"],
    json.dumps(body).encode(),
    {{
        "Content-Type": "application/json",
        "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
    }},
)
answer = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
print("a word on stdout")
out = pathlib.Path(options["--output_path"]) / "model"
out.mkdir(parents=True)
(out / "results_2026-01-01.json").write_text(json.dumps({{
    "results": {{options["--tasks"]: {{
        "alias": "x", "exact_match,strict": 0.25, "exact_match_stderr,strict": 0.05,
        "bleu,none": 3, "bleu_stderr,none": "N/A"}}}},
    "n-samples": {{options["--tasks"]: {{"original": 9, "effective": int(options["--limit"])}}}},
    "lm_eval_version": "0.4.9", "asked": answer, "options": options,
}}))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lm_eval"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("DISTILL_LM_EVAL", str(path))
    return path


def test_a_served_model_is_measured_and_the_figures_are_marked(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", "sk-secret")
    with running_stub(Settings(key="sk-secret", reasoning_chars=100)) as server:
        shown = invoke_in(
            tmp_path,
            *("eval", "stub", "--base-url", server.base_url, "--set", "key_variable=STUB_KEY"),
            *("--with", "lm-eval", "--benchmark", "gsm8k", "--first", "4", "--run-dir", "run"),
        )
        paid = server.ledger()["counts"]["paid"]
    assert shown.code == 0, shown.err
    assert paid == 1
    assert shown.out.startswith("Measured by lm-eval 0.4.9, not by distill: stub\n")
    assert "gsm8k exact_match (strict)  0.25 +- 0.05, 4 problems" in shown.out
    assert "gsm8k bleu                  3, 4 problems" in shown.out
    assert "a word on stdout" not in shown.out
    assert "sk-secret" not in shown.out + shown.err
    (theirs,) = read_theirs(RunLayout(tmp_path / "run"))
    assert [(one.metric, one.value, one.stderr) for one in theirs.figures] == [
        ("exact_match", 0.25, 0.05),
        ("bleu", 3.0, None),
    ]
    assert "sk-secret" not in (tmp_path / "run/eval/theirs/lm-eval-stub.json").read_text()


def test_their_figures_stand_beside_ours_in_the_status_of_a_run(
    finished_run: Path, program: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run / "runs" / "tiny", tmp_path / "tiny")
    with running_stub(Settings(reasoning_chars=100)) as server:
        shown = invoke_in(
            tmp_path,
            *("eval", "stub", "--base-url", server.base_url, "--with", "lm-eval"),
            *("--benchmark", "gsm8k", "--first", "4", "--run-dir", "tiny"),
        )
    assert shown.code == 0, shown.err
    assert "Measured by lm-eval 0.4.9, not by distill" in invoke_in(tmp_path, "status", "tiny").out


def test_a_students_folder_is_served_for_the_harness(
    tiny_job: Path, program: Path, tmp_path: Path
) -> None:
    shown = invoke_in(
        tmp_path,
        *("eval", tiny_job / "base", "--with", "lm-eval", "--benchmark", "gsm8k"),
        *("--first", "4", "--max-tokens", "8", "--run-dir", "run"),
    )
    assert shown.code == 0, shown.err
    assert "Measured by lm-eval 0.4.9, not by distill" in shown.out
    assert len(read_theirs(RunLayout(tmp_path / "run"))) == 1


def test_a_harness_that_is_missing_or_a_model_without_an_address_is_told(
    tiny_job: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["eval", tiny_job / "base", "--with", "lm-eval", "--benchmark", "gsm8k"]
    teacher = ["eval", tiny_job / "tiny.toml", "--who", "teacher", *command[2:]]
    shown = invoke_in(tmp_path, *teacher)
    assert shown.code == 2
    assert "asks a model through its address, and this teacher has none" in shown.err
    shown = invoke_in(tmp_path, *command, "--samples", "4")
    assert "--samples is ours" in shown.err
    monkeypatch.setenv("DISTILL_LM_EVAL", str(tmp_path / "nowhere"))
    shown = invoke_in(tmp_path, *command)
    assert shown.code == 8
    assert "pip install 'lm-eval[api]'" in shown.err


def test_a_harness_that_fails_leaves_nothing(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text("#!/bin/sh\nexit 3\n")
    shown = invoke_in(
        tmp_path,
        *("eval", "stub", "--base-url", "http://127.0.0.1:9/v1", "--with", "lm-eval"),
        *("--benchmark", "gsm8k", "--run-dir", "run"),
    )
    assert shown.code == 7
    assert "lm-eval ended with exit code 3" in shown.err
    assert not (tmp_path / "run").exists()


def test_what_is_no_result_of_the_harness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="wrote no results"):
        read_lm_eval(tmp_path, "m")
    (tmp_path / "results_x.json").write_text(json.dumps({"results": [1]}))
    with pytest.raises(DataError, match="no results of lm-eval"):
        read_lm_eval(tmp_path, "m")

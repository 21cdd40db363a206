"""A whole job in miniature: recorded traces as the teacher, a random model as the base."""

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cli.main import main
from distill.journal import Journal
from distill.problems import problems
from distill.traces import journal_header, trace_line
from distill.types import Completion, JudgedTrace, Prompt, Sampling, Trace, Usage, Verdict
from distill.verify.answer import AnswerVerifier
from engine.folder import quiet_transformers
from engine.making.tokenizer import build_tokenizer

TRAIN_PROMPTS, EVAL_PROMPTS, SAMPLES = 12, 4, 2

RECIPE = """
name = "tiny"

[teacher]
kind = "replay"
path = "recorded.jsonl"

[prompts]
kind = "embedded"
split = "train"
count = 12

[generate]
samples = 2

[student]
kind = "local"
path = "base"

[train]
epochs = 2
learning_rate = 1e-3
batch_tokens = 512
seq_len = 256

[eval]
samples = 2
max_tokens = 12

[eval.prompts]
kind = "embedded"
split = "eval"
count = 4
"""


class _Recorder:
    model = "recorder"
    fingerprint = "recorder"


def record_traces(path: Path) -> None:
    """Traces of the train and eval prompts; of four in a row, one is wrong and one is cut."""
    verifier = AnswerVerifier()
    with Journal.open(path) as journal:
        journal.append(journal_header([], _Recorder(), verifier, Sampling()))  # type: ignore[arg-type]
        for split, count in (("train", TRAIN_PROMPTS), ("eval", EVAL_PROMPTS)):
            for index, problem in zip(range(count), problems(split, 0), strict=False):
                prompt = Prompt(f"{split}-0/{index}", problem.text, str(problem.answer))
                for sample in range(SAMPLES):
                    place = (index * SAMPLES + sample) % 4
                    answer = problem.answer + (place == 1)
                    completion = Completion(
                        text="" if place == 3 else f"The answer is \\boxed{{{answer}}}.",
                        reasoning="\n".join(problem.work),
                        finish="length" if place == 3 else "stop",
                        usage=Usage(20, 30, 20),
                    )
                    trace = Trace(prompt.id, sample, _Recorder.model, completion)
                    verdict = Verdict(None, "recorded", "none")
                    journal.append(trace_line(JudgedTrace(trace, verdict)))


def make_base(folder: Path) -> None:
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command ended with."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Shown]


def invoke_in(folder: Path, *arguments: str | Path) -> Shown:
    """Run a command in this process: torch loads once for all tests."""
    out, err = io.StringIO(), io.StringIO()
    before, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.object(sys, "argv", ["distill", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            os.chdir(folder)
            code = main()
        finally:
            os.chdir(before)
            signal.signal(signal.SIGTERM, handler)
    return Shown(code, out.getvalue(), err.getvalue())


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    """The same in an empty folder."""
    return partial(invoke_in, tmp_path)


@pytest.fixture(scope="session")
def finished_run(tiny_job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``tiny.toml`` was run; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished")
    shown = invoke_in(folder, "run", tiny_job / "tiny.toml")
    assert shown.code == 0, shown.err
    (folder / "shown.txt").write_text(shown.out)
    return folder


@pytest.fixture(scope="session")
def tiny_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.toml`` and what it names; tests read it only."""
    folder = tmp_path_factory.mktemp("tiny")
    record_traces(folder / "recorded.jsonl")
    make_base(folder / "base")
    (folder / "tiny.toml").write_text(RECIPE)
    return folder

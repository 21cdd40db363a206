"""``distill eval MODEL --with lm-eval``: another harness on a model that is served.

It stays in an environment of its own, since its requirements and ours do not go together, and asks
the model through its address as anybody else does.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cli.backends import BackendName, opened_student
from cli.console import note, paint_note, say, say_json, shown_path
from cli.eval_alone import Wanted
from cli.eval_models import GGUF_SLOTS, PROMPT_TOKENS, ModelChoice, find_model
from cli.eval_text import their_text
from distill.errors import MissingDependencyError, RecipeError, StageError
from distill.layout import RunLayout
from distill.recipe import ApiTeacher, SamplingSection
from distill.records import to_record
from distill.theirs import read_lm_eval, write_theirs
from teachers.connect import Address, address

PROGRAM_VARIABLE: Final = "DISTILL_LM_EVAL"
_HOW_TO_INSTALL: Final = (
    "python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[api]'\n"
    f"export {PROGRAM_VARIABLE}=$PWD/lm-eval/bin/lm_eval"
)


def evaluate_with_lm_eval(wanted: Wanted, *, dry_run: bool, as_json: bool) -> None:
    """Run lm-evaluation-harness on a served model and keep its figures, marked as its own.

    Raises:
        DistillError: If it is not installed, fails, or the model is not served.
    """
    program = _program()
    choice = find_model(wanted.reference, **wanted.model)
    section = SamplingSection(**wanted.sampling)
    folder = wanted.run_dir or Path("runs") / f"eval-{choice.label}-lm-eval"
    with _served(choice, wanted.backend, section.max_tokens) as place, _room() as output:
        command = _command(program, place, section, wanted, output)
        if dry_run:
            say(" ".join(command))
            return
        note(paint_note(f"lm-eval measures {choice.label}; its output follows", "dim"))
        environment = {**os.environ, "OPENAI_API_KEY": place.key or "none"}
        # Its progress goes to stderr, where ours does.
        code = subprocess.run(command, env=environment, stdout=2, check=False).returncode
        if code != 0:
            raise StageError(
                f"lm-eval ended with exit code {code}; what it said stands above",
                hint="Its tasks must be of the kind that generates text (generate_until).",
            )
        result = read_lm_eval(output, wanted.reference)
    path = write_theirs(RunLayout(folder), f"lm-eval-{choice.who}", result)
    if as_json:
        say_json({"run": str(folder), **to_record(result)})
        return
    say(their_text(result))
    say(f"\nIn {shown_path(path.resolve())}")


def _program() -> str:
    named = os.environ.get(PROGRAM_VARIABLE)
    found = shutil.which(named or "lm_eval")
    if found is None:
        what = f"{named} is no program" if named else "the program lm_eval is not on the path"
        raise MissingDependencyError(
            f"--with lm-eval: {what}",
            hint=f"It needs an environment of its own:\n{_HOW_TO_INSTALL}",
        )
    return found


@contextmanager
def _served(choice: ModelChoice, asked: BackendName | None, max_tokens: int) -> Iterator[Address]:
    """Where the model answers, for as long as the block lasts; a student is served by us."""
    if choice.path is not None:
        from students.serve.app import Limits, StudentServer
        from students.serve.run import in_background

        with opened_student(
            choice,
            asked,
            rows=GGUF_SLOTS,
            context_tokens=max_tokens + PROMPT_TOKENS,
            max_tokens=max_tokens,
        ) as backend:
            server = StudentServer(backend, choice.who, Limits(max_tokens=max_tokens))
            with in_background(server) as base_url:
                yield Address(base_url, choice.who)
        return
    if not isinstance(choice.teacher, ApiTeacher):
        raise RecipeError(
            "--with lm-eval asks a model through its address, and this teacher has none",
            hint="name a student, a GGUF file, or a model behind an endpoint",
        )
    yield address(choice.teacher)


@contextmanager
def _room() -> Iterator[Path]:
    with TemporaryDirectory(prefix="distill-lm-eval-") as folder:
        yield Path(folder)


def _command(
    program: str, place: Address, section: SamplingSection, wanted: Wanted, output: Path
) -> list[str]:
    url = f"{place.base_url}/chat/completions"
    arguments = f"model={place.model},base_url={url},num_concurrent=8,max_retries=3"
    drawn = f"temperature={section.temperature},top_p={section.top_p}"
    command = [
        program,
        *("--model", "local-chat-completions", "--model_args", arguments),
        *("--tasks", wanted.benchmark, "--apply_chat_template"),
        *("--gen_kwargs", f"{drawn},do_sample=True,max_gen_toks={section.max_tokens}"),
        *("--seed", str(wanted.seed), "--output_path", str(output)),
    ]
    command += ["--include_path", str(wanted.data)] if wanted.data is not None else []
    command += ["--limit", str(wanted.first)] if wanted.first is not None else []
    return command

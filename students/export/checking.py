"""Which checks an export gets: all that this machine has the memory and the libraries for."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from distill.errors import StageError
from distill.types import Progress
from students.export import llama_cpp
from students.export.check_weights import check_weights
from students.export.plan import ExportPlan, gigabytes
from students.export.record import Checks, DriftCheck, TokenCheck

if TYPE_CHECKING:
    from students.export.accuracy import HeldOut

CheckLevel = Literal["all", "weights"]
CHECK_LEVELS: Final[tuple[CheckLevel, ...]] = get_args(CheckLevel)
# The model in float32, what it computes, and log-probabilities of the student.
_MODEL_BYTES, _BESIDE_BYTES = 4.5, 800_000_000


@dataclass(slots=True)
class Found:
    """What the checks found, and what people should know about it."""

    checks: Checks = field(default_factory=Checks)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Steps:
    """Tells which check is under way."""

    report: Callable[[Progress], None]
    total: int
    done: int = -1

    def __call__(self, name: str) -> None:
        self.done += 1
        self.report(Progress("check", self.done, self.total, figures={"now": name}))


def run_checks(
    plan: ExportPlan,
    written: Path,
    level: CheckLevel,
    held_out: "HeldOut | None",
    *,
    has_exact_tokens: bool,
    report: Callable[[Progress], None],
) -> Found:
    """Check what was written.

    Args:
        plan: What was asked for.
        written: The GGUF file, or the folder.
        level: ``"weights"`` reads the files back and runs no model.
        held_out: What accuracy is measured on; ``None`` to leave that out.
        has_exact_tokens: Whether llama.cpp must make the same tokens of every text.
        report: Called with the name of each check before it begins.

    Raises:
        StageError: If the export is not what it should be.
        ModelError: If a model or llama.cpp cannot load it.
    """
    found = Found()
    say = _Steps(report, 3 if plan.format == "gguf" else 2)
    weights = None
    if plan.format in ("safetensors", "gguf"):
        say("weights")
        weights = check_weights(plan.student, written)
    found.checks = Checks(weights=weights)
    if level == "weights":
        found.notes.append("Only the weights were checked: no model was run (--check weights).")
    elif shortage := _shortage(plan):
        found.notes.append(f"Only the weights were checked: {shortage}.")
    else:
        _run_models(plan, written, found, held_out, has_exact_tokens=has_exact_tokens, say=say)
    report(Progress("check", say.total, say.total))
    return found


def _run_models(
    plan: ExportPlan,
    written: Path,
    found: Found,
    held_out: "HeldOut | None",
    *,
    has_exact_tokens: bool,
    say: _Steps,
) -> None:
    from students.export.check_model import check_drift, check_merge, check_tokens
    from students.export.check_runtime import check_runtime
    from students.export.probes import take_reference

    student, is_gguf = plan.student, plan.format == "gguf"
    say("answers")
    reference = take_reference(student)
    merge = check_merge(student, reference) if student.adapter is not None else None
    drift = check_drift(student, written, reference)
    _refuse_other_choices(plan, drift)
    tokens = runtime = accuracy = None
    if not is_gguf:
        tokens = check_tokens(student, written)
    elif llama_cpp.is_installed():
        say("llama.cpp")
        tokens, runtime = check_runtime(student, written, reference)
        _refuse_other_choices(plan, runtime)
        found.notes += _notes_on(tokens, has_exact_tokens=has_exact_tokens)
    else:
        found.notes.append(f"llama.cpp is not installed, so it was not asked: {llama_cpp.INSTALL}")
    if held_out is not None and not (is_gguf and not llama_cpp.is_installed()):
        from students.export.accuracy import check_accuracy

        accuracy = check_accuracy(student, written, held_out)
    found.checks = Checks(found.checks.weights, merge, tokens, drift, runtime, accuracy)


def _refuse_other_choices(plan: ExportPlan, drift: DriftCheck) -> None:
    """In float32 an export must choose every token as the student does."""
    is_same = drift.greedy_equal == drift.greedy_tokens
    if plan.quant == "f32" and plan.format in ("gguf", "safetensors") and not is_same:
        raise StageError(
            f"in float32 {drift.by} chose {drift.greedy_tokens - drift.greedy_equal} of"
            f" {drift.greedy_tokens} tokens otherwise than the student",
            hint="nothing was exported; please report this with the student's config.json",
        )


def _notes_on(tokens: TokenCheck, *, has_exact_tokens: bool) -> list[str]:
    notes = []
    if tokens.equal < tokens.texts:
        problem = (
            f"llama.cpp splits {tokens.texts - tokens.equal} of {tokens.texts} texts otherwise than"
            f" the student's tokenizer, such as {tokens.first_difference!r}"
        )
        if has_exact_tokens:
            raise StageError(problem, hint="nothing was exported; please report this")
        notes.append(f"{problem}: it has no rule for this vocabulary of words.")
    if tokens.prompt_is_equal is False:
        notes.append("llama.cpp renders another prompt from the chat template than we do.")
    return notes


def _shortage(plan: ExportPlan) -> str:
    """Why no model can be run here; empty if it can."""
    needed = round(plan.numbers * _MODEL_BYTES) + _BESIDE_BYTES
    if plan.format == "gguf":
        needed = max(needed, plan.weight_bytes + _BESIDE_BYTES)
    free = free_memory_bytes()
    if free is None or needed <= free:
        return ""
    return f"to run the model takes {gigabytes(needed)} of memory, {gigabytes(free)} are free"


def free_memory_bytes() -> int | None:
    """Memory that a new program could have; ``None`` where that is not known."""
    path = Path("/proc/meminfo")
    if path.is_file():
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None

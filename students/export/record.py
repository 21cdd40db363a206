"""``export.json``: what was written, from what, and what the checks found."""

from dataclasses import dataclass
from typing import Final

from distill.intervals import Estimate

RECORD: Final = "export.json"


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """The files read back and compared with the student, rows from every tensor.

    Attributes:
        tensors: Compared.
        numbers: Compared.
        largest_error: Root mean square of a tensor's errors by that of its numbers, at most.
        worst_tensor: Where that was.
    """

    tensors: int
    numbers: int
    largest_error: float
    worst_tensor: str


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """Texts that were split into tokens by the student's tokenizer and by the exported one.

    Attributes:
        by: Who read the exported one: ``"transformers"`` or ``"llama.cpp"``.
        texts: How many.
        equal: Of them, those with the same tokens.
        first_difference: The first text with others; empty if there is none.
        prompt_is_equal: Whether the chat template gave the same prompt; ``None`` if not asked.
    """

    by: str
    texts: int
    equal: int
    first_difference: str = ""
    prompt_is_equal: bool | None = None


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """What the exported model computes, against the student in float32, on the same tokens.

    Attributes:
        by: Who ran the exported one: ``"transformers"`` (a GGUF's numbers in the student's place)
            or ``"llama.cpp"``.
        greedy_tokens: Compared, in all prompts.
        greedy_equal: Of them, those that were chosen alike.
        largest_difference: Of log-probabilities on the student's greedy tokens; with llama.cpp of
            the likeliest twenty.
        kl_nats: Mean divergence per token of the traces; ``None`` if not measured.
        top_share: Share of those tokens with the same likeliest one; ``None`` if not measured.
        tokens: Of the traces.
        traces: Whose: ``"run"``, or ``"own"`` for the student's greedy answers.
    """

    by: str
    greedy_tokens: int
    greedy_equal: int
    largest_difference: float
    kl_nats: float | None = None
    top_share: float | None = None
    tokens: int = 0
    traces: str = ""


@dataclass(frozen=True, slots=True)
class MergeCheck:
    """The merged weights against the adapter attached to its base, both in float32.

    Attributes:
        largest_difference: Of log-probabilities, on the same tokens.
        tolerance: The most that is accepted.
        tokens: Compared.
    """

    largest_difference: float
    tolerance: float
    tokens: int


@dataclass(frozen=True, slots=True)
class AccuracyCheck:
    """Student and export on the run's held-out prompts, sampled alike.

    Attributes:
        prompts: How many.
        student: Accuracy of the student.
        exported: Accuracy of the export.
        difference: Export minus student, paired by prompt.
        by: Who ran the export.
    """

    prompts: int
    student: Estimate
    exported: Estimate
    difference: Estimate
    by: str


@dataclass(frozen=True, slots=True)
class Checks:
    """What was found; what was not checked is ``None``, with the reason in the notes."""

    weights: WeightCheck | None = None
    merge: MergeCheck | None = None
    tokens: TokenCheck | None = None
    drift: DriftCheck | None = None
    runtime: DriftCheck | None = None
    accuracy: AccuracyCheck | None = None


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of the export."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """The content of ``export.json``.

    Attributes:
        name: Of the student.
        format: Of the files.
        quant: Type of the numbers.
        model_type: Architecture.
        numbers: Weights.
        adapter: Name of the adapter's folder that was merged; empty if there was none.
        run: Name of the run's folder; empty if it is not known.
        compat: ``"transformers4"`` or empty.
        files: What was written, this record and the lineage left out.
        checks: What was found.
        notes: What was not checked or is not equal, and why, for people.
        seconds: Writing alone.
        created: UTC.
        versions: Of this program and the libraries.
    """

    name: str
    format: str
    quant: str
    model_type: str
    numbers: int
    adapter: str
    run: str
    compat: str
    files: tuple[ExportedFile, ...]
    checks: Checks
    notes: tuple[str, ...]
    seconds: float
    created: str
    versions: dict[str, str]


def check_rows(checks: Checks) -> dict[str, str]:
    """What the checks found, for people: in the terminal, the lineage and the model card."""
    rows = {}
    if (weights := checks.weights) is not None:
        largest = weights.largest_error
        error = f"error at most {largest:.2g}" if largest else "equal"
        rows["weights"] = f"{weights.tensors:,} tensors read back, {error}"
    if (merge := checks.merge) is not None:
        difference = f"{merge.largest_difference:.1g}"
        rows["merge"] = f"log-probabilities within {difference} of the attached adapter"
    if (tokens := checks.tokens) is not None:
        rows["tokens"] = f"{tokens.equal} of {tokens.texts} texts alike in {tokens.by}"
    if checks.drift is not None:
        rows["answers"] = _drift_text(checks.drift)
    if checks.runtime is not None:
        rows["llama.cpp"] = _drift_text(checks.runtime)
    if (accuracy := checks.accuracy) is not None:
        text = f"{_interval(accuracy.exported)} in {accuracy.by}, the student"
        rows["accuracy"] = f"{text} {_interval(accuracy.student)}, on {accuracy.prompts} prompts"
    return rows


def _drift_text(drift: DriftCheck) -> str:
    text = f"{drift.greedy_equal} of {drift.greedy_tokens} greedy tokens alike"
    text += f", log-probabilities within {drift.largest_difference:.2g}"
    if drift.kl_nats is not None:
        whose = "the run's traces" if drift.traces == "run" else "its own answers"
        text += f"; KL {drift.kl_nats:.2g} nats a token on {whose}"
    return text


def _interval(estimate: Estimate) -> str:
    value, low, high = (100 * one for one in (estimate.value, estimate.low, estimate.high))
    return f"{value:.0f} % ({low:.0f}-{high:.0f})"

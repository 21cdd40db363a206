"""Columns of trace files from elsewhere: which of them hold what we need.

Nothing is guessed: a column counts if it has our name or if the user mapped it. Names that other
data sets use are known, so that the message about a missing column suggests the mapping.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.errors import DataError

FIELDS: Final[Mapping[str, str]] = {
    "prompt_id": "which prompt; traces of one prompt share it",
    "prompt": "what was asked",
    "answer": "the gold answer",
    "kind": "group of the prompt, for breakdowns",
    "level": "difficulty of the prompt, a whole number",
    "messages": "a conversation; its last turn is the trace",
    "completion": "all that the model wrote, think tags included; or a list of several",
    "reasoning": "what stood between the think tags",
    "text": "the answer part after them",
    "finish": "stop or length",
    "model": "who wrote it",
    "source": "the data set it comes from",
    "tokens": "how many tokens were written",
    "sample_index": "which of the prompt's samples",
    "teacher_logprobs": "log-probability of each token by the teacher",
    "student_logprobs": "the same by the student",
}
"""What a column can be."""

_ALIASES: Final[Mapping[str, Sequence[str]]] = {
    "prompt_id": ("problem_id", "question_id", "id", "uuid", "uid", "qid", "index", "idx"),
    "prompt": ("problem", "question", "instruction", "query", "input", "task"),
    "answer": (
        *("gold", "gold_answer", "expected_answer", "final_answer", "ground_truth", "target"),
        *("reference_answer", "label", "solution"),
    ),
    "messages": ("conversations", "conversation", "chat", "dialogue", "dialog"),
    "completion": (
        *("generation", "generations", "response", "responses", "output", "outputs"),
        *("completions", "generated_solution", "r1_generation", "model_output", "trace"),
        *("deepseek_solution", "solution"),
    ),
    "reasoning": (
        *("reasoning_content", "thinking", "thought", "cot", "chain_of_thought"),
        *("deepseek_reasoning", "thinking_trajectory", "r1_reasoning"),
    ),
    "text": ("answer_text", "attempt", "deepseek_attempt", "final_response", "content"),
    "finish": ("finish_reason", "finish_reasons", "stop_reason"),
    "model": ("generator", "teacher", "model_name", "generation_model"),
    "source": ("dataset", "data_source", "subset", "domain", "origin"),
    "tokens": ("output_tokens", "completion_tokens", "num_tokens", "generation_tokens"),
    "sample_index": ("sample_id", "sample", "generation_index"),
    "kind": ("category", "subject", "type", "problem_type"),
    "level": ("difficulty",),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds which field.

    Attributes:
        of_field: Column by field.
        notes: What may have been meant by columns that are not used, for the user.
    """

    of_field: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def take(self, row: Mapping[str, object], name: str) -> object:
        """The value of a field in a row; ``None`` if there is none."""
        column = self.of_field.get(name)
        return None if column is None else row.get(column)

    def has(self, name: str) -> bool:
        """Whether the file has this field."""
        return name in self.of_field


def choose_columns(
    path: Path, columns: Sequence[str], mapping: Mapping[str, str], *, has_prompts: bool
) -> Columns:
    """Decide which column is what.

    Args:
        path: The file, for messages.
        columns: That it has.
        mapping: Column by field, as the user said.
        has_prompts: Whether the prompts come from a file of their own, by ``prompt_id``.

    Raises:
        DataError: If the mapping names what is not there, or what is needed is missing.

    Example:
        >>> choose_columns(Path("x.jsonl"), ["problem", "completion"], {}, has_prompts=False)
        Traceback (most recent call last):
        distill.errors.DataError: x.jsonl: no column holds the prompt; found: problem, completion
          Say which is which: --map prompt=problem
    """
    _check_mapping(path, columns, mapping)
    chosen = {name: name for name in FIELDS if name in columns} | dict(mapping)
    missing = _missing(chosen, has_prompts=has_prompts)
    if missing:
        suggested = _suggestions(columns, chosen, missing)
        raise DataError(
            f"{path}: no column holds the {' or the '.join(missing)}; found: {', '.join(columns)}",
            hint=f"Say which is which: {suggested}"
            if suggested
            else f"Say which is which: {' '.join(f'--map {name}=COLUMN' for name in missing)}",
        )
    useful = [name for name in ("answer", "reasoning", "finish", "source") if name not in chosen]
    if "completion" in chosen and "reasoning" in useful:
        useful.remove("reasoning")
    if "messages" in chosen:
        useful = [name for name in useful if name in ("answer", "source")]
    notes = [
        f"column '{close}' may hold the {name}; if so: --map {name}={close}"
        for name in useful
        if (close := close_column(columns, name, set(chosen.values())))
    ]
    return Columns(chosen, tuple(notes))


def with_optional(columns: Columns) -> Columns:
    """The same for JSON lines, where a field may first come after the rows that were looked at."""
    own = {name: name for name in _OPTIONAL}
    return Columns({**own, **columns.of_field}, columns.notes)


def read_mapping(given: Sequence[str]) -> dict[str, str]:
    """Column by field from ``field=column`` each.

    Raises:
        DataError: If one of them is malformed or names no field.

    Example:
        >>> read_mapping(["prompt=problem"])
        {'prompt': 'problem'}
    """
    mapping = {}
    for one in given:
        name, sign, column = one.partition("=")
        if not sign or not column or name not in FIELDS:
            known = ", ".join(FIELDS)
            raise DataError(f"--map {one}: write FIELD=COLUMN; fields: {known}")
        mapping[name] = column
    return mapping


_OPTIONAL: Final = (
    *("prompt_id", "answer", "kind", "level", "reasoning", "finish", "model", "source", "tokens"),
    "sample_index",
)


def _check_mapping(path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
    for name, column in mapping.items():
        if column not in columns:
            found = ", ".join(columns)
            raise DataError(
                f"{path}: --map {name}={column}: there is no such column; found: {found}"
            )


def _missing(chosen: Mapping[str, str], *, has_prompts: bool) -> list[str]:
    missing = []
    if "messages" not in chosen:
        if has_prompts and "prompt_id" not in chosen:
            missing.append("prompt_id")
        if not has_prompts and "prompt" not in chosen:
            missing.append("prompt")
        if "completion" not in chosen and "text" not in chosen:
            missing.append("completion")
    elif has_prompts and "prompt_id" not in chosen:
        missing.append("prompt_id")
    return missing


def _suggestions(columns: Sequence[str], chosen: Mapping[str, str], missing: Sequence[str]) -> str:
    """Flags that would do, for what is missing and for what else is likely there."""
    if (
        "messages" not in chosen
        and set(missing) == {"prompt", "completion"}
        and (talk := close_column(columns, "messages", set()))
    ):
        return f"--map messages={talk}"
    taken = set(chosen.values())
    flags = []
    for name in (*missing, "answer", "reasoning"):
        if name not in chosen and (close := close_column(columns, name, taken)):
            flags.append(f"--map {name}={close}")
            taken.add(close)
    return " ".join(flags) if any(f"--map {name}=" in " ".join(flags) for name in missing) else ""


def close_column(columns: Sequence[str], name: str, taken: set[str]) -> str | None:
    """A column that may hold a field, by the names that data sets use."""
    by_lower = {column.lower(): column for column in columns}
    for alias in _ALIASES.get(name, ()):
        column = by_lower.get(alias)
        if column is not None and column not in taken:
            return column
    return None

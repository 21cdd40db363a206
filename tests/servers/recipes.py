"""Writes recipes and prompt files for servers, and reads what ``distill generate`` stored."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.answers import sum_prompt


def write_sums(path: Path, count: int) -> None:
    """A prompt file with ``count`` sums that the stub can solve."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text, gold = sum_prompt(number)
            file.write(json.dumps({"id": f"sum-{number}", "text": text, "answer": gold}) + "\n")


def write_recipe(
    folder: Path,
    *,
    kind: str = "api",
    base_url: str = "",
    prompts: str = 'kind = "file"\npath = "prompts.jsonl"',
    teacher: Sequence[str] = (),
    generate: Sequence[str] = (),
) -> Path:
    """A recipe whose teacher is at ``base_url``; further lines go into its tables."""
    lines = [
        'name = "asked"',
        "[teacher]",
        f'kind = "{kind}"',
        *([f'base_url = "{base_url}"'] if base_url else []),
        *(teacher or ['model = "stub"']),
        "[prompts]",
        prompts,
        "[generate]",
        *(generate or ["samples = 1", "max_tokens = 4096"]),
        "[student]",
        'kind = "embedded"',
        "[eval.prompts]",
        'kind = "embedded"',
        'split = "eval"',
        "count = 1",
    ]
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class StoredTraces:
    """What lies in the journal of a run.

    Attributes:
        records: One for each stored sample, in order, without the header.
        lines: Whole lines in the file, the header included.
    """

    records: list[dict[str, Any]]
    lines: int
    keys: list[tuple[str, int]] = field(default_factory=list)


def stored_traces(run: Path) -> StoredTraces:
    """Read a run's journal of traces without the toolkit's own reader."""
    text = (run / "traces.jsonl").read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    records = [json.loads(line) for line in lines[1:]]
    keys = [(each["trace"]["prompt_id"], each["trace"]["sample_index"]) for each in records]
    return StoredTraces(records, len(lines), keys)

"""Small inputs for the tests of the filter, and what came of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distill.filter import FilterInput, filter_traces
from distill.filter_sections import BlendSection, FilterSection, SelectSection, VerifySection
from distill.filter_setup import FilterSetup
from distill.funnel import FilterReport
from distill.layout import RunLayout

Row = dict[str, Any]


def row(prompt: int, sample: int, answer: str = "1", **more: Any) -> Row:
    """A right trace of a prompt whose answer is 1, like no other."""
    return {
        "prompt_id": f"p{prompt}",
        "prompt": f"What is {prompt} - {prompt} + 1 ?",
        "answer": "1",
        "reasoning": f"{reasoning(prompt, sample)} So it is {answer}.",
        "text": rf"The answer is \boxed{{{answer}}}.",
        **more,
    }


def reasoning(prompt: int, sample: int) -> str:
    """Thirty words that share no five in a row with those of another trace."""
    return " ".join(f"w{prompt}x{sample}x{word}" for word in range(30))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def setup_of(**settings: Any) -> FilterSetup:
    """A setup from keys of any of its sections."""
    parts: dict[str, dict[str, Any]] = {}
    sections = {"verify": VerifySection, "rules": FilterSection, "select": SelectSection}
    for key, value in settings.items():
        for name, section in sections.items():
            if key in section.model_fields:
                parts.setdefault(name, {})[key] = value
    own = {key: settings[key] for key in ("seed", "tokenizer") if key in settings}
    made = {name: section(**parts.get(name, {})) for name, section in sections.items()}
    return FilterSetup(**made, **own)


def run_filter(
    folder: Path,
    rows: Sequence[Mapping[str, Any]] | Path,
    *,
    blend: BlendSection | None = None,
    workers: int | None = 1,
    prompts: Path | None = None,
    mapping: Mapping[str, str] | None = None,
    **settings: Any,
) -> FilterReport:
    path = rows if isinstance(rows, Path) else write_rows(folder / "given.jsonl", rows)
    return filter_traces(
        FilterInput(path, prompts, mapping),
        setup_of(**settings),
        RunLayout(folder / "out"),
        blend=blend or BlendSection(),
        workers=workers,
    )


def verdicts(folder: Path) -> list[Row]:
    """What was found about each trace."""
    rows: list[Row] = pq.read_table(RunLayout(folder / "out").verdicts).to_pylist()
    return rows


def trained(folder: Path) -> list[Row]:
    """What is trained on."""
    rows: list[Row] = pq.read_table(RunLayout(folder / "out").train).to_pylist()
    return rows


def fates(folder: Path) -> dict[str, str | None]:
    """The first rule that each trace fails."""
    return {one["id"]: one["first_failed"] for one in verdicts(folder)}


def check(folder: Path, trace_id: str, name: str) -> Row:
    """One check of one trace."""
    (found,) = [one for one in verdicts(folder) if one["id"] == trace_id]
    (its,) = [one for one in found["checks"] if one["name"] == name]
    return dict(its)

"""``distill trace-back``: from a student's weights back to the prompts and the teacher."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, say, say_json
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.lineage import Lineage, Step


def trace_back(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT", help="Folder of a student, or of a run.", show_default=False
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Walk from a student's weights back to what made them.

    Works on a published folder too: the record travels with the weights. Whether the files are
    still those of the record is what `distill verify` finds.

    Example: distill trace-back runs/quickstart/student
    """
    from distill.errors import DataError
    from distill.lineage import LINEAGE_FILE, broken_links, read_lineage
    from distill.records import to_record

    inner = student / "student"
    folder = inner if (inner / LINEAGE_FILE).is_file() else student
    lineage = read_lineage(folder)
    broken = broken_links(lineage)
    if as_json:
        say_json({"folder": str(folder), "broken": broken, **to_record(lineage)})
    else:
        _show(folder, lineage)
    if broken:
        stage, name = broken[0]
        raise DataError(
            f"the record contradicts itself: stage '{stage}' read another {name} than was made",
            hint="The folder was put together from several runs; trust none of its figures.",
        )


def _show(folder: Path, lineage: "Lineage") -> None:
    from distill.digest import short

    weights = [name for name in lineage.files if name.endswith((".safetensors", ".gguf"))]
    say(f"{paint(str(folder), 'bold')}  of run {lineage.name}, recorded by {lineage.made_by}")
    say(columns([(name, short(lineage.files[name])) for name in weights]))
    for step in reversed(lineage.steps):
        when = step.finished or step.begun
        say(f"\n{paint(step.stage, 'bold')}  {when}, distill {step.versions.get('distill', '?')}")
        say(columns(_rows(step)))


def _rows(step: "Step") -> list[tuple[str, str]]:
    from distill.digest import short

    rows = [("what", text)] if (text := _figures(step)) else _each_figure(step)
    shown = ("student", "teacher", "prompts")
    rows += [(key, _section(step.recipe[key])) for key in shown if key in step.recipe]
    for key, value in step.settings.items():
        rows.append((key, short(value) if isinstance(value, str) else _section(value)))
    rows += [("read", f"{name}  {short(value)}") for name, value in step.inputs.items()]
    rows += [("made", f"{name}  {short(value)}") for name, value in step.outputs.items()]
    return rows


def _figures(step: "Step") -> str:
    figures = step.figures
    if step.stage == "generate" and "samples" in figures:
        return f"{figures['samples']:,} traces of {figures['prompts']:,} prompts"
    if step.stage == "filter" and "kept" in figures:
        return f"{figures['kept']:,} of {figures['traces']:,} traces kept"
    if step.stage == "train" and "examples" in figures:
        return f"{figures['examples']:,} examples, {figures['epochs']} epochs, {figures['method']}"
    return ""


def _each_figure(step: "Step") -> list[tuple[str, str]]:
    """The figures of a step that is not of a run, such as an export with its checks."""
    return [
        (key, f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in step.figures.items()
        if isinstance(value, str | int | float)
    ]


def _section(section: Any) -> str:  # noqa: ANN401 - a JSON value
    """What a section of a recipe says, in one line."""
    if not isinstance(section, dict):
        return str(section)
    said = {key: value for key, value in section.items() if isinstance(value, str | int)}
    return ", ".join(f"{key} {value}" for key, value in said.items() if value not in ("", False))

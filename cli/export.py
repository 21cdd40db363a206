"""``distill export``: a student as files that other programs load, checked after writing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.console import columns, note, paint, say, say_json, shown_path
from cli.options import AsJson

if TYPE_CHECKING:
    from cli.progress import Report
    from students.export.accuracy import HeldOut
    from students.export.plan import ExportPlan
    from students.export.record import ExportRecord
    from students.export.where_from import Student


def export(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT",
            help="Folder of a run, of a model, or of an adapter.",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="A new folder for the files.", show_default=False),
    ],
    format_: Annotated[
        Literal["safetensors", "gguf", "nf4", "int8"],
        typer.Option("--format", help="nf4 and int8 are bitsandbytes', for transformers and vLLM."),
    ] = "safetensors",
    quant: Annotated[
        Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"] | None,
        typer.Option(
            "--quant",
            help="Type of the numbers.  [default: q8_0 for gguf, else bf16]",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", metavar="DIR", help="The adapter's base, if it is not where it was."
        ),
    ] = None,
    compat: Annotated[
        Literal["transformers4"] | None,
        typer.Option("--compat", help="Also for programs that use transformers 4."),
    ] = None,
    check: Annotated[
        Literal["all", "weights"],
        typer.Option("--check", help="weights reads the files back; all runs the model as well."),
    ] = "all",
    accuracy: Annotated[
        int,
        typer.Option(
            "--accuracy",
            metavar="N",
            min=0,
            help="Sample student and export on N held-out prompts of the run.",
        ),
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a student as safetensors, GGUF, or in 4 or 8 bits.

    Adapters are merged. A few rows are in memory at a time, whatever the model's size. The files
    are checked before the folder appears; export.json in it says what was found. A GGUF comes with
    a Modelfile for Ollama and a preset for LM Studio.

    Example: distill export runs/quickstart --to gguf --format gguf --quant q8_0
    """
    from cli.progress import show_progress
    from students.export.plan import plan_export
    from students.export.where_from import find_student

    found = find_student(student, base=base)
    plan = plan_export(found, to, format_, quant, for_transformers4=compat is not None)
    if dry_run:
        _show_plan(plan, as_json=as_json)
        return
    from students.export.writing import export as write

    if found.adapter is not None:
        from students.adapters import check_base

        check_base(found.adapter, found.folder)
    with show_progress() as report:
        held_out = _held_out(found, accuracy, report) if accuracy else None
        record = write(plan, report, level=check, held_out=held_out)
    if as_json:
        from distill.records import to_record

        say_json({"folder": str(to), **to_record(record)})
    else:
        _show(to, record)


def _held_out(student: "Student", count: int, report: "Report") -> "HeldOut":
    """The run's own benchmark: its prompts, its verifier, its sampling."""
    from cli.stages import load_benchmark_of
    from distill.errors import DataError
    from distill.recipe import missing
    from distill.stored_run import read_run
    from distill.verify import build_verifier
    from students.export.accuracy import HeldOut

    if student.run is None:
        raise DataError(
            "--accuracy needs held-out prompts, and this student's run is not known",
            hint="name the run's folder: distill export runs/NAME ...",
        )
    recipe = read_run(student.run.root).recipe
    section = recipe.eval or missing("eval")
    benchmark = load_benchmark_of(recipe)
    return HeldOut(
        prompts=benchmark.prompts[:count],
        verifier=build_verifier(benchmark.verifier, **benchmark.options),
        section=section,
        seed=recipe.seed,
        samples=1,
        needs_box=benchmark.needs_box,
        on_progress=report,
    )


def _show_plan(plan: "ExportPlan", *, as_json: bool) -> None:
    from students.export.plan import gigabytes

    student = plan.student
    summary: dict[str, Any] = {
        "student": student.name,
        "model_type": student.model_type,
        "adapter": str(student.adapter or ""),
        "folder": str(plan.target),
        "format": plan.format,
        "quant": plan.quant,
        "numbers": plan.numbers,
        "tensors": len(plan.tensors),
        "weight_bytes": plan.weight_bytes,
    }
    if as_json:
        say_json(summary)
        return
    merged = f", adapter {student.adapter.name} merged" if student.adapter else ""
    say(f"{paint(student.name, 'bold')}  {student.model_type}, {plan.numbers:,} weights{merged}")
    say(
        columns(
            [
                ("would write", f"{shown_path(plan.target)}: {plan.format} ({plan.quant})"),
                ("size", f"{gigabytes(plan.weight_bytes)} in {len(plan.tensors):,} tensors"),
            ]
        )
    )


def _show(folder: Path, record: "ExportRecord") -> None:
    from students.export.plan import gigabytes
    from students.export.record import check_rows

    size = gigabytes(sum(file.size_bytes for file in record.files))
    say(
        f"{paint('✓', 'green')} {shown_path(folder.resolve())}  {record.format}"
        f" ({record.quant}), {size}, {len(record.files)} files"
    )
    say(columns(list(check_rows(record.checks).items())))
    for text in record.notes:
        note(f"  note: {text}")
    say("\nNext")
    say(columns(_next_commands(folder, record)))


def _next_commands(folder: Path, record: "ExportRecord") -> list[tuple[str, str]]:
    where = shown_path(folder.resolve())
    if record.format == "gguf":
        name = record.name.lower()
        return [
            (f"ollama create {name} -f {where}/Modelfile", "for Ollama"),
            (f"cat {where}/README.md", "llama.cpp and LM Studio"),
        ]
    return [(f"distill chat {where}", "talk to it")]

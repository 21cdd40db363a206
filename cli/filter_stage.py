"""Stage ``filter`` of a run: what it reads, whom it asks to judge, and what it leaves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cli.console import note
from cli.over import judging_over
from cli.spending import allowance
from cli.work import Job, Work
from distill.filter_sections import VerifySection
from distill.prompts import read_prompts
from distill.recipe import Recipe
from distill.records import to_record


def filter_run(job: Job) -> Work:
    """Judge and choose the traces of a run.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    from distill.filter import FilterInput, filter_traces
    from distill.filter_setup import FilterSetup

    recipe, paths = job.recipe, job.run.paths
    judged = [paths.judge / "findings.jsonl"] if recipe.verify.kind == "judge" else []
    setup = FilterSetup(
        _verify_with(recipe.verify, judged),
        recipe.filter,
        recipe.select,
        recipe.seed,
        tokenizer_file(recipe),
        source=recipe.name,
    )
    elsewhere = [*recipe.filter.benchmarks, *(one.path for one in recipe.blend.sources)]
    elsewhere += [recipe.blend.cold_start] if recipe.blend.cold_start else []
    begun = job.run.stage(
        "filter",
        inputs=[paths.train_prompts, paths.traces, *elsewhere],
        settings={"rules": setup.key()},
    )
    if judged:
        _ask_judge(job)
    report = filter_traces(
        FilterInput(paths.traces, paths.train_prompts),
        setup,
        paths,
        blend=recipe.blend,
        elsewhere=judging_over(job.on, job.workers),
        on_progress=job.report,
        on_note=lambda text: note(f"  {text}"),
    )
    outputs = [paths.verdicts, paths.train, paths.filter_page, paths.filter_record]
    outputs += [paths.broken] if paths.broken.exists() else []
    outputs += judged
    return Work(begun, outputs, to_record(report))


def _verify_with(section: VerifySection, findings: Sequence[Path]) -> VerifySection:
    """The section, for a judge with where its findings are."""
    if not findings:
        return section
    return section.model_copy(update={"options": {**section.options, "findings": str(findings[0])}})


def _ask_judge(job: Job) -> None:
    """Have a model judge every answer, before the filter looks its findings up."""
    from distill.judge import ask_judge
    from distill.teacher_sections import read_teacher
    from distill.traces import read_traces
    from teachers import build

    recipe, paths = job.recipe, job.run.paths
    options = recipe.verify.options
    section = read_teacher(options.get("teacher"), "verify.options.teacher")
    judge = build(
        section,
        batch_size=recipe.generate.batch_size,
        on_notice=lambda text: note(f"\n  {text}"),
    )
    prompts = read_prompts(paths.train_prompts)
    sampling = recipe.generate.sampling(recipe.seed)
    ask_judge(
        read_traces(paths.traces, prompts),
        {prompt.id: prompt for prompt in prompts},
        judge,
        questions_path=paths.judge / "questions.jsonl",
        journal_path=paths.judge / "findings.jsonl",
        asked_path=paths.judge / "requests.jsonl",
        sampling=replace(sampling, max_tokens=int(str(options.get("max_tokens", 4096)))),
        shows_reasoning=options.get("shows_reasoning") is True,
        allowance=allowance(job.limits, section, paths, paths.judge / "findings.jsonl"),
        max_failed_share=recipe.generate.max_failed_share,
        on_progress=job.report,
    )


def tokenizer_file(recipe: Recipe) -> Path | None:
    """What counts tokens as the student will; loading it needs no torch."""
    from students.base import base_tokenizer

    path = base_tokenizer(recipe.student)
    return path if path.is_file() else None

"""What each stage of a run reads, whom it asks, and what it leaves in the run folder.

What a stage does is the core's, the teachers' and the students' to know; here it gets its section
of the recipe and plain values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.console import note
from cli.filter_stage import filter_run
from cli.over import generate_over
from cli.spending import allowance
from cli.train_stage import STUDENT, base_folder, train_run, train_variant, write_examples
from cli.work import Job, Work
from distill.blend import Variant
from distill.errors import RecipeError
from distill.layout import Stage
from distill.prompts import read_prompts, stream_prompts, write_prompts
from distill.recipe import BenchmarkPrompts, EmbeddedPrompts, FilePrompts, Recipe, missing
from distill.records import to_record
from distill.types import Completer, Prompt, Verifier
from distill.verify import build_verifier

if TYPE_CHECKING:
    from distill.benchmarks.load import LoadedBenchmark

CONTROLS: tuple[Variant, ...] = ("answers_only", "unfiltered")


def do_stage(job: Job, stage: Stage) -> Work:
    """Do one stage, or what is left of it.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    return _STAGES[stage](job)


def _generate(job: Job) -> Work:
    from distill.generate import generate
    from distill.prompt_file import PromptFile
    from distill.scale.blocks import gather
    from distill.traces import hash_prompts
    from teachers import build

    recipe, paths = job.recipe, job.run.paths
    section = recipe.teacher or missing("teacher")
    verifier = build_verifier(recipe.verify.kind, **recipe.verify.options)
    if recipe.verify.kind == "judge" and recipe.generate.until_correct is not None:
        raise RecipeError(
            "generate.until_correct needs verdicts at once, and a judge gives them in stage filter",
            hint="Leave until_correct out, or verify by another rule.",
        )
    teacher = build(
        section,
        batch_size=recipe.generate.batch_size,
        on_notice=lambda text: note(f"\n  {text}"),
        launched=job.launched,
        logs=paths.logs,
    )
    draft = paths.train_prompts.with_suffix(".draft")
    write_prompts(draft, stream_prompts_of(recipe.prompts or missing("prompts")))
    try:
        with PromptFile(draft) as prompts:
            settings = {
                "teacher": teacher.fingerprint,
                "verifier": verifier.name,
                "prompts": hash_prompts(prompts),
            }
            begun = job.run.stage("generate", settings=settings)
        draft.replace(paths.train_prompts)
    finally:
        draft.unlink(missing_ok=True)
    with PromptFile(paths.train_prompts) as prompts:
        gather(paths, prompts)  # what workers of an earlier try left
        if job.reuse is not None:
            _reuse(job, job.reuse, prompts, teacher, verifier)
        if job.on is not None:
            report = generate_over(job, job.on, teacher, verifier)
        else:
            report = generate(
                prompts,
                teacher,
                verifier,
                recipe.generate,
                seed=recipe.seed,
                journal_path=paths.traces,
                needs_reasoning=recipe.filter.needs_reasoning,
                needs_box=recipe.filter.needs_box,
                asked_path=paths.requests,
                allowance=allowance(job.limits, section, paths, paths.traces),
                first=job.pilot,
                on_progress=job.report,
            )
    outputs = [paths.train_prompts, paths.traces]
    outputs += [paths.requests] if paths.requests.exists() else []
    return Work(begun, outputs, to_record(report), is_partial=job.pilot is not None)


def _reuse(
    job: Job, source: Path, prompts: Sequence[Prompt], teacher: Completer, verifier: Verifier
) -> None:
    """Take over what another run has paid for, and say how much that was."""
    from distill.prompt_file import PromptFile
    from distill.reuse import reuse_traces
    from distill.stored_run import read_run

    other = read_run(source).paths
    with PromptFile(other.train_prompts) as source_prompts:
        reused = reuse_traces(
            other.traces,
            source_prompts,
            job.run.paths.traces,
            prompts,
            completer=teacher,
            verifier=verifier,
            sampling=job.recipe.generate.sampling(job.recipe.seed),
            samples=job.recipe.generate.samples,
        )
    note(f"  reused {reused.traces:,} traces of {reused.prompts:,} prompts from {source}")


def _eval(job: Job) -> Work:
    from distill.comparison import compare
    from distill.eval_result import EvalResult, write_result
    from distill.evaluate import evaluate
    from distill.storage import write_json_atomically

    recipe, paths = job.recipe, job.run.paths
    section = recipe.eval or missing("eval")
    benchmark = load_benchmark_of(recipe)
    prompts = benchmark.prompts
    verifier = build_verifier(benchmark.verifier, **benchmark.options)
    controls = CONTROLS if section.controls else ()
    for variant in controls:
        write_examples(job, variant)
    begun = job.run.stage(
        "eval",
        inputs=[paths.model(STUDENT), *map(paths.examples, controls)],
        settings={"verifier": verifier.name, "benchmark": to_record(benchmark.facts)},
    )
    write_prompts(paths.eval_prompts, prompts)
    trained = {variant: train_variant(job, variant) for variant in controls}
    reports = [
        evaluate(
            who,
            prompts,
            _completer(job, who),
            verifier,
            section,
            samples=section.samples,
            seed=recipe.seed,
            journal_path=paths.judged(who),
            needs_box=benchmark.needs_box,
            asked_path=paths.judged_requests(who),
            allowance=allowance(job.limits, recipe.teacher, paths, paths.judged(who)),
            on_progress=job.report,
        )
        for who in (*section.models, *controls)
    ]
    for report in reports:
        write_result(paths.result(report.who), EvalResult.of(benchmark.facts, report))
    compared = without_problems(to_record(compare(benchmark.facts.prompts_hash, reports)))
    write_json_atomically(paths.report, compared)
    evaluated = [report.who for report in reports]
    outputs = [paths.eval_prompts, paths.report]
    outputs += [*map(paths.judged, evaluated), *map(paths.result, evaluated)]
    asked = [paths.judged_requests(who) for who in section.models]
    outputs += [path for path in asked if path.exists()]
    outputs += [paths.model(variant) for variant in controls]
    return Work(begun, outputs, {"report": compared, "controls": trained})


_STAGES: dict[Stage, Callable[[Job], Work]] = {
    "generate": _generate,
    "filter": filter_run,
    "train": train_run,
    "eval": _eval,
}


def _load_prompts(section: EmbeddedPrompts | FilePrompts) -> list[Prompt]:
    if isinstance(section, FilePrompts):
        return read_prompts(section.path)
    from distill.problems import embedded_prompts

    return embedded_prompts(
        section.split, section.count, section.seed, kinds=section.kinds, levels=section.levels
    )


def stream_prompts_of(section: EmbeddedPrompts | FilePrompts) -> Iterable[Prompt]:
    """The prompts of a section; those of a file one at a time."""
    return (
        stream_prompts(section.path) if isinstance(section, FilePrompts) else _load_prompts(section)
    )


def load_benchmark_of(recipe: Recipe) -> "LoadedBenchmark":
    """What the models of a recipe are evaluated on, and who judges.

    Raises:
        DataError: If its data cannot be had.
    """
    from distill.benchmarks.load import LoadedBenchmark, facts_of, load_benchmark

    evaluation = recipe.eval or missing("eval")
    section = evaluation.prompts
    if isinstance(section, BenchmarkPrompts):
        return load_benchmark(section.name, section.path)
    prompts = _load_prompts(section)
    if isinstance(section, FilePrompts):
        facts = facts_of(section.path.stem, "", prompts, [section.path])
    else:
        facts = facts_of(f"embedded-{section.split}", "", prompts)
    return LoadedBenchmark(
        facts,
        prompts,
        recipe.verify.kind,
        recipe.verify.options,
        evaluation.samples,
        needs_box=recipe.verify.kind == "answer",
    )


def _completer(job: Job, who: str) -> Completer:
    """Who is evaluated: the teacher, the base, or what was trained here."""
    from engine.completer import LocalCompleter
    from engine.folder import folder_fingerprint
    from students.load import load_student
    from teachers import build

    batch_size = (job.recipe.eval or missing("eval")).batch_size
    if who == "teacher":
        return build(
            job.recipe.teacher or missing("teacher"),
            batch_size=batch_size,
            launched=job.launched,
            logs=job.run.paths.logs,
        )
    folder = base_folder(job) if who == "base" else job.run.paths.model(who)
    loaded = load_student(folder)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=who,
        fingerprint=folder_fingerprint(folder),
        batch_size=batch_size,
    )


def without_problems(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the records of problems, which ``eval/results/`` keeps."""
    models = [{**model, "problems": []} for model in report["models"]]
    return {**report, "models": models}

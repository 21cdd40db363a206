"""``distill eval MODEL --benchmark NAME``: one model on one benchmark, in a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.backends import BackendName, chosen_backend, note_backend, shown_backend
from cli.console import columns, note, paint_note, say, say_json, shown_path
from cli.eval_models import PROMPT_TOKENS, ModelChoice, find_model, opened
from cli.eval_text import next_steps, result_text
from cli.progress import show_progress
from cli.spending import allowance
from distill.allowance import Limits
from distill.benchmarks.load import LoadedBenchmark, is_file_name, load_benchmark, load_file
from distill.errors import RecipeError
from distill.eval_result import EvalResult, write_result
from distill.evaluate import evaluate
from distill.evaluation import Evaluation, new_evaluation, open_evaluation, refuse_foreign
from distill.hub_results import write_hub_results
from distill.layout import RunLayout
from distill.prompts import write_prompts
from distill.recipe import SamplingSection
from distill.records import to_record
from distill.types import Completer
from distill.verify import build_verifier

if TYPE_CHECKING:
    from students.serve.choosing import BackendChoice

_SOME_FAILED = 11


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; ``None`` where the default shall hold.

    Attributes:
        reference: The model, as it was typed.
        benchmark: A name or a file.
        data: Where the benchmark's files are.
        verifier: Who judges a file of the user's.
        model: Further options of ``find_model``.
        backend: Who shall draw.
        sampling: Values of a ``SamplingSection``.
        samples: Completions per problem.
        ks: The k of pass@k that are shown.
        first: Only so many problems.
        seed: Of the draws.
        run_dir: Where to.
        limits: What may be spent.
    """

    reference: str
    benchmark: str
    data: Path | None = None
    verifier: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    backend: BackendName | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    ks: tuple[int, ...] = ()
    first: int | None = None
    seed: int = 0
    run_dir: Path | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What will be done."""

    choice: ModelChoice
    backend: "BackendChoice | None"
    benchmark: LoadedBenchmark
    section: SamplingSection
    samples: int
    folder: Path


def evaluate_alone(wanted: Wanted, *, dry_run: bool, as_json: bool) -> None:
    """Evaluate, or say what would be done.

    Raises:
        DistillError: Whatever stops it; what is finished is kept.
    """
    prepared = _prepare(wanted)
    if dry_run:
        _say_plan(prepared, as_json=as_json)
        return
    _note_intent(prepared)
    result, paths = _carry_out(prepared, wanted)
    if as_json:
        say_json({"run": str(prepared.folder), **to_record(result)})
    else:
        _say_result(result, paths, wanted.ks)
    if result.report.failed:
        raise typer.Exit(_SOME_FAILED)


def _say_result(result: EvalResult, paths: RunLayout, ks: Sequence[int]) -> None:
    say(result_text(result, ks))
    say(f"\nIn {shown_path(paths.root.resolve())}")
    who = result.report.who
    places = [
        (paths.judged(who), "every completion with its verdict"),
        (paths.result(who), "all figures, with a record of each problem"),
    ]
    say(columns([(path.relative_to(paths.root).as_posix(), text) for path, text in places]))
    say("\nNext")
    say(columns(next_steps(paths, result)))


def _prepare(wanted: Wanted) -> Prepared:
    benchmark = _benchmark(wanted)
    choice = find_model(wanted.reference, **wanted.model)
    section = SamplingSection(**wanted.sampling)
    backend = None
    if choice.path is not None or wanted.backend is not None:
        context = section.max_tokens + PROMPT_TOKENS
        backend = chosen_backend(choice, wanted.backend, context)
    is_greedy = section.temperature == 0
    samples = wanted.samples or (1 if is_greedy else benchmark.samples)
    if too_large := [k for k in wanted.ks if k > samples]:
        raise RecipeError(
            f"--k {too_large[0]}: there are {samples} samples of each problem, and pass@k needs at"
            " least k",
            hint=f"Draw more: --samples {max(wanted.ks)}",
        )
    name = benchmark.facts.name
    folder = wanted.run_dir or Path("runs") / f"eval-{choice.label}-{name}"
    return Prepared(choice, backend, benchmark, section, samples, folder)


def _benchmark(wanted: Wanted) -> LoadedBenchmark:
    if not is_file_name(wanted.benchmark):
        if wanted.verifier is not None:
            raise RecipeError(
                "--verifier goes with a file of yours; a known benchmark has its own verifier"
            )
        return load_benchmark(wanted.benchmark, wanted.data).first(wanted.first)
    if wanted.data is not None:
        raise RecipeError("--data says where the files of a known benchmark are")
    return load_file(Path(wanted.benchmark), wanted.verifier or "answer").first(wanted.first)


def _note_intent(prepared: Prepared) -> None:
    facts, section = prepared.benchmark.facts, prepared.section
    note(paint_note(f"{prepared.choice.label} on {facts.name}, folder {prepared.folder}", "dim"))
    note(
        f"{paint_note('eval', 'bold')} {facts.prompts:,} problems, {prepared.samples} completions"
        f" each, temperature {section.temperature:g}, top_p {section.top_p:g},"
        f" {section.max_tokens:,} tokens at most"
    )
    if prepared.backend is not None:
        note_backend(prepared.backend)
    for warning in warnings_of(prepared):
        note(f"  {paint_note('!', 'yellow')} {warning}")


def warnings_of(prepared: Prepared) -> list[str]:
    """What the user should know before the figures mean anything."""
    found = []
    if prepared.section.temperature == 0:
        found.append(
            "greedy: reasoning models repeat themselves without end at temperature 0, and one draw"
            " says little; published figures are means over samples at 0.6"
        )
        if prepared.samples > 1:
            found.append(f"the {prepared.samples} samples of a problem will be the same one")
    published, prompts = prepared.benchmark.published, prepared.benchmark.facts.prompts
    if published is not None and published != prompts:
        found.append(
            f"{prompts:,} problems, but {published:,} are published: figures of others are about"
            " other problems"
        )
    return found


def _carry_out(prepared: Prepared, wanted: Wanted) -> tuple[EvalResult, RunLayout]:
    choice, benchmark, section = prepared.choice, prepared.benchmark, prepared.section
    verifier = build_verifier(benchmark.verifier, **benchmark.options)
    refuse_foreign(prepared.folder)  # before a server takes a minute to start
    with opened(
        choice,
        prepared.backend,
        batch_size=section.batch_size,
        max_tokens=section.max_tokens,
        logs=RunLayout(prepared.folder).logs,
    ) as completer:
        asked = _evaluation(prepared, wanted, completer, verifier.name)
        with open_evaluation(prepared.folder, asked) as paths:
            write_prompts(paths.eval_prompts, benchmark.prompts)
            with show_progress() as report_progress:
                report = evaluate(
                    choice.who,
                    benchmark.prompts,
                    completer,
                    verifier,
                    section,
                    samples=prepared.samples,
                    seed=wanted.seed,
                    journal_path=paths.judged(choice.who),
                    needs_box=benchmark.needs_box,
                    asked_path=paths.judged_requests(choice.who),
                    allowance=allowance(
                        wanted.limits, choice.teacher, paths, paths.judged(choice.who)
                    ),
                    on_progress=report_progress,
                )
            result = EvalResult.of(benchmark.facts, report)
            write_result(paths.result(choice.who), result)
            write_hub_results(paths.root, result)
    return result, paths


def _evaluation(
    prepared: Prepared, wanted: Wanted, completer: Completer, verifier: str
) -> Evaluation:
    return new_evaluation(
        who=prepared.choice.who,
        model=wanted.reference,
        fingerprint=completer.fingerprint,
        benchmark=prepared.benchmark.facts,
        verifier=verifier,
        verifier_kind=prepared.benchmark.verifier,
        needs_box=prepared.benchmark.needs_box,
        sampling=prepared.section.sampling(wanted.seed),
        samples=prepared.samples,
        backend=_recorded(prepared.backend),
    )


def _recorded(backend: "BackendChoice | None") -> str:
    """What a resumed evaluation must have in common: vLLM draws other samples than our engine."""
    return "vllm" if backend is not None and backend.name == "vllm" else ""


def _say_plan(prepared: Prepared, *, as_json: bool) -> None:
    facts, choice = prepared.benchmark.facts, prepared.choice
    plan = {
        "folder": str(prepared.folder),
        "model": {"kind": choice.kind, "who": choice.who, "path": str(choice.path or "")},
        "backend": None if prepared.backend is None else to_record(prepared.backend),
        "benchmark": to_record(facts),
        "verifier": prepared.benchmark.verifier,
        "samples": prepared.samples,
        "completions": prepared.samples * facts.prompts,
        "sampling": prepared.section.model_dump(mode="json"),
        "warnings": warnings_of(prepared),
    }
    if as_json:
        say_json(plan)
        return
    state = "exists" if prepared.folder.exists() else "new"
    say(f"{prepared.folder} ({state})")
    rows = [
        ("model", f"{choice.label} ({choice.kind})"),
        *([("drawn by", shown_backend(prepared.backend))] if prepared.backend else []),
        ("benchmark", f"{facts.name}, {facts.prompts:,} problems"),
        ("verifier", prepared.benchmark.verifier),
        ("completions", f"{plan['completions']:,}, {prepared.samples} of each problem"),
        ("tokens", f"{prepared.section.max_tokens:,} at most for each"),
    ]
    say(columns(rows + [("note", warning) for warning in warnings_of(prepared)]))

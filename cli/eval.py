"""``distill eval``: the stage of a run, or any model on any benchmark in a folder of its own."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.backends import BackendOption
from cli.job import job_command
from cli.options import (
    AsJson,
    BudgetTokens,
    BudgetUsd,
    Controls,
    Deadline,
    DryRun,
    OffPeakOnly,
    Overrides,
    RestartFrom,
)

Benchmark = Annotated[
    str | None,
    typer.Option(
        "--benchmark",
        metavar="NAME|FILE",
        help="One that `distill benchmarks` lists, or a file with text and answer.",
        show_default=False,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        min=1,
        help="Completions of each problem.  [default: as the benchmark is usually sampled]",
    ),
]


def _option(flag: str, help_text: str, metavar: str, **more: Any) -> Any:  # noqa: ANN401 - Typer's
    return typer.Option(flag, metavar=metavar, help=help_text, show_default=False, **more)


def eval_(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|MODEL",
            help="A recipe or run folder; with --benchmark also a student's folder, an adapter, a"
            " .gguf file, or ENDPOINT/MODEL.",
            show_default=False,
        ),
    ],
    *,
    benchmark: Benchmark = None,
    samples: Samples = None,
    k: Annotated[
        str | None, _option("--k", "Which k of pass@k and cons@k to show, such as 1,8,64.", "LIST")
    ] = None,
    temperature: Annotated[
        float | None, _option("--temperature", "Default 0.6.", "T", min=0.0, max=2.0)
    ] = None,
    top_p: Annotated[
        float | None, _option("--top-p", "Default 0.95.", "P", min=0.0, max=1.0)
    ] = None,
    max_tokens: Annotated[
        int | None, _option("--max-tokens", "Of one completion. Default 32768.", "N", min=1)
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Temperature 0; reasoning models do badly with it.")
    ] = False,
    seed: Annotated[int | None, _option("--seed", "Of the draws. Default 0.", "N", min=0)] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", "Completions decoded at once here.", "N", min=1)
    ] = None,
    first: Annotated[
        int | None, _option("--first", "Only the first N problems, for a look.", "N", min=1)
    ] = None,
    verifier: Annotated[
        str | None,
        _option("--verifier", "Who judges a file of yours. Default answer.", "KIND"),
    ] = None,
    data: Annotated[
        Path | None, _option("--data", "Where a known benchmark's files are.", "PATH")
    ] = None,
    who: Annotated[
        str | None,
        _option("--who", "Of a run or recipe: student (default), base, teacher.", "NAME"),
    ] = None,
    backend: BackendOption = None,
    base: Annotated[Path | None, _option("--base", "The base of an adapter.", "DIR")] = None,
    base_url: Annotated[
        str | None, _option("--base-url", "Where an endpoint is, up to /v1.", "URL")
    ] = None,
    harness: Annotated[
        Literal["lm-eval"] | None,
        _option("--with", "Let lm-evaluation-harness measure; NAME is its task.", "lm-eval"),
    ] = None,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            metavar="DIR",
            help="Where to.  [default: runs/NAME-OF-RECIPE, or runs/eval-MODEL-BENCHMARK]",
        ),
    ] = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    deadline: Deadline = None,
    off_peak_only: OffPeakOnly = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put models on held-out problems.

    They are sampled and judged as in generation. A recipe: base, student and teacher on its
    eval.prompts. With --benchmark: one model of any
    kind, in a folder of its own. What was stopped goes on with the same command. Without --greedy
    completions are drawn at temperature 0.6, as published figures of reasoning models are.

    Example: distill eval runs/quickstart --benchmark gsm8k --samples 4
    """
    given: dict[str, Any] = {
        "samples": samples,
        "k": k,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "greedy": greedy or None,
        "seed": seed,
        "batch_size": batch_size,
        "first": first,
        "verifier": verifier,
        "data": data,
        "who": who,
        "backend": backend,
        "base": base,
        "base_url": base_url,
        "with": harness,
    }
    limits = {
        "budget_usd": budget_usd,
        "budget_tokens": budget_tokens,
        "deadline": deadline,
        "off_peak_only": off_peak_only,
    }
    if benchmark is None:
        _refuse(given, "goes with --benchmark; a recipe says it in [eval]")
        job_command("eval")(
            Path(model),
            overrides=overrides,
            run_dir=run_dir,
            controls=controls,
            restart_from=restart_from,
            **limits,
            dry_run=dry_run,
            as_json=as_json,
        )
        return
    _refuse(
        {"controls": controls or None, "restart_from": restart_from},
        "goes with a recipe, not with --benchmark",
    )
    from cli.eval_alone import Wanted, evaluate_alone
    from cli.job import limits_of

    wanted = Wanted(
        model,
        benchmark,
        data=data,
        verifier=verifier,
        model={"who": who, "base": base, "base_url": base_url, "settings": overrides or ()},
        backend=backend,
        sampling=_sampling(given),
        samples=samples,
        ks=_read_ks(k),
        first=first,
        seed=seed or 0,
        run_dir=run_dir,
        limits=limits_of(limits),
    )
    if harness is None:
        evaluate_alone(wanted, dry_run=dry_run, as_json=as_json)
        return
    from cli.eval_theirs import evaluate_with_lm_eval

    ours = {"samples": samples, "k": k, "verifier": verifier, "batch_size": batch_size}
    _refuse(
        ours | {name: value or None for name, value in limits.items()},
        "is ours, and lm-eval has its own ways",
    )
    evaluate_with_lm_eval(wanted, dry_run=dry_run, as_json=as_json)


def _sampling(given: dict[str, Any]) -> dict[str, Any]:
    """Values of a ``SamplingSection`` that the options set."""
    from distill.errors import RecipeError

    if given["greedy"]:
        if given["temperature"]:
            raise RecipeError("--greedy is temperature 0; leave one of the two out")
        given = {**given, "temperature": 0.0}
    if given["top_p"] == 0:
        raise RecipeError("--top-p: found 0; it must be above 0, at most 1")
    names = ("temperature", "top_p", "max_tokens", "batch_size")
    return {name: given[name] for name in names if given[name] is not None}


def _read_ks(text: str | None) -> tuple[int, ...]:
    from distill.errors import RecipeError

    if text is None:
        return ()
    try:
        ks = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise RecipeError(f"--k {text}: write numbers with commas, such as 1,8,64") from None
    if min(ks) < 1:
        raise RecipeError(f"--k {text}: k must be at least 1")
    return tuple(sorted(set(ks)))


def _refuse(given: dict[str, Any], why: str) -> None:
    from distill.errors import RecipeError

    used = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if used:
        raise RecipeError(f"{', '.join(used)} {why}")

"""What ``distill fit`` prints: a plan by its parts, whether it fits, and what to change."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cli.console import columns, paint, say, say_json, table

if TYPE_CHECKING:
    from students.catalog import Architecture
    from students.memory_advice import Change
    from students.memory_plan import TrainingPlan
    from students.memory_run import RunningPlan
    from students.memory_settings import TrainingSettings
    from students.memory_source import Named

_GIB = 1024**3
_CARDS_GIB = (8, 12, 16, 24, 48, 80)
_PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "loss": "loss",
    "overhead": "the GPU's own",
}
_MOMENTS = {
    "loss": "when the loss is worked out",
    "backward": "when the backward pass begins",
    "embedding": "when the embedding gets its gradient",
    "step": "when the optimizer steps",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What there is to say about one GPU.

    Attributes:
        gpu_bytes: What it has.
        longest: Tokens of the longest row that fits.
        alone: Changes each of which is enough.
        together: Changes that are enough together, if no setting is alone.
    """

    gpu_bytes: int
    longest: int
    alone: "Sequence[Change]"
    together: "Sequence[Change]"


def show_training(
    named: "Named", settings: "TrainingSettings", gpu_bytes: int | None, *, as_json: bool
) -> None:
    """The plan of a training, and what fits on a GPU or on the usual ones."""
    from students.memory_plan import plan_training

    plan = plan_training(named.facts, settings)
    answer = None if gpu_bytes is None else _answer(named.facts, settings, plan, gpu_bytes)
    if as_json:
        say_json(_training_summary(named, settings, plan, answer))
        return
    _say_plan(named, settings, plan)
    if answer is None:
        say(f"\nLongest row that fits, {settings.method}")
        say(_cards(named.facts, settings))
    else:
        _say_answer(plan, answer, named.facts)


def show_running(
    named: "Named", context_tokens: int, gpu_bytes: int | None, *, as_json: bool
) -> None:
    """The plan of answering, for every way to hold the weights."""
    from students.memory_run import RUN_FORMATS, longest_context, plan_running

    facts = named.facts
    plans = [plan_running(facts, format_, context_tokens) for format_ in RUN_FORMATS]
    sizes = [card * _GIB for card in _CARDS_GIB] if gpu_bytes is None else [gpu_bytes]
    longest = [[longest_context(facts, plan.format, size) for size in sizes] for plan in plans]
    if as_json:
        found = [
            _running_summary(plan, gpu_bytes, dict(zip(sizes, row, strict=True)))
            for plan, row in zip(plans, longest, strict=True)
        ]
        say_json({"student": named.name, "gpu_bytes": gpu_bytes, "plans": found})
        return
    say(f"{paint(named.name, 'bold')}  {_size(facts)}")
    say(f"one answer at a time, {context_tokens:,} tokens of prompt and answer, GiB\n")
    head = ["", "weights", "cache", "work", "GPU", "in all"]
    head += [f"{card} GB" for card in _CARDS_GIB] if gpu_bytes is None else ["fits", "longest"]
    rows = [head]
    for plan, contexts in zip(plans, longest, strict=True):
        figures = (plan.weights, plan.cache, plan.work, plan.overhead, plan.total)
        verdict = [] if gpu_bytes is None else ["yes" if plan.total <= gpu_bytes else "no"]
        shown = [_tokens(length, facts.context_tokens) for length in contexts]
        rows.append([plan.format, *map(_gib, figures), *verdict, *shown])
    say(table(rows))
    say("\n  on the right: the longest context that fits; all: the model's whole context")
    if context_tokens > facts.context_tokens:
        say(f"  the model was made for {facts.context_tokens:,} tokens, fewer than asked for")
    least = min(plans, key=lambda plan: plan.total)
    if gpu_bytes is not None and least.total > gpu_bytes:
        reach = max(row[0] for row in longest)
        say(
            f"\nNone fits in {_gib(gpu_bytes)} GiB: {least.format} needs {_gib(least.total)} GiB; "
            + (f"--context {reach} is the longest that fits" if reach else "no context fits")
        )


def _answer(
    facts: "Architecture", settings: "TrainingSettings", plan: "TrainingPlan", gpu_bytes: int
) -> _Answer:
    from students.memory_advice import changes, combined, longest_length

    longest = longest_length(facts, settings, gpu_bytes)
    if plan.total <= gpu_bytes:
        return _Answer(gpu_bytes, longest, (), ())
    alone = [one for one in changes(facts, settings, gpu_bytes) if one.plan.total <= gpu_bytes]
    same = (settings.length_tokens, settings.gpus)
    is_enough = any((one.settings.length_tokens, one.settings.gpus) == same for one in alone)
    together = () if is_enough else combined(facts, settings, gpu_bytes)
    return _Answer(gpu_bytes, longest, alone, together)


def _training_summary(
    named: "Named", settings: "TrainingSettings", plan: "TrainingPlan", answer: _Answer | None
) -> dict[str, object]:
    summary: dict[str, object] = {
        "student": named.name,
        "parameters": named.facts.parameters,
        "settings": asdict(settings),
        "plan": {**asdict(plan), "total": plan.total},
    }
    if answer is None:
        return summary
    return {
        **summary,
        "gpu_bytes": answer.gpu_bytes,
        "fits": plan.total <= answer.gpu_bytes,
        "longest_tokens": answer.longest,
        "changes": [_change(one) for one in answer.alone],
        "together": [_change(one) for one in answer.together],
    }


def _running_summary(
    plan: "RunningPlan", gpu_bytes: int | None, longest: dict[int, int]
) -> dict[str, object]:
    return {
        **asdict(plan),
        "total": plan.total,
        "fits": None if gpu_bytes is None else plan.total <= gpu_bytes,
        "longest_context": {f"{size / _GIB:g} GiB": tokens for size, tokens in longest.items()},
    }


def _say_plan(named: "Named", settings: "TrainingSettings", plan: "TrainingPlan") -> None:
    shared = f" on each of {settings.gpus} GPUs" if settings.gpus > 1 else ""
    trained = f"{plan.trained_parameters:,} trained"
    say(f"{paint(named.name, 'bold')}  {_size(named.facts)}, {trained}")
    say(
        f"{settings.method}, rows of {settings.length_tokens:,} tokens, {settings.precision}, "
        f"activations {settings.activations}, {settings.optimizer}{shared}\n"
    )
    parts = asdict(plan.parts)
    rows = [["", "GiB"], *([label, _gib(parts[key])] for key, label in _PARTS.items())]
    say(table([*rows, ["in all", _gib(plan.total)]]))
    say(f"  at its highest, {_MOMENTS[plan.moment]}")
    if plan.main_memory:
        say(f"  and up to {_gib(plan.main_memory)} GiB of main memory")


def _say_answer(plan: "TrainingPlan", answer: _Answer, facts: "Architecture") -> None:
    size, spare = f"{answer.gpu_bytes / _GIB:g} GiB", answer.gpu_bytes - plan.total
    if spare >= 0:
        say(f"\n{paint('✓', 'green')} fits in {size} with {_gib(spare)} GiB to spare")
    else:
        say(f"\n{paint('✗', 'red')} needs {_gib(-spare)} GiB more than {size}")
    longest = _tokens(answer.longest, facts.context_tokens, whole="the model's whole context")
    say(f"  longest row that fits with these settings: {longest}")
    if spare < 0:
        _say_changes(answer)


def _say_changes(answer: _Answer) -> None:
    if answer.alone:
        say("\nAny one of these is enough")
        say(
            columns(
                [(one.says, f"{_gib(one.plan.total)} GiB; {one.costs}") for one in answer.alone]
            )
        )
    if answer.together:
        other = "Or these" if answer.alone else "These"
        say(f"\n{other} together ({_gib(answer.together[-1].plan.total)} GiB)")
        say(columns([(one.says, one.costs) for one in answer.together]))
    if not answer.alone and not answer.together:
        say("\nNo setting makes it fit: take a smaller student, a larger GPU or more of them.")


def _cards(facts: "Architecture", settings: "TrainingSettings") -> str:
    from students.memory_advice import longest_length

    rows = [["", "tokens"]]
    for card in _CARDS_GIB:
        longest = longest_length(facts, settings, card * _GIB)
        rows.append([f"{card} GB", _tokens(longest, facts.context_tokens)])
    return table(rows)


def _change(change: "Change") -> dict[str, object]:
    return {"set": change.says, "total": change.plan.total, "costs": change.costs}


def _tokens(length: int, limit: int, *, whole: str = "all") -> str:
    """A length that fits; lengths are counted in steps, the last of which may not be whole."""
    if length == 0:
        return "none"
    return whole if length > limit - 1024 else f"{length:,}"


def _size(facts: "Architecture") -> str:
    count = facts.parameters
    shown = f"{count / 1e9:.2f}B" if count >= 1e8 else f"{count / 1e6:.1f}M"  # noqa: PLR2004
    return f"{shown} parameters"


def _gib(size: int) -> str:
    return f"{size / _GIB:.2f}" if size < 10 * _GIB else f"{size / _GIB:.1f}"

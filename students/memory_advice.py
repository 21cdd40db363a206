"""What to change when training does not fit, and what does fit: questions put to the plan.

Loads neither torch nor transformers: a listing asks hundreds of them, running out of memory one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from students.catalog import Architecture
from students.memory_plan import TrainingPlan, plan_training
from students.memory_settings import Method, TrainingSettings

GIB: Final = 1024**3
_METHODS: Final[tuple[Method, ...]] = ("full", "lora", "qlora")
_STEP_TOKENS = 256
_SHORTEST_TOKENS = 512
_MOST_GPUS = 64


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change, and what it comes to.

    Attributes:
        says: What to set, as the recipe names it.
        settings: With the change.
        plan: Of those.
        costs: What one pays for it; empty if little.
    """

    says: str
    settings: TrainingSettings
    plan: TrainingPlan
    costs: str = ""


def longest_length(facts: Architecture, settings: TrainingSettings, gpu_bytes: int) -> int:
    """Tokens of the longest row that fits, up to the model's context; 0 if none does."""

    def fits(steps: int) -> bool:
        shorter = with_length(settings, steps * _STEP_TOKENS)
        return plan_training(facts, shorter).total <= gpu_bytes

    few, many = _SHORTEST_TOKENS // _STEP_TOKENS, facts.context_tokens // _STEP_TOKENS
    if many < few or not fits(few):
        return 0
    while few < many:
        middle = (few + many + 1) // 2
        few, many = (middle, many) if fits(middle) else (few, middle - 1)
    return few * _STEP_TOKENS


def with_length(settings: TrainingSettings, length_tokens: int) -> TrainingSettings:
    """The same settings for rows of another length; a step holds one row at least."""
    batch_tokens = max(settings.batch_tokens, length_tokens)
    return replace(settings, length_tokens=length_tokens, batch_tokens=batch_tokens)


def what_fits(facts: Architecture, gpu_bytes: int) -> dict[Method, int]:
    """For each method the longest row that one GPU can train on; 0 where the method does not fit.

    With what a recipe has unless told otherwise: mixed precision, layers recomputed, AdamW, and for
    `qlora` a paged one.
    """
    return {
        method: longest_length(facts, default_settings(method), gpu_bytes) for method in _METHODS
    }


def default_settings(method: Method) -> TrainingSettings:
    """What a recipe with nothing but a method comes to on a GPU, for a student of usual size."""
    return TrainingSettings(
        method=method, optimizer="paged_adamw" if method == "qlora" else "adamw"
    )


def changes(facts: Architecture, settings: TrainingSettings, gpu_bytes: int) -> list[Change]:
    """Each single change that needs less memory, what saves most for least first.

    The shorter length and the number of GPUs are those that fit, and left out if none does.
    """
    found = [_made(facts, settings, [option]) for option in _options(settings)]
    length = longest_length(facts, settings, gpu_bytes)
    if 0 < length < settings.length_tokens:
        found.insert(2, _shorter(facts, settings, length))
    if (shared := _enough_gpus(facts, settings, gpu_bytes)) is not None:
        found.append(shared)
    now = plan_training(facts, settings).total
    return [change for change in found if change.plan.total < now]


def combined(facts: Architecture, settings: TrainingSettings, gpu_bytes: int) -> list[Change]:
    """The fewest changes that fit together, each on top of the one before; empty if none do.

    Rows become shorter only if nothing else is enough.
    """
    options = list(_options(settings))
    for count in range(2, len(options) + 1):
        for chosen in combinations(options, count):
            if len({option.field for option in chosen}) < count:
                continue
            if _made(facts, settings, chosen).plan.total <= gpu_bytes:
                return _steps(facts, settings, chosen)
    strongest = list({option.field: option for option in reversed(options)}.values())[::-1]
    made = _steps(facts, settings, strongest)
    last = made[-1].settings if made else settings
    length = longest_length(facts, last, gpu_bytes)
    return [*made, _shorter(facts, last, length)] if 0 < length < settings.length_tokens else []


def memory_advice(
    facts: Architecture, settings: TrainingSettings, gpu_bytes: int | None = None
) -> str:
    """One sentence for whoever ran out of memory: what was needed, and what to change.

    Args:
        facts: What the student is built like.
        settings: How it was trained.
        gpu_bytes: What the GPU has; without it, the change that saves most is named.
    """
    now = plan_training(facts, settings).total
    needed = f"this training needs about {now / GIB:.1f} GiB"
    if gpu_bytes is not None and now <= gpu_bytes:
        return f"{needed} and should fit: see what else uses the GPU, or leave it more room"
    limit = gpu_bytes or now - 1
    found = changes(facts, settings, limit)
    if gpu_bytes is None:
        found.sort(key=lambda change: change.plan.total)
    fitting = [change for change in found if change.plan.total <= limit]
    if fitting:
        best = fitting[0]
        return f"{needed}; with {best.says} it needs {best.plan.total / GIB:.1f} GiB"
    if together := combined(facts, settings, limit):
        says = ", ".join(change.says for change in together)
        return f"{needed}; with {says} it needs {together[-1].plan.total / GIB:.1f} GiB"
    return f"{needed}, and no setting makes it fit: take a smaller student or a larger GPU"


@dataclass(frozen=True, slots=True)
class _Option:
    """One field of the settings that could have a value that needs less."""

    field: str
    value: str
    costs: str


def _options(settings: TrainingSettings) -> Iterator[_Option]:
    if settings.method != "qlora":
        yield _Option("method", "qlora", "an adapter over a base of 4 bits")
    if settings.activations == "kept":
        yield _Option("activations", "recomputed", "a third more time")
    if settings.activations != "offloaded":
        yield _Option("activations", "offloaded", "some time, and main memory")
    if not settings.optimizer.startswith("paged"):
        yield _Option("optimizer", "paged_adamw_8bit", "coarser moments, and main memory")
    if settings.method == "full":
        yield _Option("method", "lora", "an adapter, no longer all weights")
    if settings.is_full and settings.precision != "bf16":
        yield _Option("precision", "bf16", "small updates are rounded away")


def _made(facts: Architecture, settings: TrainingSettings, options: Sequence[_Option]) -> Change:
    """All of these at once, named after the last."""
    values: dict[str, Any] = {option.field: option.value for option in options}
    changed = replace(settings, **values)
    if changed.method == "qlora" and settings.method != "qlora" and changed.optimizer == "adamw":
        changed = replace(changed, optimizer="paged_adamw")  # what it has unless told otherwise
    last = options[-1]
    says = f'train.{last.field} = "{last.value}"'
    return Change(says, changed, plan_training(facts, changed), last.costs)


def _steps(
    facts: Architecture, settings: TrainingSettings, options: Sequence[_Option]
) -> list[Change]:
    return [_made(facts, settings, options[:count]) for count in range(1, len(options) + 1)]


def _shorter(facts: Architecture, settings: TrainingSettings, length_tokens: int) -> Change:
    changed = with_length(settings, length_tokens)
    plan = plan_training(facts, changed)
    return Change(f"train.seq_len = {length_tokens}", changed, plan, "longer examples are dropped")


def _enough_gpus(facts: Architecture, settings: TrainingSettings, gpu_bytes: int) -> Change | None:
    gpus = settings.gpus * 2
    while gpus <= _MOST_GPUS:
        shared = replace(settings, gpus=gpus)
        plan = plan_training(facts, shared)
        if plan.total <= gpu_bytes:
            return Change(f"--gpus {gpus}", shared, plan, "more GPUs")
        gpus *= 2
    return None

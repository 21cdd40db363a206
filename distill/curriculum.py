"""Which examples each stage of a curriculum is trained on.

A stage takes those of the run's own selection that its conditions let through, or a data set of its
own. What is known of an example stands in ``train.parquet``: where it is from, who wrote it, how
often the teacher solves its prompt.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.errors import DataError
from distill.filter_tables import TRAIN, read_rows
from distill.train_sections import StageSection
from distill.types import Document, Example

Trained = Example | Document

_CONDITIONS = ("sources", "models", "min_pass_rate", "max_pass_rate", "min_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a stage can choose an example by.

    Attributes:
        source: The recipe's name, a name of ``blend.sources``, or ``cold_start``.
        model: Who wrote it; empty if nobody says.
        pass_rate: How often the teacher solves its prompt; ``None`` if nobody knows.
    """

    source: str = ""
    model: str = ""
    pass_rate: float | None = None


def read_facts(path: Path) -> dict[str, Facts]:
    """Facts by id of the example, and by id of its prompt for other examples of the same prompt.

    Raises:
        DataError: If the file is missing or is another one.
    """
    facts: dict[str, Facts] = {}
    for row in read_rows(path, TRAIN, ["id", "prompt_id", "source", "model", "pass_rate"]):
        fact = Facts(row["source"], row["model"], row["pass_rate"])
        facts[row["id"]] = fact
        facts.setdefault(row["prompt_id"], fact)
    return facts


def choose_stages(
    stages: Sequence[StageSection],
    own: Sequence[Trained],
    facts: Mapping[str, Facts],
    *,
    read_data: Callable[[StageSection], Iterable[Trained]],
    count_tokens: Callable[[Trained], int],
) -> dict[str, list[Trained]]:
    """The examples of each stage by its name, in order.

    Args:
        stages: Of the recipe.
        own: What the run itself has to train on.
        facts: About these.
        read_data: Reads the data set of a stage that has one.
        count_tokens: Length of an example; asked only if a stage goes by it.

    Raises:
        DataError: If a stage has none; says by which conditions, and what there is.
    """
    chosen: dict[str, list[Trained]] = {}
    for stage in stages:
        if stage.data is None:
            examples = [one for one in own if _suits(_facts_of(one, facts), stage)]
        else:
            examples = list(read_data(stage))
        lengths: list[int] = []
        if stage.min_tokens or stage.max_tokens is not None:
            lengths = [count_tokens(one) for one in examples]
            fitting = zip(examples, lengths, strict=True)
            examples = [one for one, length in fitting if _fits(length, stage)]
        if not examples:
            raise _nothing(stage, own, facts, lengths)
        chosen[stage.name] = examples
    return chosen


def _facts_of(example: Trained, facts: Mapping[str, Facts]) -> Facts:
    owner = example.id.rpartition("#")[0]
    return facts.get(example.id) or facts.get(owner) or Facts()


def _suits(fact: Facts, stage: StageSection) -> bool:
    if stage.sources and fact.source not in stage.sources:
        return False
    if stage.models and fact.model not in stage.models:
        return False
    if fact.pass_rate is None:  # suits only where every rate does
        return stage.min_pass_rate == 0 and stage.max_pass_rate == 1
    return stage.min_pass_rate <= fact.pass_rate <= stage.max_pass_rate


def _fits(tokens: int, stage: StageSection) -> bool:
    return stage.min_tokens <= tokens and (stage.max_tokens is None or tokens <= stage.max_tokens)


def _nothing(
    stage: StageSection,
    own: Sequence[Trained],
    facts: Mapping[str, Facts],
    lengths: Sequence[int],
) -> DataError:
    asked = stage.model_dump(exclude_defaults=True, include=set(_CONDITIONS))
    conditions = ", ".join(f"{key} = {value!r}" for key, value in asked.items()) or "none"
    known: list[str] = []
    if stage.data is None:
        found = [_facts_of(one, facts) for one in own]
        sources = ", ".join(sorted({one.source for one in found} - {""}))
        models = ", ".join(sorted({one.model for one in found} - {""}))
        known.append(f"there are {len(own):,} examples")
        known += [f"sources: {sources}"] if sources else []
        known += [f"models: {models}"] if models else []
    if lengths:
        known.append(f"lengths: {min(lengths):,} to {max(lengths):,} tokens")
    return DataError(
        f"train.stages: no example for stage {stage.name!r}; its conditions: {conditions}",
        hint="; ".join(known),
    )

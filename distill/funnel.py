"""What became of the traces, counted: after each rule, by difficulty, by source, by length.

A ``Tally`` counts one shard and is added to others; a ``FilterReport`` is what a run remembers.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from distill.rules import FUNNEL, IS_CHOICE

EXAMPLES_PER_RULE: Final = 3
DIFFICULTIES: Final = (
    "never",
    "up to 1/4",
    "up to 1/2",
    "up to 3/4",
    "mostly",
    "always",
    "unknown",
)
"""How often the teacher solves a prompt, hardest first."""


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """What one rule did.

    Attributes:
        rule: Its name.
        dropped: Traces that it dropped.
        exclusive: Those of them that no other rule finds fault with.
        traces_left: Traces that are left after it.
        prompts_left: Prompts that have a trace left after it.
        tokens_left: Tokens of the traces that are left.
        is_choice: Whether it drops good traces, because others like them are kept.
    """

    rule: str
    dropped: int
    exclusive: int
    traces_left: int
    prompts_left: int
    tokens_left: int
    is_choice: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Traces that have something in common.

    Attributes:
        name: Such as a difficulty or a source.
        traces: How many came in.
        kept: How many are trained on.
        tokens: Of those that are trained on.
    """

    name: str
    traces: int
    kept: int
    tokens: int


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the filter did.

    Attributes:
        traces: Traces that came in.
        prompts: Prompts that they belong to.
        tokens: Of them, as the teacher counted or as their size suggests.
        kept: Traces that are trained on.
        kept_prompts: Prompts that they belong to.
        kept_tokens: Their tokens.
        mixed_in: Examples from elsewhere.
        mixed_in_tokens: Their tokens.
        broken: Rows that could not be read.
        verifier: Who judged.
        right: Traces that it accepted.
        unknown: Traces that nobody could judge.
        judged: Traces that were judged here and not before.
        funnel: One step per rule, in order.
        difficulties: By pass rate of the prompt, hardest first.
        sources: By data set.
        lengths: By number of tokens, each part up to twice the one before.
    """

    traces: int
    prompts: int
    tokens: int
    kept: int
    kept_prompts: int
    kept_tokens: int
    mixed_in: int
    mixed_in_tokens: int
    broken: int
    verifier: str
    right: int
    unknown: int
    judged: int
    funnel: tuple[FunnelStep, ...]
    difficulties: tuple[Part, ...]
    sources: tuple[Part, ...]
    lengths: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """One trace as a tally counts it.

    Attributes:
        failed: Names of the rules that drop it, in order.
        tokens: Its length.
        pass_rate: Of its prompt.
        source: Its data set.
        is_right: What the verifier found.
        is_judged_here: Whether it was judged here and not before.
    """

    failed: Sequence[str]
    tokens: int
    pass_rate: float | None
    source: str
    is_right: bool | None
    is_judged_here: bool


@dataclass(slots=True)
class Tally:
    """Sums over traces; adding two tallies is counting all their traces."""

    sums: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    exclusive: Counter[str] = field(default_factory=Counter)
    dropped_tokens: Counter[str] = field(default_factory=Counter)
    lost_prompts: Counter[str] = field(default_factory=Counter)
    parts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: defaultdict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def count(self, group: Iterable[Counted]) -> None:
        """Count the traces of one prompt."""
        last = -1
        for one in group:
            self._count(one)
            rule = FUNNEL.index(one.failed[0]) if one.failed else len(FUNNEL)
            last = max(last, rule)
        self.sums["prompts"] += 1
        if last < len(FUNNEL):
            self.lost_prompts[FUNNEL[last]] += 1

    def _count(self, one: Counted) -> None:
        self.sums["traces"] += 1
        self.sums["tokens"] += one.tokens
        self.sums["right"] += one.is_right is True
        self.sums["unknown"] += one.is_right is None
        self.sums["judged"] += one.is_judged_here
        kept = not one.failed
        for name in _parts_of(one.tokens, one.pass_rate, one.source):
            part = self.parts[name]
            part["traces"] += 1
            part["kept"] += kept
            part["tokens"] += kept * one.tokens
        if kept:
            return
        first = one.failed[0]
        self.dropped[first] += 1
        self.dropped_tokens[first] += one.tokens
        self.exclusive[first] += len(one.failed) == 1

    def move(self, rule: str, tokens: int, *, pass_rate: float | None, source: str) -> None:
        """Count a trace that was kept as dropped by a rule of the whole set."""
        self.dropped[rule] += 1
        self.exclusive[rule] += 1
        self.dropped_tokens[rule] += tokens
        for name in _parts_of(tokens, pass_rate, source):
            self.parts[name]["kept"] -= 1
            self.parts[name]["tokens"] -= tokens

    def show(self, rule: str, example: dict[str, Any]) -> None:
        """Keep an example of what a rule dropped, if there are not enough yet."""
        if len(self.examples[rule]) < EXAMPLES_PER_RULE:
            self.examples[rule].append(example)

    def add(self, other: "Tally") -> None:
        """Count what another tally has counted."""
        for mine, its in (
            (self.sums, other.sums),
            (self.dropped, other.dropped),
            (self.exclusive, other.exclusive),
            (self.dropped_tokens, other.dropped_tokens),
            (self.lost_prompts, other.lost_prompts),
        ):
            mine.update(its)
        for name, part in other.parts.items():
            self.parts[name].update(part)
        for rule, examples in other.examples.items():
            for example in examples:
                self.show(rule, example)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {name: _plain(getattr(self, name)) for name in _FIELDS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Tally":
        """What ``as_json`` gave."""
        tally = cls()
        for name in ("sums", "dropped", "exclusive", "dropped_tokens", "lost_prompts"):
            getattr(tally, name).update(values[name])
        for name, part in values["parts"].items():
            tally.parts[name].update(part)
        for rule, examples in values["examples"].items():
            tally.examples[rule] = list(examples)
        return tally

    @property
    def faulty(self) -> int:
        """Traces dropped by rules that find fault."""
        return sum(count for rule, count in self.dropped.items() if rule not in IS_CHOICE)

    def report(self, rules: Sequence[str], verifier: str) -> FilterReport:
        """The totals.

        Args:
            rules: Names of the rules that could drop a trace, in order.
            verifier: Who judged.
        """
        steps = []
        left, prompts, tokens = (self.sums[name] for name in ("traces", "prompts", "tokens"))
        for rule in rules:
            left -= self.dropped[rule]
            prompts -= self.lost_prompts[rule]
            tokens -= self.dropped_tokens[rule]
            counts = self.dropped[rule], self.exclusive[rule], left, prompts, tokens
            steps.append(FunnelStep(rule, *counts, is_choice=rule in IS_CHOICE))
        return FilterReport(
            traces=self.sums["traces"],
            prompts=self.sums["prompts"],
            tokens=self.sums["tokens"],
            kept=left,
            kept_prompts=prompts,
            kept_tokens=tokens,
            mixed_in=self.sums["mixed_in"],
            mixed_in_tokens=self.sums["mixed_in_tokens"],
            broken=self.sums["broken"],
            verifier=verifier,
            right=self.sums["right"],
            unknown=self.sums["unknown"],
            judged=self.sums["judged"],
            funnel=tuple(steps),
            difficulties=self._parts("difficulty", DIFFICULTIES.index),
            sources=self._parts("source", str),
            lengths=self._parts("length", int),
        )

    def _parts(self, kind: str, key: Any) -> tuple[Part, ...]:  # noqa: ANN401 - any sort key
        names = [name.partition("/")[2] for name in self.parts if name.startswith(f"{kind}/")]
        return tuple(
            Part(name, part["traces"], part["kept"], part["tokens"])
            for name in sorted(names, key=key)
            for part in [self.parts[f"{kind}/{name}"]]
        )


_FIELDS: Final = (
    *("sums", "dropped", "exclusive", "dropped_tokens", "lost_prompts", "parts", "examples"),
)


def _plain(value: Any) -> Any:  # noqa: ANN401 - counters of counters
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    return value


def _parts_of(tokens: int, pass_rate: float | None, source: str) -> tuple[str, str, str]:
    return (
        f"difficulty/{difficulty(pass_rate)}",
        f"source/{source}",
        f"length/{length_class(tokens)}",
    )


def difficulty(pass_rate: float | None) -> str:
    """The class of a prompt by how often it is solved.

    Example:
        >>> [difficulty(rate) for rate in (0.0, 0.25, 0.9, 1.0, None)]
        ['never', 'up to 1/4', 'mostly', 'always', 'unknown']
    """
    if pass_rate is None:
        return "unknown"
    if pass_rate in (0.0, 1.0):
        return "always" if pass_rate else "never"
    return DIFFICULTIES[min(math.ceil(pass_rate * 4), 4)]


def length_class(tokens: int) -> int:
    """The power of two that a length does not exceed; at least 16.

    Example:
        >>> length_class(5), length_class(64), length_class(65)
        (16, 64, 128)
    """
    return max(1 << max(tokens - 1, 0).bit_length(), 16)

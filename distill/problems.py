"""The embedded prompt set: integer problems of two to five steps, made from a seed.

Four kinds, two in words about one thing (``story``, ``shop``), one about several people
(``compare``) and one in symbols (``expression``). Every number from start to answer lies in 0..99.
Each problem comes with its gold answer and its work, the lines a careful person would write.

Splits are disjoint by the *numbers* of a problem, whatever its kind and wording: the numbers in
the order of the text choose the split, so a problem that differs only in its words from a
training problem is a training problem too. ``pretrain`` made the embedded models, ``train`` is
for distillation, ``dev`` for tuning and ``eval`` for the figures that are reported.

This module knows no model and no tokenizer.
"""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from distill.errors import DataError
from distill.types import Prompt

Kind = Literal["story", "shop", "compare", "expression"]
Split = Literal["pretrain", "train", "dev", "eval"]

KINDS: tuple[Kind, ...] = ("story", "shop", "compare", "expression")
LEVELS: tuple[int, ...] = (2, 3, 4, 5)
LARGEST = 99

_SPLITS: tuple[Split, ...] = ("eval", "dev", "train", "train", *(6 * ("pretrain",)))

NAMES = [
    "Ada",
    "Ben",
    "Cleo",
    "Dan",
    "Eva",
    "Finn",
    "Gus",
    "Hana",
    "Ivan",
    "Jun",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tara",
    "Uma",
    "Vera",
    "Will",
    "Yuki",
    "Zoe",
]
ITEMS = [
    "apples",
    "pears",
    "plums",
    "nuts",
    "coins",
    "cards",
    "books",
    "pens",
    "stamps",
    "shells",
    "stones",
    "beads",
    "marbles",
    "stickers",
    "buttons",
    "candles",
    "flowers",
    "eggs",
    "balls",
    "keys",
]
PLACES = ["box", "bag", "basket", "jar", "drawer", "chest", "tin", "crate"]

_GAINS = ("buys", "finds", "gets", "wins", "picks", "adds")
_LOSSES = ("loses", "sells", "lends", "drops", "trades", "donates")
_TRIES = 10_000
_TIMES = {2: "doubles", 3: "triples"}


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, its gold answer and its work.

    Attributes:
        kind: Which of the four kinds.
        text: What is asked.
        work: One line per step, each restating what it uses.
        answer: In 0..99.
        numbers: The numbers in the order of the text; they choose the split.
        level: Arithmetic steps that are needed.
    """

    kind: Kind
    text: str
    work: tuple[str, ...]
    answer: int
    numbers: tuple[int, ...]
    level: int

    @property
    def split(self) -> Split:
        """Where this problem belongs, from its numbers alone: 60, 20, 10 and 10 percent."""
        return _SPLITS[zlib.crc32(repr(self.numbers).encode()) % len(_SPLITS)]


@dataclass(frozen=True, slots=True)
class _Step:
    """``left op right = result``, all in 0..99."""

    left: int
    op: str
    right: int

    @property
    def result(self) -> int:
        if self.op == "+":
            return self.left + self.right
        if self.op == "-":
            return self.left - self.right
        return self.left * self.right

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.result}"


def make_problem(kind: Kind, level: int, rng: random.Random) -> Problem:
    """Make one problem of ``level`` steps (1..5), in whatever split its numbers put it."""
    return _MAKERS[kind](level, rng)


def problems(
    split: Split,
    seed: int,
    *,
    kinds: Sequence[Kind] = KINDS,
    levels: Sequence[int] = LEVELS,
) -> Iterator[Problem]:
    """Endless distinct problems of a split, kinds and levels in turn.

    Args:
        split: Only problems whose numbers belong to it.
        seed: The same seed gives the same problems in the same order.
        kinds: Which kinds to take.
        levels: Which numbers of steps to take, each in 1..5.

    Raises:
        ValueError: If ``kinds`` or ``levels`` is empty or holds something unknown.
        DataError: When a kind and level has no further problem (level 1 has some thousands).
    """
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, not {list(kinds)}")
    if not levels or not set(levels) <= {1, *LEVELS}:
        raise ValueError(f"levels must be some of 1..5, not {list(levels)}")
    rng = random.Random(f"{split}/{seed}")
    seen: set[str] = set()
    while True:
        for level in levels:
            for kind in kinds:
                yield _new_problem(kind, level, rng, split, seen)


def _new_problem(
    kind: Kind, level: int, rng: random.Random, split: Split, seen: set[str]
) -> Problem:
    for _ in range(_TRIES):
        problem = make_problem(kind, level, rng)
        if problem.split == split and problem.text not in seen:
            seen.add(problem.text)
            return problem
    raise DataError(
        f"the embedded problems have no further {kind} problem of {level} steps in {split!r}",
        hint="ask for fewer problems, or for more kinds and levels",
    )


def embedded_prompts(
    split: Split,
    count: int,
    seed: int,
    *,
    kinds: Sequence[Kind] = KINDS,
    levels: Sequence[int] = LEVELS,
) -> list[Prompt]:
    """The first ``count`` problems of a split as prompts with gold answers.

    Example:
        >>> prompt = embedded_prompts("train", count=1, seed=1)[0]
        >>> prompt.id, prompt.kind, prompt.level
        ('train-1/0', 'story', 2)
    """
    endless = problems(split, seed, kinds=kinds, levels=levels)
    return [
        Prompt(
            id=f"{split}-{seed}/{index}",
            text=problem.text,
            answer=str(problem.answer),
            kind=problem.kind,
            level=problem.level,
        )
        for index, problem in zip(range(count), endless, strict=False)
    ]


def _next_step(value: int, rng: random.Random, *, factors: Sequence[int]) -> _Step:
    """A step from ``value`` that stays in 0..99; each operation as likely where it is possible."""
    fitting = [factor for factor in factors if 0 < value * factor <= LARGEST]
    choices = [op for op, possible in (("+", value < LARGEST), ("-", value > 1)) if possible]
    op = rng.choice([*choices, "*"] if fitting else choices)
    if op == "*":
        return _Step(value, "*", rng.choice(fitting))
    if op == "+":
        return _Step(value, "+", rng.randint(1, min(50, LARGEST - value)))
    return _Step(value, "-", rng.randint(1, min(60, value - 1)))


def _chain(level: int, rng: random.Random, *, factors: Sequence[int] = (2, 3)) -> list[_Step]:
    """``level`` steps, each starting from the result of the one before."""
    value = rng.randint(2, 60)
    steps = []
    for _ in range(level):
        steps.append(_next_step(value, rng, factors=factors))
        value = steps[-1].result
    return steps


def _story(level: int, rng: random.Random) -> Problem:
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    steps = _chain(level, rng)
    start = steps[0].left
    opening = rng.choice(
        (
            f"{name} has {start} {item}.",
            f"{name} starts with {start} {item}.",
            f"There are {start} {item} in the {rng.choice(PLACES)} of {name}.",
        )
    )
    sentences, work = [opening], [f"start {start}"]
    for step in steps:
        if step.op == "*":
            event = _TIMES[step.right]
            sentence = f"{event} them"
        else:
            event = f"{rng.choice(_GAINS if step.op == '+' else _LOSSES)} {step.right}"
            sentence = f"{event} more" if step.op == "+" else event
        sentences.append(f"{rng.choice(('Then', 'Next', 'Later', 'Now'))} {name} {sentence}.")
        work.append(f"{event}: {step}")
    question = rng.choice(
        (f"How many {item} are left?", f"How many {item} does {name} have in the end?")
    )
    numbers = (start, *(step.right for step in steps))
    text = " ".join([*sentences, question])
    return Problem("story", text, tuple(work), steps[-1].result, numbers, level)


def _compare(level: int, rng: random.Random) -> Problem:
    people, item = rng.sample(NAMES, level + 1), rng.choice(ITEMS)
    steps = _chain(level, rng)
    start = steps[0].left
    sentences, work = [f"{people[0]} has {start} {item}."], [f"{people[0]} {start}"]
    for step, before, person in zip(steps, people, people[1:], strict=False):
        if step.op == "*":
            relation, rest = f"{step.right} times", f"as many as {before}"
        else:
            relation = f"{step.right} {'more' if step.op == '+' else 'fewer'}"
            rest = f"than {before}"
        sentences.append(f"{person} has {relation} {rest}.")
        work.append(f"{person} {relation}: {step}")
    sentences.append(f"How many {item} does {people[-1]} have?")
    numbers = (start, *(step.right for step in steps))
    text = " ".join(sentences)
    return Problem("compare", text, tuple(work), steps[-1].result, numbers, level)


@dataclass(slots=True)
class _Purchase:
    """What was bought so far: its steps, their work, the numbers and the wording."""

    steps: list[_Step] = field(default_factory=list)
    work: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.steps[-1].result


def _shop(level: int, rng: random.Random) -> Problem:
    """Products of count and price, added up, then money that is spent or comes back."""
    name = rng.choice(NAMES)
    bought = _purchase(_things(level, rng), rng)
    if bought.total >= LARGEST and len(bought.parts) > 1:
        return _shop(level, rng)
    sentences = [f"{name} buys {' and '.join(bought.parts)}."]
    question = f"How many coins does {name} pay?"
    while len(bought.steps) < level:
        if len(bought.steps) == level - 1 and bought.total < LARGEST:
            paid = rng.randint(bought.total + 1, LARGEST)
            step, event = _Step(paid, "-", bought.total), f"change from {paid}"
            sentences.append(f"{name} pays with {paid} coins.")
            question = "How many coins come back?"
            bought.numbers.append(paid)
        else:
            op, cause = rng.choice((("+", "delivery"), ("+", "wrapping"), ("-", "discount")))
            room = LARGEST - 1 - bought.total if op == "+" else bought.total - 1
            if room < 1:
                return _shop(level, rng)
            amount = rng.randint(1, min(20, room))
            step, event = _Step(bought.total, op, amount), f"{cause} {amount}"
            sentences.append(f"The {cause} is {amount} coins.")
            bought.numbers.append(amount)
        bought.steps.append(step)
        bought.work.append(f"{event}: {step}")
    text = " ".join([*sentences, question])
    return Problem("shop", text, tuple(bought.work), bought.total, tuple(bought.numbers), level)


def _things(level: int, rng: random.Random) -> int:
    """One thing is one step, two are three; with three steps in all it is either."""
    steps_of_two = 3
    if level == steps_of_two:
        return rng.choices((2, 1))[0]
    return 2 if level > steps_of_two else 1


def _purchase(things: int, rng: random.Random) -> _Purchase:
    """Buy one or two things; with two, add them up."""
    bought = _Purchase()
    for thing in rng.sample(ITEMS, things):
        count = rng.randint(2, 9)
        price = rng.randint(2, min(30, (LARGEST if things == 1 else 60) // count))
        bought.steps.append(_Step(count, "*", price))
        bought.parts.append(f"{count} {thing} at {price} coins each")
        bought.work.append(f"{count} {thing} at {price}: {bought.steps[-1]}")
        bought.numbers += [count, price]
    if things > 1:
        bought.steps.append(_Step(bought.steps[0].result, "+", bought.steps[1].result))
        bought.work.append(f"total: {bought.steps[-1]}")
    return bought


def _expression(level: int, rng: random.Random) -> Problem:
    """A chain in brackets, read from the inside: ``((12 + 7) - 5) * 2``."""
    steps = _chain(level, rng, factors=(2, 3, 4, 5, 6, 7, 8, 9))
    start = steps[0].left
    tails = [f"{step.op} {step.right}" for step in steps]
    work = []
    for index, step in enumerate(steps):
        if 0 < index < level - 1:
            work.append(_bracketed(step.left, tails[index:]))
        work.append(str(step))
    wording = rng.choice(("What is {}?", "Work out {}.", "Find {}."))
    numbers = (start, *(step.right for step in steps))
    text = wording.format(_bracketed(start, tails))
    return Problem("expression", text, tuple(work), steps[-1].result, numbers, level)


def _bracketed(start: int, tails: Sequence[str]) -> str:
    """``12, ["+ 7", "- 5", "* 2"] -> ((12 + 7) - 5) * 2``."""
    text = "(" * (len(tails) - 1) + f"{start} {tails[0]}"
    for tail in tails[1:]:
        text += f") {tail}"
    return text


_MAKERS: dict[Kind, Callable[[int, random.Random], Problem]] = {
    "story": _story,
    "shop": _shop,
    "compare": _compare,
    "expression": _expression,
}

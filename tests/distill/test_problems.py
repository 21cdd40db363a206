import itertools
import re

import pytest

from distill.errors import DataError
from distill.problems import KINDS, LEVELS, Problem, Split, embedded_prompts, problems

MANY = 800


def first(split: Split, seed: int = 1, count: int = MANY) -> list[Problem]:
    return list(itertools.islice(problems(split, seed), count))


def evaluate_left_to_right(expression: str) -> int:
    """An independent answer: the innermost bracket first, by rewriting text."""
    while match := re.search(r"\((\d+) ([+*-]) (\d+)\)|^(\d+) ([+*-]) (\d+)$", expression):
        left, operation, right = [group for group in match.groups() if group is not None]
        results = {
            "+": int(left) + int(right),
            "-": int(left) - int(right),
            "*": int(left) * int(right),
        }
        expression = (
            expression[: match.start()] + str(results[operation]) + expression[match.end() :]
        )
    return int(expression)


def test_splits_share_no_numbers() -> None:
    seen = {split: {problem.numbers for problem in first(split)} for split in _SPLITS}
    for one, other in itertools.combinations(_SPLITS, 2):
        assert not seen[one] & seen[other]


_SPLITS: tuple[Split, ...] = ("pretrain", "train", "dev", "eval")


def test_kinds_and_levels_come_in_turn() -> None:
    cells = {(problem.kind, problem.level) for problem in first("train", count=16)}
    assert cells == set(itertools.product(KINDS, LEVELS))


def test_every_line_of_work_is_true_and_the_last_is_the_answer() -> None:
    for problem in first("train"):
        equations = [
            match.groups()
            for line in problem.work
            for match in re.finditer(r"(\d+) ([+*-]) (\d+) = (\d+)$", line)
        ]
        assert len(equations) == problem.level
        for left, operation, right, result in equations:
            assert evaluate_left_to_right(f"{left} {operation} {right}") == int(result)
        assert int(equations[-1][3]) == problem.answer
        assert all(0 <= int(number) <= 99 for equation in equations for number in equation[::2])
        assert 0 <= int(equations[0][3]) <= 99


def test_expressions_have_the_answer_that_rewriting_gives() -> None:
    for problem in first("eval"):
        if problem.kind == "expression":
            expression = re.sub(r"^(What is|Work out|Find) |[.?]$", "", problem.text)
            assert evaluate_left_to_right(expression) == problem.answer


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    assert first("train", seed=5, count=50) == first("train", seed=5, count=50)
    texts = {problem.text for problem in first("train", seed=5)}
    assert not texts & {problem.text for problem in first("train", seed=6, count=50)}


def test_no_problem_comes_twice() -> None:
    texts = [problem.text for problem in first("dev")]
    assert len(set(texts)) == len(texts)


def test_asking_for_more_than_there_are_says_so() -> None:
    endless = problems("dev", 1, kinds=["expression"], levels=[1])
    with pytest.raises(DataError, match="no further expression problem of 1 steps"):
        list(itertools.islice(endless, 100_000))


@pytest.mark.parametrize(("kinds", "levels"), [([], [2]), (["story"], []), (["story"], [6])])
def test_unknown_kinds_and_levels_are_refused(kinds: list[str], levels: list[int]) -> None:
    with pytest.raises(ValueError, match="must be some of"):
        next(problems("dev", 1, kinds=kinds, levels=levels))  # type: ignore[arg-type]


def test_prompts_carry_gold_kind_and_level() -> None:
    for prompt, problem in zip(embedded_prompts("dev", 16, seed=2), first("dev", 2), strict=False):
        assert (prompt.text, prompt.answer) == (problem.text, str(problem.answer))
        assert (prompt.kind, prompt.level) == (problem.kind, problem.level)

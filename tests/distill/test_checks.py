"""Rules about one trace: each finds what it names and lets good traces pass."""

import pytest

from distill.checks import (
    check_agreement,
    check_code_syntax,
    check_finished,
    check_length,
    label_code_in_reasoning,
    label_long_paragraph,
)
from distill.results import answer_of, last_result, same_result
from distill.rule_table import RULES
from distill.types import Completion, FinishReason

BOX = r"The answer is \boxed{3}."


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("text", "reasoning", "finish", "fault"),
    [
        (BOX, "1 + 2 = 3", "stop", ""),
        ("It is three.", "1 + 2 = 3", "stop", ""),
        ("", "1 + 2", "length", "cut at the token limit"),
        (" \n", "1 + 2", "stop", "the answer is empty"),
        (BOX, None, "stop", "no reasoning"),
        (BOX, " ", "stop", "the reasoning is empty"),
        (BOX, "a <think> b", "stop", "stray <think> in the reasoning"),
        (f"{BOX}</think>", "a", "stop", "stray </think> in the answer"),
    ],
)
def test_a_trace_must_be_whole(
    text: str, reasoning: str | None, finish: FinishReason, fault: str
) -> None:
    check = check_finished(Completion(text, reasoning, finish))
    assert (check.ok, check.reason, check.value) == (not fault, fault, finish)


def test_reasoning_can_be_made_optional() -> None:
    assert check_finished(Completion(BOX), needs_reasoning=False).ok


@pytest.mark.parametrize(
    ("count", "is_ok", "reason"),
    [
        (1, False, "1 reasoning tokens, fewer than 2"),
        (2, True, ""),
        (4, True, ""),
        (5, False, "5 reasoning tokens, more than 4"),
    ],
)
def test_reasoning_must_have_its_length(count: int, is_ok: bool, reason: str) -> None:
    check = check_length(Completion(BOX, "w " * count), words, least=2, most=4)
    assert (check.ok, check.reason, check.value) == (is_ok, reason, count)


def test_no_reasoning_has_no_length() -> None:
    assert check_length(Completion(BOX), words).value == 0
    assert not check_length(Completion(BOX), words, least=1).ok


@pytest.mark.parametrize(
    ("reasoning", "text"),
    [
        ("1 + 2 = 3, so the answer is 3.", BOX),
        (r"So \boxed{3}.", BOX),
        (r"First \boxed{4}? No: \boxed{3}.", BOX),
        ("The answer is 5. Wait, I forgot one carry, it must be 3 then.", BOX),
        ("So the answer is 0.5.", r"\boxed{\frac{1}{2}}"),
        ("So the answer is $2\\sqrt{3}$.", r"\boxed{2\sqrt{3}}"),
        ("So the answer is 2\\sqrt{3} cm.", r"\boxed{2\sqrt{3}}"),
        ("The answer is 12 cm.", r"\boxed{12}"),
        ("The answer is 12.", r"It is \boxed{12 \text{ cm}}."),
        ("So the answer is (B).", "B"),
        ("The answer is 1,200.", "The answer is 1200."),
        ("We never say what comes out.", BOX),
        ("The answer is 3.", "As was to be shown, the claim holds for every n that there is."),
        ("", BOX),
        ("Also ist die Antwort 42.", "Die Antwort ist 42."),
        ("\u041e\u0442\u0432\u0435\u0442: 42.", r"\boxed{42}"),
        ("所以答案是42。", r"\boxed{42}"),
        ("よって答えは42です。", r"\boxed{42}"),
        ("따라서 정답은 42이다.", r"\boxed{42}"),
        ("La respuesta es 42.", "La réponse est 42."),
    ],
)
def test_reasoning_that_reaches_its_answer_agrees(reasoning: str, text: str) -> None:
    check = check_agreement(Completion(text, reasoning))
    assert check.ok, check.reason


@pytest.mark.parametrize(
    ("reasoning", "text", "reason"),
    [
        ("So the answer is 5.", BOX, "the reasoning ends with 5, the answer is 3"),
        (r"So \boxed{5}.", BOX, "the reasoning ends with 5, the answer is 3"),
        (
            "So the answer is (B).",
            "The answer is (C).",
            "the reasoning ends with B, the answer is C",
        ),
        ("所以答案是42。", "答案是43。", "the reasoning ends with 42, the answer is 43"),
        ("따라서 정답은 42이다.", "정답은 43", "the reasoning ends with 42, the answer is 43"),
        ("Die Antwort lautet -7.", r"\boxed{7}", "the reasoning ends with -7, the answer is 7"),
    ],
)
def test_an_answer_that_its_reasoning_does_not_reach_is_found(
    reasoning: str, text: str, reason: str
) -> None:
    check = check_agreement(Completion(text, reasoning))
    assert (check.ok, check.reason) == (False, reason)
    assert (check.value, check.threshold) == (last_result(reasoning), answer_of(text))


def test_another_way_to_compare_results_can_be_given() -> None:
    completion = Completion(r"\boxed{b}", r"\boxed{a}")
    assert not check_agreement(completion).ok
    assert check_agreement(completion, is_same=lambda left, right: True).ok


def test_results_are_compared_by_value() -> None:
    assert same_result("x = 12", "12")
    assert not same_result("x = 12", "y = 13")
    assert not same_result("(1, 2)", "1")


@pytest.mark.parametrize(
    "code",
    [
        "print(1)",
        "def f(x):\n    return x\n",
        "    x = 1\n    y = 2",  # cut out of a function
        "await f()",
        "return 5",
        'import re\nre.compile("\\d")',
        ">>> 1 + 1\n2",
        "",
    ],
)
def test_python_that_parses_passes(code: str) -> None:
    assert check_code_syntax(Completion(f"Here:\n```python\n{code}\n```\nDone.")).ok


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("for i in x\n    pass", "line 1: expected ':'"),
        ("x = 1\nprint 'a'", "line 2: Missing parentheses"),
        ("def f():", "line 1: expected an indented block"),
        ("x = (1,", "line 1: '(' was never closed"),
        ("x = '\ud800'", "surrogates not allowed"),
        ("x = '\0'", "null"),
        ("(" * 5000, "too many nested parentheses"),
        ("-" * 50_000 + "1", "nested too deeply"),
    ],
)
def test_python_that_does_not_parse_is_named(code: str, fault: str) -> None:
    text = f"```py\nprint(1)\n```\n```Python\n{code}\n```"
    check = check_code_syntax(Completion(text))
    assert not check.ok
    assert check.value == 1
    assert check.reason.startswith("Python block 2 does not parse: ")
    assert fault in check.reason


def test_other_blocks_and_those_of_the_reasoning_are_not_parsed() -> None:
    broken = "for for for\n```"
    for name in ("", "c", "text", "pycon"):
        assert check_code_syntax(Completion(f"```{name}\n{broken}")).ok
    assert check_code_syntax(Completion(BOX, f"```python\n{broken}")).ok
    assert not check_code_syntax(Completion(f"  ```python\n  {broken}")).ok
    assert not check_code_syntax(Completion("```python\nfor for")).ok


def test_a_threshold_lets_broken_blocks_pass() -> None:
    check = check_code_syntax(Completion("```py\nfor\n```"), threshold=1)
    assert (check.ok, check.value, check.reason) == (True, 1, "")


def test_labels_measure_and_never_fail() -> None:
    reasoning = f"short\n\n{'long ' * 1000}\n \nand\n```\ncode\n```\n\n```py\ncode\n```"
    paragraph = label_long_paragraph(Completion(BOX, reasoning))
    code = label_code_in_reasoning(Completion(BOX, reasoning))
    assert (paragraph.value, paragraph.ok, paragraph.threshold) == (4999, True, None)
    assert (code.value, code.ok) == (2, True)
    assert label_long_paragraph(Completion(BOX)).value == 0


def test_each_rule_says_what_it_is_and_where_it_comes_from() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names) == 12
    assert all(rule.source and rule.meaning and rule.version >= 1 for rule in RULES)
    assert [rule.name for rule in RULES if rule.is_label] == ["long_paragraph", "code_in_reasoning"]

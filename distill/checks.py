"""Rules about one trace that need no other trace: whole, long enough, of one mind, parseable.

Each gives a ``Check``. Two are labels: they measure and never fail. The rules about language,
repetition, contamination and duplicates have modules of their own; ``distill.rule_table`` lists
all with their defaults.
"""

import re
import textwrap
import warnings
from ast import PyCF_ONLY_AST
from collections.abc import Callable
from typing import Final

from distill.results import answer_of, last_result, same_result
from distill.rule_table import (
    AGREEMENT,
    CODE_IN_REASONING,
    CODE_SYNTAX,
    FINISHED,
    LENGTH,
    LONG_PARAGRAPH,
    RuleInfo,
)
from distill.types import Check, Completion
from distill.verify.form import structure_fault, unfinished_fault


def check_finished(completion: Completion, *, needs_reasoning: bool = True) -> Check:
    """Whether a completion came to its own end, with whole think tags and an answer.

    Example:
        >>> check_finished(Completion("", "1 + 2 = 3")).reason
        'the answer is empty'
    """
    fault = unfinished_fault(completion) or structure_fault(
        completion, needs_reasoning=needs_reasoning, needs_box=False
    )
    return _check(FINISHED, completion.finish, None, fault)


def check_length(
    completion: Completion,
    count_tokens: Callable[[str], int],
    *,
    least: int = 0,
    most: int | None = None,
) -> Check:
    """Hold the length of the reasoning against two limits.

    Args:
        completion: Its reasoning is counted; none counts as nothing.
        count_tokens: Tokens of a text, by the student's tokenizer.
        least: Tokens that still pass.
        most: Tokens that still pass; ``None`` for any number.

    Example:
        >>> check_length(Completion("3", "1 + 2"), lambda text: len(text.split()), most=2).reason
        '3 reasoning tokens, more than 2'
    """
    tokens = count_tokens(completion.reasoning) if completion.reasoning else 0
    if tokens < least:
        return _check(LENGTH, tokens, least, f"{tokens} reasoning tokens, fewer than {least}")
    if most is not None and tokens > most:
        return _check(LENGTH, tokens, most, f"{tokens} reasoning tokens, more than {most}")
    return _check(LENGTH, tokens, most, "")


def check_agreement(
    completion: Completion, *, is_same: Callable[[str, str], bool] = same_result
) -> Check:
    r"""Whether the reasoning's last result is the answer; passes where either cannot be read.

    Args:
        completion: Reasoning and answer.
        is_same: Compares two results; symmetric.

    Example:
        >>> check_agreement(Completion(r"\boxed{5}", "1 + 2 = 3. So the answer is 3.")).reason
        'the reasoning ends with 3, the answer is 5'
    """
    answer = answer_of(completion.text)
    reasoning = completion.reasoning or ""
    result = last_result(reasoning)
    if answer is None or result is None or is_same(result, answer):
        return _check(AGREEMENT, result, answer, "")
    if _is_in(answer, reasoning[-_TAIL_LENGTH:], is_same):
        return _check(AGREEMENT, answer, answer, "")
    reason = f"the reasoning ends with {_shown(result)}, the answer is {_shown(answer)}"
    return _check(AGREEMENT, result, answer, reason)


def check_code_syntax(completion: Completion, *, threshold: float | None = None) -> Check:
    r"""Count the Python blocks of the answer that do not parse.

    Blocks of the reasoning may be fragments and are not looked at, nor are blocks of other
    languages or without a name, sessions of an interpreter, and blocks over 100,000 characters.

    Example:
        >>> check_code_syntax(Completion("```python\nfor i in x\n    pass\n```")).reason
        "Python block 1 does not parse: line 1: expected ':'"
    """
    limit = threshold if threshold is not None else CODE_SYNTAX.default or 0.0
    faults = [
        f"Python block {number} does not parse: {fault}"
        for number, block in enumerate(_python_blocks(completion.text), 1)
        if (fault := _syntax_fault(block))
    ]
    return _check(CODE_SYNTAX, len(faults), limit, faults[0] if len(faults) > limit else "")


def label_long_paragraph(completion: Completion) -> Check:
    """Measure the reasoning's longest paragraph, in characters."""
    paragraphs = _BLANK_LINES.split(completion.reasoning or "")
    longest = max(len(paragraph.strip()) for paragraph in paragraphs)
    return _check(LONG_PARAGRAPH, longest, None, "")


def label_code_in_reasoning(completion: Completion) -> Check:
    """Count the code blocks of the reasoning."""
    return _check(CODE_IN_REASONING, len(_BLOCK.findall(completion.reasoning or "")), None, "")


_BLANK_LINES = re.compile(r"\n\s*\n")
_BLOCK = re.compile(
    r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
_PYTHON: Final = frozenset({"python", "py", "python3"})
_LONGEST_BLOCK: Final = 100_000
_TAIL_LENGTH: Final = 400
"""Characters at the end of the reasoning in which the answer may stand among others."""
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?|\\[dt]?frac\{[^{}]*\}\{[^{}]*\}")
_SHOWN_LENGTH: Final = 40


def _python_blocks(text: str) -> list[str]:
    return [
        textwrap.dedent(code)
        for name, code in _BLOCK.findall(text)
        if name.lower() in _PYTHON and len(code) <= _LONGEST_BLOCK and ">>> " not in code
    ]


def _syntax_fault(code: str) -> str:
    """Why a program does not parse; nothing of it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as for "\d" in a plain string
            compile(code, "<block>", "exec", flags=PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except ValueError as error:  # half a character, or a zero byte
        return str(error)
    except (RecursionError, MemoryError):
        return "nested too deeply"
    return ""


def _is_in(answer: str, text: str, is_same: Callable[[str, str], bool]) -> bool:
    """Whether a text holds the answer: letter by letter, or as one of its numbers."""
    said = "".join(answer.split()) in "".join(text.split()) and len(answer) > 1
    return said or any(is_same(number, answer) for number in _NUMBER.findall(text))


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _check(
    rule: RuleInfo, value: float | str | None, threshold: float | str | None, fault: str
) -> Check:
    return Check(rule.name, rule.version, value, threshold, ok=not fault, reason=fault)

r"""What a text comes to: its last box, or what follows *the answer is*, in eight languages."""

import re
from typing import Final

from distill.verify.answer import answer_key, answer_part
from distill.verify.boxes import find_boxes


def last_result(reasoning: str) -> str | None:
    r"""What the last box of some reasoning holds or, without one, what it last calls the answer.

    Example:
        >>> last_result("It is 3, so the answer is $\\frac{1}{2}$, not 2.")
        '\\frac{1}{2}'
        >>> [last_result(text) for text in ("정답은 42입니다.", "Also ist die Antwort 7.", "7")]
        ['42', '7', None]
    """
    boxes = find_boxes(reasoning)
    if boxes.contents:
        return boxes.contents[-1].strip()
    start = _end_of_last_phrase(reasoning)
    if start is None:
        return None
    if formula := _FORMULA.match(reasoning, start):
        return (formula[1] or formula[2]).strip()
    value = _VALUE.search(reasoning, start, start + _REACH)
    return value[0] if value else None


def answer_of(text: str) -> str | None:
    r"""What an answer part answers; a text of one line is its own answer.

    Example:
        >>> answer_of(r"So $x = 2$, \boxed{x = 2}."), answer_of("Answer: 12 apples"), answer_of("B")
        ('x = 2', '12', 'B')
    """
    part = answer_part(text).strip()
    if result := last_result(part):
        return result
    is_short = 0 < len(part) <= _SHORT_ANSWER and "\n" not in part
    return part.rstrip(".") if is_short else None


def same_result(left: str, right: str) -> bool:
    """Whether two results are equal, or hold the same one number beside other words.

    Example:
        >>> same_result("0.5", "1/2"), same_result("12 cm", "x = 12"), same_result("2, 3", "2")
        (True, True, False)
    """
    if answer_key(left) == answer_key(right):
        return True
    numbers = [_VALUE.findall(side) for side in (left, right)]
    return all(len(found) == 1 for found in numbers) and (
        answer_key(numbers[0][0]) == answer_key(numbers[1][0])
    )


def _end_of_last_phrase(text: str) -> int | None:
    """Where the last *the answer is* ends; words are looked for first, as that is far faster."""
    lower = text.lower()
    if len(lower) != len(text):  # some capitals have two small letters
        lower = text
    places = {word: lower.rfind(word) for word in _WORDS}
    while (place := max(places.values())) >= 0:
        if phrase := _PHRASE.match(text, place):
            return phrase.end()
        word = max(places, key=lambda one: places[one])
        places[word] = lower.rfind(word, 0, place)
    return None


_REACH: Final = 60
"""Characters after *the answer* in which it stands."""
_SHORT_ANSWER: Final = 40
_WORDS: Final = (
    *("answer", "result", "solution", "antwort", "ergebnis", "lösung", "respuesta", "resultado"),
    *(
        "réponse",
        "résultat",
        "答案",
        "答え",
        "正解",
        "정답",
        "답",
        "\u043e\u0442\u0432\u0435\u0442",
    ),
)
_PHRASE = re.compile(
    r"\b(?:answer|result|solution)\b(?:\s+is|\s+equals|\s*[:=])"
    r"|\b(?:antwort|ergebnis|lösung)\b(?:\s+ist|\s+lautet|\s*[:=])?"
    r"|\b(?:respuesta|resultado)\b(?:\s+es|\s*[:=])"
    r"|\b(?:réponse|résultat)\b(?:\s+est|\s*[:=])"
    r"|答案(?:是|为|為|[:\uff1a])|(?:答え|正解)(?:は|[:\uff1a])|(?:정답|답)(?:은|[:\uff1a])"
    r"|\b\u043e\u0442\u0432\u0435\u0442\b(?:\s+равен|\s*[:=\u2014-])",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"[\s:*=]*(?:\$+([^$\n]{1,80})\$+|\\\(([^\n]{1,80}?)\\\))")
_VALUE = re.compile(
    r"[-+\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?%?(?![\d\\^(]|[A-Za-z]\b)"  # not of 2\sqrt{3}, 4x
    r"|[-+]?\\[dt]?frac\{[^{}]*\}\{[^{}]*\}"
    r"|(?<![A-Za-z])[A-E](?![A-Za-z'\u2019])"
)

"""Finding "the answer is ..." in eight languages, when an answer part has no box.

The last phrase counts. What follows it up to the end of the sentence is the answer; "the answer is
not 5" is none.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

import re

_SEARCHED = 20_000
"""Only the end of a text is searched: the answer comes last."""
_LONGEST = 2_000

_COPULA = r"(?:is|are|equals|would be|will be|must be|should be|therefore|thus|=|:|：|to be)"
_MARKS = r"[\s*_`]*"
_PHRASES = (
    rf"(?:final\s+)?answers?\b{_MARKS}(?:[^.:=\n]{{0,60}}?\s)??{_COPULA}",
    r"정답|최종\s*답|답안|답변|해답|(?<![가-힣])답",
    r"答案|正确答案|最終答案|答え|解答|正解|こたえ|(?<![\u4e00-\u9fff回应])答(?=\s*[:：是为])",
    r"(?:правильный\s+|окончательный\s+)?ответ(?:ом)?(?![а-я])",
    r"respuesta(?:\s+(?:final|correcta))?",
    r"r[ée]ponse(?:\s+(?:finale|correcte))?",
    r"(?:antwort|lösung|ergebnis)\b",
)
_VERBS = (
    r"(?:\s*(?:은|는|이|가|：|:|=|是|为|為|就是|应为|應為|应该是|は|が|(?:—|-{1,2}|–)(?=\s)|равен|является|это|будет"
    r"|est\b(?:\s+donc)?|es\b(?:\s+igual\s+a)?|sería|ist\b(?:\s+also)?|lautet(?:\s+also)?|beträgt))"
)
_FINAL = re.compile(
    rf"(?:{_PHRASES[0]}|(?:{'|'.join(_PHRASES[1:])}){_MARKS}{_VERBS}{{1,2}}|^[ \t]*\#{{4}}"
    rf"|^[#*_ \t]*(?:final\s|correct\s)?answer[*_:： \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(
    r"[。！？]|(?<=[\w)\]}$*%°])[.!?](?=\s|$|[*\"'])|\s(?:because|since|which|so that|weil)\s"
)
_POLITE = re.compile(r"\s*(?:입니다|이다|이에요|예요|임|です|である|だ|となります)\s*$")
_NEGATION = re.compile(
    r"\s*(?:not\b|never\b|nicht\b|kein|не\s|no\s|pas\b|n'|不|ではな|아니|unknown|unclear)",
    re.IGNORECASE,
)
_LEADING = re.compile(r"[\s:：=*_`>\-–—]*(?:\\text\{[^{}]*\})?\s*")
_THAT_IS = re.compile(r"[A-Za-z].*\b(?:is|are)\b:?\s+")  # "the largest n is 34"
_MINUS = re.compile(r"-\s?[\d\\$(.]")
_MATHS = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)


def find_phrase(text: str) -> str | None:
    """The answer that the last phrase of a text gives; ``None`` if there is none.

    Example:
        >>> find_phrase("So the answer is **42**. I hope it is correct.")
        '42'
        >>> find_phrase("정답은 42입니다."), find_phrase("Die Antwort ist 42.")
        ('42', '42')
        >>> find_phrase("The answer is not 42.") is None
        True
    """
    text = text[-_SEARCHED:]
    found = None
    for match in _FINAL.finditer(text):
        end = match.end()
        line_end = text.find("\n", end)
        rest = text[end : line_end if line_end >= 0 else len(text)]
        if _NEGATION.match(rest):
            continue
        found = _cleaned(rest) or _next_line(text, end) or found
    return found


def sentence(text: str) -> str:
    """What comes before the end of the first sentence."""
    end = _END.search(text)
    return text[: end.start()] if end else text


def _cleaned(rest: str) -> str:
    start = _LEADING.match(rest)
    begin = start.end() if start else 0
    if begin and _MINUS.match(rest, begin - 1):
        begin -= 1
    rest = sentence(rest[begin : begin + _LONGEST])
    rest = _THAT_IS.sub("", rest)
    rest = _POLITE.sub("", rest).strip().strip("*_`\"'").strip()
    return rest if any(char.isalnum() for char in rest) else ""


def _next_line(text: str, start: int) -> str:
    """The answer below its announcement, such as a displayed formula."""
    rest = text[start : start + _LONGEST].lstrip(" \t\r\n:：*_`")
    if match := _MATHS.match(rest):
        return (match[1] or match[2]).strip()
    line = rest.partition("\n")[0]
    return _cleaned(line)

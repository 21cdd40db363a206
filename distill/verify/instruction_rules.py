"""What each instruction of IFEval asks of an answer: one function each, by the paper's names."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from distill.function_words import NAMES
from distill.language import language_of

Given = Mapping[str, Any]
Rule = Callable[[str, Given], bool]


class UnknownLanguageError(Exception):
    """A language that cannot be told."""


_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*")
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f]+[\"')\]\u201d\u2019*]*(?=\s|$)")
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|etc|vs|e\.g|i\.e))\.$")
_BULLET = re.compile(r"^\s*[*-](?![*-])\s*\S", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_TITLE = re.compile(r"<<[^\n]+?>>")
_CHOICES: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _holds(count: int, relation: str, limit: int) -> bool:
    if relation not in ("less than", "at least"):
        raise ValueError(f"a relation is 'less than' or 'at least', not {relation!r:.40}")
    return count < limit if relation == "less than" else count >= limit


def _number(given: Given, name: str) -> int:
    return int(given[name])


def _word(given: Given, name: str) -> str:
    return str(given[name]).strip()


def _existence(text: str, given: Given) -> bool:
    return all(_times(text, word) for word in given["keywords"])


def _frequency(text: str, given: Given) -> bool:
    return _holds(
        _times(text, _word(given, "keyword")), _word(given, "relation"), _number(given, "frequency")
    )


def _forbidden(text: str, given: Given) -> bool:
    return not any(
        re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text, re.IGNORECASE)
        for word in given["forbidden_words"]
    )


def _letters(text: str, given: Given) -> bool:
    count = text.lower().count(_word(given, "letter").lower())
    return _holds(count, _word(given, "let_relation"), _number(given, "let_frequency"))


def _times(text: str, keyword: str) -> int:
    return len(re.findall(re.escape(keyword.strip()), text, re.IGNORECASE))


def _language(text: str, given: Given) -> bool:
    wanted = _word(given, "language")
    found = language_of(text)
    if wanted not in NAMES:
        raise UnknownLanguageError(f"nobody here can tell the language '{wanted}'")
    return found == wanted


def _sentences(text: str, given: Given) -> bool:
    return _holds(count_sentences(text), _word(given, "relation"), _number(given, "num_sentences"))


def count_sentences(text: str) -> int:
    """Sentences of a text; a full stop after a letter or a title ends none.

    Example:
        >>> count_sentences("Dr. Lee came. J. S. Bach did not! And you?")
        3
    """
    count, rest = 0, 0
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[rest : end.end()]):
            count, rest = count + 1, end.end()
    return count + bool(text[rest:].strip())


def _words(text: str, given: Given) -> bool:
    return _holds(len(_WORD.findall(text)), _word(given, "relation"), _number(given, "num_words"))


def _paragraphs(text: str, given: Given) -> bool:
    """Paragraphs are divided by ``***``; one at either end may be empty."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    return all(inner) and sum(map(bool, parts)) == _number(given, "num_paragraphs")


def _first_word(text: str, given: Given) -> bool:
    """Paragraphs are divided by an empty line; the n-th begins with a word."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(parts) != _number(given, "num_paragraphs"):
        return False
    nth = _number(given, "nth_paragraph")
    word = _WORD.search(parts[nth - 1]) if 0 < nth <= len(parts) else None
    return word is not None and word[0].lower() == _word(given, "first_word").lower()


def _placeholders(text: str, given: Given) -> bool:
    return len(_PLACEHOLDER.findall(text)) >= _number(given, "num_placeholders")


def _postscript(text: str, given: Given) -> bool:
    marker = re.escape(_word(given, "postscript_marker").lower())
    spaced = marker.replace(r"\.", r"\.\s?")
    return re.search(rf"^\s*{spaced}.*$", text.lower(), re.MULTILINE) is not None


def _bullets(text: str, given: Given) -> bool:
    return len(_BULLET.findall(text)) == _number(given, "num_bullets")


def _one_of(text: str, given: Given) -> bool:
    del given
    return any(choice in text for choice in _CHOICES)


def _highlights(text: str, given: Given) -> bool:
    found = [part for part in _HIGHLIGHT.findall(text) if part.strip("* ")]
    return len(found) >= _number(given, "num_highlights")


def _sections(text: str, given: Given) -> bool:
    mark = re.escape(_word(given, "section_spliter"))
    return len(re.findall(rf"\s?{mark}\s?\d+\s?", text)) >= _number(given, "num_sections")


def _json(text: str, given: Given) -> bool:
    del given
    body = re.sub(r"\A```(?:json)?\s|```\Z", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, given: Given) -> bool:
    del given
    return any(found.strip("<> ") for found in _TITLE.findall(text))


def _two_responses(text: str, given: Given) -> bool:
    del given
    parts = [part.strip() for part in text.split("******")]
    answers = [part for part in parts if part]
    return all(parts[1:-1]) and len(answers) == 2 and answers[0] != answers[1]  # noqa: PLR2004


def _repeat(text: str, given: Given) -> bool:
    return text.strip().lower().startswith(_word(given, "prompt_to_repeat").lower())


def _end(text: str, given: Given) -> bool:
    return text.strip().strip('"').lower().endswith(_word(given, "end_phrase").lower())


def _quotation(text: str, given: Given) -> bool:
    del given
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capital_words(text: str, given: Given) -> bool:
    count = sum(word.isupper() for word in _TOKEN.findall(text))
    return _holds(count, _word(given, "capital_relation"), _number(given, "capital_frequency"))


def _capitals(text: str, given: Given) -> bool:
    del given
    return text.isupper() and language_of(text.lower()) in ("en", None)


def _small_letters(text: str, given: Given) -> bool:
    del given
    return text.islower() and language_of(text) in ("en", None)


def _no_comma(text: str, given: Given) -> bool:
    del given
    return "," not in text


RULES: Final[Mapping[str, Rule]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _one_of,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _capitals,
    "change_case:english_lowercase": _small_letters,
    "punctuation:no_comma": _no_comma,
}

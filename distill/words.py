"""Texts as lists of words, for rules that count runs of words.

Chinese, Japanese and the scripts of south-east Asia are written without spaces: there a
character is a word. Korean has spaces. Case and punctuation do not matter.
"""

import re
from typing import Final

SPACELESS: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3041-\u3096\u30a1-\u30fa\u30fc\u3005"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese characters
)
_SPACELESS = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")
_PLAIN_WORD = re.compile(r"[^\W_]+")
_ASCII_WORDS: Final = bytes(
    ord(chr(byte).lower()) if chr(byte).isascii() and chr(byte).isalnum() else ord(" ")
    for byte in range(256)
)


def split_words(text: str) -> list[str]:
    """The words of a text in lower case.

    Example:
        >>> split_words("So x_1 = 12.5!"), split_words("答案是42。")
        (['so', 'x', '1', '12', '5'], ['答', '案', '是', '42'])
    """
    if text.isascii():
        return text.encode().translate(_ASCII_WORDS).decode().split()
    pattern = _WORD if has_spaceless(text) else _PLAIN_WORD
    return pattern.findall(text.lower())


def has_spaceless(text: str) -> bool:
    """Whether a text holds characters of a script without spaces."""
    return _SPACELESS.search(text) is not None

"""What a server wrote, kept where its user looks for it, without the secrets that it was given."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_NAMES_A_SECRET: Final = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_KEY_OPTION: Final = "--api-key"
_REMOVED: Final = "[removed]"
_SHORTEST: Final = 6
"""Anything shorter would be found in the middle of words."""


def without_secrets(text: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """A text without keys that the command or the environment holds.

    Example:
        >>> without_secrets("key sesame", ["serve", "--api-key", "sesame"], {})
        'key [removed]'
    """
    every = {**os.environ, **environment}
    found = {value for name, value in every.items() if _NAMES_A_SECRET.search(name.upper())}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == _KEY_OPTION:
            found.add(following)
        elif word.startswith(f"{_KEY_OPTION}="):
            found.add(word.partition("=")[2])
    for secret in sorted(found, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _REMOVED)
    return text


def keep_log(log: Path, kept: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Write a log without secrets to a place that outlives the server; it may be the same one."""
    text = log.read_text(encoding="utf-8", errors="replace")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(without_secrets(text, command, environment), encoding="utf-8")

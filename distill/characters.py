"""Text that every later stage can encode: what some servers send is no character."""

from dataclasses import replace

from distill.types import Completion


def without_lone_surrogates(completion: Completion) -> Completion:
    """Replace what is no character: some servers send half of a pair, no tokenizer takes it."""
    try:
        completion.text.encode()
        (completion.reasoning or "").encode()
    except UnicodeEncodeError:
        return replace(
            completion,
            text=_replaced(completion.text),
            reasoning=None if completion.reasoning is None else _replaced(completion.reasoning),
        )
    return completion


def _replaced(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

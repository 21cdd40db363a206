"""Whether a completion is whole: finished, think tags in order, an answer, one box.

Each check gives a fault in words, or ``""`` for none. Nothing here knows the gold answer.
"""

from distill.reasoning import THINK_CLOSE, THINK_OPEN
from distill.types import Completion
from distill.verify.boxes import find_boxes


def unfinished_fault(completion: Completion) -> str:
    """Why a completion did not come to its own end.

    Example:
        >>> unfinished_fault(Completion("", "so far", finish="length"))
        'cut at the token limit'
    """
    if completion.finish == "error":
        return f"failed: {completion.error or 'no reason given'}"
    if completion.finish == "length":
        tokens = completion.usage.output_tokens
        return f"cut at the token limit after {tokens} tokens" if tokens else _CUT
    return ""


def structure_fault(
    completion: Completion, *, needs_reasoning: bool = True, needs_box: bool = True
) -> str:
    r"""What is wrong with the structure of a finished completion.

    Args:
        completion: Reasoning and answer part as ``split_reasoning`` gives them; tags that it left
            in the text are faults.
        needs_reasoning: Whether an answer without reasoning is a fault.
        needs_box: Whether the answer part must hold exactly one ``\boxed{...}``.

    Example:
        >>> structure_fault(Completion("The answer is 3.", "1 + 2 = 3"))
        'no box in the answer'
    """
    return (
        _tag_fault(completion)
        or (_reasoning_fault(completion) if needs_reasoning else "")
        or ("" if completion.text.strip() else "the answer is empty")
        or (_box_fault(completion) if needs_box else "")
    )


_CUT = "cut at the token limit"


def _tag_fault(completion: Completion) -> str:
    parts = (("reasoning", completion.reasoning or ""), ("answer", completion.text))
    for name, part in parts:
        for tag in (THINK_OPEN, THINK_CLOSE):
            if tag in part:
                return f"stray {tag} in the {name}"
    return ""


def _reasoning_fault(completion: Completion) -> str:
    if completion.reasoning is None:
        return "no reasoning"
    return "" if completion.reasoning.strip() else "the reasoning is empty"


def _box_fault(completion: Completion) -> str:
    boxes = find_boxes(completion.text)
    if boxes.is_cut:
        return "the last box is not closed"
    if len(boxes.contents) != 1:
        return f"{len(boxes.contents) or 'no'} box{'es' if boxes.contents else ''} in the answer"
    return "" if boxes.contents[0].strip() else "the box is empty"

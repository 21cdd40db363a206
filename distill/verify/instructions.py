"""``InstructionsVerifier``: instructions that a program can check, as in IFEval.

They stand in the prompt's ``answer`` as JSON: ``[{"id": "punctuation:no_comma"}, ...]``, each with
what it needs, such as ``"num_words"``. All of them must be followed; the reward is the share that
is (prompt-level and instruction-level accuracy, strict: the answer as it stands).

The 25 kinds are those of Zhou et al. 2023, *Instruction-Following Evaluation for Large Language
Models*. Sentences and languages are told by rules of ours, not by the libraries that the paper
used: a borderline count can differ by one, and a language that ours do not know is unknown.
"""

import json
import time
from typing import Any

from distill.types import Completion, Prompt, Verdict
from distill.verify.extract import answer_part
from distill.verify.form import unfinished_fault
from distill.verify.instruction_rules import RULES, UnknownLanguageError


class InstructionsVerifier:
    """Accepts a finished completion whose answer follows every instruction.

    Example:
        >>> prompt = Prompt("p", "Say hello without commas.", '[{"id": "punctuation:no_comma"}]')
        >>> verifier = InstructionsVerifier()
        >>> [verifier.verify(prompt, Completion(text)).reason for text in ("Hello!", "Oh, hello!")]
        ['all 1 instructions are followed', 'not followed: punctuation:no_comma']
    """

    name = "instructions/1"

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge; unknown if the instructions cannot be read or nobody can tell the language."""
        started = time.perf_counter()
        finding, reason, reward = _judge(prompt, completion)
        spent = (time.perf_counter() - started) * 1000
        return Verdict(finding, reason, self.name, reward, spent)


def read_instructions(text: str) -> list[dict[str, Any]]:
    """The instructions in a prompt's answer.

    Raises:
        ValueError: If there are none, or one is of no known kind; says what is wrong.
    """
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the prompt's answer is no JSON") from None
    if not isinstance(listed, list) or not listed:
        raise ValueError("it must be a list of instructions")
    for one in listed:
        if not isinstance(one, dict) or one.get("id") not in RULES:
            known = one.get("id") if isinstance(one, dict) else one
            raise ValueError(f"there is no instruction {known!r:.60}")
    return listed


def _judge(prompt: Prompt, completion: Completion) -> tuple[bool | None, str, float]:
    text = answer_part(completion.text)
    fault = unfinished_fault(completion) or ("" if text.strip() else "the answer is empty")
    if fault:
        return False, fault, 0.0
    try:
        listed = read_instructions(prompt.answer or "")
        broken = [one["id"] for one in listed if not RULES[one["id"]](text, one)]
    except UnknownLanguageError as error:
        return None, str(error), 0.0
    except (KeyError, TypeError, ValueError) as error:
        return None, f"the instructions cannot be read: {error}", 0.0
    if broken:
        return False, f"not followed: {', '.join(broken)}", 1 - len(broken) / len(listed)
    return True, f"all {len(listed)} instructions are followed", 1.0

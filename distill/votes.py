"""What a completion votes for in cons@k: its final answer, in the form that its verifier compares.

Code, schemas and the findings of models have no answer that two samples could share: there the
majority means nothing, and cons@k is not given.
"""

from collections.abc import Callable

from distill.types import Completion, Prompt
from distill.verify.answer import final_answer
from distill.verify.choice import chosen_letter
from distill.verify.exact import exact_answer

Voter = Callable[[Prompt, Completion], str | None]


def voter_of(verifier: str) -> Voter | None:
    """Who reads the votes of completions that a verifier judges; ``None`` if there are none.

    Args:
        verifier: Its name, such as ``"answer/2"``.
    """
    return _VOTERS.get(verifier.partition("/")[0])


_VOTERS: dict[str, Voter] = {
    "answer": lambda _, completion: final_answer(completion),
    "choice": chosen_letter,
    "exact": lambda _, completion: exact_answer(completion),
}

"""``Canary``: stops a run whose teacher should reason and does not, before the rest is paid for."""

from dataclasses import dataclass
from typing import Final

from distill.types import Completion

_ANSWERS: Final = 3
_CUT_ANSWERS: Final = 4


@dataclass(slots=True)
class Canary:
    """Looks at the first answers.

    Attributes:
        expects_reasoning: Whether there is anything to look for.
        at_once: Requests that may be under way until the canary is sure.
        has_failed: Whether the teacher was found not to reason.
        hint: What to do then.
    """

    expects_reasoning: bool
    at_once: int = 4
    has_failed: bool = False
    hint: str = (
        "Start the server with its reasoning parser, switch thinking on (teacher.thinking = true),"
        " or, if this teacher shall not reason, set teacher.expects_reasoning = false and"
        " filter.needs_reasoning = false."
    )
    _is_reassured: bool = False
    _silent: int = 0
    _cut: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether nothing is left to look for."""
        return self._is_reassured or not self.expects_reasoning

    @property
    def words(self) -> str:
        """What was found."""
        return f"the first {self._silent} answers hold no reasoning"

    def reassure(self) -> None:
        """Reasoning was seen."""
        self._is_reassured = True

    def judge(self, completion: Completion) -> None:
        """Look at an answer; one that was cut may have been cut inside its reasoning."""
        if completion.reasoning:
            self.reassure()
        elif completion.finish == "stop":
            self._silent += 1
            self.has_failed |= self._silent >= _ANSWERS and not self.is_sure
        elif completion.is_truncated:
            self._cut += 1
            if self._cut >= _CUT_ANSWERS:  # nothing can be told from such
                self.reassure()

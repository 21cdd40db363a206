"""Processes that a launcher has started, each of them a whole ``distill`` command.

The first does everything that the command does. The others wait until it orders something that
needs all of them, take part in that, and end when it lets them go.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.meeting import Meeting

_GO = "go"


@dataclass(slots=True)
class Launched:
    """This process among those that a launcher has started.

    Attributes:
        meeting: Where they met.
        orders: How many the first one has given.
    """

    meeting: Meeting
    orders: int = 0

    def order(self, kind: str, text: str) -> Meeting:
        """Have the others take part in something; a meeting for that alone.

        Args:
            kind: Of work, as ``follow`` knows it.
            text: What they need to know.
        """
        return self._begin(f"{kind} {text}")

    def release(self) -> None:
        """Let the others go."""
        self._begin(_GO)

    def follow(self, works: Mapping[str, Callable[[str, Meeting], None]]) -> None:
        """Take part in what the first one orders, until it lets this one go."""
        while True:
            self.orders += 1
            kind, _, text = self.meeting.hear(self._name).partition(" ")
            if kind == _GO:
                return
            works[kind](text, self.meeting.apart(self._name))

    @property
    def _name(self) -> str:
        return f"order-{self.orders}"

    def _begin(self, order: str) -> Meeting:
        self.orders += 1
        self.meeting.tell(self._name, order)
        return self.meeting.apart(self._name)

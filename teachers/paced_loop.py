"""An event loop that looks at its sockets 250 times a second at most, not after each packet.

While hundreds of answers arrive in parts, a loop that wakes up for each part spends a tenth of its
time on waking up. What arrives within the same few milliseconds is read in one go here. Nobody who
waits seconds for an answer of a model notices.

This module knows sockets, nothing of what they carry.
"""

import asyncio
import selectors
import time
from typing import Final

_PAUSE_SECONDS: Final = 0.004


def paced_loop() -> asyncio.AbstractEventLoop:
    """A new loop of that kind."""
    return asyncio.SelectorEventLoop(_PacedSelector())


class _PacedSelector(selectors.DefaultSelector):
    """Lets things gather before it looks, unless there is something else to do."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; waits as long as it is told at most."""
        if timeout is None or timeout > _PAUSE_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            timeout = None if timeout is None else timeout - _PAUSE_SECONDS
        return super().select(timeout)

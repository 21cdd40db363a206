"""``Member``: one of several processes of this machine that do something together.

This module knows processes, nothing of what they do.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LAST_WORDS = 12


@dataclass(slots=True)
class Member:
    """A process that has been started.

    Attributes:
        rank: Which one it is.
        process: What the system knows of it.
        line: Our end of the line that it lives by; see ``engine.lifeline``.
        log: Where all goes that it and its libraries print.
    """

    rank: int
    process: subprocess.Popen[bytes]
    line: socket.socket
    log: Path

    @classmethod
    def start(
        cls,
        module: str,
        rank: int,
        words: Sequence[object],
        *,
        log: Path,
        environment: Mapping[str, str],
    ) -> "Member":
        """Start a process, away from the terminal's signals.

        Args:
            module: What it runs.
            rank: Which one it is.
            words: Its arguments; the descriptor of its end of the line comes after them.
            log: Is written anew.
            environment: All of its environment.
        """
        ours, theirs = socket.socketpair()
        arguments = [*map(str, words), str(theirs.fileno())]
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,
            )
        return cls(rank, process, ours, log)

    @property
    def end(self) -> str | None:
        """How it ended otherwise than it should, in words; ``None`` if it did not."""
        code = self.process.poll()
        if not code:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed"

    def last_words(self) -> str:
        """The end of what it and its libraries printed, if they printed anything."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        if not text:
            return ""
        lines = [f"  | {line}" for line in text.splitlines()[-_LAST_WORDS:]]
        return "\n".join([f"its last words, in {self.log}:", *lines])

    def kill(self) -> None:
        """End it at once, even if it is stopped."""
        if self.process.poll() is None:
            self.process.kill()

    def bury(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        self.process.wait()
        self.line.close()

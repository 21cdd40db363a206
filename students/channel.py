"""What a process of a training and the one that started it say to each other: lines of JSON.

    alive     {"alive": 12}                          once a second: steps that are finished
    progress  {"progress": {...}}                    of the first process
    done      {"done": {...}}                        its report; null from the others
    failed    {"failed": {"error": ..., "at": ...}}  why it ends, and when

The line to the parent is also what the process lives by: when the parent is gone, so is it.
"""

import json
import os
import socket
import threading
from typing import Any

from engine.lifeline import end_with

_ALIVE_SECONDS = 1.0


class Channel:
    """The process's end of the line.

    Attributes:
        step: Steps that are finished; said with every sign of life.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over a connected socket, and begin to show signs of life."""
        self.step = 0
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()
        threading.Thread(target=self._live, daemon=True).start()
        end_with(self._socket)

    def say(self, kind: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Send one message."""
        line = json.dumps({kind: value}).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(line)
        except OSError:
            os._exit(1)  # nobody is there to hear it

    def _live(self) -> None:
        pause = threading.Event()
        while True:
            self.say("alive", self.step)
            pause.wait(_ALIVE_SECONDS)

"""The process between us and a server: when its standard input ends, so does the server.

    python server_keeper.py COMMAND...

However the toolkit ends, a kill included, its end of the pipe is closed then, and no server is left
behind on the GPUs. The server and what it starts are one process group; it is asked to end, and
killed if it does not. Run as a file: imports nothing but the standard library.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

_GRACE_SECONDS = 5.0


def main() -> int:
    """Run the command; returns its exit code."""
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who holds the pipe
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    code = server.wait()
    _signal(server.pid, signal.SIGKILL)  # whatever it started and left behind
    return code if code >= 0 else 128 - code


def _end_with_input(server: "subprocess.Popen[bytes]") -> None:
    is_hopeless = False
    while os.read(0, 1):  # anything at all says: it does not listen to signals any more
        is_hopeless = True
    if not is_hopeless:
        _signal(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=_GRACE_SECONDS)
    _signal(server.pid, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())

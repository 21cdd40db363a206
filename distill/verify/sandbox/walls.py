"""Which walls this system has, and the attacks by which a sandbox tries them at its start."""

import platform
import shutil
import sys
from pathlib import Path
from typing import Literal

from distill.verify.sandbox.calls import ARCHITECTURES
from distill.verify.sandbox.kernel import has_seccomp, landlock_abi

Backend = Literal["landlock", "bubblewrap", "none"]

CONTROL, CONTROL_STDIN, CONTROL_STDOUT = "print(6 * int(input()))", "7\n", "42\n"

_LISTS = "lists a folder"
# Each must fail inside; what it prints says that it did not.
_PROBES = {
    "reads a file": "print(open('/etc/passwd').read()[:20])",
    _LISTS: "import os; print(os.listdir('/'))",
    "writes a file": "import os; open('/tmp/distill-probe', 'w').write('x'); print('written')",
    "opens a socket": "import socket; socket.socket(); print('opened')",
    "starts a process": "import os; print('forked') if os.fork() else os._exit(0)",
    "starts a program": "import os; os.execv('/bin/echo', ['echo', 'started'])",
    "signals its parent": "import os; os.kill(os.getppid(), 0); print('signalled')",
    "outlives its parent": (
        "import ctypes; print('cleared' if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0 else '')"
    ),
    "raises a limit": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (9, 9)); print('changed')"
    ),
    "sees an environment": (
        "import os; print(set(os.environ)"
        " - {'PATH', 'LANG', 'LC_CTYPE', 'PWD', 'PYTHONHASHSEED'} or '')"
    ),
}


def find_backend() -> Backend:
    """Who can close the file system here."""
    if missing_filter():
        return "none"
    if landlock_abi():
        return "landlock"
    return "bubblewrap" if shutil.which("bwrap") else "none"


def missing_filter() -> str:
    """Why system calls cannot be filtered here; empty if they can."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, and this is {platform.system()}"
    if platform.machine() not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        return f"no filter of system calls is known for {platform.machine()}, only for {known}"
    return "" if has_seccomp() else "this kernel has no seccomp, which filters system calls"


def missing() -> str:
    """Why there is no backend."""
    return missing_filter() or (
        "this system has neither Landlock (Linux 5.13 or newer) nor bubblewrap"
    )


def probes(backend: Backend) -> dict[str, str]:
    """Attacks to try; bubblewrap shows an all but empty root, and no more than that."""
    return {what: _PROBES[what] for what in _PROBES if backend == "landlock" or what != _LISTS}


def outer_command(backend: Backend) -> list[str]:
    """What closes a server in, where Landlock does not close in its children."""
    if backend != "bubblewrap":
        return []
    shown = sorted({sys.prefix, sys.base_prefix, str(Path(__file__).parent)})
    binds = [part for folder in shown for part in ("--ro-bind", folder, folder)]
    # Not --die-with-parent: that is the thread that starts it. It ends when its input does.
    return [
        "bwrap",
        *("--unshare-all", "--uid", "65534", "--gid", "65534", "--new-session"),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"),
        *("--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
        *binds,
        *("--dev-bind", "/dev/null", "/dev/null"),
        *("--dev-bind", "/dev/urandom", "/dev/urandom"),
        *("--remount-ro", "/"),
    ]

"""Nothing gets out of the sandbox, nothing is left of a run, and what computes works."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.errors import MissingDependencyError
from distill.verify.sandbox import process, walls
from distill.verify.sandbox.client import Sandbox
from tests.distill.verify.attacks import ATTACKS, ENDLESS, OPEN

needs_landlock = pytest.mark.skipif(
    walls.find_backend() != "landlock",
    reason="this kernel has no Landlock: bubblewrap is tried instead, or code is refused",
)
SECONDS = 0.4
OUTER_COMMAND = walls.outer_command  # a fixture puts another one in its place
USERS = {"as it is": [], "without privileges": ["unshare", "--user"]}
"""In a user namespace of its own a server keeps its user, as the owner of its files, and loses all
privileges: what a user who is not root has."""
SEES_A_ROOT = {"list root", "list tmp", "stat and walk"}
"""What bubblewrap lets one see: the folders that it made."""


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


def outlasting(sandbox: Sandbox) -> list[int]:
    """Processes of runs that go on: children of the servers, and those that lost their parent."""
    servers = sandbox.server_pids()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            is_ours = b"sandbox/server.py" in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent in servers or (is_ours and parent == 1):
            found.append(int(entry.name))
    return found


def is_running(pid: int) -> bool:
    """Not a zombie either, which its new parent may leave for a while."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module", params=USERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param != "as it is" and not can_unshare():
        pytest.skip("this system lets nobody give up privileges with unshare --user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walls, "outer_command", lambda backend: USERS[request.param])
        patch.setenv("DISTILL_SECRET", "secret")
        with Sandbox(
            seconds=SECONDS, memory_bytes=1 << 28, output_bytes=100_000, workers=2
        ) as made:
            yield made


@needs_landlock
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_fails(sandbox: Sandbox, attack: str) -> None:
    started = time.monotonic()
    ran = sandbox.run(ATTACKS[attack])
    assert "ESCAPED" not in ran.stdout
    assert ran.reason in ("", "timeout", "output")
    assert time.monotonic() - started < SECONDS + 2
    assert outlasting(sandbox) == []
    assert not Path("/tmp/escaped").exists()
    assert not Path("/var/tmp/escaped").exists()
    assert sandbox.run("print(6 * 7)").stdout == "42\n"


def test_there_are_at_least_forty_attacks() -> None:
    assert len(ATTACKS) >= 40
    assert set(ATTACKS) >= OPEN


@pytest.mark.parametrize("attack", sorted(OPEN))
def test_without_walls_the_attack_succeeds(open_sandbox: Sandbox, attack: str) -> None:
    """Else it would say nothing about the walls."""
    try:
        ran = open_sandbox.run(ATTACKS[attack])
        assert "ESCAPED" in ran.stdout, ran
        assert outlasting(open_sandbox) == []
    finally:
        for path in (Path("/tmp/escaped"), Path("/dev/shm/escaped")):
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def open_sandbox() -> Iterator[Sandbox]:
    if sys.platform != "linux":
        pytest.skip("the attacks are those of Linux")
    with Sandbox(seconds=3, backend="none", unsafe=True, workers=1) as made:
        yield made


@needs_landlock
def test_time_output_and_memory_have_limits(sandbox: Sandbox) -> None:
    assert sandbox.run("while True: pass").reason == "timeout"
    assert sandbox.run("import time; time.sleep(60)").reason == "timeout"
    assert sandbox.run("while True: print('x' * 1000)").reason == "output"
    assert "MemoryError" in sandbox.run("x = [0] * 10**9").stderr
    assert sandbox.run("import os; os.abort()").exit_code == -6
    assert outlasting(sandbox) == []


DEEP = """
import sys, threading
sys.setrecursionlimit(10**6)
threading.stack_size(1 << 26)
def depth(n): return n and 1 + depth(n - 1)
threading.Thread(target=lambda: print(depth(50000))).start()
"""
DATACLASS = """
from dataclasses import dataclass
from typing import List
@dataclass
class P: x: 'List[int]' = None
print(P([1]))
"""
LIBRARY = """
import array, bisect, collections, decimal, fractions, functools, hashlib, heapq
import itertools, json, math, random, re, string, struct, zlib
print(math.comb(9, 4), random.random() < 1, hashlib.md5(b'').hexdigest()[:4])
"""
PICKLE = "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)"
FAST_INPUT = "import os, io\nprint(io.BytesIO(os.read(0, os.fstat(0).st_size)).read())"
OTHER_OUTPUT = "import io, sys\nreal = sys.stdout; sys.stdout = io.StringIO(); real.write('7')"


@needs_landlock
@pytest.mark.parametrize(
    ("code", "stdin", "stdout"),
    [
        ("print(sum(map(int, input().split())))", "1 2 3\n", "6\n"),
        ("import threading as t\nt.Thread(target=lambda: print(7)).start()", "", "7\n"),
        (DEEP, "", "50000\n"),
        ("import atexit; atexit.register(print, 7)", "", "7\n"),
        (FAST_INPUT, "ab", "b'ab'\n"),
        ("print(open(0).read().split())", "a b\nc", "['a', 'b', 'c']\n"),
        ("import sys; print(len(sys.stdin.read()))", "x" * 500_000, "500000\n"),
        ("import sys; sys.stdout.buffer.write(b'7'); sys.stdin.buffer.readline()", "", "7"),
        ("if __name__ == '__main__': print('é', input())", "ü", "é ü\n"),
        (OTHER_OUTPUT, "", "7"),
        (DATACLASS, "", "P(x=[1])\n"),
        (LIBRARY, "", "126 True d41d\n"),
        ("print('x'.encode('utf-16-le'), 'é'.encode('latin-1'))", "", "b'x\\x00' b'\\xe9'\n"),
        (PICKLE, "", "True\n"),
    ],
)
def test_what_computes_works(sandbox: Sandbox, code: str, stdin: str, stdout: str) -> None:
    ran = sandbox.run(code, stdin)
    assert (ran.stdout, ran.stderr, ran.exit_code) == (stdout, "", 0)


@needs_landlock
def test_an_end_is_told_as_python_tells_it(sandbox: Sandbox) -> None:
    assert sandbox.run("raise SystemExit(3)").exit_code == 3
    assert sandbox.run("import sys; sys.exit('no')").exit_code == 1
    assert sandbox.run("import sys; sys.exit()").exit_code == 0
    ran = sandbox.run("x = 0\n\n1 / x")
    assert (ran.exit_code, ran.stderr) == (1, "ZeroDivisionError: division by zero (line 3)")
    assert sandbox.run("import sys; sys.stdout.close()").exit_code == 0
    assert "surrogates" in sandbox.run("print('\ud800')").stderr


@needs_landlock
def test_runs_know_nothing_of_each_other(sandbox: Sandbox) -> None:
    sandbox.run("import builtins, math; builtins.print = None; math.pi = 3")
    assert sandbox.run("import math; print(math.pi)").stdout == "3.141592653589793\n"


@needs_landlock
def test_many_threads_share_the_servers(sandbox: Sandbox) -> None:
    found: list[str] = []

    def work(number: int) -> None:
        found.append(sandbox.run(f"print({number})").stdout.strip())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, found)) == list(range(40))


@needs_landlock
def test_a_server_that_dies_is_replaced(sandbox: Sandbox) -> None:
    for pid in sandbox.server_pids():
        os.kill(pid, 9)
    assert [sandbox.run("print(1)").stdout for _ in range(6)] == ["1\n"] * 6
    assert len(sandbox.server_pids()) <= 2


@needs_landlock
def test_a_closed_sandbox_leaves_nothing_and_starts_anew() -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    made = Sandbox(seconds=30, workers=2)
    thread = threading.Thread(target=made.run, args=["import time; time.sleep(60)"])
    thread.start()
    deadline = time.monotonic() + 10
    while not outlasting(made) and time.monotonic() < deadline:
        time.sleep(0.01)
    running = [*outlasting(made), *made.server_pids()]
    assert len(running) >= 2
    made.close()
    assert not [pid for pid in running if is_running(pid)]
    thread.join(20)
    assert not thread.is_alive()
    assert made.run("print(1)").stdout == "1\n"
    made.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@needs_landlock
def test_a_server_and_its_run_end_with_their_client() -> None:
    code = (
        "import os, threading, time\n"
        "from distill.verify.sandbox.client import Sandbox\n"
        "s = Sandbox(seconds=60, workers=1)\n"
        "threading.Thread(target=s.run, args=['import time; time.sleep(60)']).start()\n"
        "time.sleep(0.2)\n"
        "print(*s.server_pids(), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    pid = int(ran.stdout)
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def _run_in_child(sandbox: Sandbox, queue: "multiprocessing.Queue[object]") -> None:
    queue.put([sandbox.run(f"print({number})").stdout for number in range(3)])


@needs_landlock
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_servers_of_its_own(sandbox: Sandbox) -> None:
    before = sandbox.server_pids()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_run_in_child, args=(sandbox, queue))
    child.start()
    assert sandbox.run("print(9)").stdout == "9\n"
    assert queue.get(timeout=30) == ["0\n", "1\n", "2\n"]
    child.join(10)
    assert sandbox.server_pids() == before


@needs_landlock
def test_where_the_walls_do_not_hold_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(walls._PROBES, "computes", "print('this wall is open')")
    with pytest.raises(MissingDependencyError, match="does not hold here: code computes") as caught:
        Sandbox(workers=1)
    assert "unsafe = true" in caught.value.hint
    with Sandbox(workers=1, unsafe=True) as trusted:
        assert trusted.backend == "none"
        assert trusted.run("print(1)").stdout == "1\n"


def test_where_there_are_no_walls_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "landlock_abi", lambda: 0)
    monkeypatch.setattr(walls.shutil, "which", lambda name: None)
    if not walls.missing_filter():
        with pytest.raises(MissingDependencyError, match=r"neither Landlock .* nor bubblewrap"):
            Sandbox()
    monkeypatch.setattr(walls, "has_seccomp", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"seccomp|Linux|filter"):
        Sandbox()
    monkeypatch.setattr(walls.platform, "machine", lambda: "riscv64")
    with pytest.raises(MissingDependencyError, match=r"riscv64, only for x86_64|needs Linux"):
        Sandbox()


@needs_landlock
def test_walls_that_cannot_be_built_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "outer_command", lambda backend: ["/no/such/program"])
    with pytest.raises(MissingDependencyError, match="server of the sandbox was lost"):
        Sandbox(workers=1)


def test_bubblewrap_closes_the_server_in_where_landlock_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here; Landlock, which the other tests use, is")
    monkeypatch.setattr(walls, "outer_command", OUTER_COMMAND)
    with Sandbox(seconds=SECONDS, memory_bytes=1 << 28, workers=1, backend="bubblewrap") as made:
        for name in ATTACKS.keys() - ENDLESS - SEES_A_ROOT:
            assert "ESCAPED" not in made.run(ATTACKS[name]).stdout, name
        assert made.run("print(6 * 7)").stdout == "42\n"


@needs_landlock
@pytest.mark.parametrize("abi", [1, 3])
def test_an_older_landlock_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abi: int
) -> None:
    """It knows nothing of truncation, TCP and signals: what it leaves open, seccomp refuses."""
    monkeypatch.setattr(walls, "outer_command", lambda backend: USERS["without privileges"])
    if not can_unshare():
        monkeypatch.setattr(walls, "outer_command", lambda backend: [])
    for source in process._FOLDER.glob("*.py"):
        text = source.read_text(encoding="utf-8")
        if source.name == "kernel.py":
            text += f"\n\ndef landlock_abi():\n    return {abi}\n"
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(process, "_FOLDER", tmp_path)
    tmp_path.chmod(0o755)
    with Sandbox(seconds=SECONDS, memory_bytes=1 << 28, workers=1) as made:
        assert made.backend == "landlock"
        for name in ATTACKS.keys() - ENDLESS:
            assert "ESCAPED" not in made.run(ATTACKS[name]).stdout, name

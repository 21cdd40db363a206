"""Nothing gets out of the sandbox, nothing is left of a run, and what computes works."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.errors import MissingDependencyError
from distill.verify.sandbox import client
from distill.verify.sandbox.client import Sandbox, find_backend
from tests.distill.verify.attacks import ATTACKS

pytestmark = pytest.mark.skipif(
    find_backend() != "landlock",
    reason="this kernel has no Landlock: code is refused here, which the last test shows elsewhere",
)


def as_root() -> list[str]:
    return []


def without_privileges() -> list[str]:
    """In a user namespace of its own: no privilege, and the user id of nobody."""
    return ["unshare", "--user"]


WALLS = client._walls  # as it is; the fixture puts another one in its place
USERS = {"as it is": as_root, "without privileges": without_privileges}
SEES_A_ROOT = {"list root", "stat and walk"}
"""What bubblewrap lets one see: the folders that it made."""


@pytest.fixture(scope="module", params=USERS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param != "as it is" and shutil.which("unshare") is None:
        pytest.skip("there is no unshare to take the privileges away with")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_walls", lambda backend: USERS[request.param]())
        patch.setenv("DISTILL_SECRET", "secret")
        with Sandbox(seconds=2, memory_bytes=1 << 28, output_bytes=100_000, workers=2) as made:
            yield made


def children_of(sandbox: Sandbox) -> list[int]:
    servers = {server._process.pid for server in sandbox._servers}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) in servers:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_fails(sandbox: Sandbox, attack: str) -> None:
    ran = sandbox.run(ATTACKS[attack])
    assert "ESCAPED" not in ran.stdout
    assert ran.reason in ("", "timeout", "output")
    assert children_of(sandbox) == []
    assert not Path("/tmp/escaped").exists()
    assert sandbox.run("print(6 * 7)").stdout == "42\n"


def test_there_are_at_least_forty_attacks() -> None:
    assert len(ATTACKS) >= 40


def test_time_output_and_memory_have_limits(sandbox: Sandbox) -> None:
    started = time.monotonic()
    assert sandbox.run("while True: pass").reason == "timeout"
    assert sandbox.run("import time; time.sleep(60)").reason == "timeout"
    assert time.monotonic() - started < 8
    assert sandbox.run("while True: print('x' * 1000)").reason == "output"
    assert "MemoryError" in sandbox.run("x = [0] * 10**9").stderr
    assert sandbox.run("import os; os.abort()").exit_code == -6
    assert children_of(sandbox) == []


def test_what_computes_works(sandbox: Sandbox) -> None:
    assert sandbox.run("print(sum(map(int, input().split())))", "1 2 3\n").stdout == "6\n"
    thread = "import threading as t\nx = t.Thread(target=print, args=[7])\nx.start(); x.join()"
    assert sandbox.run(thread).stdout == "7\n"
    deep = "import sys; sys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\n"
    assert sandbox.run(f"{deep}print(f(9999))").stdout == "9999\n"
    modules = "import collections, heapq, bisect, math, itertools, functools, re, random, json\n"
    assert (
        sandbox.run(modules + "print(math.comb(9, 4), random.random() < 1)").stdout == "126 True\n"
    )
    assert (
        sandbox.run("import sys; print(len(sys.stdin.read()))", "x" * 500_000).stdout == "500000\n"
    )
    assert sandbox.run("raise SystemExit(3)").exit_code == 3
    assert "ZeroDivisionError" in sandbox.run("1 / 0").stderr


def test_runs_know_nothing_of_each_other(sandbox: Sandbox) -> None:
    sandbox.run("import builtins, math; builtins.print = None; math.pi = 3")
    assert sandbox.run("import math; print(math.pi)").stdout == "3.141592653589793\n"


def test_a_result_without_the_nonce_counts_for_nothing(sandbox: Sandbox) -> None:
    forged = (
        "import os, json\n"
        "os.write(3, json.dumps({'nonce': 'x', 'case': 0, 'value': 3}).encode() + b'\\n')\n"
        "def f(): raise ValueError('no')"
    )
    assert sandbox.call(forged, "f", [[]]).results == {0: {"error": "ValueError: no"}}


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


def test_a_server_that_dies_is_replaced(sandbox: Sandbox) -> None:
    for server in list(sandbox._servers):
        os.kill(server._process.pid, 9)
    answers = [sandbox.run("print(1)").stdout for _ in range(6)]
    assert answers[-2:] == ["1\n", "1\n"]


def test_where_the_walls_do_not_hold_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependencyError, match="neither Landlock"):
        Sandbox(backend="none")
    with Sandbox(backend="none", unsafe=True, workers=1) as open_one:
        assert open_one.run("print(1)").stdout == "1\n"
    monkeypatch.setitem(client._PROBES, "computes", "print('this wall is open')")
    with pytest.raises(MissingDependencyError, match="does not hold here: code computes"):
        Sandbox(workers=1)


def test_bubblewrap_closes_the_server_in_where_landlock_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here; Landlock, which the other tests use, is")
    monkeypatch.setattr(client, "_walls", WALLS)
    monkeypatch.setenv("DISTILL_SECRET", "secret")
    with Sandbox(seconds=2, memory_bytes=1 << 28, workers=1, backend="bubblewrap") as sandbox:
        assert sandbox.run("print(6 * 7)").stdout == "42\n"
        for name, code in ATTACKS.items():
            if name not in SEES_A_ROOT:
                assert "ESCAPED" not in sandbox.run(code).stdout, name

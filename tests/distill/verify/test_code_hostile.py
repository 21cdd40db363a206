"""What code returns, complains of or leaves behind can neither break a verdict nor change it."""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.types import Completion, Prompt, Verdict
from distill.verify.code import CodeVerifier
from distill.verify.sandbox.client import Sandbox
from distill.verify.sandbox.walls import find_backend

pytestmark = pytest.mark.skipif(
    find_backend() == "none", reason="code cannot be closed in on this kernel, and is refused"
)
ONE_HALF = [{"args": [], "expected": 0.5}]
MORE_THAN_SELECT_CAN = 1_100


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(seconds=2, workers=1) as made:
        yield made


def judged(verifier: CodeVerifier, code: str, cases: object = ONE_HALF) -> Verdict:
    tests = json.dumps({"kind": "function", "name": "f", "cases": cases})
    return verifier.verify(Prompt("p", "?", tests), Completion(f"```python\n{code}\n```"))


@pytest.mark.parametrize(
    "line", [b"5", b"[" * 100_000, b"null", b'{"nonce": 1}', b'{"case": Infinity}', b"\xff\x00"]
)
def test_lines_that_code_writes_among_its_results_count_for_nothing(
    verifier: CodeVerifier, line: bytes
) -> None:
    code = f"import os\nos.write(3, {line!r} + b'\\n')\ndef f(): return 0.5"
    assert judged(verifier, code).is_accepted is True


@pytest.mark.parametrize("case", ["float('inf')", "'0'", "None", "True", "[0]", "9 ** 99"])
def test_a_result_for_a_case_that_is_none_counts_for_nothing(
    verifier: CodeVerifier, case: str
) -> None:
    stolen = (
        "import json, os, sys\n"
        "frame = sys._getframe()\n"
        "while 'request' not in frame.f_locals: frame = frame.f_back\n"
        "nonce = frame.f_locals['request']['nonce']\n"
        f"line = json.dumps({{'nonce': nonce, 'case': {case}, 'value': 0.5}})\n"
        "os.write(3, line.encode() + b'\\n')\n"
        "def f(): return 1"
    )
    assert judged(verifier, stolen).is_accepted is False


def test_a_value_as_deep_as_json_can_be_is_judged(verifier: CodeVerifier) -> None:
    deep = 900
    code = f"def f():\n d = []\n for _ in range({deep}): d = [d]\n return d"
    value: list[object] = []
    for _ in range(deep):
        value = [value]
    assert judged(verifier, code, [{"args": [], "expected": value}]).is_accepted is True
    assert judged(verifier, code, [{"args": [], "expected": [value]}]).is_accepted is False


@pytest.mark.parametrize(
    "code",
    [
        "def f(): raise ValueError('\\ud800')",
        "def f(): return '\\ud800'",
        "import sys\nsys.stderr.write('\\ud800')\nsys.exit(3)",
        "\ud800",
        "def f(): return '\\0\\x1b[2J'",
    ],
)
def test_a_reason_can_be_stored_whatever_code_says(verifier: CodeVerifier, code: str) -> None:
    verdict = judged(verifier, code)
    assert verdict.is_accepted is False
    assert verdict.reason.encode("utf-8")
    assert verdict.reason.isprintable()


def test_a_number_beyond_all_floats_is_wrong(verifier: CodeVerifier) -> None:
    assert judged(verifier, "def f(): return 10 ** 400").is_accepted is False


def test_a_function_is_called_though_its_program_would_read_input(verifier: CodeVerifier) -> None:
    code = "def f(): return 0.5\nif __name__ == '__main__':\n    print(int(input()))"
    assert judged(verifier, code).reason == "all 1 tests passed"


def test_right_output_of_two_megabytes_passes(verifier: CodeVerifier) -> None:
    lines = 300_000
    stdout = "".join(f"{number}\n" for number in range(lines))
    tests = json.dumps({"kind": "stdio", "cases": [{"stdin": "", "stdout": stdout}]})
    code = f"print(*range({lines}), sep='\\n')"
    verdict = verifier.verify(Prompt("p", "?", tests), Completion(f"```python\n{code}\n```"))
    assert verdict.reason == "all 1 tests passed"


def test_memory_has_a_limit_without_walls_too() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux limits the memory of a process")
    with Sandbox(backend="none", unsafe=True, memory_bytes=1 << 28, workers=1) as open_one:
        assert "MemoryError" in open_one.run("x = bytearray(1 << 29)").stderr


def test_nothing_stays_open_or_alive() -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files")
    with Sandbox(workers=1) as sandbox:
        sandbox.run("print(1)")
        (server,) = sandbox.server_pids()
        before = held(), len(list(Path(f"/proc/{server}/fd").iterdir()))
        for _ in range(20):
            sandbox.run("print(1)")
            sandbox.call("def f(): return 1", "f", [(0, [])])
        assert (held(), len(list(Path(f"/proc/{server}/fd").iterdir()))) == before
    open_files = held()
    for _ in range(2):
        with Sandbox(workers=1) as sandbox:
            pids = sandbox.server_pids()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert held() == open_files


class Interrupted(BaseException):
    """As Ctrl-C is."""


def test_an_interrupted_run_leaves_nothing_for_the_next() -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Sandbox(workers=1) as sandbox:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted):
                sandbox.run("import time\ntime.sleep(0.2)\nprint('first')")
            time.sleep(0.3)  # it has long answered
            assert sandbox.run("print('second')").stdout == "second\n"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_order_of_a_set_is_the_same_in_every_server() -> None:
    code = "print(list({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'}))"
    orders = set()
    for _ in range(4):
        with Sandbox(workers=1) as sandbox:
            orders.add(sandbox.run(code).stdout)
    assert len(orders) == 1


def test_code_is_judged_in_a_process_with_many_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MORE_THAN_SELECT_CAN + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this system allows {hard} open files, the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(MORE_THAN_SELECT_CAN)]
    try:
        with Sandbox(workers=1) as sandbox:
            assert sandbox.run("print(6 * 7)").stdout == "42\n"
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

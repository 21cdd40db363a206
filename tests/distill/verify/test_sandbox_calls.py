"""The filter of system calls, run here by an interpreter of its own, on both architectures."""

import errno
import re
import struct
from pathlib import Path

import pytest

from distill.verify.sandbox.calls import (
    ARCHITECTURES,
    CALLS,
    Instruction,
    filter_bytes,
    filter_program,
    packed,
)

PID = 4321
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
REFUSED = 0x00050000
THREAD = 0x50F00  # what pthread_create asks of clone, its CLONE_THREAD among it
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def ask(program: list[Instruction], architecture: int, number: int, *arguments: int) -> int:
    """What the filter answers: the few instructions it uses, as the kernel's manual has them."""
    padded = [value & (2**64 - 1) for value in (*arguments, *[0] * 6)[:6]]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    value, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x20:
            value = struct.unpack_from("<I", data, constant)[0]
        elif code == 0x54:
            value &= constant
        elif code == 0x15:
            at += if_true if value == constant else if_false
        elif code == 0x35:
            at += if_true if value >= constant else if_false
        else:
            assert code == 0x06
            return constant


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answer(machine: str, name: str, *arguments: int) -> int:
    column, architecture = ARCHITECTURES[machine]
    number = CALLS[name][column]
    assert number is not None
    return ask(filter_program(machine, PID), architecture, number, *arguments)


def test_what_is_not_listed_is_refused(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    program = filter_program(machine, PID)
    listed = {numbers[column] for numbers in CALLS.values()}
    for number in set(range(600)) - listed:
        code = errno.EPERM if number < 424 else errno.ENOSYS
        assert ask(program, architecture, number) == REFUSED | code


def test_another_architecture_is_killed(machine: str) -> None:
    other = next(key for key in ARCHITECTURES if key != machine)
    program = filter_program(machine, PID)
    for architecture in (ARCHITECTURES[other][1], 0x40000003, 0):
        assert ask(program, architecture, 0) == KILLED
    if machine == "x86_64":
        assert ask(program, ARCHITECTURES[machine][1], 0x40000000) == KILLED
        assert ask(program, ARCHITECTURES[machine][1], 0xFFFFFFFF) == KILLED


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("read", (0, 1, 2), 0),
        ("exit_group", (1,), 0),
        ("openat", (-100, 1, 0o2000000), 0),
        ("openat", (-100, 1, 0o1), errno.EACCES),
        ("openat", (-100, 1, 0o2), errno.EACCES),
        ("openat", (-100, 1, 0o100), errno.EACCES),
        ("openat", (-100, 1, 0o1000), errno.EACCES),
        ("clone", (THREAD | 0x10000,), 0),
        ("clone", (17,), errno.EPERM),
        ("clone", (0x10000000 | 17,), errno.EPERM),
        ("kill", (PID, 9), 0),
        ("kill", (PID + 1, 9), errno.EPERM),
        ("kill", (0, 9), errno.EPERM),
        ("kill", (-1, 9), errno.EPERM),
        ("kill", (-PID, 9), errno.EPERM),
        ("tgkill", (PID, PID, 6), 0),
        ("tgkill", (1, 1, 9), errno.EPERM),
        ("prlimit64", (0, 7, 0, 1), 0),
        ("prlimit64", (0, 7, 1 << 40, 1), errno.EPERM),
        ("prlimit64", (0, 7, 64, 1), errno.EPERM),
        ("prctl", (15, 1), 0),
        ("prctl", (1, 0), errno.EPERM),
        ("prctl", (22, 2), errno.EPERM),
        ("prctl", (36, 1), errno.EPERM),
        ("fcntl", (1, 3), 0),
        ("fcntl", (1, 8, 1), errno.EPERM),
        ("fcntl", (1, 10, 9), errno.EPERM),
        ("ioctl", (1, 0x5401), 0),
        ("ioctl", (1, 0x5412), errno.ENOTTY),
        ("ioctl", (1, 0x8901), errno.ENOTTY),
    ],
)
def test_some_calls_depend_on_their_arguments(
    machine: str, name: str, arguments: tuple[int, ...], code: int
) -> None:
    assert answer(machine, name, *arguments) == (REFUSED | code if code else ALLOWED)


def test_the_kernel_reads_eight_bytes_for_each_instruction(machine: str) -> None:
    program = filter_program(machine, PID)
    assert filter_bytes(machine, PID) == packed(program) != filter_bytes(machine, PID + 1)
    assert len(packed(program)) == 8 * len(program)
    assert len(program) < 4096  # as many as it takes
    assert all(0 <= line[1] < 256 and 0 <= line[2] < 256 for line in program)


def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not here; Debian has it in linux-libc-dev")
    text = header.read_text(encoding="utf-8")
    known = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s*(?:/|$)", text, re.M)
    }
    known.setdefault("newfstatat", known.get("fstatat", -1))
    column = ARCHITECTURES[machine][0]
    for name, numbers in CALLS.items():
        assert numbers[column] == known.get(name), name

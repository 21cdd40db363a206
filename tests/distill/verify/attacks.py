# ruff: noqa: E501 - code in one line each, as it is sent
"""Code that tries to get out of the sandbox, or to pass without being right.

Each of ``ATTACKS`` prints ESCAPED if it gets out. ``OPEN`` are those that are harmless enough to be
tried without walls, where they must print it: else they would show nothing. ``FAKES`` are judged
against ``FAKED_PROGRAM`` or ``FAKED_FUNCTION``, and pass no test. Numbers of system calls are those
of x86_64; on other machines the attacks that use them are left out.
"""

import platform

ATTACKS: dict[str, str] = {
    "read passwd": "print('ESCAPED', open('/etc/passwd').read()[:9])",
    "read environ of parent": "import os; print('ESCAPED', open(f'/proc/{os.getppid()}/environ').read())",
    "read own environ": "print('ESCAPED' if 'DISTILL_SECRET' in open('/proc/self/environ').read() else '')",
    "environment": "import os; print('ESCAPED' if 'DISTILL_SECRET' in os.environ else '')",
    "memory of parent": "import os; print('ESCAPED', open(f'/proc/{os.getppid()}/mem', 'rb'))",
    "list root": "import os; print('ESCAPED', os.listdir('/'))",
    "list proc": "import os; print('ESCAPED', os.listdir('/proc'))",
    "list tmp": "import os; print('ESCAPED', os.listdir('/tmp'))",
    "stat and walk": "import os; print('ESCAPED' if list(os.walk('/home')) or list(os.walk('/root')) else '')",
    "write tmp": "open('/tmp/escaped', 'w').write('x'); print('ESCAPED')",
    "write shm": "open('/dev/shm/escaped', 'w').write('x'); print('ESCAPED')",
    "write here": "open('escaped', 'w').write('x'); print('ESCAPED')",
    "append to library": "import os; open(os.__file__, 'a').write('x'); print('ESCAPED')",
    "make folder": "import os; os.mkdir('/tmp/escaped'); print('ESCAPED')",
    "make link": "import os; os.symlink('/etc/passwd', '/tmp/escaped'); print('ESCAPED')",
    "remove": "import os; os.remove(os.__file__); print('ESCAPED')",
    "rename": "import os; os.rename(os.__file__, '/tmp/x'); print('ESCAPED')",
    "change mode": "import os; os.chmod('/tmp', 0o777); print('ESCAPED')",
    "truncate": "import os; os.truncate(os.__file__, 0); print('ESCAPED')",
    "make fifo": "import os; os.mkfifo('/tmp/escaped'); print('ESCAPED')",
    "memory file": "import os; os.memfd_create('x'); print('ESCAPED')",
    "tcp": "import socket; socket.create_connection(('127.0.0.1', 22), 1); print('ESCAPED')",
    "udp": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print('ESCAPED')",
    "listen": "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print('ESCAPED')",
    "unix socket": "import socket; socket.socket(socket.AF_UNIX); print('ESCAPED')",
    "abstract socket": "import socket; s = socket.socketpair(); print('ESCAPED')",
    "raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('ESCAPED')",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('ESCAPED')",
    "fork": "import os; print('ESCAPED') if os.fork() else os._exit(0)",
    "fork bomb": "import os\nwhile True: os.fork(); print('ESCAPED')",
    "daemon": "import os\nif os.fork() == 0:\n os.setsid(); os.fork()\nprint('ESCAPED')",
    "vfork by ctypes": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(58) >= 0 else 0",
    "clone3": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(435, 0, 0) >= 0 else 0",
    "run a program": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo ESCAPED'])",
    "system": "import os; print('ESCAPED' if os.system('true') == 0 else '')",
    "subprocess": "import subprocess; print('ESCAPED', subprocess.run(['true']))",
    "posix_spawn": "import os; print('ESCAPED', os.posix_spawn('/bin/true', ['true'], {}))",
    "kill parent": "import os; os.kill(os.getppid(), 9); print('ESCAPED')",
    "kill all": "import os; os.kill(-1, 9); print('ESCAPED')",
    "kill group": "import os; os.killpg(os.getpgid(os.getppid()), 9); print('ESCAPED')",
    "trace parent": "import ctypes, os; print('ESCAPED') if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0 else 0",
    "become root": "import os\nif os.getuid():\n os.setuid(0); print('ESCAPED')",
    "unshare": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).unshare(0x10000000) == 0 else 0",
    "mount": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) == 0 else 0",
    "chroot": "import os; os.chroot('/tmp'); print('ESCAPED')",
    "raise limit": "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9, 9)); print('ESCAPED')",
    "lift the filter": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).prctl(22, 0, 0, 0, 0) == 0 else 0",
    "shared memory": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).shmget(7, 4096, 0o1666) >= 0 else 0",
    "message queue": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).msgget(7, 0o1666) >= 0 else 0",
    "keyring": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(250, 0, -3, 1) >= 0 else 0",
    "io_uring": "import ctypes; b = ctypes.create_string_buffer(256)\nprint('ESCAPED') if ctypes.CDLL(None).syscall(425, 8, b) >= 0 else 0",
    "bpf": "import ctypes; b = ctypes.create_string_buffer(256)\nprint('ESCAPED') if ctypes.CDLL(None).syscall(321, 5, b, 128) >= 0 else 0",
    "perf": "import ctypes; b = ctypes.create_string_buffer(256)\nprint('ESCAPED') if ctypes.CDLL(None).syscall(298, b, 0, -1, -1, 0) >= 0 else 0",
    "32-bit numbers": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0) >= 0 else 0",
    "open descriptors": "import os\nfor n in range(4, 64):\n try:\n  os.fstat(n); print('ESCAPED', n)\n except OSError: pass",
    "priority": "import os; os.setpriority(0, os.getppid(), 19); print('ESCAPED')",
    "outlive the server": "import ctypes, os, time\nif ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0: print('ESCAPED', flush=True)\n[os.close(n) for n in range(4)]\ntime.sleep(60)",
    "close all pipes": "import os, time\n[os.close(n) for n in range(4)]\ntime.sleep(60)",
    "close all pipes and spin": "import os\n[os.close(n) for n in range(4)]\nwhile True: pass",
    "ignore all signals": "import signal\nfor n in range(1, 65):\n try: signal.signal(n, signal.SIG_IGN)\n except (OSError, ValueError): pass\nwhile True: pass",
    "new session": "import os; os.setsid(); print('ESCAPED')",
    "new group": "import os; os.setpgid(0, 0); print('ESCAPED')",
    "signal a thread of the parent": "import ctypes, os; p = os.getppid(); print('ESCAPED') if ctypes.CDLL(None).syscall(234, p, p, 0) == 0 else 0",
    "queue a signal": "import ctypes, os; print('ESCAPED') if ctypes.CDLL(None).sigqueue(os.getppid(), 0, 0) == 0 else 0",
    "signal by owning a pipe": "import fcntl, os; fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()); print('ESCAPED')",
    "signal by ioctl": "import fcntl, os; fcntl.ioctl(1, 0x8901, os.getppid().to_bytes(4, 'little')); print('ESCAPED')",
    "own group": "import os; os.kill(0, 9); print('ESCAPED')",
    "pidfd of parent": "import os; os.pidfd_open(os.getppid()); print('ESCAPED')",
    "write into parent": "import ctypes, os; r = ctypes.CDLL(None).process_vm_writev(os.getppid(), 0, 0, 0, 0, 0); print('ESCAPED' if r == 0 else '')",
    "limits of parent": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)); print('ESCAPED')",
    "affinity of parent": "import os; os.sched_setaffinity(os.getppid(), {0}); print('ESCAPED')",
    "truncate by reading": "import os; os.open(os.__file__, os.O_RDONLY | os.O_TRUNC); print('ESCAPED')",
    "open to write": "import os; os.open(os.__file__, os.O_WRONLY); print('ESCAPED')",
    "nameless file": "import os; os.open('/tmp', os.O_TMPFILE | os.O_RDWR); print('ESCAPED')",
    "fill the disk": "import os; f = os.open('/var/tmp/escaped', os.O_CREAT | os.O_WRONLY)\nprint('ESCAPED')\nwhile True: os.write(f, b'x' * 65536)",
    "grow its input": "import os; os.ftruncate(0, 1 << 40); print('ESCAPED')",
    "touch": "import os; os.utime(os.__file__); print('ESCAPED')",
    "touch by the old call": "import ctypes, os; print('ESCAPED') if ctypes.CDLL(None).syscall(132, os.__file__.encode(), 0) == 0 else 0",
    "own a link": "import os; os.lchown(os.__file__, os.getuid(), os.getgid()); print('ESCAPED')",
    "mark a file": "import os; os.setxattr(os.__file__, 'user.x', b'x'); print('ESCAPED')",
    "hard link": "import os; os.link(os.__file__, '/tmp/escaped'); print('ESCAPED')",
    "device": "print('ESCAPED', open('/dev/mem', 'rb').read(1))",
    "terminal": "print('ESCAPED', open('/dev/tty'))",
    "keys of a home": "import os; print('ESCAPED', os.listdir('/root/.ssh'))",
    "shared memory of python": "from multiprocessing import shared_memory as m; m.SharedMemory(create=True, size=9); print('ESCAPED')",
    "process pool": "from concurrent.futures import ProcessPoolExecutor as P\nwith P(1) as p: print('ESCAPED', p.submit(len, 'x').result())",
    "asyncio server": "import asyncio; asyncio.run(asyncio.sleep(0)); print('ESCAPED')",
    "clone by number": "import ctypes\nr = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)\nif r == 0: ctypes.CDLL(None)._exit(0)\nprint('ESCAPED' if r > 0 else '')",
    "program by descriptor": "import ctypes; f = ctypes.CDLL(None).syscall(319, b'x', 0); print('ESCAPED' if f >= 0 else '')",
    "another filter": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(317, 1, 0, 0) == 0 else 0",
    "userfault": "import ctypes; print('ESCAPED') if ctypes.CDLL(None).syscall(323, 1) >= 0 else 0",
    "thread bomb": "import threading, time\nthreading.stack_size(32768)\nwhile True: threading.Thread(target=time.sleep, args=[60]).start()",
    "memory bomb": "x = []\nwhile True: x.append(bytearray(1 << 24))",
    "memory by map": "import mmap; m = mmap.mmap(-1, 1 << 40); print('ESCAPED')",
    "huge number": "print(len(str(9 ** 9 ** 9)))",
    "deep recursion": "import sys; sys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
    "endless output": "while True: print('x' * 1000)",
    "endless complaint": "import sys\nwhile True: sys.stderr.write('x' * 100000)",
    "endless results": "import os\nwhile True: os.write(3, b'x' * 65536)",
    "abort": "import os; os.abort()",
    "crash": "import ctypes; ctypes.string_at(0)",
}

if platform.machine() != "x86_64":
    ATTACKS = {name: code for name, code in ATTACKS.items() if "syscall(" not in code}

OPEN = frozenset(
    {
        *("read passwd", "list root", "list proc", "list tmp", "read environ of parent"),
        *("write tmp", "make link", "make fifo", "make folder", "open to write", "memory file"),
        *("udp", "listen", "unix socket", "abstract socket", "netlink", "fork", "daemon"),
        *("run a program", "system", "subprocess", "posix_spawn", "shared memory of python"),
        *(
            "raise limit",
            "signal by owning a pipe",
            "queue a signal",
            "asyncio server",
        ),
        *("signal a thread of the parent", "pidfd of parent", "touch"),
    }
)
"""Those that succeed without walls, and do no harm there."""
ENDLESS = {
    name
    for name, code in ATTACKS.items()
    if "while True" in code or "sleep(60)" in code or "9 ** 9" in code
}
"""Those that may take all the time there is; that limit is one and the same on all kernels."""

FAKED_PROGRAM = {"kind": "stdio", "cases": [{"stdin": "4\n", "stdout": "1764\n"}]}
FAKED_FUNCTION = {"kind": "function", "name": "f", "cases": [{"args": [4], "expected": 1764}]}
_TELL = "import os, json\ndef tell(**x): os.write(3, json.dumps(x).encode() + b'\\n')\n"
_NONCE = (
    "import sys\nframe = sys._getframe()\n"
    "while 'request' not in frame.f_locals: frame = frame.f_back\n"
    "nonce = frame.f_locals['request']['nonce']\n"
)
_FUNCTION = "\ndef f(n): return 0"
FAKES: dict[str, str] = {
    "says passed": "print('all tests passed')",
    "exits with 0": "raise SystemExit(0)",
    "exits at once": "import os; os._exit(0)",
    "exits in the function": "import os\ndef f(n): os._exit(0)",
    "results without a nonce": _TELL + "tell(case=0, value=1764)" + _FUNCTION,
    "results with another nonce": _TELL + "tell(nonce='0' * 32, case=0, value=1764)" + _FUNCTION,
    "no object as a result": "import os; os.write(3, b'1764\\n\"x\"\\n[1764]\\nnull\\n')"
    + _FUNCTION,
    "endless brackets as a result": "import os; os.write(3, b'[' * 100000 + b'\\n')" + _FUNCTION,
    "a case that is no number": _TELL
    + _NONCE
    + "tell(nonce=nonce, case='0', value=1764)"
    + _FUNCTION,
    "cases by the thousand": _TELL
    + _NONCE
    + "for n in range(1, 1000): tell(nonce=nonce, case=n, value=1764)"
    + _FUNCTION,
    "equal to everything": "class E:\n __eq__ = lambda s, o: True\n __hash__ = None\ndef f(n): return E()\nprint(E())",
    "a number beyond floats": "def f(n): return 10 ** 400\nprint(10 ** 400)",
    "a list too deep": "def f(n):\n x = []\n for _ in range(100000): x = [x]\n return x",
    "another json": 'import json\njson.dumps = lambda *a, **k: \'{"case": 0, "value": 1764}\''
    + _FUNCTION,
    "searches the memory": "import gc\ndef answer():\n wanted = sum([1000, 764])\n kinds = {list: iter, dict: dict.values, tuple: iter}\n held = [kinds[type(o)](o) for o in gc.get_objects() if type(o) in kinds]\n return wanted * any(x == wanted or x == f'{wanted}\\n' for o in held for x in list(o) if type(x) in (int, str))\nprint(answer())\ndef f(n): return answer()",
    "searches the frames": "import sys\nframe, seen = sys._getframe(), ''\nwhile frame: seen += repr(frame.f_locals); frame = frame.f_back\nanswer = 42 * 42 if 'expe' 'cted' in seen else 0\nprint(answer)\ndef f(n): return answer",
    "writes to the server": 'import os\nfor n in range(4, 32):\n try: os.write(n, b\'{"stdout": "1764\\\\n", "stderr": "", "result": "", "exit_code": 0, "reason": "", "seconds": 0}\\n\')\n except OSError: pass',
}

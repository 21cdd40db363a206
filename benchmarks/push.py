"""What a push keeps through kills and surprises, and whether `distill verify` names every change.

The server is the one of the tests: it speaks the Hub's protocol with Git LFS, on 127.0.0.1.

    python benchmarks/push.py [--kills 8] [--places 200]

Expected before the first run: after every kill the repository holds nothing, and after the same
command again every file, byte for byte; a repository that turns out public receives nothing; every
flipped bit is found and its file named, that of a signature too.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results_file import write  # noqa: E402
from distill.integrity import check_folder  # noqa: E402
from distill.lineage import write_lineage  # noqa: E402
from distill.storage import files_of  # noqa: E402
from students.load import EMBEDDED  # noqa: E402
from tests.cli.test_push import command, environment  # noqa: E402
from tests.cli.test_signature import make_keys  # noqa: E402
from tests.servers.hub import WRITE_TOKEN, HubServer, hub, stored_folder  # noqa: E402

REPO = "org/tiny-student"


def main() -> None:
    """Measure all three, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--places", type=int, default=200, help="bytes flipped in a large file")
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        student = make_student(folder / "student")
        private, public = make_keys(folder, "key")
        figures = {
            "public": public_surprise(student, folder),
            "kills": kills(student, folder, options.kills, rng),
            "flips": flips(student, folder, (private, public), options.places, rng),
        }
    for part, found in figures.items():
        print(part, {key: value for key, value in found.items() if key != "files"})
    print(write("push", figures))


def make_student(folder: Path) -> Path:
    """The embedded base, with a lineage of its own."""
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("*.jsonl", "*.py", "*.md"))
    write_lineage(folder, "benchmark", [])
    return folder


def push(server: HubServer, student: Path, folder: Path, *options: str) -> int:
    """Exit code of a push in a process of its own."""
    return subprocess.run(
        command(student, *options),
        cwd=ROOT,
        env=environment(server, WRITE_TOKEN, folder),
        capture_output=True,
        check=False,
    ).returncode


def public_surprise(student: Path, folder: Path) -> dict[str, Any]:
    """A server that makes every repository public."""
    with hub() as server:
        server.makes_public = True
        code = push(server, student, folder)
        repo = server.repos[REPO]
        return {"exit_code": code, "objects": len(server.objects), "files": len(repo.files)}


def kills(student: Path, folder: Path, count: int, rng: random.Random) -> dict[str, Any]:
    """Pushes that are killed while the weights are under way, at random bytes of them."""
    size = (student / "model.safetensors").stat().st_size
    found = {"kills": 0, "files_after_kill": 0, "complete": 0, "byte_equal": 0, "sent_again": 0}
    for number in range(count):
        with hub() as server, killed_at(rng.randrange(1, size), server, student, folder):
            found["kills"] += 1
            found["files_after_kill"] += len(server.repos[REPO].files)
            code = push(server, student, folder)
            here = stored_folder(server, REPO, folder / f"downloaded-{number}")
            found["complete"] += code == 0 and check_folder(here).is_whole
            found["byte_equal"] += all(
                (here / path.name).read_bytes() == path.read_bytes()
                for path in files_of(student)
                if path.name not in {"lineage.json", "README.md"}
            )
            sent = len(server.uploaded)
            push(server, student, folder)
            found["sent_again"] += len(server.uploaded) - sent
            shutil.rmtree(here)
    return {"weight_bytes": size, **found}


@contextmanager
def killed_at(place: int, server: HubServer, student: Path, folder: Path) -> Iterator[None]:
    """A push that was killed when the server had so many bytes of the weights."""
    server.holds_after = place
    process = subprocess.Popen(
        command(student),
        cwd=ROOT,
        env=environment(server, WRITE_TOKEN, folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert server.has_received.wait(timeout=100)
        process.kill()
    server.holds_after = None
    yield


def flips(
    student: Path, folder: Path, keys: tuple[Path, Path], places: int, rng: random.Random
) -> dict[str, Any]:
    """One bit flipped in a published, signed folder, again and again in every file."""
    with hub() as server:
        assert push(server, student, folder, "--sign", str(keys[0])) == 0
        here = stored_folder(server, REPO, folder / "published")
    assert check_folder(here, keys[1]).signature == "valid"
    files = {}
    for path in files_of(here):
        name, whole = path.relative_to(here).as_posix(), path.read_bytes()
        chosen = rng.sample(range(len(whole)), min(places, len(whole)))
        named = 0
        for place in chosen:
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << rng.randrange(8)
            path.write_bytes(spoilt)
            named += is_named(here, path, keys[1])
        files[name] = {"bytes": len(whole), "flips": len(chosen), "named": named}
        path.write_bytes(whole)
    return {
        "flips": sum(one["flips"] for one in files.values()),
        "named": sum(one["named"] for one in files.values()),
        "files": files,
    }


def is_named(here: Path, path: Path, key: Path) -> bool:
    """Whether the file that was changed is found, and no other is named."""
    if path.name == "model.sig":
        return check_folder(here, key).signature == "invalid"
    found = check_folder(here).findings
    return [one.path for one in found] == [path.relative_to(here).as_posix()]


if __name__ == "__main__":
    main()

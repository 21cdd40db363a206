"""``distill bundle``: one file, and a machine without a network that answers with it."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from distill.integrity import check_folder
from distill.publish.archive import Member, archive_parts, archive_size
from distill.publish.wheels import TOOLKIT
from tests.cli.conftest import Invoke, Shown, invoke_in
from tests.conftest import clean_environment

ALONE = Path(__file__).with_name("alone.py")
OTHER_SHA256 = hashlib.sha256(b"abd").hexdigest()
OTHER_BLAKE3 = f"blake3:{blake3(b'abd').hexdigest()}"
UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]


def can_be_alone() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_be_alone(), reason="this system lets nobody make a network namespace (unshare --net)"
)


@pytest.fixture(scope="module")
def bundled(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """The tiny run's student as a bundle, without wheels."""
    folder = tmp_path_factory.mktemp("bundled")
    shown = invoke_in(folder, "bundle", finished_run / "runs/tiny", "--to", "tiny.tar", "--json")
    assert shown.code == 0, shown.err
    return folder / "tiny.tar", shown


@pytest.fixture(scope="module")
def gguf(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student as a GGUF export."""
    folder = tmp_path_factory.mktemp("gguf")
    run = finished_run / "runs/tiny"
    shown = invoke_in(
        folder, "export", run, "--to", "out", "--format", "gguf", "--check", "weights"
    )
    assert shown.code == 0, shown.err
    return folder / "out"


def unpack(bundle: Path, into: Path) -> Path:
    with tarfile.open(bundle) as archive:
        archive.extractall(into, filter="data")
    return into / bundle.stem


def start(folder: Path, *words: str, python: str = sys.executable) -> Shown:
    environment = clean_environment() | {"PYTHON": python}
    done = subprocess.run(
        [folder / "start.sh", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Shown(done.returncode, done.stdout, done.stderr)


def answers_alone(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*UNSHARE, sys.executable, str(ALONE), str(folder)],
        env=clean_environment() | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_namespaces
def test_unpacked_it_serves_with_no_network_at_all(
    bundled: tuple[Path, Shown], tmp_path: Path
) -> None:
    found = answers_alone(unpack(bundled[0], tmp_path))
    assert "Network is unreachable" in found["outside"]
    assert found["models"]["data"][0]["id"] == "tiny"
    assert found["reply"]["usage"]["completion_tokens"] > 0


@needs_namespaces
def test_a_gguf_serves_alone_too_and_its_lock_has_no_torch(
    invoke: Invoke, gguf: Path, tmp_path: Path
) -> None:
    shown = invoke("bundle", gguf, "--to", "small.tar", "--json")
    assert shown.code == 0, shown.err
    packages = json.loads(shown.out)["packages"]
    assert "xllamacpp" in packages
    assert "torch" not in packages
    found = answers_alone(unpack(tmp_path / "small.tar", tmp_path))
    assert found["reply"]["usage"]["completion_tokens"] > 0


def test_it_holds_what_a_push_sends_and_the_sums_of_every_file(
    bundled: tuple[Path, Shown], finished_run: Path, tmp_path: Path
) -> None:
    folder = unpack(bundled[0], tmp_path)
    sums = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    for digest, name in sums:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    files = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
    assert files == {name for _, name in sums} | {"SHA256SUMS"}
    assert check_folder(folder / "model").findings == ()
    student = finished_run / "runs/tiny/student"
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (folder / "model" / name).read_bytes() == (student / name).read_bytes()
    assert "# tiny" in (folder / "model/README.md").read_text()


def test_the_lock_has_the_installed_versions_of_what_answering_needs(
    bundled: tuple[Path, Shown], tmp_path: Path
) -> None:
    from importlib.metadata import version

    lock = (unpack(bundled[0], tmp_path) / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lock if "==" in line)
    for name in ("distill-reasoning", "transformers", "tokenizers", "aiohttp", "numpy"):
        assert pinned[name] == version(name)
    assert pinned["torch"] == version("torch").partition("+")[0]
    assert not {"pytest", "ruff", "datasets", "peft"} & set(pinned)


def test_the_same_student_gives_the_same_bytes_of_the_size_that_was_said(
    bundled: tuple[Path, Shown], invoke: Invoke, finished_run: Path, tmp_path: Path
) -> None:
    shown = invoke("bundle", finished_run / "runs/tiny/student", "--to", "tiny.tar")
    assert shown.code == 0, shown.err
    assert (tmp_path / "tiny.tar").read_bytes() == bundled[0].read_bytes()
    assert json.loads(bundled[1].out)["bytes"] == bundled[0].stat().st_size


def test_a_changed_file_is_named_and_nothing_is_started(
    bundled: tuple[Path, Shown], tmp_path: Path
) -> None:
    folder = unpack(bundled[0], tmp_path)
    assert start(folder, "check").code == 0
    template = folder / "model/chat_template.jinja"
    template.write_bytes(template.read_bytes().replace(b"user", b"User", 1))
    shown = start(folder)
    assert shown.code == 1
    assert "model/chat_template.jinja: FAILED" in shown.err
    assert "tokenizer.json" not in shown.err


def test_a_python_without_the_toolkit_is_said(bundled: tuple[Path, Shown], tmp_path: Path) -> None:
    folder = unpack(bundled[0], tmp_path)
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    shown = start(folder, python=str(bare))
    assert shown.code == 1
    assert "does not have the toolkit" in shown.err
    assert "missing or too old" in start(folder, python="no-such-python").err


def test_help_of_the_start_script_is_its_head(bundled: tuple[Path, Shown], tmp_path: Path) -> None:
    shown = start(unpack(bundled[0], tmp_path), "--help")
    assert shown.code == 0
    assert "./start.sh chat" in shown.out
    assert "set -eu" not in shown.out


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> None:
    """A wheel as small as they come."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    whole = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in whole.items():
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{path},sha256={digest.rstrip(b'=').decode()},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


@pytest.fixture
def wheel_dir(bundled: tuple[Path, Shown], tmp_path: Path) -> Path:
    """A wheel for every line of the lock, empty but for a toolkit that says what it is told."""
    (folder := tmp_path / "wheels").mkdir()
    toolkit = {
        "distill/__init__.py": "",
        "distill/__main__.py": "import sys; print('started:', *sys.argv[1:])",
    }
    for name, version in json.loads(bundled[1].out)["packages"].items():
        make_wheel(folder, name, version, toolkit if name == "distill-reasoning" else {})
    return folder


def test_with_wheels_it_installs_them_alone_and_starts_what_they_hold(
    invoke: Invoke, finished_run: Path, wheel_dir: Path, tmp_path: Path
) -> None:
    make_wheel(wheel_dir, "stranger", "1.0", {})
    shown = invoke(
        "bundle", finished_run / "runs/tiny", "--to", "full.tar", "--wheel-dir", wheel_dir
    )
    assert shown.code == 0, shown.err
    folder = unpack(tmp_path / "full.tar", tmp_path)
    assert len(list((folder / "wheels").iterdir())) == len(list(wheel_dir.iterdir())) - 1
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    for _ in range(2):  # the second time nothing is installed
        done = subprocess.run(
            [folder / "start.sh", "chat", "--max-tokens", "5"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout == "started: chat model --max-tokens 5\n", done.stderr
    assert "installing" not in done.stderr


def test_fetched_wheels_are_listed_with_their_sizes_though_they_are_gone_by_then(
    invoke: Invoke,
    finished_run: Path,
    wheel_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pip gets them from a folder here: only where from differs."""
    sources = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel_dir), "PIP_CONSTRAINT": ""}
    for name, value in {**sources, "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("distill.publish.wheels._toolkit_source", f"{TOOLKIT}=={{}}".format)
    shown = invoke("bundle", finished_run / "runs/tiny", "--to", "full.tar", "--wheels", "--json")
    assert shown.code == 0, shown.err
    sizes = {Path(one["name"]).name: one["size"] for one in json.loads(shown.out)["files"]}
    for wheel in wheel_dir.iterdir():
        assert sizes[wheel.name] == wheel.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full.tar", "wheels"]


def test_a_wheel_that_is_missing_or_of_another_version_is_named(
    invoke: Invoke, finished_run: Path, wheel_dir: Path, tmp_path: Path
) -> None:
    (torch,) = wheel_dir.glob("torch-*")
    torch.rename(wheel_dir / "torch-1.0-py3-none-any.whl")
    shown = invoke(
        "bundle", finished_run / "runs/tiny", "--to", "full.tar", "--wheel-dir", wheel_dir
    )
    assert shown.code == 3
    assert "wheels are not in it: torch==" in shown.err
    assert not (tmp_path / "full.tar").exists()


def test_a_mistake_is_one_message_and_leaves_nothing(
    invoke: Invoke, finished_run: Path, tmp_path: Path
) -> None:
    run = finished_run / "runs/tiny"
    (tmp_path / "taken.tar").write_text("")
    for arguments, code, problem in [
        ((run, "--to", "mine.zip"), 2, "a bundle is a NAME.tar"),
        ((run, "--to", "taken.tar"), 5, "is there already"),
        ((run, "--to", "a.tar", "--wheels", "--wheel-dir", "."), 2, "say one"),
        ((run, "--to", "a.tar", "--wheel-dir", "none"), 3, "there is no such folder"),
        (("none", "--to", "a.tar"), 3, "nobody knows where this model comes from"),
    ]:
        shown = invoke("bundle", *arguments)
        assert problem in shown.err
        assert shown.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["taken.tar"]


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    invoke: Invoke, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    small = type(usage)(usage.total, usage.total - 1_000, 1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    shown = invoke("bundle", finished_run / "runs/tiny", "--to", "a.tar")
    assert shown.code == 5
    assert "are needed" in shown.err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_shows_the_files_and_writes_nothing(
    invoke: Invoke, finished_run: Path, tmp_path: Path
) -> None:
    shown = invoke("bundle", finished_run / "runs/tiny", "--to", "a.tar", "--wheels", "--dry-run")
    assert shown.code == 0, shown.err
    for word in ("nothing was written", "model/model.safetensors", "start.sh", "are locked"):
        assert word in shown.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", [OTHER_SHA256, OTHER_BLAKE3])
def test_a_file_that_is_not_what_its_record_says_stops_the_archive(
    digest: str, tmp_path: Path
) -> None:
    from distill.errors import DataError

    (path := tmp_path / "weights").write_bytes(b"abc")
    with pytest.raises(DataError, match="changed while it was read"):
        list(archive_parts("a", [Member("weights", path, digest)], lambda _: None))


def test_an_archive_has_its_size_whatever_the_names(tmp_path: Path) -> None:
    members = [Member(f"{'long/' * 40}é{size}", bytes(size)) for size in (0, 1, 511, 512, 513)]
    data = b"".join(archive_parts("ü", members, lambda _: None))
    assert len(data) == archive_size("ü", members)
    (path := tmp_path / "a.tar").write_bytes(data)
    with tarfile.open(path) as archive:
        assert archive.getnames() == [f"ü/{one.name}" for one in members] + ["ü/SHA256SUMS"]

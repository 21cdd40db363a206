"""``distill push`` against a server that speaks the Hub's protocol, each in a process of its own.

The Hub's client reads its settings when it is imported; and a push is killed as a user's is.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.integrity import check_folder
from tests.cli.conftest import Invoke
from tests.conftest import clean_environment
from tests.servers.hub import READ_TOKEN, WRITE_TOKEN, HubServer, Repo, hub, stored_folder
from tests.servers.xet import XetStore

Push = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub() as running:
        yield running


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run / "runs/tiny", tmp_path / "run")
    return tmp_path / "run"


def environment(server: HubServer, token: str, folder: Path) -> dict[str, str]:
    return clean_environment() | {
        "HF_ENDPOINT": server.address,
        "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(folder),
        "HF_XET_XORB_COMPRESSION_POLICY": "none",
        "HF_XET_TELEMETRY_ENABLED": "0",
    }


def command(what: Path, *options: str) -> list[str]:
    name = [] if "--repo" in options else ["--repo", "org/tiny-student"]
    return [sys.executable, "-m", "distill", "push", str(what), *name, *options]


@pytest.fixture
def push(server: HubServer, tmp_path: Path) -> Push:
    def call(
        what: Path, *options: str, token: str = WRITE_TOKEN
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(what, *options),
            cwd=tmp_path,
            env=environment(server, token, tmp_path),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert token not in done.stdout + done.stderr
        return done

    return call


def test_a_student_arrives_whole_private_and_verifiable(
    server: HubServer, run: Path, push: Push, tmp_path: Path
) -> None:
    done = push(run, "--json")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["is_private"] is True
    assert said["uses_xet"] is False
    folder = stored_folder(server, "org/tiny-student", tmp_path / "downloaded")
    assert check_folder(folder).findings == ()
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (run / "student" / name).read_bytes()
    card = (folder / "README.md").read_text()
    assert "## Evaluation" in card
    assert "traces left" in card
    assert not [path for path in run.parent.iterdir() if path.name.startswith(".publishing")]


def test_a_repository_that_turns_out_public_gets_nothing(
    server: HubServer, run: Path, push: Push
) -> None:
    server.makes_public = True
    done = push(run)
    assert done.returncode == 9
    assert "says that it is public; nothing was sent" in done.stderr
    assert server.objects == {}
    assert server.repos["org/tiny-student"].files == {}
    done = push(run, "--public")
    assert done.returncode == 0, done.stderr


def test_a_run_that_has_trained_nothing_says_so(run: Path, push: Push) -> None:
    shutil.rmtree(run / "student")
    done = push(run)
    assert done.returncode == 3
    assert "this run has no student yet" in done.stderr


def test_a_repository_with_another_model_is_left_as_it_is(
    server: HubServer, run: Path, push: Push
) -> None:
    held = {"README.md": b"", "model-00001-of-00002.safetensors": b"another"}
    server.repos["org/tiny-student"] = Repo("model", is_private=True, files=dict(held))
    done = push(run)
    assert done.returncode == 9
    assert "taken by another model: it holds model-00001-of-00002.safetensors" in done.stderr
    assert server.repos["org/tiny-student"].files == held
    assert server.objects == {}
    del server.repos["org/tiny-student"].files["model-00001-of-00002.safetensors"]
    done = push(run)  # a repository that was made on the Hub's page holds a README
    assert done.returncode == 0, done.stderr


def test_a_push_killed_half_way_goes_on_and_ends_byte_equal(
    server: HubServer, run: Path, push: Push, tmp_path: Path
) -> None:
    server.holds_after = 1_000
    process = subprocess.Popen(
        command(run),
        cwd=tmp_path,
        env=environment(server, WRITE_TOKEN, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert server.has_received.wait(timeout=100)
        process.kill()
    assert server.repos["org/tiny-student"].files == {}
    server.holds_after = None
    done = push(run)
    assert done.returncode == 0, done.stderr
    folder = stored_folder(server, "org/tiny-student", tmp_path / "downloaded")
    assert check_folder(folder).findings == ()
    sent = len(server.uploaded)
    assert push(run).returncode == 0
    assert len(server.uploaded) == sent  # what is there is not sent again


def test_where_there_is_xet_a_killed_push_goes_on_through_it_and_ends_byte_equal(
    server: HubServer, run: Path, push: Push, tmp_path: Path
) -> None:
    server.xet = XetStore()
    server.holds_after = 0
    process = subprocess.Popen(
        command(run),
        cwd=tmp_path,
        env=environment(server, WRITE_TOKEN, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert server.has_received.wait(timeout=100)
        process.kill()
    assert server.repos["org/tiny-student"].files == {}
    server.holds_after = None
    done = push(run, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uses_xet"] is True
    assert server.uploaded == []  # nothing went as a Git LFS object
    folder = stored_folder(server, "org/tiny-student", tmp_path / "downloaded")
    assert check_folder(folder).findings == ()
    weights = (run / "student/model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == weights


def test_a_xet_store_that_fails_is_said_with_the_way_around_it(
    server: HubServer, run: Path, push: Push
) -> None:
    server.xet = XetStore(is_odd=True)
    done = push(run)
    assert done.returncode == 9
    assert "HF_HUB_DISABLE_XET=1" in done.stderr
    assert server.repos["org/tiny-student"].files == {}


def test_a_dry_run_shows_files_and_card_and_asks_nobody(
    server: HubServer, run: Path, push: Push
) -> None:
    (run / "student/optimizer.pt").write_bytes(b"")
    (run / "student/trainer_state.json").write_text("{}")
    done = push(run / "student", "--dry-run")
    assert done.returncode == 0
    assert "model.safetensors" in done.stdout
    assert "# tiny-student" in done.stdout
    left_out = done.stdout.partition("Left out")[2]
    assert "optimizer.pt" in left_out
    assert "trainer_state.json" in left_out
    assert server.repos == {}


def test_what_a_student_learnt_from_is_published_as_a_data_set(
    server: HubServer, run: Path, push: Push
) -> None:
    done = push(run / "train.parquet", "--repo", "org/traces")
    assert done.returncode == 0, done.stderr
    repo = server.repos["org/traces"]
    assert repo.kind == "dataset"
    assert repo.files["train.parquet"] == (run / "train.parquet").read_bytes()
    assert b"traces left" in repo.files["README.md"]


def test_a_token_that_may_not_write_is_refused_in_the_servers_words(run: Path, push: Push) -> None:
    done = push(run, token=READ_TOKEN)
    assert done.returncode == 9
    assert "You don't have the rights to write here" in done.stderr
    assert "HF_TOKEN" in done.stderr


@pytest.mark.parametrize("repo", ["tiny", "org/", "a/b/c"])
def test_a_name_without_owner_is_refused(invoke: Invoke, run: Path, repo: str) -> None:
    shown = invoke("push", run, "--repo", repo)
    assert shown.code == 2
    assert "OWNER/NAME" in shown.err


@pytest.mark.parametrize("repo", ["org/a b", "org/-a", "org/a--b", f"org/{'a' * 97}"])
def test_a_name_that_the_hub_does_not_take_is_refused_before_anything_is_made(
    invoke: Invoke, run: Path, repo: str
) -> None:
    shown = invoke("push", run, "--repo", repo, "--dry-run")
    assert shown.code == 2
    assert "the Hub takes no such name" in shown.err
    assert "letters, digits" in shown.err


def test_weights_that_were_changed_are_not_published_with_old_figures(
    server: HubServer, run: Path, push: Push
) -> None:
    (run / "student/lineage.json").unlink()
    done = push(run)
    assert done.returncode == 3
    assert "nobody knows where this model comes from" in done.stderr
    assert server.repos == {}

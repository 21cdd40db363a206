"""Models of the Hub: fetched once, found without a network, and one message for each refusal."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.students.hub_server import COMMIT, hub_server

SECRET = "hf_secretsecretsecret"
ONLINE = [
    ["tiny/student"],
    ["tiny/pickled"],
    ["tiny/student-at", "no-such-branch"],
    *([name] for name in ("meta/gated", "some/missing", "some/private")),
    *([name] for name in ("some/forbidden", "some/broken")),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a fresh process found, case by case, and what the server was asked for."""

    found: dict[str, dict[str, str]]
    loaded_torch: bool
    asked: list[str]
    home: Path
    address: str


def ask(home: Path, cases: list[list[str]], **settings: str) -> dict[str, Any]:
    script = Path(__file__).with_name("hub_server.py")
    environment = os.environ | {
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(script.parents[2]),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(cases)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert SECRET not in done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def online(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    home, pickled = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("pickled")
    for name in ("config.json", "tokenizer.json"):
        (pickled / name).write_bytes((tiny_qwen2 / name).read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"a pickle")
    models = {"tiny/student": tiny_qwen2, "tiny/student-at": tiny_qwen2, "tiny/pickled": pickled}
    with hub_server(models) as hub:
        address = hub.address.replace("//", f"//user:{SECRET}@")
        seen = ask(home, ONLINE, HF_ENDPOINT=address, HF_HUB_OFFLINE="0", HF_TOKEN=SECRET)
    return Seen(seen["found"], seen["torch"], hub.asked, home, hub.address)


def test_model_is_fetched_whole_without_loading_torch(online: Seen, tiny_qwen2: Path) -> None:
    folder = Path(online.found["tiny/student"]["folder"])
    assert folder.name == COMMIT
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (tiny_qwen2 / name).read_bytes()
    assert not online.loaded_torch


def test_pickled_weights_are_never_fetched(online: Seen) -> None:
    refused = online.found["tiny/pickled"]
    assert "missing: model.safetensors" in refused["problem"]
    assert "pickles are never fetched" in refused["hint"]
    assert not [path for path in online.asked if path.endswith(".bin")]


@pytest.mark.parametrize(
    ("model", "problem", "hint"),
    [
        ("meta/gated", "agreed to its terms", "agree at http://127.0.0.1"),
        ("some/missing", "no such model, or it is private", "distill students"),
        ("some/private", "no such model, or it is private", "HF_TOKEN"),
        ("some/forbidden", "refuses to hand it out (403)", "HF_TOKEN"),
        ("some/broken", "answered 503", "try again later"),
        ("tiny/student-at", "no revision 'no-such-branch'", "branch, tag or commit"),
    ],
)
def test_a_refusal_is_one_message_with_a_way_out(
    online: Seen, model: str, problem: str, hint: str
) -> None:
    refused = online.found[model]
    assert problem in refused["problem"]
    assert model in refused["problem"]
    assert hint in refused["hint"]


def test_neither_token_nor_login_is_shown(online: Seen) -> None:
    assert SECRET not in str(online.found)  # `ask` has looked at all that was printed


def test_what_is_in_the_cache_needs_no_network_and_what_is_not_is_told_where_to_put(
    online: Seen,
) -> None:
    cases = [["tiny/student"], ["tiny/elsewhere"]]
    found = ask(online.home, cases, HF_HUB_OFFLINE="1", HF_ENDPOINT=online.address)["found"]
    assert found["tiny/student"] == online.found["tiny/student"]
    missing = found["tiny/elsewhere"]
    assert "not in the cache" in missing["problem"]
    assert "HF_HUB_OFFLINE is set" in missing["problem"]
    assert "models--tiny--elsewhere/snapshots/<commit>: config.json" in missing["hint"]
    assert "hf download tiny/elsewhere" in missing["hint"]


def test_a_server_that_is_gone_is_told_from_one_that_refuses(online: Seen) -> None:
    gone = ask(online.home, [["tiny/other"]], HF_HUB_OFFLINE="0", HF_ENDPOINT=online.address)
    assert "the Hub cannot be reached" in gone["found"]["tiny/other"]["problem"]

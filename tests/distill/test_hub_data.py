"""Which files of a Hub data set are read, from the cache as the Hub's library lays it out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.data_sections import HubData
from distill.errors import DataError
from distill.hub_files import choose_files
from distill.training_data import open_training_data
from tests.students.hub_server import COMMIT, hub_server

ROW = {"prompt": "1?", "completion": "one"}


def chosen(names: list[str], card: dict[str, Any] | None = None, **which: Any) -> list[str]:
    return choose_files("org/x", names, card or {}, **{"subset": None, "split": "train", **which})


def test_names_say_which_split_a_file_is_of() -> None:
    names = ["data/train-0.parquet", "data/test-0.parquet", "README.md"]
    assert chosen(names) == ["data/train-0.parquet"]
    assert chosen(names, split="test") == ["data/test-0.parquet"]
    assert chosen(["test.jsonl", "train.jsonl"]) == ["train.jsonl"]


def test_files_whose_names_say_nothing_are_all_train() -> None:
    assert chosen(["b.jsonl", "a.jsonl"]) == ["a.jsonl", "b.jsonl"]
    with pytest.raises(DataError, match=r"no file of the split 'test'; found: a\.jsonl"):
        chosen(["a.jsonl"], split="test")


def test_a_subset_is_a_folder_unless_the_card_says_otherwise() -> None:
    names = ["math/train.jsonl", "code/train.jsonl"]
    assert chosen(names, subset="code") == ["code/train.jsonl"]
    with pytest.raises(DataError, match="no subset 'art'; folders: "):
        chosen(names, subset="art")


CARD = {
    "configs": [
        {"config_name": "math", "data_files": [{"split": "train", "path": "m/*.parquet"}]},
        {
            "config_name": "code",
            "default": True,
            "data_files": [{"split": "train", "path": ["c/a.jsonl", "c/b.jsonl"]}],
        },
    ]
}
NAMES = ["m/0.parquet", "m/1.parquet", "c/a.jsonl", "c/b.jsonl", "c/c.jsonl"]


def test_the_card_says_which_files_a_subset_has() -> None:
    assert chosen(NAMES, CARD) == ["c/a.jsonl", "c/b.jsonl"]
    assert chosen(NAMES, CARD, subset="math") == ["m/0.parquet", "m/1.parquet"]
    with pytest.raises(DataError, match="no subset 'art'; subsets: math, code"):
        chosen(NAMES, CARD, subset="art")
    with pytest.raises(DataError, match="no split 'dev'; splits: train"):
        chosen(NAMES, CARD, split="dev")
    several = {"configs": [{**one, "default": False} for one in CARD["configs"]]}
    with pytest.raises(DataError, match="several subsets; subsets: math, code"):
        chosen(NAMES, several)


def test_a_set_without_readable_files_points_to_the_hubs_own_parquet() -> None:
    with pytest.raises(DataError, match=r"found: x\.arrow\n.*refs/convert/parquet"):
        chosen(["x.arrow"])


def test_a_download_that_was_stopped_is_no_whole_set() -> None:
    names = [f"data/train-0000{shard}-of-00003.parquet" for shard in (0, 2)]
    with pytest.raises(DataError, match=r"2 of 00003 files data/train-\.\.\. are there"):
        chosen(names)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_what_lies_in_the_cache_needs_no_network(cache: Path) -> None:
    place = cache / "datasets--org--x"
    folder = place / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        "    path: one/*.jsonl\n---\nA set.\n"
    )
    (folder / "one").mkdir()
    (folder / "one" / "a.jsonl").write_text(json.dumps(ROW))
    data = open_training_data(HubData(dataset="org/x"))
    assert len(list(data.read())) == 1
    report = data.report()
    assert (report.source, report.revision) == ("org/x (train)", COMMIT)
    assert open_training_data(HubData(dataset="org/x", revision=COMMIT)).found == data.found


def test_what_is_missing_offline_is_named_with_its_place_and_the_way_to_get_it(cache: Path) -> None:
    with pytest.raises(DataError) as found:
        open_training_data(HubData(dataset="org/x", revision="v2"))
    shown = str(found.value)
    assert "not in the Hub's cache, and HF_HUB_OFFLINE forbids to fetch it" in shown
    assert str(cache / "datasets--org--x" / "snapshots") in shown
    assert "hf download org/x --repo-type dataset --revision v2" in shown


READ = """
import json, sys
from distill.data_sections import HubData
from distill.errors import DataError
from distill.training_data import open_training_data
found = []
for case in json.loads(sys.argv[1]):
    try:
        data = open_training_data(HubData(**case))
        found.append([data.found.name, sum(1 for _ in data.read())])
    except DataError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def ask(repository: Path, cache: Path, endpoint: str, cases: list[dict[str, str]]) -> list[Any]:
    """In a fresh process: the Hub's client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(cases)],
        cwd=repository,
        env={**os.environ, **settings, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_a_set_is_fetched_once_and_what_is_closed_is_said(repository: Path, tmp_path: Path) -> None:
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    for split, count in (("train", 3), ("test", 2)):
        (served / f"{split}.jsonl").write_text(f"{json.dumps(ROW)}\n" * count)
    cases = [
        {"dataset": "org/x"},
        {"dataset": "org/x", "split": "test"},
        {"dataset": "meta/gated"},
        {"dataset": "some/missing"},
        {"dataset": "org/x", "revision": "v9"},
    ]
    with hub_server({"org/x": served}) as server:
        train, test, gated, missing, revision = ask(repository, cache, server.address, cases)
        asked = server.asked
    assert (train, test) == (["org/x (train)", 3], ["org/x (test)", 2])
    assert "terms must be accepted" in gated
    assert "HF_TOKEN" in gated
    assert "there is no such data set on the Hub, or it is private" in missing
    assert "there is no revision 'v9'" in revision
    assert any(path.endswith("/train.jsonl") for path in asked)
    # Nobody answers at that address any more.
    (again,) = ask(repository, cache, server.address, cases[:1])
    assert again == train

import random
from pathlib import Path

import pytest
import torch

from students.tensor_tree import load_tree, save_tree


def test_tree_comes_back_to_the_last_bit_with_the_kinds_it_had(tmp_path: Path) -> None:
    shared = torch.randn(3, 4)
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "mean": shared.t()}, 1: {"q": shared.byte()}},
        "groups": [{"lr": random.Random(0).random(), "betas": (0.9, 0.95), "fused": True}],
        "none": None,
        "text": "caf\u00e9",
    }
    save_tree(tree, tmp_path / "state")
    found = load_tree(tmp_path / "state")
    assert found["groups"] == tree["groups"]
    assert isinstance(found["groups"][0]["betas"], tuple)
    assert (found["none"], found["text"]) == (None, "caf\u00e9")
    assert found["state"].keys() == {0, 1}
    assert torch.equal(found["state"][0]["mean"], shared.t())
    assert found["state"][1]["q"].dtype == torch.uint8
    assert found["state"][0]["step"].shape == ()


def test_an_object_is_refused_rather_than_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path cannot be saved"):
        save_tree({"a": [tmp_path]}, tmp_path / "state")

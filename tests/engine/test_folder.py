import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from distill.errors import ModelError
from engine.folder import (
    check_folder,
    folder_fingerprint,
    load_folder,
    load_tokenizer,
    quiet_transformers,
)


@pytest.fixture
def folder(
    tmp_path: Path, random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> Path:
    random_model.save_pretrained(tmp_path)
    embedded_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_loaded_model_has_the_saved_weights(folder: Path, random_model: PreTrainedModel) -> None:
    loaded = load_folder(folder)
    assert not loaded.model.training
    assert loaded.tokenizer.chat_template
    assert loaded.stored_dtype == torch.float32
    for name, weight in random_model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight)


def test_tokens_are_those_of_the_tokenizer_file_whatever_the_architecture(
    folder: Path, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = "Mia starts with 12 apples.\n12 + 7 = 19"
    again = load_tokenizer(folder)
    assert again(text)["input_ids"] == embedded_tokenizer(text)["input_ids"]


def test_broken_tokenizer_is_one_clear_error(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded"):
        load_tokenizer(folder)


def test_stored_precision_is_told_and_converted(
    folder: Path, random_model: PreTrainedModel
) -> None:
    copy.deepcopy(random_model).to(torch.bfloat16).save_pretrained(folder)
    loaded = load_folder(folder)
    assert loaded.stored_dtype == torch.bfloat16
    assert loaded.model.dtype == torch.float32


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named_with_what_is_expected(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"missing: {name}") as caught:
        load_folder(folder)
    assert "tokenizer.json" in caught.value.hint


def test_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="missing: model-00001-of-00002"):
        check_folder(folder)


def test_missing_folder_and_adapter_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        check_folder(tmp_path / "nothing")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a model"):
        check_folder(tmp_path)


def test_cut_weights_are_one_clear_error(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(folder)


def test_weights_of_another_shape_are_one_clear_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 7}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(folder)


def test_lacking_tensor_is_not_filled_with_random_numbers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"] + 1
    config |= {"num_hidden_layers": layers, "layer_types": None}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="weights lack"):
        load_folder(folder)


def test_unknown_architecture_is_one_clear_error(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nobody"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(folder)


def test_fingerprint_changes_with_weights_and_template_only(folder: Path) -> None:
    before = folder_fingerprint(folder)
    (folder / "README.md").write_text("a card")
    assert folder_fingerprint(folder) == before
    (folder / "chat_template.jinja").write_text("another")
    assert folder_fingerprint(folder) != before


def test_quiet_ends_with_the_block() -> None:
    before = logging.get_verbosity()
    with quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
    assert logging.get_verbosity() == before

"""Tiny random models of both embedded architectures, with the embedded tokenizer."""

from collections.abc import Iterator

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import students.embedded.pretrain
import teachers.embedded.pretrain
from engine.making.tokenizer import build_tokenizer


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tiny products on several threads wait for each other, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def embedded_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session", params=["dense", "mixture"])
def random_model(
    request: pytest.FixtureRequest, embedded_tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    torch.manual_seed(0)
    package = students if request.param == "dense" else teachers
    model = package.embedded.pretrain.build_model(
        len(embedded_tokenizer), embedded_tokenizer.eos_token_id, embedded_tokenizer.pad_token_id
    )
    # Random weights of the usual size give nearly equal logits: any two implementations disagree.
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim > 1:
                param.mul_(4)
    return model.eval()

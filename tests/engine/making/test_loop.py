import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from engine.making.documents import Batch, DocumentMaker, batches
from engine.making.loop import LoopSettings, RouterBalance, pretrain, schedule
from engine.making.optimizer import orthogonalise
from engine.threads import fitting_threads
from teachers.embedded.pretrain import build_model


def stream(tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    maker = DocumentMaker(tokenizer, 1)
    return batches(maker.facts, batch_tokens=1024, pad_id=0, seed=1, pool=64)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with fitting_threads(1):  # a second thread stalls while other programs keep the cores busy
        yield


@pytest.fixture
def mixture(embedded_tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    ids = embedded_tokenizer.eos_token_id, embedded_tokenizer.pad_token_id
    return build_model(len(embedded_tokenizer), *ids)


def test_the_loss_falls_and_the_log_says_so(
    mixture: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    settings = LoopSettings(steps=30, warmup_steps=5)
    report = pretrain(mixture, stream(embedded_tokenizer), settings, log=log)
    assert report.final_loss < 5.0  # ln 548 = 6.3 is where it begins, as a mean over the steps
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[0]["step"] == 30
    assert lines[-1]["final_loss"] == report.final_loss


def test_the_routers_bias_moves_away_from_busy_experts(mixture: PreTrainedModel) -> None:
    balance = RouterBalance(mixture, lr=0.01)
    input_ids = torch.randint(8, 500, (4, 64))
    for module in mixture.modules():
        if hasattr(module, "e_score_correction_bias"):
            module.e_score_correction_bias[0] = 1.0  # the first expert gets every token
    mixture(input_ids=input_ids)
    assert balance.largest_share() == 0.5  # of two experts per token
    for _ in range(120):
        balance.step()
        mixture(input_ids=input_ids)
    assert balance.largest_share() < 0.3


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((16, 16), (8, 32), (32, 8), (3, 8, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_the_rate_rises_stays_and_falls() -> None:
    settings = LoopSettings(steps=100, warmup_steps=10, decay_share=0.4)
    shares = [schedule(step, settings) for step in (0, 9, 50, 60, 80, 99)]
    assert shares == pytest.approx([0.1, 1, 1, 1, 0.5, 0.025])

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from distill.errors import DataError
from distill.recipe import TrainSection
from distill.types import Example
from engine.folder import load_folder
from students.held_out import held_out_owners, owner_of
from students.methods import load_trainable
from students.prepared import prepare
from students.sft import TrainReport, train
from students.template import tokenize

SECTION = {"epochs": 6, "learning_rate": 1e-2, "batch_tokens": 512, "seq_len": 256}


def run(examples: list[Example], base: Path, folder: Path, **changes: object) -> TrainReport:
    section = TrainSection.model_validate(SECTION | changes)
    return train(
        examples,
        base,
        section,
        folder / "student",
        folder / "checkpoints",
        seed=0,
        on_progress=lambda _: None,
    )


def test_all_traces_of_a_prompt_are_held_out_together() -> None:
    ids = [f"a/{prompt}#{sample}" for prompt in range(50) for sample in range(3)]
    held = held_out_owners(ids, 0.1, seed=1)
    assert len(held) == 5
    assert {owner_of(one) for one in ids if owner_of(one) in held} == held
    assert held == held_out_owners(ids[::-1], 0.1, seed=1) != held_out_owners(ids, 0.1, seed=2)


def test_something_is_left_to_train_on_and_no_more_than_200_prompts_are_measured() -> None:
    assert held_out_owners(["a", "b"], 0.5, seed=0) < {"a", "b"}
    assert held_out_owners(["a"], 0.5, seed=0) == frozenset()
    assert len(held_out_owners([str(n) for n in range(20_000)], 0.5, seed=0)) == 200


def test_held_out_figures_are_those_of_each_example_alone(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    report = run(examples, tiny_qwen2, tmp_path, held_out_share=0.25)
    assert report.examples == 18
    section = TrainSection.model_validate(SECTION | {"held_out_share": 0.25})
    loaded = load_trainable(tiny_qwen2, section, seed=0).loaded
    held = prepare([("", examples)], loaded, section, seed=0).held_out
    by_id = {one.id: one for one in examples}
    for folder, found in (
        (tiny_qwen2, report.held_out_before),
        (tmp_path / "student", report.held_out_after),
    ):
        assert found is not None
        model = load_folder(folder).model
        losses, correct = [], []
        for one in held:
            (row,) = tokenize(loaded.tokenizer, by_id[one.example_id], {1})
            ids = row.token_ids.long()[None]
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, :-1]
            mask = row.is_trained[1:]
            losses.append(cross_entropy(logits, ids[0, 1:], reduction="none")[mask])
            correct.append((logits.argmax(dim=1) == ids[0, 1:])[mask])
        assert found.tokens == len(torch.cat(losses))
        assert found.loss == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
        assert found.token_accuracy == pytest.approx(torch.cat(correct).float().mean().item())
    assert report.held_out_after.loss < 0.7 * report.held_out_before.loss


def test_nothing_is_measured_where_nothing_is_held_out(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    report = run(examples, tiny_qwen2, tmp_path, epochs=1, held_out_share=0.0)
    assert (report.held_out_before, report.held_out_after) == (None, None)
    assert report.examples == 24


def test_answers_of_weight_nought_without_reasoning_leave_nothing_to_train_on(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    bare = [
        Example(one.id, tuple(replace(turn, reasoning=None) for turn in one.messages))
        for one in examples[:3]
    ]
    with pytest.raises(DataError, match=r"of 3, 0 are held out, .* 3 have only tokens of weight 0"):
        run(bare, tiny_qwen2, tmp_path, answer_weight=0.0)
    report = run([*bare, *examples[3:6]], tiny_qwen2, tmp_path, answer_weight=0.0, epochs=1)
    assert (report.examples, report.without_loss) == (3, 3)

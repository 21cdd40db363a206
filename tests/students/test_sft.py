import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.errors import DataError, RunDirError, StageError
from distill.recipe import LoraSection, TrainSection
from distill.types import Example, Message, Progress
from engine.folder import load_folder, quiet_transformers
from students.sft import ADAPTER_FOLDER, TrainReport, train
from students.template import tokenize

QUICK = {"epochs": 1, "learning_rate": 1e-2, "batch_tokens": 512, "seq_len": 256}


def run(
    examples: Sequence[Example],
    base: Path,
    folder: Path,
    seed: int = 0,
    seen: list[Progress] | None = None,
    **changes: object,
) -> TrainReport:
    return train(
        examples,
        base,
        TrainSection.model_validate(QUICK | changes),
        folder / "student",
        folder / "checkpoints",
        seed=seed,
        on_progress=(seen if seen is not None else []).append,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def test_a_step_equals_plain_training_on_each_example_alone(
    examples: list[Example], tiny_student: Path, tmp_path: Path
) -> None:
    weighted = [Example(e.id, e.messages, 1.0 + n % 3) for n, e in enumerate(examples)]
    report = run(weighted, tiny_student, tmp_path, batch_tokens=4096, seq_len=512)
    assert report.steps == 1

    loaded = load_folder(tiny_student)
    model = loaded.model.train()
    total = torch.zeros(())
    weight = 0.0
    for example in weighted:
        (row,) = tokenize(loaded.tokenizer, example, {1})
        ids = row.token_ids.long()[None]
        losses = cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        total = total + example.weight * losses[row.is_trained[1:]].sum()
        weight += example.weight * row.trained_tokens
    loss = total / weight
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0).step()

    assert report.losses[0] == pytest.approx(loss.item(), abs=1e-5)
    trained = weights(tmp_path)
    plain = {name: param for name, param in model.named_parameters() if name in trained}
    assert plain.keys() == trained.keys()
    for name, param in plain.items():
        # Adam's first step is about lr * sign(gradient): rounding decides where it is nearly 0.
        off = (trained[name] - param).abs() > 1e-4
        assert off.float().mean() < 0.01, name


def test_training_lowers_the_loss(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    report = run(examples, tiny_qwen2, tmp_path, epochs=8)
    assert report.final_loss < report.losses[0] / 2
    assert 0 < report.trained_tokens < report.tokens


def test_same_seed_same_weights_and_other_seed_others(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(examples, tiny_qwen2, tmp_path / name, seed=seed, method="lora")
    first, again, other = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_killed_training_goes_on_and_ends_with_the_same_bits(
    tiny_qwen2: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("killed_training.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_qwen2), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes.keys() == {"full", "lora, one row a step", "qlora", "stages"}
    for setting, outcome in outcomes.items():
        assert outcome["signals"] == [0, 9, 9, 9, 0], setting
        assert outcome["resumed"] >= 3, setting
        uninterrupted, killed = outcome["weights"]
        assert uninterrupted == killed != "none", setting


def test_training_that_is_already_done_writes_the_student_again(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    first = run(examples, tiny_qwen2, tmp_path)
    before = weights(tmp_path)
    (tmp_path / "student" / "model.safetensors").unlink()
    seen: list[Progress] = []
    again = run(examples, tiny_qwen2, tmp_path, seen=seen)
    assert not seen
    assert again.losses == first.losses
    assert all(torch.equal(weights(tmp_path)[name], before[name]) for name in before)


def test_checkpoint_of_other_settings_is_refused_by_name(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    run(examples, tiny_qwen2, tmp_path)
    with pytest.raises(RunDirError, match=r"changed: examples, learning_rate\n"):
        run(examples[1:], tiny_qwen2, tmp_path, learning_rate=2e-2)


def test_student_folder_stands_alone_without_pickles(
    examples: list[Example], tiny_student: Path, tmp_path: Path
) -> None:
    run(examples, tiny_student, tmp_path)
    folder = tmp_path / "student"
    assert {path.name for path in folder.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert model.config.use_cache
    assert tokenizer.chat_template


def test_lora_student_is_merged_and_its_adapter_lies_beside_it(
    examples: list[Example], tiny_student: Path, tmp_path: Path
) -> None:
    report = run(
        examples, tiny_student, tmp_path, method="lora", epochs=3, lora=LoraSection(r=4, alpha=8)
    )
    assert 0 < report.trained_parameters < report.parameters / 2
    ids = torch.arange(40)[None]
    with quiet_transformers(), torch.no_grad():
        base = load_folder(tiny_student).model
        before = base(input_ids=ids).logits
        folder = tmp_path / "student" / ADAPTER_FOLDER
        attached = PeftModel.from_pretrained(base, str(folder)).eval()(input_ids=ids).logits
        merged = load_folder(tmp_path / "student").model(input_ids=ids).logits
    torch.testing.assert_close(merged, attached, atol=1e-4, rtol=1e-4)
    assert (merged - before).abs().max() > 0.01


def test_long_examples_are_dropped_and_counted_or_refused_never_cut(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    reply = Message("assistant", "x" * 300, is_trained=True)
    with_long = [*examples, Example("long", (Message("user", "?"), reply))]
    assert run(with_long, tiny_qwen2, tmp_path).too_long == 1
    with pytest.raises(DataError, match=r"1 of 25 examples .* 256 tokens; 'long' has 30\d"):
        run(with_long, tiny_qwen2, tmp_path, too_long="error")
    with pytest.raises(DataError, match="all 1 have more than 256 tokens, the shortest 30"):
        run(with_long[-1:], tiny_qwen2, tmp_path)
    longer = [Example("longer", (Message("user", "?"), replace(reply, content="x" * 3000)))]
    with pytest.raises(DataError, match="tokens at most: shorten them"):
        run(longer, tiny_qwen2, tmp_path)
    with pytest.raises(DataError, match="there are none"):
        run([], tiny_qwen2, tmp_path)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_loss_that_is_not_a_number_stops_with_the_step_named(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path, method: str
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_qwen2.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"].fill_(float("nan"))
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    expected = r"training step 1 of \d+: the loss is nan; trained on: p\d+(, p\d+)+\n"
    with pytest.raises(StageError, match=expected):
        run(examples, base, tmp_path, method=method)
    assert not (tmp_path / "student").exists()


def test_bad_example_stops_the_run_by_name_and_the_last_good_checkpoint_is_kept(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    poison = Example("poison", examples[0].messages, weight=float("nan"))
    changes = {"order": "as_given", "checkpoint_every_steps": 1, "batch_tokens": 256}
    with pytest.raises(StageError, match=r"the loss is nan; trained on: .*poison") as raised:
        run([*examples, poison], tiny_qwen2, tmp_path, **changes)
    assert "learning_rate (now 0.01)" in raised.value.hint
    (kept,) = (tmp_path / "checkpoints").iterdir()
    saved = load_file(kept / "trained.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())


def test_progress_tells_steps_loss_and_speed_and_nothing_is_printed(
    examples: list[Example],
    tiny_qwen2: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen: list[Progress] = []
    report = run(examples, tiny_qwen2, tmp_path, seen=seen, epochs=2)
    assert [progress.done for progress in seen] == list(range(1, report.steps + 1))
    assert {progress.total for progress in seen} == {report.steps}
    assert seen[0].figures.keys() == {"loss", "tokens/s", "memory"}
    assert capfd.readouterr() == ("", "")


def test_checkpoints_and_student_hold_no_pickles(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    run(examples[:4], tiny_qwen2, tmp_path, method="lora")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jinja", ".safetensors"}


def test_history_has_a_line_per_step(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    section = TrainSection.model_validate(QUICK)
    report = train(
        examples,
        tiny_qwen2,
        section,
        tmp_path / "student",
        tmp_path / "checkpoints",
        seed=0,
        on_progress=lambda _: None,
        history_path=tmp_path / "training.jsonl",
    )
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, report.steps + 1))
    assert tuple(line["loss"] for line in lines) == report.losses
    assert sum(line["tokens"] for line in lines) == report.tokens
    assert lines[0]["learning_rate"] == pytest.approx(1e-2)
    assert all(line["gradient_norm"] > 0 for line in lines)

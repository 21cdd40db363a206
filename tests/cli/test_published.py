"""What a publication says: exports with their checks, benchmarks with their intervals."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.lineage import Step, read_lineage, write_lineage
from distill.publish.package import packaged_model
from tests.cli.conftest import Invoke, invoke_in

BASE = "Qwen/Qwen2.5-1.5B"
PROBLEMS = [
    {"question": f"Ann has {n} pens and gets 2 more. How many?", "answer": f"...\n#### {n + 2}"}
    for n in range(2)
]


def from_the_hub(step: Step) -> Step:
    """The step of a training whose base is a model of the Hub."""
    if step.stage != "train":
        return step
    return replace(step, recipe={**step.recipe, "student": {"kind": "hub", "model": BASE}})


def head_of(card: str) -> Mapping[str, Any]:
    """The fields at the head of a card, as the Hub reads them."""
    _, head, _ = card.split("---\n", 2)
    found: Mapping[str, Any] = yaml.safe_load(head)
    return found


def export(run: Path, folder: Path, *options: str) -> Path:
    """An export whose lineage names a base of the Hub."""
    shown = invoke_in(folder, "export", run, "--to", "out", *options)
    assert shown.code == 0, shown.err
    lineage = read_lineage(folder / "out")
    write_lineage(folder / "out", lineage.name, [from_the_hub(step) for step in lineage.steps])
    return folder / "out"


@pytest.mark.parametrize(
    ("options", "relation"),
    [
        (("--format", "gguf"), "quantized"),
        (("--format", "int8"), "quantized"),
        (("--format", "safetensors"), "finetune"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else value,
)
def test_an_export_says_how_it_relates_to_its_base_and_what_its_checks_found(
    finished_run: Path, tmp_path: Path, invoke: Invoke, options: tuple[str, ...], relation: str
) -> None:
    folder = export(finished_run / "runs/tiny", tmp_path, *options, "--check", "weights")
    with packaged_model(folder, "tiny", accepts_risk=False) as package:
        card = package.card
        assert invoke("verify", package.folder).code == 0
    head = head_of(card)
    assert head["base_model"] == BASE
    assert head["base_model_relation"] == relation
    assert ("library_name" in head) == (options[-1] != "gguf")
    assert "## Export" in card
    assert f"| format | {options[-1]} |" in card
    if options[-1] != "int8":
        assert "tensors read back" in card
    assert ("llama-server -m tiny-Q8_0.gguf" in card) == (options[-1] == "gguf")
    shown = invoke("trace-back", folder)
    stages = [line.split()[0] for line in shown.out.splitlines() if line and line[0].isalpha()]
    assert stages == ["export", "train", "filter", "generate"]


@pytest.fixture(scope="module")
def evaluation(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student on two problems of a benchmark that the Hub knows."""
    folder = tmp_path_factory.mktemp("evaluated")
    rows = "".join(json.dumps(one) + "\n" for one in PROBLEMS)
    (folder / "gsm8k.jsonl").write_text(rows)
    shown = invoke_in(
        folder,
        *("eval", finished_run / "runs/tiny/student", "--benchmark", "gsm8k"),
        *("--data", "gsm8k.jsonl", "--samples", "2", "--max-tokens", "8", "--run-dir", "run"),
    )
    assert shown.code == 0, shown.err
    return folder / "run"


def test_a_benchmark_is_on_the_card_and_in_the_hubs_own_file(
    invoke: Invoke, finished_run: Path, evaluation: Path
) -> None:
    run = finished_run / "runs/tiny"
    shown = invoke("push", run, "--repo", "org/tiny", "--dry-run", "--results", evaluation)
    assert shown.code == 0, shown.err
    assert "## Benchmarks" in shown.out
    assert "| gsm8k | 0.0 % (" in shown.out
    assert ".eval_results/gsm8k.yaml" in shown.out
    bundled = json.loads(
        invoke("bundle", run, "--to", "a.tar", "--results", evaluation, "--json").out
    )
    assert "model/.eval_results/gsm8k.yaml" in [file["name"] for file in bundled["files"]]


def test_a_benchmark_of_other_weights_is_refused(
    invoke: Invoke, tiny_job: Path, finished_run: Path, evaluation: Path, tmp_path: Path
) -> None:
    folder = export(finished_run / "runs/tiny", tmp_path, "--check", "weights")
    shown = invoke("push", folder, "--repo", "org/tiny", "--dry-run", "--results", evaluation)
    assert shown.code == 3
    assert "an evaluation of another model" in shown.err
    shown = invoke("push", folder, "--repo", "org/tiny", "--dry-run", "--results", tiny_job)
    assert shown.code == 4
    assert "no folder of an evaluation" in shown.err

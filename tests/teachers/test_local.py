"""A local teacher's tokens and logits are those of transformers, wherever its weights lie."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from distill.local_section import LocalTeacher
from distill.types import Completer, Completion, Message, Prompt, Request, Sampling
from engine.chat_format import render
from engine.folder import LoadedModel, load_tokenizer
from engine.row import Decoding, Row
from engine.session import Engine
from teachers import build as build_teacher
from teachers.local_checkpoint import open_checkpoint
from teachers.local_weights import find_placement, load_weights
from tests.teachers.local_models import END, tiny, to_fp8, write

MIXTURES = ("deepseek_v3", "qwen3_moe")
PROMPTS = ["What is 3 + 4?", "Ann has 12 pens and buys 5.", "Compare 7 and 9."]
IDS = [5 + place % 30 for place in range(40)]
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=12)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, in several files."""
    root = tmp_path_factory.mktemp("local")
    return {kind: write(tiny(kind), root / kind, shard="300kB") for kind in (*MIXTURES, "qwen2")}


class Wanted:
    """Requests for one sample of each prompt."""

    def __init__(self, prompts: Sequence[str], samples: int = 1) -> None:
        self._left = [
            Request(Prompt(str(place), text), index)
            for place, text in enumerate(prompts)
            for index in range(samples)
        ]

    def take(self, n: int) -> Sequence[Request]:
        taken, self._left = self._left[:n], self._left[n:]
        return taken

    def seconds_to_wait(self) -> float | None:
        return None


def answers(
    completer: Completer, sampling: Sampling = GREEDY, samples: int = 1
) -> dict[tuple[str, int], Completion]:
    found = completer.complete(Wanted(PROMPTS, samples), sampling)
    return {(one.request.prompt.id, one.request.sample_index): one.completion for one in found}


def section(folder: Path, **keys: Any) -> LocalTeacher:
    return LocalTeacher(model=str(folder), dtype="float32", **keys)


def on_disk(folder: Path, scratch: Path) -> LocalTeacher:
    """So little memory that a part of the experts has to lie on disk."""
    placement = find_placement(section(folder), open_checkpoint(section(folder)))
    limit = {"cpu": f"{placement.total - 1}B"}
    return section(folder, max_memory=limit, offload_folder=scratch)


def prompt_ids(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder)
    messages = [[Message("user", text)] for text in PROMPTS]
    return [render(tokenizer, one, add_generation_prompt=True) for one in messages]


def sampled(loaded: LoadedModel, decoding: Decoding) -> list[Row]:
    """Rows of our engine, one for each prompt."""
    engine = Engine(loaded.model, end_ids={END}, most_rows=2)
    prompts = prompt_ids(loaded.folder)
    rows = [engine.add(ids, decoding, name=str(place)) for place, ids in enumerate(prompts)]
    while engine.has_work:
        engine.step()
    return rows


def generated(model: PreTrainedModel, ids: list[int]) -> list[int]:
    """What transformers' ``generate`` writes."""
    ids_1_T = torch.tensor([ids])
    mask_1_T = torch.ones_like(ids_1_T)
    written = model.generate(
        ids_1_T, attention_mask=mask_1_T, do_sample=False, max_new_tokens=GREEDY.max_tokens
    )
    return list(written[0, len(ids) :].tolist())


def reference_of(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


@torch.inference_mode()
def logits_of(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([list(ids)])).logits[0]
    return logits


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("kind", [*MIXTURES, "qwen2"])
def test_tokens_and_logits_are_those_of_transformers(
    kind: str, place: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[kind]
    reference = reference_of(folder)
    loaded = load_weights(section(folder) if place == "memory" else on_disk(folder, tmp_path))
    difference = logits_of(loaded.model, IDS) - logits_of(reference, IDS)
    assert difference.abs().max() <= 1e-5
    rows = sampled(loaded, Decoding(temperature=0.0, max_tokens=GREEDY.max_tokens))
    expected = [generated(reference, list(row.prompt_ids)) for row in rows]
    assert [row.token_ids for row in rows] == expected


def test_experts_on_disk_are_mapped_and_leave_no_file_behind(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    loaded = load_weights(on_disk(folders["deepseek_v3"], tmp_path))
    assert not list(tmp_path.iterdir())
    assert not any(parameter.is_meta for parameter in loaded.model.parameters())
    maps = Path("/proc/self/maps")
    assert not maps.exists() or f"{tmp_path}/distill-offload-" in maps.read_text()


def test_every_layer_may_lie_on_disk(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["deepseek_v3"]
    names = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")
    places: dict[str, int | str] = {**dict.fromkeys(names, "cpu"), "model.layers": "disk"}
    chosen = section(folder, device_map=places, offload_folder=tmp_path)
    written = answers(build_teacher(chosen, batch_size=4))
    assert written == answers(build_teacher(section(folder), batch_size=4))


def test_fp8_weights_are_dequantised_to_what_their_blocks_say(tmp_path: Path) -> None:
    # Sides that are no multiples of 128, as DeepSeek's own 576 x 7168 is.
    model = tiny("deepseek_v3", hidden_size=192, kv_lora_rank=136, q_lora_rank=140)
    small = write(model, tmp_path / "fp8")
    plain = shutil.copytree(small, tmp_path / "plain")
    save_file(to_fp8(small), plain / "model.safetensors", metadata={"format": "pt"})
    notices: list[str] = []
    loaded = load_weights(section(small), notices.append).model
    assert torch.equal(logits_of(loaded, IDS), logits_of(reference_of(plain), IDS))
    assert any("dequantised at load" in notice for notice in notices)


def test_log_probabilities_are_those_of_the_model_at_temperature_1(
    folders: dict[str, Path],
) -> None:
    folder = folders["qwen3_moe"]
    reference = reference_of(folder)
    decoding = Decoding(temperature=0.7, top_p=0.8, max_tokens=20, keeps_logprobs=True)
    for row in sampled(load_weights(section(folder)), decoding):
        logits_T_V = logits_of(reference, [*row.prompt_ids, *row.token_ids])
        of_drawn_T_V = logits_T_V[len(row.prompt_ids) - 1 : -1].log_softmax(-1)
        expected = of_drawn_T_V.gather(1, torch.tensor(row.token_ids)[:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(row.logprobs), expected, atol=1e-4)


def test_an_answer_keeps_log_probabilities_only_when_asked(folders: dict[str, Path]) -> None:
    teacher = build_teacher(section(folders["qwen3_moe"]), batch_size=4)
    for one in answers(teacher, replace(GREEDY, keeps_logprobs=True)).values():
        assert one.logprobs is not None
        assert len(one.logprobs) == one.usage.output_tokens
    assert all(one.logprobs is None for one in answers(teacher).values())


def test_answers_pay_for_the_time_of_the_machine(folders: dict[str, Path]) -> None:
    teacher = build_teacher(section(folders["qwen3_moe"], usd_per_gpu_hour=7.2), batch_size=4)
    begun = time.monotonic()
    receipts = [one.receipt for one in teacher.complete(Wanted(PROMPTS, 2), GREEDY)]
    passed = time.monotonic() - begun
    seconds = sum(one.seconds for one in receipts if one is not None)
    assert 0 < seconds <= passed
    usd = sum(one.usd or 0.0 for one in receipts if one is not None)
    assert usd == pytest.approx(seconds * 7.2 / 3600)
    assert teacher.is_billed


def test_another_precision_or_other_weights_are_another_teacher(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders["qwen2"]
    first = build_teacher(section(folder), batch_size=4).fingerprint
    assert build_teacher(section(folder), batch_size=8).fingerprint == first
    halved = LocalTeacher(model=str(folder), dtype="bfloat16")
    assert build_teacher(halved, batch_size=4).fingerprint != first
    other = shutil.copytree(folder, tmp_path / "other")
    path = other / "chat_template.jinja"
    path.write_text(path.read_text() + " ")
    assert build_teacher(section(other), batch_size=4).fingerprint != first

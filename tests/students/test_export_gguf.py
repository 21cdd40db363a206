"""GGUF files that we write, read by llama.cpp: the tokens and the numbers of transformers."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from distill.errors import ModelError
from distill.types import Sampling
from engine.folder import load_folder, quiet_transformers
from students.export.check_texts import check_texts
from students.export.gguf_format import read_gguf, write_gguf
from students.export.gguf_out import gguf_metadata, gguf_tensors
from students.export.gguf_vocabulary import read_vocabulary
from students.export.llama_cpp import LlamaCpp, running
from students.export.where_from import find_student
from tests.students.tokenizers_made import LLAMA, QWEN, byte_level

YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2 yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "qwen3 yarn": ("qwen3", {"rope_parameters": YARN | {"attention_factor": 1.3}}),
    "llama": ("llama", {"attention_bias": True}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama linear": ("llama", {"rope_parameters": LINEAR}),
    "llama yarn": ("llama", {"rope_parameters": YARN | {"beta_fast": 16.0}}),
}
NEW_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Case:
    """A random model, its folder, and llama.cpp on its GGUF in float32."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast
    server: LlamaCpp


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {
        "qwen2": byte_level(QWEN),
        "qwen3": byte_level(QWEN),
        "llama": byte_level(LLAMA, begin=True),
    }


@pytest.fixture(scope="module")
def cases(
    tokenizers: dict[str, PreTrainedTokenizerFast], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Case]]:
    with ExitStack() as servers:
        made = {}
        for name, (model_type, changes) in CASES.items():
            folder = tmp_path_factory.mktemp("model")
            make_model(folder, model_type, tokenizers[model_type], **changes)
            path = export(folder, folder / "model.gguf")
            server = servers.enter_context(running(path, context_tokens=256))
            made[name] = Case(folder, tokenizers[model_type], server)
        yield made


def make_model(
    folder: Path, model_type: str, tokenizer: PreTrainedTokenizerFast, **changes: Any
) -> None:
    sizes = {
        "vocab_size": len(tokenizer) + 5,  # more rows than tokens, as real models have
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,  # so that positions and attention matter
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **(sizes | changes)))
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim == 1:  # norms and biases begin as ones and zeros
                param.add_(torch.randn_like(param) * 0.2)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def export(folder: Path, path: Path, quant: Any = "f32") -> Path:
    student = find_student(folder)
    vocabulary = read_vocabulary(folder, student.config, student.generation)
    metadata = gguf_metadata(student, quant, vocabulary, Sampling())
    write_gguf(path, metadata, gguf_tensors(student, quant), lambda _count: None)
    return path


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_computes_what_transformers_computes(cases: dict[str, Case], name: str) -> None:
    """Greedy 24 of 24 tokens, log-probabilities within 0.003 (2e-5 was measured)."""
    case = cases[name]
    model = load_folder(case.folder).model
    ids = case.tokenizer("".join(check_texts([])[:6]), add_special_tokens=False)["input_ids"][:160]
    largest = 0.0
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        log_probabilities = logits.log_softmax(-1)
        found = case.server.next_token(ids)
        assert found.token_id == int(logits.argmax())
        for token, value in found.log_probabilities.items():
            largest = max(largest, abs(value - float(log_probabilities[token])))
        ids = [*ids, found.token_id]
    assert 0 < largest <= 0.003


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_llama_cpp_makes_the_same_tokens(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    texts = check_texts(case.tokenizer.all_special_tokens)
    assert len(texts) >= 500
    different = [
        text
        for text in texts
        if case.server.tokens(text) != case.tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    assert different == []


def test_settings_are_those_that_the_gguf_package_finds(cases: dict[str, Case]) -> None:
    path = cases["llama 3"].folder / "model.gguf"
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    for key, value in ours.metadata.items():
        assert theirs.fields[key].contents() == value
    assert [each.name for each in theirs.tensors] == list(ours.tensors)
    assert ours.metadata["tokenizer.ggml.add_bos_token"] is True
    assert ours.metadata["tokenizer.ggml.eos_token_id"] == 1
    assert "output.weight" not in ours.tensors  # tied


@pytest.mark.parametrize(
    ("model_type", "changes", "problem"),
    [
        ("mistral", {}, "GGUF can be written for qwen2, qwen3, llama; this is mistral"),
        ("qwen2", {"rope_parameters": LLAMA3}, "rope_type 'llama3'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8}, "use_sliding_window"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    tokenizers: dict[str, PreTrainedTokenizerFast],
    tmp_path: Path,
    model_type: str,
    changes: dict[str, Any],
    problem: str,
) -> None:
    make_model(tmp_path, model_type, tokenizers["qwen2"], **changes)
    with pytest.raises(ModelError, match=re.escape(problem)) as caught:
        export(tmp_path, tmp_path / "model.gguf")
    assert "--format safetensors" in str(caught.value)


def test_split_that_llama_cpp_does_not_know_is_refused(tmp_path: Path) -> None:
    make_model(tmp_path, "qwen2", byte_level(r"[a-z]+|\s"))
    with pytest.raises(ModelError, match=r"llama\.cpp cannot be told about this tokenizer"):
        export(tmp_path, tmp_path / "model.gguf")


def test_numbers_too_large_for_float16_are_refused(
    tokenizers: dict[str, PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    make_model(tmp_path, "qwen2", tokenizers["qwen2"], initializer_range=1e5)
    with pytest.raises(ModelError, match="beyond 65504") as caught:
        export(tmp_path, tmp_path / "model.gguf", "f16")
    assert "--quant bf16" in str(caught.value)


def test_broken_file_is_refused_with_llama_cpps_own_words(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((cases["qwen2"].folder / "model.gguf").read_bytes()[:9999])
    with pytest.raises(ModelError, match="not a GGUF file"):
        read_gguf(cut)
    with (
        pytest.raises(ModelError, match=r"(?s)llama\.cpp ended with .*failed to load model"),
        running(cut, context_tokens=64),
    ):
        pass

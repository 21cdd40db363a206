"""Token rows on which student and export are compared, and the student's own answers to them.

    greedy   chat prompts, each with the 24 tokens that the student goes on with
    traces   of the run: prompt, reasoning and answer; without a run the greedy answers serve

The student is loaded in float32, an adapter attached to its base. Only log-probabilities are kept,
so that student and export are never in memory together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from distill.problems import embedded_prompts
from distill.prompts import stream_prompts
from distill.record_files import read_records
from distill.types import Example, Message
from engine.chat_format import render
from engine.folder import load_folder, load_tokenizer, quiet_transformers
from engine.threads import fitting_threads
from students.export.where_from import Student
from students.template import end_ids, tokenize, with_turn_end

_PROMPTS, NEW_TOKENS = 4, 24
_TRACES, _TRACE_TOKENS = 32, 512
_KEPT_BYTES = 256_000_000  # of log-probabilities


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens, and at which of them the likelihood is compared.

    Attributes:
        token_ids: Prompt and what follows.
        start: Index of the first token that is compared; all after it are.
        is_greedy: Whether the student chose them.
    """

    token_ids: list[int]
    start: int
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """What the student says.

    Attributes:
        rows: On which tokens.
        log_probabilities: For each row, ``[T, V]``, one line for each compared token.
        traces: ``"run"`` or ``"own"``.
    """

    rows: list[Row]
    log_probabilities: list[torch.Tensor]
    traces: str


def take_reference(student: Student) -> Reference:
    """Load the student and note what it says.

    Raises:
        ModelError: If it cannot be loaded.
    """
    tokenizer = load_student_tokenizer(student)
    model = load_student_whole(student)
    with fitting_threads(_parameters(model)):
        rows = [_greedy(model, prompt_ids) for prompt_ids in _prompts(student, tokenizer)]
        traces = list(_traces(student, model, tokenizer))
        kept = _affordable([*rows, *traces], int(model.config.vocab_size))
        return Reference(kept, log_probabilities(model, kept), "run" if traces else "own")


def load_student_tokenizer(student: Student) -> PreTrainedTokenizerBase:
    """The student's tokenizer: the adapter's own, if it brings one."""
    if student.tokenizer_folder == student.folder:
        return load_tokenizer(student.folder)
    with quiet_transformers():
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
            student.tokenizer_folder, local_files_only=True
        )
    return tokenizer


def load_student_whole(student: Student) -> PreTrainedModel:
    """The student in float32; an adapter is attached, not merged."""
    model = load_folder(student.folder).model
    if student.adapter is None:
        return model
    from peft import PeftModel

    with quiet_transformers():
        attached = PeftModel.from_pretrained(model, str(student.adapter)).eval()
    return cast("PreTrainedModel", attached)


@torch.inference_mode()
def log_probabilities(model: PreTrainedModel, rows: list[Row]) -> list[torch.Tensor]:
    """For each row ``[T, V]``: how likely each token was at each place that is compared."""
    found = []
    for row in rows:
        ids = torch.tensor([row.token_ids], device=model.device)
        logits_T_V = model(input_ids=ids).logits[0, row.start - 1 : -1].float()
        found.append(logits_T_V.log_softmax(-1).cpu())
    return found


@torch.inference_mode()
def _greedy(model: PreTrainedModel, prompt_ids: list[int]) -> Row:
    """The prompt with the likeliest tokens after it; an end token does not stop it."""
    token_ids, cache = list(prompt_ids), None
    step = torch.tensor([token_ids], device=model.device)
    for _ in range(NEW_TOKENS):
        output = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        token = int(output.logits[0, -1].argmax())
        token_ids.append(token)
        step = torch.tensor([[token]], device=model.device)
    return Row(token_ids, len(prompt_ids), is_greedy=True)


def _prompts(student: Student, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """A few prompts: held-out ones of the run, else problems that the package makes."""
    run = student.run
    held_out = run.eval_prompts if run is not None and run.eval_prompts.is_file() else None
    prompts = stream_prompts(held_out) if held_out else embedded_prompts("eval", _PROMPTS, 0)
    for prompt in islice(prompts, _PROMPTS):
        if tokenizer.chat_template is None:
            yield list(tokenizer(prompt.text)["input_ids"])
        else:
            yield render(tokenizer, [Message("user", prompt.text)], add_generation_prompt=True)


def _traces(
    student: Student, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Row]:
    """What the student was trained on, cut to a length that is cheap to read."""
    path = student.run.examples("student") if student.run is not None else None
    if path is None or not path.is_file() or model.generation_config is None:
        return
    ends = end_ids(with_turn_end(tokenizer, model.generation_config))
    for example in islice(read_records(path, Example), _TRACES):
        for row in tokenize(tokenizer, example, ends):
            start = int(row.is_trained.nonzero()[0])
            token_ids = row.token_ids.tolist()[: start + _TRACE_TOKENS]
            yield Row(token_ids, start, is_greedy=False)


def _affordable(rows: list[Row], vocabulary: int) -> list[Row]:
    """As many rows as there is memory for their log-probabilities; the first always."""
    left = max(_KEPT_BYTES // (4 * vocabulary), NEW_TOKENS)
    kept = []
    for row in rows:
        left -= len(row.token_ids) - row.start
        if left >= 0:
            kept.append(row)
    return kept


def _parameters(model: PreTrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

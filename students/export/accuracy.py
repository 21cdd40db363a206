"""Accuracy after the export: student and export on held-out prompts, sampled and judged alike."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.eval_report import ModelReport
from distill.evaluate import evaluate
from distill.intervals import difference_estimate
from distill.reasoning import split_reasoning
from distill.recipe import SamplingSection
from distill.sampling import ProgressListener
from distill.types import (
    Answer,
    Completer,
    Completion,
    Message,
    Prompt,
    Request,
    RequestSource,
    Sampling,
    Usage,
    Verifier,
)
from engine.chat_format import is_reasoning_opened, render
from engine.completer import LocalCompleter
from engine.folder import load_folder, load_tokenizer
from students.export.llama_cpp import SLOTS, LlamaCpp, running
from students.export.probes import load_student_tokenizer, load_student_whole
from students.export.record import AccuracyCheck
from students.export.where_from import Student
from students.template import with_turn_end

_BATCH = 64
_PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What accuracy is measured on.

    Attributes:
        prompts: With gold answers.
        verifier: Who judges.
        section: How completions are drawn.
        seed: Of the draws.
        samples: Completions for each prompt.
        needs_box: Whether an answer must stand in a box.
        on_progress: Called as completions are stored.
    """

    prompts: Sequence[Prompt]
    verifier: Verifier
    section: SamplingSection
    seed: int
    samples: int
    needs_box: bool
    on_progress: ProgressListener


def check_accuracy(student: Student, path: Path, held_out: HeldOut) -> AccuracyCheck:
    """Sample both and compare them prompt by prompt.

    Raises:
        DistillError: What evaluation raises.
    """
    tokenizer = load_student_tokenizer(student)
    before = _report("student", _local(load_student_whole(student), tokenizer), held_out)
    if path.suffix != ".gguf":
        by = "transformers"
        after = _report("export", _local(load_folder(path).model, load_tokenizer(path)), held_out)
    else:
        by = "llama.cpp"
        context_tokens = min(
            int(student.config["max_position_embeddings"]),
            held_out.section.max_tokens + _PROMPT_TOKENS,
        )
        with running(path, context_tokens=context_tokens) as server:
            completer = LlamaCppCompleter(server, tokenizer, context_tokens)
            after = _report("export", completer, held_out)
    return AccuracyCheck(
        prompts=len(held_out.prompts),
        student=before.pass_at_1,
        exported=after.pass_at_1,
        difference=difference_estimate(_scores(after), _scores(before)),
        by=by,
    )


class LlamaCppCompleter:
    """A GGUF in llama.cpp as something that completes prompts, a few at once."""

    samples_at_once = 1
    is_billed = False
    model = fingerprint = "export"

    def __init__(
        self, server: LlamaCpp, tokenizer: PreTrainedTokenizerBase, context_tokens: int
    ) -> None:
        """Take a server, and the tokenizer whose template makes the prompts."""
        self._server = server
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens

    def progress_figures(self) -> Mapping[str, str]:
        """Nothing beside the sampling loop's own figures."""
        return {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Take a request for each slot, and yield the answers when all have come."""
        with ThreadPoolExecutor(SLOTS) as pool:
            while requests := source.take(SLOTS):
                yield from pool.map(lambda request: self._answer(request, sampling), requests)

    def _answer(self, request: Request, sampling: Sampling) -> Answer:
        message = Message("user", request.prompt.text)
        prompt_ids = render(self._tokenizer, [message], add_generation_prompt=True)
        limit = min(sampling.max_tokens, self._context_tokens - len(prompt_ids))
        seed = sampling.seed + zlib.crc32(f"{request.prompt.id}/{request.sample_index}".encode())
        written = self._server.write(
            prompt_ids, replace(sampling, max_tokens=limit, seed=seed % (1 << 32))
        )
        is_opened = is_reasoning_opened(self._tokenizer, prompt_ids)
        split = split_reasoning(written.text, is_opened=is_opened)
        completion = Completion(
            text=split.answer,
            reasoning=split.reasoning,
            finish="length" if written.is_cut else "stop",
            usage=Usage(input_tokens=len(prompt_ids), output_tokens=written.tokens),
        )
        return Answer(request, completion)


def _local(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Completer:
    config = model.generation_config or GenerationConfig()
    model.generation_config = with_turn_end(tokenizer, config)
    return LocalCompleter(model, tokenizer, name="local", fingerprint="local", batch_size=_BATCH)


def _report(who: str, completer: Completer, held_out: HeldOut) -> ModelReport:
    with TemporaryDirectory() as folder:
        return evaluate(
            who,
            held_out.prompts,
            completer,
            held_out.verifier,
            held_out.section,
            samples=held_out.samples,
            seed=held_out.seed,
            journal_path=Path(folder) / f"{who}.jsonl",
            needs_box=held_out.needs_box,
            on_progress=held_out.on_progress,
        )


def _scores(report: ModelReport) -> list[float]:
    return [problem.right / problem.samples for problem in report.problems]

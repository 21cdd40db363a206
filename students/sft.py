"""Stage: supervised fine-tuning of a base on examples, to a model folder that stands alone.

One plan of packed rows covers all epochs, so where training stands is one number. A checkpoint is
written every so many steps and at least every few seconds; the same call after a kill goes on from
the newest one and ends with the same weights, bit for bit on a CPU.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import (
    PreTrainedModel,
    TrainingArguments,
    set_seed,
)

from distill.errors import DataError, ModelError
from distill.recipe import TrainSection
from distill.types import Document, Example, Progress
from engine.attention import PER_EXAMPLE
from engine.folder import LoadedModel, folder_fingerprint, quiet_transformers
from engine.threads import fitting_threads
from students.adapters import attach_adapter, merge_adapter, save_adapter
from students.checkpoints import Checkpoints
from students.durable import whole_folder
from students.load import load_student, save_student
from students.packing import plan_rows
from students.rows import PackedRows
from students.steps import StepReporter
from students.template import TokenizedExample, tokenize_all
from students.trainer import StudentTrainer

ADAPTER_FOLDER = "adapter"
_CHECKPOINT_SECONDS = 15.0
_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What was trained and how it went.

    Attributes:
        method: ``"full"`` or ``"lora"``.
        examples: Trained on.
        too_long: Dropped for their length.
        tokens: Of one epoch, prompts included.
        trained_tokens: Of one epoch, those that carry loss.
        epochs: Passes over the examples.
        steps: Optimizer steps.
        fill_share: Of the rows' room that holds tokens.
        parameters: Of the model, an adapter included.
        trained_parameters: Of those, what training changed.
        learning_rate: At its peak.
        losses: Mean over the supervised tokens of each step.
        seconds: Of the last try alone, if there were several.
        tokens_per_second: Useful ones, of the last try.
    """

    method: str
    examples: int
    too_long: int
    tokens: int
    trained_tokens: int
    epochs: int
    steps: int
    fill_share: float
    parameters: int
    trained_parameters: int
    learning_rate: float
    losses: tuple[float, ...]
    seconds: float
    tokens_per_second: float

    @property
    def final_loss(self) -> float:
        """Mean over the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last)


def train(
    examples: Iterable[Example | Document],
    base: Path,
    section: TrainSection,
    out_dir: Path,
    checkpoint_dir: Path,
    *,
    seed: int,
    on_progress: Callable[[Progress], None],
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
) -> TrainReport:
    """Fine-tune a base and write the student, whole, to ``out_dir``.

    The checkpoints stay, so that a kill before the caller has noted the end costs nothing; the
    caller removes them.

    Args:
        examples: Conversations with a loss mask, or plain texts; read once.
        base: Folder of the base model.
        section: The recipe's settings.
        out_dir: Becomes the student's folder; LoRA is merged, with the adapter in ``adapter/``.
        checkpoint_dir: Of this training alone.
        seed: Order of the examples, fresh adapter weights, dropout.
        on_progress: Called after each step.
        checkpoint_seconds: A checkpoint is at most this old, unless saving takes too much time.

    Raises:
        DataError: If there is nothing to train on, or an example is too long and must not be.
        ModelError: If the base or its chat template cannot be trained.
        RunDirError: If the checkpoints are of another training.
        StageError: If the loss or the gradient is not a number.
        StorageError: If the disk is full or read-only.
    """
    loaded = load_student(base)
    data = _prepare(examples, loaded, section)
    plan = plan_rows(
        [len(each) for each in data.kept],
        row_tokens=section.seq_len,
        epochs=section.epochs,
        seed=seed,
        keeps_order=section.order == "as_given",
    )
    checkpoints = Checkpoints(
        checkpoint_dir,
        {
            "base": folder_fingerprint(base),
            "examples": _examples_digest(data.kept),
            "seed": seed,
            **section.model_dump(mode="json", exclude={"checkpoint_every_steps", "data"}),
        },
    )
    rows = PackedRows(data.kept, plan)
    reporter = StepReporter(
        on_progress,
        every_steps=section.checkpoint_every_steps,
        every_seconds=checkpoint_seconds,
    )
    with quiet_transformers(), fitting_threads(loaded.model.num_parameters()):
        student = _trainable(loaded, section, seed)
        trainer = _make_trainer(student, loaded, rows, section, checkpoints, seed=seed)
        reporter.watch(trainer)
        trainer.resume_or_train()
    report = _report(data, plan, section, student, reporter)
    with whole_folder(out_dir) as folder:
        _save(student, loaded, folder)
    return report


@dataclass(frozen=True, slots=True)
class _Data:
    kept: list[TokenizedExample]
    too_long: int


def _prepare(
    examples: Iterable[Example | Document], loaded: LoadedModel, section: TrainSection
) -> _Data:
    """Tokenize, and drop or refuse what is too long."""
    tokenizer, generation_config = loaded.tokenizer, loaded.model.generation_config
    assert generation_config is not None
    tokenized = list(tokenize_all(tokenizer, generation_config, examples))
    context_tokens = getattr(loaded.model.config, "max_position_embeddings", section.seq_len)
    limit = min(section.seq_len, context_tokens)
    kept = [row for row in tokenized if len(row) <= limit]
    too_long = len(tokenized) - len(kept)
    if too_long and section.too_long == "error":
        longest = max(tokenized, key=len)
        raise DataError(
            f"{too_long} of {len(tokenized)} examples have more than {limit} tokens; "
            f"{longest.example_id!r} has {len(longest)}",
            hint=f"set train.seq_len to {len(longest)}, or train.too_long to 'drop'",
        )
    if not kept:
        found = f"all {too_long} have more than {limit} tokens" if too_long else "there are none"
        raise DataError(f"no example to train on: {found}", hint="look at the filter's drops")
    return _Data(kept, too_long)


def _examples_digest(examples: Sequence[TokenizedExample]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{len(example)}/{example.weight!r}/".encode())
        digest.update(example.token_ids.numpy().tobytes())
        digest.update(example.is_trained.numpy().tobytes())
    return digest.hexdigest()[:16]


def _trainable(
    loaded: LoadedModel, section: TrainSection, seed: int
) -> PreTrainedModel | PeftModel:
    """The model, or a fresh adapter around it, with attention that stays inside examples."""
    try:
        loaded.model.set_attn_implementation(PER_EXAMPLE)
    except ValueError as error:
        raise ModelError(
            f"{loaded.folder}: this architecture cannot be trained on packed rows: {error}",
            hint="choose a Qwen2, Qwen3 or Llama student",
        ) from error
    if section.method == "full":
        return loaded.model
    set_seed(seed)
    return attach_adapter(loaded.model, section.lora)


def _make_trainer(
    student: PreTrainedModel | PeftModel,
    loaded: LoadedModel,
    rows: PackedRows,
    section: TrainSection,
    checkpoints: Checkpoints,
    *,
    seed: int,
) -> StudentTrainer:
    on_gpu = torch.cuda.is_available()
    args = TrainingArguments(
        output_dir=str(checkpoints.folder),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=max(1, section.batch_tokens // section.seq_len),
        num_train_epochs=1,  # the plan holds all of them
        learning_rate=section.learning_rate,
        weight_decay=section.weight_decay,
        max_grad_norm=_MAX_GRADIENT_NORM,
        seed=seed,
        use_cpu=not on_gpu,
        bf16=on_gpu,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",  # the reporter decides
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    return StudentTrainer(
        student,
        loaded.model,
        rows,
        args,
        checkpoints,
        warmup_share=section.warmup_share,
        final_lr_share=section.final_lr_share,
        use_muon=section.optimizer == "muon",
    )


def _report(
    data: _Data,
    plan: Sequence[Sequence[int]],
    section: TrainSection,
    student: torch.nn.Module,
    reporter: StepReporter,
) -> TrainReport:
    tokens = sum(map(len, data.kept))
    parameters = list(student.parameters())
    return TrainReport(
        method=section.method,
        examples=len(data.kept),
        too_long=data.too_long,
        tokens=tokens,
        trained_tokens=sum(example.trained_tokens for example in data.kept),
        epochs=section.epochs,
        steps=len(reporter.losses),
        fill_share=tokens * section.epochs / (section.seq_len * len(plan)),
        parameters=sum(param.numel() for param in parameters),
        trained_parameters=sum(param.numel() for param in parameters if param.requires_grad),
        learning_rate=section.learning_rate,
        losses=reporter.losses,
        seconds=reporter.seconds,
        tokens_per_second=reporter.tokens / max(reporter.seconds, 1e-9),
    )


def _save(student: PreTrainedModel | PeftModel, loaded: LoadedModel, folder: Path) -> None:
    if isinstance(student, PeftModel):
        save_adapter(student, folder / ADAPTER_FOLDER)
        student = merge_adapter(student)
    save_student(student, loaded, folder)

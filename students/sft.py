"""Stage: supervised fine-tuning of a base on examples, to a model folder that stands alone.

One plan of packed rows covers all epochs, so where training stands is one number. A checkpoint is
written every so many steps and at least every few seconds; the same call after a kill goes on from
the newest one and ends with the same weights, bit for bit on a CPU.

A curriculum is one such plan after the other on the same model: each stage begins with a fresh
optimizer and schedule, and ends with a checkpoint from which a later try goes on.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from transformers import TrainingArguments

from distill.storage import hash_json, write_atomically
from distill.train_sections import TrainSection
from distill.types import Progress
from engine.folder import folder_fingerprint, quiet_transformers
from engine.freed_memory import kept_freed_memory
from engine.threads import fitting_threads
from students.adapters import save_adapter
from students.checkpoints import Checkpoints
from students.durable import whole_folder
from students.flops import weights_of
from students.held_out import HeldOut, measure
from students.load import save_student
from students.memory_errors import explained_memory_errors, peak_memory_bytes
from students.methods import Trainable, finished_model, load_trainable, uses_liger
from students.packing import plan_rows
from students.parallel import ALONE, Ranks, gather
from students.prepared import Prepared, Trained, examples_digest, prepare
from students.rows import PackedRows
from students.spare_memory import has_memory_to_spare
from students.steps import StepReporter
from students.template import TokenizedExample
from students.trackers import add_trackers, check_trackers
from students.train_report import StageReport, TrainReport, step_losses, tail_mean
from students.trainer import Schedule, StudentTrainer

ADAPTER_FOLDER = "adapter"
_CHECKPOINT_SECONDS = 15.0
# They change how fast a step is and what it needs, or only what the examples are, which are hashed.
_NO_ORIGIN = {
    *(
        "checkpoint_every_steps",
        "report_to",
        "stall_seconds",
        "activations",
        "held_out_share",
        "too_long",
        "stages",
        "data",
    ),
}


def train(
    examples: Iterable[Trained] | Mapping[str, Iterable[Trained]],
    base: Path,
    section: TrainSection,
    out_dir: Path,
    checkpoint_dir: Path,
    *,
    seed: int,
    on_progress: Callable[[Progress], None],
    history_path: Path | None = None,
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
    ranks: Ranks = ALONE,
) -> TrainReport:
    """Fine-tune a base and write the student, whole, to ``out_dir``.

    The checkpoints stay, so that a kill before the caller has noted the end costs nothing; the
    caller removes them.

    Args:
        examples: Conversations with a loss mask, or plain texts, read once; with
            ``section.stages``, those of each by its name.
        base: Folder of the base model.
        section: The recipe's settings.
        out_dir: Becomes the student's folder; an adapter is merged, and lies in ``adapter/`` too.
        checkpoint_dir: Of this training alone.
        seed: Order of the examples, what is held out, fresh adapter weights, dropout.
        on_progress: Called after each step.
        history_path: Where the figures of each step go, as JSON lines.
        checkpoint_seconds: A checkpoint is at most this old, unless saving takes too much time.
        ranks: The processes that train it together; each makes this call, the first one writes.

    Raises:
        DataError: If there is nothing to train on, or an example is too long and must not be.
        MissingDependencyError: If something that the section needs is not installed.
        ModelError: If the base or its chat template cannot be trained.
        RunDirError: If the checkpoints are of another training.
        StageError: If the loss or the gradient is not a number, or memory runs out.
        StorageError: If the disk is full or read-only.
    """
    reporter = StepReporter(
        on_progress,
        every_steps=section.checkpoint_every_steps,
        every_seconds=checkpoint_seconds,
    )
    check_trackers(section.report_to)
    with quiet_transformers(), explained_memory_errors(section, base):
        trainable = load_trainable(base, section, seed, device=ranks.loads_on(section.method))
        data = prepare(_by_stage(examples, section), trainable.loaded, section, seed)
        stages = _stages(data, section, checkpoint_dir, {"base": folder_fingerprint(base)}, seed)
        with fitting_threads(trainable.module.num_parameters()):
            ranks.shard(trainable.row_loss)
            before = measure(trainable, data.held_out, section.seq_len)
            held_out = before
            reports = []
            for stage in stages:
                _train_stage(stage, trainable, section, reporter, ranks, run_folder=out_dir.parent)
                held_out = measure(trainable, data.held_out, section.seq_len)
                reports.append(_stage_report(stage, reporter.histories[-1], held_out))
        report = _report(data, trainable, reporter, reports, before)
        student = _whole(trainable, base, section, ranks)
        if ranks.is_first:
            _write_history(history_path, stages, reporter)
            with whole_folder(out_dir) as folder:
                _save(student, folder)
    return report


@dataclass(frozen=True, slots=True)
class _Stage:
    """One plan of rows, with the settings it is trained at and where its states are kept."""

    name: str
    examples: Sequence[TokenizedExample]
    plan: Sequence[Sequence[int]]
    section: TrainSection
    checkpoints: Checkpoints
    seed: int


def _by_stage(
    examples: Iterable[Trained] | Mapping[str, Iterable[Trained]], section: TrainSection
) -> list[tuple[str, Iterable[Trained]]]:
    if isinstance(examples, Mapping):
        if list(examples) != [stage.name for stage in section.stages]:
            raise ValueError(f"examples of {list(examples)} are not those of the section's stages")
        return list(examples.items())
    if section.stages:
        raise ValueError("with stages, the examples of each must be given by its name")
    return [("", examples)]


def _stages(
    data: Prepared,
    section: TrainSection,
    checkpoint_dir: Path,
    origin: Mapping[str, object],
    seed: int,
) -> list[_Stage]:
    """Plan every stage; a checkpoint of one also depends on all stages before it."""
    sections = [section.at(stage) for stage in section.stages] or [section]
    names = [stage.name for stage in section.stages] or [""]
    unused = {"lora"} if section.method == "full" else set()
    stages: list[_Stage] = []
    for place, (name, own, examples) in enumerate(zip(names, sections, data.stages, strict=True)):
        origin = {
            **origin,
            "examples": examples_digest(examples),
            "seed": seed,
            **own.model_dump(mode="json", exclude=_NO_ORIGIN | unused),
        }
        plan = plan_rows(
            [len(each) for each in examples],
            row_tokens=own.seq_len,
            epochs=own.epochs,
            seed=seed + place,
            keeps_order=own.order == "as_given",
        )
        checkpoints = Checkpoints(checkpoint_dir / name, origin)
        stages.append(_Stage(name, examples, plan, own, checkpoints, seed + place))
        origin = {"base": origin["base"], "stages before": hash_json(origin)}
    return stages


def _train_stage(
    stage: _Stage,
    trainable: Trainable,
    section: TrainSection,
    reporter: StepReporter,
    ranks: Ranks,
    *,
    run_folder: Path,
) -> None:
    """Train one stage, or what is left of it."""
    rows_per_step = section.batch_tokens // section.seq_len
    trainer = StudentTrainer(
        trainable.module,
        trainable.row_loss,
        PackedRows(stage.examples, ranks.deal(stage.plan, rows_per_step)),
        _arguments(
            stage,
            trainable,
            turns=ranks.turns(rows_per_step),
            run_name=f"{run_folder.name} {stage.name}".rstrip(),
        ),
        ranks=ranks,
        checkpoints=stage.checkpoints,
        schedule=Schedule(
            warmup_share=stage.section.warmup_share,
            final_lr_share=stage.section.final_lr_share,
            use_muon=section.optimizer == "muon",
            offloads=trainable.offloads,
        ),
    )
    reporter.watch(trainer, stage.name)
    add_trackers(trainer, section.report_to, run_folder, stage.name)
    is_kept = has_memory_to_spare(section, trainable.loaded.folder, ranks.size)
    with kept_freed_memory() if is_kept else nullcontext():
        trainer.resume_or_train()


def _arguments(
    stage: _Stage, trainable: Trainable, *, turns: int, run_name: str
) -> TrainingArguments:
    """The Trainer's own settings; what is not said here is not used."""
    section = stage.section
    on_gpu = trainable.loaded.model.device.type == "cuda"
    return TrainingArguments(
        output_dir=str(stage.checkpoints.folder),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=turns,
        num_train_epochs=1,  # the plan holds all of them
        learning_rate=section.learning_rate,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        optim=_optimizer(section, on_gpu=on_gpu),
        seed=stage.seed,
        use_cpu=not on_gpu,
        bf16=trainable.autocast,
        use_liger_kernel=uses_liger(),
        # Our loss never makes the logits that Liger's would save.
        liger_kernel_config={"cross_entropy": False, "fused_linear_cross_entropy": False},
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",  # the reporter decides
        run_name=run_name,
        report_to="none",  # `add_trackers` has them
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


def _optimizer(section: TrainSection, *, on_gpu: bool) -> str:
    """The Trainer's name of the optimizer; only a GPU has pages to move."""
    names = {
        "adamw": "adamw_torch_fused",
        "adamw_8bit": "adamw_bnb_8bit",
        "paged_adamw": "paged_adamw_32bit" if on_gpu else "adamw_torch_fused",
        "paged_adamw_8bit": "paged_adamw_8bit" if on_gpu else "adamw_bnb_8bit",
        "muon": "adamw_torch_fused",  # unused: the trainer makes its own
    }
    return names[section.optimizer]


def _stage_report(
    stage: _Stage, history: Sequence[Mapping[str, float]], held_out: HeldOut | None
) -> StageReport:
    tokens = sum(map(len, stage.examples))
    return StageReport(
        name=stage.name,
        examples=len(stage.examples),
        tokens=tokens,
        trained_tokens=sum(example.trained_tokens for example in stage.examples),
        epochs=stage.section.epochs,
        steps=len(history),
        fill_share=tokens * stage.section.epochs / (stage.section.seq_len * len(stage.plan)),
        learning_rate=stage.section.learning_rate,
        final_loss=tail_mean(step_losses(history)),
        held_out=held_out,
    )


def _report(
    data: Prepared,
    trainable: Trainable,
    reporter: StepReporter,
    stages: Sequence[StageReport],
    before: HeldOut | None,
) -> TrainReport:
    rows = [stage.tokens * stage.epochs / stage.fill_share for stage in stages]
    read = [stage.tokens * stage.epochs for stage in stages]
    parameters = list(trainable.module.parameters())
    return TrainReport(
        method=trainable.method,
        examples=sum(stage.examples for stage in stages),
        too_long=data.too_long,
        without_loss=data.without_loss,
        tokens=sum(stage.tokens for stage in stages),
        trained_tokens=sum(stage.trained_tokens for stage in stages),
        epochs=max(stage.epochs for stage in stages),
        steps=sum(stage.steps for stage in stages),
        fill_share=sum(read) / sum(rows),
        parameters=sum(map(weights_of, parameters)),
        trained_parameters=sum(param.numel() for param in parameters if param.requires_grad),
        learning_rate=max(stage.learning_rate for stage in stages),
        losses=tuple(loss for each in reporter.histories for loss in step_losses(each)),
        held_out_before=before,
        held_out_after=stages[-1].held_out,
        stages=tuple(stages),
        seconds=reporter.seconds,
        tokens_per_second=reporter.tokens / max(reporter.seconds, 1e-9),
        mfu=reporter.mfu,
        peak_memory_bytes=peak_memory_bytes(),
    )


def _write_history(path: Path | None, stages: Sequence[_Stage], reporter: StepReporter) -> None:
    """A line per step: stage, step, loss, learning rate, gradient norm, tokens."""
    if path is None:
        return
    lines = [
        json.dumps({"stage": stage.name, **entry})
        for stage, history in zip(stages, reporter.histories, strict=True)
        for entry in history
    ]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def _whole(trainable: Trainable, base: Path, section: TrainSection, ranks: Ranks) -> Trainable:
    """Shards can be neither merged nor saved: what was trained goes into a fresh copy."""
    if ranks.is_alone:
        return trainable
    device = ranks.loads_on(section.method)
    fresh = load_trainable(base, section, seed=0, device=device) if ranks.is_first else None
    gather(trainable.module, None if fresh is None else fresh.module)
    return fresh or trainable


def _save(trainable: Trainable, folder: Path) -> None:
    adapter = None
    if isinstance(trainable.module, PeftModel):
        adapter = folder / ADAPTER_FOLDER
        save_adapter(trainable.module, adapter, trainable.loaded.folder)
    save_student(finished_model(trainable, adapter), trainable.loaded, folder)

"""``StudentTrainer``: transformers' Trainer with our rows, loss, schedule and checkpoints.

The Trainer brings the loop, gradient accumulation, the optimizer and the states that resume needs.
What differs is here: examples of a row do not see each other, the loss is the mean over the
supervised tokens of the whole step, a checkpoint appears whole or not at all and holds no pickle,
and a loss that is not a number stops the run.

This module knows rows of tensors, nothing of tokenizers or recipes.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from distill.errors import RunDirError, StageError
from students.checkpoints import Checkpoints
from students.flops import training_flops
from students.muon import Muon
from students.parallel import Ranks, share, shares_of_state, whole, whole_tree
from students.row_loss import RowLoss
from students.rows import PackedRows
from students.tensor_tree import load_tree, save_tree

_WEIGHTS = "trained.safetensors"
_STATE, _RANDOM = "state", "random"
_NAMED_EXAMPLES = 32


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Of one optimizer step.

    Attributes:
        loss: Mean over its supervised tokens.
        tokens: All that were read, prompts included.
        flops: Operations that the model needed.
        learning_rate: At which it was taken.
        gradient_norm: Before it was clipped.
    """

    loss: float = 0.0
    tokens: int = 0
    flops: float = 0.0
    learning_rate: float = 0.0
    gradient_norm: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate goes, and what changes with it.

    Attributes:
        warmup_share: Of the steps, in which the learning rate rises.
        final_lr_share: Of the peak, to which the learning rate falls.
        use_muon: For the matrices, instead of the Trainer's optimizer.
        offloads: Whether what backward needs waits in main memory.
    """

    warmup_share: float
    final_lr_share: float
    use_muon: bool = False
    offloads: bool = False


class StudentTrainer(Trainer):
    """Trains on the rows of a plan, once, in their order."""

    # Our loss is divided by the weights of the whole step, so the Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: torch.nn.Module,
        row_loss: RowLoss,
        rows: PackedRows,
        args: TrainingArguments,
        *,
        ranks: Ranks,
        checkpoints: Checkpoints,
        schedule: Schedule,
    ) -> None:
        """Wrap what is trained.

        Args:
            model: What is trained: the language model, or an adapter around it.
            row_loss: Runs it on a row.
            rows: In the order in which they are trained on; those of this process.
            args: Settings of the Trainer itself.
            ranks: The processes that train it together.
            checkpoints: Where states are kept.
            schedule: Of the learning rate, with the optimizer.
        """
        self.ranks = ranks
        self._row_loss = row_loss
        self._rows = rows
        self._checkpoints = checkpoints
        self._schedule = schedule
        self._flops = training_flops(model, row_loss.head, row_loss.causal_lm.config)
        self._loss: torch.Tensor | None = None
        self._tokens, self._step_flops, self._norm = 0, 0.0, 0.0
        self._step_rows: list[int] = []
        super().__init__(model=model, args=args, train_dataset=rows, data_collator=_only_item)
        self.remove_callback(PrinterCallback)

    def resume_or_train(self) -> None:
        """Train from the newest checkpoint if there is one, otherwise from the start."""
        checkpoint = self._checkpoints.latest()
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    def check_sharding(self) -> None:
        """Before the first step: make sure that all processes train one student."""
        assert self.model_wrapped is not None
        self.ranks.check(self.model_wrapped)

    def take_step(self) -> StepFigures:
        """Figures of the step that just ended, of all processes."""
        assert self._loss is not None
        loss, tokens, flops = self.ranks.totals(self._loss.item(), self._tokens, self._step_flops)
        step = StepFigures(
            loss=loss,
            tokens=int(tokens),
            flops=flops,
            learning_rate=self.args.learning_rate * self._lr_share(self.state.global_step - 1),
            gradient_norm=self._norm,
        )
        self._loss, self._tokens, self._step_flops, self._step_rows = None, 0, 0.0, []
        return step

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """This row's share of the step's mean loss."""
        if return_outputs or num_items_in_batch is None:
            raise ValueError("rows are trained on, not evaluated")
        row = inputs.pop("row")
        weights = inputs["weights"]
        with self.accelerator.autocast(), self._kept_activations():
            loss: torch.Tensor = self._row_loss(inputs, weights / num_items_in_batch)
        self._step_rows.append(row)
        self._count(row, len(weights), loss.detach())
        return loss * self.ranks.size  # FSDP2 takes the mean over the processes

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's, or Muon."""
        if not self._schedule.use_muon:
            return super().create_optimizer(model)
        trained = model or self.model
        assert trained is not None
        self.optimizer = Muon(
            trained.named_parameters(),
            lr=self.args.learning_rate,
            weight_decay=self.args.weight_decay,
        )
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Linear warm-up, then a cosine down to the final share."""
        optimizer = optimizer or self.optimizer
        assert optimizer is not None
        scheduler = LambdaLR(optimizer, self._lr_share)
        self.lr_scheduler = scheduler
        self._created_lr_scheduler = True
        return scheduler

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted here: the Trainer would walk over all parameters at every step."""
        return 0

    def _lr_share(self, step: int) -> float:
        schedule = self._schedule
        return lr_share(step, self.state.max_steps, schedule.warmup_share, schedule.final_lr_share)

    def _count(self, row: int, supervised: int, loss: torch.Tensor) -> None:
        lengths = self._rows.lengths(row)
        self._loss = loss if self._loss is None else self._loss + loss
        self._tokens += sum(lengths)
        if lengths:
            self._step_flops += self._flops.of_row(lengths, supervised)
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss is {loss.item()}", [row])

    def _kept_activations(self) -> AbstractContextManager[object]:
        """What backward needs is kept where it was computed, or in main memory."""
        if not self._schedule.offloads:
            return nullcontext()
        return torch.autograd.graph.save_on_cpu(pin_memory=torch.cuda.is_available())

    def _get_train_sampler(self, train_dataset: object = None) -> SequentialSampler:
        return SequentialSampler(self._rows)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Any]], device: torch.device
    ) -> torch.Tensor:
        """Weights of all supervised tokens of the step."""
        own = torch.stack([row["weights"].sum() for row in batch_samples]).sum()
        return self.ranks.total(own.to(device))

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm = whole(super()._clip_grad_norm(model))  # type: ignore[no-untyped-call]
        self._norm = float(norm)
        if not math.isfinite(self._norm):
            raise self._diverged(f"the gradient's norm is {self._norm}", self._step_rows)
        return norm

    def _diverged(self, what: str, rows: Sequence[int]) -> StageError:
        ids = list(dict.fromkeys(one for row in rows for one in self._rows.example_ids(row)))
        return StageError(
            f"training step {self.state.global_step + 1} of {self.state.max_steps}: {what}; "
            f"trained on: {named(ids)}",
            hint=f"lower train.learning_rate (now {self.args.learning_rate:g}) or look at these "
            "examples; the last good checkpoint is kept",
        )

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = {
            "optimizer": whole_tree(self.optimizer.state_dict()),
            "scheduler": self.lr_scheduler.state_dict(),
        }
        random = {"cpu": self.ranks.collect(torch.get_rng_state())}
        if torch.cuda.is_available():
            random["cuda"] = self.ranks.collect(torch.cuda.get_rng_state())
        weights = {name: whole(tensor) for name, tensor in self._trained_tensors().items()}
        if not self.ranks.is_first:
            return
        with self._checkpoints.writing(self.state.global_step) as folder:
            save_file(weights, folder / _WEIGHTS)
            save_tree(state, folder / _STATE)
            save_tree(random, folder / _RANDOM)
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        saved = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        with torch.no_grad():
            for name, tensor in self._trained_tensors().items():
                tensor.copy_(share(saved[name], like=tensor))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = load_tree(Path(checkpoint) / _STATE)
        self.optimizer.load_state_dict(shares_of_state(state["optimizer"], self.optimizer))
        self.lr_scheduler.load_state_dict(state["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        random = load_tree(Path(checkpoint) / _RANDOM)
        before = len(random["cpu"])
        if before != self.ranks.size:
            self._refuse_other_draws(checkpoint, before)
            return
        torch.set_rng_state(random["cpu"][self.ranks.rank])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"][self.ranks.rank])

    def _refuse_other_draws(self, checkpoint: str, before: int) -> None:
        """Another number of processes does the same sums, but draws other random numbers."""
        assert self.model is not None
        dropouts = (each for each in self.model.modules() if isinstance(each, torch.nn.Dropout))
        if any(dropout.p > 0 for dropout in dropouts):
            raise RunDirError(
                f"{checkpoint}: begun by {before} processes with dropout, now there are "
                f"{self.ranks.size}; the student would be another one",
                hint=f"go on with {before}, or remove {self._checkpoints.folder} to train anew",
            )

    def _trained_tensors(self) -> dict[str, torch.Tensor]:
        assert self.model is not None
        parameters = self.model.named_parameters()
        return {name: param.data for name, param in parameters if param.requires_grad}


def lr_share(step: int, steps: int, warmup_share: float, final_share: float) -> float:
    """Share of the peak learning rate at a step, counted from 0.

    Example:
        >>> [round(lr_share(step, 10, 0.2, 0.1), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    warmup = math.ceil(steps * warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    fallen = (step - warmup) / max(1, steps - warmup)
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * fallen)) / 2


def named(ids: Sequence[str]) -> str:
    """The first of them, in as few words as can be: rows of one file name it once.

    Example:
        >>> named(["chats.jsonl:34", "chats.jsonl:5"]), named(["gsm8k/17", "gsm8k/2"])
        ('chats.jsonl:34, 5', 'gsm8k/17, gsm8k/2')
    """
    shown = list(ids[:_NAMED_EXAMPLES])
    files = {one.rpartition(":")[0] for one in shown}
    if len(files) == 1 and files != {""}:
        shown[1:] = [one.rpartition(":")[2] for one in shown[1:]]
    more = f" and {len(ids) - len(shown)} more" if len(ids) > len(shown) else ""
    return f"{', '.join(shown)}{more}"


def _only_item(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row is a batch of its own."""
    (item,) = items
    return item

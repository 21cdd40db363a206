"""``StudentTrainer``: transformers' Trainer with our rows, loss, schedule and checkpoints.

The Trainer brings the loop, gradient accumulation, the optimizer and the states that resume needs.
What differs is here: examples of a row do not see each other, the loss is the mean over the
supervised tokens of the whole step, a checkpoint appears whole or not at all, and a loss that is
not a number stops the run.

This module knows rows of tensors, nothing of examples, tokenizers or recipes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from distill.errors import StageError
from students.checkpoints import Checkpoints
from students.loss import supervised_loss
from students.muon import Muon
from students.rows import PackedRows

_WEIGHTS = "trained.safetensors"


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Of one optimizer step.

    Attributes:
        loss: Mean over its supervised tokens.
        tokens: All that were read, prompts included.
    """

    loss: float
    tokens: int


class StudentTrainer(Trainer):
    """Trains on the rows of a plan, once, in their order."""

    # Our loss is divided by the weights of the whole step, so the Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: torch.nn.Module,
        causal_lm: PreTrainedModel,
        rows: PackedRows,
        args: TrainingArguments,
        checkpoints: Checkpoints,
        *,
        warmup_share: float,
        final_lr_share: float,
        use_muon: bool,
    ) -> None:
        """Wrap what is trained.

        Args:
            model: What is trained: the language model, or an adapter around it.
            causal_lm: The language model itself, whose layers and head are run.
            rows: In the order in which they are trained on.
            args: Settings of the Trainer itself.
            checkpoints: Where states are kept.
            warmup_share: Of the steps, in which the learning rate rises.
            final_lr_share: Of the peak, to which the learning rate falls.
            use_muon: For the matrices, instead of AdamW.
        """
        self._decoder: torch.nn.Module = causal_lm.get_decoder()
        self._head: torch.nn.Linear = causal_lm.get_output_embeddings()
        self._rows = rows
        self._checkpoints = checkpoints
        self._warmup_share = warmup_share
        self._final_lr_share = final_lr_share
        self._use_muon = use_muon
        self._step = StepFigures(0.0, 0)
        super().__init__(model=model, args=args, train_dataset=rows, data_collator=_only_item)
        self.remove_callback(PrinterCallback)

    def resume_or_train(self) -> None:
        """Train from the newest checkpoint if there is one, otherwise from the start."""
        checkpoint = self._checkpoints.latest()
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    def take_step(self) -> StepFigures:
        """Figures of the step that just ended."""
        step, self._step = self._step, StepFigures(0.0, 0)
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
        positions, targets = inputs.pop("loss_positions"), inputs.pop("targets")
        weights = inputs.pop("weights") / num_items_in_batch
        with self.accelerator.autocast():
            hidden_1_T_D = self._decoder(**inputs, use_cache=False).last_hidden_state
            hidden_S_D = hidden_1_T_D[0].index_select(0, positions)
            loss = supervised_loss(hidden_S_D, self._head.weight, targets, weights)
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss is {loss.item()}")
        tokens = inputs["input_ids"].numel()
        self._step = StepFigures(self._step.loss + loss.item(), self._step.tokens + tokens)
        return loss

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The Trainer's AdamW, or Muon."""
        if not self._use_muon:
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

        def share(step: int) -> float:
            return lr_share(step, num_training_steps, self._warmup_share, self._final_lr_share)

        optimizer = optimizer or self.optimizer
        assert optimizer is not None
        scheduler = LambdaLR(optimizer, share)
        self.lr_scheduler = scheduler
        self._created_lr_scheduler = True
        return scheduler

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: counting walks over all parameters at every step."""
        return 0

    def _get_train_sampler(self, train_dataset: object = None) -> SequentialSampler:
        return SequentialSampler(self._rows)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Any]], device: torch.device
    ) -> torch.Tensor:
        """Weights of all supervised tokens of the step."""
        return torch.stack([row["weights"].sum() for row in batch_samples]).sum().to(device)

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm: torch.Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        if not torch.isfinite(norm):
            raise self._diverged(f"the gradient's norm is {norm.item()}")
        return norm

    def _diverged(self, what: str) -> StageError:
        return StageError(
            f"training step {self.state.global_step + 1} of {self.state.max_steps}: {what}",
            hint=f"lower train.learning_rate (now {self.args.learning_rate:g}); "
            "the last good checkpoint is kept",
        )

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        with self._checkpoints.writing(self.state.global_step) as folder:
            save_file(self._trained_tensors(), folder / _WEIGHTS)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        saved = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        with torch.no_grad():
            for name, tensor in self._trained_tensors().items():
                tensor.copy_(saved[name])

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


def _only_item(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row is a batch of its own."""
    (item,) = items
    return item

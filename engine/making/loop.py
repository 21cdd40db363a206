"""The pre-training loop of the embedded models: a fixed number of steps, one process, one seed."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from engine.making.documents import IGNORED, Batch
from engine.making.optimizer import make_optimizers


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how fast to learn.

    Attributes:
        steps: Updates in all.
        warmup_steps: Updates with a rising learning rate.
        decay_share: Share of the updates, at the end, with a falling one.
        router_lr: Step of the router's bias towards balance (DeepSeek-V3, section 2.1.2).
    """

    steps: int
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    warmup_steps: int = 100
    decay_share: float = 0.4
    router_lr: float = 1e-3
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class LoopReport:
    """What the loop did; ``cpu_seconds`` counts all threads."""

    steps: int
    tokens: int
    cpu_seconds: float
    final_loss: float


class RouterBalance:
    """Moves each router's bias towards experts that got too few tokens.

    Transformers ships ``e_score_correction_bias`` and never updates it: without this, a few
    experts take all tokens.
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        """Watch every router of the model; a dense model has none."""
        self._lr = lr
        self._counts: dict[nn.Module, torch.Tensor] = {}
        for module in model.modules():
            if hasattr(module, "e_score_correction_bias"):
                module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, _inputs: object, outputs: tuple[torch.Tensor, ...]) -> None:
        bias = module.e_score_correction_bias
        assert isinstance(bias, torch.Tensor)
        self._counts[module] = torch.bincount(outputs[2].flatten(), minlength=bias.numel())

    @torch.no_grad()
    def step(self) -> None:
        """Update the biases from the tokens seen since the last step."""
        for module, counts in self._counts.items():
            bias = module.e_score_correction_bias
            assert isinstance(bias, torch.Tensor)
            bias.add_(torch.sign(counts.float().mean() - counts), alpha=self._lr)

    def largest_share(self) -> float:
        """Share of tokens of the busiest expert in the last step, over all layers; 0 if dense."""
        shares = [float(counts.max() / counts.sum()) for counts in self._counts.values()]
        return max(shares, default=0.0)


def schedule(step: int, settings: LoopSettings) -> float:
    """Share of the full learning rate: up, flat, then linearly down to zero."""
    up = (step + 1) / settings.warmup_steps
    down = (settings.steps - step) / (settings.decay_share * settings.steps)
    return min(1.0, up, down)


def pretrain(
    model: PreTrainedModel,
    stream: Iterator[Batch],
    settings: LoopSettings,
    *,
    log: Path,
    on_check: Callable[[int], dict[str, float]] | None = None,
    check_every: int = 500,
) -> LoopReport:
    """Train ``model`` in place.

    Args:
        model: A causal language model of transformers.
        stream: Endless batches.
        settings: Steps and rates.
        log: JSON lines, one per hundred steps and per check.
        on_check: Called with the step now and then; its figures go to the log.
        check_every: Steps between two checks.
    """
    optimizers = make_optimizers(model, muon_lr=settings.muon_lr, adam_lr=settings.adam_lr)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    balance = RouterBalance(model, settings.router_lr)
    tokens, losses = 0, [0.0]
    started, wall = time.process_time(), time.perf_counter()
    model.train()
    for step in range(settings.steps):
        share = schedule(step, settings)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * share
        batch = next(stream)
        loss = supervised_loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        balance.step()
        tokens += batch.input_ids_B_T.numel()
        losses = [*losses[-99:], loss.item()]
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            figures: dict[str, float] = {
                "step": step + 1,
                "loss": sum(losses) / len(losses),
                "tokens": tokens,
                "cpu_seconds": time.process_time() - started,
                "wall_seconds": time.perf_counter() - wall,
                "busiest_expert": balance.largest_share(),
            }
            if on_check and ((step + 1) % check_every == 0 or step + 1 == settings.steps):
                model.eval()
                figures |= on_check(step + 1)
                model.train()
            with log.open("a") as file:
                file.write(json.dumps(figures) + "\n")
    model.eval()
    report = LoopReport(
        settings.steps, tokens, time.process_time() - started, sum(losses) / len(losses)
    )
    with log.open("a") as file:
        file.write(json.dumps(asdict(report)) + "\n")
    return report


def supervised_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Mean cross entropy where labels are given; the output head runs only there."""
    body, head = model.get_decoder(), model.get_output_embeddings()
    hidden_B_T_D = body(input_ids=batch.input_ids_B_T, use_cache=False).last_hidden_state
    targets_B_T = batch.labels_B_T[:, 1:]
    is_target = targets_B_T != IGNORED
    logits_N_V = head(hidden_B_T_D[:, :-1][is_target])
    return functional.cross_entropy(logits_N_V, targets_B_T[is_target])

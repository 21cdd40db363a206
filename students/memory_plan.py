"""``plan_training``: how much memory training a student will need, before anything loads.

Arithmetic from what the model is built like, made for our own loop: one packed row at a time,
attention that never makes a ``T x T`` matrix, a head that is applied to a chunk of supervised
positions. A step has four moments that can be its highest; the plan is the highest of them, so its
parts add up to what a GPU must have free.

    loss       all layers have kept what backward needs, a chunk of logits exists
    backward   the last layer's gradients are worked out; what was not kept is computed again
    embedding  all layers are done, the gradient of the embedding is a whole matrix
    step       all gradients are there, the optimizer works on them
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

from students.catalog import Architecture
from students.memory_activations import (
    adapter_parameters,
    kept_by_norm,
    kept_once_per_layer,
    kept_per_token,
    linear_parameters,
    linear_shapes,
)
from students.memory_settings import TrainingSettings

Moment = Literal["loss", "backward", "embedding", "step"]

# As in students.loss: positions in one chunk of logits at most. A test compares.
LOSS_CHUNK_TOKENS = 512
# CUDA's context, cuBLAS' workspaces and what PyTorch's allocator cannot hand out.
GPU_OVERHEAD_BYTES = 700 * 1024**2
GPU_OVERHEAD_SHARE = 0.03
# NF4 in blocks of 64 with a scale of 8 bits, those in blocks of 256 with one of 32 bits.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# bitsandbytes keeps two moments of 8 bits in blocks of 256, each with a scale of 32 bits.
_ADAM_8BIT_BYTES = 2 * (1 + 4 / 256)
# Copies of the largest matrix that Muon makes to orthogonalise its momentum.
_MUON_COPIES = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes of one GPU, by what they are for.

    Attributes:
        weights: Of the model, adapters and copies in another precision included.
        gradients: Of what is trained.
        optimizer: Its moments, and what it needs to work on them.
        activations: Kept or computed again for the backward pass.
        loss: Logits of a chunk, gradients of head and hidden states.
        overhead: What a GPU takes besides.
    """

    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    loss: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, part.name) for part in fields(self))


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What one GPU needs at the highest moment of a step.

    Attributes:
        parts: What it is for.
        moment: When it is.
        main_memory: Bytes that wait outside of the GPU.
        trained_parameters: How many weights are trained.
    """

    parts: Parts
    moment: Moment
    main_memory: int
    trained_parameters: int

    @property
    def total(self) -> int:
        """Bytes that the GPU must have."""
        return self.parts.total


def plan_training(
    facts: Architecture, settings: TrainingSettings, *, on_gpu: bool = True
) -> TrainingPlan:
    """Predict the peak of one training step, from the second step on.

    Args:
        facts: What the student is built like.
        settings: How it is trained.
        on_gpu: Whether to add what a GPU takes besides.
    """
    need = _Need(facts, settings)
    moments = need.moments()
    moment = max(moments, key=lambda name: moments[name].total)
    parts = moments[moment]
    if on_gpu:
        overhead = GPU_OVERHEAD_BYTES + int(GPU_OVERHEAD_SHARE * parts.total)
        parts = replace(parts, overhead=overhead)
    return TrainingPlan(parts, moment, need.main_memory, need.trained)


class _Need:
    """The quantities that the moments are made of, all in bytes but `trained`."""

    def __init__(self, facts: Architecture, settings: TrainingSettings) -> None:
        self._facts, self._settings = facts, settings
        tokens = settings.length_tokens
        number = settings.stored_bytes
        self._number = number
        self._stream = number * facts.hidden * tokens
        self._embedding = number * facts.vocabulary * facts.hidden
        adapters = facts.layers * adapter_parameters(facts, settings)
        self.trained = facts.parameters if settings.is_full else adapters
        self._trained_bytes = self.trained * (number if settings.is_full else 4)
        self._optimizer = int(self.trained * self._moment_bytes()) // settings.gpus
        paged = settings.optimizer.startswith("paged")
        kept = facts.layers * self._kept_of_a_layer()
        is_offloaded = settings.activations == "offloaded"
        self._kept = self._stream if is_offloaded else kept
        self.main_memory = (self._optimizer if paged else 0) + (kept if is_offloaded else 0)
        if paged:
            self._optimizer = 0

    def moments(self) -> dict[Moment, Parts]:
        """What each moment needs."""
        settings, facts = self._settings, self._facts
        resident = Parts(weights=self._weights(), optimizer=self._optimizer)
        gradients = self._trained_bytes // settings.gpus
        earlier = gradients if settings.accumulates else 0
        head = self._embedding if settings.is_full else 0
        final = kept_by_norm(facts.hidden, self._number) * settings.length_tokens
        kept = self._kept + final + 2 * self._stream
        hidden = self._hidden_gradients()
        loss = replace(
            resident,
            weights=resident.weights + self._cast_in_forward(),
            gradients=earlier,
            activations=kept,
            loss=head + hidden + self._logits(),
        )
        waiting = head if facts.is_tied else 0
        backward = replace(
            resident,
            weights=resident.weights + self._gathered(),
            gradients=earlier or head - waiting,
            activations=kept + self._layer_at_work(),
            loss=waiting,
        )
        embedding = replace(
            resident,
            gradients=earlier or gradients - head,
            activations=2 * self._stream,
            loss=head + waiting,
        )
        step = replace(
            resident, gradients=gradients, optimizer=resident.optimizer + self._step_copies()
        )
        return {"loss": loss, "backward": backward, "embedding": embedding, "step": step}

    def _weights(self) -> int:
        facts, settings = self._facts, self._settings
        linear = facts.layers * linear_parameters(facts)
        linear_bytes = NF4_BYTES if settings.method == "qlora" else self._number
        base = linear_bytes * linear + self._number * (facts.parameters - linear)
        adapters = 0 if settings.is_full else self._trained_bytes
        return int(base + adapters) // settings.gpus

    def _moment_bytes(self) -> float:
        """Of the optimizer, for one trained weight."""
        settings, facts = self._settings, self._facts
        number = self._number if settings.is_full else 4
        if settings.optimizer.endswith("8bit"):
            return _ADAM_8BIT_BYTES
        if settings.optimizer == "muon":
            embeddings = facts.vocabulary * facts.hidden * (1 if facts.is_tied else 2)
            share = embeddings / facts.parameters if settings.is_full else 0.0
            return number * (1 + share)
        return 2 * number

    def _step_copies(self) -> int:
        if self._settings.optimizer != "muon":
            return 0
        shapes = linear_shapes(self._facts)
        if not self._settings.is_full:
            rank = self._settings.lora_r
            return _MUON_COPIES * 4 * rank * max(max(shape) for shape in shapes)
        return _MUON_COPIES * self._number * max(rows * columns for rows, columns in shapes)

    def _kept_of_a_layer(self) -> int:
        """Between forward and backward: everything, or only what the layer starts from."""
        if self._settings.activations == "kept":
            return self._whole_layer()
        return self._stream

    def _whole_layer(self) -> int:
        facts, settings = self._facts, self._settings
        per_token = kept_per_token(facts, settings)
        return per_token * settings.length_tokens + kept_once_per_layer(facts, settings)

    def _layer_at_work(self) -> int:
        """What one layer's backward needs besides what was kept."""
        facts, settings = self._facts, self._settings
        gradients = 2 * settings.compute_bytes * facts.intermediate * settings.length_tokens
        dequantised = 0
        if settings.method == "qlora":
            largest = max(rows * columns for rows, columns in linear_shapes(facts))
            dequantised = settings.compute_bytes * largest
        again = 0 if settings.activations == "kept" else self._whole_layer()
        return gradients + 2 * self._stream + dequantised + again

    def _cast_in_forward(self) -> int:
        """Copies of weights in bf16 that live until forward ends, and a gathered layer."""
        facts, settings = self._facts, self._settings
        cast = 0
        if settings.activations != "kept" and settings.precision == "mixed":
            cast = facts.layers * kept_once_per_layer(facts, replace(settings, dora=False))
        if settings.precision == "mixed" and settings.is_full:
            cast += (
                2 * 2 * facts.vocabulary * facts.hidden
            )  # the head, and a chunk's gradient of it
        return cast + self._gathered()

    def _gathered(self) -> int:
        """With FSDP: two layers and the embeddings, whole, as they are stored."""
        facts, settings = self._facts, self._settings
        if settings.gpus == 1:
            return 0
        embeddings = facts.vocabulary * facts.hidden * (1 if facts.is_tied else 2)
        per_weight = NF4_BYTES if settings.method == "qlora" else self._number
        return int(2 * facts.layer_parameters * per_weight + embeddings * self._number)

    def _hidden_gradients(self) -> int:
        """Hidden states at supervised positions, and their gradient."""
        return int(2 * self._settings.supervised_share * self._stream)

    def _logits(self) -> int:
        """Of one chunk in fp32, with its copy in the precision that is computed in, if another."""
        positions = int(self._settings.supervised_share * self._settings.length_tokens)
        copy_bytes = 0 if self._settings.precision == "fp32" else self._settings.compute_bytes
        chunks = max(1, math.ceil(positions / LOSS_CHUNK_TOKENS))  # of even sizes
        chunk = math.ceil(positions / chunks)
        return (4 + copy_bytes) * chunk * self._facts.vocabulary

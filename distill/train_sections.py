"""The section of stage ``train``: how the student learns."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from distill.data_sections import TrainData
from distill.section import Section

Method = Literal["full", "lora", "qlora"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "muon"]
Tracker = Literal["tensorboard", "wandb", "trackio"]
Order = Literal["shuffled", "as_given"]

# Full: the published runs of 1.5B to 7B lie at 4e-5 to 1e-4, larger ones lower. LoRA: ten times as
# much ("LoRA Without Regret", 2025).
_LEARNING_RATES: Final[Mapping[Method, float]] = {"full": 5e-5, "lora": 5e-4, "qlora": 5e-4}


class LoraSection(Section):
    """The adapter, when `train.method` is `lora` or `qlora`; it sits on all linear layers."""

    r: int = Field(default=32, ge=1, le=1024)
    """Rank."""

    alpha: int = Field(default=64, ge=1)
    """The update is scaled by alpha / r."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is dropped in training."""

    rslora: bool = False
    """Scale by alpha / sqrt(r) instead, which keeps large ranks learning."""

    dora: bool = False
    """Learn the length of each row of a matrix apart from its direction; slower."""


class StageSection(Section):
    """One step of a curriculum: which examples, how often, how fast. They follow one another."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Names it in reports and checkpoints."""

    data: TrainData | None = None
    """Train on this data set instead of the run's own examples."""

    sources: tuple[str, ...] = Field(default=(), strict=False)
    """Examples of these only: `cold_start`, a name of `blend.sources`, or the recipe's own."""

    models: tuple[str, ...] = Field(default=(), strict=False)
    """Traces of these teachers only."""

    min_pass_rate: float = Field(default=0.0, ge=0, le=1)
    """Leave out prompts that the teacher solves more rarely than this."""

    max_pass_rate: float = Field(default=1.0, ge=0, le=1)
    """Leave out prompts that it solves more often."""

    min_tokens: int = Field(default=0, ge=0)
    """Leave out shorter examples."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Leave out longer examples."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over them; as `train.epochs` unless given."""

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """Peak learning rate; as `train.learning_rate` unless given."""

    warmup_share: float | None = Field(default=None, ge=0, lt=1)
    """As `train.warmup_share` unless given."""

    final_lr_share: float | None = Field(default=None, ge=0, le=1)
    """As `train.final_lr_share` unless given."""

    order: Order | None = None
    """As `train.order` unless given."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "StageSection":
        if self.max_pass_rate < self.min_pass_rate:
            raise PydanticCustomError(
                "contradiction",
                "max_pass_rate = {most} is below min_pass_rate = {least}",
                {"most": self.max_pass_rate, "least": self.min_pass_rate},
            )
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise PydanticCustomError(
                "contradiction",
                "max_tokens = {most} is below min_tokens = {least}",
                {"most": self.max_tokens, "least": self.min_tokens},
            )
        is_chosen = bool(self.sources or self.models) or self.min_pass_rate > 0
        if self.data is not None and (is_chosen or self.max_pass_rate < 1):
            raise PydanticCustomError(
                "contradiction",
                "sources, models and pass rates choose among the run's own examples, and data names"
                " others; give one or the other",
            )
        return self


def _default_learning_rate(values: dict[str, Any]) -> float:
    return _LEARNING_RATES[values["method"]]


def _default_optimizer(values: dict[str, Any]) -> Optimizer:
    return "paged_adamw" if values["method"] == "qlora" else "adamw"


class TrainSection(Section):
    """Stage `train`: supervised fine-tuning of the student on the kept traces."""

    method: Method = "full"
    """Train all weights, a LoRA adapter, or one over a base of 4 bits; adapters are merged."""

    learning_rate: float = Field(default_factory=_default_learning_rate, gt=0, le=1)
    """Peak learning rate; 5e-5 for `full`, 5e-4 for `lora` and `qlora` unless given."""

    optimizer: Optimizer = Field(default_factory=_default_optimizer)
    """`muon` suits small students; `8bit` saves memory, `paged` moves it to the CPU when short."""

    epochs: int = Field(default=3, ge=1)
    """Passes over the examples."""

    order: Order = "shuffled"
    """Order of the examples in each pass; `as_given` keeps a cold start or a curriculum."""

    stages: tuple[StageSection, ...] = Field(default=(), strict=False)
    """A curriculum: `[[train.stages]]` with name, sources, epochs, learning_rate, in order."""

    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""

    final_lr_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the peak that the learning rate falls to by the end, along a cosine."""

    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decay of matrices; norms and biases have none."""

    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are scaled down to this length."""

    batch_tokens: int = Field(default=65_536, ge=1)
    """Tokens per step, about."""

    seq_len: int = Field(default=16_384, ge=8)
    """Tokens of a packed row; the longest example that can be trained on."""

    too_long: Literal["drop", "error"] = "drop"
    """What to do with an example of more than `seq_len` tokens; it is never cut."""

    reasoning_weight: float = Field(default=1.0, ge=0, le=100)
    """Weight in the loss of each token of the reasoning, think tags included."""

    answer_weight: float = Field(default=1.0, ge=0, le=100)
    """Weight in the loss of each token of the answer and of its end."""

    held_out_share: float = Field(default=0.02, ge=0, le=0.5)
    """Share of the prompts that is not trained on but measured before and after; 200 at most."""

    precision: Literal["auto", "fp32", "mixed", "bf16"] = "auto"
    """`mixed` computes in bf16 on fp32 weights (`auto` on a GPU); `bf16` has all of it in bf16."""

    activations: Literal["auto", "kept", "recomputed", "offloaded"] = "auto"
    """`recomputed`: gradient checkpointing (`auto` from 100M on); `offloaded`: to main memory."""

    lora: LoraSection = LoraSection()
    """Shape of the adapter."""

    data: TrainData | None = None
    """Train on this set instead of the run's own traces: a table with kind = "file" and path."""

    checkpoint_every_steps: int = Field(default=50, ge=1)
    """A run that was stopped goes on from its last checkpoint."""

    report_to: tuple[Tracker, ...] = Field(default=(), strict=False)
    """Send the figures of each step there too; each needs its own package."""

    stall_seconds: float = Field(default=600.0, gt=0)
    """With several processes: stop when one is silent, or a step takes, for so long."""

    @property
    def needs_traces(self) -> bool:
        """Whether it trains on what the run has generated and filtered."""
        has_own = bool(self.stages) and all(stage.data is not None for stage in self.stages)
        return self.data is None and not has_own

    def at(self, stage: StageSection) -> "TrainSection":
        """The settings of one stage: its own where it has some."""
        own = ("epochs", "learning_rate", "warmup_share", "final_lr_share", "order")
        given = {key: getattr(stage, key) for key in own}
        changed = {key: value for key, value in given.items() if value is not None}
        return self.model_copy(update={**changed, "stages": ()})

    @model_validator(mode="after")
    def _a_step_holds_a_row(self) -> "TrainSection":
        if self.batch_tokens < self.seq_len:
            raise PydanticCustomError(
                "contradiction",
                "batch_tokens = {batch_tokens} is less than one row of seq_len = {seq_len}",
                {"batch_tokens": self.batch_tokens, "seq_len": self.seq_len},
            )
        return self

    @model_validator(mode="after")
    def _something_is_learnt(self) -> "TrainSection":
        if self.reasoning_weight == self.answer_weight == 0:
            raise PydanticCustomError(
                "contradiction", "reasoning_weight and answer_weight are both 0: nothing is learnt"
            )
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise PydanticCustomError("contradiction", "two stages have the same name")
        return self

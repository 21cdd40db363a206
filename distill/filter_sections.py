"""Sections of a recipe for stage ``filter``: who judges, what is good enough, what is chosen.

The defaults of rules stand in ``distill.rule_table``.
"""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from distill import rule_table
from distill.section import InputPath, Section

RuleName = Literal[
    "finished",
    "boxed",
    "length",
    "language",
    "repetition",
    "loop",
    "agreement",
    "code_syntax",
    "contamination",
    "correct",
    "duplicate",
    "near_duplicate",
]
"""Rules that can be switched off or be mere labels."""


class VerifySection(Section):
    """Who judges the traces."""

    kind: str = Field(default="answer", min_length=1)
    """Which verifier; `distill filters` lists them."""

    options: dict[str, Any] = Field(default={})
    """What that verifier takes beside the trace, such as `{ function = "module:function" }`."""


class FilterSection(Section):
    """Stage `filter`: which traces a student may learn from; `distill filters` explains each."""

    correct: Literal["prefer", "only", "label"] = "prefer"
    """Wrong traces only where a prompt has no right one; right ones only; or all, judged."""

    wrong_weight: float = Field(default=1.0, ge=0, le=1)
    """Weight in training of kept traces that are wrong."""

    needs_reasoning: bool = True
    """Drop traces without reasoning between think tags."""

    needs_box: bool = True
    """Drop traces whose answer part has not exactly one `\\boxed{}`; for `answer` verifiers."""

    min_reasoning_tokens: int = Field(default=0, ge=0)
    """Drop traces with shorter reasoning, in the student's tokens."""

    max_reasoning_tokens: int | None = Field(default=None, ge=1)
    """Drop traces with longer reasoning."""

    language: float = Field(default=rule_table.LANGUAGE.default or 0.0, ge=0, le=1)
    """Share of the bytes that may stand in sentences of another language than the prompt's."""

    repetition: float = Field(default=rule_table.REPETITION.default or 0.0, ge=0, le=1)
    """Share of the 4-grams that may be repetitions."""

    loop: int = Field(default=int(rule_table.LOOP.default or 0), ge=1)
    """How often a passage of 20 words may come."""

    code_syntax: int = Field(default=int(rule_table.CODE_SYNTAX.default or 0), ge=0)
    """Python blocks of the answer that may fail to parse."""

    benchmarks: tuple[InputPath, ...] = Field(default=(), strict=False)
    """Prompt sets that the student will be measured by: prompts that hold one of theirs go."""

    contamination: float = Field(default=rule_table.CONTAMINATION.default or 0.0, gt=0, le=1)
    """Share of a benchmark question's 8-word runs from which a prompt holds that question."""

    near_duplicate: float = Field(default=rule_table.NEAR_DUPLICATE.default or 0.0, gt=0, le=1)
    """Similarity from which a trace repeats another one."""

    duplicates: Literal["prompt", "across"] = "prompt"
    """Look for duplicates among the traces of one prompt, or among all that were chosen."""

    off: tuple[RuleName, ...] = Field(default=(), strict=False)
    """Rules that are not asked at all."""

    label_only: tuple[RuleName, ...] = Field(default=(), strict=False)
    """Rules that measure every trace and drop none."""

    max_dropped_share: float = Field(default=0.95, ge=0, le=1)
    """The stage stops when rules that find fault drop more than this share of the traces."""

    max_broken_share: float = Field(default=0.01, ge=0, le=1)
    """The stage stops when more than this share of the rows cannot be read."""

    max_unknown_share: float = Field(default=1.0, ge=0, le=1)
    """The stage stops when the verifier cannot judge more than this share of the traces."""

    @model_validator(mode="after")
    def _some_length_is_left(self) -> "FilterSection":
        most = self.max_reasoning_tokens
        if most is not None and most < self.min_reasoning_tokens:
            raise PydanticCustomError(
                "contradiction",
                "max_reasoning_tokens = {most} is below min_reasoning_tokens = {least}",
                {"most": most, "least": self.min_reasoning_tokens},
            )
        return self


class SelectSection(Section):
    """Stage `filter`: which of the good traces of a prompt are trained on."""

    per_prompt: int = Field(default=4, ge=1)
    """Traces of one prompt that are trained on, at most."""

    by: Literal["farthest", "shortest", "longest", "random", "first", "divergent"] = "farthest"
    """Which, if there are more: far apart from each other, by length, any, or by divergence."""

    short_mix: float | None = Field(default=None, ge=0, le=1)
    """Take this share of them shortest first, the rest longest; 0.8 for students of 3B or less."""

    min_pass_rate: float = Field(default=0.0, ge=0, le=1)
    """Leave out prompts that the teacher solves more rarely than this."""

    max_pass_rate: float = Field(default=1.0, ge=0, le=1)
    """Leave out prompts that it solves more often."""

    order: Literal["prompts", "easy_first", "hard_first"] = "prompts"
    """Order of the examples: as the prompts come, or a curriculum by pass rate."""

    @model_validator(mode="after")
    def _some_difficulty_is_left(self) -> "SelectSection":
        if self.max_pass_rate < self.min_pass_rate:
            raise PydanticCustomError(
                "contradiction",
                "max_pass_rate = {most} is below min_pass_rate = {least}",
                {"most": self.max_pass_rate, "least": self.min_pass_rate},
            )
        return self


class SourceSection(Section):
    """Examples from elsewhere that are mixed in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Names them in reports."""

    path: InputPath
    """JSONL or Parquet with `messages`, or with `prompt` and `completion`."""

    share: float = Field(gt=0, lt=1)
    """Of the tokens of the whole set; this run's traces have what the sources leave."""


class BlendSection(Section):
    """Stage `filter`: other examples beside this run's traces."""

    cold_start: InputPath | None = None
    """A small curated set that is trained on first, whole; it counts for no share."""

    sources: tuple[SourceSection, ...] = Field(default=(), strict=False)
    """Such as a quarter of general data: `[[blend.sources]]` with name, path, share = 0.25."""

    @model_validator(mode="after")
    def _shares_leave_room(self) -> "BlendSection":
        names = [source.name for source in self.sources]
        total = sum(source.share for source in self.sources)
        if total >= 1:
            raise PydanticCustomError(
                "contradiction",
                "the shares of the sources are {total} together and leave nothing for the traces",
                {"total": round(total, 4)},
            )
        if len(set(names)) < len(names):
            raise PydanticCustomError("contradiction", "two sources have the same name")
        return self

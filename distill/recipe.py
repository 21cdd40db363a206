"""``Recipe``: the one typed file that describes a run, and the only place where defaults live.

A recipe is TOML (`distill.overrides` reads it) and holds only what differs from the defaults here.
Its tables are *sections*; a stage receives its own section, never the whole recipe. What can be
chosen, such as the teacher, is a union of sections that `kind` tells apart; a new choice is a new
class and one more member of its union.

Values are checked strictly, see ``distill.section``; the sections of stage ``filter`` stand in
``distill.filter_sections``, those of teachers in ``distill.teacher_sections``, of students in
``distill.student_sections``, of training in ``distill.train_sections``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, NoReturn

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from distill.errors import DistillError, RecipeError
from distill.filter_sections import BlendSection, FilterSection, SelectSection, VerifySection
from distill.layout import STAGES, Stage
from distill.local_section import LocalTeacher as LocalTeacher  # noqa: PLC0414 - known from here
from distill.problems import KINDS, LEVELS, Kind
from distill.section import InputPath
from distill.section import Section as Section  # noqa: PLC0414 - known from here
from distill.section import read_folder as read_folder  # noqa: PLC0414
from distill.student_sections import EmbeddedStudent as EmbeddedStudent  # noqa: PLC0414
from distill.student_sections import HubStudent as HubStudent  # noqa: PLC0414
from distill.student_sections import LocalStudent as LocalStudent  # noqa: PLC0414
from distill.student_sections import Student
from distill.teacher_sections import AnyTeacher as AnyTeacher  # noqa: PLC0414
from distill.teacher_sections import ApiTeacher as ApiTeacher  # noqa: PLC0414
from distill.teacher_sections import EmbeddedTeacher as EmbeddedTeacher  # noqa: PLC0414
from distill.teacher_sections import EngineTeacher as EngineTeacher  # noqa: PLC0414
from distill.teacher_sections import ReplayTeacher as ReplayTeacher  # noqa: PLC0414
from distill.teacher_sections import Teacher
from distill.train_sections import LoraSection as LoraSection  # noqa: PLC0414
from distill.train_sections import TrainSection as TrainSection  # noqa: PLC0414
from distill.types import Sampling

EvaluatedModel = Literal["base", "student", "teacher"]


class EmbeddedPrompts(Section):
    """Integer problems that the package makes, with gold answers."""

    kind: Literal["embedded"] = "embedded"
    """Which prompts."""

    split: Literal["train", "dev", "eval"]
    """No two splits share a problem: `train` to distill, `dev` to tune, `eval` to report."""

    count: int = Field(ge=1, le=1_000_000)
    """How many problems."""

    seed: int = Field(default=0, ge=0)
    """The same seed gives the same problems."""

    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1, strict=False)
    """Kinds of problem, taken in turn."""

    levels: tuple[Annotated[int, Field(ge=1, le=max(LEVELS))], ...] = Field(
        default=LEVELS, min_length=1, strict=False
    )
    """Steps that a problem needs, taken in turn."""


class FilePrompts(Section):
    """A prompt set in a file of yours."""

    kind: Literal["file"] = "file"
    """Which prompts."""

    path: InputPath
    """JSONL, CSV or Parquet with `text` and, for verified traces, `answer`."""


Prompts = Annotated[EmbeddedPrompts | FilePrompts, Field(discriminator="kind")]


def _known_benchmark(name: str) -> str:
    from distill.benchmarks.table import find_benchmark

    try:
        return find_benchmark(name).name
    except DistillError as error:
        raise PydanticCustomError("contradiction", "{what}", {"what": error.problem}) from None


class BenchmarkPrompts(Section):
    """A benchmark that `distill benchmarks` lists: its prompts, and its own verifier."""

    kind: Literal["benchmark"] = "benchmark"
    """Which prompts."""

    name: Annotated[str, AfterValidator(_known_benchmark)]
    """Such as `aime24`."""

    path: InputPath | None = None
    """Its files, if they are not where they are expected."""


EvalPrompts = Annotated[
    EmbeddedPrompts | FilePrompts | BenchmarkPrompts, Field(discriminator="kind")
]


class SamplingSection(Section):
    """How completions are drawn: for traces by the teacher, and for evaluation by each model."""

    temperature: float = Field(default=0.6, ge=0, le=2)
    """Spread of the draws; 0 is greedy."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Share of the probability, likeliest tokens first, that is drawn from."""

    max_tokens: int = Field(default=32_768, ge=1)
    """New tokens at most; a completion that reaches it is cut."""

    batch_size: int = Field(default=256, ge=1)
    """Completions that are decoded at once by a local model."""

    max_failed_share: float = Field(default=0.1, ge=0, le=1)
    """The stage stops when more than this share of the completions failed."""

    def sampling(self, seed: int) -> Sampling:
        """The part that a completer needs."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=seed,
        )


class GenerateSection(SamplingSection):
    """Stage `generate`: how many traces the teacher writes, and how."""

    samples: int = Field(default=4, ge=1)
    """Traces per prompt; with `until_correct`, at most."""

    until_correct: int | None = Field(default=None, ge=1)
    """Stop asking for a prompt once it has this many correct traces; needs gold answers."""

    logprobs: bool = False
    """Keep the log-probability of each token that a local teacher draws; an endpoint's are not."""

    def sampling(self, seed: int) -> Sampling:
        """The part that a completer needs."""
        return replace(super().sampling(seed), keeps_logprobs=self.logprobs)

    @model_validator(mode="after")
    def _until_correct_can_be_reached(self) -> "GenerateSection":
        if self.until_correct is not None and self.until_correct > self.samples:
            raise PydanticCustomError(
                "contradiction",
                "until_correct = {until_correct} cannot be reached with samples = {samples};"
                " samples is the most that a prompt gets",
                {"until_correct": self.until_correct, "samples": self.samples},
            )
        return self


class EvalSection(SamplingSection):
    """Stage `eval`: base, student and teacher on prompts that the student has not seen."""

    prompts: EvalPrompts
    """The held-out prompts."""

    samples: int = Field(default=4, ge=1)
    """Completions per prompt and model; cons@k needs several."""

    models: tuple[EvaluatedModel, ...] = Field(
        default=("base", "student", "teacher"), min_length=1, strict=False
    )
    """Which models to evaluate."""

    controls: bool = False
    """Train and evaluate the same student on answers only, and on unfiltered traces, as well."""


class Recipe(Section):
    """One run: teacher, prompts, student, and how each stage works."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Names the run folder, unless the command line does."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws of the teacher, order of the examples, draws in evaluation."""

    teacher: Teacher | None = None
    """Who writes the traces; needed unless `train.data` names others."""

    prompts: Prompts | None = None
    """What the teacher is asked; needed with it."""

    generate: GenerateSection = GenerateSection()
    """How many traces, and how they are drawn."""

    verify: VerifySection = VerifySection()
    """Who judges the traces."""

    filter: FilterSection = FilterSection()
    """Which traces are good enough."""

    select: SelectSection = SelectSection()
    """Which of them are trained on."""

    blend: BlendSection = BlendSection()
    """What is mixed in."""

    student: Student
    """Who learns from them."""

    train: TrainSection = TrainSection()
    """How it learns."""

    eval: EvalSection | None = None
    """How the outcome is measured; needed unless `train.data` is given."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What there is to do, in order."""
        if self.train.needs_traces:
            return STAGES
        return ("train", "eval") if self.eval else ("train",)

    @model_validator(mode="before")
    @classmethod
    def _data_stands_for_a_teacher(cls, given: object) -> object:
        """Without data of its own a run needs all tables: one that is missing counts as empty."""
        if not isinstance(given, Mapping):
            return given
        table = {name: value for name, value in given.items() if value is not None}
        if not _names_data(table.get("train")):
            return {"teacher": {}, "prompts": {}, "eval": {}, **table}
        if "teacher" not in table and isinstance(table.get("eval"), Mapping):
            table["eval"] = {"models": ["base", "student"], **table["eval"]}
        return table

    @model_validator(mode="after")
    def _who_is_evaluated_is_there(self) -> "Recipe":
        if self.eval is None or self.train.needs_traces:
            return self
        if self.eval.controls:
            raise PydanticCustomError(
                "contradiction",
                "eval.controls trains on the run's own traces, and train.data names another set",
            )
        if "teacher" in self.eval.models and self.teacher is None:
            raise PydanticCustomError(
                "contradiction",
                "eval.models has the teacher, and the recipe has no [teacher]",
            )
        return self

    @model_validator(mode="after")
    def _an_order_reaches_the_student(self) -> "Recipe":
        is_ordered = self.select.order != "prompts" or self.blend.cold_start is not None
        if is_ordered and self.train.order == "shuffled" and not self.train.stages:
            raise PydanticCustomError(
                "contradiction",
                "select.order and blend.cold_start put the examples in order, and train.order ="
                " 'shuffled' mixes them again; set train.order = 'as_given', or name train.stages",
            )
        return self

    @model_validator(mode="after")
    def _held_out_prompts_are_others(self) -> "Recipe":
        if self.eval is None or not self.train.needs_traces:
            return self
        train, held_out = self.prompts, self.eval.prompts
        if isinstance(train, EmbeddedPrompts) and isinstance(held_out, EmbeddedPrompts):
            is_same = train.split == held_out.split
        else:
            is_same = train == held_out
        if is_same:
            raise PydanticCustomError(
                "contradiction",
                "prompts and eval.prompts are the same set; a student must be evaluated on prompts"
                " that it was not trained on",
            )
        return self


def missing(table: str) -> NoReturn:
    """Refuse a recipe without a table, for a stage that cannot do without it.

    Raises:
        RecipeError: Always, so that ``recipe.teacher or missing("teacher")`` is a teacher.
    """
    raise RecipeError(
        f"the recipe has no [{table}]: it trains on what [train.data] names",
        hint=f"For the whole job add [{table}] and take [train.data] out; `distill init` shows"
        " every table.",
    )


def _names_data(train: object) -> bool:
    """Whether a section of training, checked or not, names a data set."""
    if isinstance(train, TrainSection):
        return not train.needs_traces
    if not isinstance(train, Mapping):
        return False
    stages = train.get("stages") or ()
    has_own = bool(stages) and all(isinstance(one, Mapping) and one.get("data") for one in stages)
    return train.get("data") is not None or has_own

"""What lies where in a run folder, and which stage each key of a recipe matters to.

recipe.json  manifest.json       what was asked, what was done
prompts/train.jsonl traces.jsonl requests.jsonl logs/      generate
traces.verdicts.parquet  train.parquet  filter.html  filter.json  broken.jsonl    filter
base/  examples/  student/  training.jsonl  checkpoints/   train
prompts/eval.jsonl  controls/  eval/                       eval
superseded/1/ ...                what `--restart-from` put aside
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Stage = Literal["generate", "filter", "train", "eval"]
STAGES: Final[tuple[Stage, ...]] = ("generate", "filter", "train", "eval")

# Files and folders that a stage makes, whether it is finished or not.
MADE_BY: Final[Mapping[Stage, tuple[str, ...]]] = {
    "generate": ("prompts/train.jsonl", "traces.jsonl", "requests.jsonl", ".scale", "logs"),
    "filter": (
        *("traces.verdicts.parquet", "train.parquet", "filter.html", "filter.json"),
        *("broken.jsonl", ".filter", "judge"),
    ),
    "train": ("base", "examples", "student", "training.jsonl", "checkpoints"),
    "eval": ("prompts/eval.jsonl", "controls", "eval"),
}

_FIRST_STAGE: Final[Mapping[str, Stage]] = {
    "seed": "generate",
    "teacher": "generate",
    "prompts": "generate",
    "generate": "generate",
    "verify": "generate",
    "filter": "filter",
    "select": "filter",
    "blend": "filter",
    "student": "train",
    "train": "train",
    "eval": "eval",
}
# They name a run, stop it or let it be resumed; its results are the same.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "name",
        "teacher.base_url",
        "teacher.key_variable",
        "teacher.expects_reasoning",
        "teacher.choices_per_call",
        "teacher.stream",
        "teacher.concurrency",
        "teacher.requests_per_minute",
        "teacher.tokens_per_minute",
        "teacher.idle_seconds",
        "teacher.answer_seconds",
        "teacher.attempts",
        "teacher.offload_folder",
        "teacher.parallel",
        "teacher.processes",
        "teacher.stall_seconds",
        "teacher.usd_per_gpu_hour",
        "generate.max_failed_share",
        "filter.max_dropped_share",
        "filter.max_broken_share",
        "filter.max_unknown_share",
        "train.activations",
        "train.checkpoint_every_steps",
        "train.report_to",
        "train.stall_seconds",
        "eval.max_failed_share",
    }
)


def first_stage(key: str) -> Stage | None:
    """The first stage whose results a recipe's key changes; ``None`` if there is none.

    Example:
        >>> first_stage("student.path"), first_stage("name")
        ('train', None)
    """
    if key in _WITHOUT_EFFECT or key.startswith(
        ("teacher.price", "teacher.override", "teacher.max_memory")
    ):
        return None
    return _FIRST_STAGE[key.partition(".")[0]]


def stages_from(stage: Stage) -> tuple[Stage, ...]:
    """A stage and those after it."""
    return STAGES[STAGES.index(stage) :]


def maker_of(relative: str) -> Stage | None:
    """The stage that makes a path of the run folder.

    Example:
        >>> maker_of("examples/student.jsonl")
        'train'
    """
    for stage, made in MADE_BY.items():
        if any(relative == path or relative.startswith(f"{path}/") for path in made):
            return stage
    return None


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The paths of one run folder."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.json"

    @property
    def manifest(self) -> Path:
        """What was done, with which versions, and hashes of what came of it."""
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes to the folder."""
        return self.root / "run.lock"

    @property
    def train_prompts(self) -> Path:
        """What the teacher was asked."""
        return self.root / "prompts" / "train.jsonl"

    @property
    def eval_prompts(self) -> Path:
        """The held-out prompts."""
        return self.root / "prompts" / "eval.jsonl"

    @property
    def traces(self) -> Path:
        """Journal of the teacher's judged traces."""
        return self.root / "traces.jsonl"

    @property
    def requests(self) -> Path:
        """Journal of what was asked of an endpoint, noted before it was sent."""
        return self.root / "requests.jsonl"

    @property
    def logs(self) -> Path:
        """What servers and processes wrote that were started and failed; missing if none did."""
        return self.root / "logs"

    @property
    def scale(self) -> Path:
        """What workers on several machines write to, gone when all is gathered."""
        return self.root / ".scale"

    @property
    def blocks(self) -> Path:
        """Their journals: while it is there, it holds all that `traces` and `requests` do."""
        return self.scale / "blocks"

    @property
    def verdicts(self) -> Path:
        """What was found about each trace, and what became of it."""
        return self.root / "traces.verdicts.parquet"

    @property
    def train(self) -> Path:
        """What the student is trained on, as conversations."""
        return self.root / "train.parquet"

    @property
    def judge(self) -> Path:
        """Folder of the questions to a judging model, its answers and its requests."""
        return self.root / "judge"

    @property
    def filter_page(self) -> Path:
        """The filter's figures with plots and examples, for a browser."""
        return self.root / "filter.html"

    @property
    def filter_record(self) -> Path:
        """The same for programs, with what it was made from."""
        return self.root / "filter.json"

    @property
    def broken(self) -> Path:
        """Rows of a trace file that could not be read; missing if there are none."""
        return self.root / "broken.jsonl"

    @property
    def filter_work(self) -> Path:
        """Parts that the filter has finished, gone when all are."""
        return self.root / ".filter"

    @property
    def base(self) -> Path:
        """Links to the base's files beside another chat template, if it shall have one."""
        return self.root / "base"

    def examples(self, variant: str) -> Path:
        """Examples that one variant of the student is trained on."""
        return self.root / "examples" / f"{variant}.jsonl"

    def model(self, variant: str) -> Path:
        """Folder of a trained model: the student, or one of the controls beside it."""
        return self.root / "student" if variant == "student" else self.root / "controls" / variant

    def checkpoints(self, variant: str) -> Path:
        """Folder of the trainer's checkpoints, gone when the training is finished."""
        return self.root / "checkpoints" / variant

    @property
    def history(self) -> Path:
        """Loss, learning rate and more of each step of the student's training."""
        return self.root / "training.jsonl"

    def judged(self, model: str) -> Path:
        """Journal of the judged traces of an evaluated model, such as ``"base"``."""
        return self.root / "eval" / f"{model}.jsonl"

    def judged_requests(self, model: str) -> Path:
        """The same as `requests`, for an evaluated model."""
        return self.root / "eval" / "requests" / f"{model}.jsonl"

    def result(self, model: str) -> Path:
        """All that is known of an evaluated model, with a record of each problem."""
        return self.root / "eval" / "results" / f"{model}.json"

    @property
    def report(self) -> Path:
        """Figures of the evaluation: all models, and the student compared with each other."""
        return self.root / "eval" / "report.json"

    @property
    def page(self) -> Path:
        """The whole run on one page, for a browser."""
        return self.root / "report.html"

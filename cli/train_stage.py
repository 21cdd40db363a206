"""Stage ``train`` of a run: what the student is trained on, and what training leaves.

The controls of an evaluation are trained in the same way on other examples.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.work import Job, Work
from distill.blend import Variant, blend
from distill.prompts import read_prompts
from distill.recipe import Recipe
from distill.records import to_record
from distill.train_sections import StageSection
from distill.types import Document, Example, Progress

STUDENT: Variant = "student"


def train_run(job: Job) -> Work:
    """Train the student of a run.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    from engine.folder import folder_fingerprint

    paths = job.run.paths
    begun = job.run.stage(
        "train",
        inputs=[paths.train_prompts, paths.train, *_data_files(job.recipe)],
        settings={"base": folder_fingerprint(base_folder(job))},
    )
    write_examples(job, STUDENT)
    summary = train_variant(job, STUDENT)
    return Work(begun, [paths.examples(STUDENT), paths.model(STUDENT), paths.history], summary)


def base_folder(job: Job) -> Path:
    """Where the base model is, with the template that the recipe names."""
    from students.base import base_folder as prepared_base

    return prepared_base(job.recipe.student, job.run.paths.base)


def write_examples(job: Job, variant: Variant) -> None:
    """Make what a student or a control is trained on out of the run's own traces."""
    from distill.filter_tables import read_examples
    from distill.record_files import write_records
    from distill.traces import read_traces
    from engine.folder import load_tokenizer

    paths = job.run.paths
    prompts = read_prompts(paths.train_prompts)
    tokenizer = load_tokenizer(base_folder(job))
    blended = blend(
        variant,
        prompts,
        read_examples(paths.train),
        read_traces(paths.traces, prompts),
        seed=job.recipe.seed,
        count_tokens=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )
    write_records(paths.examples(variant), blended.examples)


def train_variant(job: Job, variant: Variant) -> dict[str, Any]:
    """Train the student or a control; its figures."""
    from distill.record_files import read_records
    from students.sft import train

    recipe, paths = job.recipe, job.run.paths
    label = "train" if variant == STUDENT else f"train {variant}"

    def report(progress: Progress) -> None:
        job.report(replace(progress, stage=progress.stage.replace("train", label, 1)))

    own = list(read_records(paths.examples(variant), Example))
    trained = train(
        _by_stage(job, own) if recipe.train.stages else own,
        base_folder(job),
        recipe.train,
        paths.model(variant),
        paths.checkpoints(variant),
        seed=recipe.seed,
        on_progress=report,
        history_path=paths.history if variant == STUDENT else None,
    )
    return to_record(trained)


def _by_stage(job: Job, own: Sequence[Example]) -> dict[str, list[Example | Document]]:
    """The examples of each stage of the recipe's curriculum."""
    from distill.curriculum import choose_stages, read_facts

    return choose_stages(
        job.recipe.train.stages,
        own,
        read_facts(job.run.paths.train),
        read_data=_read_data,
        count_tokens=_token_counter(base_folder(job)),
    )


def _read_data(stage: StageSection) -> Iterable[Example | Document]:
    from distill.training_data import open_training_data

    assert stage.data is not None
    return open_training_data(stage.data).read()


def _data_files(recipe: Recipe) -> list[Path]:
    """Files that stages of the curriculum read beside the run's own examples."""
    from distill.training_data import open_training_data

    sections = [stage.data for stage in recipe.train.stages if stage.data is not None]
    return [path for one in sections for path in open_training_data(one).found.files]


def _token_counter(base: Path) -> Callable[[Example | Document], int]:
    """How long an example is, without the chat format's own tokens."""
    from distill.reasoning import join_reasoning
    from engine.folder import load_tokenizer

    tokenizer = load_tokenizer(base)

    def count(example: Example | Document) -> int:
        texts = (
            [example.text]
            if isinstance(example, Document)
            else [join_reasoning(turn.reasoning, turn.content) for turn in example.messages]
        )
        return sum(len(tokenizer(one, add_special_tokens=False)["input_ids"]) for one in texts)

    return count

"""Stage ``train`` of a run: what the student is trained on, and what training leaves.

The controls of an evaluation are trained in the same way on other examples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.console import note
from cli.work import Job, Work
from distill.blend import Variant, blend
from distill.lineage import steps_of, write_lineage
from distill.prompts import read_prompts
from distill.recipe import Recipe
from distill.records import to_record
from distill.types import Document, Example, Progress

if TYPE_CHECKING:
    from distill.training_data import TrainingData
    from students.train_report import TrainReport

STUDENT: Variant = "student"
_WHOLE = ""  # the data set of the whole training, as no stage can be called


def train_run(job: Job) -> Work:
    """Train the student of a run.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    from engine.folder import folder_fingerprint

    recipe, paths = job.recipe, job.run.paths
    data = _open_data(recipe)
    for one in data.values():
        _look_through(one)
    own = [paths.train_prompts, paths.train] if recipe.train.needs_traces else []
    begun = job.run.stage(
        "train",
        inputs=[*own, *(path for one in data.values() for path in one.found.files)],
        settings={"base": folder_fingerprint(base_folder(job)), **_revisions(data)},
    )
    outputs = [paths.model(STUDENT), paths.history]
    if own:
        write_examples(job, STUDENT)
        outputs.append(paths.examples(STUDENT))
    summary = train_variant(job, STUDENT, data)
    read = [{"stage": name, **to_record(one.report())} for name, one in data.items()]
    summary = {**summary, "data": read}
    steps = steps_of(job.run.manifest, job.recipe, {"train": summary})
    write_lineage(paths.model(STUDENT), job.recipe.name, steps)
    return Work(begun, outputs, summary)


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


def train_variant(
    job: Job, variant: Variant, data: Mapping[str, "TrainingData"] | None = None
) -> dict[str, Any]:
    """Train the student or a control; its figures.

    Args:
        job: Of the run.
        variant: Which one; its examples are written already, if it has some of the run's own.
        data: Data sets from elsewhere by stage, if they are opened.
    """
    from distill.record_files import read_records

    recipe, paths = job.recipe, job.run.paths
    label = "train" if variant == STUDENT else f"train {variant}"

    def report(progress: Progress) -> None:
        job.report(replace(progress, stage=progress.stage.replace("train", label, 1)))

    data = _open_data(recipe) if data is None else data
    own: Iterable[Example | Document] = ()
    if recipe.train.needs_traces:
        own = read_records(paths.examples(variant), Example)
    elif _WHOLE in data:
        own = data[_WHOLE].read()
    trained = _trainer(job)(
        _by_stage(job, list(own), data) if recipe.train.stages else own,
        base_folder(job),
        recipe.train,
        paths.model(variant),
        paths.checkpoints(variant),
        seed=recipe.seed,
        on_progress=report,
        history_path=paths.history if variant == STUDENT else None,
    )
    return to_record(trained)


def _trainer(job: Job) -> Callable[..., "TrainReport"]:
    """What trains: this process, or several."""
    from engine.launched import Launched
    from students.launch import train_together
    from students.launched import train_launched
    from students.sft import train

    if job.processes is None:
        return train
    if isinstance(job.processes, Launched):
        return partial(train_launched, launched=job.processes)
    note(f"  {job.processes.describe()}, weights sharded by FSDP2")
    return partial(train_together, processes=job.processes)


def _by_stage(
    job: Job, own: Sequence[Example | Document], data: Mapping[str, "TrainingData"]
) -> dict[str, list[Example | Document]]:
    """The examples of each stage of the recipe's curriculum."""
    from distill.curriculum import choose_stages, read_facts

    section = job.recipe.train
    return choose_stages(
        section.stages,
        own,
        read_facts(job.run.paths.train) if section.needs_traces else {},
        read_data=lambda stage: data[stage.name].read(),
        count_tokens=_token_counter(base_folder(job)),
    )


def _open_data(recipe: Recipe) -> dict[str, "TrainingData"]:
    """The data sets from elsewhere that a recipe trains on, by stage."""
    from distill.training_data import open_training_data

    sections = {_WHOLE: recipe.train.data}
    sections |= {stage.name: stage.data for stage in recipe.train.stages}
    return {name: open_training_data(one) for name, one in sections.items() if one is not None}


def _look_through(data: "TrainingData") -> None:
    """Say what a data set holds; a broken one is refused before anything is begun or loaded.

    Raises:
        DataError: If a row cannot be trained on and must not be left out, or none can.
    """
    note(f"  {data.found.name}: {data.form.describe()}")
    for _ in data.read():
        pass
    report = data.report()
    found = [f"{report.examples:,} rows"]
    if report.trained_turns > report.examples:
        found.append(f"{report.trained_turns:,} trained turns")
    if report.with_reasoning:
        found.append(f"{report.with_reasoning:,} with reasoning")
    note(f"  {', '.join(found)}")
    if report.broken:
        note(f"  {report.broken:,} rows are left out, the first of them:")
        for mistake in data.mistakes:
            note(f"    {mistake}")


def _revisions(data: Mapping[str, "TrainingData"]) -> dict[str, str]:
    """Which commits of the Hub they are, for the manifest."""
    found = (one.found for one in data.values() if one.found.revision)
    return {f"data {one.name}": one.revision for one in found}


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

"""What a process needs to know to take part in a training, as files: an order and its examples.

    order.json  examples-0.jsonl  examples-1.jsonl ...   one file for each stage, or one in all

The process that starts others has read the examples once, wherever they came from; the others read
them from here.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.records import from_record, to_record
from distill.train_sections import TrainSection
from distill.types import Document, Example, Progress
from students.parallel import Ranks
from students.prepared import Trained
from students.train_report import TrainReport

_ORDER = "order.json"
_KINDS: dict[str, type[Example] | type[Document]] = {"example": Example, "document": Document}


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """The arguments of ``train`` but for the examples.

    Attributes:
        base: Folder of the base model.
        section: The recipe's settings.
        out_dir: Becomes the student's folder.
        checkpoint_dir: Of this training alone.
        seed: As in ``train``.
        history_path: As in ``train``.
        stages: Names of the stages whose examples are given apart; empty if they are not.
    """

    base: Path
    section: TrainSection
    out_dir: Path
    checkpoint_dir: Path
    seed: int
    history_path: Path | None
    stages: tuple[str, ...] = ()


def write_order(
    order: TrainOrder, examples: Iterable[Trained] | Mapping[str, Iterable[Trained]], folder: Path
) -> TrainOrder:
    """Write an order with its examples into an existing folder; gives it with its stages."""
    by_stage = examples if isinstance(examples, Mapping) else {"": examples}
    stages = tuple(by_stage) if isinstance(examples, Mapping) else ()
    for place, each in enumerate(by_stage.values()):
        with _examples_file(folder, place).open("w", encoding="utf-8") as file:
            for one in each:
                kind = "document" if isinstance(one, Document) else "example"
                file.write(json.dumps({kind: to_record(one)}) + "\n")
    paths = {
        "base": str(order.base.absolute()),
        "out_dir": str(order.out_dir.absolute()),
        "checkpoint_dir": str(order.checkpoint_dir.absolute()),
        "history_path": None if order.history_path is None else str(order.history_path.absolute()),
    }
    record = {
        **paths,
        "section": order.section.model_dump(mode="json"),
        "seed": order.seed,
        "stages": stages,
    }
    (folder / _ORDER).write_text(json.dumps(record), encoding="utf-8")
    return read_order(folder)


def read_order(folder: Path) -> TrainOrder:
    """Read what ``write_order`` wrote."""
    record: dict[str, Any] = json.loads((folder / _ORDER).read_text(encoding="utf-8"))
    history = record["history_path"]
    return TrainOrder(
        base=Path(record["base"]),
        section=TrainSection.model_validate_json(json.dumps(record["section"])),
        out_dir=Path(record["out_dir"]),
        checkpoint_dir=Path(record["checkpoint_dir"]),
        seed=record["seed"],
        history_path=None if history is None else Path(history),
        stages=tuple(record["stages"]),
    )


def carry_out(folder: Path, ranks: Ranks, on_progress: Callable[[Progress], None]) -> TrainReport:
    """Take part in the training that was ordered."""
    from students.sft import train

    order = read_order(folder)
    examples: Iterable[Trained] | Mapping[str, Iterable[Trained]] = _read_examples(folder, 0)
    if order.stages:
        examples = {
            name: list(_read_examples(folder, place)) for place, name in enumerate(order.stages)
        }
    return train(
        examples,
        order.base,
        order.section,
        order.out_dir,
        order.checkpoint_dir,
        seed=order.seed,
        on_progress=on_progress,
        history_path=order.history_path,
        ranks=ranks,
    )


def _examples_file(folder: Path, place: int) -> Path:
    return folder / f"examples-{place}.jsonl"


def _read_examples(folder: Path, place: int) -> Iterator[Trained]:
    path = _examples_file(folder, place)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            ((kind, record),) = json.loads(line).items()
            yield from_record(_KINDS[kind], record, f"{path}:{number}")

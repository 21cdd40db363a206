"""From the parts of all shards to the two files: the blend, the order, and what they change.

One part is held at a time. What is left out here (duplicates across prompts, tokens over a
source's share) is noted on the trace's row like any other finding.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from distill.blend_sources import count_conversation, draw, read_conversations, targets
from distill.dedup import duplicate_check, resolve
from distill.filter_sections import BlendSection
from distill.filter_shard import ShardWork
from distill.filter_tables import TRAIN, VERDICTS, TableWriter, check_row
from distill.funnel import Tally
from distill.minhash import Sketches, sketch
from distill.rules import SHARE, TokenCounter
from distill.storage import make_folder
from distill.types import Check

_BYTES_A_TOKEN: Final = 4
_LEVELS: Final = 16
"""Steps of the curriculum: pass rates are told apart by sixteenths."""


@dataclass(slots=True)
class Merge:
    """Puts the parts of some shards together.

    Attributes:
        work: What the shards were judged by.
        shards: How many there are.
        tally: Counts of all, brought up to date.
        blend: What is mixed in.
    """

    work: ShardWork
    shards: int
    tally: Tally
    blend: BlendSection
    _left_out: dict[str, Check] = field(default_factory=dict)
    _sources: dict[str, list[bool]] = field(default_factory=dict)

    def write(self, verdicts: Path, train: Path) -> None:
        """Write both files.

        Raises:
            DataError: If a source of the blend cannot be read.
            StorageError: If the disk refuses.
        """
        if self.work.setup.rules.duplicates == "across":
            self._drop_across()
        if self.blend.sources:
            self._draw_shares()
        with TableWriter(verdicts, VERDICTS) as writer:
            for shard in range(self.shards):
                writer.write(self._amended(_read(self.work.part(shard, _VERDICTS))))
        with TableWriter(train, TRAIN) as writer:
            if self.blend.cold_start is not None:
                writer.write(self._mixed_in("cold_start", self.blend.cold_start, None))
            for table in self._ordered():
                writer.write(table)
            for source in self.blend.sources:
                writer.write(self._mixed_in(source.name, source.path, self._sources[source.name]))

    def _train_parts(self) -> Iterator[Any]:
        """What is trained on, shard by shard, without what was left out."""
        for shard in range(self.shards):
            table = _read_part(self.work, shard)
            if self._left_out:
                kept = [one not in self._left_out for one in table["id"].to_pylist()]
                table = table.filter(pa.array(kept, pa.bool_()))
            yield table

    def _ordered(self) -> Iterator[Any]:
        """The same in the order that the recipe wants."""
        order = self.work.setup.select.order
        if order == "prompts":
            yield from self._train_parts()
            return
        levels = range(_LEVELS + 1) if order == "hard_first" else range(_LEVELS, -1, -1)
        folder = self.work.work / "levels"
        make_folder(folder)
        paths = {level: folder / f"{level}.parquet" for level in [*levels, _LEVELS + 1]}
        with ExitStack() as stack:
            writers = {
                level: stack.enter_context(TableWriter(path, TRAIN))
                for level, path in paths.items()
            }
            for table in self._train_parts():
                found = [_level(rate) for rate in table["pass_rate"].to_pylist()]
                for level in sorted(set(found)):
                    mask = pa.array([one == level for one in found], pa.bool_())
                    writers[level].write(table.filter(mask))
        for level in [*levels, _LEVELS + 1]:
            with pq.ParquetFile(paths[level]) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group)
            paths[level].unlink()

    def _drop_across(self) -> None:
        """Duplicates among all that was chosen; of two alike the first one stays."""
        setup = self.work.setup
        threshold = setup.rules.near_duplicate
        ids: list[str] = []
        places: list[tuple[int, int]] = []
        sketches: list[Sketches] = []
        for shard in range(self.shards):
            table = _read_part(self.work, shard)
            if table.num_rows:
                ids += table["id"].to_pylist()
                places += [(shard, place) for place in range(table.num_rows)]
                texts = [_text_of(messages) for messages in table["messages"].to_pylist()]
                sketches.append(sketch(texts, threshold=threshold, seed=setup.seed))
        if not sketches:
            return

        def text_of(place: int) -> str:
            shard, row = places[place]
            return _text_of(_read_part(self.work, shard)["messages"][row].as_py())

        found = resolve(Sketches.join(sketches), text_of, threshold=threshold)
        for place, duplicate in enumerate(found):
            if duplicate is not None:
                first = ids[duplicate.of]
                self._left_out[ids[place]] = duplicate_check(duplicate, first, is_near=True)
        self._recount(self._left_out.keys())

    def _draw_shares(self) -> None:
        """Decide which traces and which examples of each source make the shares."""
        setup = self.work.setup
        count = self._counter()
        ids: list[str] = []
        own: list[int] = []
        for table in self._train_parts():
            ids += table["id"].to_pylist()
            own += [count(messages) for messages in table["messages"].to_pylist()]
        tokens = {
            source.name: [count(one.messages) for one in read_conversations(source.path)]
            for source in self.blend.sources
        }
        shares = {source.name: source.share for source in self.blend.sources}
        wanted = targets(sum(own), {name: sum(each) for name, each in tokens.items()}, shares)
        for name, each in tokens.items():
            self._sources[name] = draw(each, wanted[name], f"{setup.seed}/blend/{name}")
        taken = draw(own, wanted[""], f"{setup.seed}/blend")
        reason = f"the traces have {1 - sum(shares.values()):.2g} of the tokens already"
        gone = {
            one: Check(SHARE.name, SHARE.version, None, None, ok=False, reason=reason)
            for one, is_taken in zip(ids, taken, strict=True)
            if not is_taken
        }
        self._left_out |= gone
        self._recount(gone.keys())

    def _recount(self, gone: Iterable[str]) -> None:
        """Move traces in the tally from kept to dropped."""
        names = set(gone)
        if not names:
            return
        for shard in range(self.shards):
            table = _read_part(self.work, shard)
            rows = table.select(["id", "prompt_id", "source", "tokens", "pass_rate"]).to_pylist()
            still_kept = {row["prompt_id"] for row in rows if row["id"] not in self._left_out}
            lost: dict[str, str] = {}
            for row in rows:
                if row["id"] in names:
                    rule = self._left_out[row["id"]].name
                    self.tally.move(
                        rule, row["tokens"], pass_rate=row["pass_rate"], source=row["source"]
                    )
                    if row["prompt_id"] not in still_kept:
                        lost[row["prompt_id"]] = rule
            for rule in lost.values():
                self.tally.lost_prompts[rule] += 1

    def _amended(self, table: Any) -> Any:  # noqa: ANN401 - a pyarrow table
        """A part of the verdicts with what was left out since."""
        if not self._left_out:
            return table
        rows = table.to_pylist()
        for row in rows:
            check = self._left_out.get(row["id"])
            if check is not None:
                others = [one for one in row["checks"] if one["name"] != check.name]
                row["checks"] = [*others, check_row(check)]
                row["first_failed"], row["selected"], row["weight"] = check.name, False, 0.0
        return pa.Table.from_pylist(rows, VERDICTS)

    def _counter(self) -> Callable[[Sequence[Mapping[str, str | None]]], int]:
        count: TokenCounter = self.work.setup.counter() or _by_size
        return lambda messages: count_conversation(messages, count)

    def _mixed_in(self, name: str, path: Path, taken: Sequence[bool] | None) -> Any:  # noqa: ANN401 - a pyarrow table
        """The examples of a source that are taken."""
        count = self._counter()
        rows = []
        for place, one in enumerate(read_conversations(path)):
            if taken is None or taken[place]:
                tokens = count(one.messages)
                self.tally.sums["mixed_in"] += 1
                self.tally.sums["mixed_in_tokens"] += tokens
                own = f"{name}/{one.row}"
                rows.append(
                    {
                        "id": own,
                        "prompt_id": own,
                        "source": name,
                        "model": "",
                        "messages": list(one.messages),
                        "weight": 1.0,
                        "tokens": tokens,
                        "pass_rate": None,
                        "is_correct": None,
                    }
                )
        return pa.Table.from_pylist(rows, TRAIN)


_VERDICTS: Final = "verdicts.parquet"


@lru_cache(maxsize=4)
def _read_cached(path: Path, changed: int) -> Any:  # noqa: ANN401 - a pyarrow table
    del changed
    return _read(path)


def _read(path: Path) -> Any:  # noqa: ANN401 - a pyarrow table
    """A whole part, by one thread: several would hold it several times over."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def _read_part(work: ShardWork, shard: int) -> Any:  # noqa: ANN401 - a pyarrow table
    path = work.part(shard, "train.parquet")
    return _read_cached(path, path.stat().st_mtime_ns)


def _text_of(messages: Sequence[Mapping[str, str | None]]) -> str:
    last = messages[-1]
    return last["reasoning_content"] or last["content"] or ""


def _by_size(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def _level(pass_rate: float | None) -> int:
    """Step of the curriculum; prompts that nobody could judge come last."""
    return _LEVELS + 1 if pass_rate is None else round(pass_rate * _LEVELS)

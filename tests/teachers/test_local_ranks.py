"""A model on two ranks is the model on one; a rank that dies or stops is named, and ends all."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from distill.errors import StageError
from distill.generate import generate
from distill.recipe import GenerateSection, LocalTeacher
from distill.sampling import ProgressListener
from distill.types import Completer, Progress, Prompt
from distill.verify import build_verifier
from engine.drawing import UniformStream
from engine.launched import Launched
from engine.meeting import Meeting
from engine.processes import Processes, loopback
from engine.ranks_line import Line
from engine.ranks_runner import LeadingRunner
from engine.row import Decoding, Row
from engine.runner import Runner, make_runner
from teachers.local import open_local
from teachers.local_cut import Parallel, cut
from teachers.local_ranks import ORDER, RankedTeacher, _rank_logs, taking_part
from tests.teachers.local_models import VOCABULARY, tiny, to_fp8, write

# A loaded machine may leave a process without a processor for some seconds.
_STALL_SECONDS = 10.0
_PATIENCE_SECONDS = 120.0
_TOKENS = 12
PROMPTS = [list(range(start, start + length)) for start, length in ((5, 9), (60, 1), (100, 17))]
# Two ranks cannot halve the vocabulary: the part of one is shorter.
KINDS = {"deepseek_v3": VOCABULARY + 1, "qwen3_moe": VOCABULARY + 1}
WAYS: tuple[Parallel, ...] = ("tensor", "expert", "tensor+expert")
# Half of each width is whole blocks of FP8.
WIDE = {"intermediate_size": 256, "moe_intermediate_size": 256}


@pytest.fixture(scope="module", autouse=True)
def quiet_machine() -> Iterator[None]:
    """Ranks talk to this machine alone, and tiny products do not wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**loopback(), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models, one of them in FP8 beside one of the weights that it means."""
    folder = tmp_path_factory.mktemp("mixtures")
    made = {kind: write(tiny(kind, vocab_size=size), folder / kind) for kind, size in KINDS.items()}
    wide = tiny("deepseek_v3", **WIDE)
    made["fp8"], made["fp8 meant"] = (write(wide, folder / name) for name in ("fp8", "meant"))
    meant = to_fp8(made["fp8"])
    save_file(meant, made["fp8 meant"] / "model.safetensors", metadata={"format": "pt"})
    return made


@pytest.fixture(scope="module")
def launched() -> Iterator[Launched]:
    """Rank 0 of two that a launcher has started; the other one serves all cases."""
    meeting = Meeting.host(2)
    follower = Path(__file__).with_name("rank_follower.py")
    repository = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(repository), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, str(follower), str(meeting.port), "1", "2"], env=environment
    )
    group = Launched(meeting)
    try:
        yield group
        group.release()
        assert process.wait(_PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def local(parameter: torch.Tensor) -> torch.Tensor:
    """This rank's part."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def greedy(runner: Runner) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Tokens of each prompt, and the scores that they were taken from, ``[tokens, V]``."""
    rows = [Row(tuple(ids), Decoding(), UniformStream(""), _TOKENS) for ids in PROMPTS]
    seen: dict[int, list[torch.Tensor]] = {id(row): [] for row in rows}
    scores_B_V, running = runner.read(rows), rows
    for step in range(_TOKENS):
        for row, scores_V in zip(running, scores_B_V, strict=True):
            seen[id(row)].append(scores_V)
            row.token_ids.append(int(scores_V.argmax()))
        if step < _TOKENS - 1:
            scores_B_V, running = runner.write(), runner.rows
    return [row.token_ids for row in rows], [torch.stack(seen[id(row)]) for row in rows]


@pytest.mark.parametrize("parallel", WAYS)
@pytest.mark.parametrize("kind", [*KINDS, "fp8"])
def test_two_ranks_give_the_tokens_and_logits_of_one_process(
    kind: str, parallel: Parallel, folders: dict[str, Path], launched: Launched
) -> None:
    """Compared with transformers' own model, whole: tokens of ``generate``, logits of a forward."""
    section = LocalTeacher(
        model=str(folders[kind]),
        dtype="float32",
        parallel=parallel,
        stall_seconds=_PATIENCE_SECONDS,
    )
    meeting = launched.order(ORDER, section.model_dump_json())
    line = Line()
    with (
        torch.inference_mode(),
        taking_part(meeting, section) as (share, budget_tokens),
        line.pulsing(_PATIENCE_SECONDS),
    ):
        tokens, logits = greedy(LeadingRunner(make_runner(share.loaded.model, budget_tokens), line))
        held = sum(local(parameter).nbytes for parameter in share.loaded.model.parameters())
    whole = AutoModelForCausalLM.from_pretrained(folders.get(f"{kind} meant", folders[kind])).eval()
    assert held == cut(whole, parallel, 2).rank_bytes
    with torch.inference_mode():
        for ids, drawn, scores_T_V in zip(PROMPTS, tokens, logits, strict=True):
            prompt = torch.tensor([ids])
            expected = whole.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=_TOKENS,
                do_sample=False,
                eos_token_id=None,
            )
            assert drawn == expected[0, len(ids) :].tolist()
            # Of logits up to 3 in float32; 2.5e-6 was seen.
            forward_T_V = whole(expected).logits[0, len(ids) - 1 : -1]
            assert (scores_T_V - forward_T_V).abs().max() < 1e-5


def test_sampling_with_refilled_rows_is_the_same_on_two_ranks(
    folders: dict[str, Path], launched: Launched, tmp_path: Path
) -> None:
    section = LocalTeacher(model=str(folders["qwen3_moe"]))
    alone = open_local(section, batch_size=4, on_notice=lambda _: None)
    together = RankedTeacher(section, launched, batch_size=4)
    assert together.fingerprint == alone.fingerprint
    assert texts(together, tmp_path / "two.jsonl") == texts(alone, tmp_path / "one.jsonl")


def texts(completer: Completer, journal: Path) -> dict[str, str]:
    sample(completer, journal)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    traces = [line["trace"] for line in lines if line["kind"] == "trace"]
    return {
        f"{trace['prompt_id']}#{trace['sample_index']}": trace["completion"]["text"]
        for trace in traces
    }


def sample(
    completer: Completer, journal: Path, *, on_progress: ProgressListener | None = None
) -> None:
    generate(
        [Prompt(str(number), f"Add {number} and 3.", answer="7") for number in range(12)],
        completer,
        build_verifier("answer"),
        GenerateSection(samples=2, max_tokens=24, temperature=1.0, top_p=1.0),
        seed=1,
        journal_path=journal,
        on_progress=on_progress,
    )


def rank_1() -> psutil.Process | None:
    """The process that this one has started for a rank, if it runs."""
    for each in psutil.Process().children():
        with suppress(psutil.Error):
            if "teachers.local_rank" in each.cmdline():
                return each
    return None


class Harm:
    """Does something to rank 1 once an answer of this try is in the journal."""

    def __init__(self, harm: Callable[[psutil.Process], None]) -> None:
        self.harm = harm
        self.is_done = False

    def __call__(self, progress: Progress) -> None:
        process = rank_1()
        if progress.done > progress.resumed and process is not None and not self.is_done:
            self.is_done = True
            self.harm(process)


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary ones."""
    place = tmp_path / "rooms"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.mark.parametrize("end", [None, KeyboardInterrupt(), StageError("x", hint="of nothing")])
def test_logs_of_ranks_are_gone_at_any_end_that_names_none(
    rooms: Path, tmp_path: Path, end: BaseException | None
) -> None:
    for kept in (None, tmp_path / "run" / "logs"):
        with suppress(KeyboardInterrupt, StageError), _rank_logs(kept) as folder:
            (folder / "rank-1.log").write_text("a warning")
            if end is not None:
                raise end
        assert not folder.exists()
    assert not list(rooms.iterdir())


def test_a_log_that_the_error_names_is_kept_beside_those_of_others(
    rooms: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "run" / "logs"
    kept.mkdir(parents=True)
    (kept / "server-1.log").write_text("of a server")
    with suppress(StageError), _rank_logs(kept) as folder:
        for rank in (1, 2):
            (folder / f"rank-{rank}.log").write_text("words")
        raise StageError("rank 2 failed", hint=f"its last words, in {folder / 'rank-2.log'}:")
    assert sorted(path.name for path in kept.iterdir()) == ["rank-2.log", "server-1.log"]
    with _rank_logs(kept):
        pass
    assert [path.name for path in kept.iterdir()] == ["server-1.log"]
    assert not list(rooms.iterdir())


def test_a_rank_that_stops_or_dies_is_named_and_the_next_try_goes_on(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """One try loses the rank to SIGSTOP, one to SIGKILL; a single process then ends the job."""
    section = LocalTeacher(model=str(folders["deepseek_v3"]))
    journal = tmp_path / "two.jsonl"
    kept: list[str] = []
    for harm, words, stall_seconds in (
        (psutil.Process.suspend, r"rank 1 said nothing for \d+ s after step \d+", _STALL_SECONDS),
        (psutil.Process.kill, r"rank 1 of 2 was killed by SIGKILL after step \d+", 90.0),
    ):
        settings = section.model_copy(update={"stall_seconds": stall_seconds})
        logs = tmp_path / "logs"
        teacher = RankedTeacher(settings, Processes.on_cpu(2), batch_size=4, logs=logs)
        with pytest.raises(StageError, match=words) as stopped:
            sample(teacher, journal, on_progress=Harm(harm))
        assert not logs.exists()  # the rank had printed nothing
        assert "goes on from the journal" in stopped.value.hint
        assert rank_1() is None
        lines = journal.read_text().splitlines()
        assert lines[: len(kept)] == kept
        assert len(lines) > len(kept)
        kept = lines
    alone = open_local(section, batch_size=4, on_notice=lambda _: None)
    assert texts(alone, journal) == texts(alone, tmp_path / "one.jsonl")
    assert journal.read_text().splitlines()[: len(kept)] == kept

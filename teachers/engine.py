"""``EngineTeacher``: servers on GPUs of one's own, drained by the client that drains any endpoint.

Servers are started when there is something to ask and stopped when it is answered. The client
sends each call to a server that is ready and waits while none is; what was under way on a server
that went down is asked again. Only what is in the journal counts, so a restart loses none of it.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from distill.errors import ModelError
from distill.recipe import EngineTeacher as EngineSection
from distill.types import Answer, RequestSource, Sampling, Usage
from engine.server_process import free_port
from engine.vllm_program import is_for_cpu, require_vllm, serve_command, whole_prompts
from teachers.connect import connect
from teachers.engine_command import Serving, commands
from teachers.engine_server import Launch, Watcher
from teachers.fleet import Fleet, Server
from teachers.moe_config import find_architecture
from teachers.shard_cost import read_gpus
from teachers.shard_model import find_model
from teachers.shard_plan import Cluster, Layout, Wish, enough_gpus, plan_shards

_HOUR: Final = 3600.0
_MIB: Final = 1024**2


def open_engine(
    section: EngineSection, on_notice: Callable[[str], None], logs: Path | None = None
) -> "EngineTeacher":
    """Make a teacher of servers; none is started yet.

    Args:
        section: The recipe's choice.
        on_notice: Called with what the user should know while they run.
        logs: Folder that keeps the log of a server that is given up.

    Raises:
        ModelError: If the model does not fit the GPUs, or there are none.
        TeacherError: If a key is named and not in the environment.
    """
    if section.join:
        servers = [Server(url, url.rstrip("/")) for url in section.join]
        launches = [_launch(section, [], {}) for _ in servers]
    else:
        ports = [free_port() for _ in range(section.replicas)]
        launches = [_own_launch(section, number, port) for number, port in enumerate(ports)]
        servers = [
            Server(f"server {number + 1}", f"http://127.0.0.1:{port}/v1")
            for number, port in enumerate(ports)
        ]
    if logs is not None:
        launches = [
            replace(launch, kept=logs / f"server-{number}.log")
            for number, launch in enumerate(launches, 1)
        ]
    return EngineTeacher(section, servers, launches, on_notice)


class EngineTeacher:
    """A completer over servers that it starts, watches and stops."""

    has_independent_rows = True

    def __init__(
        self,
        section: EngineSection,
        servers: list[Server],
        launches: list[Launch],
        on_notice: Callable[[str], None],
    ) -> None:
        """Take the servers and how each is started."""
        self._fleet = Fleet(servers, section.stall_seconds)
        self._launches = launches
        self._on_notice = on_notice
        self._meter = _Meter(section, len(servers))
        self._client = connect(
            section.api(servers[0].base_url),
            on_notice,
            fleet=self._fleet,
            price=self._meter.cost,
        )
        self.model = section.model
        self.fingerprint = self._client.fingerprint
        self.samples_at_once = self._client.samples_at_once
        self.is_billed = section.usd_per_gpu_hour is not None

    def progress_figures(self) -> Mapping[str, str]:
        """What the client shows, how many servers are ready, and how long the GPUs are at work."""
        return {
            **self._client.progress_figures(),
            **self._fleet.figures(),
            **self._meter.figures(),
        }

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Start the servers, ask for all that the source wants, and stop them.

        Raises:
            TeacherError: If no server gets ready, or every request is refused.
        """
        self._fleet.failure = None
        watchers = [
            Watcher(server, launch, self._fleet, self._on_notice)
            for server, launch in zip(self._fleet.servers, self._launches, strict=True)
        ]
        for watcher in watchers:
            watcher.server.is_given_up = False
            if watcher.launch.command:
                self._on_notice(f"{watcher.server.name}: {watcher.launch.shown}")
            watcher.start()
        self._meter.begin()
        try:
            yield from self._client.complete(source, sampling)
        finally:
            for watcher in watchers:
                watcher.stop()
                if watcher.launch.kept != watcher.launch.log or self._fleet.failure is None:
                    watcher.launch.log.unlink(missing_ok=True)


class _Meter:
    """Shares the price of the GPUs out over the answers: each pays for the time since the last."""

    def __init__(self, section: EngineSection, servers: int) -> None:
        gpus = 0 if section.gpus is None else read_gpus(section.gpus).gpus
        self._gpus = gpus * servers
        self._usd_per_second = (section.usd_per_gpu_hour or 0.0) * self._gpus / _HOUR
        self._paid_until = self._began = time.monotonic()

    def begin(self) -> None:
        """The servers are being started."""
        self._paid_until = self._began = time.monotonic()

    def figures(self) -> Mapping[str, str]:
        """GPU hours since then, where it is known how many GPUs there are."""
        if not self._gpus:
            return {}
        return {"GPU hours": f"{(time.monotonic() - self._began) * self._gpus / _HOUR:,.2f} now"}

    def cost(self, usage: Usage, at: float) -> float | None:
        """What has not been paid for yet."""
        del usage, at
        if not self._usd_per_second:
            return None
        now = time.monotonic()
        usd, self._paid_until = (now - self._paid_until) * self._usd_per_second, now
        return usd


def _own_launch(section: EngineSection, number: int, port: int) -> Launch:
    """How one replica is started on this machine."""
    if section.command:
        words = {"{model}": section.model, "{port}": str(port)}
        command = [_filled(word, words) for word in section.command]
        return _launch(section, [*command, *section.arguments], {})
    cluster = cluster_of(section)
    serving = serving_of(section, cluster, port)
    if serving.nodes > 1:
        raise ModelError(
            f"teacher.gpus: {cluster.gpus} GPUs are on {serving.nodes} machines, and a recipe"
            " starts servers on this one only",
            hint="distill shard MODEL --gpus ... --print vllm shows what to start; then join",
        )
    first = number * cluster.gpus
    visible = ",".join(str(gpu) for gpu in range(first, first + cluster.gpus))
    given = {"CUDA_VISIBLE_DEVICES": visible} if section.replicas > 1 else {}
    command = commands(section.engine, serving)[0]
    if section.engine == "vllm":  # printed as `vllm serve MODEL`; here it is the one that is found
        program = require_vllm()
        command[:3] = serve_command(program, serving.model)
        if is_for_cpu(program):  # before what the recipe gives, which holds
            place = len(command) - len(section.arguments)
            command[place:place] = whole_prompts(section.context_tokens)
    return _launch(section, command, given)


def serving_of(section: EngineSection, cluster: Cluster, port: int) -> Serving:
    """What a server of one replica is started with: the best layout that fits.

    Raises:
        ModelError: If the model does not fit; says how many GPUs would be enough.
    """
    try:
        facts = find_architecture(section.model)
    except ModelError:  # a name on the Hub that is not known here: the server will find out
        layout = Layout(cluster.gpus, 1, 1, 1)
        return Serving(
            section.model,
            "",
            layout,
            section.context_tokens,
            port,
            cluster.node_gpus,
            section.arguments,
        )
    find_model(section.model)  # weights that are there must be whole
    wish = Wish(section.context_tokens)
    plans = plan_shards(facts, cluster, wish)
    if not plans or not plans[0].holds(None):
        enough = enough_gpus(facts, cluster, wish)
        gib = cluster.gpu_bytes / 1024**3
        more = f"enough would be {enough} of this size" if enough else "take larger GPUs"
        raise ModelError(
            f"{section.model}: does not fit {cluster.gpus} x {gib:g} GiB with"
            f" {section.context_tokens:,} tokens of context",
            hint=f"{more}; distill shard {section.model} --gpus {cluster.gpus}x{gib:g}GB says why",
        )
    return Serving(
        section.model,
        facts.model_type,
        plans[0].layout,
        section.context_tokens,
        port,
        cluster.node_gpus,
        section.arguments,
    )


def cluster_of(section: EngineSection) -> Cluster:
    """The GPUs of one replica: those that the recipe names, or its share of those found here.

    Raises:
        ModelError: If there are none.
        RecipeError: If `gpus` cannot be read.
    """
    if section.gpus is not None:
        return read_gpus(section.gpus)
    found = _found_gpus()
    if len(found) < section.replicas:
        raise ModelError(
            f"{len(found)} GPUs were found here; {section.replicas} servers need one each",
            hint="say which there are (teacher.gpus), join servers (teacher.join), or give a"
            " command of your own (teacher.command)",
        )
    return Cluster(len(found) // section.replicas, min(found))


def _found_gpus() -> list[int]:
    """Memory of each GPU of this machine, as its driver says; empty if there is none."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        shown = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return [int(line) * _MIB for line in shown.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def _launch(section: EngineSection, command: list[str], environment: dict[str, str]) -> Launch:
    handle, name = tempfile.mkstemp(prefix="distill-engine-", suffix=".log")
    os.close(handle)
    return Launch(
        command, environment, Path(name), Path(name), section.ready_seconds, section.restarts
    )


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word

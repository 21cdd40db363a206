"""The command lines that start vLLM or SGLang with the layout that a shard plan found.

vLLM spreads experts over tensor x data parallel ranks; SGLang counts all devices as ``--tp-size``
and divides attention among them with ``--dp-size``. A replica on several nodes gets one line each.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from teachers.shard_plan import Layout

Engine = Literal["vllm", "sglang"]

_PARSERS: Final = {
    "deepseek_v3": {"vllm": "deepseek_r1", "sglang": "deepseek-r1"},
    "qwen3_moe": {"vllm": "qwen3", "sglang": "qwen3"},
    "qwen3": {"vllm": "qwen3", "sglang": "qwen3"},
}
HEAD: Final = "HEAD_ADDRESS"
"""Stands for the first node's address where several nodes serve one replica."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server is started with.

    Attributes:
        model: Folder or name on the Hub.
        model_type: Says how its reasoning is written; empty if unknown.
        layout: How it is cut.
        context_tokens: Prompt and answer of one sequence.
        port: On 127.0.0.1; on all addresses of several nodes.
        node_gpus: GPUs of one node.
        arguments: Further ones.
    """

    model: str
    model_type: str
    layout: Layout
    context_tokens: int
    port: int
    node_gpus: int = 8
    arguments: Sequence[str] = ()

    @property
    def nodes(self) -> int:
        """Machines that one replica needs."""
        return math.ceil(self.layout.gpus / self.node_gpus)


def commands(engine: Engine, serving: Serving) -> list[list[str]]:
    """The command of each node, the first node's first."""
    make = _vllm if engine == "vllm" else _sglang
    return [
        [*make(serving, node), *_parser(engine, serving), *serving.arguments]
        for node in range(serving.nodes)
    ]


def shown(command: Sequence[str]) -> str:
    """A command line that a shell takes as it is, one option a line."""
    lines: list[str] = []
    for word in command:
        if word.startswith("--") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n  ".join(lines)


def _vllm(serving: Serving, node: int) -> list[str]:
    layout, nodes = serving.layout, serving.nodes
    given = ["vllm", "serve", serving.model]
    given += _sizes(
        ("--tensor-parallel-size", layout.tensor), ("--data-parallel-size", layout.data)
    )
    given += _sizes(("--pipeline-parallel-size", layout.pipeline))
    given += ["--enable-expert-parallel"] if layout.expert > 1 else []
    given += ["--max-model-len", str(serving.context_tokens)]
    if nodes == 1:
        return [*given, "--host", "127.0.0.1", "--port", str(serving.port)]
    if layout.data % nodes == 0:
        local = layout.data // nodes
        given += ["--data-parallel-size-local", str(local)]
        given += ["--data-parallel-address", HEAD, "--data-parallel-rpc-port", "13345"]
        if node:
            return [*given, "--headless", "--data-parallel-start-rank", str(node * local)]
        return [*given, "--port", str(serving.port)]
    given += ["--nnodes", str(nodes), "--node-rank", str(node), "--master-addr", HEAD]
    return [*given, "--headless"] if node else [*given, "--port", str(serving.port)]


def _sglang(serving: Serving, node: int) -> list[str]:
    layout, nodes = serving.layout, serving.nodes
    given = ["python", "-m", "sglang.launch_server", "--model-path", serving.model]
    if layout.expert > 1:
        given += ["--tp-size", str(layout.tensor * layout.data)]
        given += _sizes(("--ep-size", layout.expert), ("--dp-size", layout.data))
        given += ["--enable-dp-attention"] if layout.data > 1 else []
    else:
        given += _sizes(("--tp-size", layout.tensor), ("--dp-size", layout.data))
    given += _sizes(("--pp-size", layout.pipeline))
    given += ["--context-length", str(serving.context_tokens)]
    if nodes == 1:
        return [*given, "--host", "127.0.0.1", "--port", str(serving.port)]
    given += ["--nnodes", str(nodes), "--node-rank", str(node)]
    return [*given, "--dist-init-addr", f"{HEAD}:5000", "--port", str(serving.port)]


def _sizes(*options: tuple[str, int]) -> list[str]:
    """Options of a size, left out where it is 1."""
    return [word for name, size in options if size > 1 for word in (name, str(size))]


def _parser(engine: Engine, serving: Serving) -> list[str]:
    """What puts reasoning into a field of its own."""
    if "--reasoning-parser" in serving.arguments:
        return []
    name = _PARSERS.get(serving.model_type, {}).get(engine)
    return ["--reasoning-parser", name] if name else []

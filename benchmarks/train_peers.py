r"""Training speed and memory beside TRL and LLaMA-Factory, each in an environment of its own.

    python benchmarks/train_peers.py build/peers                        # 32,000 words
    python benchmarks/train_peers.py build/peers --vocabulary 152000 --tokens 4000

The same documents, the same small model (4 layers, width 256), rows of 2,048 tokens, one row a
step, AdamW in fp32, one thread. Environments are made in the folder that is named, once; each run
is a process of its own. Timed are the training steps alone, in CPU-seconds; useful tokens are
those of documents, without padding. Medians; the runs of all peers take turns. Peers run as they
come and, where they recompute activations by default, without that too. ``--runs FILE`` keeps each
run's figures, so that a measurement can be made in pieces: the same command goes on.

Expected before the first run, from a measurement of older versions on other documents: 4.8 times
TRL and 2.3 times LLaMA-Factory at 32,000 words, 2.9 times TRL at 152,000; 0.37 of TRL's memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import results_file

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(__file__).parent / "train_peers"
TORCH = "torch==2.13.0"
_LOSS_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Peer:
    """One of those that are compared.

    Attributes:
        script: In ``train_peers/``.
        needs: What pip installs; empty for the environment of this process.
        flags: Of the script.
        useless: Packages that it does without here: they are built for another torch.
        empty: Those of them that it imports whatever the data are; an empty one does for text.
    """

    script: str
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    useless: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


_TRL = Peer("run_trl.py", (TORCH, "trl==1.16.0"))
_FACTORY = Peer(
    "run_llama_factory.py",
    (TORCH, "llamafactory==0.9.5"),
    useless=("torchvision", "torchaudio"),
    empty=("torchaudio",),
)
_KEPT = ("--keep-activations",)
PEERS = {
    "ours": Peer("run_ours.py"),
    "TRL": _TRL,
    "TRL, activations kept": replace(_TRL, flags=_KEPT),
    "LLaMA-Factory": _FACTORY,
    "LLaMA-Factory, activations kept": replace(_FACTORY, flags=_KEPT),
}


def interpreter(peer: Peer, environments: Path) -> Path:
    """Python of a peer's environment, which is made if it is not there."""
    if not peer.needs:
        return Path(sys.executable)
    folder = environments / Path(peer.script).stem.removeprefix("run_")
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"making {folder} (some minutes)")
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *peer.needs], check=True)
        for package in peer.useless:
            subprocess.run([*pip, "uninstall", "--yes", package], check=True)
        for package in peer.empty:
            (_site(folder) / package).mkdir()
            (_site(folder) / package / "__init__.py").touch()
        done.touch()
    return python


def _site(folder: Path) -> Path:
    return next((folder / "lib").glob("python3*/site-packages"))


def measure(peer: Peer, python: Path, folder: Path) -> dict[str, Any]:
    """One run in a process of its own, in an empty folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(SCRIPTS) if peer.needs else f"{ROOT}{os.pathsep}{SCRIPTS}"
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [python, SCRIPTS / peer.script, folder, *peer.flags],
            env=environment,
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise SystemExit(f"{peer.script} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("FIGURES "))
    return found


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of an environment."""
    code = (
        "import sys, json, importlib.metadata as m;"
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python, "-c", code, *packages], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def loss_part(vocabulary: int, positions: int) -> dict[str, float]:
    """CPU-seconds of the loss with its gradients: ours, and cross entropy of the full logits."""
    import torch
    from torch.nn.functional import cross_entropy

    from students.loss import supervised_loss

    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden_S_D = torch.randn(positions, 256, requires_grad=True)
    head_V_D = (torch.randn(vocabulary, 256) * 0.02).requires_grad_()
    targets_S = torch.randint(0, vocabulary, (positions,))
    weights_S = torch.full((positions,), 1 / positions)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: supervised_loss(hidden_S_D, head_V_D, targets_S, weights_S),
        "full logits": lambda: cross_entropy(hidden_S_D @ head_V_D.t(), targets_S),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_LOSS_REPEATS):
        for name, loss in ways.items():
            hidden_S_D.grad = head_V_D.grad = None
            started = time.process_time()
            loss().backward()  # type: ignore[no-untyped-call]
            seconds[name].append(time.process_time() - started)
    return {name: round(statistics.median(each), 3) for name, each in seconds.items()}


def read_runs(file: Path | None, peers: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Figures of the runs so far, of each peer that takes part."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    if file and file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            name, found = json.loads(line)
            if name in runs:
                runs[name].append(found)
    return runs


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians of one peer's runs."""
    speeds = [run["tokens"] / run["cpu_seconds"] for run in runs]
    return {
        "tokens_per_cpu_second": round(statistics.median(speeds), 1),
        "lowest": round(min(speeds), 1),
        "highest": round(max(speeds), 1),
        "system_share": round(statistics.median(_system_share(run) for run in runs), 3),
        "peak_mib": round(statistics.median(run["peak_bytes"] for run in runs) / 2**20),
        "training_mib": round(statistics.median(run["training_bytes"] for run in runs) / 2**20),
        "tokens": runs[0]["tokens"],
        "loss": round(runs[0]["loss"], 3),
        "runs": len(runs),
    }


def _system_share(run: dict[str, Any]) -> float:
    """Part of the CPU-seconds that went to the kernel, most of it for fresh memory."""
    return float(run["system_seconds"] / run["cpu_seconds"])


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tokens", type=int, default=6_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=Path, help="figures of each run; those there are are kept")
    parser.add_argument("--with", dest="names", nargs="*", choices=PEERS, default=[*PEERS])
    arguments = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(SCRIPTS)]
    from documents import write_all

    peers = {name: PEERS[name] for name in dict.fromkeys(["ours", *arguments.names])}
    pythons = {
        name: interpreter(peer, arguments.environments.resolve()) for name, peer in peers.items()
    }
    loss = loss_part(arguments.vocabulary, positions=800)
    print(f"the loss alone, CPU-seconds: {loss}")
    runs = read_runs(arguments.runs, peers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_all(folder, vocabulary=arguments.vocabulary, tokens=arguments.tokens)
        for repeat in range(arguments.repeats):
            for name, peer in peers.items():
                if len(runs[name]) > repeat:
                    continue
                found = measure(peer, pythons[name], folder)
                runs[name].append(found)
                if arguments.runs:
                    with arguments.runs.open("a", encoding="utf-8") as lines:
                        lines.write(f"{json.dumps([name, found])}\n")
                speed = found["tokens"] / found["cpu_seconds"]
                print(f"{repeat + 1}  {name:<32} {speed:8,.0f} tokens/CPU-s", flush=True)
    figures: dict[str, Any] = {name: summary(each) for name, each in runs.items()}
    counts = [figures[name]["tokens"] for name in peers]
    if max(counts) > 1.05 * min(counts):  # a tokenizer that reads the words otherwise
        raise SystemExit(f"not the same documents: {dict(zip(peers, counts, strict=True))}")
    for name in peers:
        ours = figures["ours"]
        figures[name]["ours_by_this_speed"] = round(
            ours["tokens_per_cpu_second"] / figures[name]["tokens_per_cpu_second"], 2
        )
        for key in ("peak_mib", "training_mib"):
            figures[name][f"ours_by_this_{key}"] = round(ours[key] / figures[name][key], 2)
        print(f"{name:<32} {figures[name]}")
    figures["loss alone, CPU-seconds"] = loss
    figures["peers"] = {
        name: versions(pythons[name], ("torch", "transformers", package))
        for name, package in (("TRL", "trl"), ("LLaMA-Factory", "llamafactory"))
        if name in peers
    }
    print(results_file.write(f"train_peers_{arguments.vocabulary // 1000}k", figures))


if __name__ == "__main__":
    main()

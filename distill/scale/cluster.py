"""``Cluster``: Ray on this machine, started for one command, or a cluster that runs already.

Ray of our own listens on the loopback address, sends no usage figures, has no dashboard, and ends
with us. A cluster that was joined is left as it was found.

This module knows Ray and machines, nothing of what is done on them.
"""

import importlib
import io
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from distill.closing import Closing
from distill.errors import ClusterError, MissingDependencyError, RecipeError

INSTALL_LINE: Final = "pip install 'distill-reasoning[ray]'"
_FORMS: Final = (
    "Write local for this machine, auto for the cluster that it belongs to, or an address:"
    " ray://HOST:10001 or HOST:6379."
)
_CLIENT_PORT: Final = 10001
_OBJECT_BYTES: Final = 100 << 20
"""Shared memory of a Ray of our own: work and results go through files."""
_ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Size:
    """What one worker gets.

    Attributes:
        workers: How many there are.
        cpus: Cores of each.
        gpus: GPUs of each, parts of one included.
    """

    workers: int
    cpus: float = 1
    gpus: float = 0


class Cluster(Closing):
    """Machines that workers can be started on.

    Attributes:
        ray: The library, connected.
        is_client: Whether this process is outside and reaches it through ``ray://``.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - a module
        own_folder: Path | None,
        *,
        is_client: bool = False,
    ) -> None:
        """Use `open`."""
        self.ray, self.is_client = ray, is_client
        self._closing = ExitStack()
        if own_folder is not None:
            self._closing.callback(shutil.rmtree, own_folder, ignore_errors=True)
        # Ray prints what becomes of workers on the standard output, which is for results.
        self._closing.enter_context(redirect_stdout(io.StringIO()))
        self._closing.callback(ray.shutdown)

    @classmethod
    def open(cls, on: str, *, workers: int | None = None) -> "Cluster":
        """Start or join Ray.

        Args:
            on: ``local``, ``auto``, or an address.
            workers: How many will be wanted, so that a Ray of our own has room for them.

        Raises:
            MissingDependencyError: If Ray is not installed.
            RecipeError: If ``on`` is none of the forms.
            ClusterError: If no cluster answers there.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters comes as an error
        is_own = on == "local"
        if is_own:
            _keep_to_ourselves()
        else:
            _refuse_unreachable(on)
        ray = _import_ray(on)
        folder = Path(tempfile.mkdtemp(prefix="distill-ray-")) if is_own else None
        given: dict[str, Any] = {"address": on, "log_to_driver": False, "logging_level": "ERROR"}
        if is_own:
            given |= {
                "num_cpus": max(os.cpu_count() or 1, workers or 1),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_BYTES,
                "_temp_dir": str(folder),
            }
        elif on.startswith("ray://"):
            del given["log_to_driver"]
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**given)
        except ImportError as error:
            raise _missing(on, error) from None
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(on, str(error).strip().split("\n")[0]) from None
        finally:
            _restore(on_sigterm)
        return cls(ray, folder, is_client=on.startswith("ray://"))

    def size(self, workers: int | None, *, is_heavy: bool) -> Size:
        """How many workers there can be, and what each gets.

        Args:
            workers: What the user wants; ``None`` for as many as there are cores, or machines.
            is_heavy: Whether a worker holds a model: then one machine each, with all that it has.
        """
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cpus = min(int(one.get("CPU", 0)) for one in machines) or 1
        if not is_heavy:
            total = sum(int(one.get("CPU", 0)) for one in machines)
            return Size(workers or max(total, 1))
        count = workers or len(machines)
        each = -(-count // len(machines))
        gpus = min(one.get("GPU", 0) for one in machines) / each
        return Size(count, max(cpus // each, 1), gpus if gpus < 1 else int(gpus))

    def start(
        self, make: Callable[..., Any], *given: object, size: Size, on_head: bool = False
    ) -> Any:  # noqa: ANN401
        """Start a process that holds an object; returns its handle."""
        options: dict[str, Any] = {"num_cpus": size.cpus, "num_gpus": size.gpus, "max_restarts": 0}
        if on_head:  # without that machine there is no cluster
            options["resources"] = {"node:__internal_head__": 0.001}
        held = self.ray.remote(**options)(make)
        return held.options(scheduling_strategy="SPREAD").remote(*given)

    def close(self) -> None:
        """End a Ray of our own, or leave the cluster; a second call does nothing."""
        self._closing.close()


def _keep_to_ourselves() -> None:
    """Ray listens on the loopback address alone, and to those alone who know a word of this run.

    Left to itself it listens on all addresses and leaves a token in the user's home.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def ask(method: Any, *given: object, **named: object) -> Any:  # noqa: ANN401 - whatever it gives
    """Call a method of a process that `Cluster.start` has started, and wait for what it gives.

    Raises:
        ClusterError: If that process went down.
    """
    ray = importlib.import_module("ray")
    try:
        return ray.get(method.remote(*given, **named))
    except ray.exceptions.RayActorError:
        raise ClusterError(
            "the process that keeps the run's account went down, or its machine did",
            hint="The same command goes on from what is stored.",
        ) from None


def _import_ray(on: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise _missing(on, error) from None


def _missing(on: str, error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        f"--on {on} needs Ray, and {error.name or 'a part of it'} is not installed here",
        hint=f"{INSTALL_LINE}   (here and on every machine of the cluster, the same version)",
    )


def _refuse_unreachable(on: str) -> None:
    """Knock first: Ray itself takes minutes to give up, and then says it in a stack of lines."""
    if on == "auto":
        return
    parts = urlsplit(on if "://" in on else f"//{on}")
    try:
        host, port = parts.hostname, parts.port or (_CLIENT_PORT if parts.scheme else None)
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("", "ray") or not host or port is None:
        raise RecipeError(f"--on {on}: this is no place to work on", hint=_FORMS)
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise _unreachable(on, error.strerror or str(error)) from None


def _unreachable(on: str, why: str) -> ClusterError:
    return ClusterError(
        f"--on {on}: no Ray cluster answers there: {why}",
        hint="Start one: ray start --head --port=6379"
        "   and on each further machine: ray start --address=HOST:6379\n"
        f"If it asks for a token: export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=...\n{_FORMS}",
    )


def _restore(on_sigterm: Any) -> None:  # noqa: ANN401 - whatever signal.getsignal gives
    """Ray sets a handler of its own; how the process ends is not its business."""
    try:
        signal.signal(signal.SIGTERM, on_sigterm)
    except ValueError:  # not the main thread: Ray has set none either
        return

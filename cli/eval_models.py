"""Which model ``distill eval MODEL`` means, and opening it as something that completes prompts.

A folder or file is looked for first; what is none may be a model of a known endpoint, or one of the
Hub.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cli.backends import opened_vllm
from cli.console import note
from distill.errors import ModelError, RecipeError
from distill.recipe import AnyTeacher, ApiTeacher, EmbeddedTeacher, Recipe
from distill.types import Completer

if TYPE_CHECKING:
    from students.serve.choosing import BackendChoice

Kind = Literal["folder", "adapter", "gguf", "teacher"]

GGUF_SLOTS: Final = 4
_SERVER_LOG: Final = "server-1.log"
PROMPT_TOKENS: Final = 4096
"""Room for a prompt beside the answer."""
_ALLOWED: Final = (
    "A model is: a student's or base's folder, an adapter's folder, a .gguf file, a run folder or a"
    " recipe (--who says which of its models), OWNER/NAME on the Hub, or ENDPOINT/MODEL such as"
    " deepseek/deepseek-flash (`distill teachers` lists endpoints; --base-url names another one)."
)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What the user named, found and not loaded yet.

    Attributes:
        kind: How it is loaded.
        who: Names it in the folder of the evaluation.
        label: Names that folder.
        path: Of a folder or file.
        teacher: Section of a teacher; the embedded one where nothing is billed.
        base: Of an adapter, if the user named it.
    """

    kind: Kind
    who: str
    label: str
    path: Path | None = None
    teacher: AnyTeacher = field(default_factory=EmbeddedTeacher)
    base: Path | None = None


def find_model(
    reference: str,
    *,
    who: str | None = None,
    base: Path | None = None,
    base_url: str | None = None,
    settings: Sequence[str] = (),
) -> ModelChoice:
    """What a reference means.

    Args:
        reference: As the user typed it.
        who: Which model of a run or recipe; the student unless given.
        base: Where the base of an adapter is.
        base_url: Where an endpoint is.
        settings: ``key=value`` of an endpoint, as ``[teacher]`` of a recipe has them.

    Raises:
        DistillError: If there is no such model, or an option does not go with it.
    """
    path = Path(reference)
    is_run = (path / "manifest.json").is_file()
    is_recipe = path.suffix == ".toml" and path.is_file()
    if who is not None and not (is_run or is_recipe):
        raise RecipeError("--who goes with a run folder or a recipe, which have several models")
    if base_url is None and not settings:
        if is_run or is_recipe:
            return _of_run(path, who or "student", is_recipe=is_recipe)
        if path.exists():
            return _local(path, base)
    elif path.exists():
        raise RecipeError("--base-url and --set go with a model behind an endpoint, not a folder")
    return _endpoint(reference, base_url, settings)


@contextmanager
def opened(
    choice: ModelChoice,
    backend: "BackendChoice | None",
    *,
    batch_size: int,
    max_tokens: int,
    logs: Path | None = None,
) -> Iterator[Completer]:
    """Load the model, or start what serves it, until the block ends.

    Args:
        choice: The model.
        backend: Who draws, of a model on this machine.
        batch_size: Completions that are drawn at once.
        max_tokens: New tokens of a completion at most.
        logs: Folder that keeps the log of a server or process that is started and fails.

    Raises:
        DistillError: If it cannot be loaded or reached.
    """
    log = None if logs is None else logs / _SERVER_LOG
    if backend is not None and backend.name == "vllm":
        context = max_tokens + PROMPT_TOKENS
        with opened_vllm(
            choice,
            backend,
            rows=batch_size,
            context_tokens=context,
            max_tokens=max_tokens,
            kept_log=log,
        ) as completer:
            yield completer
    elif choice.kind == "gguf":
        with _served(choice, max_tokens, log) as completer:
            yield completer
    elif choice.kind == "teacher":
        yield _build_teacher(choice, batch_size, logs)
    else:
        yield _LOADERS[choice.kind](choice, batch_size)


def _of_run(path: Path, who: str, *, is_recipe: bool) -> ModelChoice:
    from distill.layout import RunLayout
    from distill.overrides import load_recipe
    from distill.stored_run import read_run
    from students.base import base_folder

    recipe: Recipe = load_recipe(path) if is_recipe else read_run(path).recipe
    folder = Path("runs") / recipe.name if is_recipe else path
    label = f"{_slug(folder.resolve().name)}-{who}"
    paths = RunLayout(folder)
    if who == "teacher":
        if recipe.teacher is None:
            raise RecipeError(f"{path}: this recipe has no teacher")
        return ModelChoice("teacher", who, label, teacher=recipe.teacher)
    if who == "base":
        return ModelChoice("folder", who, label, base_folder(recipe.student, paths.base))
    model = paths.model(who)
    if not model.is_dir():
        raise ModelError(
            f"{folder}: there is no {who} yet",
            hint=f"first: distill run {path}\nor another of its models: --who base, --who teacher",
        )
    return ModelChoice("folder", who, label, model)


def _local(path: Path, base: Path | None) -> ModelChoice:
    from students.adapted import is_adapter

    name = _slug(path.resolve().name.removesuffix(".gguf"))
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path}: this file is no model", hint=_ALLOWED)
        return ModelChoice("gguf", name, name, path)
    if is_adapter(path):
        return ModelChoice("adapter", name, name, path, base=base)
    if base is not None:
        raise RecipeError(f"--base goes with an adapter, and {path} is none")
    return ModelChoice("folder", name, name, path)


def _endpoint(reference: str, base_url: str | None, settings: Sequence[str]) -> ModelChoice:
    from distill.teacher_sections import read_teacher
    from teachers.catalog import catalog

    endpoint, slash, model = reference.partition("/")
    if endpoint in catalog() and slash and model:
        table: dict[str, Any] = {"kind": "api", "endpoint": endpoint, "model": model}
    elif base_url is not None:
        table = {"kind": "api", "model": reference}
    elif _is_on_hub(reference):
        from students.base import named_folder

        name = _slug(reference.rpartition("/")[2])
        return ModelChoice("folder", name, name, named_folder(reference))
    else:
        raise ModelError(f"there is no model '{reference}' here", hint=_ALLOWED)
    if base_url is not None:
        table["base_url"] = base_url
    for setting in settings:
        key, value = _parsed(setting)
        table[key] = value
    section = read_teacher(table, "the model")
    name = _slug(str(table["model"]).rpartition("/")[2])
    return ModelChoice("teacher", name, name, teacher=section)


def _is_on_hub(reference: str) -> bool:
    """Whether a name that is no path can be one on the Hub: known, or ``OWNER/NAME``."""
    from students.catalog import known_student

    is_full = reference.count("/") == 1 and not Path(reference).parent.is_dir()
    return is_full or known_student(reference) is not None


def _parsed(setting: str) -> tuple[str, object]:
    import tomllib

    key, equals, text = setting.partition("=")
    if not equals:
        raise RecipeError(f"--set {setting}: write KEY=VALUE such as concurrency=8")
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    return key.strip().removeprefix("teacher."), value


def _load_folder(choice: ModelChoice, batch_size: int) -> Completer:
    import students

    assert choice.path is not None
    return students.build(choice.path, batch_size=batch_size, name=choice.who)


def _load_adapter(choice: ModelChoice, batch_size: int) -> Completer:
    from students.adapted import build_adapted

    assert choice.path is not None
    return build_adapted(choice.path, base=choice.base, batch_size=batch_size, name=choice.who)


def _build_teacher(choice: ModelChoice, batch_size: int, logs: Path | None) -> Completer:
    from teachers import build

    return build(
        choice.teacher,
        batch_size=batch_size,
        on_notice=lambda text: note(f"\n  {text}"),
        logs=logs,
    )


_LOADERS: dict[Kind, Callable[[ModelChoice, int], Completer]] = {
    "folder": _load_folder,
    "adapter": _load_adapter,
}


@contextmanager
def _served(choice: ModelChoice, max_tokens: int, kept_log: Path | None) -> Iterator[Completer]:
    """llama.cpp's server as a completer; what it answers depends on the file alone."""
    from distill.digest import sha256_file
    from students.llama_cpp import serving
    from teachers import build

    assert choice.path is not None
    context = max_tokens + PROMPT_TOKENS
    with serving(
        choice.path, context_tokens=context, slots=GGUF_SLOTS, kept_log=kept_log
    ) as server:
        section = ApiTeacher(
            endpoint="llama-cpp",
            model=choice.who,
            base_url=server.base_url,
            concurrency=GGUF_SLOTS,
            expects_reasoning=False,
            price={"input_usd": 0.0, "output_usd": 0.0},  # type: ignore[arg-type]
        )
        completer = build(section, batch_size=GGUF_SLOTS)
        completer.fingerprint = sha256_file(choice.path)[:16]
        completer.is_billed = False
        yield completer


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"

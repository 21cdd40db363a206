"""How recipes are read and overridden, and how every mistake is explained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from distill.errors import RecipeError
from distill.overrides import load_recipe
from distill.recipe import FilePrompts, Recipe

TINY = """
name = "tiny"

[teacher]
kind = "embedded"

[prompts]
kind = "embedded"
split = "train"
count = 3

[student]
kind = "embedded"

[eval.prompts]
kind = "embedded"
split = "eval"
count = 3
"""

Load = Callable[..., Recipe]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    def load_text(*overrides: str, more: str = "", text: str = TINY) -> Recipe:
        Path("tiny.toml").write_text(text + more)
        return load_recipe(Path("tiny.toml"), overrides)

    return load_text


def mistakes_of(error: RecipeError) -> list[str]:
    header, *lines = str(error).splitlines()
    assert header == "tiny.toml:"
    return [line.removeprefix("  ") for line in lines]


def test_defaults_fill_what_the_recipe_leaves_out(load: Load) -> None:
    recipe = load()
    assert (recipe.name, recipe.generate.samples, recipe.train.epochs) == ("tiny", 4, 3)


def test_overrides_are_toml_or_bare_words(load: Load) -> None:
    recipe = load(
        "train.learning_rate = 2e-5",
        "train.method=lora",
        "eval.controls=true",
        'prompts.kinds=["shop"]',
        "name='1st'",
        "train.lora={r = 4}",
        "train.lora.alpha=9",
    )
    assert recipe.train.learning_rate == 2e-5
    assert recipe.train.method == "lora"
    assert recipe.eval.controls
    assert recipe.prompts.model_dump()["kinds"] == ("shop",)
    assert recipe.name == "1st"
    assert (recipe.train.lora.r, recipe.train.lora.alpha) == (4, 9)


def test_the_last_override_of_a_key_counts(load: Load) -> None:
    assert load("seed=1", "seed=2").seed == 2


def test_a_new_kind_starts_its_table_anew_wherever_it_stands(load: Load) -> None:
    Path("mine.jsonl").write_text("{}")
    recipe = load("prompts.path=mine.jsonl", "prompts.kind=file")
    assert isinstance(recipe.prompts, FilePrompts)


def test_paths_start_at_the_recipe_or_at_the_current_folder_in_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "recipes").mkdir()
    (folder / "here").mkdir()
    for name in ("recipes/a.jsonl", "here/b.jsonl"):
        (folder / name).write_text("{}")
    text = TINY.replace(
        'kind = "embedded"\nsplit = "train"\ncount = 3', 'kind = "file"\npath = "a.jsonl"'
    )
    (folder / "recipes" / "tiny.toml").write_text(text)
    monkeypatch.chdir("here")
    path = Path("../recipes/tiny.toml")
    assert load_recipe(path).prompts == FilePrompts(path=folder / "recipes" / "a.jsonl")
    for override in ("prompts.path=b.jsonl", 'prompts={kind="file", path="b.jsonl"}'):
        assert load_recipe(path, [override]).prompts == FilePrompts(
            path=folder / "here" / "b.jsonl"
        )


def test_all_mistakes_are_named_at_once_each_with_what_is_allowed(load: Load) -> None:
    with pytest.raises(RecipeError) as found:
        load(
            more='[train]\nlearning_rat = 1\nmethod = "Full"\n[generate]\nsamples = "4"\n[trian]\n'
        )
    assert mistakes_of(found.value) == [
        "generate.samples: found '4'; must be a whole number, at least 1",
        "train.method: found 'Full'; must be one of 'full', 'lora', 'qlora'; did you mean 'full'?",
        "train.learning_rat: unknown key; did you mean 'learning_rate'?",
        "trian: unknown key; did you mean 'train'?",
    ]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        (
            "[filter]\nlearning_rate = 1",
            "filter.learning_rate: unknown key; did you mean 'train.learning_rate'?",
        ),
        (
            "[train.lora]\nzzz = 1",
            "train.lora.zzz: unknown key; known here: r, alpha, dropout, rslora, dora",
        ),
        (
            "[train.lora]\ndropout = 1",
            "train.lora.dropout: found 1; must be a number, at least 0 and below 1",
        ),
        ("[train]\nlora = 3", "train.lora: found 3; must be a table"),
        ("[eval]\ncontrols = 1", "eval.controls: found 1; must be true or false"),
        (
            '[eval]\nmodels = ["base", "studnet"]',
            (
                "eval.models[1]: found 'studnet'; must be one of 'base', 'student', 'teacher'"
                "; did you mean 'student'?"
            ),
        ),
        (
            "[generate]\nuntil_correct = 0",
            "generate.until_correct: found 0; must be a whole number, at least 1",
        ),
        (
            "[train]\nseq_len = 9\nbatch_tokens = 8",
            "train: batch_tokens = 8 is less than one row of seq_len = 9",
        ),
        (
            "[generate]\nsamples = 2026-01-01",
            "generate.samples: found datetime.date(2026, 1, 1); must be a whole number, at least 1",
        ),
    ],
)
def test_a_mistake_is_explained(load: Load, more: str, mistake: str) -> None:
    with pytest.raises(RecipeError) as found:
        load(more=more)
    assert mistakes_of(found.value) == [mistake]


@pytest.mark.parametrize(
    ("override", "mistake"),
    [
        ("train.learning_rat=2e-5", "unknown key; did you mean 'learning_rate'?"),
        ("train.epochs=many", "found 'many'; must be a whole number, at least 1"),
        ("train", "there is no '='; write --set train=VALUE"),
        ("train epochs=1", "'train epochs' is not a key; write one such as train.epochs"),
        ("=1", "'' is not a key; write one such as train.epochs"),
        ("name=", "there is no value after '='; for empty text write name='\"\"'"),
        (
            "prompts.kinds=[shop]",
            "the value [shop] is not valid TOML; text inside it needs double quotes",
        ),
        ("seed=1\nname='x'", "there is more than one value; use one --set for each key"),
        ("name.x=1", "'name' holds a value, not further keys"),
        (
            "teacher=embedded",
            (
                "found 'embedded'; must be a table with kind = one of 'embedded', 'replay', 'api',"
                " 'engine', 'local'"
            ),
        ),
        (
            "teacher.kind=remote",
            (
                "teacher.kind: found 'remote'; must be one of 'embedded', 'replay', 'api',"
                " 'engine', 'local'"
            ),
        ),
        ("train.lora={rr=1}", "train.lora.rr: unknown key; did you mean 'r'?"),
        ("teacher={kind='replay'}", "teacher.path: missing; must be a path in quotes"),
        (
            "prompts.levels=[2, 9]",
            "prompts.levels[1]: found 9; must be a whole number, at least 1 and at most 5",
        ),
    ],
)
def test_a_mistake_in_set_names_the_option(load: Load, override: str, mistake: str) -> None:
    with pytest.raises(RecipeError) as found:
        load(override)
    assert str(found.value) in (
        f"tiny.toml:\n  --set {override}: {mistake}",
        f"tiny.toml:\n  --set {override}: {mistake.partition(': ')[2]}",
    )


def test_a_file_that_is_not_there_is_found_before_anything_runs(load: Load, folder: Path) -> None:
    with pytest.raises(RecipeError) as found:
        load("prompts={kind='file', path='none.jsonl'}")
    assert f"prompts.path: there is no {folder / 'none.jsonl'}" in str(found.value)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("name = 'x'\nseed == 1\n", 2, "invalid value"),
        ("name = 'x'\n\n[teacher\n", 3, "expected ']'"),
        ("a = 1\na = 2\n", 2, "cannot overwrite a value"),
        ("a = [1,\n", 2, "invalid value"),
    ],
)
def test_a_syntax_error_has_file_and_line(load: Load, text: str, line: int, problem: str) -> None:
    with pytest.raises(RecipeError) as found:
        load(text=text)
    assert str(found.value).startswith(f"tiny.toml:{line}: not valid TOML: {problem}")


def test_an_endless_number_is_a_syntax_error_too(load: Load) -> None:
    with pytest.raises(RecipeError, match=r"tiny\.toml: not valid TOML"):
        load(text=f"seed = {'9' * 5000}")


def test_a_byte_order_mark_is_read_over(load: Load) -> None:
    assert load(text=f"\ufeff{TINY}").name == "tiny"


def test_a_file_that_is_not_text_is_refused(folder: Path) -> None:
    Path("x.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match=r"x\.toml: byte 8 is not UTF-8"):
        load_recipe(Path("x.toml"))


def test_a_missing_recipe_names_those_nearby_likeliest_first(folder: Path) -> None:
    Path("recipes").mkdir()
    for name in ("big", "quickstart", "other"):
        Path("recipes", f"{name}.toml").write_text("")
    with pytest.raises(RecipeError) as found:
        load_recipe(Path("quikstart.toml"))
    assert str(found.value) == (
        "quikstart.toml: there is no such recipe\n"
        "  Recipes nearby: recipes/quickstart.toml, recipes/big.toml, recipes/other.toml"
    )
    with pytest.raises(RecipeError, match=r"this is a folder\n.*recipes/big\.toml"):
        load_recipe(Path("recipes"))


def test_without_any_recipe_nearby_the_next_step_is_init(folder: Path) -> None:
    with pytest.raises(RecipeError, match="distill init"):
        load_recipe(Path("x.toml"))


def test_paths_in_a_list_start_at_the_current_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import REPOSITORY

    (tmp_path / "bench.jsonl").write_text('{"text": "?"}\n')
    monkeypatch.chdir(tmp_path)
    quickstart = REPOSITORY / "recipes" / "quickstart.toml"
    recipe = load_recipe(quickstart, ['filter.benchmarks=["bench.jsonl"]'])
    assert recipe.filter.benchmarks == (tmp_path / "bench.jsonl",)

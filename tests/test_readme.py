"""What the pages show is true: commands parse, shown output is printed, recipes load."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from cli.failures import EXIT_CODES
from cli.main import app, with_joined_name
from cli.recipe_text import toml_value
from distill.overrides import load_recipe
from tests.conftest import REPOSITORY, RunDistill

PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))]
RECIPES = sorted(REPOSITORY.glob("recipes/*.toml"))


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line for _, block in code_blocks(page) for line in block.splitlines()]
    return [match[1] for line in lines if (match := re.match(r"\$? ?(distill \w+.*)", line))]


def sessions(page: Path) -> list[tuple[str, str]]:
    """Commands that are shown with what they print."""
    blocks = [block for _, block in code_blocks(page) if block.startswith("$ distill")]
    return [tuple(block.removeprefix("$ ").split("\n", 1)) for block in blocks]  # type: ignore[misc]


@pytest.mark.parametrize(
    "command", [command for page in PAGES for command in commands(page)], ids=str
)
def test_a_shown_command_parses(command: str) -> None:
    group = typer.main.get_command(app)
    name, *arguments = with_joined_name(shlex.split(command, comments=True)[1:])
    assert hasattr(group, "commands")
    group.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(("command", "printed"), sessions(REPOSITORY / "README.md"))
def test_shown_output_is_what_is_printed(
    run_distill: RunDistill, command: str, printed: str
) -> None:
    shown = run_distill(*shlex.split(command)[1:], cwd=REPOSITORY)
    assert shown.stdout + shown.stderr == printed


def test_every_command_stands_in_the_readmes_table() -> None:
    names = r"^\| `distill ([a-z-]+(?: [a-z]+)?)[ `]"
    table = re.findall(names, PAGES[0].read_text(), re.MULTILINE)
    assert table == [info.name for info in app.registered_commands]


def test_the_exit_codes_of_the_guide_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (REPOSITORY / "docs/guide.md").read_text(), re.M)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_toml_in_the_guide_is_a_recipe_or_a_part_of_one(tmp_path: Path) -> None:
    blocks = [b for language, b in code_blocks(REPOSITORY / "docs/guide.md") if language == "toml"]
    whole = tomllib.loads(blocks[0])
    assert "name" in whole
    for block in blocks:
        path = tmp_path / "recipe.toml"
        part = tomllib.loads(block)
        sets = [f"{key}={toml_value(value)}" for key, value in part.items() if part is not whole]
        path.write_text(blocks[0])
        assert load_recipe(path, [] if part == whole else sets).name == whole["name"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_shipped_recipe_loads_and_is_named_after_its_file(recipe: Path) -> None:
    assert load_recipe(recipe).name == recipe.stem


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_shipped_recipe_can_be_planned(run_distill: RunDistill, recipe: Path) -> None:
    shown = run_distill("run", recipe, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"runs/{recipe.stem} (new)\n")

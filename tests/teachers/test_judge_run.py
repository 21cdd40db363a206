"""A judging model is asked through the same loop and journal as any teacher."""

from pathlib import Path

import pytest

from tests.conftest import RunDistill
from tests.servers.running import running_stub
from tests.servers.settings import Settings
from tests.teachers.test_api import generate, lines_of


def test_a_model_judges_where_there_is_no_gold_answer(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    """The stub answers the judge's questions too: with a number in the box, so it does not say."""
    with running_stub(Settings()) as server:
        judge = f'{{kind = "api", model = "stub", base_url = "{server.base_url}"}}'
        options = ["--set", "verify.kind=judge", "--set", f"verify.options.teacher={judge}"]
        options += ["--set", "filter.correct=label"]
        shown = generate(run_distill, tmp_path, server.base_url, *options, count=12)
        assert shown.returncode == 0, shown.stderr
        recipe = tmp_path / "recipe.toml"
        shown = run_distill("filter", recipe, *options, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        paid = server.ledger()["counts"]["paid"]
    assert paid == 24
    findings = (tmp_path / "runs/asked/judge/findings.jsonl").read_text().splitlines()
    assert len(findings) == 13
    assert "the judge did not say" in findings[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["verify.kind=judge"], "no judge is named"),
        (["verify.kind=judge", 'verify.options.teacher={kind = "api"}'], "verify.options.teacher"),
        (
            [
                "verify.kind=judge",
                'verify.options.teacher={kind = "embedded"}',
                "generate.samples=2",
                "generate.until_correct=1",
            ],
            "a judge gives them in stage filter",
        ),
        (["verify.kind=juge"], "did you mean 'judge'?"),
    ],
)
def test_a_mistake_about_the_judge_is_named(
    options: list[str], words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    sets = [part for option in options for part in ("--set", option)]
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, *sets)
        if shown.returncode == 0:  # what only the filter asks for
            shown = run_distill("filter", tmp_path / "recipe.toml", *sets, cwd=tmp_path)
    assert shown.returncode == 2, shown.stderr
    assert words in lines_of(shown.stderr)


def test_a_budget_is_for_the_whole_run(run_distill: RunDistill, tmp_path: Path) -> None:
    with running_stub(Settings()) as server:
        price = "price = {input_usd = 0.0, output_usd = 1000.0}"
        teacher = ['model = "stub"', price]
        judge = f'{{kind = "api", model = "stub", base_url = "{server.base_url}", {price}}}'
        options = ["--set", "verify.kind=judge", "--set", f"verify.options.teacher={judge}"]
        shown = generate(
            run_distill, tmp_path, server.base_url, *options, count=10, teacher=teacher
        )
        assert shown.returncode == 0, shown.stderr  # some ten USD
        paid = server.ledger()["counts"]["paid"]
        recipe = tmp_path / "recipe.toml"
        shown = run_distill("filter", recipe, *options, "--budget-usd", "5", cwd=tmp_path)
        assert shown.returncode == 10, shown.stderr
        assert "of 5 USD are spent" in shown.stderr
        assert server.ledger()["counts"]["paid"] == paid  # the generation has spent it


def test_a_password_in_an_address_is_never_stored(run_distill: RunDistill, tmp_path: Path) -> None:
    secret = 'teacher.override.base_url="https://me:s3cret@h/v1"'
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, "--set", secret)
    assert shown.returncode == 2
    assert "holds a user name or a password" in shown.stderr
    assert not (tmp_path / "runs").exists()

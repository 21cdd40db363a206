"""``distill train``."""

from cli.options import AsJson, Controls, DryRun, Overrides, RecipeFile, RestartFrom, RunFolder


def train(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune the student on the kept traces.

    Example: distill train recipes/quickstart.toml --set train.epochs=2
    """

"""``distill generate``."""

from cli.options import AsJson, Controls, DryRun, Overrides, RecipeFile, RestartFrom, RunFolder


def generate(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sample the teacher on every prompt; verify each trace as it comes.

    Example: distill generate recipes/quickstart.toml --set train.epochs=2
    """

"""``distill eval``."""

from cli.options import AsJson, Controls, DryRun, Overrides, RecipeFile, RestartFrom, RunFolder


def eval_stage(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put base, student and teacher on held-out problems.

    Example: distill eval recipes/quickstart.toml --set train.epochs=2
    """

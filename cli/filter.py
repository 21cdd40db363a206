"""``distill filter``."""

from cli.options import AsJson, Controls, DryRun, Overrides, RecipeFile, RestartFrom, RunFolder


def filter_stage(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Keep the traces that are right and whole; every drop has its reason.

    Example: distill filter recipes/quickstart.toml --set train.epochs=2
    """

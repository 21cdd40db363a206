"""``distill run``."""

from cli.options import AsJson, Controls, DryRun, Overrides, RecipeFile, RestartFrom, RunFolder


def run(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    controls: Controls = False,
    restart_from: RestartFrom = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Do the whole job: generate, filter, train, eval.

    Example: distill run recipes/quickstart.toml --set train.epochs=2
    """

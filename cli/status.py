def status() -> None:
    """Show where a run stands, its figures, and the command that comes next."""

def chat() -> None:
    """Talk to a student in the terminal."""

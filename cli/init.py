def init() -> None:
    """Write a commented recipe for a teacher and a student."""

"""Who writes the traces: ``build`` makes the teacher that a recipe names.

What a teacher needs is imported when that teacher is built, so a replay never waits for torch.
"""

from distill.recipe import EmbeddedTeacher, ReplayTeacher
from distill.types import Completer


def build(section: EmbeddedTeacher | ReplayTeacher, *, batch_size: int) -> Completer:
    """Make a teacher ready to complete prompts.

    Args:
        section: The recipe's choice.
        batch_size: Completions that are decoded at once by a local model.

    Raises:
        DataError: If a recording is missing or broken.
        ModelError: If a model is missing or broken.
    """
    if isinstance(section, ReplayTeacher):
        from teachers import replay

        return replay.ReplayTeacher(section.path)
    from teachers import embedded

    return embedded.load(batch_size=batch_size)

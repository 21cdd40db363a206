"""The small dense models: from kept traces to token ids to a model that one can talk to."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.types import Completer

# When peft imports it, bitsandbytes says on stderr that it lacks a faster kernel. It works without.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def build(folder: Path, *, batch_size: int, name: str | None = None) -> "Completer":
    """Load a base or a trained student as something that completes prompts.

    Args:
        folder: A model folder.
        batch_size: Completions that are decoded at once.
        name: What traces call the model; by default the folder's name.

    Raises:
        ModelError: If the folder is not a whole model, or has no chat template.
    """
    # Loaded here: whoever needs one module of this package does not wait for the others.
    from engine.completer import LocalCompleter
    from engine.folder import folder_fingerprint
    from students.load import load_student

    loaded = load_student(folder)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=name or folder.name,
        fingerprint=folder_fingerprint(folder),
        batch_size=batch_size,
    )

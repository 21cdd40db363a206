"""The teacher that ships with the package: see README.md beside this file for how it was made."""

from pathlib import Path

import torch

from distill.types import Completer
from engine.completer import LocalCompleter
from engine.folder import folder_fingerprint, load_folder

FOLDER = Path(__file__).parent


def load(*, batch_size: int) -> Completer:
    """Load the embedded teacher, on the GPU if there is one.

    Args:
        batch_size: Completions that are decoded at once.

    Raises:
        ModelError: If the package was installed without its weights.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_folder(FOLDER, device=device)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name="embedded-teacher",
        fingerprint=folder_fingerprint(FOLDER),
        batch_size=batch_size,
    )

"""Loading one tensor at a time: the same model, and nothing left switched."""

import os
from pathlib import Path

import pytest

from engine.lean_loading import lean_loading

SWITCH = "HF_DEACTIVATE_ASYNC_LOAD"


def test_it_is_switched_on_while_loading_and_off_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)

    def load() -> None:
        with lean_loading():
            assert os.environ[SWITCH] == "1"
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        load()
    assert SWITCH not in os.environ


def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    with lean_loading():
        assert os.environ[SWITCH] == "0"
    assert os.environ[SWITCH] == "0"


def test_transformers_still_knows_the_switch() -> None:
    """A new version without it would read everything ahead again."""
    from transformers import core_model_loading

    assert SWITCH in Path(core_model_loading.__file__).read_text(encoding="utf-8")

import resource
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from distill.errors import StorageError
from students.durable import remove_leftovers, whole_folder


def test_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "student"
    with whole_folder(target) as writing:
        (writing / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["student"]


def test_folder_that_was_there_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "student"
    target.mkdir()
    (target / "old").write_text("old")
    with whole_folder(target) as writing:
        (writing / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]


def test_failure_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "student"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ValueError, match="broken"), whole_folder(target):
        raise ValueError("broken")
    assert (target / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left"), whole_folder(tmp_path / "student"):
        raise OSError(28, "No space left on device")


def test_refusal_of_the_disk_that_the_library_of_the_weights_words_is_a_storage_error(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(StorageError, match="student: cannot be written: File too large"):  # noqa: SIM117
            with whole_folder(tmp_path / "student") as folder:
                save_file({"weight": torch.zeros(10_000)}, folder / "model.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_weights_that_the_library_refuses_for_other_reasons_are_no_storage_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(SafetensorError), whole_folder(tmp_path / "student"):
        raise SafetensorError("Error while serializing: invalid dtype")


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    generator = whole_folder(tmp_path / "student")
    generator.__enter__()
    assert list(tmp_path.iterdir())
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())

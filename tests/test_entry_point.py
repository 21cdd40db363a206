import sys
from pathlib import Path

import pytest

import distill.__main__
from distill.__main__ import PACKAGES, ROOT, find_shadows
from tests.conftest import RunDistill


def make_package(folder: Path, name: str) -> Path:
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('a stranger was loaded')\n")
    return package


def test_nothing_is_shadowed_here() -> None:
    assert find_shadows() == []
    assert all((ROOT / package).is_dir() for package in PACKAGES)


@pytest.mark.parametrize("name", ["cli", "engine", "students", "teachers"])
def test_a_folder_on_the_path_that_shadows_a_package_is_named(
    run_distill: RunDistill, tmp_path: Path, name: str
) -> None:
    stranger = make_package(tmp_path / "elsewhere", name)
    shown = run_distill("--version", env={"PYTHONPATH": str(stranger.parent)})
    assert shown.returncode == 8
    assert shown.stderr == (
        f"error: {stranger} shadows this project's package '{name}'; "
        f"take {stranger.parent} off PYTHONPATH, or start from another folder\n"
    )


def test_a_single_file_shadows_too(run_distill: RunDistill, tmp_path: Path) -> None:
    (tmp_path / "teachers.py").write_text("")
    shown = run_distill("--version")  # python -m puts the current folder first
    assert shown.returncode == 8
    assert f"{tmp_path / 'teachers.py'} shadows" in shown.stderr


def test_the_doctor_lists_a_shadow_among_its_findings(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    stranger = make_package(tmp_path / "elsewhere", "students")
    shown = run_distill("doctor", env={"PYTHONPATH": str(stranger.parent)})
    assert shown.returncode == 8
    assert "package students" in shown.stdout
    assert "python" in shown.stdout


def test_a_distribution_that_shadows_a_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_package(tmp_path, "teachers")
    info = tmp_path / "school-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: school\nVersion: 3.1\n")
    (info / "RECORD").write_text("teachers/__init__.py,,\nschool-3.1.dist-info/METADATA,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (shadow,) = find_shadows()
    assert "the distribution 'school'" in shadow.explain()
    assert "uninstall 'school'" in shadow.explain()


def test_a_package_that_is_missing_is_told_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    locate = distill.__main__._locate
    monkeypatch.setattr(
        distill.__main__, "_locate", lambda name: None if name == "engine" else locate(name)
    )
    (shadow,) = find_shadows()
    assert shadow.explain() == f"the package 'engine' is missing from {ROOT}; install again"

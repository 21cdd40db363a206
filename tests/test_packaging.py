import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

PACKAGES = ["cli", "distill", "engine", "students", "teachers"]
LARGEST_MODELS_BYTES = 20_000_000


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the build backend that is installed, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=repository)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == set(PACKAGES)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    # No network here: dependencies come from this environment. A folder that a .pth file names is
    # searched, but its own .pth files, such as the one to this checkout, are not followed.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)

    shown = run(environment / "bin" / "distill", "--help", cwd=tmp_path)
    assert "Usage: distill" in shown
    run(environment / "bin" / "distill", "init", cwd=tmp_path)
    assert (tmp_path / "recipe.toml").is_file()
    where = run(python, "-c", "import distill; print(distill.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(environment)


def test_the_embedded_models_are_small(repository: Path) -> None:
    folders = [repository / role / "embedded" for role in ("teachers", "students")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LARGEST_MODELS_BYTES

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = {"stream", "operators", "deploy"}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: a build leaves files beside its sources and picks up those of the last."""
    source = tmp_path_factory.mktemp("source")
    for entry in (*PACKAGES, "pyproject.toml", "README.md", *PROJECT["license-files"]):
        path = REPOSITORY / entry
        if path.is_dir():
            shutil.copytree(path, source / entry, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (built,) = folder.glob("*.whl")
    return built


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    described = {name for name in names if name.startswith(f"{PROJECT['name']}-{PROJECT['version']}.dist-info/")}
    assert {name.rsplit("/", 1)[1] for name in described} >= {"METADATA", "entry_points.txt", *PROJECT["license-files"]}
    assert {name.split("/")[0] for name in names - described} == PACKAGES
    assert {name for name in names if name.endswith(".py")} == _files("**/*.py")
    assert names >= _files("weights/**/*") | _files("py.typed")


def _files(pattern: str) -> set[str]:
    """Files of the three packages that match a pattern, as paths from the repository's root."""
    found = (path for package in PACKAGES for path in (REPOSITORY / package).glob(pattern) if path.is_file())
    return {path.relative_to(REPOSITORY).as_posix() for path in found}


def test_installed_wheel_gives_its_own_packages(wheel: Path, tmp_path: Path) -> None:
    _pip("install", "--quiet", "--no-index", "--no-deps", "--target", str(tmp_path), str(wheel))
    program = "import deploy, operators, stream; print(*(m.__file__ for m in (deploy, operators, stream)), sep='\\n')"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(line) for line in finished.stdout.split()] == [
        tmp_path / package / "__init__.py" for package in sorted(PACKAGES)
    ]


def test_no_other_distribution_owns_a_package_of_ours() -> None:
    owners = {
        (file.parts[0], distribution.metadata["Name"])
        for distribution in metadata.distributions()
        if canonicalize_name(distribution.metadata["Name"]) != PROJECT["name"]
        for file in distribution.files or ()
        if file.parts[0].removesuffix(".py") in PACKAGES
    }
    assert owners == set()


def test_no_stray_folder_shadows_a_package_of_ours() -> None:
    site = Path(sysconfig.get_path("purelib"))
    ours = metadata.packages_distributions()
    strays = [name for name in PACKAGES if (site / name).exists() and ours.get(name) != [PROJECT["name"]]]
    assert strays == []


def test_every_requirement_says_how_old_it_may_be() -> None:
    declared = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    requirements = [Requirement(line) for line in declared]
    without = [r.name for r in requirements if not any(s.operator in (">=", "==") for s in r.specifier)]
    assert without == []

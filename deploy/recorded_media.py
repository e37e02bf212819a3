"""Media in a recording: packets as the demuxer gave them, and a source that decodes them again exactly so."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

import av
import msgspec
import numpy as np
from av.packet import PacketSideData

from stream.errors import RecordingError
from stream.recording.reader import Recording
from stream.recording.schemas import MediaHead, MediaPacket
from stream.sources.facts import MediaFacts
from stream.sources.media import MediaSource

SKIP_SAMPLES = "skip_samples"
"""The one kind of side data that decoders of sound heed: how many samples prime them."""
_HEEDED = {SKIP_SAMPLES, "new_extradata", "palette", "param_change"}
"""Kinds without which a packet decodes to something else."""


def media_head(source: MediaSource) -> MediaHead | None:
    """What decodes a source's packets again; None where its codecs can't be written down, so that they are not recorded."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="nut") as container:
            tracks = [container.add_stream_from_template(track) for track in source.tracks]
            for track in tracks:  # without any packet the container can't be opened
                packet = av.Packet(bytes(64))
                packet.stream, packet.pts, packet.dts, packet.is_keyframe = track, 0, 0, True
                container.mux(packet)
    except (av.FFmpegError, ValueError):
        return None
    facts = source.facts
    if facts.video is not None:  # the container of the parameters does not hold it
        turned = msgspec.structs.replace(facts.video, quarter_turns=source.probe_quarter_turns())
        facts = msgspec.structs.replace(facts, video=turned)
    return MediaHead(
        streams=tuple(stream.name for stream in source.streams),
        facts=msgspec.to_builtins(facts),
        parameters=file.getvalue(),
    )


def packets_to(
    source: MediaSource, record: Callable[[MediaPacket, int], None], *, part: int = 0
) -> Callable[[av.Packet], None]:
    """A tap for `source` that hands over its packets, each with the position at which it was read."""
    numbers = {track.index: number for number, track in enumerate(source.tracks)}

    def tap(packet: av.Packet) -> None:
        side = {data.data_type: bytes(data) for data in packet.iter_sidedata() if data.data_type in _HEEDED}
        record(
            MediaPacket(
                track=numbers[packet.stream.index],
                pts=packet.pts,
                dts=packet.dts,
                duration=packet.duration or 0,
                key=packet.is_keyframe,
                data=bytes(packet) if packet.size else None,
                side=side,
                part=part,
            ),
            source.position_ns,
        )

    return tap


def recorded_source(recording: Recording) -> MediaSource:
    """The media of a recording's first connection as a source.

    Raises `RecordingError` where there are none, or they can't be decoded again.
    """
    head = recording.media_head
    if head is None:
        raise RecordingError("the recording", found="no media in it", expected="media", fix="replay it without --from-media")
    return source_of(head, (packet for packet in recording.media() if packet.part == 0))


def source_of(head: MediaHead, recorded: Iterator[MediaPacket]) -> MediaSource:
    """Recorded packets as a source. Raises `RecordingError` where they can't be decoded again."""
    facts, container = opened(head)
    return MediaSource.recorded(facts, container, _packets(recorded, container, facts))


def opened(head: MediaHead) -> tuple[MediaFacts, av.container.InputContainer]:
    """The facts, and a container with the tracks, of recorded media. Raises `RecordingError`."""
    try:
        facts = msgspec.convert(head.facts, MediaFacts)
        container = av.open(io.BytesIO(head.parameters), "r", format="nut")
    except (msgspec.ValidationError, av.FFmpegError) as error:
        raise RecordingError("recorded media", found=str(error), expected="tracks of this version") from error
    if len(container.streams) != len(head.streams):
        raise RecordingError("recorded media", found=f"{len(container.streams)} tracks", expected=len(head.streams))
    return facts, container


def _packets(packets: Iterator[MediaPacket], container: av.container.InputContainer, facts: MediaFacts) -> Iterator[av.Packet]:
    """The packets as the demuxer gave them."""
    bases = [base for base in (facts.video, facts.audio) if base is not None]
    for recorded in packets:
        if not 0 <= recorded.track < len(bases):
            raise RecordingError("a recorded packet", found=f"track {recorded.track}", expected=f"below {len(bases)}")
        yield as_packet(recorded, container.streams[recorded.track], bases[recorded.track].time_base)


def as_packet(recorded: MediaPacket, track: av.stream.Stream, time_base: Fraction) -> av.Packet:
    """One packet of a track. Raises `RecordingError` where it can't be made again."""
    packet = av.Packet(recorded.data)
    packet.stream, packet.time_base = track, time_base
    packet.pts, packet.dts, packet.duration = recorded.pts, recorded.dts, recorded.duration
    packet.is_keyframe = recorded.key
    for kind, data in recorded.side.items():
        if kind != SKIP_SAMPLES or len(data) != _skip_samples().data_size:
            raise RecordingError("recorded media", found=f"side data {kind}", expected=SKIP_SAMPLES, fix=_WITHOUT)
        side = _skip_samples()
        side.update(data)
        side.to_packet(packet)
    return packet


_WITHOUT = "this track can't be decoded again exactly; replay it without --from-media"


@cache
def _skip_samples() -> PacketSideData:
    """Side data of that kind, to be filled: PyAV makes it out of a packet alone, so one is encoded that has it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=16_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 16_000, 0
        container.mux([*track.encode(silence), *track.encode(None)])
    file.seek(0)
    with av.open(file, "r") as container:
        primed: av.Packet = next(packet for packet in container.demux(audio=0) if packet.has_sidedata("skip_samples"))
        return PacketSideData.from_packet(primed, "skip_samples")

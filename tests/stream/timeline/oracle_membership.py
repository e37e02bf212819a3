"""Oracle of docs/timeline.md section 4: which packets belong to a span, what they cover, what state a slice has."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from oracle_streams import View

from stream.timeline.packets import AudioChunk, Modality, Packet, SpeechActivity


def belongs(modality: Modality, packet: Packet, start: float, end: float) -> bool:
    """Whether a packet is a member of [start, end)."""
    if modality is Modality.AUDIO:
        return max(packet.start_ns, start) < min(packet.end_ns, end)
    instant = packet.start_ns
    if modality is Modality.TEXT:
        instant = (packet.start_ns + packet.end_ns) // 2
    return start <= instant < end


def counts(packet: Packet) -> bool:
    """Whether a packet holds something that was measured."""
    is_gap = (isinstance(packet, AudioChunk) and packet.filled) or (isinstance(packet, SpeechActivity) and packet.masked)
    return not is_gap


def coverage(modality: Modality, members: list[Packet], start: int, end: int, max_gap: int) -> Fraction:
    """Share of [start, end) that the members cover: the elementary spans between all edges, each tried by its middle."""
    reach = max_gap if modality is Modality.VIDEO else 0
    spans = [(p.start_ns - reach, (p.start_ns if reach else p.end_ns) + reach) for p in members if counts(p)]
    edges = sorted({start, end} | {edge for span in spans for edge in span if start < edge < end})
    pieces = [(a, z) for a, z in pairwise(edges) if any(s < (a + z) / 2 < e for s, e in spans)]
    return Fraction(sum(z - a for a, z in pieces), end - start)


def slice_state(view: View, members: list[Packet], end: int, status: str, reason: str) -> tuple[str, str | None]:
    """State and absence of a stream's slice in a revision."""
    behind = view.declared.modality is Modality.TEXT and not view.ended and view.bound < end
    if reason != "time-out" and behind and (status == "final" or not members):
        return "pending", None
    if any(map(counts, members)):
        return "present", None
    return "absent", view.absence

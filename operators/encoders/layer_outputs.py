"""Inner values of a packaged network as outputs: the list of outputs of a model in onnxruntime's own format (.ort) replaced.

The format is a FlatBuffer (https://flatbuffers.dev/internals/): a table's field holds the distance to what it means, so a
new list goes to the end of the file and one number is changed. onnxruntime reads such models as they are and has no call
that adds outputs; the values exist in the graph anyway, so that taking them out costs no computing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from stream.errors import ModelFolderError

_IDENTIFIER: Final = b"ORTM"
_MODEL, _GRAPH, _OUTPUTS = 1, 7, 6
"""Numbers of the fields in onnxruntime's schema: the session's model, the model's graph, the graph's outputs."""


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """The model with the values of these names as its outputs, in this order. Raises `ModelFolderError` for another format."""
    if model[4:8] != _IDENTIFIER:
        raise ModelFolderError("network", found="another format", expected="a model in onnxruntime's format (.ort)")
    table = _target(model, 0)
    for number in (_MODEL, _GRAPH):
        table = _target(model, _field(model, table, number))
    field = _field(model, table, _OUTPUTS)
    changed = bytearray(model)
    _pad(changed)
    start = len(changed)
    changed += struct.pack("<I", len(names)) + bytes(4 * len(names))
    for k, name in enumerate(names):
        _pad(changed)
        place = start + 4 + 4 * k
        struct.pack_into("<I", changed, place, len(changed) - place)
        text = name.encode()
        changed += struct.pack("<I", len(text)) + text + b"\0"
    struct.pack_into("<I", changed, field, start - field)
    return bytes(changed)


def _target(model: bytes, place: int) -> int:
    """What the distance at `place` points at."""
    distance: int = struct.unpack_from("<I", model, place)[0]
    return place + distance


def _field(model: bytes, table: int, number: int) -> int:
    """Where a table holds its field of this number, which must be there."""
    layout = table - struct.unpack_from("<i", model, table)[0]
    size = struct.unpack_from("<H", model, layout)[0]
    offset: int = struct.unpack_from("<H", model, layout + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
    if not offset:
        raise ModelFolderError("network", found=f"no field {number} in a table", expected="onnxruntime's format of a model")
    return table + offset


def _pad(data: bytearray) -> None:
    """FlatBuffers reads numbers of four bytes at multiples of four."""
    data += bytes(-len(data) % 4)

"""How every network on onnxruntime is run here: one thread, no arena."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from operators.encoders.layer_outputs import with_outputs
from stream.errors import ModelFolderError


def open_session(path: Path, outputs: Sequence[str] = ()) -> onnxruntime.InferenceSession:
    """A session on the CPU that computes in the calling thread alone; `run` may be called from several threads at once.

    `outputs` names inner values that a model in onnxruntime's own format gives in place of its outputs. Raises
    `ModelFolderError` when the file is no network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Inputs differ in length on every call: an arena keeps the largest of each for good, and was no faster.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        network = with_outputs(path.read_bytes(), outputs) if outputs else str(path)
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public root
        raise ModelFolderError(f"network {path}", found=str(error), fix="install its package anew") from error

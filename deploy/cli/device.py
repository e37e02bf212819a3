"""Where a command computes."""

from __future__ import annotations

from typing import Annotated

import typer

from stream.errors import SettingsError

DeviceOption = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 ...")]


def check_device(name: str) -> None:
    """Raises `SettingsError` where torch does not know the device, or there is none."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError("device", found=name, expected="cpu, cuda, cuda:1 ...") from error
    accelerator = torch.accelerator.current_accelerator()
    there = torch.accelerator.device_count() if accelerator is not None and accelerator.type == device.type else 0
    if name != "cpu" and (device.index or 0) >= there:
        found = f"{name}, of which torch sees {there}"
        raise SettingsError("device", found=found, expected="a GPU that is there", fix="--device cpu needs none")

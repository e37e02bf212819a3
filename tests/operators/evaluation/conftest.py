from __future__ import annotations

import pytest
import torch

from operators.model import AffectModel
from operators.model_folder import load_model


@pytest.fixture(scope="session")
def shipped() -> AffectModel:
    """The model that ships, as sessions compute it."""
    torch.set_num_threads(1)
    return load_model()

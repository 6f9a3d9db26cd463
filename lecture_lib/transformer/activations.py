"""Activations of the feed-forward network, by name, plain and gated.

Source: Hendrycks & Gimpel (2016) for GELU; Shazeer (2020) for the gated forms.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F


def quick_gelu(x: Tensor) -> Tensor:
    r"""Approximate GELU of (...) inputs by a sigmoid: $x\,\sigma(1.702\,x)$ (Hendrycks & Gimpel, 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}
GATED = {"reglu": "relu", "geglu": "gelu", "geglu_tanh": "gelu_tanh", "swiglu": "silu"}  # Shazeer (2020)

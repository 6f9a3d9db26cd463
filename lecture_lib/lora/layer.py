r"""One linear layer with a trainable update of low rank (lecture, "Fine Tuning with LoRA").

On the page rows are tokens and the layer is $X(W_0 + \frac{\alpha}{r}AB)$, A (D_in x r) and B (r x D_out).
torch and peft store weights transposed: `lora_A` is Aᵀ, `lora_B` is Bᵀ, and AB = (lora_B lora_A)ᵀ.

In the language of perturbation theory $W_0$ is the known operator and AB a perturbation of rank r with the
coupling $\alpha/r$. B = 0 at first: training begins exactly at the pre-trained model. By Eckart and Young no
matrix of rank r comes closer to a full update than its truncated singular value decomposition.

Axes: ... any batch axes, D_in and D_out widths of the layer, r rank.
Source: Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", eq. 3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRALinear(nn.Module):
    r"""A frozen linear layer and its update: $y = X W_0 + b + \frac{\alpha}{r}\, X A B$.

    The base may be any module that maps (..., D_in) to (..., D_out) linearly and says so by `in_features` and
    `out_features` (`nn.Linear`, a quantized layer), or the `Conv1D` of GPT-2 in transformers.
    """

    def __init__(
        self,
        base_layer: nn.Module,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        use_rslora: bool = False,
        generator: torch.Generator | None = None,
    ):
        r"""Freeze the base; A uniform within $\pm 1/\sqrt{D_{in}}$ as in peft, B zero, like the base's tensors.

        Args:
            base_layer: the layer to adapt.
            r: rank of the update, 1 to min(D_in, D_out).
            lora_alpha: strength of the update; the factor in front of it is lora_alpha / r.
            lora_dropout: probability with which an input of the update is dropped while training.
            use_rslora: the factor is lora_alpha / sqrt(r) instead (Kalajdzievski 2023).
            generator: draws A.

        Raises:
            ValueError: a layer that is not linear, or a rank, strength or probability out of range.
        """
        super().__init__()
        self.in_features, self.out_features = linear_shape(base_layer)
        check_rank(r, base_layer)
        check_strength(lora_alpha, lora_dropout)
        dtype, device = _dtype_and_device(base_layer)
        lora_A = torch.empty(
            r, self.in_features, dtype=dtype, device=generator.device if generator else device
        )
        nn.init.kaiming_uniform_(lora_A, a=math.sqrt(5), generator=generator)
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_alpha, self.lora_dropout, self.use_rslora = lora_alpha, lora_dropout, use_rslora
        self.set_matrices(lora_A.to(device), torch.zeros(self.out_features, r, dtype=dtype, device=device))
        self.train(base_layer.training)

    def set_matrices(self, lora_A: Tensor, lora_B: Tensor) -> None:
        """Replace both matrices, and with them the rank.

        Args:
            lora_A: (r, D_in) narrows the input to r numbers.
            lora_B: (D_out, r) widens them to the output.

        Raises:
            ValueError: shapes that fit neither each other nor the layer.
        """
        check_matrices(lora_A, lora_B, self.base_layer)
        self.lora_A = nn.Parameter(lora_A)
        # Stored column by column: every product of the backward pass then runs along the long axis, on a CPU
        # two to three times as fast as across it.
        self.lora_B = nn.Parameter(lora_B.t().contiguous().t())

    @property
    def r(self) -> int:
        """Rank of the update."""
        return len(self.lora_A)

    @property
    def scaling(self) -> float:
        """Factor in front of the update: lora_alpha / r, with `use_rslora` lora_alpha / sqrt(r)."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def weight(self) -> Tensor:
        """(D_out, D_in) weight and update in one; laid out as the base's, so (D_in, D_out) for `Conv1D`.

        So modules that read their layers' weights and never call them (`nn.MultiheadAttention`) are adapted.
        """
        W_0 = self.base_layer.weight
        wide = torch.promote_types(W_0.dtype, torch.float32)  # half precision: rounded once, at the end
        update = self.scaling * (self.lora_B.to(wide) @ self.lora_A.to(wide))
        return (W_0.to(wide) + (update.t() if _is_conv1d(self.base_layer) else update)).to(W_0.dtype)

    @property
    def bias(self) -> Tensor | None:
        """(D_out) bias of the base."""
        return self.base_layer.bias

    def forward(self, X: Tensor) -> Tensor:
        r"""Base plus update, $Y + \frac{\alpha}{r}\,(XA)B$, in that order: A B itself is never formed.

        Args:
            X: (..., D_in) inputs.

        Returns:
            (..., D_out) outputs in the dtype of the base's.
        """
        Y = self.base_layer(X)
        X = F.dropout(X, self.lora_dropout, self.training) if self.lora_dropout else X
        X_rows = X.reshape(-1, self.in_features).to(self.lora_A.dtype)  # (tokens, D_in)
        XA = (
            self.lora_A @ X_rows.t()
        ).t()  # (tokens, r); stored column by column for the same reason as lora_B
        Y_rows = Y.reshape(-1, self.out_features).to(XA.dtype)
        return torch.addmm(Y_rows, XA, self.lora_B.t(), alpha=self.scaling).view_as(Y).to(Y.dtype)

    def merge(self, reversible: bool = True) -> nn.Module:
        r"""Fold the update into the base, $W = W_0 + \frac{\alpha}{r}AB$, and return the plain layer.

        Args:
            reversible: the plain layer keeps W_0 and this layer for `unmerge`; the memory of one more weight.

        Returns:
            The base layer, which now gives the outputs of this one.

        Raises:
            ValueError: the base has no floating-point weight to add to.
        """
        check_mergeable(self.base_layer)
        base, W_0 = self.base_layer, self.base_layer.weight
        # A new parameter: a weight shared with another module (tied embeddings) must not change there.
        base.weight = nn.Parameter(self.weight.detach(), requires_grad=False)
        if reversible:
            # Not through setattr: the base is no parent of its LoRALinear.
            vars(base)["before_merge"] = (self, W_0)
        return base

    def extra_repr(self) -> str:
        """Rank and factor, as `print(model)` shows them."""
        return f"r={self.r}, scaling={self.scaling:g}"


def unmerge(base_layer: nn.Module) -> LoRALinear:
    """Undo `LoRALinear.merge`: the very weights of before, and the layer that was merged."""
    layer, W_0 = vars(base_layer).pop("before_merge")
    merged = base_layer.weight
    W_0.data = W_0.data.to(merged)  # the model may have moved meanwhile
    base_layer.weight = W_0
    return layer.to(merged.device).train(base_layer.training)


def is_merged(module: nn.Module) -> bool:
    """Whether the module is a plain layer that carries a merged update and can be unmerged."""
    return "before_merge" in vars(module)


def is_linear(module: nn.Module) -> bool:
    """Whether LoRA can adapt the module: it has `in_features` and `out_features`, or is GPT-2's `Conv1D`."""
    widths = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return _is_conv1d(module) or all(isinstance(width, int) and width > 0 for width in widths)


def linear_shape(module: nn.Module) -> tuple[int, int]:
    """(D_in, D_out) of a layer that LoRA can adapt; ValueError for any other module."""
    if not is_linear(module):
        raise ValueError(f"LoRA adapts linear layers only: got {type(module).__name__}")
    return tuple(module.weight.shape) if _is_conv1d(module) else (module.in_features, module.out_features)


def check_rank(r: int, base_layer: nn.Module, name: str = "the layer") -> None:
    """ValueError unless r is an integer from 1 to min(D_in, D_out)."""
    d_in, d_out = linear_shape(base_layer)
    if not isinstance(r, int) or not 1 <= r <= min(d_in, d_out):
        raise ValueError(
            f"rank r must be an integer from 1 to {min(d_in, d_out)}, the smaller width of {name} "
            f"({d_in} inputs, {d_out} outputs): got {r}"
        )


def check_strength(lora_alpha: float, lora_dropout: float) -> None:
    """ValueError unless lora_alpha is positive and finite and lora_dropout in [0, 1)."""
    if not (0 < lora_alpha < math.inf and 0 <= lora_dropout < 1):
        raise ValueError(
            "lora_alpha must be positive and lora_dropout in [0, 1): "
            f"got lora_alpha={lora_alpha}, lora_dropout={lora_dropout}"
        )


def check_matrices(lora_A: Tensor, lora_B: Tensor, base_layer: nn.Module) -> None:
    """ValueError unless lora_A is (r, D_in) and lora_B (D_out, r) for the widths of the layer."""
    d_in, d_out = linear_shape(base_layer)
    r = len(lora_A) if lora_A.ndim else 0
    if r == 0 or lora_A.shape != (r, d_in) or lora_B.shape != (d_out, r):
        raise ValueError(
            f"lora_A {tuple(lora_A.shape)} and lora_B {tuple(lora_B.shape)} do not fit a layer with "
            f"{d_in} inputs and {d_out} outputs"
        )


def check_mergeable(base_layer: nn.Module, name: str = "the layer") -> None:
    """ValueError unless the layer has a floating-point weight of its own to add the update to."""
    weight = base_layer._parameters.get("weight")
    if weight is None or not weight.is_floating_point() or weight.element_size() < 2:
        raise ValueError(
            f"{name} ({type(base_layer).__name__}) has no floating-point weight to merge into: "
            "merge before quantizing, or keep the adapter beside the quantized weights"
        )


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's `Conv1D` of transformers: a linear layer whose weight is stored (D_in, D_out)."""
    return type(module).__name__ == "Conv1D" and module.weight.ndim == 2


def _dtype_and_device(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Those of the first tensor that one can compute with: the weight, or a quantized layer's scale."""
    tensors = [*module.parameters(), *module.buffers()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.element_size() >= 2]
    first = next(iter(floating + tensors), torch.empty(0))
    return (first.dtype if floating else torch.get_default_dtype()), first.device

r"""One layer with a trainable update of low rank (lecture, "Fine Tuning with LoRA").

On the page rows are tokens and the layer is $X(W_0 + \frac{\alpha}{r}AB)$, A (D_in x r) and B (r x D_out).
torch and peft store weights transposed: `lora_A` is Aᵀ, `lora_B` is Bᵀ, and AB = (lora_B lora_A)ᵀ.

In the language of perturbation theory $W_0$ is the known operator and AB a perturbation of rank r with the
coupling $\alpha/r$. One of the two is 0 at first: training begins exactly at the pre-trained model. By Eckart and
Young no matrix of rank r comes closer to a full update than its truncated singular value decomposition.

Axes: ... any batch axes, D_in and D_out widths of the layer, r rank.
Source: Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models", eq. 3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecture_lib.fields import chance_below_one, positive_real
from lecture_lib.lora.shapes import (
    check_matrices,
    check_mergeable,
    check_rank,
    linear_shape,
    stores_in_out,
)


class LoRALayer(nn.Module):
    r"""A frozen layer with the weight $W_0$ and its update $\frac{\alpha}{r}AB$; the kinds below apply it.

    Args:
        base_layer: the layer to adapt.
        r: rank of the update, 1 to min(D_in, D_out).
        lora_alpha: strength of the update; the factor in front of it is lora_alpha / r.
        lora_dropout: probability with which an input of the update is dropped while training.
        use_rslora: the factor is lora_alpha / sqrt(r) instead (Kalajdzievski 2023).
        generator: draws the matrix that is not 0.
        autocast_adapter_dtype: matrices in float32 where the layer is in half precision, as in peft.

    Raises:
        ValueError: a layer that has no such update, or a rank, strength or probability out of range.
    """

    def __init__(
        self,
        base_layer: nn.Module,
        r: int,
        lora_alpha: float,
        lora_dropout: float = 0.0,
        use_rslora: bool = False,
        generator: torch.Generator | None = None,
        autocast_adapter_dtype: bool = True,
    ):
        super().__init__()
        self.in_features, self.out_features = linear_shape(base_layer)
        r = check_rank(r, base_layer)
        self.lora_alpha = positive_real("lora_alpha", lora_alpha)
        self.lora_dropout = chance_below_one("lora_dropout", lora_dropout)
        dtype, device = _dtype_and_device(base_layer)
        if autocast_adapter_dtype and dtype in (torch.float16, torch.bfloat16):
            dtype = torch.float32
        self.base_layer = base_layer.requires_grad_(False)
        self.use_rslora = bool(use_rslora)
        where = {"dtype": dtype, "device": generator.device if generator else device}
        self.set_matrices(*(matrix.to(device) for matrix in self.start(r, generator, where)))
        self.train(base_layer.training)

    def start(self, r: int, generator: torch.Generator | None, where: dict) -> tuple[Tensor, Tensor]:
        r"""A uniform within $\pm 1/\sqrt{D_{in}}$ as in peft, B zero."""
        lora_A = torch.empty(r, self.in_features, **where)
        nn.init.kaiming_uniform_(lora_A, a=math.sqrt(5), generator=generator)
        return lora_A, torch.zeros(self.out_features, r, **where)

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
        """(D_out, D_in) weight and update in one; (D_in, D_out) where the base stores it so.

        So modules that read their layers' weights and never call them (`nn.MultiheadAttention`) are adapted.
        """
        W_0 = self.base_layer.weight
        wide = torch.promote_types(W_0.dtype, torch.float32)  # half precision: rounded once, at the end
        update = self.scaling * (self.lora_B.to(wide) @ self.lora_A.to(wide))
        return (W_0.to(wide) + (update.t() if stores_in_out(self.base_layer) else update)).to(W_0.dtype)

    @property
    def bias(self) -> Tensor | None:
        """(D_out) bias of the base."""
        return getattr(self.base_layer, "bias", None)

    def merge(self, reversible: bool = True) -> nn.Module:
        r"""Fold the update into the base, $W = W_0 + \frac{\alpha}{r}AB$, and return the plain layer.

        A weight that another module shares (a tied head) is not changed there: the layer gets one of its own.

        Args:
            reversible: the plain layer keeps W_0 and this layer for `unmerge`; the memory of one more weight.

        Raises:
            ValueError: the base has no floating-point weight to add to.
        """
        check_mergeable(self.base_layer)
        base, W_0 = self.base_layer, self.base_layer.weight
        base.weight = nn.Parameter(self.weight.detach(), requires_grad=False)
        if reversible:
            # Not through setattr: the base is no parent of its LoRA layer.
            vars(base)["before_merge"] = (self, W_0)
        return base

    def extra_repr(self) -> str:
        """Rank and factor, as `print(model)` shows them."""
        return f"r={self.r}, scaling={self.scaling:g}"


class LoRALinear(LoRALayer):
    r"""A frozen linear layer and its update: $y = X W_0 + b + \frac{\alpha}{r}\, X A B$.

    The base may be any module that maps (..., D_in) to (..., D_out) linearly and says so by `in_features` and
    `out_features` (`nn.Linear`, a quantized layer), or the `Conv1D` of GPT-2 in transformers. Arguments as
    `LoRALayer`.
    """

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
        XA = (self.lora_A @ X_rows.t()).t()  # (tokens, r), stored column by column as lora_B is
        Y_rows = Y.reshape(-1, self.out_features).to(XA.dtype)
        return torch.addmm(Y_rows, XA, self.lora_B.t(), alpha=self.scaling).view_as(Y).to(Y.dtype)


class LoRAEmbedding(LoRALayer):
    r"""A frozen table and its update: row t of $W_0 + \frac{\alpha}{r}AB$, D_in the vocabulary, D_out the width.

    Arguments as `LoRALayer`; here A is 0 at first and B normal, as in peft, and nothing is dropped.
    """

    def start(self, r: int, generator: torch.Generator | None, where: dict) -> tuple[Tensor, Tensor]:
        """A zero, B normal."""
        return torch.zeros(r, self.in_features, **where), torch.randn(
            self.out_features, r, generator=generator, **where
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Look tokens up.

        Args:
            ids: (...) integer token ids.

        Returns:
            (..., D_out) rows in the dtype of the base's.
        """
        Y = self.base_layer(ids)
        update = F.embedding(ids.long(), self.lora_A.t(), self.base_layer.padding_idx) @ self.lora_B.t()
        stretch = self.scaling * getattr(
            self.base_layer, "embed_scale", 1
        )  # tables that multiply what they give
        return (Y.to(update.dtype) + stretch * update).to(Y.dtype)


def adapted(base_layer: nn.Module, *options: object) -> LoRALayer:
    """Wrap a layer in the LoRA layer of its kind; arguments as `LoRALayer`."""
    return (LoRAEmbedding if isinstance(base_layer, nn.Embedding) else LoRALinear)(base_layer, *options)


def unmerge(base_layer: nn.Module) -> LoRALayer:
    """Undo `LoRALayer.merge`: the very weights of before, and the layer that was merged."""
    layer, W_0 = vars(base_layer).pop("before_merge")
    merged = base_layer.weight
    W_0.data = W_0.data.to(merged)  # the model may have moved meanwhile
    base_layer.weight = W_0
    return layer.to(merged.device).train(base_layer.training)


def is_merged(module: nn.Module) -> bool:
    """Whether the module is a plain layer that carries a merged update and can be unmerged."""
    return "before_merge" in vars(module)


def _dtype_and_device(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Those of the first tensor that one can compute with: the weight, or a quantized layer's scale."""
    tensors = [*module.parameters(), *module.buffers()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.element_size() >= 2]
    first = next(iter(floating + tensors), torch.empty(0))
    return (first.dtype if floating else torch.get_default_dtype()), first.device

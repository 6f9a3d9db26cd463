r"""The transformer layer: tokens read from one another, then each thinks by itself (lecture, Algorithm 12.3).

`layer_norm` and `rms_norm` are the definitions; the layer calls torch's fused kernels, and a test holds them
equal.

Source: Bishop & Bishop (2024), section 12.1.7; Vaswani et al. (2017), section 3; Xiong et al. (2020) for
pre-LN.
Axes: B batch, N tokens, M tokens of the memory, D = d_model.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context, MultiHeadAttention
from lecture_lib.transformer.activations import ACTIVATIONS, GATED
from lecture_lib.transformer.config import ModelConfig


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    r"""Set mean 0 and variance 1: $g (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b$.

    Args:
        x: (..., D) vectors.
        gain: (D,) learned scale of each feature.
        bias: (D,) learned shift of each feature.
        eps: added to the variance, which is the mean of the squares (division by D).

    Returns:
        (..., D) normalised vectors.

    Example:
        >>> layer_norm(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.ones(4), torch.zeros(4))
        tensor([-1.0690, -0.5345,  0.0000,  1.6036])

    Source: Ba et al. (2016), eq. 4.
    """
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return gain * centred / torch.sqrt(variance + eps) + bias


def rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Scale each vector to root mean square 1: $g \odot x / \sqrt{\overline{x^2} + \epsilon}$.

    Args:
        x: (..., D) vectors.
        gain: (D,) learned scale of each feature.
        eps: added to the mean square.

    Returns:
        (..., D) normalised vectors.

    Source: Zhang & Sennrich (2019), eq. 4.
    """
    return gain * x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """Make the norm that a config asks for, from (..., D) to (..., D), with gain 1 and bias 0."""
    kind = nn.LayerNorm if config.norm == "layer" else nn.RMSNorm
    return kind(config.d_model, eps=config.norm_eps)


class FeedForward(nn.Module):
    """Let each token think by itself: f(X W_in) W_out, or gated, (f(X W_gate) * X W_in) W_out.

    Args:
        d_model: width D of a token.
        d_ff: width inside.
        activation: the function f; "swiglu" is the gated form with SiLU, "geglu" with GELU, "reglu" with
            ReLU.
        bias: whether the maps have biases.

    Source: Vaswani et al. (2017), eq. 2; Shazeer (2020), eq. 6, for the gated form.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        known = (*ACTIVATIONS, *GATED)
        if activation not in known:
            raise ValueError(f"activation must be one of {', '.join(known)}; got {activation!r}")
        self.activation = ACTIVATIONS[GATED.get(activation, activation)]
        self.W_in = nn.Linear(d_model, d_ff, bias=bias)
        self.W_gate = nn.Linear(d_model, d_ff, bias=bias) if activation in GATED else None
        self.W_out = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, X: Tensor) -> Tensor:
        """Apply the same small network to every token.

        Args:
            X: (..., D) tokens.

        Returns:
            (..., D) tokens.
        """
        if self.W_gate is None:
            return self.W_out(self.activation(self.W_in(X)))
        return self.W_out(self.activation(self.W_gate(X)) * self.W_in(X))


class TransformerLayer(nn.Module):
    """Algorithm 12.3: Z = LayerNorm(Attention(X) + X), then LayerNorm(MLP(Z) + Z).

    With `config.norm_first` the norm moves inside, X + Attention(LayerNorm(X)), and the residual path stays
    free (pre-LN).

    Args:
        config: the choices.
        cross_attention: whether the tokens also read from a memory, between the two (the decoder of a
            translator).

    Source: Bishop & Bishop (2024), Algorithm 12.3; Vaswani et al. (2017), section 3.1; Xiong et al. (2020).
    """

    def __init__(self, config: ModelConfig, cross_attention: bool = False) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.dropout = nn.Dropout(config.dropout)
        self.attention, self.attention_norm = make_attention(config), make_norm(config)
        self.cross_attention = make_attention(config) if cross_attention else None
        self.cross_attention_norm = make_norm(config) if cross_attention else None
        self.feed_forward = FeedForward(config.d_model, config.d_ff, config.activation, config.mlp_bias)
        self.feed_forward_norm = make_norm(config)

    def forward(self, X: Tensor, here: Context = Context(), there: Context | None = None) -> Tensor:
        """Refine the tokens once.

        Args:
            X: (B, N, D) tokens.
            here: where they stand and what they may look at; the default: everything.
            there: the memory that cross-attention reads, needed if and only if the layer has it.

        Returns:
            (B, N, D) refined tokens.

        Raises:
            ValueError: a memory is missing, or given to a layer without cross-attention.
        """
        if (there is None) != (self.cross_attention is None):
            words = ("no memory: it has no cross-attention", "a memory to read from")
            raise ValueError(f"this layer needs {words[self.cross_attention is not None]}")
        X = self.residual(X, lambda Y: self.attention(Y, here), self.attention_norm)
        if there is not None:
            X = self.residual(X, lambda Y: self.cross_attention(Y, there), self.cross_attention_norm)
        return self.residual(X, self.feed_forward, self.feed_forward_norm)

    def residual(self, X: Tensor, sublayer: Callable[[Tensor], Tensor], norm: nn.Module) -> Tensor:
        """Add what a sublayer f says to what was there: Norm(f(X) + X), or pre-LN f(Norm(X)) + X."""
        says = sublayer(norm(X) if self.norm_first else X)
        X = X + (self.dropout(says) if self.training else says)
        return X if self.norm_first else norm(X)


def make_attention(config: ModelConfig) -> MultiHeadAttention:
    """Make the attention that a config asks for."""
    return MultiHeadAttention(
        config.d_model,
        config.n_heads,
        n_kv_heads=config.n_kv_heads,
        d_head=config.d_head,
        qkv_bias=config.qkv_bias,
        out_bias=config.out_bias,
        qk_norm_eps=config.norm_eps if config.qk_norm else None,
    )

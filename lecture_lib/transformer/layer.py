r"""The transformer: the way in, the layer (lecture, Algorithm 12.3), layers one above another.

In a layer tokens read from one another, then each thinks by itself.

Source: Bishop & Bishop (2024), section 12.1.7; Vaswani et al. (2017), section 3; Xiong et al. (2020) for
pre-LN.
Axes: B batch, N tokens, M tokens of the memory, D = d_model.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context, MultiHeadAttention
from lecture_lib.embedding import TokenEmbedding, check_ids, sinusoidal_positions
from lecture_lib.fields import choice
from lecture_lib.transformer.activations import ACTIVATIONS, GATED
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.door import complete, place
from lecture_lib.transformer.norms import make_norm


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
        choice("activation", activation, (*ACTIVATIONS, *GATED))
        self.activation = ACTIVATIONS[GATED.get(activation, activation)]
        self.W_in = nn.Linear(d_model, d_ff, bias=bias)
        self.W_gate = nn.Linear(d_model, d_ff, bias=bias) if activation in GATED else None
        self.W_out = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, X: Tensor) -> Tensor:
        """Apply the same small network to every token: (..., D) to (..., D)."""
        if self.W_gate is None:
            return self.W_out(self.activation(self.W_in(X)))
        return self.W_out(self.activation(self.W_gate(X)) * self.W_in(X))


class TransformerLayer(nn.Module):
    """Algorithm 12.3: Z = LayerNorm(Attention(X) + X), then LayerNorm(MLP(Z) + Z).

    With `config.norm_first` the norm moves inside, X + Attention(LayerNorm(X)), and the residual path stays
    free (pre-LN).

    Args:
        cross_attention: whether the tokens also read from a memory, between the two (the decoder of a
            translator).

    Source: Bishop & Bishop (2024), Algorithm 12.3; Vaswani et al. (2017), section 3.1; Xiong et al. (2020).
    """

    def __init__(self, config: ModelConfig, cross_attention: bool = False) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.dropout = make_dropout(config.dropout)
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
        if self.norm_first:
            return X + self.dropout(sublayer(norm(X)))
        return norm(X + self.dropout(sublayer(X)))


def make_dropout(share: float) -> nn.Module:
    """Make the dropout of a model, none at all for a share of 0: the calls would take a tenth of a decoding step."""
    return nn.Dropout(share) if share else nn.Identity()


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


class TransformerStack(nn.Module):
    """Layers one above another: X_l = Layer_l(X_{l-1}); with pre-LN, a norm after the last.

    With `cross_attention` every layer also reads from a memory.
    """

    def __init__(self, config: ModelConfig, cross_attention: bool = False) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(TransformerLayer(config, cross_attention) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_first else nn.Identity()
        for i, layer in enumerate(self.layers):
            layer.attention.layer = i
            layer.attention.windowed = config.sliding_window is not None and i not in config.full_layers
            if cross_attention:
                layer.cross_attention.layer = i

    def forward(self, X: Tensor, here: Context | None = None, there: Context | None = None) -> Tensor:
        """Refine the tokens layer by layer, (B, N, D), as `TransformerLayer.forward`; without `here` all look at all.

        Args:
            X: (B, N, D) embedded tokens.
        """
        if here is None or here.positions is None or here.keep is None:
            here = complete(self.config, X, here)
        for layer in self.layers:
            X = layer(X, here, there)
        return self.final_norm(X)


class InputEmbedding(nn.Module):
    """Turn ids into vectors: token, plus position, plus segment; then a norm and dropout, by config.

    Source: Vaswani et al. (2017), sections 3.4 and 3.5; Devlin et al. (2019), figure 2, for segments.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = TokenEmbedding(config.vocab_size, config.d_model)
        learned = config.positions == "learned"
        self.positions = nn.Embedding(config.context_length, config.d_model) if learned else None
        self.segments = nn.Embedding(config.n_segments, config.d_model) if config.n_segments else None
        self.norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = make_dropout(config.dropout)

    def forward(self, ids: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Embed a batch of texts, (B, N, D); what is out of range, or a segment for a model without, is refused.

        Args:
            ids: (B, N) integer token ids.
            positions: (N,) or (B, N) integer positions, as the model's door gives them; None: 0 ... N - 1.
            segments: (B, N) integer segment of each token; None: segment 0 everywhere.
        """
        positions = place(self.config, ids) if positions is None else positions
        X = self.tokens(ids)  # (B, N, D)
        if self.config.scale_embedding:
            X = X * math.sqrt(self.config.d_model)
        if self.config.positions != "rotary":
            X = X + (self.positions or self.clocks)(positions).to(X.dtype)
        if self.segments is not None:
            segments = torch.zeros_like(ids) if segments is None else segments
            if segments.shape != ids.shape:
                raise ValueError(f"one segment a token: {tuple(segments.shape)} for ids {tuple(ids.shape)}")
            check_ids(segments, self.config.n_segments, "segment")
            X = X + self.segments(segments)
        elif segments is not None:
            raise ValueError("this model knows no segments: its config has n_segments=0")
        return self.dropout(self.norm(X))

    def clocks(self, positions: Tensor) -> Tensor:
        """Compute the sines and cosines that are added, (N, D) or (B, N, D)."""
        halves = self.config.positions == "sinusoidal_halves"
        return sinusoidal_positions(positions, self.config.d_model, halves)

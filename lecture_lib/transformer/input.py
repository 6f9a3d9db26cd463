"""The way into a transformer: from ids to vectors with a place.

Source: lecture, "Embedding"; Vaswani et al. (2017), sections 3.4 and 3.5; Devlin et al. (2019), figure 2.
Axes: B batch, N tokens, D = d_model.
"""

import math

import torch
from torch import Tensor, nn

from lecture_lib.embedding import TokenEmbedding, check_ids, sinusoidal_positions
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.door import place
from lecture_lib.transformer.layer import make_norm


class InputEmbedding(nn.Module):
    """Turn ids into vectors: token, plus position, plus segment; then a norm and dropout, by config.

    Args:
        config: the choices.

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
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Embed a batch of texts.

        Args:
            ids: (B, N) integer token ids.
            positions: (N,) or (B, N) integer positions, as the model's door gives them; None: 0 ... N - 1.
            segments: (B, N) integer segment of each token; None: segment 0 everywhere.

        Returns:
            (B, N, D) vectors.

        Raises:
            ValueError: an id or a segment out of range, segments for a model without, or a text longer than the
                context.
        """
        positions = place(self.config, ids) if positions is None else positions
        X = self.tokens(ids)  # (B, N, D)
        if self.config.scale_embedding:
            X = X * math.sqrt(self.config.d_model)
        if self.config.positions != "rotary":
            X = X + self.places(positions).to(X.dtype)
        if self.segments is not None:
            segments = torch.zeros_like(ids) if segments is None else segments
            if segments.shape != ids.shape:
                raise ValueError(
                    f"one segment a token: got {tuple(segments.shape)} for ids {tuple(ids.shape)}"
                )
            check_ids(segments, self.config.n_segments, "segment")
            X = X + self.segments(segments)
        elif segments is not None:
            raise ValueError("this model knows no segments: its config has n_segments=0")
        return self.dropout(self.norm(X))

    def places(self, positions: Tensor) -> Tensor:
        """Look up or compute what is added for the places, (N, D) or (B, N, D)."""
        if self.positions is not None:
            return self.positions(positions)
        halves = self.config.positions == "sinusoidal_halves"
        return sinusoidal_positions(positions, self.config.d_model, halves)

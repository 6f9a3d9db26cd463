"""The way into a transformer: from ids to vectors with a place, and from lengths to a mask.

Source: lecture, "Embedding"; Vaswani et al. (2017), sections 3.4 and 3.5; Devlin et al. (2019), figure 2.
Axes: B batch, N tokens, D = d_model.
"""

import math

import torch
from torch import Tensor, nn

from lecture_lib.attention import padding_mask
from lecture_lib.embedding import TokenEmbedding, check_ids, sinusoidal_positions
from lecture_lib.transformer.config import ModelConfig
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
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1.
            segments: (B, N) integer segment of each token; None: segment 0 everywhere.

        Returns:
            (B, N, D) vectors.

        Raises:
            ValueError: ids that are not a batch of texts, a text longer than the context, an id or segment
                out of range.
        """
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise ValueError(
                f"ids must be (B, N), at least one token in each of B texts; got {tuple(ids.shape)}"
            )
        positions = self.check_positions(ids, positions)
        X = self.tokens(ids)  # (B, N, D)
        if self.config.scale_embedding:
            X = X * math.sqrt(self.config.d_model)
        if self.positions is not None:
            X = X + self.positions(positions)
        elif self.config.positions != "rotary":
            halves = self.config.positions == "sinusoidal_halves"
            X = X + sinusoidal_positions(positions, self.config.d_model, halves).to(X.dtype)
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

    def check_positions(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        """Give the positions of the tokens, and refuse those beyond the context.

        Args:
            ids: (B, N) token ids.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1.

        Returns:
            (N,) or (B, N) positions.

        Raises:
            ValueError: the text is longer than the context, or a position lies beyond it.
        """
        context = self.config.context_length
        if ids.shape[1] > context:
            raise ValueError(f"the text has {ids.shape[1]} tokens, but the context of the model is {context}")
        if positions is None:
            return torch.arange(ids.shape[1], device=ids.device)
        if positions.shape not in (ids.shape, ids.shape[1:]):
            raise ValueError(f"one position a token: got {tuple(positions.shape)} for ids {tuple(ids.shape)}")
        if positions.device.type == "cpu" and not 0 <= positions.min() <= positions.max() < context:
            worst = int(positions.max() if positions.min() >= 0 else positions.min())
            raise ValueError(
                f"position {worst} is outside the context of {context} tokens (0 to {context - 1})"
            )
        return positions


def length_mask(lengths: Tensor | None, tokens: Tensor) -> Tensor | None:
    """Make the padding mask of a batch of texts.

    Args:
        lengths: (B,) integer number of real tokens in each text; None: all N.
        tokens: (B, N) or (B, N, D) the texts, as ids or as vectors.

    Returns:
        (B, 1, 1, N) bool, True for real tokens; None if all are real.

    Raises:
        ValueError: not one length a text, or a length outside 0 ... N.
    """
    if lengths is None:
        return None
    if lengths.shape != tokens.shape[:1]:
        raise ValueError(f"one length a text: got {tuple(lengths.shape)} for texts {tuple(tokens.shape)}")
    return padding_mask(lengths, tokens.shape[1])

"""The decoder: every token reads those before it and predicts the next (GPT-2, Llama, Qwen, by config).

Source: lecture, "Decoder model example: GPT"; Radford et al. (2019); Touvron et al. (2023).
Axes: B batch, N tokens, D = d_model, |V| = vocab_size.
"""

import torch
from torch import Tensor, nn

from lecture_lib.transformer import (
    Cache,
    InputEmbedding,
    ModelConfig,
    TransformerStack,
    initialise,
    length_mask,
    place,
)


class Decoder(nn.Module):
    """Predict every next token: embeddings, layers with a causal mask, then a score for each possible token.

    Args:
        config: the choices.
        generator: source of the initial weights; None: torch's own.

    Source: Radford et al. (2019), section 2.3.
    """

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = InputEmbedding(config)
        self.stack = TransformerStack(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=config.head_bias)
        initialise(self, config, generator)
        self.tie()

    def tie(self) -> None:
        """Let the output head be the token table, if the config says so."""
        if self.config.tied_head:
            self.head.weight = self.embedding.tokens.weight

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Score, at every place, what comes next.

        Args:
            ids: (B, N) integer token ids, padded on the right; with a cache, the new tokens only.
            lengths: (B,) number of real tokens in each row; None: all N.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1, or where the cache says.
            cache: keys and values of the tokens before, which those of `ids` join.

        Returns:
            (B, N, |V|) logits; what stands at padding has no meaning.

        Raises:
            ValueError: an id or a length out of range, or a text longer than the context.
        """
        return self.head(self.features(ids, lengths, positions, cache))

    def features(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Compute what the head reads, for those who need another head, or the logits of the last token only.

        Args:
            ids: (B, N) integer token ids, padded on the right; with a cache, the new tokens only.
            lengths: (B,) number of real tokens in each row; None: all N.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1, or where the cache says.
            cache: keys and values of the tokens before, which those of `ids` join.

        Returns:
            (B, N, D) outputs of the last layer.

        Raises:
            ValueError: an id or a length out of range, or a text longer than the context.
        """
        positions, mask, is_causal = place(ids.shape[-1], lengths, positions, cache)
        X = self.embedding(ids, positions)
        length_mask(lengths, X)  # refuses lengths that do not fit; the causal mask hides the padding
        return self.stack(X, mask, is_causal, positions=positions, cache=cache)

"""The decoder: every token reads those before it and predicts the next (GPT-2, Llama, Qwen, by config).

Source: lecture, "Decoder model example: GPT"; Radford et al. (2019), section 2.3; Touvron et al. (2023).
Axes: B batch, N tokens, D = d_model, |V| = vocab_size.
"""

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context
from lecture_lib.transformer import (
    InputEmbedding,
    ModelConfig,
    TransformerStack,
    initialise,
    make_context,
)


class Decoder(nn.Module):
    """Predict every next token: embeddings, layers with a causal mask, then a score for each possible token."""

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
        here: Context | None = None,
    ) -> Tensor:
        """Score, at every place, what comes next, (B, N, |V|) logits; what stands at padding has no meaning.

        What is out of range, or longer than the context, is refused.

        Args:
            ids: (B, N) integer token ids, padded on the right.
            lengths: (B,) number of real tokens in each row; None: all N.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1.
            here: says where the tokens stand and what they may look at, in place of the two; a cache makes one.
        """
        return self.head(self.features(ids, lengths, positions, here))

    def features(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        positions: Tensor | None = None,
        here: Context | None = None,
    ) -> Tensor:
        """Compute what the head reads, (B, N, D): as `forward`, without the scores."""
        if here is None:
            here = make_context(self.config, ids, lengths, positions, is_causal=True)
        return self.stack(self.embedding(ids, here.positions), here)

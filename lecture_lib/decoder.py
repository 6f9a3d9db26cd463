"""The decoder: every token reads those before it and predicts the next (GPT-2, Llama, Qwen, by config).

Source: lecture, "Decoder model example: GPT"; Radford et al. (2019); Touvron et al. (2023).
Axes: B batch, N tokens, M tokens of the memory, D = d_model, |V| = vocab_size.
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
)


class Decoder(nn.Module):
    """Predict every next token: embeddings, layers with a causal mask, then a score for each token of the vocabulary.

    Args:
        config: the choices.
        cross_attention: whether every layer also reads from a memory, as in a translator.
        generator: source of the initial weights; None: torch's own.

    Source: Radford et al. (2019), section 2.3; Vaswani et al. (2017), section 3.1, with a memory.
    """

    def __init__(
        self, config: ModelConfig, cross_attention: bool = False, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = InputEmbedding(config)
        self.stack = TransformerStack(config, cross_attention)
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
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Score, at every place, what comes next.

        Args:
            ids: (B, N) integer token ids, padded on the right; with a cache, the new tokens only.
            lengths: (B,) number of real tokens in each row; None: all N.
            memory: (B, M, D) tokens of the other text, for a decoder with cross-attention.
            memory_mask: bool, broadcastable to (B, H, N, M), True where a token may look at the memory.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1, or where the cache says.
            cache: keys and values of the tokens before, which those of `ids` join.

        Returns:
            (B, N, |V|) logits; what stands at padding has no meaning.

        Raises:
            ValueError: an id or a length out of range, or a text longer than the context.
        """
        return self.head(self.features(ids, lengths, memory, memory_mask, positions, cache))

    def features(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Compute what the head reads, for those who need another head or the last token's logits only.

        Args:
            ids: (B, N) integer token ids, padded on the right; with a cache, the new tokens only.
            lengths: (B,) number of real tokens in each row; None: all N.
            memory: (B, M, D) tokens of the other text, for a decoder with cross-attention.
            memory_mask: bool, broadcastable to (B, H, N, M), True where a token may look at the memory.
            positions: (N,) or (B, N) integer positions; None: 0 ... N - 1, or where the cache says.
            cache: keys and values of the tokens before, which those of `ids` join.

        Returns:
            (B, N, D) outputs of the last layer.
        """
        mask, is_causal = None, True
        if cache is not None:
            if positions is not None:
                raise ValueError("give positions or a cache: a cache says itself where the new tokens stand")
            (positions, mask), is_causal = cache.begin(ids.shape[-1], lengths), False
        X = self.embedding(ids, positions)
        length_mask(
            lengths, X
        )  # refuses what does not fit; the causal mask already hides padding on the right
        return self.stack(X, mask, is_causal, memory, memory_mask, positions, cache)

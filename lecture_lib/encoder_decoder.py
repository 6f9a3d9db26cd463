"""The encoder-decoder: read one text, write another (Vaswani 2017, Marian); the lecture's English to French.

Source: lecture, "Encoder-decoder model example: machine translation"; Vaswani et al. (2017), figure 1.
Axes: B batch, N source tokens, M target tokens, D = d_model, |V| = vocab_size of the target.
"""

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context
from lecture_lib.transformer import (
    InputEmbedding,
    ModelConfig,
    TransformerStack,
    initialise,
    length_mask,
    make_context,
)


class EncoderDecoder(nn.Module):
    """Read a source with an encoder; write a target with a decoder whose layers look back at the source.

    Args:
        config: the choices of the encoder.
        decoder_config: those of the decoder; None: the same.
        shared_embedding: whether source and target use one token table, as with one vocabulary for both.

    Raises:
        ValueError: encoder and decoder differ in width, or share a table but differ in vocabulary.

    Source: Vaswani et al. (2017), section 3.
    """

    def __init__(
        self,
        config: ModelConfig,
        decoder_config: ModelConfig | None = None,
        shared_embedding: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        decoder_config = config if decoder_config is None else decoder_config
        if config.d_model != decoder_config.d_model:
            raise ValueError(
                f"encoder and decoder must share d_model: got {config.d_model} and {decoder_config.d_model}"
            )
        if shared_embedding and config.vocab_size != decoder_config.vocab_size:
            raise ValueError(
                "a shared embedding needs one vocabulary, got "
                f"{config.vocab_size} source and {decoder_config.vocab_size} target tokens"
            )
        self.config, self.shared_embedding = decoder_config, shared_embedding
        self.source = InputEmbedding(config)
        self.encoder = TransformerStack(config)
        self.target = InputEmbedding(decoder_config)
        self.decoder = TransformerStack(decoder_config, cross_attention=True)
        self.head = nn.Linear(config.d_model, decoder_config.vocab_size, bias=decoder_config.head_bias)
        initialise(nn.ModuleList([self.source, self.encoder]), config, generator)
        initialise(nn.ModuleList([self.target, self.decoder, self.head]), decoder_config, generator)
        self.tie()

    def tie(self) -> None:
        """Let source, target and output head share one table, as far as the configs say so."""
        if self.shared_embedding:
            self.target.tokens.weight = self.source.tokens.weight
        if self.config.tied_head:
            self.head.weight = self.target.tokens.weight

    def forward(self, source_ids: Tensor, target_ids: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        """Score, at every place of the target, what comes next, given the source (teacher forcing).

        Args:
            source_ids: (B, N) integer ids of the source, padded on the right.
            target_ids: (B, M) integer ids of the target so far, the first being the start token.
            source_lengths: (B,) number of real tokens in each source; None: all N.

        Returns:
            (B, M, |V|) logits.

        Raises:
            ValueError: an id or a length out of range, a text longer than the context, or unequal batches.
        """
        return self.decode(target_ids, self.encode(source_ids, source_lengths), source_lengths)

    def encode(self, source_ids: Tensor, source_lengths: Tensor | None = None) -> Tensor:
        """Read the source once, (B, N, D) one vector a source token; `decode` may then be called again and again."""
        here = make_context(self.encoder.config, source_ids, source_lengths)
        return self.encoder(self.source(source_ids, here.positions), here)

    def decode(
        self,
        target_ids: Tensor,
        memory: Tensor | Context,
        source_lengths: Tensor | None = None,
        here: Context | None = None,
    ) -> Tensor:
        """Score what comes next in the target, (B, M, |V|), given the memory.

        Args:
            target_ids: (B, M) integer ids of the target so far.
            memory: (B, N, D) the source as `encode` gave it, or a `Context` that knows it.
            source_lengths: (B,) number of real tokens in each source; None: all N.
            here: says where the target tokens stand, as for a `Decoder`.
        """
        return self.head(self.features(target_ids, memory, source_lengths, here))

    def features(
        self,
        target_ids: Tensor,
        memory: Tensor | Context,
        source_lengths: Tensor | None = None,
        here: Context | None = None,
    ) -> Tensor:
        """Compute what the head reads, (B, M, D): as `decode`, without the scores."""
        if here is None:
            here = make_context(self.config, target_ids, is_causal=True)
        there = memory
        if not isinstance(memory, Context):
            if len(memory) != len(target_ids):
                raise ValueError(f"{len(memory)} sources need as many targets, got {len(target_ids)}")
            there = Context(memory=memory, mask=length_mask(source_lengths, memory))
        return self.decoder(self.target(target_ids, here.positions), here, there)

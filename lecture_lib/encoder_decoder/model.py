"""The encoder-decoder: read one text, write another (Vaswani 2017, Marian); the lecture's English to French.

Source: lecture, "Encoder-decoder model example: machine translation"; Vaswani et al. (2017), section 3 and figure 1.
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

    The two have one width, and share a table (`shared_embedding`) only with one vocabulary; `decoder_config` None: the same.
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
            raise ValueError(f"both must share d_model: got {config.d_model} and {decoder_config.d_model}")
        sizes = config.vocab_size, decoder_config.vocab_size
        if shared_embedding and sizes[0] != sizes[1]:
            raise ValueError(f"a shared table needs one vocabulary, got {sizes[0]} source, {sizes[1]} target")
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
        """Score, at every place of the target, what comes next, given the source (teacher forcing): (B, M, |V|) logits.

        What is out of range, longer than the context, or of another batch is refused.

        Args:
            source_ids: (B, N) integer ids of the source, padded on the right.
            target_ids: (B, M) integer ids of the target so far, the first being the start token.
            source_lengths: (B,) number of real tokens in each source; None: all N.
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
        """Score what comes next in the target, (B, M, |V|), given the memory, as `forward`; `here` as for a `Decoder`.

        Args:
            memory: (B, N, D) the source as `encode` gave it, or a `Context` that knows it.
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

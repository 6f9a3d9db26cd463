"""What decoding needs of a model, whichever it is: the way in, the stack, the head, perhaps a source.

Axes: B rows, N new tokens, M source tokens, D = d_model.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.generation import Conditioned
from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.transformer import InputEmbedding, ModelConfig, TransformerStack, length_mask


@dataclass(frozen=True)
class Parts:
    """A decoder, or an encoder-decoder that has read its source."""

    config: ModelConfig
    embedding: InputEmbedding
    stack: TransformerStack
    head: nn.Module  # (..., D) to (..., |V|)
    memory: Tensor | None = None  # (B, M, D) the source
    memory_mask: Tensor | None = None  # (B, 1, 1, M) bool, True for its real tokens

    def features(self, ids: Tensor, lengths: Tensor | None, cache: KVCache) -> Tensor:
        """Read new tokens, any number of them.

        Args:
            ids: (B, N) token ids, padded on the right.
            lengths: (B,) number of real tokens in each row; None: all N.
            cache: keys and values of the tokens before, which those of `ids` join.

        Returns:
            (B, N, D) outputs of the last layer.
        """
        positions, mask = cache.begin(ids.shape[1], lengths)
        X = self.embedding(ids, positions)
        return self.stack(X, mask, False, self.memory, self.memory_mask, positions, cache)


def parts_of(model: Decoder | Conditioned, batch: int) -> Parts:
    """Take a model apart.

    Args:
        model: a decoder, or an encoder-decoder with its source, `Conditioned(model, source_ids)`.
        batch: number of rows B; a single source serves all of them.

    Returns:
        Its parts.

    Raises:
        ValueError: neither of them, or several sources, but not one for each row.
    """
    if isinstance(model, Decoder):
        return Parts(model.config, model.embedding, model.stack, model.head)
    if not isinstance(model, Conditioned) or not isinstance(model.model, nn.Module):
        raise ValueError(
            f"a cache serves a Decoder, or Conditioned(EncoderDecoder, source): got {type(model).__name__}"
        )
    if len(model.memory) not in (1, batch):
        raise ValueError(f"{len(model.memory)} sources need as many targets, got {batch}")
    memory, lengths = model.memory.expand(batch, -1, -1), model.source_lengths
    mask = None if lengths is None else length_mask(lengths.expand(batch), memory)
    whole = model.model
    return Parts(whole.config, whole.target, whole.decoder, whole.head, memory, mask)

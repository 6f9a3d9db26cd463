"""Where a translator looks in its source while it writes, and the pairs of words that this gives.

Source: lecture, "Encoder-decoder model example: machine translation"; Bahdanau et al. (2015), figure 3, for the first such maps;
Och & Ney (2003), section 4.3, for what two directions agree on.
Axes: L layers, B texts, H heads, M target tokens, N source tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.encoder_decoder.model import EncoderDecoder
from lecture_lib.transformer import length_mask, make_context


@torch.no_grad()
def cross_attention_weights(
    model: EncoderDecoder, source_ids: Tensor, target_ids: Tensor, source_lengths: Tensor | None = None
) -> Tensor:
    """Show where each target token looks in the source, (L, B, H, M, N): row m is the look that decides token m + 1.

    Arguments and errors as `EncoderDecoder.forward`.
    """
    memory = model.encode(source_ids, source_lengths)
    here = make_context(model.config, target_ids, is_causal=True)
    there = Context(memory=memory, mask=length_mask(source_lengths, memory))
    looks = []

    def note(attention: torch.nn.Module, inputs: tuple) -> None:
        looks.append(attention.weights(*inputs))

    hooks = [layer.cross_attention.register_forward_pre_hook(note) for layer in model.decoder.layers]
    try:
        model.decode(target_ids, there, here=here)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(looks)


@torch.no_grad()
def forced_translation(
    model: EncoderDecoder,
    source_ids: Tensor,
    word: int,
    places: Sequence[int],
    start_id: int,
    end_id: int,
    max_new_tokens: int,
) -> list[int]:
    """Write greedily, but let the look that decides one word see only some places of the source, in all layers and heads.

    Args:
        source_ids: (N,) integer ids of one source.
        word: the target word that is decided so, counted from 0.
        places: the source tokens that its look may see, from 0.
        start_id: token before the first word.
        end_id: token behind the last.
        max_new_tokens: largest number of words, the end token included.

    Returns:
        The words without start and end.
    """
    memory, target = model.encode(source_ids[None]), [start_id]
    while len(target) <= max_new_tokens:
        mask = torch.ones(len(target), len(source_ids), dtype=torch.bool, device=source_ids.device)
        mask[word : word + 1] = False
        mask[word : word + 1, places] = True
        logits = model.decode(source_ids.new_tensor([target]), Context(memory=memory, mask=mask))
        if (best := int(logits[0, -1].argmax())) == end_id:
            break
        target.append(best)
    return target[1:]


def alignment(weights: Tensor) -> list[tuple[int, int]]:
    """Pair words that choose each other: the largest weight of its row and of its column, after a mean over layers and heads.

    Args:
        weights: (L, H, M + 1, N) cross-attention weights of a target of M words, which
            the model has read behind a start token: row m is the look that decides
            word m. The last row decides the end of the text and belongs to no word.

    Returns:
        Pairs (m, n) of a target word and a source word, both counted from 0, by m.

    Example:
        >>> alignment(torch.tensor([[[[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.1, 0.7, 0.2], [0.0, 0.1, 0.9]]]]))
        [(0, 0), (1, 2), (2, 1)]
    """
    mean = weights.mean(dim=(0, 1))[:-1]  # (M, N)
    chosen = mean.argmax(dim=1)  # (M,) the source word of each target word
    returned = mean.argmax(dim=0)  # (N,) the target word of each source word
    return [(m, n) for m, n in enumerate(chosen.tolist()) if returned[n] == m]

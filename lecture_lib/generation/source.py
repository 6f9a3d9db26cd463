"""Writing with a source in view: an encoder-decoder as a model of its target (lecture, "machine translation").

Axes: B source texts, N source tokens, M target tokens, |V| tokens of the target vocabulary.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context
from lecture_lib.generation.loop import generate
from lecture_lib.sampling import SamplingParameters, beam_search
from lecture_lib.transformer import length_mask
from lecture_lib.weights import Watch, unwrapped


class Conditioned:
    """The distribution p(target | source) as a model of the target alone, for `generate`, `stream`, `beam_search`.

    The source is read once, and again only when the model has got other weights. A single one serves any number of targets.

    Args:
        model: has `encode(source_ids, source_lengths)` and `decode(target_ids, memory, source_lengths)`.
        source_ids: (B, N) integer ids of the sources, padded on the right.
        source_lengths: (B,) number of real tokens in each source; None: all N.
    """

    def __init__(self, model: nn.Module, source_ids: Tensor, source_lengths: Tensor | None = None) -> None:
        self.model = unwrapped(model)
        self.config = getattr(self.model, "config", None)
        self.source_ids, self.source_lengths, self.device = source_ids, source_lengths, source_ids.device
        self.read_source()

    @torch.no_grad()
    def read_source(self) -> None:
        """Encode the sources by the weights of now."""
        self.watch = Watch(self.model)
        self.encoded = self.model.encode(self.source_ids, self.source_lengths)

    def memory(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Give the (B, N, D) memory of so many targets, and the lengths of the sources."""
        if not self.watch.unchanged():
            self.read_source()
        if len(self.encoded) not in (1, batch):
            raise ValueError(f"{len(self.encoded)} sources need as many targets, got {batch}")
        lengths = self.source_lengths
        return self.encoded.expand(batch, -1, -1), None if lengths is None else lengths.expand(batch)

    def __call__(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score, at every place of the targets (B, M), what comes next: (B, M, |V|); a decoder needs no `lengths`."""
        memory, source_lengths = self.memory(len(ids))
        return self.model.decode(ids, memory, source_lengths)

    def known(self, batch: int) -> Context:
        """Compute keys and values of the sources for every layer, once: the context of their cross-attention."""
        memory, lengths = self.memory(batch)
        there = Context(memory=memory, mask=length_mask(lengths, memory))
        attentions = [layer.cross_attention for layer in self.model.decoder.layers]
        return replace(there, known=[attention.project(memory, there)[1:] for attention in attentions])


def translate(
    model: nn.Module,
    source_ids: Tensor,
    max_new_tokens: int,
    start_id: int,
    end_id: int,
    source_lengths: Tensor | None = None,
    beam_width: int = 1,
    length_penalty: float = 1.0,
) -> list[Tensor]:
    """Write the most likely target of each source, as far as a greedy or a beam search finds it.

    What the model's checkpoint forbids or forces (`model.generation`), such as padding among the words, is kept to.

    Args:
        model: as for `Conditioned`.
        source_ids: (B, N) integer ids of the sources, padded on the right.
        max_new_tokens: largest number of target tokens, the end token included; every target begins with `start_id`.
        source_lengths: (B,) number of real tokens in each source; None: all N.
        beam_width: number of beams; 1: greedy.
        length_penalty: as in `beam_search`.

    Returns:
        B tensors, the target tokens of each source without start and end.
    """
    generation = getattr(unwrapped(model), "generation", None)
    sampling = SamplingParameters() if generation is None else generation.sampling
    greedy = replace(sampling, temperature=0, repetition_penalty=1)
    start = source_ids.new_full((len(source_ids), 1), start_id)
    if beam_width == 1:
        given = Conditioned(model, source_ids, source_lengths)
        targets = generate(given, list(start), max_new_tokens, greedy, stop=end_id)
    else:
        targets = []
        for i in range(len(source_ids)):
            lengths = None if source_lengths is None else source_lengths[i : i + 1]
            given = Conditioned(model, source_ids[i : i + 1], lengths)
            best = beam_search(
                lambda ids, given=given: given(ids)[:, -1],
                start[i],
                beam_width,
                max_new_tokens,
                stop=[end_id],
                length_penalty=length_penalty,
                sampling=greedy,
            )
            targets.append(best[0].ids)
    return [target[1 : -1 if target[-1] == end_id else None] for target in targets]

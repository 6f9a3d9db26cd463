"""Writing with a source in view: an encoder-decoder as a model of its target (lecture, "machine translation").

Axes: B source texts, N source tokens, M target tokens, |V| tokens of the target vocabulary.
"""

import torch
from torch import Tensor, nn

from lecture_lib.generation.loop import generate
from lecture_lib.sampling import SamplingParameters, beam_search


class Conditioned:
    """The distribution p(target | source) as a model of the target alone, for `generate`, `stream` and `beam_search`.

    The source is read once. A single source serves any number of targets, such as the beams of a search.

    Args:
        model: has `encode(source_ids, source_lengths)` and `decode(target_ids, memory, source_lengths)`.
        source_ids: (B, N) integer ids of the sources, padded on the right.
        source_lengths: (B,) number of real tokens in each source; None: all N.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, source_ids: Tensor, source_lengths: Tensor | None = None) -> None:
        self.model, self.config = model, getattr(model, "config", None)
        self.memory, self.source_lengths = model.encode(source_ids, source_lengths), source_lengths

    def __call__(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Score, at every place of the targets, what comes next.

        Args:
            ids: (B, M) integer ids of the targets so far; any number of rows for a single source.
            lengths: (B,) not needed: a decoder looks back only, so padding on the right changes nothing before it.

        Returns:
            (B, M, |V|) logits.

        Raises:
            ValueError: several sources, but not one for each target.
        """
        if len(self.memory) not in (1, len(ids)):
            raise ValueError(f"{len(self.memory)} sources need as many targets, got {len(ids)}")
        lengths = self.source_lengths
        return self.model.decode(
            ids,
            self.memory.expand(len(ids), -1, -1),
            None if lengths is None else lengths.expand(len(ids)),
        )


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

    Args:
        model: an encoder-decoder, with `encode` and `decode`.
        source_ids: (B, N) integer ids of the sources, padded on the right.
        max_new_tokens: largest number of target tokens, the end token included.
        start_id: token that every target begins with.
        end_id: token that ends a target.
        source_lengths: (B,) number of real tokens in each source; None: all N.
        beam_width: number of beams; 1: greedy.
        length_penalty: exponent of the number of tokens by which log-probabilities are divided in a beam search.

    Returns:
        B tensors, the target tokens of each source without start and end.

    Raises:
        ValueError: sources or numbers that do not fit.
    """
    start = source_ids.new_full((len(source_ids), 1), start_id)
    if beam_width == 1:
        greedy = SamplingParameters(temperature=0)
        targets = generate(
            Conditioned(model, source_ids, source_lengths), list(start), max_new_tokens, greedy, stop=end_id
        )
    else:
        targets = []
        for i in range(len(source_ids)):
            one = slice(i, i + 1)
            given = Conditioned(
                model, source_ids[one], None if source_lengths is None else source_lengths[one]
            )
            best = beam_search(
                lambda ids, given=given: given(ids)[:, -1],
                start[i],
                beam_width,
                max_new_tokens,
                stop=[end_id],
                length_penalty=length_penalty,
            )
            targets.append(best[0].ids)
    return [target[1 : -1 if target[-1] == end_id else None] for target in targets]

"""Say a sentence backwards: a decoder that may look at all vectors of the encoder, and one that is given a single vector.

The experiment because of which attention was invented, small enough to run: with one vector, long sentences are lost.
Source: Cho, van Merriënboer, Bahdanau & Bengio (2014); Bahdanau, Cho & Bengio (2015).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import translate
from lecture_lib.padding import pad
from lecture_lib.training import Batch, TrainingConfig, train, translation_batches
from lecture_lib.transformer import ModelConfig

START, END, N_WORDS, LONGEST = 0, 1, 8, 10  # words are the ids from 2 on
CONFIG = ModelConfig(
    vocab_size=2 + N_WORDS,
    d_model=32,
    n_heads=4,
    n_layers=2,
    context_length=LONGEST + 2,
    d_ff=64,
    norm_first=True,  # post-LN stays on its first plateau at this learning rate
    init_std=0.05,
)


class OneVector(EncoderDecoder):
    """An encoder-decoder whose decoder sees the first vector of the encoder only: that of the start token."""

    def features(
        self,
        target_ids: Tensor,
        memory: Tensor | Context,
        source_lengths: Tensor | None = None,
        here: Context | None = None,
    ) -> Tensor:
        """Compute as `EncoderDecoder.features`, from one vector for each source."""
        return super().features(target_ids, memory[:, :1], None, here)


def sentences(n: int, generator: torch.Generator, length: int | None = None) -> list[list[int]]:
    """Draw n sentences of random words, of 2 to 10 words or all of one length."""
    lengths = torch.randint(2, LONGEST + 1, (n,), generator=generator).tolist()
    lengths = lengths if length is None else [length] * n
    return [(2 + torch.randint(N_WORDS, (k,), generator=generator)).tolist() for k in lengths]


def batches(generator: torch.Generator, batch_size: int = 64) -> Iterator[Batch]:
    """Draw new sentences for ever, and ask for them backwards."""
    while True:
        drawn = sentences(batch_size, generator)
        sources = [[START, *words] for words in drawn]
        targets = [[START, *reversed(words), END] for words in drawn]
        yield from translation_batches(sources, targets, [range(batch_size)])


def train_reverser(
    one_vector: bool, seed: int, max_steps: int = 800, progress: bool | None = None
) -> EncoderDecoder:
    """Train one of the two for `max_steps` batches of 64 sentences."""
    generator = torch.Generator().manual_seed(seed)
    model = (OneVector if one_vector else EncoderDecoder)(CONFIG, generator=generator)
    config = TrainingConfig(max_steps, learning_rate=3e-3, warmup_steps=min(50, max_steps))
    train(model, batches(generator), config, progress=progress)
    return model.eval().requires_grad_(False)


def exact_match(model: EncoderDecoder, length: int, n: int = 300, seed: int = 99) -> float:
    """Give the share of n new sentences of one length that come out backwards without a mistake, written greedily."""
    asked = sentences(n, torch.Generator().manual_seed(seed + length), length)
    sources, _ = pad([[START, *words] for words in asked])
    written = translate(model, sources, length + 2, START, END)
    return sum(got.tolist() == words[::-1] for got, words in zip(written, asked, strict=True)) / n


def card() -> dict:
    """Give what was measured: shares without a mistake by length of 2 to 10 words, a row a seed, for both and for longer training."""
    path = Path(__file__).parent / "small" / "reversal.json"
    return json.loads(path.read_text(encoding="utf-8"))

"""English to French on the course's grammar: a translator small enough to be trained while a page is built.

Source: Vaswani et al. (2017), with pre-LN; the grammar is `corpora.translation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.corpora.translation import sentence_pairs, vocabulary
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import translate
from lecture_lib.padding import pad
from lecture_lib.training import TrainingConfig, shuffled, train, translation_batches
from lecture_lib.transformer import ModelConfig

START, END, CONTEXT = 0, 1, 40
ENGLISH, FRENCH = (["<start>", "<end>", *words] for words in vocabulary())
NUMBER = {side: {word: i for i, word in enumerate(words)} for side, words in (("english", ENGLISH), ("french", FRENCH))}
Words = Sequence[str]


def numbered(words: Words, side: str = "english") -> list[int]:
    """Number the words of a sentence, and its end."""
    return [*map(NUMBER[side].__getitem__, words), END]


def source_ids(sentences: Sequence[Words]) -> tuple[Tensor, Tensor]:
    """Number the words of English sentences, each with its end: (B, N) ids and (B,) lengths."""
    return pad([numbered(words) for words in sentences])


def target_ids(sentences: Sequence[Words]) -> tuple[Tensor, Tensor]:
    """Number the words of French sentences, each from its start to its end: (B, M) ids and (B,) lengths."""
    return pad([[START, *numbered(words, "french")] for words in sentences])


@dataclass(frozen=True)
class Translator:
    """A trained model that takes and gives words."""

    model: EncoderDecoder

    def __call__(self, sentences: Sequence[Words], beam_width: int = 1) -> list[list[str]]:
        """Translate English sentences, given as lists of words, greedily or with beams."""
        ids, lengths = source_ids(sentences)
        written = translate(self.model, ids, CONTEXT - 1, START, END, lengths, beam_width)
        return [[FRENCH[i] for i in each.tolist()] for each in written]


def train_translator(
    seed: int = 0, max_steps: int = 500, n_pairs: int = 20_000, progress: bool | None = None
) -> Translator:
    """Train on drawn sentences, none of which has a held-out pair of adjective and noun; 500 steps of 64 take 15 s."""
    sizes = {"d_model": 64, "n_heads": 2, "n_layers": 2, "d_ff": 128, "context_length": CONTEXT}
    configs = [
        ModelConfig(vocab_size=len(words), **sizes, norm_first=True, init_std=0.05)
        for words in (ENGLISH, FRENCH)
    ]
    generator = torch.Generator().manual_seed(seed)
    model = EncoderDecoder(*configs, shared_embedding=False, generator=generator)
    pairs = sentence_pairs(n_pairs, 1000 + seed)
    sources = [numbered(english) for english, _ in pairs]
    targets = [[START, *numbered(french, "french")] for _, french in pairs]
    batches = translation_batches(sources, targets, shuffled(n_pairs, 64, generator))
    train(model, batches, TrainingConfig(max_steps, learning_rate=5e-3, warmup_steps=50), progress=progress)
    return Translator(model.eval().requires_grad_(False))

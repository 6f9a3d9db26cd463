"""English to French on the course's grammar: the translator of chapter 8, 190,912 parameters, which takes and gives words.

`python -m lecture_lib.zoo.grammar_translator` trains it anew and stores it.

Source: Vaswani et al. (2017), with pre-LN; the grammar is `corpora.translation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lecture_lib.corpora.translation import sentence_pairs, vocabulary
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.files import atomic_write
from lecture_lib.generation import translate
from lecture_lib.padding import pad
from lecture_lib.training import TrainingConfig, shuffled, train, translation_batches
from lecture_lib.transformer import ModelConfig

START, END, CONTEXT = 0, 1, 40
FILE = Path(__file__).parent / "small" / "grammar_translator.safetensors"
ENGLISH, FRENCH = (["<start>", "<end>", *words] for words in vocabulary())
NUMBER = {
    side: {word: i for i, word in enumerate(words)}
    for side, words in (("english", ENGLISH), ("french", FRENCH))
}
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


def untrained(seed: int) -> EncoderDecoder:
    """Make the model: two layers on each side, D = 64, 190,912 parameters."""
    sizes = {"d_model": 64, "n_heads": 2, "n_layers": 2, "d_ff": 128, "context_length": CONTEXT}
    configs = [
        ModelConfig(vocab_size=len(words), **sizes, norm_first=True, init_std=0.05)
        for words in (ENGLISH, FRENCH)
    ]
    return EncoderDecoder(
        *configs, shared_embedding=False, generator=torch.Generator().manual_seed(seed)
    ).eval()


def train_translator(
    seed: int = 0, max_steps: int = 1500, n_pairs: int = 20_000, progress: bool | None = None
) -> Translator:
    """Train on drawn sentences, none of which has a held-out pair of adjective and noun; 40 s on one core."""
    model, pairs = untrained(seed), sentence_pairs(n_pairs, 1000 + seed)
    sources = [numbered(english) for english, _ in pairs]
    targets = [[START, *numbered(french, "french")] for _, french in pairs]
    order = shuffled(n_pairs, 64, torch.Generator().manual_seed(seed))
    batches = translation_batches(sources, targets, order)
    train(
        model,
        batches,
        TrainingConfig(max_steps, learning_rate=3e-3, warmup_steps=min(50, max_steps)),
        progress=progress,
    )
    return Translator(model.requires_grad_(False))


def load_translator() -> Translator:
    """Load the one of seed 0, stored in half precision."""
    model = untrained(0)
    stored = {name: weights.float() for name, weights in load_file(FILE).items()}
    missing, unknown = model.load_state_dict(stored, strict=False)
    assert not unknown and set(missing) <= {"head.weight"}  # the head is the table of the French words
    return Translator(model.requires_grad_(False))


def save_translator(translator: Translator) -> None:
    """Store the weights, each table once, in half precision."""
    state = translator.model.state_dict()
    state.pop("head.weight")
    with atomic_write(FILE) as part:
        save_file({name: weights.half().contiguous() for name, weights in state.items()}, part)


if __name__ == "__main__":
    save_translator(train_translator())

"""The translator: English to French, with gender, agreement, the order of adjectives, elision."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from lecture_lib.corpora import translation
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import translate
from lecture_lib.padding import pad
from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.training import TrainingConfig, shuffled, translation_batches
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train
from lecture_lib.zoo.store import load
from lecture_lib.zoo.words import word_tokenizer

N_PAIRS, SEED, TEST_SEED, CONTEXT = 20_000, 1, 10**6, 40
Pairs = list[tuple[list[str], list[str]]]


def tokenizer() -> PretrainedTokenizer:
    """Make one vocabulary of the words of both languages; a French text begins with the padding token, as in Marian."""
    english, french = translation.vocabulary()
    words = word_tokenizer(list(dict.fromkeys(english + french)), {"pad": "<pad>", "eos": "</s>"})
    words.token_ids["decoder_start_token_id"] = words.pad_id
    return words


def ids_of(words: PretrainedTokenizer, tokens: Sequence[str]) -> list[int]:
    """Give the ids of a sentence, its end included; a word that is not in the vocabulary is refused."""
    return [words.token_to_id(token) for token in [*tokens, "</s>"]]


@dataclass(frozen=True)
class Translator:
    """The translator with its words: it takes English sentences as lists of words and gives French ones."""

    model: nn.Module
    tokenizer: PretrainedTokenizer

    @property
    def start_id(self) -> int:
        """Token before the first French word."""
        return self.tokenizer.start_id

    @property
    def end_id(self) -> int:
        """Token behind the last word, in both languages."""
        return self.tokenizer.eos_ids[0]

    def source_ids(self, sentences: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Number English words, the end included: (B, N) ids and (B,) lengths."""
        return pad([ids_of(self.tokenizer, words) for words in sentences])

    def target_ids(self, sentences: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Number French words, from the start to the end: (B, M) ids and (B,) lengths."""
        return pad([[self.start_id, *ids_of(self.tokenizer, words)] for words in sentences])

    def words(self, ids: Sequence[int]) -> list[str]:
        """Give the words with these ids."""
        return self.tokenizer.decode(ids).split()

    def __call__(self, sentences: Sequence[Sequence[str]], beam_width: int = 1) -> list[list[str]]:
        """Translate, greedily or with beams."""
        ids, lengths = self.source_ids(sentences)
        written = translate(
            self.model, ids, CONTEXT - 1, self.start_id, self.end_id, lengths, beam_width=beam_width
        )
        return [self.words(text.tolist()) for text in written]


def load_translator() -> Translator:
    """Load the zoo's translator, with its words."""
    return Translator(*load("translator"))


def make(seed: int, train: Train) -> Made:
    """Train on pairs without those of `HELD_OUT`."""
    words = tokenizer()
    pairs = translation.sentence_pairs(N_PAIRS, SEED)
    common = {"vocab_size": words.n_ids, "d_model": 64, "n_layers": 2, "d_ff": 128, "context_length": CONTEXT}
    common |= {
        "positions": "sinusoidal_halves",
        "head_bias": True,
        "activation": "relu",
        "scale_embedding": True,
    }
    encoder, decoder = (ModelConfig(**common, n_heads=n, init_std=0.05) for n in (2, 1))
    model = EncoderDecoder(encoder, decoder, generator=torch.Generator().manual_seed(seed))
    sources = [ids_of(words, english) for english, _ in pairs]
    targets = [[words.pad_id, *ids_of(words, french)] for _, french in pairs]
    order = shuffled(len(pairs), 64, torch.Generator().manual_seed(seed))
    train(model, translation_batches(sources, targets, order), TrainingConfig(2500, 1e-3, 300))
    return model, words


@cache
def new_sentences(held_out: bool, n: int = 300) -> Pairs:
    """Draw sentences that are not in the training."""
    known = {tuple(english) for english, _ in translation.sentence_pairs(N_PAIRS, SEED)}
    drawn = translation.sentence_pairs(2 * n, TEST_SEED, held_out)
    return [pair for pair in drawn if tuple(pair[0]) not in known][:n]


def share_right(model: nn.Module, words: PretrainedTokenizer, pairs: Pairs) -> float:
    """Measure the share of sentences translated without a mistake."""
    written = Translator(model, words)([english for english, _ in pairs])
    right = [said == french for said, (_, french) in zip(written, pairs, strict=True)]
    return sum(right) / len(right)


def measure(model: nn.Module, words: PretrainedTokenizer) -> Metrics:
    """Measure the share of new sentences translated without a mistake, and of those with a pair never trained on."""
    pairs = {"right": new_sentences(False), "right_with_new_pairs": new_sentences(True)}
    return {name: share_right(model, words, these) for name, these in pairs.items()}


RECIPES = (
    Recipe(
        "translator",
        summary="a translator of Marian's kind from English to French, on sentences of one grammar",
        cannot="It knows the words and the sentences of one grammar; longer sentences than those of the training break it.",
        make=make,
        measure=measure,
        bands={"right": (0.97, 1.0), "right_with_new_pairs": (0.95, 1.0)},
    ),
)

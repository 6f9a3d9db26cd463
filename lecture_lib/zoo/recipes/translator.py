"""The translator: English to French, with gender, agreement, the order of adjectives, elision."""

from functools import cache

import torch
from torch import nn

from lecture_lib.corpora import translation
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.generation import translate
from lecture_lib.padding import pad
from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.training import TrainingConfig, shuffled, translation_batches
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train
from lecture_lib.zoo.words import word_tokenizer

N_PAIRS, SEED, TEST_SEED, CONTEXT = 20_000, 1, 10**6, 40
Pairs = list[tuple[list[str], list[str]]]


def tokenizer() -> PretrainedTokenizer:
    """Make one vocabulary of the words of both languages; a French text begins with the padding token, as in Marian."""
    english, french = translation.vocabulary()
    words = word_tokenizer(list(dict.fromkeys(english + french)), {"pad": "<pad>", "eos": "</s>"})
    words.token_ids["decoder_start_token_id"] = words.pad_id
    return words


def ids_of(words: PretrainedTokenizer, tokens: list[str]) -> list[int]:
    """Give the ids of a sentence, its end included."""
    return words.encode(" ".join([*tokens, "</s>"]))


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
    """Measure how many sentences are translated without a mistake."""
    ids, lengths = pad([ids_of(words, english) for english, _ in pairs])
    said = translate(model, ids, CONTEXT, words.start_id, words.eos_ids[0], lengths)
    right = [
        words.decode(text.tolist()).split() == french for text, (_, french) in zip(said, pairs, strict=True)
    ]
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

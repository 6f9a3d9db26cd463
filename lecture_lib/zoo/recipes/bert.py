"""A BERT that fills in hidden words: `the red <mask>`."""

import math

import torch
from torch import nn

from lecture_lib.corpora import masked_words
from lecture_lib.encoder import Encoder, MaskedLanguageModel
from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.training import TrainingConfig, masked_batches, shuffled
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train
from lecture_lib.zoo.words import word_tokenizer

N_SENTENCES, SEED, TEST_SEED = 20_000, 1, 10**6


def make(seed: int, train: Train) -> Made:
    """Train two layers on hidden words, one in five."""
    special = {"pad": "<pad>", "cls": "<cls>", "mask": masked_words.MASK}
    words = word_tokenizer(masked_words.vocabulary(), special, first="cls")
    rows = [words.encode(str(sentence)) for sentence in masked_words.sentences(N_SENTENCES, SEED)]
    config = ModelConfig(
        vocab_size=words.n_ids,
        d_model=64,
        n_heads=4,
        n_layers=2,
        context_length=16,
        d_ff=128,
        embedding_norm=True,
        n_segments=2,
        norm_eps=1e-12,
    )
    generator = torch.Generator().manual_seed(seed)
    model = MaskedLanguageModel(Encoder(config, generator), generator)
    hidden = {
        "mask_id": words.token_to_id(masked_words.MASK),
        "vocab_size": words.n_ids,
        "special_ids": (0, 1),
    }
    batches = masked_batches(
        rows, shuffled(len(rows), 64, generator), **hidden, probability=0.2, generator=generator
    )
    train(model, batches, TrainingConfig(2500, learning_rate=2e-3, warmup_steps=100))
    return model, words


def guesses(model: nn.Module, words: PretrainedTokenizer, text: str) -> dict[str, float]:
    """Give the probability of each word at the first `<mask>` of a text."""
    ids = words.encode(text)
    scores = model(torch.tensor([ids]))[0, ids.index(words.token_to_id(masked_words.MASK))]
    return {words.id_to_token(i): p for i, p in enumerate(scores.softmax(-1).tolist())}


def measure(model: nn.Module, words: PretrainedTokenizer) -> Metrics:
    """Measure, on new sentences with one hidden word, the loss beside the exact one, and the distance of the distributions."""
    losses, floors, distances = [], [], []
    for n, sentence in enumerate(masked_words.sentences(300, TEST_SEED)):
        place = n % len(sentence.words)
        hidden = [*sentence.words[:place], masked_words.MASK, *sentence.words[place + 1 :]]
        said = guesses(model, words, " ".join(hidden))
        exact = masked_words.mask_distribution(hidden, place)
        losses.append(-math.log(said[sentence.words[place]]))
        floors.append(-math.log(exact[sentence.words[place]]))
        distances.append(sum(abs(p - exact.get(word, 0.0)) for word, p in said.items()) / 2)
    metrics = {"loss": losses, "exact_loss": floors, "total_variation": distances}
    return {name: sum(values) / len(values) for name, values in metrics.items()}


RECIPES = (
    Recipe(
        "bert",
        summary="a BERT of two layers that fills in one hidden word of a made language of 116 words",
        cannot="It knows eleven shapes of sentence, of five to seven words; other sentences get guesses without meaning.",
        make=make,
        measure=measure,
        bands={"loss": (0.96, 1.02), "total_variation": (0.0, 0.08)},
    ),
)

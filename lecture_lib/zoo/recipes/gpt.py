"""The GPT on real English: documentation of Python and of installed packages; and a small one that drafts for it.

The text differs a little from one installation to the next, so a new training gives nearly, not exactly, these weights.
"""

import math
from functools import cache, partial

import torch
from torch import Tensor, nn

from lecture_lib.corpora.english import english_text
from lecture_lib.decoder import Decoder
from lecture_lib.tokenization import BytePairTokenizer
from lecture_lib.training import (
    Batch,
    TrainingConfig,
    evaluate,
    random_windows,
    sequential_windows,
    target_loss,
)
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train

N_BYTES = 8_000_000  # of text: the standard library first, then installed packages in alphabetical order
VOCABULARY, CONTEXT = 4096, 256


@cache
def training_text() -> tuple[BytePairTokenizer, Tensor]:
    """Give the tokenizer and the text as ids."""
    text = english_text(N_BYTES, split="train")
    tokenizer = BytePairTokenizer.train([text], VOCABULARY)
    return tokenizer, torch.tensor(tokenizer.encode(text))


def decoder(d_model: int, n_heads: int, n_layers: int, d_ff: int, generator: torch.Generator) -> Decoder:
    """Build a decoder of Llama's kind with a head tied to the token table."""
    config = ModelConfig(
        vocab_size=VOCABULARY,
        d_model=d_model,
        n_heads=n_heads,
        n_layers=n_layers,
        context_length=CONTEXT,
        d_ff=d_ff,
        norm="rms",
        norm_eps=1e-6,
        norm_first=True,
        activation="swiglu",
        positions="rotary",
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
    )
    return Decoder(config, generator)


def in_bfloat16(model: nn.Module, batch: Batch) -> Tensor:
    """As `target_loss`, with the matrix products in bfloat16: nearly twice as fast where the processor has them."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16):
        return target_loss(model, batch)


def make(seed: int, train: Train, sizes: tuple[int, int, int, int], config: TrainingConfig) -> Made:
    """Train on windows of the text, drawn at random."""
    tokenizer, ids = training_text()
    model = decoder(*sizes, torch.Generator().manual_seed(seed))
    windows = random_windows(ids, 8, CONTEXT, torch.Generator().manual_seed(seed + 1))
    train(model, windows, config, in_bfloat16)
    return model, tokenizer


def measure(model: nn.Module, tokenizer: BytePairTokenizer) -> Metrics:
    """Measure bits per byte on the held-out paragraphs of the standard library, in windows of the context."""
    text = english_text(split="validation")
    batches = sequential_windows(tokenizer.encode(text), 8, CONTEXT)
    result = evaluate(model, batches, n_bytes=len(text.encode()))
    return {"bits_per_byte": result.bits_per_byte, "loss": result.loss, "perplexity": math.exp(result.loss)}


RECIPES = (
    Recipe(
        "gpt",
        summary="a GPT of Llama's kind that has read eight megabytes of English documentation, context 256",
        cannot="It writes sentences that look like documentation, and knows no facts. It was trained on one kind of text, and "
        "on so little of it that it repeats phrases.",
        make=partial(
            make,
            sizes=(128, 4, 6, 352),
            config=TrainingConfig(11_000, 3e-3, 200, final_fraction=0.02, checkpoint_every=500),
        ),
        measure=measure,
        bands={"bits_per_byte": (1.25, 1.45)},
        seeds=(0,),
        notes={
            "seeds_apart": "One training takes 50 minutes of one core, so three seeds were compared after 500 steps: "
            "1.749, 1.775 and 1.763 bits per byte.",
            "compared_with": "The same 51,657 bytes take 3.03 bits per byte with gzip, 2.65 with bz2 and 2.85 with xz, "
            "which have read no other text before.",
        },
    ),
    Recipe(
        "gpt_draft",
        summary="a seventh of the gpt, with the same tokenizer: it drafts tokens that the gpt then checks",
        cannot="Its own sentences rarely make sense.",
        make=partial(
            make,
            sizes=(48, 4, 2, 128),
            config=TrainingConfig(3000, 6e-3, 100, final_fraction=0.05, checkpoint_every=500),
        ),
        measure=measure,
        bands={"bits_per_byte": (1.45, 1.75)},
        seeds=(0,),
    ),
)

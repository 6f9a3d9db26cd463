"""Requests of every kind, and what each gives alone: for the tests of the engine and its options."""

import copy

import torch
from helpers import seeded

from lecture_lib import generation
from lecture_lib.decoder import Decoder
from lecture_lib.lora import add_lora, load_lora, lora_layers, save_lora
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Request
from lecture_lib.transformer import ModelConfig

SHAPES = {
    "llama": dict(positions="rotary", n_kv_heads=2, norm="rms", activation="swiglu"),
    "gpt2": dict(positions="learned"),
    "window": dict(positions="rotary", sliding_window=5),
}


def decoder(name="llama", seed=0):
    config = ModelConfig(vocab_size=40, d_model=24, n_heads=4, n_layers=2, context_length=64, **SHAPES[name])
    return Decoder(config, seeded(seed)).double().eval()


class Letters:
    """Token i is a letter, and every fifth one two of them."""

    def decode(self, ids):
        return "".join(chr(97 + i % 26) * (1 + (i % 5 == 0)) for i in ids)


class Turns:
    """Of three kinds of tokens another one may come each time; complete after so many."""

    def __init__(self, length):
        self.length, self.n, self.last = length, 0, None

    def allowed(self):
        return [i for i in range(40) if self.last is None or i % 3 != self.last % 3]

    def advance(self, token):
        self.n, self.last = self.n + 1, token

    def finished(self):
        return self.n >= self.length


def guided(model, prompt, guide):
    """A model of texts that a guide allows, after a prompt, without an engine."""

    def read(ids, lengths=None):
        logits = model(ids, lengths).clone()
        for row, text in zip(logits, ids.tolist(), strict=True):
            walk = copy.deepcopy(guide)
            for token in text[len(prompt) :]:
                walk.advance(token)
            forbidden = sorted(set(range(40)) - set(walk.allowed()))
            row[-1, forbidden] = -torch.inf
        return logits

    return read


def alone(model, request, adapted=()):
    """New tokens of every sample, by the slow loop; `adapted` has the models of the adapters by name."""
    ids, given = list(request.prompt), []
    model = dict(adapted).get(request.adapter, model)
    for i in range(request.n):
        n, guide = request.max_new_tokens, request.guide() if request.guide else None
        reader = model if guide is None else guided(model, ids, guide)
        text = generation.generate(
            reader,
            ids,
            n,
            request.sampling,
            seeded(request.seed + i),
            stop=request.stop,
            tokenizer=request.tokenizer,
        )
        new = text[len(ids) :].tolist()
        given.append(new if guide is None else new[: guide.length])
    return given


def drawn(rng, common=(), adapters=(), guessers=(None, "lookup")):
    """A request of any kind."""
    begin = list(common[: rng.randrange(len(common) + 1)]) if rng.random() < 0.6 else []
    sampling = SamplingParameters(
        temperature=rng.choice([0, 0.7, 1.0]),
        top_k=rng.choice([None, 5]),
        top_p=rng.choice([None, 0.8]),
        repetition_penalty=rng.choice([1, 1.3]),
        bad_words=rng.choice([(), ((3,), (4, 5))]),
        min_new_tokens=rng.choice([0, 0, 4]),
    )
    prompt = [*begin, *(rng.randrange(40) for _ in range(rng.randrange(1, 14)))]
    length = rng.choice([None, None, 3, 9])
    return Request(
        tuple(prompt),
        rng.randrange(1, 16),
        sampling,
        n=rng.choice([1, 1, 1, 2, 3]),
        seed=rng.randrange(10**6),
        stop=rng.choice([(), (3, 17), (3, "bb"), ("ff", "gh")]),
        tokenizer=Letters(),
        guide=None if length is None else lambda: Turns(length),
        adapter=rng.choice([None, *adapters]),
        guesser=rng.choice(guessers),
        n_guesses=rng.randrange(1, 6),
    )


def adapter(model, folder, targets, r, seed=1, **options):
    """Write an adapter whose update is no small one; give the model with it."""
    adapted = add_lora(copy.deepcopy(model), targets, r, 2 * r, generator=seeded(seed), **options)
    for layer in lora_layers(adapted).values():
        with torch.no_grad():
            for matrix in (layer.lora_A, layer.lora_B):
                matrix.copy_(torch.randn(matrix.shape, generator=seeded(seed + matrix.numel())) / 2)
    save_lora(adapted, folder)
    return load_lora(copy.deepcopy(model), folder).eval()

"""A whole model reads a prompt in chunks: the logits of the prompt read at once, and no token twice."""

import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.decoder import Decoder
from lecture_lib.transformer import ModelConfig


def read_in_chunks(model: Decoder, ids: Tensor, chunk_size: int) -> Tensor:
    """Read piece by piece; the mistakes below are changes of these lines."""
    kept = {}  # layer -> all its keys and values so far

    def keep(layer, K, V):
        if layer in kept:
            K, V = torch.cat([kept[layer][0], K], -2), torch.cat([kept[layer][1], V], -2)
        kept[layer] = K, V
        return kept[layer]

    logits = []
    for start in range(0, ids.shape[1], chunk_size):
        chunk = ids[:, start : start + chunk_size]
        positions = torch.arange(start, start + chunk.shape[1])
        mask = torch.arange(start + chunk.shape[1]) <= positions[:, None]
        logits.append(model(chunk, here=Context(positions, mask, keep=keep)))
    return torch.cat(logits, 1)


def at_once(model: Decoder, ids: Tensor, chunk_size: int) -> Tensor:
    """The whole prompt in one forward, without a cache."""
    return model(ids)


def counted(answer: object, sizes: dict, seed: int, ids: Tensor, chunk_size: int) -> tuple:
    """Logits of a random model, and how many places it read in each of its forwards."""
    config = ModelConfig(**sizes, norm_first=True, init_std=0.3)
    model, read = Decoder(config, torch.Generator().manual_seed(seed)).eval(), []
    model.embedding.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[1]))
    with torch.no_grad():
        logits = answer(model, ids, chunk_size)
    if answer is at_once:  # what a reader in chunks would need
        read = [min(chunk_size, ids.shape[1] - start) for start in range(0, ids.shape[1], chunk_size)]
    return logits, read


def chunk_cases(seed: int) -> list[Case]:
    """Chunks that divide the prompt, and that do not; one token; larger than the prompt; grouped queries; one layer."""
    draw = Draw(seed)
    B, n, size = draw.size(2, 3), draw.size(3, 4), draw.size(3, 4)
    sizes = dict(vocab_size=11, d_model=24, n_heads=4, n_kv_heads=4, n_layers=3, context_length=32)

    def call(length: int, chunk: int, **changes: int) -> tuple:
        return sizes | changes, draw.size(0, 10**6), draw.ids(B, length, below=11), chunk

    return [
        Case(f"{n * size} tokens in {n} chunks of {size}", call(n * size, size)),
        Case(f"{n * size + 2} tokens in chunks of {size}", call(n * size + 2, size)),
        Case("7 tokens one by one", call(7, 1)),
        Case("9 tokens at once", call(9, 9)),
        Case("5 tokens in a chunk of 8", call(5, 8)),
        Case("11 tokens in chunks of 5, 4 heads share 2", call(11, 5, n_kv_heads=2)),
        Case("8 tokens in chunks of 3, one layer", call(8, 3, n_layers=1)),
    ]


def from_the_beginning(model: Decoder, ids: Tensor, chunk_size: int) -> Tensor:
    """Read everything again for each chunk."""
    starts = range(0, ids.shape[1], chunk_size)
    return torch.cat([model(ids[:, : n + chunk_size])[:, n:] for n in starts], 1)


def blind_chunks(model: Decoder, ids: Tensor, chunk_size: int) -> Tensor:
    """Read each chunk as a text of its own."""
    return torch.cat([model(chunk) for chunk in ids.split(chunk_size, 1)], 1)


CHUNKS = Exercise(
    name="kv_cache.read_in_chunks",
    points=3, difficulty=2, minutes=20,
    against="the same model's forward on the whole prompt, without a cache; and a count of the tokens it was given",
    reference=at_once,
    right=read_in_chunks,
    use=counted,
    cases=chunk_cases,
    tolerance=1e-4,
    mistakes=(
        ("each chunk is read as a text of its own. What did the chunks before it say?", blind_chunks),
        ("the prompt is read from the beginning for every chunk: the logits are right, and every token but the last is "
         "computed more than once. What was kept?", from_the_beginning),
        ("the whole prompt is read at once. How many tokens may a forward have?", lambda model, ids, chunk_size: model(ids)),
        ("the chunks are smaller than asked for: one token in each. How often are the weights read then?",
         "range(0, ids.shape[1], chunk_size)", "range(0, ids.shape[1])", "start:start + chunk_size", "start:start + 1"),
        ("the prompt is cut into chunks of nearly equal size. Which chunk alone may be shorter?",
         "logits = []", "logits, chunk_size = ([], -(-ids.shape[1] // -(-ids.shape[1] // chunk_size)))"),
        ("every chunk begins at place 0. Where does it stand in the prompt?",
         "torch.arange(start, start + chunk.shape[1])", "torch.arange(chunk.shape[1])",
         "<= positions[:, None]", "<= start + positions[:, None]"),
        ("places are right, but the mask counts from the chunk's beginning: nobody looks back far enough.",
         "<= positions[:, None]", "<= positions[:, None] - start"),
        ("the mask is upside down. What does True mean?", "<= positions[:, None]", "> positions[:, None]"),
        ("a token looks at those of its own chunk only. What is kept for?",
         "torch.arange(start + chunk.shape[1]) <= positions[:, None]",
         "(torch.arange(start + chunk.shape[1]) <= positions[:, None]) & (torch.arange(start + chunk.shape[1]) >= start)"),
        ("the places begin at 1. Which place has the first token of the prompt?",
         "torch.arange(start, start + chunk.shape[1])", "torch.arange(start + 1, start + chunk.shape[1] + 1)",
         "<= positions[:, None]", "< positions[:, None]"),
        ("inside a chunk a token looks at later ones. Which places may token i of the chunk look at?",
         "<= positions[:, None]", "< start + chunk.shape[1] + 0 * positions[:, None]"),
        ("only the first token sees itself. May a token look at itself?",
         "<= positions[:, None]", "< positions[:, None].clamp(min=1)"),
        ("only the last chunk is remembered. What becomes of the one before it?",
         "kept[layer] = (K, V)\n        return kept[layer]", "both = (K, V)\n        kept[layer] = (K[..., -chunk_size:, :], V[..., -chunk_size:, :])\n        return both[0][..., -(start + chunk.shape[1]):, :], both[1][..., -(start + chunk.shape[1]):, :]"),
        ("new keys stand before the old ones. In which order does the mask count?",
         "torch.cat([kept[layer][0], K], -2), torch.cat([kept[layer][1], V], -2)",
         "torch.cat([K, kept[layer][0]], -2), torch.cat([V, kept[layer][1]], -2)"),
        ("new values stand before the old ones, new keys behind them. Does value j still belong to key j?",
         "torch.cat([kept[layer][1], V], -2)", "torch.cat([V, kept[layer][1]], -2)"),
        ("the last chunk is left out when it is shorter. Must the length be a multiple?",
         "range(0, ids.shape[1], chunk_size)", "range(0, max(1, ids.shape[1] - chunk_size + 1), chunk_size)"),
        ("the logits of the last chunk alone come back. How many places has the prompt?",
         "torch.cat(logits, 1)", "logits[-1]"),
    ),
)  # fmt: skip

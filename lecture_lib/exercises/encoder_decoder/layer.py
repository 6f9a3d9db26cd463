"""The layer of the decoder: it reads what is written, then the source, then thinks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lecture_lib.attention import causal_mask, padding_mask
from lecture_lib.checks.draws import Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.encoder_decoder.parts import BY_HAND, BY_HAND_WORDS, draw_parts, torch_layer


def use_layer(
    answer: Callable, X: Tensor, memory: Tensor, source_lengths: Tensor | None, n_heads: int, **sizes: object
) -> object:
    """Hand over the parts that a case describes."""
    return answer(X, memory, source_lengths, *draw_parts(X, n_heads, **sizes))


def torch_decoder_layer(X: Tensor, memory: Tensor, source_lengths: Tensor | None, *parts: Callable) -> Tensor:
    """Torch's own layer, with its own kind of masks: True = hidden."""
    M, N = X.shape[1], memory.shape[1]
    future = torch.ones(M, M, dtype=torch.bool).triu(1)
    padding = None
    if source_lengths is not None:
        padding = torch.tensor([[n >= length for n in range(N)] for length in source_lengths.tolist()])
    return torch_layer(*parts)(X, memory, tgt_mask=future, memory_key_padding_mask=padding)


def drawn_case(draw: Draw, what: str, *shape: int, lengths: list[int] | None, D: int = 6, n_heads: int = 2,
               exact: bool = False) -> Case:  # fmt: skip
    """Draw tokens of the shape (B, M, N, D), whose mean is not 0, and parts of a layer."""
    B, M, N = shape
    dtype = torch.float64 if exact else torch.float32
    X, memory = (1 + 2 * draw.normal(B, n, D, dtype=dtype) for n in (M, N))
    parts = {"n_heads": n_heads, "d_ff": draw.size(7, 9), "seed": draw.size(0, 10**6)}
    lengths = None if lengths is None else torch.tensor(lengths)
    what = f"X {tuple(X.shape)}, memory {tuple(memory.shape)}, {what}"
    return Case(what, (X, memory, lengths), parts, gradient=(0, 1) if exact else ())


def scattered_case(case: Case) -> Case:
    """The same case, not contiguous in memory."""
    X, memory, lengths = case.inputs
    return replace(case, inputs=(scattered(X), scattered(memory), lengths))


def layer_cases(seed: int) -> list[Case]:
    """By hand, no padding, lengths of every kind, one token, longer target than source, views, gradients."""
    draw = Draw(seed)
    M, N, longer = draw.size(3, 4), draw.size(5, 6), draw.size(7, 8)
    case = partial(drawn_case, draw)
    rows = 3 * torch.eye(3)[draw.order(3)][None]
    tiny = {"n_heads": 1, "d_ff": 3, "seed": BY_HAND}
    short, full = draw.size(1, N - 2), [N, draw.size(2, N - 2), N - 1]
    return [
        Case(f"two tokens read two, D=3; {BY_HAND_WORDS}: by hand", (rows[:, :2], rows[:, 1:] - 1, None), tiny),
        Case("the same, the second of the source is padding", (rows[:, :2], rows[:, 1:] - 1, torch.tensor([1])), tiny),
        case("no lengths: no padding", 1, M, N, lengths=None),
        case(f"lengths {full}", 3, M, N, lengths=full),
        case("the same sizes with other numbers", 3, M, N, lengths=full),
        case(f"lengths {[short, short + 1]}: all shorter than the memory", 2, M, N, lengths=[short, short + 1]),
        case("one token has been written", 2, 1, N, lengths=[N, 2], n_heads=3),
        case("more written than there is to read", 2, longer, 4, lengths=[2, 4], D=8),
        scattered_case(case("not contiguous", 2, M, N, lengths=[N, 3])),
        case("float64, with gradients", 2, M, N, lengths=[N, 2], exact=True),
    ]  # fmt: skip


def decoder_layer(
    X: Tensor,
    memory: Tensor,
    source_lengths: Tensor | None,
    attention: Callable,
    cross_attention: Callable,
    feed_forward: Callable,
    attention_norm: Callable,
    cross_attention_norm: Callable,
    feed_forward_norm: Callable,
) -> Tensor:
    """Put the layer together; the mistakes below are changes of these lines."""
    hidden = None if source_lengths is None else padding_mask(source_lengths, memory.shape[1])
    X = X + attention(attention_norm(X), mask=causal_mask(X.shape[1]))
    X = X + cross_attention(cross_attention_norm(X), memory, mask=hidden)
    return X + feed_forward(feed_forward_norm(X))


SELF = "attention(attention_norm(X), mask=causal_mask(X.shape[1]))"
FIRST = f"X = X + {SELF}"
CROSS = "X = X + cross_attention(cross_attention_norm(X), memory, mask=hidden)"

DECODER_LAYER = Exercise(
    name="encoder_decoder.decoder_layer",
    points=4, difficulty=2, minutes=20,
    against="torch.nn.TransformerDecoderLayer(norm_first=True) on the same weights (float32 1e-5, float64 gradients)",
    reference=torch_decoder_layer,
    right=decoder_layer,
    cases=layer_cases,
    use=use_layer,
    owned=("lecture_lib.transformer.TransformerLayer", "torch.nn.TransformerDecoderLayer"),
    mistakes=(
        ("the target looks at its own future: there is no causal mask. What may word 3 read when word 4 is "
         "still to be written?",
         "causal_mask(X.shape[1])", "None"),
        ("the causal mask is turned round: words look at themselves and at what comes. Where is True?",
         "causal_mask(X.shape[1])", "causal_mask(X.shape[1]).mT"),
        ("a word may not look at itself, only at the words before it. Is the diagonal of the mask True?",
         "causal_mask(X.shape[1])", "causal_mask(X.shape[1]).tril(-1) | (torch.arange(X.shape[1]) == 0)[:, None].mul(torch.arange(X.shape[1]) == 0)"),
        ("padding of the source is read like text: `source_lengths` is not used.",
         "None if source_lengths is None else padding_mask(source_lengths, memory.shape[1])", "None"),
        ("the padding is read and the text is hidden. Does True mean hidden, or may look?",
         "padding_mask(source_lengths, memory.shape[1])", "~padding_mask(source_lengths.clamp_max(memory.shape[1] - 1), memory.shape[1])"),
        ("one token of padding is read. Is token number `length`, counted from 0, still real?",
         "padding_mask(source_lengths,", "padding_mask((source_lengths + 1).clamp_max(memory.shape[1]),"),
        ("the length of the first source is used for all. Which shape must the mask have to differ from text to "
         "text?",
         "padding_mask(source_lengths,", "padding_mask(source_lengths[:1].expand_as(source_lengths),"),
        ("the source is hidden causally too: word i reads only source tokens 0 ... i. Is any of the source in "
         "the future?",
         "mask=hidden", "mask=torch.ones(X.shape[1], memory.shape[1]).tril().bool() & (torch.tensor(True) if hidden is None else hidden)"),
        ("the source is not read: the second attention looks at X again. What is its second argument?",
         "cross_attention_norm(X), memory, mask=hidden", "cross_attention_norm(X), mask=causal_mask(X.shape[1])"),
        ("the source is read before what is written. In which order does the layer read?",
         FIRST, "X = X + cross_attention(cross_attention_norm(X), memory, mask=hidden)", CROSS + "\n    return", FIRST + "\n    return"),
        ("both attentions read the same X side by side. What does the second one work on?",
         FIRST, f"X, Z = (X + {SELF}, X)", "cross_attention_norm(X)", "cross_attention_norm(Z)"),
        ("the memory is normed as well. It comes out of the encoder, whose last operation is a norm: what does "
         "cross_attention_norm belong to?",
         "memory, mask=hidden", "cross_attention_norm(memory), mask=hidden"),
        ("the residual around the first attention is missing. What did the token itself say?",
         "X = X + attention(", "X = attention("),
        ("the residual around the cross-attention is missing. Where does the word keep what it has read so far?",
         "X = X + cross", "X = cross"),
        ("the residual around the network is missing. What did the token itself say?",
         "return X + feed", "return feed"),
        ("the norms stand behind the sums (post-LN, as in 2017). Where does this layer put them?",
         FIRST, "X = attention_norm(X + attention(X, mask=causal_mask(X.shape[1])))",
         CROSS, "X = cross_attention_norm(X + cross_attention(X, memory, mask=hidden))",
         "return X + feed_forward(feed_forward_norm(X))", "return feed_forward_norm(X + feed_forward(X))"),
        ("each part is added to the normed tokens. To which tokens does the task add it?",
         FIRST, "X = attention_norm(X)\n    X = X + attention(X, mask=causal_mask(X.shape[1]))",
         CROSS, "X = cross_attention_norm(X)\n    X = X + cross_attention(X, memory, mask=hidden)",
         "return X + feed_forward(feed_forward_norm(X))", "X = feed_forward_norm(X)\n    return X + feed_forward(X)"),
        ("the network works before the source is read. Which part comes last?",
         FIRST, FIRST + "\n    X = X + feed_forward(feed_forward_norm(X))",
         "return X + feed_forward(feed_forward_norm(X))", "return X"),
        ("the queries of the cross-attention are not normed. Which norm is left over?",
         "cross_attention_norm(X)", "X"),
        ("one norm serves both attentions. Does each part not have its own?",
         "cross_attention_norm(X)", "attention_norm(X)"),
        ("the network is left out. What comes after the two attentions?",
         "return X + feed_forward(feed_forward_norm(X))", "return X"),
    ),
)  # fmt: skip

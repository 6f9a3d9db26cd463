"""The two heads: a text classified by its first token, with a bug at the padding; labels of words given to their pieces."""

import random

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.attention import scaled_dot_product_attention
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.tokenization.word_piece import longest_match


def text_cases(seed: int) -> list[Case]:
    """One text alone, texts of all lengths, padding that is large, a text that is full, a text of one token, gradients."""
    draw = Draw(seed)
    B, N, D, D_k = draw.sizes(4)

    def case(what: str, lengths: Tensor, n: int, large: float = 1.0, exact: bool = False) -> Case:
        dtype = F64 if exact else torch.float32
        X = draw.normal(len(lengths), n, D, dtype=dtype)
        sign = (-1.0) ** torch.arange(n)[:, None]  # some padding is liked by every query
        loud = large * sign.to(dtype) * (2 + X)
        X = torch.where(torch.arange(n)[:, None] < lengths[:, None, None], X, loud)
        maps = [draw.normal(D, width, dtype=dtype) / D**0.5 for width in (D_k, D_k, D, D)]
        inputs = X, lengths, *maps, draw.normal(D, dtype=dtype)
        return Case(f"X ({len(lengths)}, {n}, {D}), {what}", inputs, gradient=(2, 4, 5, 6) if exact else ())

    lengths = draw.ids(B, low=2, below=N)
    lengths[0], lengths[1] = N, 2
    return [
        case("one text without padding", torch.tensor([3]), 3),
        case("one text of two tokens and a token of padding", torch.tensor([2]), 3),
        case("texts of different lengths", lengths, N),
        case("the shortest text first", lengths.flip(0), N),
        case("padding of about 50,000 and -50,000", lengths, N + 2, large=25_000.0),
        case("a text of one token", torch.tensor([1, N, 2]), N),
        case("no text fills its row", lengths.clamp_max(N - 1), N),
        case("float64, with its gradients", lengths, N, exact=True),
    ]  # fmt: skip


def one_by_one(X, lengths, W_q, W_k, W_v, W_pool, w) -> Tensor:
    """Each text alone, cut to its length: there is no padding to hide. Torch's kernel in float64."""
    X, *maps, w = (x.double() for x in (X, W_q, W_k, W_v, W_pool, w))
    found = []
    for text, length in zip(X, lengths.tolist(), strict=True):
        Q, K, V = (text[:length] @ W for W in maps[:3])
        first = text[0] + F.scaled_dot_product_attention(Q[None, :1], K[None], V[None])[0, 0]
        found.append(1 / (1 + torch.exp(-(torch.tanh(first @ maps[3]) * w).sum())))
    return torch.stack(found).to(W_q.dtype)


def text_probability(
    X: Tensor, lengths: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, W_pool: Tensor, w: Tensor
) -> Tensor:
    """Let the tokens of each text read one another, then give P(class 1), σ(tanh(y_1 W_pool) w), by its first token.

    Args:
        X: (B, N, D) tokens; row b has `lengths[b]` real ones, at least one, then padding.
        lengths: (B,) number of real tokens.
        W_q: (D, D_k) map to queries.
        W_k: (D, D_k) map to keys.
        W_v: (D, D) map to values.
        W_pool: (D, D) map of the first token's vector.
        w: (D,) weights of the number that goes into the logistic function.

    Returns:
        (B,) probabilities.
    """
    real = torch.arange(X.shape[1], device=X.device) < lengths[:, None]  # (B, N)
    Y = X + scaled_dot_product_attention(X @ W_q, X @ W_k, X @ W_v, real[:, None, :])
    cls = Y[:, 0]  # (B, D)
    return torch.sigmoid(torch.tanh(cls @ W_pool) @ w)


READ_A_TEXT = Exercise(
    name="encoder.read_a_text",
    points=3, difficulty=1, minutes=15,
    against="each text alone, without padding, by torch's kernel (float32 1e-5, float64 1e-9 with gradients)",
    reference=one_by_one,
    right=text_probability,
    cases=text_cases,
    mistakes=(
        ("the padding is read. A mask has an axis of tokens that ask and one of tokens that are read: which one is which?",
         "real[:, None, :]", "real[:, :, None]"),
        ("the padding is read and the text is hidden. Does True mean hidden, or may look?",
         "real[:, None, :]", "~real[:, None, :]"),
        ("one token of padding is read. Is token number `length`, counted from 0, still real?",
         "< lengths[:, None]", "<= lengths[:, None]"),
        ("the last real token is hidden. Counted from 0, which number does it have?",
         "< lengths[:, None]", "< (lengths[:, None] - 1).clamp_min(1)"),
        ("the vectors of the padding are set to 0 and still looked at. Which weight has a key whose score is 0?",
         "X + scaled_dot_product_attention(X @ W_q, X @ W_k, X @ W_v, real[:, None, :])",
         "X + scaled_dot_product_attention(X @ W_q, X * real[..., None] @ W_k, X * real[..., None] @ W_v)"),
        ("the values of the padding are 0, but it keeps its share of the weights. To what should the weights of the real tokens sum?",
         "X @ W_v, real[:, None, :])", "X * real[..., None] @ W_v)"),
        ("the length of the first text is used for all.",
         "< lengths[:, None]", "< lengths[:1, None].expand(len(X), 1)"),
        ("the length of the longest text is used for all.",
         "< lengths[:, None]", "< lengths.max().expand(len(X), 1)"),
        ("the vector of the last token is used, padding or not. Which token stands for the text?",
         "Y[:, 0]", "Y[:, -1]"),
        ("the mean of all vectors is used. Which token stands for the text?",
         "Y[:, 0]", "Y.mean(1)"),
        ("what the token was itself is lost. What does a residual connection add?",
         "X + scaled", "scaled"),
        ("the tanh is missing.",
         "torch.tanh(cls @ W_pool)", "(cls @ W_pool)"),
        ("the number before the logistic function is returned. Is it a probability?",
         "torch.sigmoid(torch.tanh(cls @ W_pool) @ w)", "torch.tanh(cls @ W_pool) @ w"),
    ),
)  # fmt: skip

# Symptom: the probability of a short text changes when a longer text joins its batch.
TEXT_PROBABILITY = find_the_bug(
    READ_A_TEXT,
    "encoder.text_probability",
    hint="the padding is read. A mask",
    points=3,
    difficulty=2,
    minutes=15,
)


def label_cases(seed: int) -> list[Case]:
    """One word, words of one and of many pieces, unknown words, word after word, label 0, other pieces of the same word."""
    draw = random.Random(seed)
    a, b, c, d = draw.sample("abcdefgh", 4)
    pieces = {a, b, c, a + b, f"##{a}", f"##{b}", f"##{c}", f"##{b}{c}", c + a + b}

    def words(n: int, letters: str, longest: int) -> tuple[list[str], list[int]]:
        names = ["".join(draw.choices(letters, k=draw.randrange(1, longest + 1))) for _ in range(n)]
        return names, [draw.randrange(4) for _ in range(n)]

    def case(what: str, names: list[str], labels: list[int]) -> Case:
        return Case(what, (names, labels, pieces))

    return [
        case("one word of one piece", [a], [2]),
        case("one word of three pieces", [b + a + c], [1]),
        case("words of one piece each", [a, c, a + b], [1, 0, 3]),
        case("a long word first", [b + b + a + b, a, c + c], [3, 1, 2]),
        case("a long word last", [a, c, a + b + c + c + a], [0, 2, 3]),
        case("a word that is unknown between others", [a + a, d, b], [2, 3, 1]),
        case("a word of which one letter is unknown", [a + b + d, c + c], [1, 2]),
        case("the same word twice with two labels", [c + c, c + c, a], [1, 2, 0]),
        case("no words", [], []),
        case("eight words", *words(8, a + b + c, 5)),
        case("six words, some of them unknown", *words(6, a + b + c + d, 4)),
    ]  # fmt: skip


def library_labels(words: list[str], labels: list[int], vocabulary: set[str]) -> tuple[list[str], list[int]]:
    """The `tokenizers` library: its WordPiece model, its frame of [CLS] and [SEP], and the word that it says each piece is of."""
    import tokenizers

    ids = {token: i for i, token in enumerate(["[UNK]", "[CLS]", "[SEP]", *sorted(vocabulary)])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    frame = "[CLS] $A [SEP]", None, [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(*frame)
    encoded, known, aligned = tokenizer.encode(words, is_pretokenized=True), set(), []
    for word in encoded.word_ids:
        aligned.append(-100 if word is None or word in known else labels[word])
        known.add(word)
    return encoded.tokens, aligned


def align_labels(words: list[str], labels: list[int], vocabulary: set[str]) -> tuple[list[str], list[int]]:
    """Cut words into pieces; the first piece of a word gets its label. The mistakes below are changes of these lines."""
    tokens, aligned = ["[CLS]"], [-100]
    for word, label in zip(words, labels, strict=True):
        pieces = longest_match(word, vocabulary)
        tokens += pieces
        aligned += [label] + [-100] * (len(pieces) - 1)
    return tokens + ["[SEP]"], aligned + [-100]


ALIGN_LABELS = Exercise(
    name="encoder.align_labels",
    points=3, difficulty=1, minutes=15,
    against="the tokenizers library and the word that it says each piece belongs to",
    reference=library_labels,
    right=align_labels,
    cases=label_cases,
    mistakes=(
        ("every piece of a word gets its label. How often would a long word count in the loss?",
         "[label] + [-100] * (len(pieces) - 1)", "[label] * len(pieces)"),
        ("the last piece of a word gets its label. Which piece was asked for?",
         "[label] + [-100] * (len(pieces) - 1)", "[-100] * (len(pieces) - 1) + [label]"),
        ("each word has one label, however many pieces it has. How many labels does the row of tokens need?",
         "[label] + [-100] * (len(pieces) - 1)", "[label]"),
        ("the other pieces get label 0. Which number says that nothing is asked?",
         "[label] + [-100] *", "[label] + [0] *"),
        ("the special tokens get label 0. Which number says that nothing is asked?",
         "['[CLS]'], [-100]", "['[CLS]'], [0]", "aligned + [-100])", "aligned + [0])"),
        ("the labels stand one place too early: [CLS] has none. How long must both lists be?",
         "['[CLS]'], [-100]", "['[CLS]'], []", "aligned + [-100])", "aligned + [-100, -100])"),
        ("the text does not begin with [CLS]. Which token is the text's own?",
         "['[CLS]'], [-100]", "[], []"),
        ("the text does not end with [SEP].",
         "(tokens + ['[SEP]'], aligned + [-100])", "(tokens, aligned)"),
        ("a word that is unknown is not asked for. Has it no label?",
         "[label] +", "[-100 if pieces == ['[UNK]'] else label] +"),
        ("a word that is unknown is left out. Which token stands for it?",
         "pieces = longest_match(word, vocabulary)", "pieces = longest_match(word, vocabulary)\n        if pieces == ['[UNK]']:\n            continue"),
        ("the words are not cut. Does the model know every word?",
         "longest_match(word, vocabulary)", "[word]"),
    ),
)  # fmt: skip

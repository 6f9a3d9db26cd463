"""The table of token vectors: looking tokens up in it, and reading them out by it."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import BF16, F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def row_by_row(ids: Tensor, table: Tensor) -> Tensor:
    """Take the rows one after another; an id outside the table is refused."""
    wanted = ids.flatten().tolist()
    if ids.is_floating_point() or any(not 0 <= each < len(table) for each in wanted):
        raise ValueError("an id is no integer or outside the vocabulary")
    rows = [table.select(0, each) for each in wanted]
    empty = table.new_zeros(*ids.shape, table.shape[1])
    return torch.stack(rows).reshape(empty.shape) if rows else empty


def lookup_cases(seed: int) -> list[Case]:
    """Ids of every shape, a square table, one stored by columns, and ids that are none."""
    draw = Draw(seed)
    V, D = draw.size(5, 9), draw.size(2, 4)
    ids = torch.tensor([V - 2, 0, 1])
    double = draw.normal(V, D, dtype=F64)

    def table() -> Tensor:
        return draw.normal(V, D)

    return [
        Case("ids (3,), a table of 4 tokens and D=2", (torch.tensor([2, 0, 2]), draw.normal(4, 2))),
        Case(f"ids (2, 5), |V|={V}, D={D}", (draw.ids(2, 5, below=V - 1), table())),
        Case(f"ids (2, 3, 4), |V|={V}, D={D}", (draw.ids(2, 3, 4, below=V), table())),
        Case(f"ids (2, 3, 4), not contiguous, |V|={V}", (scattered(draw.ids(2, 3, 4, below=V)), table())),
        Case("a square table, |V| = D = 3", (torch.tensor([0, 2, 1, 1]), draw.normal(3, 3))),
        Case(f"the last id, {V - 1}, and the first", (torch.tensor([V - 1, 0]), table())),
        Case(f"one id alone, of shape (), |V|={V}", (draw.ids(below=V), table())),
        Case(f"one sentence of one token, ids (1, 1), |V|={V}", (draw.ids(1, 1, below=V), table())),
        Case(f"no ids, of shape (0,), |V|={V}", (draw.ids(0, below=V), table())),
        Case(
            f"ids (2, 5), table stored by columns ({D}, {V})",
            (draw.ids(5, 2, below=V).mT, draw.normal(D, V).mT),
        ),
        Case("ids in int32", (draw.ids(4, below=V).int(), table())),
        Case("a table of 2500 tokens", (draw.ids(3, low=2100, below=2500), draw.normal(2500, 2))),
        Case("a table in bfloat16", (draw.ids(2, 3, below=V), draw.normal(V, D, dtype=BF16))),
        Case("a table of whole numbers, int64", (draw.ids(2, 3, below=V), draw.ids(V, D, below=99))),
        Case("float64, with the gradient of the table", (torch.cat([ids, ids]), double), gradient=(1,)),
        Case(f"the id {V} in a vocabulary of {V}: not there", (torch.tensor([0, V]), table())),
        Case(f"the id -1 in a vocabulary of {V}: not there", (torch.tensor([0, -1]), table())),
        Case("ids that are floats: 1.0 names no token", (torch.tensor([0.0, 1.0]), table())),
    ]


# fmt: off
LOOKUP_MISTAKES = (
    ("ids are counted from 1, so that every token gets its neighbour's row. Which row belongs to id 0?",
     "ids.long()", "(ids.long() - 1) % len(table)"),
    ("columns of the table are taken instead of rows. Which axis of (vocab_size, d_model) counts the tokens?",
     "@ table", "@ table.mT"),
    ("the one-hot vectors are as long as the largest id that occurs. Who says how many tokens there are?",
     "(), table.shape[0]", "()"),
    ("an id outside the vocabulary is not refused with a ValueError. What is table[-1], and would you "
     "notice?",
     lambda ids, table: table[ids]),
    ("only ids that are too large are refused. What does a negative index mean in Python?",
     "(ids, table.shape[0])\n    one_hot = F.one_hot(ids.long(), table.shape[0])",
     "(ids.abs(), table.shape[0])\n    one_hot = F.one_hot(ids.long() % len(table), table.shape[0])"),
    ("ids that are no integers are rounded and looked up. Which token is 1.5?",
     "ids,", "ids.long(),"),
    ("the vectors of a row are summed: a bag of words. Does each token still have a vector of its own?",
     "one_hot @ table", "(one_hot @ table).sum(-2)"),
    ("the table is cut off from the gradient. How would it ever be learned?",
     "@ table", "@ table.detach()"),
    ("leading axes are lost: a batch of sentences comes back as one list of vectors. What is ids.shape for?",
     "one_hot @ table", "(one_hot @ table).reshape(-1, table.shape[1])"),
    ("everything is turned into float32. Which number type does the table have?",
     "one_hot @ table", "(one_hot @ table).float()"),
)
# fmt: on

LOOKUP = Exercise(
    name="embedding.one_hot_lookup",
    points=3,
    difficulty=1,
    minutes=10,
    against="taking row after row (float32 1e-5, float64 1e-9 with the table's gradient)",
    reference=row_by_row,
    cases=lookup_cases,
    kernels=("embedding",),
    mistakes=LOOKUP_MISTAKES,
)


def dot_by_dot(X: Tensor, table: Tensor) -> Tensor:
    """Take the dot product with each token's vector in turn, in 32 bits at least."""
    if X.shape[-1] != table.shape[-1]:
        raise ValueError("outputs and table must share d_model")
    wide = torch.promote_types(X.dtype, torch.float32)
    return torch.stack([(X.to(wide) * vector.to(wide)).sum(-1) for vector in table], dim=-1).to(X.dtype)


def logits_cases(seed: int) -> list[Case]:
    """Outputs of every shape, a square table, and one that does not fit though a product exists."""
    draw = Draw(seed)
    N, V, D = draw.sizes(3)
    return [
        Case("X (2, 2), a table of 3 tokens", (draw.normal(2, 2), draw.normal(3, 2))),
        Case(f"X ({N}, {D}), |V|={V}", (draw.normal(N, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}", (draw.normal(2, N, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}, other numbers", (draw.normal(2, N, D), draw.normal(V, D))),
        Case(f"X (2, 3, {N}, {D}), |V|={V}", (draw.normal(2, 3, N, D), draw.normal(V, D))),
        Case(f"one vector X ({D},)", (draw.normal(D), draw.normal(V, D))),
        Case(f"X (1, 1, {D}), |V|={V}", (draw.normal(1, 1, D), draw.normal(V, D))),
        Case(
            f"X (2, {N}, {D}), |V|={V}, both transposed views",
            (draw.normal(2, D, N).mT, draw.normal(D, V).mT),
        ),
        Case(f"X (2, 3, {N}, {D}), not contiguous", (scattered(draw.normal(2, 3, N, D)), draw.normal(V, D))),
        Case("a square table, |V| = D = 4", (draw.normal(3, 4), draw.normal(4, 4))),
        Case(
            f"X (2, {N}, {D}) in bfloat16", (draw.normal(2, N, D, dtype=BF16), draw.normal(V, D, dtype=BF16))
        ),
        Case(
            "float64, with gradients of both",
            (draw.normal(N, D, dtype=F64), draw.normal(V, D, dtype=F64)),
            gradient=(0, 1),
        ),
        Case(
            f"X ({N}, {V}) with a table ({V}, {D}): the widths differ", (draw.normal(N, V), draw.normal(V, D))
        ),
    ]


def multiplied_all_the_same(X: Tensor, table: Tensor) -> Tensor:
    """Multiply whatever can be multiplied."""
    return X @ (table.mT if X.shape[-1] == table.shape[-1] else table)


# fmt: off
TIED_MISTAKES = (
    ("the table is not transposed. What should stand at [n, t]: the dot product of which two vectors?",
     "table.mT", "table"),
    ("the scores are already turned into probabilities. Logits come before the softmax.",
     "X @ table.mT", "torch.softmax(X @ table.mT, dim=-1)"),
    ("the scores are divided by √D. That belongs to attention; what does the task ask for?",
     "table.mT", "table.mT / X.shape[-1] ** 0.5"),
    ("the vectors are normalised first: a cosine. May long vectors not count more?",
     "X @ table", "F.normalize(X, dim=-1) @ F.normalize(table, dim=-1)"),
    ("outputs and table of different width are multiplied all the same. Which two widths must agree?",
     multiplied_all_the_same),
    ("the table gets no gradient from here. It is the same table that embeds the tokens: should it not "
     "learn from both ends?",
     "table.mT", "table.detach().mT"),
    ("only the last token's logits are returned. Which tokens does training need?",
     "X @ table.mT", "(X @ table.mT)[..., -1:, :]"),
)
# fmt: on

TIED = Exercise(
    name="embedding.tied_logits",
    points=2,
    difficulty=1,
    minutes=5,
    against="one dot product after another (float32 1e-5, float64 1e-9 with gradients)",
    reference=dot_by_dot,
    cases=logits_cases,
    mistakes=TIED_MISTAKES,
)

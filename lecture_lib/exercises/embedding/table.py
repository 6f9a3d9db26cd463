"""The table of token vectors: looking tokens up, and the gradient from both ends of a tied model."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

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
        Case(f"ids (2, 5), table stored by columns ({D}, {V})", (draw.ids(5, 2, below=V).mT, draw.normal(D, V).mT)),
        Case("ids in int32", (draw.ids(4, below=V).int(), table())),
        Case("a table of 2500 tokens", (draw.ids(3, low=2100, below=2500), draw.normal(2500, 2))),
        Case("a table in bfloat16", (draw.ids(2, 3, below=V), draw.normal(V, D, dtype=BF16))),
        Case("a table of whole numbers, int64", (draw.ids(2, 3, below=V), draw.ids(V, D, below=99))),
        Case("float64, with the gradient of the table", (torch.cat([ids, ids]), double), gradient=(1,)),
        Case(f"the id {V} in a vocabulary of {V}: not there", (torch.tensor([0, V]), table())),
        Case(f"the id -1 in a vocabulary of {V}: not there", (torch.tensor([0, -1]), table())),
        Case("ids that are floats: 1.0 names no token", (torch.tensor([0.0, 1.0]), table())),
    ]  # fmt: skip


LOOKUP = Exercise(
    name="embedding.one_hot_lookup",
    points=0, difficulty=1, minutes=5,
    against="taking row after row (float32 1e-5, float64 1e-9 with the table's gradient)",
    reference=row_by_row,
    cases=lookup_cases,
    kernels=("embedding",),
    mistakes=(
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
    ),
)  # fmt: skip


def by_autograd(ids: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Let torch differentiate its own cross-entropy, in float64."""
    with torch.inference_mode(False), torch.enable_grad():
        wide = table.detach().clone().double().requires_grad_()
        loss = F.cross_entropy(wide[ids.clone()] @ wide.mT, targets.clone())
        return torch.autograd.grad(loss, wide)[0].to(table.dtype)


def without_autograd(answer: Callable, ids: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """Call the answer where torch keeps no graph."""
    with torch.inference_mode():
        return answer(ids, targets, table)


def gradient_cases(seed: int) -> list[Case]:
    """Tokens that come back, targets that are and are not among the ids, one token, large numbers, float64."""
    draw = Draw(seed)
    N, V, D = draw.sizes(3)
    order = draw.order(V)
    return [
        Case("one token of three, D=2", (torch.tensor([1]), torch.tensor([2]), draw.whole(3, 2) + 0.5)),
        Case("two tokens of three, D=2", (torch.tensor([1, 0]), torch.tensor([0, 2]), draw.normal(3, 2))),
        Case("a token that comes three times", (torch.tensor([1, 1, 1]), torch.tensor([0, 2, 3]), draw.normal(4, 2))),
        Case("a token that is its own target", (torch.tensor([2, 0]), torch.tensor([2, 1]), draw.normal(4, 3))),
        Case(f"N={N} tokens, |V|={V}, D={D}", (draw.ids(N, below=V), draw.ids(N, below=V), draw.normal(V, D))),
        Case(
            f"N={N} tokens, |V|={V}, D={D}, other numbers",
            (draw.ids(N, below=V), draw.ids(N, below=V), draw.normal(V, D)),
        ),
        Case(f"all {V} tokens once", (order, order.roll(1), draw.normal(V, D))),
        Case("a square table, |V| = D = 4", (draw.ids(5, below=3), draw.ids(5, below=4), draw.normal(4, 4))),
        Case("30 tokens, |V|=5, D=3", (draw.ids(30, below=5), draw.ids(30, below=5), draw.normal(5, 3))),
        Case(
            "vectors 40 times as long, float64",
            (draw.ids(6, below=5), draw.ids(6, below=5), 40 * draw.normal(5, 3, dtype=F64)),
        ),
        Case("float64", (draw.ids(7, below=V), draw.ids(7, below=V), draw.normal(V, D, dtype=F64))),
    ]  # fmt: skip


def tied_gradient(ids: Tensor, targets: Tensor, table: Tensor) -> Tensor:
    """The sum of what arrives at both ends; the mistakes below are changes of these lines."""
    X = table[ids]
    probs = torch.softmax(X @ table.mT, dim=-1)
    errors = (probs - F.one_hot(targets, len(table))) / len(ids)  # (N, vocab_size)
    read_out = errors.mT @ X
    return read_out.index_add(0, ids, errors @ table)


TIED_GRADIENT = Exercise(
    name="embedding.tied_gradient",
    points=4, difficulty=2, minutes=20,
    against="torch.autograd (float32 1e-5, float64 1e-9)",
    reference=by_autograd,
    right=tied_gradient,
    cases=gradient_cases,
    use=without_autograd,
    owned=("torch.autograd.grad", "torch.autograd.backward", "torch.func.jacfwd", "torch.func.jvp"),
    mistakes=(
        ("only the read-out is differentiated. At which other place does the table enter the loss?",
         "read_out.index_add(0, ids, errors @ table)", "read_out"),
        ("only the look-up is differentiated. At which other place does the table enter the loss?",
         "errors.mT @ X", "torch.zeros_like(table)"),
        (
            "a token that comes several times is counted once. What does `gradient[ids] += ...` do with equal ids?",
            "read_out.index_add(0, ids, errors @ table)",
            "read_out.index_put((ids,), read_out[ids] + errors @ table)",
        ),
        ("the loss is summed, not averaged. By what is the sum divided?", " / len(ids)", ""),
        ("the part of the look-up is summed, not averaged. Does the 1/N not belong to both parts?",
         "errors @ table", "len(ids) * errors @ table"),
        ("the part of the read-out is summed, not averaged. Does the 1/N not belong to both parts?",
         "errors.mT @ X", "len(ids) * errors.mT @ X"),
        ("it is divided by N a second time. How often does 1/N stand in the loss?",
         "/ len(ids)", "/ len(ids) ** 2"),
        ("softmax runs over the tokens of the text. Over what does it make a sum of one?",
         "dim=-1", "dim=0"),
        ("in the rows that were looked up, the part of the look-up stands in the place of the read-out's. What is to "
         "be added to what?",
         "read_out.index_add(0, ids, errors @ table)",
         "read_out.index_fill(0, ids, 0).index_add(0, ids, errors @ table)"),
        ("it is divided by the size of the vocabulary. Over what does the loss take its mean?",
         "/ len(ids)", "/ len(table)"),
        ("everything has the opposite sign. Which way does the loss go when the target's score grows?",
         "probs - F.one_hot(targets, len(table))", "F.one_hot(targets, len(table)) - probs"),
        ("the targets never enter. What is the derivative of ln softmax at the target itself?",
         "probs - F.one_hot(targets, len(table))", "probs"),
        ("the look-up's part lands in the rows of the targets. Which rows were looked up?",
         "index_add(0, ids", "index_add(0, targets"),
    ),
)  # fmt: skip

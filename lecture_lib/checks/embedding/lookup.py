"""Looking rows of the table up, held against taking them one by one."""

import torch
from torch import Tensor

from lecture_lib import embedding
from lecture_lib.checks.embedding.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def row_by_row(ids: Tensor, table: Tensor) -> Tensor:
    """Take the rows one after another; an id outside the table is refused."""
    wanted = ids.flatten().tolist()
    if ids.is_floating_point() or any(not 0 <= each < len(table) for each in wanted):
        raise ValueError("an id is no integer or outside the vocabulary")
    rows = [table.select(0, each) for each in wanted]
    return (
        torch.stack(rows).reshape(*ids.shape, table.shape[1])
        if rows
        else table.new_zeros(*ids.shape, table.shape[1])
    )


def lookup_cases(seed: int) -> list[Case]:
    """Ids of every shape, a square table, one stored by columns, and ids that are none."""
    draw = Draw(seed)
    V, D = draw.size(5, 9), draw.size(2, 4)
    ids = torch.tensor([V - 2, 0, 1])
    double = draw.normal(V, D, dtype=torch.float64)
    return [
        Case("ids (3,), a table of 4 tokens and D=2", (torch.tensor([2, 0, 2]), draw.normal(4, 2))),
        Case(f"ids (2, 5), |V|={V}, D={D}", (draw.ids(2, 5, below=V - 1), draw.normal(V, D))),
        Case(f"ids (2, 3, 4), |V|={V}, D={D}", (draw.ids(2, 3, 4, below=V), draw.normal(V, D))),
        Case("a square table, |V| = D = 3", (torch.tensor([0, 2, 1, 1]), draw.normal(3, 3))),
        Case(f"one id alone, of shape (), |V|={V}", (draw.ids(below=V), draw.normal(V, D))),
        Case(f"one sentence of one token, ids (1, 1), |V|={V}", (draw.ids(1, 1, below=V), draw.normal(V, D))),
        Case(f"no ids, of shape (0,), |V|={V}", (draw.ids(0, below=V), draw.normal(V, D))),
        Case(
            f"ids (2, 5) and a table stored by columns, (D, |V|) = ({D}, {V})",
            (draw.ids(5, 2, below=V).mT, draw.normal(D, V).mT),
        ),
        Case("float64, with the gradient of the table", (torch.cat([ids, ids]), double), gradient=(1,)),
        Case(f"the id {V} in a vocabulary of {V}: not there", (torch.tensor([0, V]), draw.normal(V, D))),
        Case(f"the id -1 in a vocabulary of {V}: not there", (torch.tensor([0, -1]), draw.normal(V, D))),
        Case("ids that are floats: 1.0 names no token", (torch.tensor([0.0, 1.0]), draw.normal(V, D))),
    ]


_lookup = embedding.one_hot_lookup
LOOKUP = Exercise(
    name="embedding.one_hot_lookup",
    points=3,
    difficulty=1,
    minutes=10,
    against="taking row after row (float32 1e-5, float64 1e-9 with the table's gradient)",
    reference=row_by_row,
    cases=lookup_cases,
    kernels=("embedding",),
    mistakes=(
        Mistake(
            "ids are counted from 1, so that every token gets its neighbour's row. Which row belongs to id 0?",
            altered(_lookup, ("F.one_hot(ids.long(),", "F.one_hot((ids.long() - 1) % len(table),")),
        ),
        Mistake(
            "columns of the table are taken instead of rows. Which axis of (vocab_size, d_model) counts the tokens?",
            altered(_lookup, ("one_hot @ table", "one_hot @ table.mT")),
        ),
        Mistake(
            "the one-hot vectors are as long as the largest id that occurs. Who says how many tokens there are?",
            altered(_lookup, ("F.one_hot(ids.long(), table.shape[0])", "F.one_hot(ids.long())")),
        ),
        Mistake(
            "an id outside the vocabulary is not refused with a ValueError. What is table[-1], and would you notice?",
            lambda ids, table: table[ids],
        ),
        Mistake(
            "only ids that are too large are refused. What does a negative index mean in Python?",
            altered(
                _lookup,
                ("check_ids(ids, table.shape[0])", "check_ids(ids.abs(), table.shape[0])"),
                ("ids.long(),", "ids.long() % len(table),"),
            ),
        ),
        Mistake(
            "ids that are no integers are rounded and looked up. Which token is 1.5?",
            altered(_lookup, ("check_ids(ids, table", "check_ids(ids.long(), table")),
        ),
        Mistake(
            "the vectors of a row are summed: a bag of words. Does each token still have a vector of its own?",
            altered(_lookup, ("one_hot @ table", "(one_hot @ table).sum(-2)")),
        ),
        Mistake(
            "the table is cut off from the gradient. How would it ever be learned?",
            altered(_lookup, ("one_hot @ table", "one_hot @ table.detach()")),
        ),
        Mistake(
            "leading axes are lost: a batch of sentences comes back as one list of vectors. What is ids.shape for?",
            altered(_lookup, ("one_hot @ table", "(one_hot @ table).reshape(-1, table.shape[1])")),
        ),
        Mistake(
            "everything is turned into float32. Which number type does the table have?",
            altered(_lookup, ("one_hot @ table", "(one_hot @ table).float()")),
        ),
    ),
)

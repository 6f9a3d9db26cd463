"""Tokens as vectors: the table Omega_e that a model looks its words up in, and reads them out by.

The lecture keeps its vocabulary as a matrix Omega_e of D rows and |V| columns, one column a token (Prince's convention).
Here a token is a row: the code stores the table Omega_e^T, (vocab_size, d_model), and a vector is `table[id]`.

Source: lecture, "Embedding"; Vaswani et al. (2017), section 3.4.
Axes: N tokens, D = d_model; `...` any number of leading axes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def one_hot_lookup(ids: Tensor, table: Tensor) -> Tensor:
    r"""Look vectors up as a matrix product: $\mathrm{onehot}(t)\,\Omega_e^T$, the definition of an embedding.

    `table[ids]` gives the same numbers without multiplying by all those zeros.

    Args:
        ids: (...) token ids, of any integer type.
        table: (vocab_size, d_model) one row a token.

    Returns:
        (..., d_model) the rows of the tokens.

    Raises:
        ValueError: an id is no integer or outside the vocabulary.

    Example:
        >>> one_hot_lookup(torch.tensor([2, 0]), torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]]))
        tensor([[1., 5.],
                [0., 1.]])

    Source: Prince (2023), section 12.5; Bishop & Bishop (2024), section 12.2.1.
    """
    check_ids(ids, table.shape[0])
    one_hot = F.one_hot(ids.long(), table.shape[0]).to(table.dtype)  # (..., vocab_size)
    return one_hot @ table


def tied_logits(X: Tensor, table: Tensor) -> Tensor:
    r"""Score every token with the table that embedded them: $X\,\Omega_e$.

    Args:
        X: (..., N, d_model) outputs of the last layer.
        table: (vocab_size, d_model) the token table.

    Returns:
        (..., N, vocab_size) logits: the dot product of each output with each token's vector.

    Raises:
        ValueError: outputs and table differ in width.

    Example:
        >>> tied_logits(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]]))
        tensor([[ 2.,  2., 11.]])

    Source: Press & Wolf (2017); Vaswani et al. (2017), section 3.4.
    """
    if X.shape[-1] != table.shape[-1]:
        raise ValueError(f"outputs and table share d_model: got {tuple(X.shape)} and {tuple(table.shape)}")
    return X @ table.mT


def check_ids(ids: Tensor, vocab_size: int, kind: str = "token") -> None:
    """Refuse ids, (...) of any `kind`, that are no integers or outside 0 ... vocab_size - 1.

    Args:
        ids: (...) integers; read on a CPU only, as on a GPU this would make the program wait for the device.
        kind: what the ids stand for, named in the message.
    """
    if ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise ValueError(f"{kind} ids must be integers (torch.int64), got {ids.dtype}")
    if ids.device.type == "cpu" and ids.numel():
        low, high = map(int, ids.aminmax())
        if low < 0 or high >= vocab_size:
            wrong = low if low < 0 else high
            among = f"the vocabulary of {vocab_size}" if kind == "token" else f"the {vocab_size} {kind}s"
            raise ValueError(f"{kind} id {wrong} is outside {among} (ids 0 to {vocab_size - 1})")


class TokenEmbedding(nn.Embedding):
    """The learned table of token vectors, Omega_e^T: `weight` is (vocab_size, d_model)."""

    def forward(self, ids: Tensor) -> Tensor:
        """Look the vectors of the tokens up: (...) integer ids to (..., d_model)."""
        check_ids(ids, self.num_embeddings)
        return F.embedding(ids.long(), self.weight)

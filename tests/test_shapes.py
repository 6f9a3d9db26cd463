"""The watch over documented shapes sees a lie, and leaves the truth alone."""

import pytest
import shapes
import torch

from lecture_lib import attention


def matmul(a, b):
    """Multiply.

    Args:
        a: (..., N, D) left.
        b: (D, M) right.

    Returns:
        (..., N, M) the product.
    """
    return a @ b


def transposed(a):
    """Lie about the result.

    Args:
        a: (N, M) a matrix.

    Returns:
        (N, M) not really.
    """
    return a.mT


def doubled(a, b, factor=2):
    """Multiply, as `matmul`, and scale: (..., N, M)."""
    return factor * (a @ b)


def column(a, b):
    """Refer for the result, and for an argument under its own name.

    Args:
        a: (N, D) one matrix only.
        b: As `matmul`.

    Returns:
        As `matmul`.
    """
    return a @ b


class Model:
    """A class whose methods refer to each other."""

    def features(self, ids):
        """Look up.

        Args:
            ids: (B, N) tokens.

        Returns:
            (B, N, D) vectors.
        """
        return ids[..., None].repeat(1, 1, 4)

    def scores(self, ids):
        """Score, as `features`: (B, N) numbers."""
        return self.features(ids).sum(-1)

    def wrong(self, ids):
        """Give (B, M) numbers from what is like `features`, as `Model.features`."""
        return ids[0]

    def prose(self, ids):
        """Sort as `nobody` would."""
        return ids


def test_a_docstring_may_refer():
    assert shapes.documented(doubled) == {
        "a": [["...", "N", "D"]],
        "b": [["D", "M"]],
        "return": [["...", "N", "M"]],
    }
    assert shapes.documented(column) == {"a": [["N", "D"]], "b": [["D", "M"]], "return": [["...", "N", "M"]]}
    assert shapes.documented(Model.scores) == {"ids": [["B", "N"]], "return": [["B", "N"]]}
    assert shapes.documented(Model.prose) == {}
    assert shapes.watched(doubled)(torch.zeros(5, 2, 3), torch.zeros(3, 4)).shape == (5, 2, 4)
    assert shapes.watched(Model.scores)(Model(), torch.zeros(2, 3)).shape == (2, 3)


def test_a_lie_is_caught_through_a_reference():
    with pytest.raises(shapes.ShapeLie, match=r"return is documented as \(B, M\), is \(3,\)"):
        shapes.watched(Model.wrong)(Model(), torch.zeros(2, 3))
    with pytest.raises(shapes.ShapeLie, match=r"ids is documented as \(B, N\), is \(3,\)"):
        shapes.watched(Model.scores)(Model(), torch.zeros(3))
    with pytest.raises(shapes.ShapeLie, match=r"b is documented as \(D, M\), is \(1, 3, 4\)"):
        shapes.watched(column)(torch.zeros(2, 3), torch.zeros(1, 3, 4))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Cut (..., K) into (..., G).", ""),
        ("Mark what has appeared: (..., V) bool.", "(..., V) bool."),
        ("Zeros (only zeros, or underflow) become 1.", ""),
        ("Give (2 N,) places.", "(2 N,) places."),
        ("Call `f(a, b)` on $g(x, y)$ (see the lecture).", ""),
    ],
)
def test_the_shape_in_a_first_line(line, found):
    assert shapes.first_shape(line) == found


def test_a_true_documentation_passes():
    assert shapes.watched(matmul)(torch.zeros(5, 2, 3), torch.zeros(3, 4)).shape == (5, 2, 4)


def test_a_lie_is_caught():
    with pytest.raises(shapes.ShapeLie, match=r"return is documented as \(N, M\), is \(3, 2\)"):
        shapes.watched(transposed)(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("(B, N, D) tokens", [["B", "N", "D"]]),
        ("(B,) lengths", [["B"]]),
        ("() a loss", [[]]),
        ("(N,) or (B, N) ids", [["N"], ["B", "N"]]),
        ("(..., H * D_k) features", [["...", "H * D_k"]]),
        ("(B, N, |V|) logits", [["B", "N", "|V|"]]),
        ("(optional) words", []),
        ("a number", []),
    ],
)
def test_what_counts_as_a_shape(text, axes):
    assert shapes.parse(text) == axes


def test_the_library_is_watched_in_these_tests():
    assert hasattr(attention.scaled_dot_product_attention, "__wrapped__")
    assert "return" in shapes.documented(attention.scaled_dot_product_attention.__wrapped__)
    assert hasattr(attention.MultiHeadAttention.forward, "__wrapped__")

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

"""The course's figures."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from lecture_lib import plots


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_a_heat_map_shows_the_matrix_it_is_given():
    matrix = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]], requires_grad=True)
    axes = plots.heat_map(matrix, rows=["a", "b"], columns=["x", "y", "z"])
    assert np.allclose(axes.images[0].get_array(), matrix.detach())
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_zero_is_white_when_there_are_negative_numbers():
    axes = plots.heat_map(np.array([[-1.0, 3.0]]))
    assert axes.images[0].get_clim() == (-3, 3)
    assert axes.images[0].cmap(0.5)[:3] == pytest.approx((0.97, 0.97, 0.97), abs=0.02)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2, 2))])
def test_what_is_no_matrix_is_refused(values):
    with pytest.raises(ValueError, match="a matrix with fitting labels"):
        plots.heat_map(values)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="got \\(2, 3\\), 1 rows"):
        plots.heat_map(np.zeros((2, 3)), rows=["a"])


def test_token_boxes_show_every_token_and_no_markup_of_its_own():
    page = plots.token_boxes([" a", "<b>", " a", "\n", "\ufffd"])
    assert page.count("<code") == 5
    assert "␣a" in page and "&lt;b&gt;" in page and "<b>" not in page and "⏎" in page
    first, third = (page.split("<code")[i].split("background:")[1][:7] for i in (1, 3))
    assert first == third  # the same token has the same colour

"""A number to predict: the largest step with which layers of linear attention do not blow up."""

import numpy as np

from lecture_lib.checks.kinds import predict

INPUTS = ((2, 1), (1, 2), (2, 1), (1, 2))


def largest_rate() -> float:
    """2 over the largest eigenvalue of the mean of x xᵀ, which has 5/2 on and 2 beside the diagonal."""
    X = np.array(INPUTS, dtype=float)
    return 2 / float(np.linalg.eigvalsh(X.T @ X / len(X)).max())


# fmt: off
LARGEST_RATE = predict(
    "prompting.largest_rate",
    largest_rate,
    factor=1.02,
    against="the eigenvalues of the mean of x xᵀ",
    points=1,
    difficulty=2,
    minutes=8,
    misses=(
        ("that is 1/λ: the step that removes the error along this direction at once. By which factor may the error change, and in which sign?",
         1 / 4.5),
        ("that is 2 over the smallest eigenvalue. Which direction blows up first?", 2 / 0.5),
        ("the sum was taken where the loss has a mean. What does 1/N do to the eigenvalues?", 2 / 18),
        ("that is 2 over the trace, the sum of both eigenvalues. Which of them decides?", 2 / 5),
        ("that is 2 over an entry of the diagonal. In which direction do the inputs really lie?", 2 / 2.5),
        ("that is the largest eigenvalue itself.", 4.5),
    ),
)
# fmt: on

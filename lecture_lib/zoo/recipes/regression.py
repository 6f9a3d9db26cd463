"""A model that does regression in its context: after some pairs (x, y) of a task never seen it predicts the next y.

Its tokens are vectors, so it has no tokenizer; the trunk is a decoder whose token table is not used.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lecture_lib.corpora.regression import prompt_tokens, regression_tasks, ridge_predictions
from lecture_lib.decoder import Decoder
from lecture_lib.files import atomic_write
from lecture_lib.pretrained import load_pretrained, save_pretrained
from lecture_lib.training import Batch, TrainingConfig
from lecture_lib.transformer import ModelConfig, make_context
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train

D, N_PAIRS, NOISE, TEST_SEED = 2, 12, 0.1, 10**6
ENDS = "ends.safetensors"


class Regressor(nn.Module):
    """Read vectors, (B, 2N, D + 2) of `prompt_tokens`, and predict the y that follows each x, (B, N)."""

    def __init__(self, trunk: Decoder, d: int = D) -> None:
        super().__init__()
        self.trunk = trunk
        width = trunk.config.d_model
        self.ends = nn.ModuleDict({"into": nn.Linear(d + 2, width), "out": nn.Linear(width, 1)})

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict, at every x, its y."""
        X = self.ends["into"](tokens)
        here = make_context(self.trunk.config, X, is_causal=True)
        return self.ends["out"](self.trunk.stack(X, here))[:, ::2, 0]


def squared_error(model: nn.Module, batch: Batch) -> Tensor:
    """Mean of (prediction - y)^2 over pairs, in units of D."""
    return (model(*batch.inputs) - batch.targets).square().mean() / D


def tasks(seed: int, batch_size: int):
    """Draw batches of new tasks without end."""
    while True:
        X, y, _ = regression_tasks(batch_size, N_PAIRS, D, seed, NOISE)
        tokens = torch.from_numpy(prompt_tokens(X, y)).float()
        yield Batch((tokens,), torch.from_numpy(y).float())
        seed += 1


def make(seed: int, train: Train) -> Made:
    """Train on new tasks at every step."""
    config = ModelConfig(
        vocab_size=1,
        d_model=64,
        n_heads=4,
        n_layers=3,
        context_length=2 * N_PAIRS,
        norm="rms",
        norm_eps=1e-6,
        norm_first=True,
        activation="swiglu",
        d_ff=172,
        positions="rotary",
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
    )
    torch.manual_seed(seed)
    model = Regressor(Decoder(config, torch.Generator().manual_seed(seed)))
    train(model, tasks(10_000 * (seed + 1), 64), TrainingConfig(2500, 2e-3, 100), squared_error)
    return model, None


def errors(model: nn.Module, noise: float = NOISE, n_tasks: int = 2000) -> dict[str, np.ndarray]:
    """Give the squared error by number of examples, (N,), in units of D: of the model, and of ridge regression."""
    X, y, w = regression_tasks(n_tasks, N_PAIRS, D, TEST_SEED, noise)
    with torch.no_grad():
        said = model(torch.from_numpy(prompt_tokens(X, y)).float()).double().numpy()
    predictions = {"model": said, "ridge": ridge_predictions(X, y, noise)}
    return {name: ((values - y) ** 2).mean(0) / D for name, values in predictions.items()}


def measure(model: nn.Module, tokenizer: None) -> Metrics:
    """Measure the error after 2 and 11 examples, and beside the best possible one."""
    found = errors(model)
    ratio = found["model"] / found["ridge"]
    return {
        "error_2": found["model"][2],
        "error_11": found["model"][11],
        "times_ridge_2": ratio[2],
        "times_ridge_11": ratio[11],
    }


def write(model: Regressor, tokenizer: None, folder: Path) -> None:
    """Write the trunk as a decoder's checkpoint, and beside it the two maps between vectors and numbers."""
    save_pretrained(model.trunk, None, folder)
    with atomic_write(folder / ENDS) as path:
        save_file({name: value.contiguous() for name, value in model.ends.state_dict().items()}, path)


def read(folder: Path) -> Made:
    """Read what `write` wrote."""
    model = Regressor(load_pretrained(folder, tokenizer=False)[0])
    model.ends.load_state_dict(load_file(folder / ENDS))
    return model, None


RECIPES = (
    Recipe(
        "regression",
        summary="a decoder that does linear regression in its context: pairs (x, y) with x of two components",
        cannot="It knows two dimensions, twelve pairs, and the noise of its training.",
        make=make,
        measure=measure,
        bands={"times_ridge_2": (0.95, 1.6), "times_ridge_11": (0.95, 2.0)},
        write=write,
        read=read,
    ),
)

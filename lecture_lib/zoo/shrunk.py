"""The gpt in fewer bits: what is lost, by method, width, size of the groups and calibration text; and a cache in fewer bits.

`python -m lecture_lib.zoo.shrunk` measures all of it anew, in about six minutes of one core.
Everything that is no code (token table, norms, scales, zero points) is counted and used in half precision.
"""

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lecture_lib.corpora.english import english_text
from lecture_lib.files import atomic_write
from lecture_lib.quantization import affine_parameters, dequantize, quantize, quantize_model, stored_bytes
from lecture_lib.training import Batch, evaluate, random_windows, sequential_windows, target_loss
from lecture_lib.transformer import make_context
from lecture_lib.zoo.store import load

CARD = Path(__file__).parent / "small" / "shrunk.json"
WIDTHS, GROUPS, METHODS, SEEDS = (8, 4, 3, 2), (None, 32), ("rtn", "gptq", "awq"), range(10)
CONTEXT, N_WINDOWS = 256, 16  # of the text that calibrates
CACHE_WIDTHS = (8, 6, 5, 4, 3, 2)


@cache
def held_out() -> tuple[tuple[Batch, ...], int]:
    """Give the text that measures, in windows, and its bytes: the card of the gpt names the same one."""
    text = english_text(split="validation")
    return tuple(sequential_windows(load("gpt")[1].encode(text), 8, CONTEXT)), len(text.encode())


@cache
def training_ids() -> Tensor:
    """Give text that the gpt was trained on, as ids."""
    return torch.tensor(load("gpt")[1].encode(english_text(split="train")))


def calibration(seed: int) -> Tensor:
    """Draw windows of the training text, (16, 256) ids."""
    windows = random_windows(training_ids(), N_WINDOWS, CONTEXT, torch.Generator().manual_seed(seed))
    return next(windows).inputs[0]


def shrunk(bits: int, group_size: int | None = None, method: str = "rtn", seed: int = 0) -> nn.Module:
    """Quantize the gpt's layers; one scale a row of a weight, or one for `group_size` neighbours."""
    model = load("gpt")[0].half().float()
    given = None if method == "rtn" else [calibration(seed)]
    model = quantize_model(model, bits, group_size, method, given, progress=False)
    return model.half().float()


def measured(model: nn.Module, objective: object = target_loss) -> float:
    """Give bits per byte of the held-out text."""
    batches, n_bytes = held_out()
    return evaluate(model, batches, objective, n_bytes).bits_per_byte


def in_bytes(model: nn.Module) -> int:
    """Count what a file of the model would hold."""
    return stored_bytes(copy.deepcopy(model).half())


def there_and_back(x: Tensor, bits: int) -> Tensor:
    """Round each row of x (..., K) on an affine grid of its own."""
    scale, zero_point = affine_parameters(x, bits)
    return dequantize(quantize(x, scale, zero_point, bits), scale, zero_point)


def with_rounded_cache(bits: int, keys: bool = True, values: bool = True, channels: bool = False) -> object:
    """Give an objective in which tokens read rounded keys and values: one scale a token and head.

    With `channels` a key's scale belongs to one feature in all tokens of a window instead.
    """

    def keep(layer: int, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        K_hat = there_and_back(K.mT, bits).mT if channels else there_and_back(K, bits)
        return K_hat if keys else K, there_and_back(V, bits) if values else V

    def objective(model: nn.Module, batch: Batch) -> Tensor:
        (ids,) = batch.inputs
        here = replace(make_context(model.config, ids, is_causal=True), keep=keep)
        return target_loss(lambda ids: model(ids, here=here), batch)

    return objective


def measure_weights() -> list[dict]:
    """Measure every width, group size and method; a row holds the bits per byte of every calibration."""
    rows = []
    for bits in tqdm(WIDTHS):
        for group_size in GROUPS:
            for method in METHODS:
                seeds = SEEDS[:1] if method == "rtn" else SEEDS
                models = [shrunk(bits, group_size, method, seed) for seed in seeds]
                found = [round(measured(model), 4) for model in models]
                row = {"bits": bits, "group_size": group_size, "method": method}
                rows.append(row | {"bytes": in_bytes(models[0]), "bits_per_byte": found})
    return rows


def measure_cache() -> list[dict]:
    """Measure the gpt with a cache of every width: keys alone, values alone, both, and keys by channels."""
    kinds = {
        "both": {},
        "keys": {"values": False},
        "values": {"keys": False},
        "keys by channel": {"values": False, "channels": True},
    }
    gpt = load("gpt")[0]
    return [
        {"bits": bits, "what": name}
        | {"bits_per_byte": round(measured(gpt, with_rounded_cache(bits, **kind)), 4)}
        for bits in CACHE_WIDTHS
        for name, kind in kinds.items()
    ]


def card() -> dict:
    """Give what was measured."""
    return json.loads(CARD.read_text(encoding="utf-8"))


def main() -> None:
    """Measure, and write the card."""
    torch.set_num_threads(1)
    gpt = load("gpt")[0]
    found = {
        "what": "bits per byte of the zoo's gpt on held-out English after quantization; a row lists calibrations 0 to 9",
        "recipe": "python -m lecture_lib.zoo.shrunk",
        "sixteen_bits": {"bytes": in_bytes(gpt), "bits_per_byte": round(measured(gpt), 4)},
        "weights": measure_weights(),
        "cache": measure_cache(),
    }
    lists = (
        [f"  {json.dumps(row)}" for row in found["weights"]],
        [f"  {json.dumps(row)}" for row in found["cache"]],
    )
    head = ",\n".join(
        f" {json.dumps(key)}: {json.dumps(found[key])}" for key in ("what", "recipe", "sixteen_bits")
    )
    tables = ",\n".join(
        f' "{name}": [\n' + ",\n".join(rows) + "\n ]"
        for name, rows in zip(("weights", "cache"), lists, strict=True)
    )
    with atomic_write(CARD) as part:
        Path(part).write_text(f"{{\n{head},\n{tables}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

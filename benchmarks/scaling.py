"""Loss above the exact floor against parameters and against data, for the decoder of chapter 6.

    python benchmarks/scaling.py --seeds 0 1 2

Every loss is a sum over all texts of the source, so it has no sampling error; what differs between seeds is the model and
its text. Parameters: widths 1 to 16, 800 steps on a million tokens. Data: width 16, 600 steps on a text of 100 to 100,000
tokens, evaluated every 25 steps; the best evaluation counts, which nobody could choose without knowing the source. Minutes a seed.
"""

import argparse
import platform
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from lecture_lib.pretrained.files import write_json
from lecture_lib.training import clip_gradients, cross_entropy, random_windows
from lecture_lib.zoo.recipes import beliefs

RESULT = Path(__file__).parent / "results" / "scaling.json"
WIDTHS = (1, 2, 4, 8, 16)
TEXTS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)


def above_floor(model: torch.nn.Module) -> float:
    """Mean distance to the floor in nats, exact."""
    return float((beliefs.exact_losses(model) - torch.tensor(beliefs.floors())).mean())


def by_width(seed: int, text: Tensor) -> list[dict]:
    """Train one model of each width on as much text as it wants."""
    rows = []
    for width in WIDTHS:
        model = beliefs.train_model(beliefs.new_model(seed, width), text, seed, steps=800)
        count = sum(p.numel() for p in model.parameters())
        rows.append({"seed": seed, "width": width, "parameters": count, "above": above_floor(model)})
    return rows


def by_data(seed: int, text: Tensor) -> list[dict]:
    """Train on a short piece of the text again and again, and stop when it was best."""
    rows, start = [], seed * 150_000 % 800_000
    for n_tokens in TEXTS:
        model = beliefs.new_model(seed, 16)
        batches = random_windows(
            text[start : start + n_tokens], 64, beliefs.N_TOKENS, torch.Generator().manual_seed(seed)
        )
        optimizer, seen = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0), []
        for step, batch in zip(range(601), batches, strict=False):
            if step % 25 == 0:
                seen.append(above_floor(model))
            optimizer.zero_grad()
            cross_entropy(model(*batch.inputs), batch.targets).backward()
            clip_gradients(model.parameters(), 1.0)
            optimizer.step()
        best = min(range(len(seen)), key=seen.__getitem__)
        rows.append(
            {"seed": seed, "tokens": n_tokens, "above": seen[best], "best_step": 25 * best, "last": seen[-1]}
        )
    return rows


def main() -> None:
    """Measure with every seed and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    text, rows = beliefs.text(), {"parameters": [], "data": []}
    for seed in asked.seeds:
        rows["parameters"] += by_width(seed, text)
        rows["data"] += by_data(seed, text)
        about = {"date": str(date.today()), "machine": platform.machine(), "torch": torch.__version__}
        write_json(RESULT, {**about, **rows})
        print(f"seed {seed}: done")


if __name__ == "__main__":
    main()

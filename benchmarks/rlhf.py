"""What PPO's rollouts cost: replies drawn through the cache, beside the loop that reads the whole text at every step.

The policy is the course model's shape with random weights; both sides draw the same tokens from the same seed.
"""

from harness import Benchmark, median_ratio  # before torch: it sets the number of threads

# isort: split
import torch
from torch import Tensor

from lecture_lib import generation, rlhf
from lecture_lib.decoder import Decoder
from lecture_lib.training import pad
from lecture_lib.transformer import ModelConfig

COURSE = ModelConfig(
    vocab_size=90,
    d_model=80,
    n_heads=4,
    n_layers=3,
    context_length=128,
    d_ff=216,
    norm="rms",
    norm_first=True,
    activation="swiglu",
    positions="rotary",
    qkv_bias=False,
    out_bias=False,
    mlp_bias=False,
)
B, PROMPT, NEW = 32, 40, 60


def main() -> None:
    bench = Benchmark("rlhf")
    policy = Decoder(COURSE, torch.Generator().manual_seed(0)).eval()
    prompts = torch.randint(1, 90, (B, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()

    def cached() -> Tensor:
        return rlhf.rollout(policy, prompts, NEW, torch.Generator().manual_seed(2)).ids

    def slow() -> Tensor:
        texts = generation.generate(policy, prompts, NEW, generator=torch.Generator().manual_seed(2))
        return pad([text.tolist() for text in texts])[0]

    what = f"{B} replies of {NEW} tokens to prompts of {PROMPT}"
    drawn = bench.measure(what, {"slow loop": slow, "cached": cached}, tolerance=0, work=B, unit="rollouts/s")
    bench.goal("cached / slow loop, time", median_ratio(drawn["cached"], drawn["slow loop"]), at_most=0.5)
    bench.finish()


if __name__ == "__main__":
    main()

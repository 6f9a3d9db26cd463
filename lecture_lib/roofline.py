"""The roofline of a model: how fast can it read and write, at best, on this machine?

For one new token every weight is read once and every key and value of the row; for B rows the weights are read once
together. The step takes at least bytes / bandwidth and at least FLOPs / rate, whichever is longer: under the slope of the
roof a machine waits for its memory, under its flat part for its arithmetic. GB are 10^9 bytes.

Source: Williams, Waterman & Patterson (2009); Pope et al. (2022), section 2; lecture, "How fast?".
Axes: B rows, L layers, H heads, H_kv key-value heads, D_k = d_head, D = d_model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.quantization import QuantizedLinear, stored_bytes
from lecture_lib.transformer import ModelConfig


class Reader(Protocol):
    """Whatever reads texts and remembers them, such as `kv_cache.Cached`."""

    def read(self, rows: list[list[int]]) -> Tensor:
        """Give the (B, |V|) logits of what follows each text."""


@dataclass(frozen=True)
class StepCost:
    """What one forward costs: as a rule one new token in each of B rows.

    Example:
        >>> cost = StepCost(weight_bytes=140e9, kv_bytes=0.0, flops=140e9, batch=1)  # 70 B in 16 bits
        >>> f"{cost.bandwidth_for(145.38) / 1e12:.1f} TB/s"
        '20.4 TB/s'
    """

    weight_bytes: float  # bytes of weights that a step reads
    kv_bytes: float  # bytes of keys and values that it reads
    flops: float  # floating-point operations, a multiplication and an addition are two
    batch: int  # tokens that a step takes in: rows B times new tokens a row

    @property
    def bytes(self) -> float:
        """Bytes that a step reads."""
        return self.weight_bytes + self.kv_bytes

    @property
    def intensity(self) -> float:
        """FLOP a byte; below rate / bandwidth of the machine it is memory that a step waits for."""
        return self.flops / self.bytes

    def tokens_per_second(self, bandwidth: float, flop_rate: float) -> float:
        r"""Predict the speed of all rows together: $B \min(\mathrm{bandwidth}/\mathrm{bytes}, \mathrm{rate}/\mathrm{FLOPs})$."""
        return self.batch * min(bandwidth / self.bytes, flop_rate / self.flops)

    def bandwidth_for(self, tokens_per_second: float) -> float:
        """Ask what memory, in bytes/s, a speed of all rows needs; if a machine has less, something else was measured."""
        return self.bytes * tokens_per_second / self.batch

    def utilisation(self, tokens_per_second: float, bandwidth: float) -> float:
        """Say what fraction of a bandwidth in bytes/s a measured speed makes use of: 1 at the slope of the roof."""
        return self.bandwidth_for(tokens_per_second) / bandwidth


def step_cost(model: Decoder, context: int, batch: int = 1, n_new: int = 1) -> StepCost:
    """Count what one step of B rows reads and computes, from the weights as they are stored; `context`: tokens in each row.

    The last `n_new` of them are new: 1 in decoding, all of them when a prompt is read, of which only the last one meets the head.

    A table of embeddings is looked up, one row a token, unless the head is the same table and reads it whole. Norms and
    activations are small beside the products, and not counted as operations; quantized layers count with codes and scales.
    """
    context, batch, n_new = whole("context", context, 1), whole("batch", batch, 1), whole("n_new", n_new, 1)
    if n_new > context:
        raise ValueError(f"of {context} tokens in a row at most {context} are new, got n_new {n_new}")
    config, modules = model.config, list(model.modules())
    linear = [m for m in modules if isinstance(m, nn.Linear | QuantizedLinear)]
    read_whole = {id(m.weight) for m in linear if isinstance(m, nn.Linear)}
    tables = [m.weight for m in modules if isinstance(m, nn.Embedding) and id(m.weight) not in read_whole]
    rows = sum(table.nbytes // len(table) for table in tables)
    weight_bytes = stored_bytes(model) - sum(table.nbytes for table in tables) + batch * n_new * rows
    sizes = {m: m.in_features * m.out_features for m in linear}
    products = n_new * sum(sizes.values()) - (n_new - 1) * sizes[model.head]
    pairs = n_new * (2 * context - n_new + 1) // 2  # (new token, token that it looks at)
    attention = 2 * config.n_layers * config.n_heads * config.d_head * pairs  # scores, and the mix of values
    dtype = model.embedding.tokens.weight.dtype
    return StepCost(
        weight_bytes=weight_bytes,
        kv_bytes=batch * context * kv_bytes_per_token(config, dtype),
        flops=2 * batch * (products + attention),
        batch=batch * n_new,
    )


def kv_bytes_per_token(config: ModelConfig, dtype: torch.dtype = torch.float16) -> int:
    r"""Count the bytes of one cached token: $2\,L\,H_{kv}\,D_k$ numbers of a dtype.

    Example:
        >>> config = ModelConfig(vocab_size=32000, d_model=4096, n_heads=32, n_layers=32, context_length=4096)
        >>> kv_bytes_per_token(config)  # Llama 2 7B in 16 bits
        524288
    """
    return 2 * config.n_layers * config.n_kv_heads * config.d_head * dtype.itemsize


@dataclass(frozen=True)
class MemoryBudget:
    """Where the memory of a card goes."""

    weight_bytes: float  # bytes of the weights
    left: float  # bytes that remain for keys and values
    tokens: int  # tokens, of all rows together, that fit into them


def memory_budget(
    n_parameters: float, memory: float, token_bytes: float, bytes_per_parameter: float = 2.0
) -> MemoryBudget:
    """Divide the memory of a card (bytes) between weights and cached tokens; weights that do not fit are refused.

    `token_bytes`: of one cached token, from `kv_bytes_per_token`. `bytes_per_parameter`: 4 for float32, 2 for float16 and
    bfloat16, 1 for INT8, 0.5 for INT4.

    Example:
        >>> budget = memory_budget(7e9, memory=24e9, token_bytes=524_288)  # 7 B weights, a 24 GB card
        >>> f"{budget.weight_bytes / 1e9:.0f} GB + {budget.left / 1e9:.0f} GB: {budget.tokens:,} tokens"
        '14 GB + 10 GB: 19,073 tokens'
    """
    weight_bytes = n_parameters * bytes_per_parameter
    if weight_bytes > memory:
        raise ValueError(f"the weights take {weight_bytes / 1e9:.1f} GB, the card has {memory / 1e9:.1f} GB")
    left = memory - weight_bytes
    return MemoryBudget(weight_bytes, left, int(left / token_bytes))


def measure_bandwidth(n_bytes: int = 2**28, device: torch.device | str = "cpu", repeats: int = 5) -> float:
    """Measure in bytes/s how fast memory is read, by the sum over far more bytes than a processor keeps; the best of `repeats`."""
    numbers = torch.ones(n_bytes // 4, dtype=torch.float32, device=device)
    return numbers.nbytes / fastest(numbers.sum, numbers.device, repeats)


def measure_matmul(
    n: int = 1024, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", repeats: int = 5
) -> float:
    """Measure in FLOP/s how fast n x n matrices are multiplied, 2 n^3 operations; on a GPU take n = 8192. The best of `repeats`."""
    A = torch.ones(n, n, dtype=dtype, device=device)
    return 2 * n**3 / fastest(lambda: A @ A, A.device, repeats)


def measure_steps(reader: Reader, batch: int, context: int, repeats: int = 8) -> float:
    """Measure in tokens/s how fast B rows of `context` tokens go on together; the fastest of `repeats` steps.

    `reader`: a `kv_cache.Cached`, with room for `repeats` + 1 tokens more.
    """
    rows = [[0] * context for _ in range(batch)]
    device = reader.read(rows).device

    def step() -> None:
        for row in rows:
            row.append(0)
        reader.read(rows)

    return batch / fastest(step, device, repeats)


def measure_prompt(reader: Reader, n_tokens: int, repeats: int = 3) -> float:
    """Measure in tokens/s how fast one prompt is read; `reader` and `repeats` as in `measure_steps`."""
    prompt = [[0] * n_tokens]
    device = reader.read(prompt).device
    return n_tokens / fastest(lambda: reader.read(prompt), device, repeats)


def fastest(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Time some work in seconds, the fastest of `repeats` after one call to warm up; on a GPU wait for its end.

    On one thread of a CPU the time of this process counts, so that the turns of other programs do not.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    fine = time.get_clock_info("process_time").resolution < 1e-6
    clock, times = time.process_time if alone and fine else time.perf_counter, []
    for _ in range(repeats + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return min(times[1:])

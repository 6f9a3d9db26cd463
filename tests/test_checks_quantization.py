"""The exercises of quantization beyond what holds for all: other ways to a right answer pass, near misses do not."""

import numpy as np
import pytest
import torch
from answers import verdict_of

from lecture_lib import checks, quantization
from lecture_lib.checks.message import text
from lecture_lib.exercises.quantization.judge import DB_PER_BIT

verdict = verdict_of("quantization")


def affine_by_numpy(x, bits=8):
    table = x.numpy()
    low, high = np.minimum(table.min(1), 0), np.maximum(table.max(1), 0)
    scale = np.where(high > low, (high - low) / np.float32(2**bits - 1), np.float32(1)).astype(np.float32)
    zero = np.rint(-low / scale)
    q = np.clip(np.rint(table / scale[:, None]) + zero[:, None], 0, 2**bits - 1)
    as_codes = (torch.from_numpy(each.astype(np.uint8)) for each in (q, zero[:, None]))
    codes, zero_point = as_codes
    return codes, torch.from_numpy(scale)[:, None], zero_point


def int4_by_bits(W, group_size):
    step = torch.stack([part.abs().amax(1) / 7 for part in W.split(group_size, dim=1)], dim=1)
    step[step == 0] = 1
    q = torch.round(W / step.repeat_interleave(group_size, dim=1)).to(torch.int16) + 8
    pairs = q.reshape(len(W), -1, 2)
    return (pairs[..., 0] | (pairs[..., 1] << 4)).to(torch.uint8), step


def product_in_int64(q_x, scale_x, zero_x, q_w, scale_w):
    shifted = q_x.long() - zero_x.long()
    return ((shifted[:, None] * q_w.long()).sum(-1).double() * scale_x.double() * scale_w.double().T).float()


def gptq_by_cholesky(W, H, scale, bits):
    U = torch.linalg.cholesky(torch.linalg.inv(H), upper=True)
    W, q, limit = W.clone(), [], 2 ** (bits - 1) - 1
    for j in range(len(H)):
        q.append((W[:, j] / scale[:, 0]).round().clamp(-limit, limit))
        W[:, j:] -= torch.outer((W[:, j] - q[-1] * scale[:, 0]) / U[j, j], U[j, j:])
    return torch.stack(q, 1).to(torch.int8)


def rotation_by_table(W, bits, signs):
    columns = [quantization.hadamard(row) for row in torch.eye(W.shape[1], dtype=W.dtype)]
    R = torch.stack(columns) * signs
    turned = W @ R.T
    if bits is not None:
        limit = 2 ** (bits - 1) - 1
        step = turned.abs().amax(1, keepdim=True) / limit
        turned = torch.where(step > 0, (turned / step.clamp(min=1e-30)).round() * step, turned)
    return turned @ R


def by_allowed_noise(reports):
    """The claimed noise against the least one, as a ratio of powers."""
    rates = [r["bits"] + r["scale_bits"] / r["group_size"] for r in reports]
    claimed = [10 ** (-r["signal_to_noise"] / 10) for r in reports]
    return int(np.argmin([c / 4**-rate for c, rate in zip(claimed, rates, strict=True)]))


RIGHT = {
    "mended_affine": affine_by_numpy,
    "int4_rows": int4_by_bits,
    "integer_product": product_in_int64,
    "gptq_codes": gptq_by_cholesky,
    "rotate_and_round": rotation_by_table,
    "beyond_shannon": by_allowed_noise,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RIGHT)
def test_another_way_to_a_right_answer_passes(name, seed):
    found = verdict(name, RIGHT[name], seed)
    assert found.passed, text(found)


def with_inputs_changed(W, H, scale, bits):
    W[:, 0] += 1e-3
    return gptq_by_cholesky(W, H, scale, bits)


def with_an_error_of_rounding_alone(W, H, scale, bits):
    """Codes are clamped at the end, when their errors have long been passed on."""
    limit = 2 ** (bits - 1) - 1
    return (
        gptq_by_cholesky(W, H, scale, 9).clamp(-limit, limit)
        if bits < 8
        else gptq_by_cholesky(W, H, scale, 8)
    )


def int4_with_a_threshold(W, group_size, threshold=1e-9):
    codes, step = int4_by_bits(W, group_size)
    silent = (step < threshold).repeat_interleave(group_size, dim=1)[:, ::2]
    return torch.where(silent, 136, codes).to(torch.uint8), torch.where(step < threshold, 1, step)


def product_in_two_floats(q_x, s, z, q_w, t):
    return ((q_x.int() @ q_w.int().T).float() - (z.int() * q_w.int().sum(1)).float()) * s * t.T


def rotated_in_another_order(W, bits, signs):
    return rotation_by_table(W.flip(1), bits, signs).flip(1)


WRONG = {
    "mended_affine": [
        lambda x, bits=8: affine_by_numpy(x, 8),
        lambda x, bits=8: tuple(each.to(torch.int32) for each in affine_by_numpy(x, bits)),
        lambda x, bits=8: (*affine_by_numpy(x, bits)[:2], torch.zeros(len(x), 1, dtype=torch.uint8)),
        lambda x, bits=8: (affine_by_numpy(x, bits)[0], affine_by_numpy(x, bits)[1][:, 0], affine_by_numpy(x, bits)[2]),
        lambda x, bits=8: affine_by_numpy(torch.where(x.abs() < 1e-7, 0, x), bits),
    ],
    "int4_rows": [
        lambda W, group_size: int4_by_bits(W, W.shape[1]),
        lambda W, group_size: int4_by_bits(W.float(), group_size),
        lambda W, group_size: (int4_by_bits(W, group_size)[0].to(torch.int8), int4_by_bits(W, group_size)[1]),
        lambda W, group_size: (int4_by_bits(W, group_size)[0], int4_by_bits(W, group_size)[1].half().to(W.dtype)),
        lambda W, group_size: (int4_by_bits(W, group_size)[0] ^ 8, int4_by_bits(W, group_size)[1]),
        int4_with_a_threshold,
    ],
    "integer_product": [
        lambda q_x, s, z, q_w, t: product_in_int64(q_x, s, z[:1].expand_as(z), q_w, t),
        lambda q_x, s, z, q_w, t: product_in_int64(q_x, s[:1].expand_as(s), z, q_w, t),
        lambda q_x, s, z, q_w, t: product_in_int64(q_x, s, z, q_w, t).double(),
        lambda q_x, s, z, q_w, t: ((q_x.float() @ q_w.float().T) - z * q_w.float().sum(1)) * s * t.T,
        lambda q_x, s, z, q_w, t: product_in_int64(q_x, s, z, q_w, t).half().float(),
        product_in_two_floats,
    ],
    "gptq_codes": [
        lambda W, H, scale, bits: gptq_by_cholesky(W, H + 0.3 * H.diagonal().mean() * torch.eye(len(H)), scale, bits),
        lambda W, H, scale, bits: gptq_by_cholesky(W, H, scale, bits).long(),
        lambda W, H, scale, bits: gptq_by_cholesky(W, H, scale[:1].expand_as(scale), bits),
        lambda W, H, scale, bits: gptq_by_cholesky(W, torch.diag(H.diagonal()), scale, bits),
        lambda W, H, scale, bits: gptq_by_cholesky(W, H + 0.01 * H.diagonal().mean() * torch.eye(len(H)), scale, bits),
        with_an_error_of_rounding_alone,
        with_inputs_changed,
    ],
    "rotate_and_round": [
        lambda W, bits, signs: rotation_by_table(W, bits, torch.ones_like(signs)),
        lambda W, bits, signs: rotation_by_table(W, bits, signs.flip(0)),
        lambda W, bits, signs: W.clone() if bits is None else rotation_by_table(W, bits, signs).double(),
        lambda W, bits, signs: rotation_by_table(W, min(bits or 8, 4), signs),
        rotated_in_another_order,
    ],
    "beyond_shannon": [
        lambda reports: int(np.argmax([r["signal_to_noise"] - DB_PER_BIT * r["bits"] for r in reports])),
        lambda reports: int(np.argmax([r["signal_to_noise"] / r["bits"] for r in reports])),
        lambda reports: int(np.argmin([r["bits"] for r in reports])),
        lambda reports: int(np.argmax([r["signal_to_noise"] - DB_PER_BIT * r["bits"] * (1 + r["scale_bits"] / r["group_size"]) for r in reports])),
        lambda reports: min((r["bits"], i) for i, r in enumerate(reports) if r["group_size"] > 32)[1],
        lambda reports: 0,
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name, rows in WRONG.items() for i in range(len(rows))]
)
def test_a_near_miss_is_rejected(name, place):
    for seed in range(4):
        assert not verdict(name, WRONG[name][place], seed).passed


def test_the_library_does_as_the_exercise_asks():
    task = checks.exercise("quantization.gptq_codes")
    for case in task.cases(3):
        W, H, scale, bits = case.inputs
        ours = quantization.gptq_quantize(W, H, scale, bits=bits, damping=1e-12)
        assert torch.equal(ours, task.right(W, H, scale, bits))

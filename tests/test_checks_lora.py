"""The exercises of chapter 9 beyond what holds for all: unusual right answers pass, near misses do not; a class as an answer."""

import ast
import copy
import re

import nbformat
import numpy as np
import pytest
import torch
from answers import verdict_of
from torch import nn
from torch.nn.utils import parametrize

from lecture_lib.checks.message import text
from lecture_lib.lora import LoRALinear
from scripts.exercise_cells import solution_source
from scripts.release import release

verdict = verdict_of("lora")


def head_with_parameters(model, n_classes):
    for p in model.parameters():
        p.requires_grad = False
    old = model.head.weight
    model.head = nn.Linear(in_features=old.shape[-1], out_features=n_classes, bias=True).to(old)
    for p in model.head.parameters():
        p.data.mul_(0)
    return model


class LayerByEinsum(nn.Module):
    def __init__(self, base, r, lora_alpha, generator=None):
        super().__init__()
        self.base, self.alpha, self.r = base, lora_alpha, r
        for p in self.base.parameters():
            p.requires_grad_(False)
        n, m = base.in_features, base.out_features
        A = torch.empty(n, r, dtype=base.weight.dtype).normal_(0, n**-0.5, generator=generator)
        self.A, self.B = nn.Parameter(A), nn.Parameter(base.weight.new_zeros(r, m))

    def forward(self, X):
        return self.base(X) + torch.einsum("...i,ir,rj->...j", X, self.A, self.B) * self.alpha / self.r

    def merged(self):
        plain = copy.deepcopy(self.base)
        plain.weight = nn.Parameter(plain.weight + (self.alpha / self.r) * self.B.T.mm(self.A.T))
        return plain


def adapt_by_get_submodule(model, pattern, r, lora_alpha):
    names = [n for n, m in model.named_modules(remove_duplicate=False) if type(m) is nn.Linear]
    fits = [n for n in names if re.compile(pattern).fullmatch(n) is not None]
    if len(fits) == 0:
        raise ValueError(pattern)
    layers = {n: model.get_submodule(n) for n in names}
    for p in model.parameters():
        p.requires_grad_(False)
    made = {}
    for n in fits:
        made.setdefault(layers[n], LoRALinear(layers[n], r=r, lora_alpha=lora_alpha))
    for n in names:
        if layers[n] in made:
            parent, _, last = n.rpartition(".")
            setattr(model.get_submodule(parent), last, made[layers[n]])
    return fits


def bytes_by_numpy(parameters):
    rows = {name: (k * size, trained) for name, k, size, trained in parameters}
    all_of_them = sum(n for n, _ in rows.values())
    trained = sum(n for n, t in rows.values() if t)
    return all_of_them, trained, 2 * trained


def rank_by_numpy(updates):
    x = updates.numpy()
    sigma = np.sqrt(x.var(0, ddof=1).mean() / len(x))
    edge = sigma * (np.sqrt(x.shape[1]) + np.sqrt(x.shape[2]))
    return int(np.linalg.matrix_rank(x.mean(0), tol=edge))


def floor_by_cholesky(D, C, r):
    L = torch.linalg.cholesky(C)
    U, s, V = torch.linalg.svd(L.T @ D)
    E = torch.linalg.inv(L.T) @ U[:, :r] @ torch.diag(s[:r]) @ V[:r]
    return float(0.5 * (s[r:] ** 2).sum()), E


def judged_by_diagonal(claims):
    found = []
    for place, claim in enumerate(claims):
        s = np.sort(np.array(claim["singular_values"]))[: len(claim["singular_values"]) - claim["r"]]
        if np.linalg.norm(s) > claim["distance"]:
            found.append(place)
    return found[0]


RIGHT = {
    "new_head": head_with_parameters,
    "LowRank": LayerByEinsum,
    "adapt": adapt_by_get_submodule,
    "mended_bytes": bytes_by_numpy,
    "visible_rank": rank_by_numpy,
    "lowest_loss": floor_by_cholesky,
    "below_the_floor": judged_by_diagonal,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RIGHT)
def test_another_way_to_a_right_answer_passes(name, seed):
    found = verdict(name, RIGHT[name], seed)
    assert found.passed, text(found)


class HalfScale(LayerByEinsum):
    def merged(self):
        plain = super().merged()
        plain.weight.data = (plain.weight.data + self.base.weight.data) / 2
        return plain


class TrainsTheBias(LayerByEinsum):
    def __init__(self, *given):
        super().__init__(*given)
        if self.base.bias is not None:
            self.base.bias.requires_grad_(True)


class DetachedA(LayerByEinsum):
    def forward(self, X):
        return self.base(X) + X @ self.A.detach() @ self.B * self.alpha / self.r


class MergesItself(LayerByEinsum):
    def merged(self):
        self.base.weight.data += (self.alpha / self.r) * (self.A @ self.B).T
        return self.base


class OfRankOne(LayerByEinsum):
    def forward(self, X):
        return self.base(X) + X @ self.A[:, :1] @ self.B[:1] * self.alpha / self.r


class SwappedStart(LayerByEinsum):
    def __init__(self, *given):
        super().__init__(*given)
        self.B.data, self.A.data = torch.ones_like(self.B), torch.zeros_like(self.A)


class OfXavier(LayerByEinsum):
    def __init__(self, *given):
        super().__init__(*given)
        n, m = self.base.in_features, self.base.out_features
        self.A.data *= (2 * n / (n + m)) ** 0.5


class SharesTheBias(LayerByEinsum):
    def merged(self):
        plain = super().merged()
        plain.bias = self.base.bias
        return plain


class CopiesTheBase(LayerByEinsum):
    def __init__(self, base, *given):
        super().__init__(copy.deepcopy(base), *given)


def head_by_the_beginning_of_names(model, n_classes):
    model = head_with_parameters(model, n_classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    return model


def adapt_by_the_end_of_names(model, pattern, r, lora_alpha):
    return adapt_by_get_submodule(model, rf"(.*\.)?({pattern})", r, lora_alpha)


def head_without_freezing_norms(model, n_classes):
    model = head_with_parameters(model, n_classes)
    model.heads.bias.requires_grad_(True)
    return model


def head_by_parametrization(model, n_classes):
    model = head_with_parameters(model, n_classes)
    parametrize.register_parametrization(model.head, "weight", nn.Identity())
    return model


def rank_by_the_longer_side(updates, edge=None):
    n, *shape = updates.shape
    edge = 2 * (updates.var(0).mean() / n * max(shape)).sqrt() if edge is None else edge
    return int((torch.linalg.svdvals(updates.mean(0)) > edge).sum())


def rank_by_the_first_update(updates):
    """Takes the scatter around the first update, which is twice as large."""
    n, N, M = updates.shape
    scatter = (updates[1:] - updates[0]).square().mean() / n
    return rank_by_the_longer_side(updates, scatter.sqrt() * (N**0.5 + M**0.5))


def names_sorted(*given):
    return sorted(adapt_by_get_submodule(*given), reverse=True)


WRONG = {
    "new_head": [
        head_without_freezing_norms,
        head_by_the_beginning_of_names,
        head_by_parametrization,
        lambda model, n: head_with_parameters(model, max(n, 2)),
        lambda model, n: head_with_parameters(model, n).double(),
        lambda model, n: head_with_parameters(model, n).head,
    ],
    "LowRank": [OfXavier, SharesTheBias, CopiesTheBase, HalfScale, TrainsTheBias, DetachedA, MergesItself, OfRankOne, SwappedStart, nn.Linear],
    "adapt": [
        names_sorted,
        adapt_by_the_end_of_names,
        lambda m, p, r, a: adapt_by_get_submodule(m, "(?i)" + p, r, a),
        lambda m, p, r, a: list(set(adapt_by_get_submodule(m, p, r, a)))[:1],
        lambda m, p, r, a: adapt_by_get_submodule(m, p.replace(".", r"\."), r, a),
        lambda m, p, r, a: adapt_by_get_submodule(m, p, r, 2 * a),
        lambda m, p, r, a: tuple(adapt_by_get_submodule(m, p, r, a)),
    ],
    "mended_bytes": [
        lambda rows: tuple(float(n) for n in bytes_by_numpy(rows)),
        lambda rows: bytes_by_numpy([row for row in rows if row[3]]),
        lambda rows: bytes_by_numpy(rows)[::-1],
        lambda rows: bytes_by_numpy([(k, k, size, t) for _, k, size, t in rows]),
        lambda rows: bytes_by_numpy([row for i, row in enumerate(rows) if row not in rows[:i] and rows[0] not in rows[1:i]]),
        lambda rows: bytes_by_numpy([(name, k, 4, t) for name, k, _, t in rows]),
    ],
    "visible_rank": [
        lambda updates: int(torch.linalg.matrix_rank(updates.mean(0))),
        lambda updates: rank_by_numpy(updates) + 1,
        rank_by_the_longer_side,
        rank_by_the_first_update,
        lambda updates: float(rank_by_numpy(updates)),
        lambda updates: rank_by_numpy(torch.cat([updates, updates])),
        lambda updates: min(rank_by_numpy(updates), 2),
    ],
    "lowest_loss": [
        lambda D, C, r: (floor_by_cholesky(D, C, r)[0], D),
        lambda D, C, r: (2 * floor_by_cholesky(D, C, r)[0], floor_by_cholesky(D, C, r)[1]),
        lambda D, C, r: floor_by_cholesky(D, torch.diag(C.diagonal()), r),
        lambda D, C, r: floor_by_cholesky(D, C, max(r, 1)),
        lambda D, C, r: (floor_by_cholesky(D, C, r)[0], floor_by_cholesky(D, C, r)[1].float()),
    ],
    "below_the_floor": [
        lambda claims: 0,
        lambda claims: int(np.argmin([c["distance"] / max(c["singular_values"]) for c in claims])),
        lambda claims: int(np.argmin([c["distance"] / np.linalg.norm(c["singular_values"]) for c in claims])),
        lambda claims: int(np.argmin([c["r"] for c in claims])),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name, rows in WRONG.items() for i in range(len(rows))]
)
def test_a_near_miss_is_rejected(name, place):
    for seed in range(4):
        assert not verdict(name, WRONG[name][place], seed).passed


@pytest.mark.slow
def test_a_class_is_handed_out_with_its_methods_and_without_their_bodies():
    source = solution_source("lora.LowRank", "")
    assert source.count("### BEGIN SOLUTION") == source.count("### END SOLUTION") == 3
    notebook = release(["09_lora"])["09_lora"]
    cell = next(c for c in nbformat.reads(notebook, 4).cells if c.id == "LowRank")
    tree = ast.parse(cell.source).body[0]
    assert isinstance(tree, ast.ClassDef) and ast.get_docstring(tree)
    methods = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [method.name for method in methods] == ["__init__", "forward", "merged"]
    for method in methods:
        assert ast.get_docstring(method)
        assert [ast.unparse(line) for line in method.body[1:]] == ["raise NotImplementedError"]
    namespace = {}
    exec("import torch\nfrom torch import Tensor, nn\n" + cell.source, namespace)
    assert verdict("LowRank", namespace["LowRank"]).unwritten

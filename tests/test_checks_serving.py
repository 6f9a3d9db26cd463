"""The exercises of serving beyond what holds for all: other ways to a right answer pass, near misses do not."""

import random

import numpy as np
import pytest
import torch
from answers import verdict_of

from lecture_lib import checks
from lecture_lib.checks.message import text
from lecture_lib.exercises.serving.blocks import Blocks
from lecture_lib.exercises.serving.guesses import check_guesses, law
from lecture_lib.exercises.serving.judge import five_logs
from lecture_lib.exercises.serving.step import plan_step, some
from lecture_lib.generation.text import Stop
from lecture_lib.serving import BlockPool, Request, Scheduler, prefix_hashes, settle
from lecture_lib.serving.request import Text

verdict = verdict_of("serving")


class WithSets:
    """Holders as sets of names, free blocks in a sorted list; the options make near misses."""

    def __init__(self, n_blocks, block_size, miss=""):
        self.n, self.size, self.miss = n_blocks, block_size, miss
        self.holders = {b: set() for b in range(n_blocks)}
        self.texts = {}

    def extend(self, text, n):
        blocks, length = self.texts.get(text, ([], 0))
        blocks, free, pair = list(blocks), sorted(b for b in self.holders if not self.holders[b]), None
        new = (length + n + self.size - 1) // self.size - len(blocks)
        swap = bool(length % self.size) and len(self.holders[blocks[-1]]) > 1
        if self.miss == "copy only if new blocks":
            swap = swap and new > 0
        if len(free) < new + swap:
            if self.miss == "remembers failed texts":
                self.texts.setdefault(text, ([], 0))
            raise MemoryError if self.miss != "error" else IndexError
        if swap:
            pair = blocks[-1], free.pop(0)
            self.holders[pair[0]].discard(text)
            blocks[-1] = pair[1]
        if self.miss == "largest first":
            free.reverse()
        blocks += free[:new]
        for b in blocks:
            self.holders[b].add(text)
        self.texts[text] = blocks, length + n
        return list(pair) if pair and self.miss == "list" else pair

    def fork(self, text, other):
        blocks, length = self.texts[text]
        if self.miss == "fork drops the last":
            blocks = blocks[:-1] if length % self.size else blocks
        self.texts[other] = list(blocks), length
        for b in blocks:
            self.holders[b].add(other)

    def free(self, text):
        if self.miss == "free forgives":
            self.texts.setdefault(text, ([], 0))
        for b in self.texts.pop(text)[0]:
            self.holders[b].discard(text)

    def table(self, text):
        if self.miss == "sorted":
            return sorted(self.texts[text][0])
        return list(self.texts[text][0]) if self.miss != "tuple" else tuple(self.texts[text][0])

    def n_free(self):
        if self.miss == "counts takes":
            return self.n - sum(len(blocks) for blocks, _ in self.texts.values())
        return sum(not each for each in self.holders.values())


def sets(miss):
    return lambda n_blocks, block_size: WithSets(n_blocks, block_size, miss)


def paged_by_masks(Q, K_pool, V_pool, tables, lengths, largest=None):
    """All texts at once, padded to the longest; what is not theirs is masked."""
    size, most = K_pool.shape[1], max(len(table) for table in tables)
    padded = torch.tensor([[*table, *[0] * (most - len(table))] for table in tables])
    K, V = K_pool[padded].flatten(1, 2), V_pool[padded].flatten(1, 2)  # (R, M, H_kv, D)
    R, H, D = Q.shape
    grouped = Q.view(R, K.shape[2], -1, D)
    scores = torch.einsum("rkgd,rmkd->rkgm", grouped, K) * D**-0.5
    seen = torch.arange(most * size) < torch.tensor(lengths)[:, None]
    if largest is not None:
        seen = seen & (torch.arange(most * size) >= torch.tensor(lengths)[:, None] - largest)
    weights = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(-1)
    return torch.einsum("rkgm,rmkd->rkgd", weights, V).flatten(1, 2)


def paged_in_numpy(Q, K_pool, V_pool, tables, lengths, dtype=None):
    rows = []
    for r, n in enumerate(lengths):
        K = np.concatenate([K_pool[b].double().numpy() for b in tables[r]])[:n]
        V = np.concatenate([V_pool[b].double().numpy() for b in tables[r]])[:n]
        heads = []
        for h, q in enumerate(Q[r].double().numpy()):
            k = h * K.shape[1] // Q.shape[1]
            scores = K[:, k] @ q / np.sqrt(len(q))
            weights = np.exp(scores - scores.max())
            heads.append(weights / weights.sum() @ V[:, k])
        rows.append(heads)
    return torch.tensor(np.array(rows)).to(dtype or Q.dtype)


def hashes_with_tuples(ids, block_size, start=0):
    names, before = [], start
    for i in range(len(ids) // block_size):
        before = hash((before, *ids[i * block_size : (i + 1) * block_size]))
        names.append(before)
    return names


def hashes_by_block(ids, block_size):
    return [hash(tuple(ids[n * block_size : (n + 1) * block_size])) for n in range(len(ids) // block_size)]


def hashes_as_text(ids, block_size):
    return [" ".join(map(str, ids[: n * block_size])) for n in range(1, len(ids) // block_size + 1)]


def plan_recursive(running, waiting, n_free, block_size, max_running, budget, miss=""):
    """The same rules, written with deques and counts of blocks recomputed."""
    texts = [dict(each) for each in running]
    queue = [{**each, "computed": 0, "blocks": 0} for each in waiting]
    plan, thrown, i, left = [], [], 0, budget
    while i < len(texts):
        if not left:
            break
        now = texts[i]
        want = min(left, now["tokens"] - now["computed"])
        lack = (now["computed"] + want + block_size - 1) // block_size - now["blocks"] - n_free
        if miss == "two give way at most" and lack > 0 and len(thrown) == 2:
            break
        if lack > 0:
            if miss == "what fits" and now is texts[-1]:
                room = (now["blocks"] + n_free) * block_size - now["computed"]
                if room > 0:
                    plan.append((now["name"], room))
                    left -= room
                    n_free = 0
                    i += 1
                    continue
            gone = texts.pop(-1)
            n_free += gone["blocks"]
            thrown.append(gone["name"])
            if miss != "not again":
                queue.insert(0, gone | {"computed": 0, "blocks": 0})
        else:
            plan.append((now["name"], want))
            left, n_free, i = left - want, n_free - max(0, lack + n_free), i + 1
    if miss == "none after a throw" and thrown:
        return plan, thrown
    while queue and left and len(texts) < max_running + (miss == "one more"):
        now = queue.pop(0)
        want = min(left, now["tokens"])
        need = (want + block_size - 1) // block_size + (miss == "a spare block")
        if need > n_free:
            break
        if miss == "whole prompts" and want < now["tokens"]:
            break
        texts.append(now)
        plan.append((now["name"], want))
        left, n_free = left - want, n_free - need
    if miss == "zeros":
        plan += [(each["name"], 0) for each in texts[len(plan) :]]
    if miss == "dict":
        return dict(plan), thrown
    return plan, thrown


def planned(miss):
    return lambda *a: plan_recursive(*a, miss=miss)


def clears_the_line(running, waiting, *rest):
    found = plan_step(running, waiting, *rest)
    waiting.clear()
    return found


def guesses_in_numpy(p, q, guess, generator, miss=""):
    """One uniform number decides whether a guess is kept; numpy inverts the cumulative sums."""
    P, Q = p.double().numpy(), q.double().numpy()
    uniform = lambda: float(torch.rand((), generator=generator, dtype=torch.float64))  # noqa: E731

    def invert(weights):
        sums = np.cumsum(weights)
        return int(np.searchsorted(sums, uniform() * sums[-1], side="right"))

    out = []
    for i, x in enumerate(guess):
        if uniform() * Q[i, x] < P[i, x]:
            out.append(x)
            continue
        more = np.maximum(P[i] - Q[i], 0)
        if miss == "both":
            return [*out, x, invert(more)]
        if miss == "ratio":
            more = np.maximum(P[i] / np.maximum(Q[i], 1e-9) - 1, 0)
        if miss == "squares":
            more = more**2
        if miss == "likeliest":
            return [*out, int(more.argmax())]
        return [*out, invert(more)]
    row = 0 if miss == "first row" else len(guess) - 1 if miss == "last guess's row" else len(guess)
    return [*out, invert(P[row])]


def missed(miss):
    return lambda p, q, guess, generator: guesses_in_numpy(p, q, guess, generator, miss)


def fresh_draws(p, q, guess, generator):
    """The model's tokens, drawn afresh, as many as the rule would give: right one by one, not together."""
    n = len(check_guesses(p, q, guess, generator))
    return [int(torch.multinomial(p[i], 1, generator=generator)) for i in range(n)]


def in_numpy(p, q, cost, dtype=None, ties=0.0):
    a = 1 - 0.5 * np.abs(p.double().numpy() - q.double().numpy()).sum(1)
    tokens = np.array([sum(np.prod(a[:j]) for j in range(k + 1)) for k in range(len(a) + 1)])
    best = max(range(len(tokens)), key=lambda k: tokens[k] / (1 + cost * k) - ties * k)
    kind = dtype or p.dtype
    return torch.tensor(a).to(kind), torch.tensor(tokens).to(kind), best


def by_constant(p, q, cost):
    a = torch.minimum(p, q).sum(-1)
    mean, k = float(a.mean()), torch.arange(len(a) + 1)
    tokens = ((1 - mean ** (k + 1)) / (1 - mean) if mean < 1 else k + 1.0).to(p.dtype)
    return a, tokens, int((tokens / (1 + cost * k)).argmax())


def lost_by_counting(logs, also=lambda log: False):
    """Count afresh who is there at each step, and compare."""
    for i, log in enumerate(logs):
        for t, n in enumerate(log["in_system"]):
            if n != sum(a <= t for a in log["asked"]) - sum(e <= t for e in log["ended"]):
                return i
    return 0


def lost_in_numpy(logs):
    sums = [int(np.sum(x["in_system"]) - np.sum(x["ended"]) + np.sum(x["asked"])) for x in logs]
    return int(np.argmax(np.abs(sums)))


RIGHT = {
    "Blocks": [WithSets],
    "paged_attention": [paged_by_masks, paged_in_numpy],
    "mended_hashes": [hashes_with_tuples, hashes_as_text],
    "plan_step": [plan_recursive],
    "check_guesses": [guesses_in_numpy],
    "worth_guessing": [in_numpy],
    "lost_request": [lost_by_counting, lost_in_numpy],
}
BLOCK_MISSES = (
    "copy only if new blocks",
    "error",
    "largest first",
    "list",
    "fork drops the last",
    "free forgives",
    "sorted",
    "tuple",
    "counts takes",
    "remembers failed texts",
)
PLAN_MISSES = (
    "what fits",
    "not again",
    "none after a throw",
    "one more",
    "a spare block",
    "whole prompts",
    "zeros",
    "dict",
    "two give way at most",
)
NEAR_MISSES = [
    *(("Blocks", sets(miss)) for miss in BLOCK_MISSES),
    ("Blocks", lambda n, s: WithSets(n, s + 1)),
    ("Blocks", lambda n, s: WithSets(n + 1, s)),
    *(("plan_step", planned(miss)) for miss in PLAN_MISSES),
    ("plan_step", clears_the_line),
    ("plan_step", lambda *a: list(plan_step(*a))),
    ("paged_attention", lambda *a: paged_by_masks(*a, largest=8)),
    ("paged_attention", lambda *a: paged_in_numpy(*a, dtype=torch.float32)),
    ("paged_attention", lambda Q, K, V, t, n: paged_by_masks(Q, K, V, t, [max(n)] * len(n))),
    ("paged_attention", lambda Q, K, V, t, n: paged_by_masks(Q[:1], K, V, t[:1], n[:1]).expand(len(n), -1, -1)),
    ("paged_attention", lambda Q, K, V, t, n: paged_by_masks(Q, K, V, [t[0]] * len(n), n)),
    ("paged_attention", lambda Q, K, V, t, n: paged_by_masks(Q, K, K[..., : V.shape[-1]], t, n)),
    ("paged_attention", lambda Q, K, V, t, n: paged_by_masks(Q, K, V, t, n)[:, :, None]),
    ("mended_hashes", lambda ids, s: hashes_with_tuples(ids[s:], s)),
    ("mended_hashes", lambda ids, s: hashes_with_tuples(ids, s)[:2]),
    ("mended_hashes", lambda ids, s: [sum(ids[: (i + 1) * s]) for i in range(len(ids) // s)]),
    ("mended_hashes", lambda ids, s: [hash((tuple(ids[: i * s + 1]), i)) for i in range(len(ids) // s)]),
    ("mended_hashes", lambda ids, s: hashes_with_tuples(ids, s, start=random.random())),
    ("mended_hashes", lambda ids, s: [tuple(i % 65536 for i in ids[: (n + 1) * s]) for n in range(len(ids) // s)]),
    ("mended_hashes", lambda ids, s: [hash(name) % 2**16 for name in hashes_with_tuples(ids, s)]),
    ("mended_hashes", lambda ids, s: [tuple(sorted(hashes_by_block(ids, s)[: n + 1])) for n in range(len(ids) // s)]),
    ("mended_hashes", lambda ids, s: [frozenset(ids[: (i + 1) * s]) for i in range(len(ids) // s)]),
    *(("check_guesses", missed(miss)) for miss in ("both", "ratio", "squares", "likeliest", "first row", "last guess's row")),
    ("check_guesses", fresh_draws),
    ("check_guesses", lambda p, q, guess, g: tuple(check_guesses(p, q, guess, g))),
    ("check_guesses", lambda p, q, guess, g: check_guesses(p, q, guess, torch.Generator().manual_seed(0))),
    ("check_guesses", lambda p, q, guess, g: check_guesses(p, q, guess, None)),
    ("check_guesses", lambda p, q, guess, g: check_guesses(p[:2], q[:1], guess[:1], g)),
    ("worth_guessing", by_constant),
    ("worth_guessing", lambda *a: in_numpy(*a, dtype=torch.float32)),
    ("worth_guessing", lambda p, q, c: in_numpy(p, q, c * 1.3)),
    ("worth_guessing", lambda p, q, c: in_numpy(p, q, c, ties=0.05)),
    ("worth_guessing", lambda p, q, c: (*in_numpy(p, q, c)[:2], 1)),
    ("worth_guessing", lambda p, q, c: (*in_numpy(p, q, c)[:2], float(in_numpy(p, q, c)[2]))),
    ("worth_guessing", lambda p, q, c: (in_numpy(p, q, c)[0], in_numpy(p, q, c)[1][1:], in_numpy(p, q, c)[2])),
    ("lost_request", lambda logs: [len(x["asked"]) != len(x["ended"]) for x in logs].index(True)),
    ("lost_request", lambda logs: max(range(5), key=lambda i: logs[i]["in_system"][-1])),
    ("lost_request", lambda logs: max(range(5), key=lambda i: max(logs[i]["in_system"]))),
    ("lost_request", lambda logs: max(range(5), key=lambda i: -min(logs[i]["in_system"]))),
    ("lost_request", lambda logs: np.int64(lost_in_numpy(logs))),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "answer"), [(name, each) for name in RIGHT for each in RIGHT[name]])
def test_other_ways_to_a_right_answer_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES)
def test_near_misses_do_not_pass(name, answer, seed):
    assert not verdict(name, answer, seed).passed


def running(each, block_size, pool):
    """A state of the exercise as a text of the library."""
    made = Text(Request((1,) * each["tokens"], 1), 0, 0, [1] * each["tokens"], Stop(()), torch.Generator())
    made.computed = each.get("computed", 0)
    made.table = [pool.take() for _ in range(each.get("blocks", 0))]
    return made


@pytest.mark.parametrize("seed", range(300))
def test_the_step_is_planned_as_the_library_plans_it(seed):
    draw = random.Random(seed)
    texts, line, n_free, size, most, budget = some(draw, draw.randint(2, 5))
    pool = BlockPool(max(1, n_free + sum(each["blocks"] for each in texts)))
    if n_free + sum(each["blocks"] for each in texts) == 0:
        return
    scheduler = Scheduler(pool, size, most, budget, share_prefixes=False)
    made = {each["name"]: running(each, size, pool) for each in (*texts, *line)}
    names = {id(text): name for name, text in made.items()}
    scheduler.running = [made[each["name"]] for each in texts]
    scheduler.waiting.extend(made[each["name"]] for each in line)
    plan = [(names[id(work.text)], work.n_tokens) for work in scheduler.schedule()]
    mine, thrown = plan_step(texts, line, n_free, size, most, budget)
    assert plan == mine and scheduler.n_preempted == len(thrown)


def test_the_law_of_guesses_is_that_of_the_library():
    """The closed form against the library's `settle`, and against the model's law of the first token."""
    draw = torch.Generator().manual_seed(0)
    p, q = torch.randn(3, 4, generator=draw).softmax(-1), torch.randn(2, 4, generator=draw).softmax(-1)
    chances = law(p.double().tolist(), q.double().tolist())
    assert sum(chances.values()) == pytest.approx(1, abs=1e-6)
    for token in range(4):
        first = sum(chance for tokens, chance in chances.items() if tokens[0] == token)
        assert first == pytest.approx(float(p[0, token]), abs=1e-6)
    task = checks.exercise("serving.check_guesses")
    by_library = lambda p, q, guess, generator: [t for t, _ in settle(p, q, guess, generator)]  # noqa: E731
    case = checks.Case("drawn", (p, q, 5))
    assert task.accept(case, task.use(by_library, *case.inputs), []) is None


def test_the_right_hashes_are_the_library_s():
    """A function of its own, because the library's docstring says what the bug is."""
    ids = [random.Random(0).randrange(50) for _ in range(23)]
    assert checks.exercise("serving.mended_hashes").right(ids, 5) == prefix_hashes(ids, 5)


def test_the_allocator_is_as_careful_as_the_library_s_pool():
    """Counts of the exercise's blocks are the numbers of tables that name them, after every call of a long script."""
    draw, blocks, names = random.Random(1), Blocks(20, 3), []
    for i in range(400):
        if names and draw.random() < 0.3:
            blocks.free(names.pop(draw.randrange(len(names))))
        elif names and draw.random() < 0.4:
            names.append(f"t{i}")
            blocks.fork(draw.choice(names[:-1]), names[-1])
        else:
            try:
                blocks.extend(name := draw.choice([*names, f"t{i}"]), draw.randint(1, 7))
                names += [name] if name not in names else []
            except MemoryError:
                pass
        held = [block for name in names for block in blocks.table(name)]
        assert [held.count(block) for block in range(20)] == blocks.counts


def test_a_spoiled_log_breaks_little_s_law_and_an_honest_one_does_not():
    for turn in range(40):
        _, logs, place = five_logs(7, turn)
        for i, log in enumerate(logs):
            broken = sum(log["in_system"]) != sum(log["ended"]) - sum(log["asked"])
            assert broken == (i == place) and log["in_system"][-1] == 0 and min(log["asked"]) >= 0

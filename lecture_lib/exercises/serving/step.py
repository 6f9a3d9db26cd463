"""Plan one step of a continuous batch: a budget of tokens, a stock of blocks, running texts, a line of waiting ones."""

import random
from itertools import accumulate

from lecture_lib.checks.exercise import Case, Exercise

Text = dict[str, object]
Plan = tuple[list[tuple[str, int]], list[str]]


def plan_step(
    running: list[Text], waiting: list[Text], n_free: int, block_size: int, max_running: int, budget: int
) -> Plan:
    """Serve running texts first, oldest first, then the line; the mistakes below are changes of these lines."""
    running, line, plan, thrown = list(running), list(waiting), [], []
    place = 0
    while place < len(running) and budget > 0:
        text = running[place]
        n = min(text["tokens"] - text["computed"], budget)
        missing = -(-(text["computed"] + n) // block_size) - text["blocks"]
        if missing > n_free:
            youngest = running.pop()
            n_free += youngest["blocks"]
            thrown.append(youngest["name"])
            line.insert(0, {"name": youngest["name"], "tokens": youngest["tokens"]})
            continue
        n_free, budget, place = n_free - missing, budget - n, place + 1
        plan.append((text["name"], n))
    for text in line:
        n = min(text["tokens"], budget)
        missing = -(-n // block_size)
        if budget == 0 or len(running) >= max_running or missing > n_free:
            break
        n_free, budget = n_free - missing, budget - n
        running.append(text)
        plan.append((text["name"], n))
    return plan, thrown


def by_sums(running, waiting, n_free, block_size, max_running, budget) -> Plan:
    """No step by step: the oldest k stay, with the largest k whose blocks fit into all there are; and so for the line."""

    def shares(todo: list[int], budget: int) -> list[int]:
        sums = [min(total, budget) for total in accumulate(todo)]
        return [b - a for a, b in zip([0, *sums], sums, strict=False)]

    def blocks(tokens: int) -> int:
        return (tokens + block_size - 1) // block_size

    given = shares([each["tokens"] - each["computed"] for each in running], budget)
    wanted = [blocks(each["computed"] + n) for each, n in zip(running, given, strict=True)]
    stock = n_free + sum(each["blocks"] for each in running)
    sums = list(accumulate(wanted))
    stay = max((k for k in range(1, len(running) + 1) if sums[k - 1] <= stock), default=0)
    gone = running[stay:]
    left, line = budget - sum(given[:stay]), [*gone, *waiting]
    new = shares([each["tokens"] for each in line], left)
    takes = list(accumulate(blocks(n) for n in new))
    held = sums[stay - 1] if stay else 0
    enter = 0
    while enter < min(len(line), max_running - stay) and new[enter] and held + takes[enter] <= stock:
        enter += 1
    plan = [(each["name"], n) for each, n in zip(running[:stay], given, strict=False) if n]
    plan += [(each["name"], n) for each, n in zip(line[:enter], new, strict=False)]
    return plan, [each["name"] for each in reversed(gone)]


def newcomers_first(running, waiting, n_free, block_size, max_running, budget) -> Plan:
    """Read the prompts of the line before the running texts go on."""
    plan, entered = [], []
    for text in waiting:
        n = min(text["tokens"], budget)
        missing = -(-n // block_size)
        if budget == 0 or len(running) + len(entered) >= max_running or missing > n_free:
            break
        n_free, budget = n_free - missing, budget - n
        entered.append(text)
        plan.append((text["name"], n))
    more, thrown = plan_step(running, [], n_free, block_size, max_running, budget)
    return plan + more, thrown


def writing(name: str, tokens: int, size: int, todo: int = 1) -> Text:
    """A running text with some tokens to compute."""
    computed = tokens - todo
    return {"name": name, "tokens": tokens, "computed": computed, "blocks": -(-computed // size)}


def some(draw: random.Random, size: int) -> tuple:
    """A random state: up to six running texts, up to five that wait, few blocks, a small or large budget."""
    running = []
    for i in range(draw.randint(0, 6)):
        tokens = draw.randint(2, 6 * size)
        todo = draw.choice([1, 1, 1, draw.randint(1, tokens)])
        running.append(writing(f"r{9 - i}", tokens, size, todo))
    waiting = [{"name": f"a{9 - i}", "tokens": draw.randint(1, 5 * size)} for i in range(draw.randint(0, 5))]
    limit = max(1, len(running) + draw.randint(0, 4))
    return running, waiting, draw.randint(0, 9), size, limit, draw.choice([3, size, 3 * size, 40])


def step_cases(seed: int) -> list[Case]:
    """Each rule by itself, then random states."""
    draw = random.Random(seed)
    size = draw.randint(3, 6)
    full = [writing(name, 2 * size + 1, size) for name in "abcd"]  # each needs a block for its next token
    roomy = [writing(name, size + draw.randint(2, size), size) for name in "ab"]
    line = [{"name": name, "tokens": n} for name, n in (("x", 2 * size + 1), ("y", size), ("z", 3))]
    short, long = [{"name": "x", "tokens": 9 * size}], 3 * size
    return [
        Case("nothing runs, three wait, room for all", ([], line, 30, size, 8, 20 * size)),
        Case("two write, three wait", (roomy, line, 30, size, 8, 20 * size)),
        Case("a long prompt, a small budget", (roomy, short, 30, size, 8, long)),
        Case("a long prompt, blocks for a chunk of it", (roomy, short, 3, size, 8, 2 * size)),
        Case("a prompt that is half read", ([writing("a", 5 * size, size, 3 * size), *roomy], line, 30, size, 8, long)),
        Case("the budget ends among the running", ([*full, *roomy], line, 30, size, 8, 3)),
        Case("the budget just suffices for the first of the line", (roomy, line, 30, size, 8, 2 * size + 3)),
        Case("no more texts may run", (roomy, line, 30, size, 3, 20 * size)),
        Case("the first of the line does not fit, the second would", (roomy, line, 2, size, 8, 20 * size)),
        Case("the first of the line just fits", (roomy, line, 3, size, 8, 20 * size)),
        Case("four need a block, one is free", (full, line, 1, size, 8, 20 * size)),
        Case("none is free", (full, [], 0, size, 8, 20 * size)),
        Case("a single text that needs more than there is", ([writing("a", 4 * size + 2, size, 2 * size)], line, 1, size, 8, 40 * size)),
        Case("the one thrown out comes in again", ([*full[:2], writing("c", 4 * size, size)], [], 1, size, 3, 2 + size)),
        Case("a chunk for which there is room", ([writing("a", 5 * size, size, 3 * size), roomy[1]], [], 1, size, 8, size)),
        Case("two give way, and one of them comes in again", (
            [writing("a", 4 * size, size, 3 * size), writing("b", 3 * size + 1, size), writing("c", size + 1, size)], [], 1, size, 8, 4 * size)),
        Case("three give way for one", ([writing("a", 5 * size, size, 4 * size), *(writing(name, size + 1, size) for name in "bcd")],
                                        [], 1, size, 8, 5 * size)),
        *(Case("a random state", some(draw, draw.randint(2, 5))) for _ in range(40)),
    ]  # fmt: skip


STEP = Exercise(
    name="serving.plan_step",
    points=5, difficulty=3, minutes=35,
    against="sums over the line: the largest number of texts whose blocks fit into all there are",
    reference=by_sums,
    right=plan_step,
    cases=step_cases,
    mistakes=(
        ("the line is served before the running texts. Who should not have to wait for a prompt?", newcomers_first),
        ("a prompt is not cut into chunks: it waits until the budget takes it whole. How many tokens of it may be read now?",
         "n = min(text['tokens'], budget)", "n = text['tokens']",
         "budget == 0 or", "n > budget or"),
        ("every text may use the whole budget. Whose budget is it?",
         "budget, place = (n_free - missing, budget - n, place + 1)", "budget, place = (n_free - missing, budget, place + 1)",
         "n_free, budget = (n_free - missing, budget - n)", "n_free, budget = (n_free - missing, budget)"),
        ("the budget counts texts. What does it count?",
         "budget, place = (n_free - missing, budget - n, place + 1)",
         "budget, place = (n_free - missing, budget - 1, place + 1)",
         "n_free, budget = (n_free - missing, budget - n)", "n_free, budget = (n_free - missing, budget - 1)"),
        ("a running text computes one token, even if more of its prompt is left. How many has it still to compute?",
         "n = min(text['tokens'] - text['computed'], budget)", "n = 1"),
        ("the oldest text gives way. Who has lost least if it starts again?",
         "running.pop()", "running.pop(0)"),
        ("the text that lacks a block gives way itself. Who is the youngest?",
         "running.pop()", "running.pop(place)"),
        ("nobody gives way: a text without room is passed over. Who should make room?",
         "youngest = running.pop()\n            n_free += youngest['blocks']\n            thrown.append(youngest['name'])\n"
         "            line.insert(0, {'name': youngest['name'], 'tokens': youngest['tokens']})",
         "place += 1"),
        ("the blocks of a text that gave way are not free. Who holds them now?",
         "n_free += youngest['blocks']", "pass"),
        ("a text that gave way waits at the end of the line. Who was served before the others?",
         "line.insert(0, {", "line.insert(len(line), {"),
        ("of two texts that gave way the younger one stands first in the line. Who went to its head last?",
         "line.insert(0, {", "line.insert(len(thrown) - 1, {"),
        ("a running text needs room for all its missing tokens at once. How many does it compute in this step?",
         "text['computed'] + n) // block_size", "text['tokens']) // block_size"),
        ("a text that gave way goes on where it was. Where are its keys and values now?",
         "'tokens': youngest['tokens']}", "'tokens': youngest['tokens'] - youngest['computed']}"),
        ("a text that gave way is lost. Who computes it again?",
         "line.insert(0, {'name': youngest['name'], 'tokens': youngest['tokens']})", "pass"),
        ("who does not fit is overtaken by those behind. May the line be jumped?",
         "len(running) >= max_running or missing > n_free:\n            break",
         "len(running) >= max_running or missing > n_free:\n            continue"),
        ("one text more than allowed runs. How many may?",
         "len(running) >= max_running", "len(running) > max_running"),
        ("a text that gave way still counts among those that run. How many run now?",
         "len(running) >= max_running", "len(running) + len(thrown) >= max_running"),
        ("a last block that is not full is not counted. Where do its tokens go?",
         "missing = -(-n // block_size)", "missing = n // block_size"),
        ("the free places of a text's last block are not used. How many blocks do all its tokens need?",
         "-(-(text['computed'] + n) // block_size) - text['blocks']", "-(-n // block_size)"),
        ("running texts take no blocks from the stock. How many are free for the line?",
         "n_free, budget, place = (n_free - missing, budget - n", "n_free, budget, place = (n_free, budget - n"),
        ("texts of the line take no blocks from the stock. How many are free for the next one?",
         "n_free, budget = (n_free - missing", "n_free, budget = (n_free"),
        ("a text that lacks blocks computes fewer tokens, as many as there is room for. Who makes room for it?",
         "- text['blocks']\n", "- text['blocks']\n        if missing > n_free and (text['blocks'] + n_free) * block_size > text['computed']:\n"
         "            n, missing = ((text['blocks'] + n_free) * block_size - text['computed'], n_free)\n"),
        ("the youngest text keeps its blocks and waits when it is the one that lacks some. Who gives way then?",
         "if missing > n_free:\n            youngest", "if missing > n_free and place == len(running) - 1:\n            break\n        if missing > n_free:\n            youngest"),
        ("nobody comes in from the line once a text has given way. May a text that gave way come in again?",
         "for text in line:", "for text in [] if thrown else line:"),
        ("the first of the line needs room for all its tokens at once. How many does it read in this step?",
         "missing = -(-n // block_size)", "missing = -(-text['tokens'] // block_size)"),
        ("the first of the line reads fewer tokens where blocks are missing. What does rule 3 say then?",
         "missing = -(-n // block_size)", "missing = -(-n // block_size)\n        if missing > n_free > 0:\n            n, missing = (n_free * block_size, n_free)"),
        ("the plan is in the order of the names. Which order was asked for?", "return (plan, thrown)", "return (sorted(plan), thrown)"),
        ("who gave way is told in the order of age. Who gave way first?",
         "return (plan, thrown)", "return (plan, thrown[::-1])"),
    ),
)  # fmt: skip

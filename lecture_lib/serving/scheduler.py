"""Who computes how many tokens in a step: running texts first, then waiting ones, within a budget of tokens and of blocks.

If no block is free, the youngest text gives up its blocks and waits at the head of the line; what it has is computed
again later (recompute), mostly from blocks that still hold it. Guesses get what is left of both: nobody gives way to them.

Source: Yu et al. (2022); Kwon et al. (2023), section 4.5; Agrawal et al. (2023) for prompts read in chunks beside decoding.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

from lecture_lib.fields import whole
from lecture_lib.serving.blocks import BlockPool, beginning, prefix_hashes
from lecture_lib.serving.request import Text


@dataclass
class Work:
    """One text's part of a step."""

    text: Text
    n_tokens: int
    n_guesses: int = 0  # tokens behind them for which there is room


class Scheduler:
    """The line of waiting texts, the running ones, and the blocks between them.

    Args:
        pool: the blocks.
        block_size: tokens a block has room for.
        max_running: texts that run at once.
        budget: tokens that a step computes at most; a long prompt is read in chunks of what is left of it.
        share_prefixes: whether beginnings that are already stored are used again.
    """

    def __init__(
        self, pool: BlockPool, block_size: int, max_running: int, budget: int, share_prefixes: bool = True
    ) -> None:
        self.pool, self.block_size = pool, block_size
        self.max_running, self.budget = whole("max_running", max_running, 1), whole("budget", budget, 1)
        self.share_prefixes = share_prefixes
        self.waiting: deque[Text] = deque()
        self.running: list[Text] = []
        self.copies: list[tuple[int, int]] = []  # (block, its copy), to be made before the step
        self.n_preempted = self.n_found = 0  # texts thrown out; tokens found in the cache

    def add(self, text: Text) -> None:
        """Put a text at the end of the line."""
        self.waiting.append(text)

    def schedule(self) -> list[Work]:
        """Plan a step. Empty only if nothing waits or runs."""
        plan: list[Work] = []
        left = self.budget
        for text in list(self.running):  # oldest first
            if text in self.running and left:
                n = self.fit(text, min(text.todo, left), plan)
                plan += [Work(text, n)] if n else []
                left -= n
        while self.waiting and left and len(self.running) < self.max_running:
            text = self.waiting[0]
            self.find(text)
            n = min(text.todo, left)
            if self.missing(text, n) > self.pool.n_free:
                self.release(text)
                break
            self.waiting.popleft()
            self.n_found += text.computed
            self.running.append(text)
            self.running.sort(key=lambda each: each.age)
            plan.append(Work(text, self.fit(text, n, plan)))
            left -= n
        self.allot(plan, left)
        return plan

    def allot(self, plan: list[Work], left: int) -> None:
        """Make room for guesses with blocks that are free, and what is left of the budget."""
        for work in plan:
            text = work.text
            n = min(text.guessable, left)
            while n > 0 and self.missing(text, work.n_tokens + n) > self.pool.n_free:
                n -= 1
            if n > 0:
                self.fit(text, work.n_tokens + n, plan)
                work.n_guesses, left = n, left - n

    def trim(self, text: Text) -> None:
        """Give the blocks back that hold only guesses that did not come true."""
        while len(text.table) * self.block_size >= text.computed + self.block_size:
            self.pool.give_back(text.table.pop())

    def find(self, text: Text) -> None:
        """Begin a text with the blocks that others have computed; its last token is always computed anew."""
        if text.table or not self.share_prefixes:
            return
        hashes = prefix_hashes(text.ids[:-1], self.block_size, beginning(text.request.adapter))
        found = self.pool.find(hashes)
        for block in found:
            self.pool.share(block)
        text.table, text.hashes = list(found), hashes[: len(found)]
        text.computed = len(found) * self.block_size

    def missing(self, text: Text, n: int) -> int:
        """Blocks that n further tokens need, a copy of a shared one included."""
        blocks = -(-(text.computed + n) // self.block_size) - len(text.table)
        return max(0, blocks) + self.shares_last(text)

    def shares_last(self, text: Text) -> bool:
        """Whether the next token goes into a block that others hold too."""
        place = text.computed // self.block_size
        return place < len(text.table) and self.pool.counts[text.table[place]] > 1

    def fit(self, text: Text, n: int, plan: list[Work]) -> int:
        """Get the blocks for n tokens, from younger texts if need be; 0 if the text itself had to give way."""
        while self.missing(text, n) > self.pool.n_free:
            victim = max(self.running, key=lambda each: each.age)
            self.preempt(victim, plan)
            if victim is text:
                return 0
        if self.shares_last(text):
            self.copy_last(text)
        while len(text.table) * self.block_size < text.computed + n:
            text.table.append(self.pool.take())
        return n

    def copy_last(self, text: Text) -> None:
        """Give a text a block of its own in place of one that it shares."""
        place = text.computed // self.block_size
        mine, shared = self.pool.take(), text.table[place]
        self.copies.append((shared, mine))
        self.pool.give_back(shared)
        text.table[place] = mine

    def preempt(self, text: Text, plan: list[Work]) -> None:
        """Take a text's blocks; it waits at the head of the line."""
        plan[:] = [work for work in plan if work.text is not text]
        self.running.remove(text)
        self.release(text)
        self.waiting.appendleft(text)
        self.n_preempted += 1

    def release(self, text: Text) -> None:
        """Give all blocks of a text back, the last ones first, so that a common beginning is kept longest."""
        for block in reversed(text.table):
            self.pool.give_back(block)
        text.table, text.computed, text.hashes = [], 0, []

    def store(self, text: Text) -> None:
        """Let others find the blocks that a text has filled."""
        full, done = text.computed // self.block_size, len(text.hashes)
        if self.share_prefixes and full > done:
            before = text.hashes[-1] if done else beginning(text.request.adapter)
            new = text.ids[done * self.block_size : full * self.block_size]
            text.hashes += prefix_hashes(new, self.block_size, before)
            for place in range(done, full):
                self.pool.remember(text.table[place], text.hashes[place])

    def fork(self, text: Text, copies: list[Text]) -> None:
        """Let other samples of the same prompt go on from where a text is, sharing all its blocks."""
        for other in copies:
            for block in text.table:
                self.pool.share(block)
            other.table, other.computed, other.hashes = list(text.table), text.computed, list(text.hashes)
            self.running.append(other)
        self.running.sort(key=lambda each: each.age)

    def end(self, text: Text) -> None:
        """Take a text out, wherever it is."""
        if text in self.running:
            self.running.remove(text)
        elif text in self.waiting:
            self.waiting.remove(text)
        self.release(text)


def groups(plan: list[Work]) -> list[list[Work]]:
    """Parts of a step that are computed together: single tokens, prompts of equal length, and texts with guesses, padded."""
    by_length = defaultdict(list)
    for work in plan:
        by_length[0 if work.text.guess else work.n_tokens].append(work)
    return list(by_length.values())

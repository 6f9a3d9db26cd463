"""Many requests at once: plan a step, one forward for all new tokens, draw, give out, start again.

Every request gets the tokens that it would get alone: a text's logits do not depend on the others, and each sample has a
generator of its own. Products of another shape add in another order: two tokens that are equally likely to the last digit
may change places.
"""

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.padding import pad
from lecture_lib.serving.blocks import BlockPool
from lecture_lib.serving.choice import at_end, candidates, choose, law
from lecture_lib.serving.paged import PagedCache
from lecture_lib.serving.request import Output, Request, Text, texts
from lecture_lib.serving.scheduler import Scheduler, Work
from lecture_lib.transformer import ModelConfig  # noqa: F401 (for the example)
from lecture_lib.weights import Watch, unwrapped

KEPT = 100_000  # events, steps and requests that are remembered


class QueueFull(RuntimeError):
    """So many requests wait already that another one is not taken."""


@dataclass
class Counters:
    """What an engine has done so far."""

    steps: int = 0
    tokens_computed: int = 0
    tokens_given: int = 0
    tokens_found: int = 0  # in the cache, so not computed
    preempted: int = 0
    waste: deque[float] = field(
        default_factory=lambda: deque(maxlen=KEPT)
    )  # share of taken slots that hold nothing
    first_token: dict[int, float] = field(
        default_factory=dict
    )  # seconds to the first token, of the last requests


class Engine:
    """Serve requests on one model.

    Args:
        model: a decoder in evaluation mode.
        n_blocks: blocks of the cache.
        block_size: tokens a block has room for.
        max_running: texts computed at once.
        budget: tokens that a step computes at most.
        max_waiting: requests that may wait; more are refused.
        share_prefixes: whether beginnings of texts are computed once.

    Example:
        >>> config = ModelConfig(vocab_size=9, d_model=8, n_heads=2, n_layers=1, context_length=16)
        >>> engine = Engine(Decoder(config).eval(), n_blocks=8, block_size=4)
        >>> number = engine.add(Request((1, 2, 3), max_new_tokens=2))
        >>> len(engine.run()[number][0])
        2
    """

    def __init__(
        self,
        model: Decoder,
        n_blocks: int = 256,
        block_size: int = 16,
        max_running: int = 32,
        budget: int = 256,
        max_waiting: int = 1000,
        share_prefixes: bool = True,
    ) -> None:
        self.model = unwrapped(model)
        if self.model.training and self.model.config.dropout:
            raise ValueError("call model.eval() first: an engine has no dropout")
        weight = next(self.model.parameters())
        self.device, self.config = weight.device, self.model.config
        self.cache = PagedCache(self.config, n_blocks, block_size, weight.dtype, weight.device)
        self.scheduler = Scheduler(BlockPool(n_blocks), block_size, max_running, budget, share_prefixes)
        self.max_waiting = whole("max_waiting", max_waiting, 1)
        self.counters, self.events = Counters(), deque(maxlen=KEPT)
        self.siblings: dict[int, list[Text]] = {}  # samples that wait for their prompt to be read
        self.asked: dict[int, float] = {}
        self.alive: dict[int, list[Text]] = {}
        self.numbers, self.watch = itertools.count(), Watch(self.model)

    def add(self, request: Request) -> int:
        """Take a request; its number. One that can never fit is refused, and `QueueFull` if too many wait."""
        longest = len(request.prompt) + request.max_new_tokens - 1  # the last token need not be read
        room = self.scheduler.pool.n_blocks * self.cache.block_size
        if longest > min(self.config.context_length, room):
            raise ValueError(
                f"a prompt of {len(request.prompt)} tokens and {request.max_new_tokens} new ones do not fit: the context has "
                f"{self.config.context_length}, the cache {room} tokens"
            )
        if max(request.prompt) >= self.config.vocab_size or min(request.prompt) < 0:
            raise ValueError(f"token ids must lie in 0 ... {self.config.vocab_size - 1}")
        if len(self.scheduler.waiting) >= self.max_waiting:
            raise QueueFull(f"{self.max_waiting} requests wait already: try again later")
        number = next(self.numbers)
        first, *others = texts(request, number, self.device)
        self.alive[number], self.siblings[number] = [first, *others], others
        self.asked[number] = time.perf_counter()
        self.scheduler.add(first)
        self.log("asked", number, 0, len(request.prompt))
        return number

    def cancel(self, number: int) -> None:
        """Forget a request; its blocks are free at once. One that has ended is passed over."""
        for text in self.alive.pop(number, []):
            text.finished = "cancelled"
            self.scheduler.end(text)
            self.log("cancelled", number, text.sample, len(text.new))
        self.siblings.pop(number, None)
        self.asked.pop(number, None)

    def log(self, what: str, number: int, sample: int, n_tokens: int) -> None:
        """Note an event: (step, what, request, sample, tokens)."""
        self.events.append((self.counters.steps, what, number, sample, n_tokens))

    @torch.inference_mode()
    def step(self) -> list[Output]:
        """Compute one step: what it gave, at most a token for each running text."""
        if not self.watch.unchanged():
            raise RuntimeError(
                "the model has got other weights: what the cache holds was computed with the old ones"
            )
        plan, scheduler = self.scheduler.schedule(), self.scheduler
        for block, to in scheduler.copies:
            self.cache.copy(block, to)
        scheduler.copies.clear()
        outputs = []
        for group in groups(plan):
            logits = self.forward(group)
            for row, work in zip(logits, group, strict=True):
                self.log("computed", work.text.number, work.text.sample, work.n_tokens)
                if work.text.todo == 0:
                    outputs += self.draw_all(work.text, row)
        self.count(plan, outputs)
        return outputs

    def forward(self, group: list[Work]) -> Tensor:
        """Read the new tokens of some texts: (R, |V|) logits behind the last of each."""
        starts, added = [work.text.computed for work in group], [work.n_tokens for work in group]
        new = [work.text.ids[a : a + n] for work, a, n in zip(group, starts, added, strict=True)]
        here = self.cache.begin([work.text.table for work in group], starts, added)
        X = self.model.features(pad(new, 0, self.device)[0], here=here)  # (R, N, D)
        for work in group:
            work.text.computed += work.n_tokens
            self.scheduler.store(work.text)
        last = torch.tensor([n - 1 for n in added], device=self.device)
        return self.model.head(X[torch.arange(len(group), device=self.device), last])

    def draw_all(self, text: Text, logits: Tensor) -> list[Output]:
        """Draw for a text, and for its siblings, which start from the same logits once the prompt is read."""
        others = self.siblings.pop(text.number, [])
        if others:
            self.scheduler.fork(text, others)
        return [self.draw(each, logits) for each in (text, *others)]

    def draw(self, text: Text, logits: Tensor) -> Output:
        """Draw one token, exactly as `generate` does for a text alone. A text for which no token is left ends alone."""
        n, log_prob, likely, top = len(text.new), 0.0, (), text.request.top
        try:
            probs = law(text, logits[None]) if top else None
            token = choose(text, logits[None])
            likely = candidates(probs, token, top) if top else ()
            text.ids.append(token)
            log_prob = float(logits.double().log_softmax(-1)[token])
        except ValueError as error:
            token, text.finished, text.error = -1, "error", str(error)
        if text.finished is None and at_end(text):
            text.finished = "stop"
        elif text.finished is None and n + 1 == text.request.max_new_tokens:
            text.finished = "length"
        if text.finished:
            self.finish(text)
        return Output(text.number, text.sample, token, text.finished, log_prob, likely)

    def finish(self, text: Text) -> None:
        """Let a text go."""
        self.scheduler.end(text)
        self.alive[text.number].remove(text)
        if not self.alive[text.number]:
            del self.alive[text.number]
        self.log(text.finished, text.number, text.sample, len(text.new))

    def count(self, plan: list[Work], outputs: list[Output]) -> None:
        """Keep the counters."""
        counters, scheduler, now = self.counters, self.scheduler, time.perf_counter()
        counters.steps += 1
        counters.tokens_computed += sum(work.n_tokens for work in plan)
        counters.tokens_given += len(outputs)
        counters.tokens_found, counters.preempted = scheduler.n_found, scheduler.n_preempted
        for output in outputs:
            if output.request in self.asked:
                counters.first_token[output.request] = now - self.asked.pop(output.request)
                counters.first_token.pop(output.request - KEPT, None)
        taken = {block for text in scheduler.running for block in text.table}
        holes = sum(len(t.table) * self.cache.block_size - t.computed for t in scheduler.running)
        if taken:
            counters.waste.append(max(0, holes) / (len(taken) * self.cache.block_size))

    def run(self) -> dict[int, list[list[int]]]:
        """Work until nothing is left: for each request the new tokens of its samples."""
        given: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        while self.alive:
            for output in self.step():
                given[output.request][output.sample] += [output.token] if output.finished != "error" else []
        return {number: [tokens[i] for i in sorted(tokens)] for number, tokens in given.items()}

    def stream(self, request: Request) -> Iterator[Output]:
        """Give the tokens of one request as they come, while others that were added run beside it.

        What the others get in these steps is lost to the caller: a server steps the engine itself. A consumer that stops
        reading cancels the request.
        """
        number = self.add(request)
        try:
            while number in self.alive:
                yield from (output for output in self.step() if output.request == number)
        finally:
            self.cancel(number)


def groups(plan: list[Work]) -> list[list[Work]]:
    """Parts of a step that are computed together: single tokens, and prompts of equal length."""
    by_length = defaultdict(list)
    for work in plan:
        by_length[work.n_tokens].append(work)
    return list(by_length.values())

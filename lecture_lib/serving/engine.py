"""Many requests at once: plan a step, guess, one forward for all new tokens, draw, give out, start again.

Every request gets the tokens that it would get alone: a text's logits do not depend on the others, and each sample has a
generator of its own. Products of another shape add in another order: two tokens that are equally likely to the last digit
may change places.
"""

import itertools
import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.serving.adapters import Adapters
from lecture_lib.serving.blocks import BlockPool
from lecture_lib.serving.choice import at_end, candidates, choose, law
from lecture_lib.serving.counters import KEPT, Counters, QueueFull
from lecture_lib.serving.guesses import Guesser
from lecture_lib.serving.paged import PagedCache
from lecture_lib.serving.request import Output, Request, Text, texts
from lecture_lib.serving.scheduler import Scheduler, Work, groups
from lecture_lib.transformer import ModelConfig  # noqa: F401 (for the example)
from lecture_lib.weights import Watch, unwrapped


class Engine:
    """Serve requests on one model.

    Args:
        model: a decoder in evaluation mode; its weights may be quantized.
        n_blocks: blocks of the cache.
        block_size: tokens a block has room for.
        max_running: texts computed at once.
        budget: tokens that a step computes at most.
        max_waiting: requests that may wait; more are refused.
        share_prefixes: whether beginnings of texts are computed once.
        adapters: updates of low rank that requests may name: folders of `save_lora` or peft by name.
        draft: a smaller model of the same vocabulary that guesses for requests with guesser="draft".

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
        adapters: Mapping[str, str | os.PathLike[str]] | None = None,
        draft: Decoder | None = None,
    ) -> None:
        self.model, weight = unwrapped(model), next(model.parameters())
        self.device, self.config = weight.device, self.model.config
        if self.model.training and self.config.dropout:
            raise ValueError("call model.eval() first: an engine has no dropout")
        self.cache = PagedCache(self.config, n_blocks, block_size, weight.dtype, weight.device)
        self.scheduler = Scheduler(BlockPool(n_blocks), block_size, max_running, budget, share_prefixes)
        self.max_waiting = whole("max_waiting", max_waiting, 1)
        self.counters, self.events = Counters(), deque(maxlen=KEPT)
        self.siblings: dict[int, list[Text]] = {}  # samples that wait for their prompt to be read
        self.asked: dict[int, float] = {}
        self.alive: dict[int, list[Text]] = {}
        self.numbers, self.watch = itertools.count(), Watch(self.model)
        self.guesser = Guesser(self.config, draft, n_blocks, block_size)
        self.adapters = Adapters(self.model, adapters or {})
        self.model, self.adapter_names = self.adapters.model, self.adapters.names

    def add(self, request: Request) -> int:
        """Take a request; its number. One that can never be served is refused, and `QueueFull` if too many wait."""
        longest = len(request.prompt) + request.max_new_tokens - 1  # the last token need not be read
        room = self.scheduler.pool.n_blocks * self.cache.block_size
        if longest > min(self.config.context_length, room):
            raise ValueError(
                f"a prompt of {len(request.prompt)} tokens and {request.max_new_tokens} new ones do not fit: the context has "
                f"{self.config.context_length}, the cache {room} tokens"
            )
        if max(request.prompt) >= self.config.vocab_size or min(request.prompt) < 0:
            raise ValueError(f"token ids must lie in 0 ... {self.config.vocab_size - 1}")
        if request.adapter not in (None, *self.adapter_names):
            known = ", ".join(self.adapter_names) or "none"
            raise ValueError(f"there is no adapter {request.adapter!r} here; there are {known}")
        if request.guesser == "draft" and self.guesser.draft is None:
            raise ValueError("a draft is to guess, but the engine has none: Engine(model, draft=...)")
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
        """Compute one step: what it gave, a token for each text that has been read, and more where guesses came true."""
        if not (self.watch.unchanged() and self.guesser.unchanged()):
            raise RuntimeError("a model has got other weights: the cache holds what the old ones computed")
        plan, scheduler = self.scheduler.schedule(), self.scheduler
        for block, to in scheduler.copies:
            self.cache.copy(block, to)
            self.guesser.copy(block, to)
        scheduler.copies.clear()
        self.guesser.guess(plan, self.cache.pool.dtype)
        outputs = []
        for group in groups(plan):
            logits = self.forward(group)
            for rows, work in zip(logits, group, strict=True):
                self.log("computed", work.text.number, work.text.sample, work.n_tokens + len(work.text.guess))
                if work.text.todo == 0:
                    outputs += self.draw_all(work.text, rows)
        for work in plan:
            scheduler.trim(work.text)
        self.count(plan, outputs)
        return outputs

    def forward(self, group: list[Work]) -> list[Tensor]:
        """Read the new tokens and the guesses of some texts: (1 + K, |V|) logits each, behind the text and behind each guess."""
        texts, starts = [work.text for work in group], [work.text.computed for work in group]
        new = [t.ids[a : a + w.n_tokens] + t.guess for t, a, w in zip(texts, starts, group, strict=True)]
        tables, n_guesses = [text.table for text in texts], [len(text.guess) for text in texts]
        self.adapters.choose([text.request.adapter for text in texts], self.device)
        X = self.cache.read(self.model, tables, starts, new)  # (R, N, D)
        self.guesser.read(tables, starts, new)
        self.counters.tokens_computed += sum(map(len, new))
        for work in group:
            work.text.computed += work.n_tokens
            self.scheduler.store(work.text)
        ends, width = torch.tensor([len(ids) for ids in new]), 1 + max(n_guesses)
        places = (ends[:, None] - width + torch.arange(width)).clamp(min=0).to(self.device)
        logits = self.model.head(X[torch.arange(len(group), device=self.device)[:, None], places])
        return [rows[width - 1 - n :] for rows, n in zip(logits, n_guesses, strict=True)]

    def draw_all(self, text: Text, logits: Tensor) -> list[Output]:
        """Draw for a text, and for its siblings, which start from the same logits once the prompt is read."""
        others = self.siblings.pop(text.number, [])
        if others:
            self.scheduler.fork(text, others)
        outputs = [self.draw(each, logits[0]) for each in (text, *others)]
        return outputs + self.draw_on(text, outputs[0], logits[1:]) if text.guess else outputs

    def draw_on(self, text: Text, last: Output, logits: Tensor) -> list[Output]:
        """Draw behind guesses, as long as they are the tokens that were drawn: what is stored of them is right."""
        (guess, text.guess), outputs = (text.guess, []), [last]
        for token, row in zip(guess, logits, strict=True):
            if outputs[-1].token != token or outputs[-1].finished:
                break
            text.computed += 1
            self.scheduler.store(text)
            outputs.append(self.draw(text, row))
        kept = sum(output.token == token for output, token in zip(outputs, guess, strict=False))
        for what, n in (("guessed", len(guess)), ("kept", kept)):
            self.counters.guesses[what] += n
            self.log(what, text.number, text.sample, n)
        return outputs[1:]

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

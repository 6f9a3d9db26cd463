"""One engine in a thread of its own, many askers: each gets its outputs in a queue, and one that leaves is forgotten."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from lecture_lib.serving.engine import Engine
from lecture_lib.serving.request import Output, Request

Asker = Callable[[Output | Exception], None]  # called in the engine's thread


class Service:
    """Step an engine as long as somebody waits for something.

    Args:
        engine: nobody else may use it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.askers: dict[int, Asker] = {}
        self.orders: list[tuple[object, Asker | None, Future]] = []  # requests to add, numbers to cancel
        self.wakes = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self.work, daemon=True, name="engine")
        self.thread.start()

    def close(self) -> None:
        """End the thread; whoever still waits is told."""
        with self.wakes:
            self.closed = True
            self.wakes.notify()
        self.thread.join(10)
        ended = RuntimeError("the server is shutting down")
        for _, _, done in self.orders:
            done.set_exception(ended)
        for number in list(self.askers):
            self.tell(number, ended)

    def work(self) -> None:
        """Take orders between steps."""
        while True:
            with self.wakes:
                self.wakes.wait_for(lambda: self.closed or self.orders or self.engine.alive)
                if self.closed:
                    return
                orders, self.orders = self.orders, []
            for order, asker, done in orders:
                self.take(order, asker, done)
            if self.engine.alive:
                self.give(self.step())

    def take(self, order: object, asker: Asker | None, done: Future) -> None:
        """Add a request or cancel one."""
        try:
            if isinstance(order, Request):
                number = self.engine.add(order)
                self.askers[number] = asker
                done.set_result(number)
            else:
                self.engine.cancel(order)
                self.askers.pop(order, None)
                done.set_result(None)
        except Exception as error:
            done.set_exception(error)

    def step(self) -> list[Output | Exception]:
        """A step; what it raises ends all requests, with the error told to each."""
        try:
            return self.engine.step()
        except Exception as error:
            for number in list(self.engine.alive):
                self.engine.cancel(number)
            return [error]

    def give(self, outputs: list[Output | Exception]) -> None:
        """Put outputs into the queues of those who asked."""
        for output in outputs:
            for number in list(self.askers) if isinstance(output, Exception) else [output.request]:
                self.tell(number, output)

    def tell(self, number: int, output: Output | Exception) -> None:
        """Hand an output to the one who asked, if anybody still reads."""
        try:
            if asker := self.askers.get(number):
                asker(output)
        except RuntimeError:  # its loop is closed
            self.engine.cancel(number)
            self.askers.pop(number, None)

    def order(self, what: object, asker: Asker | None = None) -> Future:
        """Hand an order to the thread."""
        done: Future = Future()
        with self.wakes:
            if self.closed:
                raise RuntimeError("the server is shutting down")
            self.orders.append((what, asker, done))
            self.wakes.notify()
        return done

    async def outputs(self, request: Request, held_back: bool = False) -> AsyncIterator[Output]:
        """Ask, and give what comes until all samples have ended; whoever stops reading cancels the request.

        What `Engine.add` refuses is raised before the first output. `held_back`: give nothing before a sample has
        ended, which spares the reader a wake for every token.
        """
        queue: asyncio.Queue = asyncio.Queue()
        loop, held = asyncio.get_running_loop(), []

        def asker(output: Output | Exception) -> None:
            held.append(output)
            if not held_back or isinstance(output, Exception) or output.finished:
                loop.call_soon_threadsafe(queue.put_nowait, held.copy())
                held.clear()

        number = await asyncio.wrap_future(self.order(request, asker))
        left = request.n
        try:
            while left:
                for output in map(given, await queue.get()):
                    left -= output.finished is not None
                    yield output
        finally:
            self.leave(number, left)

    def listen(self, request: Request) -> Iterator[Output]:
        """As `outputs`, for a caller who waits in a thread of its own."""
        queue: SimpleQueue = SimpleQueue()
        number = self.order(request, queue.put).result()
        left = request.n
        try:
            while left:
                output = given(queue.get())
                left -= output.finished is not None
                yield output
        finally:
            self.leave(number, left)

    def leave(self, number: int, left: int) -> None:
        """Read no further; what is not finished is cancelled."""
        self.askers.pop(number, None)
        if left:
            with contextlib.suppress(RuntimeError):  # closed: nothing runs any more
                self.order(number)


def given(output: Output | Exception) -> Output:
    """An output, or an error raised in the thread of the one who asked."""
    if isinstance(output, Exception):
        raise RuntimeError("the engine failed on a step") from output
    return output

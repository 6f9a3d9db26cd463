"""An OpenAI-compatible server on the engine: models, completions, chat completions, streaming by server-sent events, metrics.

``lecture serve MODEL`` starts it on this machine alone (127.0.0.1); vLLM and the ``openai`` client speak the same.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from lecture_lib.serving import asks
from lecture_lib.serving.engine import Engine, QueueFull
from lecture_lib.serving.service import Service
from lecture_lib.serving.spoken import Spoken

MOST_BYTES = 2**20  # of a request


def create_app(
    engine: Engine, tokenizer: object, name: str, guesser: Literal["lookup", "draft"] | None = None
) -> FastAPI:
    """The server as an ASGI application; each adapter of the engine is a model of its own.

    Args:
        engine: nobody else may use it.
        tokenizer: of the model; chat needs its template.
        name: of the model, as clients ask for it.
        guesser: where all requests get their guesses from.
    """
    names = models_of(engine, name)
    service = Service(engine)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(title="lecture", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)

    guard(app)

    @app.get("/v1/models")
    async def models() -> dict:
        same = {"object": "model", "created": 0, "owned_by": "lecture"}
        rows = [{"id": each, "parent": adapter and name} | same for each, adapter in names.items()]
        return {"object": "list", "data": rows}

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(measured(engine))

    @app.post("/v1/completions")
    async def completions(body: asks.Completion) -> Response:
        return await answer(body, service, tokenizer, names, guesser)

    @app.post("/v1/chat/completions")
    async def chat(body: asks.Chat) -> Response:
        return await answer(body, service, tokenizer, names, guesser)

    return app


def models_of(engine: Engine, name: str) -> dict[str, str | None]:
    """What clients may ask for, the model and each adapter: its name, and the adapter that the engine takes."""
    if name in engine.adapter_names:
        raise ValueError(f"an adapter cannot have the model's own name, {name}")
    return {name: None} | {adapter: adapter for adapter in engine.adapter_names}


def guard(app: FastAPI) -> None:
    """Bound what comes in, and let nothing of the inside out."""

    @app.middleware("http")
    async def bounded(request: Request, go_on: object) -> Response:
        size = request.headers.get("content-length", "0")
        if request.method == "POST" and (not size.isdigit() or int(size) > MOST_BYTES or size == "0"):
            return refusal(413, f"a request needs a body of at most {MOST_BYTES} bytes and says its length")
        try:
            return await go_on(request)
        except Exception:  # nothing of the inside leaves
            return refusal(500, "the server failed on this request", "server_error")

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return refusal(400, f"{'.'.join(map(str, first['loc'][1:])) or 'body'}: {first['msg']}"[:300])

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail)[:300])


def refusal(status: int, message: str, kind: str = "invalid_request_error") -> JSONResponse:
    """An error in the form that clients know."""
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


async def answer(
    body: asks.Ask, service: Service, tokenizer: object, names: dict[str, str | None], guesser: str | None
) -> Response:
    """Serve a completion of either kind."""
    if body.model not in names:
        return refusal(404, f"there is no model {body.model!r} here; there is {', '.join(map(repr, names))}")
    try:
        asked = body.request(tokenizer, service.engine.config.context_length)
        asked = replace(asked, adapter=names[body.model], guesser=guesser)
        outputs = service.outputs(asked, held_back=not body.stream)
        first = await anext(outputs)
    except QueueFull as error:
        return refusal(429, str(error), "rate_limit_error")
    except ValueError as error:
        return refusal(400, str(error))
    spoken = Spoken(body, asked, tokenizer, body.model, f"{body.prefix}-{uuid.uuid4().hex}", int(time.time()))
    if body.stream:
        return StreamingResponse(events(spoken, first, outputs), media_type="text/event-stream")
    async with aclosing(outputs):
        spoken.take(first)
        async for output in outputs:
            spoken.take(output)
    return JSONResponse(spoken.whole())


async def events(spoken: Spoken, first: object, outputs: AsyncIterator) -> AsyncIterator[str]:
    """Server-sent events: a piece of text each, then the end."""
    async with aclosing(outputs):
        for chunk in spoken.add(first):
            yield f"data: {json.dumps(chunk)}\n\n"
        async for output in outputs:
            for chunk in spoken.add(output):
                yield f"data: {json.dumps(chunk)}\n\n"
    for chunk in spoken.last():
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def measured(engine: Engine) -> str:
    """Counters in the text form of Prometheus."""
    c, s = engine.counters, engine.scheduler
    waits = sorted(c.first_token.values())
    rows = {
        "steps_total": c.steps,
        "tokens_computed_total": c.tokens_computed,
        "tokens_given_total": c.tokens_given,
        "tokens_found_in_cache_total": c.tokens_found,
        "tokens_guessed_total": c.guesses["guessed"],
        "tokens_kept_total": c.guesses["kept"],
        "preempted_total": c.preempted,
        "running": len(s.running),
        "waiting": len(s.waiting),
        "blocks_free": s.pool.n_free,
        "first_token_seconds_median": waits[len(waits) // 2] if waits else 0.0,
    }
    return "".join(f"lecture_{name} {value}\n" for name, value in rows.items())


def serve(
    engine: Engine,
    tokenizer: object,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    guesser: Literal["lookup", "draft"] | None = None,
) -> None:
    """Serve until interrupted; arguments as `create_app`."""
    import uvicorn

    app = create_app(engine, tokenizer, name, guesser)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_keep_alive=5)

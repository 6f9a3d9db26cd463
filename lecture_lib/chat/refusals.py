"""One sentence for whatever can go wrong between here and a server, and of which kind it is."""

import re
from collections.abc import Mapping

from lecture_lib.chat.protocol import Kind

STATUS: dict[int, Kind] = {401: "key", 403: "key", 404: "model", 408: "timeout", 413: "context", 429: "rate"}
TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|context_length|too (long|many tokens)|maximum.{0,20}tokens|the context of",
    re.I,
)
NO_MODEL = re.compile(
    r"model.{0,80}(not found|does not exist|not exist|unknown)|no model|model_not_found", re.I | re.S
)


def sentence(
    error: Exception, url: str, model: str, key_variable: str | None, timeout: float
) -> tuple[str, Kind]:
    """Say what is wrong, from an error of the `openai` client or of what it calls.

    Words of the server are cut short, and left out where they are about a key, which they may hold.
    """
    said, kind = words(error), kind_of(error)
    key = (
        f"the key in {key_variable}"
        if key_variable
        else "a request without a key: name the variable that holds it"
    )
    told: dict[Kind, str] = {
        "key": f"{url} refuses {key}",
        "network": f"no connection to {url}: is the server running, and this machine on the network?",
        "timeout": f"{url} gave no answer within {timeout:g} s",
        "model": f"{url} has no model {model!r}",
        "rate": f"{url} takes no more requests for now (rate limit), after several tries: {said}",
        "context": f"the conversation is too long for {model}: {said}",
        "request": f"{url} refuses the request: {said}",
        "server": f"{url} failed: {said}",
    }
    return told[kind].removesuffix(": "), kind


def kind_of(error: Exception) -> Kind:
    """Sort an error."""
    status, said = getattr(error, "status_code", None), words(error)
    if status in (400, 404, 413, 422) and TOO_LONG.search(said):
        return "context"
    if status in (400, 422) and NO_MODEL.search(said):
        return "model"
    if isinstance(status, int):
        return STATUS.get(status, "request" if status < 500 else "server")
    names = {each.__name__ for each in type(error).__mro__}
    if any("Timeout" in name for name in names):
        return "timeout"
    lost = {"APIConnectionError", "TransportError", "OSError"}
    return "network" if names & lost else "server"


def words(error: Exception) -> str:
    """What the server said of it, in one line of at most 200 characters."""
    body = getattr(error, "body", None)
    for name in ("error", "message", "detail"):
        body = body[name] if isinstance(body, Mapping) and name in body else body
    code = f" ({error.status_code})" if hasattr(error, "status_code") else ""
    if body is None and not code:  # not the server's words: something of the client, which may hold anything
        return "what it sends is not OpenAI's API"
    return (" ".join(str(body or "").split())[:200] or "it does not say why") + code

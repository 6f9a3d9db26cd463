"""The one door to all chat models."""

import os
import re

import torch

from lecture_lib.chat.endpoint import Endpoint
from lecture_lib.chat.local import LocalModel, load_decoder


def open_model(
    where: str | os.PathLike[str],
    model: str | None = None,
    *,
    key_variable: str | None = None,
    timeout: float = 60.0,
    retries: int = 3,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | int | None = None,
) -> LocalModel | Endpoint:
    """Open a chat model, by name, folder or address.

    Args:
        where: a name of the zoo, a folder, or owner/model of the Hugging Face Hub, for a model that runs here; or the
            address of a server that speaks OpenAI's API, such as "http://127.0.0.1:8000/v1".
        model: which one of an address, as `Endpoint`.
        key_variable: environment variable with the key of an address, as `Endpoint`.
        timeout: seconds, as `Endpoint`.
        retries: as `Endpoint`.
        dtype: of the weights of a model that runs here, as `load_decoder`.
        device: of a model that runs here, as `load_decoder`.

    Raises:
        ValueError: there is no such model or no such address.
        ChatError: the server does not answer.

    Example:
        >>> course = open_model("course_instruct")
        >>> course.replies([{"role": "user", "content": "Ann has 3 apples ."}], max_new_tokens=5)[0].tokens_out
        5
    """
    where = os.fspath(where)
    if re.match("https?://", where):
        return Endpoint(where, model, key_variable, timeout, retries)
    if re.match(r"[\w.-]+:\d+(/|$)", where) or model or key_variable:
        raise ValueError(f"{where} is no address; one looks like http://127.0.0.1:8000/v1")
    return LocalModel(*load_decoder(where, dtype, device))

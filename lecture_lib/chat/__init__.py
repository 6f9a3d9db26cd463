"""Talk with a model, whether it runs here or elsewhere: `open_model(...)`, then `replies` or `stream`.

A `LocalModel` runs on the course's engine; an `Endpoint` is any server that speaks OpenAI's API. Both are a `ChatModel`, so that
what is built on one works on the other.
"""

from lecture_lib.chat.door import open_model
from lecture_lib.chat.endpoint import Endpoint
from lecture_lib.chat.local import LocalModel, load_decoder
from lecture_lib.chat.protocol import ChatError, ChatModel, Message, Reply

__all__ = [
    "ChatError",
    "ChatModel",
    "Endpoint",
    "LocalModel",
    "Message",
    "Reply",
    "load_decoder",
    "open_model",
]

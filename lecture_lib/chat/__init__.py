"""Talk with a model, whether it runs here or elsewhere: `ChatModel.replies` and `stream`."""

from lecture_lib.chat.protocol import ChatModel, Message, Reply

__all__ = ["ChatModel", "Message", "Reply"]

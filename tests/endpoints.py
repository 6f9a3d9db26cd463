"""Servers on loopback for the tests of chat: one that behaves as it is told, one of `transformers`."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(text, finish=None, usage=None):
    """An event of a stream."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    body = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices}
    return f"data: {json.dumps(body | ({'usage': usage} if usage else {}))}\n\n"


def whole(text="fine", usage=USAGE):
    """A whole answer."""
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
    return 200, json.dumps(body | ({"usage": usage} if usage else {}))


def refusal(status, message, **more):
    """An error in OpenAI's form."""
    return status, json.dumps({"error": {"message": message, "type": "error", **more}})


class Told:
    """A server that gives its answers one after the other, the last one for ever; `asked` holds what came in.

    An answer is (status, body), a list of pieces of a stream, or a number of seconds to hang. Between the pieces it may
    wait (a number), or break the connection off (None).
    """

    def __init__(self):
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802
                self.send(200, json.dumps({"object": "list", "data": [{"id": name} for name in told.models]}))

            def do_POST(self):  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                told.asked.append((headers, body))
                answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
                with contextlib.suppress(OSError):
                    self.answer(answer(headers) if callable(answer) else answer)

            def answer(self, answer):
                if isinstance(answer, int | float):
                    told.over.wait(answer)
                    self.close_connection = True
                elif isinstance(answer, tuple):
                    self.send(*answer[:2], **dict(answer[2:]))
                else:
                    self.stream(answer)

            def send(self, status, text, **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def stream(self, pieces):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    if piece is None:
                        self.close_connection = True
                        return
                    if isinstance(piece, str):
                        self.wfile.write(f"{len(piece.encode()):x}\r\n{piece}\r\n".encode())
                        self.wfile.flush()
                    else:
                        told.over.wait(piece)
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.answers, self.asked, self.models, self.over = [whole()], [], ["m"], threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def transformers_serve(folder, home):
    """Address of `transformers serve` on a folder; the reason as text if it does not start."""
    port = free_port()
    (home / "hub").mkdir()
    command = [
        sys.executable,
        "-c",
        "from transformers.cli.transformers import main; main()",
        "serve",
        str(folder),
    ]
    options = ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    place = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(command + options, env=place, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1", process.poll(), (home / "log").read_text(errors="replace")
    finally:
        process.terminate()
        process.wait(20)

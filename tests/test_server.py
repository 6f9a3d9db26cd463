"""The server with the real `openai` client on loopback: right answers, many at once, clients that leave, requests that are wrong."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch
import uvicorn
from served import adapter
from typer.testing import CliRunner

from lecture_lib import generation, zoo
from lecture_lib.command import app
from lecture_lib.quantization import QuantizedLinear
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Engine, Request
from lecture_lib.serving.server import MOST_BYTES, create_app

GREEDY = SamplingParameters(temperature=0)
USER = [{"role": "user", "content": "Tom has 3 apples ."}]


class Running:
    """A server in a thread."""

    def __init__(self, name, guesser=None, **options):
        self.model, self.tokenizer = zoo.load(name)
        self.engine = Engine(self.model.eval(), **options)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = uvicorn.Config(
            create_app(self.engine, self.tokenizer, name, guesser), port=port, log_level="critical"
        )
        self.server, self.url = uvicorn.Server(config), f"http://127.0.0.1:{port}"
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)

    def rest(self):
        """Wait until nothing runs."""
        end = time.monotonic() + 20
        while self.engine.alive and time.monotonic() < end:
            time.sleep(0.05)
        assert (
            not self.engine.alive and self.engine.scheduler.pool.n_free == self.engine.scheduler.pool.n_blocks
        )

    def close(self):
        self.client.close()
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def gpt():
    running = Running("gpt", n_blocks=40, block_size=16, max_running=8, max_waiting=60)
    yield running
    running.close()


@pytest.fixture(scope="module")
def course():
    running = Running("course_instruct", n_blocks=40, block_size=8)
    yield running
    running.close()


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A server with two adapters and a draft, and the models of the adapters."""
    (model, _), folder = zoo.load("gpt"), tmp_path_factory.mktemp("adapters")
    models = {"loud": adapter(model, folder / "loud", ["W_q", "W_v"], 2)}
    models["calm"] = adapter(model, folder / "calm", ["W_out"], 4)
    folders = {name: folder / name for name in models}
    running = Running("gpt", "draft", n_blocks=80, adapters=folders, draft=zoo.load("gpt_draft")[0].eval())
    yield running, models
    running.close()


def alone(running, prompt, n, model=None):
    ids = running.tokenizer.encode(prompt)
    new = generation.generate(model or running.model, ids, n, GREEDY)[len(ids) :].tolist()
    return running.tokenizer.decode([*ids, *new])[len(running.tokenizer.decode(ids)) :]


def test_models_and_health(gpt):
    assert [each.id for each in gpt.client.models.list()] == ["gpt"]
    assert httpx.get(f"{gpt.url}/health").json() == {"status": "ok"}


def test_a_completion_is_what_generate_gives(gpt):
    told = gpt.client.completions.create(model="gpt", prompt="Return the", max_tokens=20, temperature=0)
    assert told.choices[0].text == alone(gpt, "Return the", 20)
    assert told.choices[0].finish_reason == "length"
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (
        len(gpt.tokenizer.encode("Return the")),
        20,
    )


@pytest.mark.slow
def test_streams_give_the_same_text_in_pieces(gpt, course):
    same = dict(model="gpt", prompt="The value", max_tokens=25, seed=3)
    whole = gpt.client.completions.create(**same).choices[0].text
    pieces = list(gpt.client.completions.create(**same, stream=True, stream_options={"include_usage": True}))
    assert "".join(each.choices[0].text for each in pieces[:-1]) == whole and len(pieces) > 5
    assert pieces[-1].usage.completion_tokens == 25
    chat = dict(model="course_instruct", messages=USER, temperature=0)
    whole = course.client.chat.completions.create(**chat).choices[0].message
    parts = [each.choices[0] for each in course.client.chat.completions.create(**chat, stream=True)]
    assert "".join(each.delta.content or "" for each in parts) == whole.content and whole.role == "assistant"
    assert parts[0].delta.role == "assistant" and parts[-1].finish_reason == "stop"


@pytest.mark.slow
def test_samples_seeds_stops_and_logprobs(gpt, course):
    ask = dict(model="gpt", prompt="If the", max_tokens=20, n=3)
    one, two = (gpt.client.completions.create(**ask, seed=7) for _ in range(2))
    assert [each.text for each in one.choices] == [each.text for each in two.choices]
    assert len({each.text for each in one.choices}) == 3
    text = one.choices[0].text
    cut = text[5:8]
    stopped = gpt.client.completions.create(**ask, seed=7, stop=[cut]).choices[0]
    assert stopped.text == text[: text.find(cut)] and stopped.finish_reason == "stop"
    streamed = gpt.client.completions.create(**{**ask, "n": 1}, seed=7, stop=[cut], stream=True)
    assert "".join(each.choices[0].text for each in streamed) == stopped.text
    told = course.client.chat.completions.create(
        model="course_instruct", messages=USER, temperature=0, logprobs=True
    )
    content = told.choices[0].logprobs.content
    assert len(content) == told.usage.completion_tokens and all(each.logprob <= 0 for each in content)


@pytest.mark.slow
def test_json_of_a_schema(gpt):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "big": {"type": "boolean"}},
        "required": ["name", "big"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for seed in range(5):
        told = gpt.client.completions.create(
            model="gpt", prompt="x = ", max_tokens=120, seed=seed, extra_body={"response_format": form}
        )
        found = json.loads(told.choices[0].text)
        assert (
            set(found) == {"name", "big"}
            and isinstance(found["big"], bool)
            and told.choices[0].finish_reason == "stop"
        )


@pytest.mark.slow
def test_many_at_once_and_some_that_leave(gpt):
    prompts = [f"{word} {i}" for i in range(12) for word in ("Return", "The", "If")]
    expected = {prompt: alone(gpt, prompt, 16) for prompt in prompts}

    def one(place):
        ask = dict(model="gpt", prompt=prompts[place], max_tokens=16, temperature=0)
        if place % 3 == 2:  # leaves after two pieces
            with gpt.client.completions.create(**{**ask, "max_tokens": 200}, stream=True) as reading:
                for _, _ in zip(range(2), reading, strict=False):
                    pass
            return True
        return gpt.client.completions.create(**ask).choices[0].text == expected[prompts[place]]

    with ThreadPoolExecutor(18) as pool:
        assert all(pool.map(one, range(len(prompts))))
    gpt.rest()


WRONG = [
    ({"model": "other"}, 404, "no model"),
    ({"prompt": ""}, 400, "at least one token"),
    ({"prompt": "x " * 4000}, 400, "context"),
    ({"prompt": [999_999]}, 400, "token ids"),
    ({"max_tokens": 0}, 400, "max_tokens"),
    ({"max_tokens": 10**9}, 400, "do not fit"),
    ({"temperature": -1}, 400, "temperature"),
    ({"temperature": "hot"}, 400, "temperature"),
    ({"n": 1000}, 400, "n:"),
    ({"stop": [""]}, 400, "stop"),
    ({"seed": -5}, 400, "seed"),
    ({"response_format": {"type": "xml"}}, 400, "response_format"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
        400,
        "schema",
    ),
]


@pytest.mark.parametrize("change, status, says", WRONG, ids=[str(each[0])[:40] for each in WRONG])
def test_a_wrong_request_is_told_what_is_wrong(gpt, change, status, says):
    told = httpx.post(
        f"{gpt.url}/v1/completions", json={"model": "gpt", "prompt": "x", "max_tokens": 3, **change}
    )
    assert told.status_code == status and says in told.json()["error"]["message"]
    assert "Traceback" not in told.text and "/lecture_lib" not in told.text


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": "gpt", "prompt": {"a": 1}}', b"[" * 5000],
)
def test_what_is_no_request_is_refused(gpt, raw):
    told = httpx.post(f"{gpt.url}/v1/completions", content=raw, headers={"content-type": "application/json"})
    assert told.status_code in (400, 413) and set(told.json()) == {"error"}
    assert "Traceback" not in told.text


def test_a_large_body_and_one_without_length_are_refused(gpt):
    assert httpx.post(f"{gpt.url}/v1/completions", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    assert httpx.post(f"{gpt.url}/v1/completions", content=(b"x" for _ in range(10))).status_code == 413


def test_a_model_without_a_chat_template_says_so(gpt):
    with pytest.raises(openai.BadRequestError, match="no chat template"):
        gpt.client.chat.completions.create(model="gpt", messages=USER)


@pytest.mark.slow
def test_adapters_are_models_of_their_own(adapted):
    running, models = adapted
    listed = [(each.id, each.parent) for each in running.client.models.list()]
    assert listed == [("gpt", None), ("loud", "gpt"), ("calm", "gpt")]

    def ask(name):
        told = running.client.completions.create(model=name, prompt="The value", max_tokens=12, temperature=0)
        assert told.model == name
        return told.choices[0].text

    with ThreadPoolExecutor(6) as pool:
        texts = list(pool.map(ask, ["gpt", "loud", "calm"] * 2))
    expected = [alone(running, "The value", 12, models.get(name)) for name in ("gpt", "loud", "calm")]
    assert texts == expected * 2 and len(set(expected)) == 3
    rows = dict(line.split() for line in httpx.get(f"{running.url}/metrics").text.splitlines())
    assert float(rows["lecture_tokens_guessed_total"]) > float(rows["lecture_tokens_kept_total"]) > 0
    with pytest.raises(openai.NotFoundError, match="'quiet' here; there is 'gpt', 'loud', 'calm'"):
        running.client.completions.create(model="quiet", prompt="x")
    with pytest.raises(ValueError, match="the model's own name, loud"):
        create_app(running.engine, running.tokenizer, "loud")


def test_metrics_count(gpt):
    rows = dict(line.split() for line in httpx.get(f"{gpt.url}/metrics").text.splitlines())
    assert float(rows["lecture_tokens_given_total"]) > 0 and rows["lecture_running"] == "0"


def test_a_failing_step_is_an_error_for_all_and_the_server_goes_on(course):
    step, course.engine.step = course.engine.step, None
    told = httpx.post(
        f"{course.url}/v1/chat/completions", json={"model": "course_instruct", "messages": USER}, timeout=30
    )
    assert told.status_code == 500 and told.json()["error"]["message"] == "the server failed on this request"
    course.engine.step = step
    assert (
        course.client.chat.completions.create(model="course_instruct", messages=USER)
        .choices[0]
        .message.content
    )


@pytest.mark.parametrize("bits, name, group", [(8, "gpt", 128), (4, "gpt", 32), (4, "course_instruct", 8)])
def test_the_command_serves_fewer_bits_and_adapters(tmp_path, monkeypatch, bits, name, group):
    """Everything that `lecture serve` does but listening."""
    served = {}
    monkeypatch.setattr("lecture_lib.serving.server.serve", lambda *given: served.update(given=given))
    adapter(zoo.load(name)[0], tmp_path / "own", ["W_q"], 2)
    asked = ["serve", name, "--bits", str(bits), "--adapter", f"own={tmp_path / 'own'}", "--lookup"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0 and f"{name}, own on http://127.0.0.1:8000/v1" in told.output
    engine, tokenizer, named, host, port, guesser = served["given"]
    assert (named, host, port, guesser) == (name, "127.0.0.1", 8000, "lookup")
    layers = [each for each in engine.model.modules() if isinstance(each, QuantizedLinear)]
    assert layers and {each.scheme.bits for each in layers} == {bits}
    assert min(each.group_size for each in layers) == group and layers[0].compute_dtype == torch.bfloat16
    number = engine.add(Request(tuple(tokenizer.encode("2 ")), 5, GREEDY, adapter="own"))
    assert len(engine.run()[number][0]) == 5


@pytest.mark.parametrize(
    "options, says",
    [
        (["--bits", "5"], "--bits takes 4, 8 or 16, got 5"),
        (["--adapter", "own"], "--adapter takes name=folder"),
        (["--adapter", "own=nowhere"], "the folder must be there; got 'own=nowhere'"),
        (["--draft", "gpt_draft"], "a draft needs the model's 84 tokens"),
    ],
)
def test_the_command_says_what_is_wrong(options, says):
    told = CliRunner().invoke(app, ["serve", "course_instruct", *options])
    assert isinstance(told.exception, ValueError) and says in str(told.exception)

"""Chat models: the local one against the slow loop, endpoints against real servers and against one that misbehaves; keys stay secret."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from endpoints import USAGE, Told, chunk, free_port, refusal, transformers_serve, whole
from test_server import Running

from lecture_lib import chat, generation, zoo
from lecture_lib.chat import ChatError, Reply
from lecture_lib.pretrained import save_pretrained
from lecture_lib.sampling import SamplingParameters

ASK = [{"role": "user", "content": "ann has 3 apples . ann eats 1 . how many apples does ann have ?"}]
GREEDY = SamplingParameters(temperature=0)
PLAYGROUND = SamplingParameters(temperature=0.7, top_p=0.9, top_k=12, repetition_penalty=1.2)
KEY = "sk-secret-7f3a9c51e2"


@pytest.fixture(scope="module")
def local():
    model = chat.open_model("course_instruct")
    yield model
    model.close()


@pytest.fixture(scope="module")
def course():
    running = Running("course_instruct", n_blocks=40, block_size=8)
    yield running
    running.close()


@pytest.fixture
def told():
    server = Told()
    yield server
    server.close()


def endpoint(told, **options):
    return chat.Endpoint(told.url, "m", **{"timeout": 5.0, "retries": 0, **options})


# --- a model that runs here ---


def slowly(name, messages, sampling, n, seed):
    """New tokens by the loop that computes everything anew, and their text."""
    model, tokenizer = zoo.load(name)
    ids = tokenizer.encode(tokenizer.apply_chat_template(messages, add_generation_prompt=True), False)
    generator = torch.Generator().manual_seed(seed)
    given = generation.generate(model, ids, n, sampling, generator, stop=tokenizer.eos_ids).tolist()
    new = given[len(ids) :]
    ended = new[-1] in tokenizer.eos_ids
    text = tokenizer.decode(given[: len(given) - ended])[len(tokenizer.decode(ids)) :]
    return Reply(text, len(ids), len(new), "stop" if ended else "length")


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling", [GREEDY, SamplingParameters(), PLAYGROUND], ids=["greedy", "plain", "knobs"]
)
def test_answers_are_those_of_the_slow_loop(local, sampling):
    told = local.replies(ASK, sampling, n=3, max_new_tokens=30, seed=5)
    assert told == [slowly("course_instruct", ASK, sampling, 30, 5 + i) for i in range(3)]
    pieces = list(local.stream(ASK, sampling, max_new_tokens=30, seed=5))
    assert pieces[-1] == told[0] and "".join(pieces[:-1]) == told[0].text and len(pieces) > 3


@pytest.mark.slow
def test_callers_at_the_same_time_get_what_each_gets_alone(local):
    asks = [[{"role": "user", "content": f"tom has {i} cards . tom buys 2 ."}] for i in range(12)]
    alone = [local.replies(ask, seed=i, max_new_tokens=20)[0] for i, ask in enumerate(asks)]
    with ThreadPoolExecutor(12) as pool:
        together = pool.map(lambda i: local.replies(asks[i], seed=i, max_new_tokens=20)[0], range(12))
        assert list(together) == alone


def rests(engine):
    end = time.monotonic() + 10
    while engine.alive and time.monotonic() < end:
        time.sleep(0.01)
    return not engine.alive and engine.scheduler.pool.n_free == engine.scheduler.pool.n_blocks


def test_a_stream_that_is_closed_stops_the_model(local):
    engine = local.service.engine
    reading = local.stream(ASK, SamplingParameters(suppress_tokens=(1,)), seed=0)
    assert next(reading) and engine.alive
    given = engine.counters.tokens_given
    reading.close()
    assert rests(engine) and engine.counters.tokens_given < given + 50  # without: up to the end of 128


@pytest.mark.slow
def test_stop_strings_and_the_number_of_tokens(local):
    text = local.replies(ASK, GREEDY)[0].text
    cut = text[6:10]
    told = local.replies(ASK, GREEDY, stop=[cut])[0]
    assert told.text == text[: text.find(cut)] and told.finish_reason == "stop"
    assert local.replies(ASK, GREEDY, max_new_tokens=2)[0].finish_reason == "length"
    endless = local.replies(ASK, SamplingParameters(suppress_tokens=(1,)), seed=1)[0]
    assert endless.tokens_in + endless.tokens_out == 128 and endless.finish_reason == "length"
    assert {local.replies(ASK, seed=None)[0].text for _ in range(8)} != {text}  # another seed each time


def test_the_candidates_are_the_law_that_is_drawn_from(local):
    seen = []
    watch = lambda word, rows: seen.append((word, rows))  # noqa: E731
    reply = list(local.stream(ASK, PLAYGROUND, seed=2, watch=watch, top=84))[-1]
    assert len(seen) == reply.tokens_out
    model, tokenizer = zoo.load("course_instruct")
    ids = tokenizer.encode(tokenizer.apply_chat_template(ASK, add_generation_prompt=True), False)
    for word, rows in seen[:6]:
        z = model(torch.tensor([ids]))[0, -1].double()
        own = {tokenizer.decode([i]): p for i, p in enumerate(z.softmax(-1).tolist())}
        drawn = dict(zip(own, by_hand(z, ids), strict=True))
        assert {w: p for w, p, _ in rows} == pytest.approx(own, abs=1e-5)
        assert {w: p for w, _, p in rows} == pytest.approx(drawn, abs=1e-5)
        assert drawn[word] > 0 and sum(p for *_, p in rows) == pytest.approx(1, abs=1e-5)
        ids = [*ids, tokenizer.encode(word)[0]]


def by_hand(z, ids):
    """The knobs of PLAYGROUND one after the other, token by token."""
    z = [(v / 1.2 if v > 0 else v * 1.2) if i in ids else v for i, v in enumerate(z.tolist())]
    order = sorted(range(len(z)), key=lambda i: -z[i])[:12]
    weights = {i: torch.tensor(z[i] / 0.7).exp().item() for i in order}
    total, kept, reached = sum(weights.values()), {}, 0.0
    for i in order:
        if reached >= 0.9:
            break
        kept[i] = weights[i]
        reached += weights[i] / total
    return [kept.get(i, 0.0) / sum(kept.values()) for i in range(len(z))]


def test_a_greedy_law_is_certain_and_the_drawn_token_is_always_shown(local):
    seen = []
    list(local.stream(ASK, GREEDY, watch=lambda *each: seen.append(each), top=2))
    assert all(rows[0][0] == word and rows[0][2] == 1 and len(rows) == 2 for word, rows in seen)
    seen.clear()
    hot = SamplingParameters(temperature=50)
    list(local.stream(ASK, hot, seed=0, max_new_tokens=20, watch=lambda *each: seen.append(each), top=40))
    assert all(word in [w for w, *_ in rows] for word, rows in seen)
    assert {len(rows) for _, rows in seen} == {40, 41}


def test_a_model_without_a_template_reads_a_transcript_and_says_so():
    model = chat.open_model("gpt")
    assert model.note.startswith("gpt has no chat template")
    turns = [
        {"role": "system", "content": "Be short."},
        *ASK,
        {"role": "assistant", "content": " 2 "},
        {"role": "user", "content": "Why?"},
    ]
    reply = model.replies(turns, GREEDY, max_new_tokens=8)[0]
    text = f"Be short.\nUser: {ASK[0]['content']}\nAssistant: 2\nUser: Why?\nAssistant:"
    ids = model.tokenizer.encode(text)
    expected = generation.generate(zoo.load("gpt")[0], ids, 8, GREEDY).tolist()
    assert reply.tokens_in == len(ids)
    assert text + reply.text == model.tokenizer.decode(expected)
    model.close()


def test_a_folder_is_opened_and_what_is_no_model_refused(tmp_path):
    model, tokenizer = zoo.load("course_instruct")
    save_pretrained(model, tokenizer, tmp_path / "mine")
    mine = chat.open_model(tmp_path / "mine")
    assert (mine.name, mine.note) == ("mine", "")
    assert (
        mine.replies(ASK, GREEDY)[0].text == chat.open_model("course_instruct").replies(ASK, GREEDY)[0].text
    )
    for where, says in [
        ("nothing", "the zoo has"),
        ("bert", "writes no text"),
        ("localhost:8000/v1", "http://"),
    ]:
        with pytest.raises(ValueError, match=says):
            chat.open_model(where)
    with pytest.raises(FileNotFoundError):
        chat.open_model("nobody/nothing")


def test_what_cannot_be_answered_is_said_in_one_sentence(local):
    with pytest.raises(ChatError, match="has 300. tokens; course_instruct has room for 128") as refused:
        local.replies([{"role": "user", "content": "apples " * 3000}])
    assert refused.value.kind == "context"
    with pytest.raises(ChatError, match="126 new ones"):
        next(local.stream(ASK, max_new_tokens=126))
    with pytest.raises(ChatError, match="no token is left"):
        local.replies(ASK, SamplingParameters(suppress_tokens=tuple(range(84))))
    for wrong in ("hello", [], [{"role": "user"}], ["hello"], {"role": "user", "content": "x"}):
        with pytest.raises(ValueError, match="message"):
            local.replies(wrong)
        with pytest.raises(ValueError, match="message"):
            chat.Endpoint("http://127.0.0.1:9", "m").replies(wrong)


def test_whoever_waits_is_told_when_a_model_is_closed_or_fails():
    model = chat.open_model("course_instruct")
    step, model.service.engine.step = model.service.engine.step, None
    with pytest.raises(ChatError, match="course_instruct failed"):
        model.replies(ASK)
    model.service.engine.step = step
    assert model.replies(ASK, GREEDY)[0].text
    reading = model.stream(ASK, SamplingParameters(suppress_tokens=(1,)))
    next(reading)
    model.close()
    with pytest.raises(ChatError):
        list(reading)
    with pytest.raises(ChatError, match="shutting down"):
        model.replies(ASK)


def test_a_model_that_nobody_holds_lets_its_thread_go():
    model = chat.open_model("course_instruct")
    thread = model.service.thread
    del model
    thread.join(10)
    assert not thread.is_alive()


# --- a server of the course ---


@pytest.mark.slow
def test_the_server_gives_the_answers_of_the_local_model(course, local):
    remote = chat.open_model(f"{course.url}/v1")
    assert remote.name == "course_instruct" and remote.models() == ["course_instruct"]
    for sampling in (GREEDY, SamplingParameters(), PLAYGROUND):
        ask = dict(n=3, max_new_tokens=30, seed=11, stop=["answer"])
        told = remote.replies(ASK, sampling, **ask)
        assert told == local.replies(ASK, sampling, **ask)
        del ask["n"]
        *pieces, reply = remote.stream(ASK, sampling, **ask)
        assert reply == told[0] and "".join(pieces) == reply.text
    assert remote.replies(ASK, GREEDY) == local.replies(ASK, GREEDY)  # up to the end of the context


def test_a_closed_stream_stops_the_server(course):
    remote = chat.open_model(f"{course.url}/v1")
    reading = remote.stream([{"role": "user", "content": "?"}], SamplingParameters(temperature=9))
    next(reading)
    reading.close()
    course.rest()


def test_errors_of_the_course_server_are_of_their_kind(course):
    with pytest.raises(ChatError, match="has no model 'gpt-9'; it lists course_instruct") as refused:
        chat.open_model(f"{course.url}/v1", "gpt-9").replies(ASK)
    assert refused.value.kind == "model"
    remote = chat.open_model(f"{course.url}/v1")
    for ask in (
        dict(messages=[{"role": "user", "content": "apples " * 300}]),
        dict(messages=ASK, max_new_tokens=500),
    ):
        with pytest.raises(ChatError, match="too long for course_instruct: .*128") as refused:
            remote.replies(**ask)
        assert refused.value.kind == "context"
    with pytest.raises(ChatError, match="Most end in /v1"):
        chat.open_model(course.url, "course_instruct").replies(ASK)
    with pytest.raises(ValueError, match="an endpoint takes temperature"):
        remote.replies(ASK, SamplingParameters(suppress_tokens=(3,)))


# --- `transformers serve` ---


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A tiny random model, saved with the course's chat template, served by transformers."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model, tokenizer = zoo.load("course_instruct")
    for weight in model.parameters():
        weight.copy_(torch.randn_like(weight) * 0.2)
    save_pretrained(model, tokenizer, folder)
    with transformers_serve(folder, tmp_path_factory.mktemp("home")) as (url, ended, log):
        if ended is not None:
            pytest.skip(f"transformers serve does not start here: {log[-500:]}")
        yield url, folder


@pytest.mark.slow
def test_transformers_serve_gives_the_answers_of_the_local_model(served):
    url, folder = served
    remote, here = chat.open_model(url, str(folder)), chat.open_model(folder)
    for question in ("ann has 3 apples .", "tom buys 7 cards ."):
        ask = [{"role": "user", "content": question}]
        expected = here.replies(ask, GREEDY, max_new_tokens=20)[0]
        told = remote.replies(ask, GREEDY, max_new_tokens=20)[0]
        *pieces, reply = remote.stream(ask, GREEDY, max_new_tokens=20)
        assert told.text.strip() == expected.text.strip() == "".join(pieces).strip() != ""
        assert told == reply
        assert (told.tokens_in, told.tokens_out, told.finish_reason) == (
            expected.tokens_in,
            expected.tokens_out,
            expected.finish_reason,
        )
    assert len(remote.replies(ASK, n=3, seed=1, max_new_tokens=5)) == 3


@pytest.mark.slow
def test_errors_of_transformers_serve_are_of_their_kind(served):
    url, folder = served
    with pytest.raises(ChatError, match="has no model 'nobody/nothing'") as refused:
        chat.open_model(url, "nobody/nothing").replies(ASK)
    assert refused.value.kind == "model"
    with pytest.raises(ChatError, match="refuses the request: Unexpected fields.*top_k") as refused:
        chat.open_model(url, str(folder)).replies(ASK, SamplingParameters(top_k=3))
    assert refused.value.kind == "request"


# --- a server that misbehaves ---

WRONG = [
    ("key", refusal(401, f"Incorrect API key provided: {KEY}"), "refuses a request without a key"),
    ("key", refusal(403, "not for you"), "refuses a request without a key"),
    (
        "model",
        refusal(404, "The model `m` does not exist", code="model_not_found"),
        "no model 'm'; it lists a, b",
    ),
    ("model", refusal(400, "model m not found"), "no model 'm'; it lists a, b"),
    (
        "context",
        refusal(400, "This model's maximum context length is 8 tokens.", code="x"),
        "too long for m: This",
    ),
    ("context", refusal(413, "request too large"), "too long for m"),
    ("request", refusal(400, "temperature must be warm"), "refuses the request: temperature must be warm"),
    ("rate", refusal(429, "slow down"), "rate limit.*slow down"),
    ("server", refusal(500, "oh"), "failed: oh"),
    ("server", (503, "<html>busy</html>"), "failed: .*busy"),
    ("server", (200, "<html>hello</html>"), "not OpenAI's API"),
    ("server", (200, "{}"), "not OpenAI's API"),
    ("server", (200, json.dumps({"choices": []})), "not OpenAI's API"),
    ("timeout", 3, "no answer within 0.3 s"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind, answer, says", WRONG, ids=[f"{each[0]}-{i}" for i, each in enumerate(WRONG)])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_each_failure_is_one_sentence_of_its_kind(told, kind, answer, says, streamed):
    told.answers, told.models = [answer], ["a", "b"]
    model = endpoint(told, timeout=0.3)
    with pytest.raises(ChatError) as refused:
        list(model.stream(ASK)) if streamed else model.replies(ASK)
    sentence = str(refused.value)
    if not (streamed and says == "not OpenAI's API"):
        assert refused.value.kind == kind
        assert re.search(says, sentence), sentence
    assert "\n" not in sentence and len(sentence) < 400


def test_a_refused_connection_is_told():
    with pytest.raises(ChatError, match="no connection to .*: is the server running") as refused:
        chat.Endpoint(f"http://127.0.0.1:{free_port()}/v1", retries=0)
    assert refused.value.kind == "network"


@pytest.mark.slow
def test_a_rate_limit_and_a_failing_server_are_tried_again_with_longer_waits(told):
    told.answers = [refusal(429, "slow"), refusal(500, "oh"), whole("at last")]
    began = time.monotonic()
    assert endpoint(told, retries=3).replies(ASK) == [Reply("at last", 3, 2, "stop")]
    assert len(told.asked) == 3 and time.monotonic() - began > 0.7  # waits of at least 0.375 and 0.75 s
    told.answers, told.asked = [refusal(400, "wrong")], []
    with pytest.raises(ChatError):
        endpoint(told, retries=3).replies(ASK)
    assert len(told.asked) == 1  # what will not change is not tried again


@pytest.mark.slow
def test_a_stream_that_breaks_off_is_an_error_after_what_came(told):
    cases = [
        ([chunk("one "), None], "network"),
        ([chunk("one ")], "network"),  # ends in order, but with no reason
        ([chunk("one "), 5], "timeout"),
        ([chunk("one "), "data: {garbage\n\n"], "server"),
        ([chunk("one "), 'data: {"error": {"message": "out of memory"}}\n\n'], "server"),
    ]
    for pieces, kind in cases:
        told.answers, came = [pieces], []
        with pytest.raises(ChatError) as broken:
            for piece in endpoint(told, timeout=0.3).stream(ASK):
                came.append(piece)
        assert came == ["one "] and broken.value.kind == kind, (pieces, str(broken.value))


@pytest.mark.slow
def test_tokens_are_counted_only_by_who_counts(told):
    told.answers = [[chunk("a"), chunk("b"), chunk("", "length"), "data: [DONE]\n\n"]]
    assert list(endpoint(told).stream(ASK)) == ["a", "b", Reply("ab", None, None, "length")]
    told.answers = [[chunk("a"), chunk("", "stop", USAGE), "data: [DONE]\n\n"]]
    assert list(endpoint(told).stream(ASK))[-1] == Reply("a", 3, 2, "stop")
    told.answers = [whole("x", usage=None)]
    assert endpoint(told).replies(ASK) == [Reply("x", None, None, "stop")]


@pytest.mark.slow
def test_what_is_sent_is_what_was_asked_for(told):
    model = endpoint(told)
    model.replies(ASK, PLAYGROUND, n=2, max_new_tokens=7, stop="x", seed=4)
    bodies = sorted((body for _, body in told.asked), key=lambda body: body["seed"])
    base = {"model": "m", "messages": ASK, "temperature": 0.7, "top_p": 0.9, "top_k": 12}
    base |= {"repetition_penalty": 1.2, "max_tokens": 7, "stop": ["x"]}
    assert bodies == [base | {"seed": 4}, base | {"seed": 5}]
    told.asked.clear()
    model.replies(ASK, SamplingParameters(temperature=0, top_k=1, min_p=1.0, top_p=1.0))
    assert {"temperature": 0, "top_k": 1, "min_p": 1, "top_p": 1}.items() <= told.asked[0][1].items()
    told.asked.clear()
    model.replies(ASK)
    assert told.asked[0][1] == {"model": "m", "messages": ASK, "temperature": 1.0}


@pytest.mark.slow
def test_several_models_must_be_named(told):
    told.models = ["a", "b"]
    with pytest.raises(ValueError, match="name one of the models of .*: a, b"):
        chat.open_model(told.url)
    told.models = []
    with pytest.raises(ValueError, match="lists none"):
        chat.open_model(told.url)


@pytest.mark.slow
def test_closing_a_stream_closes_the_connection(told):
    told.answers = [[chunk("a"), chunk("b"), 30]]
    reading = endpoint(told).stream(ASK)
    assert next(reading) == "a"
    began = time.monotonic()
    reading.close()
    assert time.monotonic() - began < 2


# --- keys ---


def everything(error):
    """All that a traceback can show, in any style: sentences, causes, contexts, the variables of every frame."""
    seen, texts = set(), []
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts += [repr(error), str(error), repr(vars(error)), repr(error.args)]
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        texts.append("".join(shown.format()))
        frame = error.__traceback__
        while frame is not None:
            for value in frame.tb_frame.f_locals.values():
                texts += [
                    repr(value),
                    repr(getattr(value, "__dict__", "")) if "test_" not in str(value) else "",
                ]
            frame = frame.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def refused_by(model, ask):
    """The error of a call, whose traceback begins here: the variables of a test would be shown, too."""
    try:
        ask(model)
    except ChatError as error:
        return error
    return pytest.fail("nothing was raised: nothing was tried")


@pytest.mark.slow
def test_the_key_arrives_and_is_seen_nowhere_else(told, monkeypatch, capfd):
    from IPython.core.ultratb import VerboseTB

    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    shown = []
    try:
        model = endpoint(told, key_variable="MY_KEY")
        model.replies(ASK)
        assert told.asked[0][0]["authorization"] == f"Bearer {KEY}"
        echo = lambda headers: refusal(400, f"you sent {headers['Authorization']}")  # noqa: E731
        stream = [chunk("a"), f'data: {{"error": {{"message": "you sent {KEY}"}}}}\n\n']
        bad = [
            refusal(401, KEY),
            refusal(429, KEY),
            refusal(500, KEY),
            (200, KEY),
            (500, KEY),
            echo,
            refusal(400, "x" * 190 + KEY),
            stream,
            3,
            [None],
        ]
        for answer in bad:
            for ask in (lambda m: m.replies(ASK, n=2), lambda m: list(m.stream(ASK))):
                told.answers = [answer]
                error = refused_by(endpoint(told, key_variable="MY_KEY", timeout=0.3), ask)
                shown += [everything(error), VerboseTB().text(type(error), error, error.__traceback__)]
        shown += [repr(model), str(model), repr(vars(model)), repr(model.client)]
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert len(shown) > 30 and "MY_KEY" in "".join(shown)
    printed = capfd.readouterr()
    for text in [*shown, log.getvalue(), printed.out, printed.err]:
        assert "sk-se" not in text and "secret" not in text and "7f3a9c51" not in text
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers, _ in told.asked)


@pytest.mark.slow
def test_no_key_goes_where_it_was_not_meant_to(told, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    endpoint(told).replies(ASK)
    assert KEY not in str(told.asked)


@pytest.mark.slow
def test_a_server_that_sends_elsewhere_does_not_send_the_key_along(told, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    other = Told()
    told.answers = [(307, "", ("location", f"{other.url}/chat/completions"))]
    assert endpoint(told, key_variable="MY_KEY").replies(ASK)[0].text == "fine"
    assert KEY in str(told.asked) and len(other.asked) == 1 and KEY not in str(other.asked)
    other.close()


@pytest.mark.slow
def test_a_variable_that_holds_no_key_is_refused_by_its_name(told, monkeypatch):
    for value in ("", "  ", "sk secret", "sk-é", "sk-a\nb"):
        monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(ValueError, match="MY_KEY should hold the key") as refused:
            endpoint(told, key_variable="MY_KEY")
        assert "secret" not in str(refused.value)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="OPENAI_API_KEY should hold"):
        chat.Endpoint("https://api.openai.com/v1", "any")
    for url in (f"http://me:{KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={KEY}", "ftp://x", "http://"):
        with pytest.raises(ValueError, match="an address looks like") as refused:
            chat.Endpoint(url, "m")
        assert KEY not in str(refused.value)


# --- `lecture chat` ---


def lecture(*arguments, typed="", **variables):
    command = [sys.executable, "-m", "lecture_lib.command", "chat", *arguments]
    place = os.environ | variables
    return subprocess.run(command, input=typed, capture_output=True, text=True, env=place, timeout=120)


@pytest.mark.slow
def test_a_pipe_gets_answers_and_nothing_else(local):
    questions = ["ann has 3 apples .", "", "tom buys 7 cards ."]
    done = lecture("course_instruct", "--temperature", "0", "--tokens", "12", typed="\n".join(questions))
    turns, answers = [], []
    for question in filter(None, questions):
        turns.append({"role": "user", "content": question})
        answers.append(local.replies(turns, GREEDY, max_new_tokens=12)[0].text.strip())
        turns.append({"role": "assistant", "content": answers[-1]})
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.strip() for line in done.stdout.splitlines()] == answers


@pytest.mark.slow
def test_errors_of_the_command_are_one_sentence_and_an_exit_code(told):
    told.answers = [refusal(401, KEY)]
    for arguments, says in [
        (["nothing"], "the zoo has"),
        ([told.url, "--name", "m"], "refuses the key in MY_KEY"),
        ([f"http://127.0.0.1:{free_port()}/v1", "--name", "m"], "no connection"),
    ]:
        done = lecture(
            *arguments, *(["--key-variable", "MY_KEY"] if len(arguments) > 1 else []), typed="hi", MY_KEY=KEY
        )
        assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert done.stdout == "" and KEY not in done.stderr


@pytest.mark.slow
def test_a_person_stops_an_answer_and_goes_on(told):
    pexpect = pytest.importorskip("pexpect")
    told.answers = [
        [chunk("one "), chunk("two"), 60],
        refusal(400, "not that"),
        [chunk("three"), chunk("", "stop")],
    ]
    command = ["-m", "lecture_lib.command", "chat", told.url, "--system", "Be brief."]
    child = pexpect.spawn(
        sys.executable, command, timeout=60, encoding="utf-8", env=os.environ | {"TERM": "dumb"}
    )
    child.expect("> ")
    child.sendline("first")
    child.expect("one two")
    child.sendintr()
    child.expect("stopped.*> ")
    child.sendintr()  # at the prompt it ends nothing
    child.expect("Ctrl-D ends.*> ")
    child.sendline("second")
    child.expect("refuses the request: not that.*> ")
    child.sendline("third")
    child.expect("three.*tokens not counted.*> ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    last = told.asked[-1][1]["messages"]
    assert [(each["role"], each["content"]) for each in last] == [
        ("system", "Be brief."),
        ("user", "first"),
        ("assistant", "one two"),
        ("user", "third"),
    ]

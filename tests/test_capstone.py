"""The capstone: answers are collected from notebooks in any state, and the program made of them writes a model's own tokens."""

import copy
import json
import os
import sys
from collections import Counter

import nbformat
import pytest
import torch
from answers import CHAPTERS, solutions
from classroom import code
from helpers import seeded
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lecture_lib import checks, zoo
from lecture_lib.capstone import Answer, Answers, assemble, collect
from lecture_lib.capstone.answers import _stand_in
from lecture_lib.checks import session
from lecture_lib.decoder import Decoder
from lecture_lib.pretrained import load_pretrained
from lecture_lib.transformer import ModelConfig
from scripts.authored import source_notebook
from scripts.settings import ROOT

pytestmark = pytest.mark.slow  # solved notebooks and their answers take 20 seconds to collect
TASKS = {name: task for stem in checks.chapters() for name, task in checks.chapter(stem).items()}
PROMPT = "This function returns a list of"
OWN_SOFTMAX = '''
def shifted(x, dim):
    """A helper of the student's own."""
    return x - x.amax(dim, keepdim=True).clamp_min(torch.finfo(x.dtype).min)
'''
A_RIGHT_SOFTMAX = """
def softmax(x, dim=-1):
    powers = torch.exp(shifted(x, dim))
    return powers / powers.sum(dim, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
"""
A_WRONG_SOFTMAX = "def softmax(x, dim=-1):\n    e = torch.exp(x)\n    return e / e.sum(dim, keepdim=True)"


def solved(stem):
    return json.loads(nbformat.writes(source_notebook(CHAPTERS[stem])))


def unsolved(stem):
    name = CHAPTERS[stem]
    return json.loads((ROOT / "notebooks" / name / f"{name}.ipynb").read_text(encoding="utf-8"))


def cell(notebook, name):
    return next(each for each in notebook["cells"] if each.get("id") == name)


def kept(folder, notebook, name="03_attention.ipynb", when=1_000_000):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), encoding="utf-8")
    os.utime(path, (when, when))
    return path


def whose(answers, stem="attention"):
    return {name: answers.rows[name].whose for name in checks.chapter(stem)}


def theirs(folder, ids, n, **settings):
    """What transformers writes, in float32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = torch.tensor([ids])
    settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None} | settings
    said = model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=n, **settings)
    return said[0, len(ids) :].tolist()


@pytest.fixture(scope="module")
def library():
    return collect()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every chapter solved, in files whose names say nothing."""
    folder = tmp_path_factory.mktemp("my notebooks")
    for place, stem in enumerate(CHAPTERS):
        kept(folder, solved(stem), f"week {place}/Untitled{place} (1).ipynb")
    return collect(folder)


@pytest.fixture(scope="module")
def gpt():
    return zoo.load("gpt")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A model of GPT-2's kind with random weights, as transformers makes and saves it, by its activation."""
    made = {}
    for activation in ("gelu", "gelu_new"):
        torch.manual_seed(1)
        sizes = {"n_embd": 24, "n_head": 3, "n_layer": 2, "n_positions": 48, "vocab_size": 61}
        config = GPT2Config(**sizes, activation_function=activation, initializer_range=0.4)
        folder = tmp_path_factory.mktemp(activation)
        GPT2LMHeadModel(config).eval().save_pretrained(folder)
        made[activation] = folder
    return made


# --------------------------------------------------------------------------------------------------------- collecting


def test_every_answer_of_every_solved_notebook_is_found_and_passes(everything):
    assert {name: row.why for name, row in everything.rows.items() if row.why} == {}
    assert set(everything.rows) == set(TASKS)
    assert everything.remarks == []


def test_without_a_folder_the_library_stands_in_and_says_why(library):
    assert {row.whose for row in library.rows.values()} == {"the library's"}
    assert {row.why for row in library.rows.values()} == {"in no notebook"}


def test_what_is_not_solved_is_the_librarys(tmp_path):
    notebook = unsolved("attention")
    for name in ("softmax", "split_heads", "previous_token_head"):
        cell(notebook, name)["source"] = cell(solved("attention"), name)["source"]
    kept(tmp_path, notebook)
    answers = collect(tmp_path)
    yours = {name for name, who in whose(answers).items() if who == "yours"}
    assert yours == {"attention.softmax", "attention.split_heads", "attention.previous_token_head"}
    assert answers.rows["attention.merge_heads"].why == "not written yet"
    assert answers.rows["transformer.layer_norm"].why == "in no notebook"


def test_a_wrong_softmax_is_refused_and_its_row_says_which_mistake_it_is(tmp_path, gpt):
    notebook = solved("attention")
    cell(notebook, "softmax")["source"] = A_WRONG_SOFTMAX
    kept(tmp_path, notebook)
    answers = collect(tmp_path)
    row = answers.rows["attention.softmax"]
    assert row.whose == "the library's"
    assert row.why.startswith("did not pass: ")
    assert (
        "not" in repr(answers)
        and row.why in repr(answers)
        and row.why.split("?")[0][:40] in answers._repr_html_()
    )
    assert sum(who == "yours" for who in whose(answers).values()) == len(checks.chapter("attention")) - 1
    x = torch.full((2, 3), 1000.0)  # where the wrong one overflows
    assert torch.allclose(answers["attention.softmax"](x), torch.full((2, 3), 1 / 3))
    Q = 1000 * torch.ones(1, 2, 4)
    assert answers["attention.scaled_dot_product_attention"](Q, Q, Q).isfinite().all()


def test_a_helper_of_the_students_own_runs_and_a_cell_that_fails_costs_its_own_exercise(tmp_path):
    notebook = solved("attention")
    place = notebook["cells"].index(cell(notebook, "softmax"))
    notebook["cells"].insert(place, code("%matplotlib inline\n!echo hello\n" + OWN_SOFTMAX))
    notebook["cells"].insert(place, code("raise SystemExit('a cell that nothing needs')"))
    cell(notebook, "softmax")["source"] = A_RIGHT_SOFTMAX
    cell(notebook, "split_heads")["source"] = (
        "def split_heads(X, n_heads):\n  return X.unflatten(-1, (n_heads, -1)"
    )
    cell(notebook, "merge_heads")["source"] = "merge_heads = undefined_name"
    kept(tmp_path, notebook)
    answers = collect(tmp_path)
    assert answers.rows["attention.softmax"].why == ""
    assert "SyntaxError" in answers.rows["attention.split_heads"].why
    assert answers.rows["attention.merge_heads"].why.startswith("its cell ends with NameError")
    assert sum(who == "yours" for who in whose(answers).values()) == len(checks.chapter("attention")) - 2


def test_notebooks_are_known_by_their_cells(tmp_path):
    """Renamed, without metadata (as some platforms hand them back), beside files that are none."""
    notebook = solved("attention")
    for each in notebook["cells"]:
        each["metadata"] = {}
    kept(tmp_path, notebook, "my homework, final FINAL.ipynb")
    kept(tmp_path, "{ not json", "broken.ipynb")
    kept(tmp_path, "", "empty.ipynb")
    kept(tmp_path, json.dumps({"cells": [code("x = 1")]}), "notes.ipynb")
    kept(tmp_path, solved("embedding"), ".ipynb_checkpoints/02.ipynb")
    answers = collect(tmp_path)
    assert set(whose(answers).values()) == {"yours"}
    assert set(whose(answers, "embedding").values()) == {"the library's"}
    assert Counter(remark.split(":")[0] for remark in answers.remarks) == {
        "broken.ipynb": 1,
        "empty.ipynb": 1,
    }


def test_of_several_notebooks_the_newest_that_passes_counts(tmp_path):
    kept(tmp_path, solved("attention"), "old.ipynb", when=1_000)
    newer = solved("attention")
    cell(newer, "softmax")["source"] = A_WRONG_SOFTMAX
    cell(newer, "merge_heads")["source"] = (
        "def merge_heads(X):\n    return X.transpose(-3, -2).flatten(-2) + 0"
    )
    kept(tmp_path, newer, "new.ipynb", when=2_000)
    kept(tmp_path, unsolved("attention"), "fresh.ipynb", when=3_000)
    answers = collect(tmp_path)
    assert set(whose(answers).values()) == {"yours"}
    assert "new.ipynb" in answers.rows["attention.merge_heads"].value.__code__.co_filename
    assert "old.ipynb" in answers.rows["attention.softmax"].value.__code__.co_filename


@pytest.mark.parametrize("stub_last", [False, True])
def test_of_two_copies_of_a_cell_the_written_one_counts(tmp_path, stub_last):
    notebook = unsolved("attention")
    stub, own = cell(notebook, "merge_heads"), copy.deepcopy(cell(solved("attention"), "merge_heads"))
    place = notebook["cells"].index(stub)
    notebook["cells"].insert(place if stub_last else place + 1, own)
    kept(tmp_path, notebook)
    assert collect(tmp_path).rows["attention.merge_heads"].whose == "yours"


def test_nothing_of_the_student_is_changed_nor_of_the_session(tmp_path, capsys):
    notebook = solved("attention")
    place = notebook["cells"].index(cell(notebook, "softmax"))
    noisy = "import os\nprint('loud')\ntorch.set_default_dtype(torch.float64)\nmine = torch\n"
    notebook["cells"].insert(place, code(noisy))
    cell(notebook, "softmax")["source"] = "".join(cell(notebook, "softmax")["source"]).replace(
        "torch.", "mine."
    )
    path = kept(tmp_path, notebook)
    before, modules = path.read_bytes(), sys.modules["lecture_lib.attention"].softmax
    told = dict(session._last_verdict)
    answers = collect(tmp_path)
    assert answers.rows["attention.softmax"].whose == "yours"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert torch.get_default_dtype() == torch.float32
    assert capsys.readouterr().out == ""
    assert sys.modules["lecture_lib.attention"].softmax is modules
    assert session._last_verdict == told


def test_functions_of_this_session_are_answers_too(tmp_path):
    def rms_norm(x, gain, eps=1e-6):
        return gain * x / (x * x).mean(-1, keepdim=True).add(eps).sqrt()

    def gated_feed_forward(X, W_gate, W_in, W_out):
        raise NotImplementedError

    answers = collect(None, rms_norm, gated_feed_forward)
    assert answers.rows["transformer.rms_norm"].whose == "yours"
    assert answers.rows["capstone.gated_feed_forward"].why == "not written yet"
    with pytest.raises(ValueError, match="no exercise asks for 'kept'"):
        collect(None, kept)
    with pytest.raises(ValueError, match="there is no folder"):
        collect(tmp_path / "nowhere")


def test_an_answer_calls_the_other_answers(everything, library):
    """Attention calls the softmax that stands beside it, also where attention is the library's."""
    X = torch.randn(1, 3, 4, generator=seeded())
    for answers in (everything, library):
        answers.calls.clear()
        answers["attention.multi_head_attention"](X, *4 * [torch.eye(4)], 2)
        for name in ("softmax", "scaled_dot_product_attention", "split_heads", "merge_heads"):
            assert answers.calls[f"attention.{name}"] >= 1, name
    assert everything["attention.softmax"].__wrapped__.__code__.co_filename.startswith("Untitled")


# -------------------------------------------------------------------------------------------------------- the program


@pytest.fixture(scope="module")
def expected(gpt):
    _, tokenizer = gpt
    return theirs(zoo.folder("gpt"), tokenizer.encode(PROMPT), 60)


def test_the_shipped_gpt_writes_the_tokens_of_transformers(everything, gpt, expected):
    everything.calls.clear()
    program = assemble(everything, *gpt)
    ids = program.encode(PROMPT)
    assert ids == gpt[1].encode(PROMPT)
    assert program.tokens(ids, 60) == expected
    assert program.write(PROMPT, 60) == gpt[1].decode(expected)
    ran = {name for name, n in everything.calls.items() if n}
    assert {"attention.softmax", "attention.scaled_dot_product_attention", "embedding.apply_rotary"} <= ran
    assert {"kv_cache.cached_attention", "transformer.pre_ln_stack", "embedding.one_hot_lookup"} <= ran
    assert {"tokenization.encode_word", "tokenization.decode_tokens", "capstone.write_tokens"} <= ran
    assert program.borrowed == set()
    assert all(whose == "yours" for _, _, whose, _ in program.parts().cells)


def test_sampled_tokens_are_those_of_transformers(library, gpt):
    program, n = assemble(library, *gpt), 30
    ids = program.encode(PROMPT)
    torch.manual_seed(5)
    settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.7, "top_k": 50}
    said = theirs(zoo.folder("gpt"), ids, n, **settings)
    assert program.tokens(ids, n, program.drawing(5)) == said
    assert program.tokens(ids, n, program.drawing(6)) != said


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_gpt2_writes_the_tokens_of_transformers(everything, gpt2, activation):
    everything.calls.clear()
    program = assemble(everything, load_pretrained(gpt2[activation], tokenizer=False)[0])
    ids = [3, 14, 15, 9]
    assert program.tokens(ids, 30) == theirs(gpt2[activation], ids, 30)
    ran = {name for name, n in everything.calls.items() if n}
    assert {"attention.multi_head_attention", "attention.split_heads", "transformer.layer_norm"} <= ran
    assert ("transformer.feed_forward" in ran) == (activation == "gelu")
    assert program.borrowed == (set() if activation == "gelu" else {"feed-forward network with gelu_tanh"})


def test_a_llama_whose_queries_share_keys_writes_the_tokens_of_transformers(library, tmp_path):
    torch.manual_seed(2)
    sizes = {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "num_hidden_layers": 2}
    sizes |= {
        "intermediate_size": 40,
        "vocab_size": 61,
        "max_position_embeddings": 48,
        "initializer_range": 0.4,
    }
    LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False)).save_pretrained(tmp_path)
    program = assemble(library, load_pretrained(tmp_path, tokenizer=False)[0])
    assert program.tokens([3, 14, 15, 9], 30) == theirs(tmp_path, [3, 14, 15, 9], 30)
    assert program.borrowed == set()


@pytest.mark.parametrize(
    "name",
    [name for name, task in TASKS.items() if not task.value],
)
def test_every_answer_swapped_in_by_itself_changes_no_token(name, gpt, gpt2, expected):
    """One answer is a reader's, all others are the library's."""
    stem = next(stem for stem in CHAPTERS if name in checks.chapter(stem))
    rows = [
        Answer(
            TASKS[each], stem, solutions(stem)[each] if each == name else None, "" if each == name else "-"
        )
        for each in TASKS
    ]
    answers = Answers(rows)
    assert getattr(answers[name], "__wrapped__", answers[name]) is solutions(stem)[name]
    program = assemble(answers, *gpt)
    assert program.tokens(program.encode(PROMPT), 12) == expected[:12]
    small = assemble(answers, load_pretrained(gpt2["gelu"], tokenizer=False)[0])
    assert small.tokens([3, 14], 8) == theirs(gpt2["gelu"], [3, 14], 8)


@pytest.mark.parametrize(
    "name", ["softmax", "apply_rotary", "rms_norm", "cached_attention", "pre_ln_stack", "encode_word"]
)
def test_a_wrong_part_would_change_the_tokens(name, gpt, expected):
    """The comparison can fail: with a known mistake in one part it does."""
    full = next(each for each in TASKS if each.endswith(f".{name}"))
    rows = [Answer(task, "", None, "-") for task in TASKS.values()]
    changed = []
    for mistake in TASKS[full].mistakes:
        answers = Answers(
            [row if row.task.name != full else Answer(row.task, "", mistake.function) for row in rows]
        )
        try:
            program = assemble(answers, *gpt)
            changed.append(program.tokens(program.encode(PROMPT), 12) != expected[:12])
        except Exception:
            changed.append(True)
    assert any(changed)


def test_logits_are_the_models_own(library, gpt):
    model, tokenizer = gpt
    ids = tokenizer.encode("If the file does not exist, an exception is raised: naïve café ☕.")
    program = assemble(library, model, tokenizer)
    with torch.no_grad():
        wanted = model(torch.tensor([ids]))[0]
    torch.testing.assert_close(program.logits(ids), wanted, rtol=1e-4, atol=1e-4)
    first, past = program.read(ids[:5])
    rest, _ = program.read(ids[5:], past)
    torch.testing.assert_close(torch.stack([first, rest]), wanted[[4, -1]], rtol=1e-4, atol=1e-4)
    assert program.decode(ids) == tokenizer.decode(ids)


def test_the_loop_ends_at_an_end_token(library, gpt, expected):
    program = assemble(library, *gpt)
    ids, end = program.encode(PROMPT), expected[3]
    assert program.tokens(ids, 60, end_ids=[end]) == expected[: expected.index(end) + 1]


@pytest.mark.parametrize("changes", [{"norm_first": False}, {"positions": "sinusoidal"}, {"n_kv_heads": 1}])
def test_a_model_that_no_exercise_builds_is_refused(library, changes):
    sizes = {
        "vocab_size": 11,
        "d_model": 8,
        "n_heads": 2,
        "n_layers": 1,
        "context_length": 8,
        "norm_first": True,
    }
    with pytest.raises(ValueError, match="no exercise builds a part of this model"):
        assemble(library, Decoder(ModelConfig(**sizes | changes)))


def test_values_stand_for_predictions(library, everything):
    assert library["attention.keys_without_scaling"] == _stand_in(
        library.rows["attention.keys_without_scaling"]
    )
    assert isinstance(everything["attention.previous_token_head"], dict)

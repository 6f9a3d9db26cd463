"""The zoo: every shipped model held to its card and read by transformers; recipes, their command, what goes wrong."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file

from lecture_lib import zoo
from lecture_lib.training import TrainingConfig
from lecture_lib.zoo import __main__ as command
from lecture_lib.zoo import make as making
from lecture_lib.zoo import store
from lecture_lib.zoo.recipe import all_recipes
from lecture_lib.zoo.recipes import bert, course, translator
from lecture_lib.zoo.words import word_tokenizer

NAMES = zoo.names()
NEEDED = {
    *("bert", "gpt", "gpt_draft", "translator", "regression"),
    *("course_base", "course_instruct", "course_steps", "course_direct"),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_what_the_chapters_need_is_there():
    assert set(NAMES) >= NEEDED
    assert set(NAMES) <= set(all_recipes())


def test_all_together_are_small():
    files = [path for path in store.MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8e6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_keeps_what_its_card_says(name):
    recipe, card = all_recipes()[name], zoo.card(name)
    metrics = making.measure(recipe, zoo.folder(name))
    assert making.outside(recipe, metrics) == []
    for metric, value in metrics.items():
        # Other kernels round differently; English differs a little from one Python to the next.
        assert math.isclose(card["metrics"][metric], value, rel_tol=0.03, abs_tol=0.02), (metric, value)
    assert set(recipe.bands) <= set(metrics)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_recipe_seeds_and_limits(name):
    card, recipe = zoo.card(name), all_recipes()[name]
    assert card["summary"] == recipe.summary and card["cannot"] == recipe.cannot
    assert {int(seed) for seed in card["seeds"]} >= set(recipe.seeds)
    for metrics in card["seeds"].values():
        assert making.outside(recipe, metrics) == []
        assert metrics["seconds"] > 0
    assert card["parameters"] == sum(p.numel() for p in zoo.load(name)[0].parameters())
    assert making.as_markdown(card) == (zoo.folder(name) / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(NEEDED - {"regression"}))
def test_transformers_reads_the_same_model(name):
    transformers = pytest.importorskip("transformers")
    model, tokenizer = zoo.load(name)
    folder = zoo.folder(name)
    kinds = {"bert": "AutoModelForMaskedLM", "translator": "AutoModelForSeq2SeqLM"}
    kind = getattr(transformers, kinds.get(name, "AutoModelForCausalLM"))
    other = kind.from_pretrained(folder, dtype=torch.float32).eval()
    texts = {
        "bert": "the red <mask> passes the station",
        "translator": "the old owl does not like my green trees",
        "gpt": "The function returns",
        "gpt_draft": "The function returns",
    }
    text = texts.get(name, "roger has 5 balls to start . roger buys 2 cans of 3 .")
    ids = tokenizer.encode(text)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs(text)["input_ids"] == ids
    given = torch.tensor([ids])
    with torch.no_grad():
        if name == "translator":
            start = torch.tensor([[tokenizer.start_id, 5, 6]])
            ours, expected = model(given, start), other(input_ids=given, decoder_input_ids=start).logits
        else:
            ours, expected = model(given), other(input_ids=given).logits
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_loading_gives_a_model_ready_to_be_used():
    model, tokenizer = zoo.load("course_base")
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert tokenizer.decode(tokenizer.encode("roger has 5 balls")) == "roger has 5 balls"
    stored, _ = zoo.load("course_base", dtype=None)
    assert {p.dtype for p in stored.parameters()} == {torch.float16}


def test_a_chat_is_written_as_the_model_read_it_in_training():
    _, words = zoo.load("course_instruct")
    asked = words.apply_chat_template(
        [{"role": "user", "content": "how many balls does roger have ?"}], add_generation_prompt=True
    )
    assert words.encode(asked) == words.encode("<user> how many balls does roger have ? <assistant>")


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ValueError, match="the zoo has no model 'course_bas': did you mean course_base"):
        zoo.load("course_bas")
    with pytest.raises(ValueError, match="there are beliefs, bert, "):
        zoo.card("zzz")


def test_damaged_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MODELS", tmp_path)
    shutil.copytree(all_folders()["bert"], tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match="model.safetensors"):
        zoo.load("bert")


def all_folders():
    return {name: store.Path(store.__file__).parent / "models" / name for name in NAMES}


# --- recipes ---


def quick(name, module, steps, monkeypatch, **changes):
    """A recipe of the zoo with so many steps."""
    full = module.TrainingConfig
    monkeypatch.setattr(module, "TrainingConfig", lambda n, *args, **named: full(steps, *args, **named))
    return dataclasses.replace(all_recipes()[name], **changes)


def short(steps, *args, **named):
    return TrainingConfig(steps, 1e-3, 0, **named)


@pytest.mark.slow
def test_a_recipe_writes_half_precision_a_tokenizer_and_a_card(tmp_path, monkeypatch):
    monkeypatch.setattr(bert, "TrainingConfig", lambda *args, **named: short(3))
    recipe = all_recipes()["bert"]
    card = making.make(recipe, tmp_path, seeds=(4, 5), progress=False)
    assert {t.dtype for t in load_file(tmp_path / "bert" / "model.safetensors").values()} == {torch.float16}
    assert json.loads((tmp_path / "bert" / "card.json").read_text()) == json.loads(json.dumps(card))
    assert card["seed"] == 4 and set(card["seeds"]) == {"4", "5"}
    assert [path.name for path in tmp_path.iterdir()] == ["bert"], "checkpoints are cleared away"
    assert making.outside(recipe, card["metrics"]), "three steps are not enough, and it is said"


@pytest.mark.slow
def test_an_interrupted_training_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(bert, "TrainingConfig", lambda *args, **named: short(6, checkpoint_every=2))
    recipe = dataclasses.replace(all_recipes()["bert"], measure=lambda model, words: {"loss": 1.0})
    making.make(recipe, tmp_path / "whole", seeds=(0,), progress=False)
    original = bert.masked_batches

    def interrupted(*args, **named):
        for n, batch in enumerate(original(*args, **named)):
            if n == 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(bert, "masked_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        making.make(recipe, tmp_path / "cut", seeds=(0,), progress=False)
    monkeypatch.setattr(bert, "masked_batches", original)
    with pytest.raises(ValueError, match="exists already: resume=True"):
        making.make(recipe, tmp_path / "cut", seeds=(0,), progress=False)
    making.make(recipe, tmp_path / "cut", seeds=(0,), resume=True, progress=False)
    one, other = (load_file(tmp_path / name / "bert" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_the_smallest_recipe_trained_from_scratch_keeps_its_band(tmp_path):
    recipe = all_recipes()["bert"]
    card = making.make(recipe, tmp_path, seeds=(7,), progress=False)
    assert making.outside(recipe, card["metrics"]) == []


# --- the command ---


def test_the_command_lists_helps_and_refuses(capsys):
    assert command.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NEEDED)
    assert command.main(["train", "brt"]) == 1
    assert "there is no recipe 'brt'; there are " in capsys.readouterr().err
    assert command.main(["evaluate", "brt"]) == 1
    assert "did you mean bert" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        command.main(["train", "--help"])
    assert stop.value.code == 0 and "--resume" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_evaluates(capsys):
    assert command.main(["evaluate", "bert"]) == 0
    assert "total_variation" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_trains_and_fails_outside_the_band(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bert, "TrainingConfig", lambda *args, **named: short(2))
    assert command.main(["train", "bert", "--seeds", "0", "--out", str(tmp_path)]) == 1
    assert "bert: loss is" in capsys.readouterr().err
    assert command.main(["train", "bert", "--resume", "--out", str(tmp_path)]) == 0
    assert "bert is there already" in capsys.readouterr().out


# --- data of the recipes ---


def test_words_are_tokens():
    words = word_tokenizer(["a", "b"], {"pad": "<pad>", "cls": "<cls>"}, first="cls")
    assert words.encode("b a nothing") == [1, 3, 2, 0]
    assert words.encode("b", add_special_tokens=False) == [3]
    assert words.decode([3, 2]) == "b a"


def test_problems_of_the_test_occur_in_no_training():
    known = {each.question for each in course.problems(40_000, course.TRAINING_SEED)}
    test = course.problems(8000, course.TEST_SEED)
    assert len(test) > 4000 and not known & {each.question for each in test}
    assert {each.question.count(".") for each in test} == {2, 3, 4, 5}


def test_answers_alone_are_asked_for():
    words = course.tokenizer()
    asked = course.problems(40_000, course.TRAINING_SEED)[:3]
    for rows, labels in (course.answered(words, asked, worked, True) for worked in (True, False)):
        for problem, row, label in zip(asked, rows, labels, strict=True):
            assert len(row) == len(label)
            said = words.decode([i for i in label if i != -100])
            assert said.endswith(problem.direct() + " <eos>")
            assert words.decode(row).startswith("<user> " + problem.question + " <assistant>")


@pytest.mark.slow
def test_the_translators_test_sentences_are_new():
    known = {tuple(english) for english, _ in translator.translation.sentence_pairs(translator.N_PAIRS, 1)}
    for held_out in (False, True):
        pairs = translator.new_sentences(held_out)
        assert len(pairs) == 300 and not known & {tuple(english) for english, _ in pairs}


@pytest.mark.slow
def test_the_translator_takes_and_gives_words():
    french = translator.load_translator()
    pairs = translator.new_sentences(True, 40)
    for beam_width in (1, 2):
        written = french([english for english, _ in pairs], beam_width)
        assert sum(words == said for words, (_, said) in zip(written, pairs, strict=True)) >= 38
    ids, lengths = french.target_ids([["la", "voiture"], ["la", "voiture", "rouge"]])
    assert lengths.tolist() == [4, 5] and ids[0, 0] == french.start_id and ids[0, 3] == french.end_id
    assert french.words(ids[1, 1:4].tolist()) == ["la", "voiture", "rouge"]
    with pytest.raises(ValueError, match="no token 'zebra'"):
        french([["the", "zebra"]])

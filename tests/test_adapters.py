"""Adapters a request: each row as alone on the model with its adapter, whatever the others take; peft; what does not fit."""

import copy
import random

import pytest
import torch
from helpers import seeded
from served import SHAPES, adapter, alone, decoder, drawn

from lecture_lib.decoder import Decoder
from lecture_lib.lora import add_lora, load_lora, merge_lora, save_lora
from lecture_lib.pretrained import save_pretrained
from lecture_lib.quantization import quantize_model
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Adapters, Engine, Request
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
TARGETS = {
    "queries": (["W_q"], 1),
    "all": ("all-linear", 3),
    "table and head": (["tokens", "head"], 2),
    "inside": (["W_in", "W_out", "W_o"], 5),
}


@pytest.fixture
def served(tmp_path):
    """A model, the folders of four adapters of different rank and targets, and a model with each."""
    model = decoder("gpt2")
    adapted = {name: adapter(model, tmp_path / name, *each, seed=len(name)) for name, each in TARGETS.items()}
    return model, {name: tmp_path / name for name in TARGETS}, adapted


def features_of(model, ids):
    with torch.no_grad():
        return model(ids)


def test_rows_of_one_forward_take_their_own_updates(served):
    model, folders, adapted = served
    adapters, ids = Adapters(model, folders), torch.randint(40, (6, 7), generator=seeded(3))
    names = ["all", None, "table and head", "queries", "all", "inside"]
    adapters.choose(names, torch.device("cpu"))
    logits = features_of(adapters.model, ids)
    for row, name, text in zip(logits, names, ids, strict=True):
        assert torch.allclose(row, features_of(adapted.get(name, model), text[None])[0], atol=1e-12)
    assert (
        torch.equal(logits[1], features_of(adapters.model, ids)[1])
        and (logits[0] - logits[1]).abs().max() > 0.1
    )


def test_the_model_itself_stays_what_it_is(served):
    model, folders, _ = served
    before, modules = copy.deepcopy(model.state_dict()), list(model.modules())
    learns = [p.requires_grad for p in model.parameters()]
    twin = Adapters(model, folders).model
    assert list(model.modules()) == modules and [p.requires_grad for p in model.parameters()] == learns
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    weight = twin.stack.layers[0].attention.W_q.base_layer.weight
    assert weight.data_ptr() == model.stack.layers[0].attention.W_q.weight.data_ptr()  # no second copy


@pytest.mark.slow
@pytest.mark.parametrize("guesser", [None, "lookup", "draft"])
def test_every_request_gets_what_its_adapter_alone_gives(served, guesser):
    model, folders, adapted = served
    rng = random.Random(1)
    engine = Engine(model, 24, 4, 6, 32, adapters=folders, draft=decoder("gpt2", 1))
    requests = [drawn(rng, range(9), folders, [guesser]) for _ in range(24)]
    numbers = [engine.add(each) for each in requests]
    given = engine.run()
    for number, request in zip(numbers, requests, strict=True):
        assert given[number] == alone(model, request, adapted)


@pytest.mark.slow
def test_merged_weights_give_the_same_tokens(served):
    model, folders, _ = served
    engine, prompt = Engine(model, 32, 4, adapters=folders), (5, 6, 7, 8)
    numbers = {name: engine.add(Request(prompt, 20, GREEDY, adapter=name)) for name in folders}
    given = engine.run()
    for name, number in numbers.items():
        merged = merge_lora(load_lora(copy.deepcopy(model), folders[name]))
        assert given[number] == alone(merged, Request(prompt, 20, GREEDY))
    assert len({str(given[number]) for number in numbers.values()}) > 1


def test_blocks_of_one_adapter_are_not_those_of_another(served):
    model, folders, _ = served
    engine, prompt = Engine(model, 64, 4, adapters=folders), tuple(range(16))
    for name in (None, "all", "queries"):
        engine.add(Request(prompt, 2, GREEDY, adapter=name))
        engine.run()
        assert engine.counters.tokens_found == 0
    engine.add(Request(prompt, 2, GREEDY, adapter="all"))
    engine.run()
    assert engine.counters.tokens_found == 12


@pytest.mark.slow
@pytest.mark.parametrize("bits, group", [(8, None), (4, 8)])
def test_adapters_beside_quantized_weights(tmp_path, bits, group):
    model = quantize_model(decoder(), bits, group, progress=False)
    adapted = {
        name: adapter(model, tmp_path / name, *TARGETS[name], seed=len(name)) for name in ("queries", "all")
    }
    engine = Engine(model, 64, 4, adapters={name: tmp_path / name for name in adapted})
    requests = [drawn(random.Random(i), range(9), adapted) for i in range(12)]
    numbers = [engine.add(each) for each in requests]
    given = engine.run()
    assert [given[number] for number in numbers] == [alone(model, each, adapted) for each in requests]


def test_an_adapter_of_peft(tmp_path):
    """Trained matrices of peft on transformers' model: the same greedy tokens from ours and from theirs."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    sizes = dict(vocab_size=40, d_model=24, n_heads=4, n_layers=2, context_length=64, norm_first=True)
    plain = dict(qkv_bias=False, out_bias=False, mlp_bias=False, tied_head=False)
    model = Decoder(ModelConfig(**sizes, **plain, **SHAPES["llama"]), seeded()).eval()
    save_pretrained(model, None, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    config = LoraConfig(r=3, lora_alpha=12, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    torch.manual_seed(0)
    theirs = get_peft_model(theirs, config)
    theirs.save_pretrained(tmp_path / "adapter")
    prompt = (3, 1, 4, 1, 5)
    engine = Engine(model, 32, 4, adapters={"theirs": tmp_path / "adapter"})
    with_it, without = (engine.add(Request(prompt, 16, GREEDY, adapter=name)) for name in ("theirs", None))
    given = engine.run()
    asked = dict(max_new_tokens=16, do_sample=False, eos_token_id=None, pad_token_id=0)
    want = theirs.generate(input_ids=torch.tensor([prompt]), **asked)[0, len(prompt) :].tolist()
    assert given[with_it] == [want] and given[without] != [want]


def test_what_does_not_fit_is_refused(served, tmp_path):
    model, folders, adapted = served
    engine = Engine(model, 8, 4, adapters=folders)
    with pytest.raises(ValueError, match="no adapter 'french' here; there are queries, all"):
        engine.add(Request((1,), 1, adapter="french"))
    with pytest.raises(ValueError, match="no adapter 'french' here; there are none"):
        Engine(model, 8, 4).add(Request((1,), 1, adapter="french"))
    with pytest.raises(ValueError, match="another model"):
        Engine(decoder("llama").float(), adapters={"all": folders["all"]})
    with pytest.raises(ValueError, match="has LoRA already"):
        Engine(adapted["all"], adapters={"queries": folders["queries"]})
    with pytest.raises(FileNotFoundError, match=r"adapter_config\.json"):
        Engine(model, adapters={"none": tmp_path / "nowhere"})
    whole = add_lora(copy.deepcopy(model), ["W_q"], 2, 4, modules_to_save=["head"])
    save_lora(whole, tmp_path / "whole")
    with pytest.raises(ValueError, match="'whole' brings a whole head"):
        Engine(model, adapters={"whole": tmp_path / "whole"})

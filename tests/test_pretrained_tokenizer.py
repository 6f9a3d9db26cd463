"""Tokenizers of checkpoints: the ids of tokenizers, sentencepiece and transformers; roles and chat templates."""

import io
import json

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lecture_lib.decoder import Decoder
from lecture_lib.generation import Stop, decode_stream
from lecture_lib.pretrained import PretrainedTokenizer, load_pretrained, save_pretrained
from lecture_lib.pretrained.library_tokenizer import LibraryTokenizer
from lecture_lib.pretrained.tokenizer import load_tokenizer, save_tokenizer
from lecture_lib.tokenization import BytePairTokenizer, TextTokenizer, WordPieceTokenizer
from lecture_lib.tokenization.streaming import encode_in_blocks
from lecture_lib.transformer import ModelConfig

TRAINING = [
    "the red ball is on the table",
    "un café noir, s'il vous plaît",
    "It takes great courage 123 4567!",
] * 3
TEXTS = [
    *TRAINING,
    "",
    " ",
    "  two  spaces\n\nand lines\t",
    "naïve Ünïcödé — 日本語 🙂",
    "don't <|endoftext|> stop </s> [MASK] x",
    "\x00\x7f",
]
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Was  ist\n2 < 3?"},
    {"role": "assistant", "content": "Wahr."},
    {"role": "user", "content": "é \" ' & 日"},
]
CHATML = (
    "{% for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{% endif %}\n"
)
LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}<<SYS>>{{ m.content }}<</SYS>>"
    "{% elif m.role == 'user' %}[INST] {{ m.content | tojson }} [/INST]{% else %} {{ m.content }}{{ eos_token }}"
    "{% if loop.last %}{% break %}{% endif %}{% endif %}{% endfor %}"
)


def model_of(vocab_size):
    config = ModelConfig(
        vocab_size=vocab_size, d_model=8, n_heads=2, n_layers=1, context_length=32, norm_first=True
    )
    return Decoder(config, generator=torch.Generator().manual_seed(0))


def gpt2_kind():
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    library.train_from_iterator(TRAINING, trainer)
    return library, {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}


def llama3_kind():
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    library = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    library.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|eot_id|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        TRAINING, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    library.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        special_tokens=[("<|begin_of_text|>", library.token_to_id("<|begin_of_text|>"))],
    )
    return library, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen_kind():
    library, _ = llama3_kind()
    library.normalizer = normalizers.NFC()
    library.post_processor = processors.ByteLevel(trim_offsets=False)
    library.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return library, {
        "eos_token": "<|im_end|>",
        "pad_token": {"__type": "AddedToken", "content": "<|im_end|>"},
    }


def llama2_kind():
    library = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    library.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    library.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    library.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    description = json.loads(library.to_str())
    description["added_tokens"] = description["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(description)), {"bos_token": "<s>", "eos_token": "</s>"}


def bert_kind():
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library.train_from_iterator(TRAINING, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return library, {f"{name.strip('[]').lower()}_token": name for name in special}


KINDS = {
    "gpt2": (gpt2_kind, BytePairTokenizer),
    "llama3": (llama3_kind, BytePairTokenizer),
    "qwen": (qwen_kind, BytePairTokenizer),
    "llama2": (llama2_kind, LibraryTokenizer),
    "bert": (bert_kind, WordPieceTokenizer),
}


def write_folder(folder, library, settings, **more):
    save_pretrained(model_of(library.get_vocab_size()), None, folder)
    library.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | more))


@pytest.mark.parametrize(("make", "inner"), KINDS.values(), ids=KINDS.keys())
def test_ids_and_texts_equal_the_library_and_survive_saving(make, inner, tmp_path):
    library, settings = make()
    library.enable_truncation(4)  # kept in the file; it must not act here
    library.enable_padding(length=50)
    write_folder(tmp_path, library, settings)
    library.no_truncation()
    library.no_padding()
    model, tokenizer = load_pretrained(tmp_path)
    assert type(tokenizer) is PretrainedTokenizer and type(tokenizer.inner) is inner
    save_pretrained(model, tokenizer, tmp_path / "again")
    _, again = load_pretrained(tmp_path / "again")
    there = pytest.importorskip("transformers").PreTrainedTokenizerFast.from_pretrained(tmp_path / "again")
    for text in TEXTS:
        for special in (True, False):
            ids = library.encode(text, add_special_tokens=special).ids
            assert tokenizer.encode(text, add_special_tokens=special) == ids
            assert again.encode(text, add_special_tokens=special) == ids
            assert there.encode(text, add_special_tokens=special) == ids
            assert tokenizer.decode(ids) == library.decode(ids, skip_special_tokens=False)
            assert tokenizer.decode(ids, skip_special_tokens=True) == library.decode(ids)
    assert tokenizer.vocab_size == again.vocab_size == library.get_vocab_size()
    for role in ("bos", "eos", "cls", "mask"):
        assert tokenizer.role(role) == again.role(role) == getattr(there, f"{role}_token")
        expected = getattr(there, f"{role}_token_id")
        assert tokenizer.ids_of(role) == again.ids_of(role) == (() if expected is None else (expected,))


@pytest.mark.parametrize("kind", [BytePairTokenizer, WordPieceTokenizer])
def test_a_tokenizer_trained_here_goes_along(kind, tmp_path):
    special = (
        ("<pad>", "<|endoftext|>")
        if kind is BytePairTokenizer
        else ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    )
    trained = kind.train(TRAINING, 300, special_tokens=special)
    save_pretrained(model_of(trained.vocab_size), trained, tmp_path)
    _, tokenizer = load_pretrained(tmp_path)
    there = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert tokenizer.encode(text) == trained.encode(text) == there.encode(text)
    assert tokenizer.pad_id == there.pad_token_id == trained.token_to_id(special[0])
    if kind is BytePairTokenizer:
        assert tokenizer.eos_ids == (there.eos_token_id,) == (1,)
        assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 1
    assert there.model_max_length == 32


def test_the_models_config_says_which_ids_end_a_text(tmp_path):
    library, settings = qwen_kind()
    write_folder(tmp_path, library, settings)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7], "temperature": 0.7}))
    model, tokenizer = load_pretrained(tmp_path)
    assert tokenizer.eos_ids == (5, 7) and tokenizer.start_id is None
    save_pretrained(model, tokenizer, tmp_path / "again")
    assert load_pretrained(tmp_path / "again")[1].eos_ids == (5, 7)


def test_older_files_without_tokenizer_json(tmp_path):
    library, settings = bert_kind()
    write_folder(tmp_path, library, settings | {"do_lower_case": True})
    (tmp_path / "tokenizer.json").unlink()
    vocabulary = sorted(library.get_vocab(), key=library.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    _, tokenizer = load_pretrained(tmp_path)
    assert all(tokenizer.encode(text) == library.encode(text).ids for text in TEXTS)
    (tmp_path / "vocab.txt").unlink()
    library, settings = gpt2_kind()
    library.model.save(str(tmp_path))  # vocab.json and merges.txt
    _, tokenizer = load_pretrained(tmp_path)
    assert all(tokenizer.encode(text) == library.encode(text).ids for text in TEXTS)


# --- chat templates -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("template", [CHATML, LLAMA_CHAT])
@pytest.mark.parametrize("place", ["settings", "file", "list"])
@pytest.mark.parametrize("prompt", [True, False])
def test_chat_template_writes_what_transformers_writes(template, place, prompt, tmp_path):
    library, settings = qwen_kind()
    settings |= {"bos_token": "<|im_start|>"}
    several = [{"name": "tools", "template": "no"}, {"name": "default", "template": template}]
    if place == "file":
        write_folder(tmp_path, library, settings)
        (tmp_path / "chat_template.jinja").write_text(template)
    else:
        write_folder(tmp_path, library, settings, chat_template=several if place == "list" else template)
    model, tokenizer = load_pretrained(tmp_path)
    there = pytest.importorskip("transformers").PreTrainedTokenizerFast.from_pretrained(tmp_path)
    expected = there.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=prompt)
    assert tokenizer.apply_chat_template(CHAT, add_generation_prompt=prompt) == expected
    shout = {"messages": [{"role": "user", "content": "!"}]}
    assert "!" in tokenizer.apply_chat_template(CHAT, variables=shout)
    save_pretrained(model, tokenizer, tmp_path / "again")
    again = load_pretrained(tmp_path / "again")[1]
    assert again.apply_chat_template(CHAT, add_generation_prompt=prompt) == expected
    ids = there(expected, add_special_tokens=False)["input_ids"]
    assert tokenizer.encode(expected, add_special_tokens=False) == ids


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0].nothing.at_all }}", "refuses this conversation"),
        ("{% for %}", "refuses this conversation"),
        (
            "{% if tools is not none %}{{ raise_exception('tools') }}{% endif %}{{ 1 / 0 }}",
            "division by zero",
        ),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe|refuses this conversation"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "unsafe|refuses this conversation"),
        ("{{ messages.append(1) }}", "refuses this conversation"),
    ],
)
def test_a_template_that_fails_or_reaches_out_gets_one_sentence(template, message):
    tokenizer = PretrainedTokenizer(BytePairTokenizer.train(TRAINING, 260), chat_template=template)
    with pytest.raises(ValueError, match=message):
        tokenizer.apply_chat_template(CHAT)


def test_no_template():
    with pytest.raises(ValueError, match="no chat template"):
        PretrainedTokenizer(BytePairTokenizer.train(TRAINING, 260)).apply_chat_template(CHAT)


# --- Marian ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    """A translator's folder as transformers writes it, and its tokenizer there."""
    sentencepiece = pytest.importorskip("sentencepiece")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("marian")
    pieces = {"<unk>", "</s>", "<pad>", ">>fr<<"}
    for name, texts in (("source", TRAINING[::3] + TRAINING[2::3]), ("target", TRAINING[1::3])):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts * 5),
            model_writer=model,
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{name}.spm").write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        pieces |= {processor.id_to_piece(i) for i in range(processor.get_piece_size())}
    ordered = ["</s>", "<unk>", *sorted(pieces - {"</s>", "<unk>", "<pad>"}), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(ordered)}))
    n = len(ordered)
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        **{
            "vocab_size": n,
            "d_model": 12,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
        },
        **{
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 8,
            "decoder_ffn_dim": 8,
            "max_position_embeddings": 32,
        },
        **{
            "pad_token_id": n - 1,
            "decoder_start_token_id": n - 1,
            "eos_token_id": 0,
            "forced_eos_token_id": 0,
        },
    )
    there = transformers.MarianTokenizer.from_pretrained(folder)
    transformers.MarianMTModel(config).save_pretrained(folder)
    there.save_pretrained(folder)
    return folder, there


@pytest.mark.filterwarnings("ignore:Recommended")
def test_marian_gives_the_ids_of_transformers(marian, tmp_path):
    folder, there = marian
    model, tokenizer = load_pretrained(folder)
    save_pretrained(model, tokenizer, tmp_path)
    again = load_pretrained(tmp_path)[1]
    for text in ["the red ball", "un café noir", "It takes great courage, Ω!", "", ">>fr<< the table"]:
        assert tokenizer.encode(text) == again.encode(text) == there(text)["input_ids"]
        target = there(text_target=text)["input_ids"]
        assert tokenizer.inner.encode(text, target=True) == target
        for skip in (True, False):
            assert tokenizer.decode(target, skip) == there.decode(target, skip_special_tokens=skip).strip()
    assert tokenizer.start_id == again.start_id == there.pad_token_id == tokenizer.pad_id
    assert tokenizer.eos_ids == again.eos_ids == (0,)
    transformers = pytest.importorskip("transformers")
    assert transformers.MarianTokenizer.from_pretrained(tmp_path)("the red ball")[
        "input_ids"
    ] == tokenizer.encode("the red ball")


def test_a_marian_vocabulary_that_is_damaged(marian, tmp_path):
    pytest.importorskip("sentencepiece")
    for name, content, message in (
        ("vocab.json", b'{"a": 1}', "vocab.json lacks '</s>' or '<unk>'"),
        ("vocab.json", b"{", "vocab.json is not valid JSON"),
        ("source.spm", b"noise", "no sentencepiece model"),
    ):
        folder = tmp_path / message[:9].strip()
        folder.mkdir(exist_ok=True)
        for path in marian[0].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_pretrained(folder)


# --- one protocol ---------------------------------------------------------------------------------------------------
def unigram_kind():
    """T5's shape: control tokens are pieces of the Unigram model, which finds them in a text by itself."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((c, -3.0) for c in "▁abdehlnorst</>"), ("▁the", -2.0)]
    library = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0))
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    library.add_special_tokens(["<unk>", "</s>"])
    library.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return library, {"eos_token": "</s>"}


@pytest.mark.parametrize("make", [*(make for make, _ in KINDS.values()), unigram_kind])
def test_every_kind_answers_the_protocol(make, tmp_path):
    library, settings = make()
    write_folder(tmp_path, library, settings)
    _, tokenizer = load_pretrained(tmp_path)
    assert isinstance(tokenizer.inner, TextTokenizer)
    n = library.get_vocab_size()
    assert tokenizer.n_tokens == tokenizer.n_ids == tokenizer.vocab_size == n
    for i in range(n):
        assert (
            tokenizer.token_to_id(tokenizer.id_to_token(i))
            == i
            == library.token_to_id(library.id_to_token(i))
        )
    ids = tokenizer.encode("the red ball")
    assert (
        tokenizer.decode([*ids, n + 5, 10**9])
        == tokenizer.decode(ids)
        == library.decode(ids, skip_special_tokens=False)
    )
    for call in (
        lambda: tokenizer.id_to_token(n),
        lambda: tokenizer.decode([-1]),
        lambda: tokenizer.token_to_id("<no>"),
    ):
        with pytest.raises(ValueError, match="vocabulary"):
            call()
    for text in ("a\ud800", "\udc80"):
        with pytest.raises(ValueError, match="lone surrogate"):
            tokenizer.encode(text)
        with pytest.raises(ValueError, match="lone surrogate"):
            list(tokenizer.encode_iterable(["x", text]))


@pytest.mark.parametrize("make", [*(make for make, _ in KINDS.values()), unigram_kind])
def test_text_that_spells_a_control_token_is_plain_text_on_demand(make, tmp_path):
    library, settings = make()
    write_folder(tmp_path, library, settings)
    _, tokenizer = load_pretrained(tmp_path)
    special = list(tokenizer.special_tokens)
    unknown = {tokenizer.token_to_id(t) for t in ("<unk>", "[UNK]") if t in special}
    for token in special:
        evil = f"the{token} ball {token}{token}red<"
        assert tokenizer.token_to_id(token) in tokenizer.encode(evil, False)
        assert tokenizer.encode(evil, False, special={token}) == tokenizer.encode(evil, False, special=True)
        for off in ("never", False, set()):
            ids = tokenizer.encode(evil, False, special=off)
            assert not set(ids) & (set(tokenizer.special_tokens.values()) - unknown)
        around = tokenizer.encode(evil, special="never")
        assert around[len(tokenizer.surrounding[0]) :][: len(ids)] == ids
        if make is not unigram_kind:  # there the library takes </s> for a piece of the text
            library.encode_special_tokens = True
            assert ids == library.encode(evil, add_special_tokens=False).ids
            library.encode_special_tokens = False
    if len(special) > 1:
        mixed = tokenizer.encode(special[0] + special[1], False, special={special[0]})
        assert tokenizer.token_to_id(special[0]) in mixed
        assert tokenizer.token_to_id(special[1]) not in mixed or tokenizer.token_to_id(special[1]) in unknown


@pytest.mark.parametrize("make", [*(make for make, _ in KINDS.values()), unigram_kind])
def test_new_tokens_are_decoded_in_their_context(make, tmp_path):
    library, settings = make()
    write_folder(tmp_path, library, settings)
    _, tokenizer = load_pretrained(tmp_path)
    for text in ("the red ball is on the table", "un café noir 🙂 red", "It  takes courage"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert "".join(decode_stream(ids, tokenizer.decode, prompt=[])) == tokenizer.decode(ids)
        for k in range(1, len(ids)):
            prompt, new = ids[:k], ids[k:]
            shown = tokenizer.decode(prompt).rstrip("\ufffd")
            pieces = "".join(decode_stream(new, tokenizer.decode, prompt))
            assert shown + pieces == tokenizer.decode(ids)
            if not tokenizer.decode(prompt).endswith(
                "\ufffd"
            ):  # a whole character: the prompt need not be known
                assert "".join(decode_stream(new, tokenizer.decode)) == pieces


def test_a_stop_string_may_begin_with_a_space_or_in_the_prompt(tmp_path):
    library, settings = llama2_kind()
    write_folder(tmp_path, library, settings)
    _, tokenizer = load_pretrained(tmp_path)
    prompt, new = (tokenizer.encode(text, add_special_tokens=False) for text in ("on the", "table"))
    assert Stop([" tab"], tokenizer)(new, prompt) and Stop([" tab"], tokenizer)(new)
    assert Stop(["the tab"], tokenizer)(new, prompt) and not Stop(["the tab"], tokenizer)(new)
    assert not Stop(["on the"], tokenizer)(new, prompt)  # it was there before
    assert not Stop([" tab"], tokenizer)(new, [])  # the text begins with the word


@pytest.mark.parametrize("make", [*(make for make, _ in KINDS.values()), unigram_kind])
def test_a_text_in_pieces_has_the_ids_of_the_whole(make, tmp_path):
    library, settings = make()
    write_folder(tmp_path, library, settings)
    _, tokenizer = load_pretrained(tmp_path)
    text = "\n".join(TEXTS * 40)
    pieces = [text[i : i + 37] for i in range(0, len(text), 37)]
    assert list(tokenizer.encode_iterable(pieces)) == tokenizer.encode(text)
    longest = 0

    def measured(part):
        nonlocal longest
        longest = max(longest, len(part))
        return tokenizer.encode(part, add_special_tokens=False)

    ids = list(encode_in_blocks(pieces, measured, block=1000, reach=100))
    assert ids == tokenizer.encode(text, add_special_tokens=False)
    assert longest < 4000


def test_tokens_added_later_have_the_ids_of_the_library(tmp_path):
    for make in (gpt2_kind, llama2_kind, bert_kind):
        library, settings = make()
        write_folder(tmp_path, library, settings)
        _, tokenizer = load_pretrained(tmp_path)
        for add in ("add_special_tokens", "add_tokens"):
            tokens = [f"<{add}>", "ball"]
            assert getattr(tokenizer, add)(tokens) == getattr(library, add)(tokens)
        for text in ("the<add_tokens>ball", "<add_special_tokens>x"):
            assert tokenizer.encode(text) == library.encode(text).ids
        assert tokenizer.n_ids == library.get_vocab_size()


# --- sentencepiece models without tokenizer.json --------------------------------------------------------------------
def sentencepiece_model(kind, **settings):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING * 10),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        model_type=kind,
        **settings,
    )
    return model.getvalue(), sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_folder_with_a_sentencepiece_model_alone(kind, tmp_path):
    """As Llama 2 has it: texts begin with <s>; the ids are those of sentencepiece."""
    content, there = sentencepiece_model(kind, vocab_size=340, byte_fallback=True)
    (tmp_path / "tokenizer.model").write_bytes(content)
    tokenizer = load_tokenizer(tmp_path, {"model_type": "llama"})
    for text in (*TRAINING, "naïve 日本語 🙂", "", "two  spaces"):
        ids = tokenizer.encode(text)
        assert ids == [1, *there.encode(text)] and tokenizer.encode(text, False) == there.encode(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == there.decode(ids)
    assert tokenizer.encode("a</s>", False)[-1] == 2 and 2 not in tokenizer.encode("a</s>", special="never")
    assert tokenizer.decode([1, *there.encode("the ball"), 2]) == "<s> the ball </s>"
    assert (tokenizer.ids_of("bos"), tokenizer.eos_ids, tokenizer.pad_id) == ((1,), (2,), None)
    assert tokenizer.vocab_size == there.get_piece_size() == tokenizer.n_tokens
    assert tokenizer.id_to_token(2) == "</s>" and tokenizer.decode([2, 9999]) == "</s>"
    again = tmp_path / "again"
    again.mkdir()
    save_tokenizer(tokenizer, again, 32)
    assert load_tokenizer(again, {"model_type": "llama"}).encode("the ball") == tokenizer.encode("the ball")
    ids = there.encode("the red ball")
    for k in range(1, len(ids)):
        assert tokenizer.decode(ids[:k]) + "".join(decode_stream(ids[k:], tokenizer.decode)) == "the red ball"


def test_t5_ends_its_texts_and_has_extra_ids(tmp_path):
    content, there = sentencepiece_model("unigram", vocab_size=60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (tmp_path / "spiece.model").write_bytes(content)
    tokenizer = load_tokenizer(tmp_path, {"model_type": "t5"})
    n = there.get_piece_size()
    assert tokenizer.encode("the ball") == [*there.encode("the ball"), 1]
    assert tokenizer.encode("<extra_id_0>", False) == [n + 99] and tokenizer.vocab_size == n + 100
    assert (tokenizer.pad_id, tokenizer.eos_ids, tokenizer.ids_of("unk"), tokenizer.role("bos")) == (
        0,
        (1,),
        (2,),
        None,
    )
    (tmp_path / "spiece.model").write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"spiece.model is no sentencepiece model"):
        load_tokenizer(tmp_path, {"model_type": "t5"})


# --- errors ---------------------------------------------------------------------------------------------------------
def test_folders_without_a_tokenizer_or_with_a_broken_one(tmp_path):
    library, settings = gpt2_kind()
    write_folder(tmp_path, library, settings)
    config = json.loads((tmp_path / "config.json").read_text())
    for name, content, message in (
        ("tokenizer.json", b'{"version": "1.0", "model"', "is not a tokenizer file"),
        ("tokenizer.json", b"\x00\x01", "is not a tokenizer file"),
        ("tokenizer.json", b"{}", "is not a tokenizer file"),
        ("tokenizer_config.json", b"[", "is not valid JSON"),
        ("tokenizer_config.json", b'{"eos_token": 7}', "eos_token must be a text, got 7"),
        ("tokenizer_config.json", b'{"chat_template": {}}', "chat_template must be a text"),
        (
            "config.json",
            json.dumps(config | {"eos_token_id": "x"}).encode(),
            "eos_token_id must be a token id",
        ),
    ):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            load_pretrained(tmp_path)
        assert "\n" not in str(error.value)
        (tmp_path / name).write_bytes(before)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no tokenizer that can be read here .*tokenizer=False"):
        load_pretrained(tmp_path)
    assert load_pretrained(tmp_path, tokenizer=False)[1] is None


def test_what_the_tokenizer_does_not_say_its_inside_answers():
    inner = BytePairTokenizer.train(TRAINING, 270, special_tokens=["<|endoftext|>"])
    tokenizer = PretrainedTokenizer(inner, {"eos_token": "<|endoftext|>"})
    assert tokenizer.decode_bytes(inner.encode("é")) == "é".encode()
    assert tokenizer.token_to_id("<|endoftext|>") == 0 == tokenizer.eos_ids[0]
    with pytest.raises(AttributeError):
        tokenizer.nothing_of_that_name  # noqa: B018

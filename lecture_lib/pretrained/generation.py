"""generation_config.json: how a checkpoint asks to be sampled, and the tokens that begin, end and fill texts.

Source: `transformers`, GenerationConfig; where a file is silent its defaults stand (greedy; top_k=50 when it draws).
A checkpoint without the file says it in config.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lecture_lib.fields import at_least, check_fields, token_ids
from lecture_lib.sampling import SamplingParameters

Json = Mapping[str, Any]
OURS = {  # field of SamplingParameters: theirs, always
    "repetition_penalty": "repetition_penalty",
    "bad_words": "bad_words_ids",
    "suppress_tokens": "suppress_tokens",
    "begin_suppress_tokens": "begin_suppress_tokens",
    "forced_first": "forced_bos_token_id",
    "forced_last": "forced_eos_token_id",
    "min_new_tokens": "min_new_tokens",
}
DRAWN = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}  # with do_sample
IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class GenerationSettings:
    """What a checkpoint says about generation; change it by `dataclasses.replace`, and it is saved so."""

    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    end_ids: tuple[int, ...] = token_ids()  # tokens after which a text is finished
    start_id: int | None = at_least(0, None)  # a translation begins with it, else a text
    pad_id: int | None = at_least(0, None)  # fills short rows
    stored: Mapping = field(default_factory=dict, compare=False)  # the file as it was, all of it

    def __post_init__(self) -> None:
        check_fields(self)


def ids(theirs: Json, name: str) -> list[int]:
    """Read a setting that holds one token id, several or none; negative ones stand for none."""
    value = theirs.get(name)
    several = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(i) is int for i in several):
        raise ValueError(f"{name} must be a token id or several, got {value!r:.60}")
    return [i for i in several if i >= 0]


def read_generation(file: Json, config: Json, translates: bool) -> GenerationSettings:
    """Read what the two files of a checkpoint say; a model that `translates` writes from a start token on, after no prompt."""
    theirs = file or config
    roles = {name: found for each in (config, theirs) for name in IDS if (found := ids(each, name))}
    end, pad = roles.get("eos_token_id", []), roles.get("pad_token_id", [])
    start = (translates and roles.get("decoder_start_token_id")) or roles.get("bos_token_id", [])
    values = {ours: theirs[name] for ours, name in OURS.items() if theirs.get(name) is not None}
    values |= {ours: (ids(theirs, OURS[ours]) or [None])[0] for ours in ("forced_first", "forced_last")}
    values |= {ours: ids(theirs, ours) for ours in ("suppress_tokens", "begin_suppress_tokens")}
    words = [word for word in values.get("bad_words", ()) if word not in [[i] for i in end]]  # a text may end
    shortest = theirs.get("min_length") or 0 if translates else 0  # counts the start token
    values |= {"bad_words": words, "min_new_tokens": max(values.get("min_new_tokens", 0), shortest - 1)}
    values["temperature"] = 0.0
    if theirs.get("do_sample"):
        values |= {"temperature": 1.0, "top_k": 50}
        values |= {ours: theirs[name] for ours, name in DRAWN.items() if theirs.get(name) is not None}
    first, filler = (each[0] if each else None for each in (start, pad))
    return GenerationSettings(SamplingParameters(**values), tuple(end), first, filler, dict(file))


def write_generation(settings: GenerationSettings, translates: bool) -> dict[str, Any]:
    """Write a generation_config.json that is read as these settings; what is not read here stays as it was."""
    sampling, read = settings.sampling, {*OURS.values(), *DRAWN.values(), *IDS, "do_sample"}
    theirs = {
        name: value
        for name, value in settings.stored.items()
        if name not in read and not (translates and name == "min_length")
    }
    theirs |= {
        name: value for ours, name in OURS.items() if (value := getattr(sampling, ours)) not in (None, ())
    }
    theirs["do_sample"] = sampling.temperature > 0
    if theirs["do_sample"]:
        theirs |= {
            name: value for ours, name in DRAWN.items() if (value := getattr(sampling, ours)) is not None
        }
        theirs["top_k"] = sampling.top_k or 0
    return theirs | token_roles(settings, translates)


def token_roles(settings: GenerationSettings, translates: bool) -> dict[str, Any]:
    """The token ids with a role, under their names."""
    end = settings.end_ids[0] if len(settings.end_ids) == 1 else list(settings.end_ids) or None
    start = "decoder_start_token_id" if translates else "bos_token_id"
    roles = {start: settings.start_id, "eos_token_id": end, "pad_token_id": settings.pad_id}
    return {name: value for name, value in roles.items() if value is not None}

r"""Prompts: an instruction, some solved examples (shots), a question, and the place where the answer begins.

No shots is zero-shot, one is one-shot, more are few-shot. If the answers of the shots contain their steps, the prompt
asks for a *chain of thought*; without shots a cue such as "Let's think step by step." does.

Source: the lecture, "Prompt engineering"; Brown et al. (2020), Figure 2.1; Wei et al. (2022); Kojima et al. (2022).
"""

from collections.abc import Sequence

STEP_BY_STEP = "Let's think step by step."


def build_prompt(
    question: str,
    shots: Sequence[tuple[str, str]] = (),
    instruction: str = "",
    template: str = "Q: {question}\nA: {answer}",
    separator: str = "\n\n",
    cue: str = "",
) -> str:
    r"""Write one text for a model to continue: instruction, solved examples, the question, up to where its answer begins.

    Args:
        question: what is asked.
        shots: pairs (question, answer), in their order in the prompt.
        instruction: what is to be done, first of all; nothing if empty.
        template: how a question and its answer stand together; it has ``{question}`` before ``{answer}``, once each.
        separator: what stands between instruction, examples and question.
        cue: how the answer to the question begins.

    Returns:
        The prompt. It ends with the cue, or with what the template has before the answer, and never with white space.

    Raises:
        ValueError: the template does not have both places, in this order.

    Example:
        >>> build_prompt("cheese", [("sea otter", "loutre de mer")], "Translate:", "{question} => {answer}", "\n")
        'Translate:\nsea otter => loutre de mer\ncheese =>'
    """
    before, found, after = template.partition("{question}")
    between, also_found, after = after.partition("{answer}")
    if not (found and also_found):
        raise ValueError(f"the template must have {{question}} and then {{answer}}, got {template!r}")
    solved = [before + asked + between + answer + after for asked, answer in shots]
    opened = (before + question + between + cue).rstrip()
    return separator.join([*([instruction] if instruction else []), *solved, opened])


def build_messages(
    question: str, shots: Sequence[tuple[str, str]] = (), instruction: str = "", cue: str = ""
) -> list[dict[str, str]]:
    """As `build_prompt`, as a conversation: each example is a message of the user and the assistant's answer.

    Args:
        question: what is asked, last.
        shots: pairs (question, answer), in their order in the conversation.
        instruction: the system's message; there is none if it is empty.
        cue: a line behind the question; models that chat answer in their own words, so it cannot begin the answer.

    Returns:
        Messages ``{"role": "system", "user" or "assistant", "content": text}``, of which the last one is the user's.

    Example:
        >>> build_messages("cheese", instruction="Translate English to French.")
        [{'role': 'system', 'content': 'Translate English to French.'}, {'role': 'user', 'content': 'cheese'}]
    """
    turns = [("system", instruction)] if instruction else []
    for asked, answer in shots:
        turns += [("user", asked), ("assistant", answer)]
    turns.append(("user", f"{question}\n{cue}" if cue else question))
    return [{"role": role, "content": content} for role, content in turns]

"""The words of a policy: the edge preset's own vocabulary, or a checkpoint's tokenizer with its free rows.

The own vocabulary holds the instruction's words, all printable characters one by one, and the action tokens. It is a
file of the library tokenizers, which anybody can read, and which `inference/prompt.py` reads without that library.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.inference.action_encoding import BINS
from sonosteer.inference.prompt import INSTRUCTION, PROMPT_TECHNIQUES, TOKENIZER, read_vocabulary
from sonosteer.learning.nets.action_tokens import CHARACTERS, SLOTS, TOKEN_ROWS
from sonosteer.learning.nets.policy_presets import PolicyConfig

UNKNOWN, VISION = "<|unknown|>", ("<|vision_start|>", "<|vision_end|>")
#: as the free rows are ordered (`nets/action_tokens.py`)
ACTION_WORDS = (
    *(f"<|bin_{k:03d}|>" for k in range(BINS)),
    "[STOP]",
    *(f"<|slot_{k}|>" for k in range(SLOTS)),
    "<|end_of_action|>",
)
SAMPLE = INSTRUCTION.format(target="(0000, 0000)", technique=PROMPT_TECHNIQUES[0])


@dataclass(frozen=True)
class Language:
    """The words of a policy: turns an instruction into token ids, and knows the special tokens."""

    encode: Callable[[str], list[int]]
    """Turns an instruction into token ids."""
    vision: tuple[int, int]
    """Token ids before and after a picture."""
    turn: tuple[int, ...]
    """Token ids between the numbers and the answer."""
    answer: tuple[int, ...]
    """Token ids of the characters that a text answer is made of."""
    first_row: int
    """Row of the vocabulary where the action tokens begin, an index."""
    keep: Callable[[Path], None]
    """Writes the tokenizer into a folder."""

    def fit(self, config: PolicyConfig) -> PolicyConfig:
        """The configuration with this language in it. An own vocabulary has as many rows as words."""
        ours = {} if config.checkpoint else {"llm": replace(config.llm, vocabulary=self.first_row)}
        told = {"vision": self.vision, "turn": self.turn, "answer": self.answer, "first_row": self.first_row}
        return replace(config, **ours, **told, text_tokens=len(self.encode(SAMPLE)))  # type: ignore[arg-type]


def write_words(path: Path) -> None:
    """Write the own vocabulary."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

    text = " ".join(INSTRUCTION.format(target="", technique=t) for t in PROMPT_TECHNIQUES)
    words = sorted(set(re.findall(r" ?[A-Za-z]+", text)), key=lambda w: (-len(w), w))
    characters = ["\n", *(chr(c) for c in range(32, 127))]
    plain = [UNKNOWN, *VISION, *characters, *(w for w in words if len(w) > 1)]
    vocabulary = {word: k for k, word in enumerate([*plain, *ACTION_WORDS])}
    special = (UNKNOWN, *VISION, *ACTION_WORDS)
    pattern = "|".join([*(re.escape(s) for s in (*special, *(w for w in words if len(w) > 1))), r"[\s\S]"])
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.add_special_tokens([AddedToken(s, normalized=False) for s in special])
    tokenizer.save(str(path), pretty=False)


def own_language(folder: Path) -> Language:
    """The own vocabulary from a policy's folder."""
    words = read_vocabulary(folder / TOKENIZER)
    said = words.vocabulary
    try:
        first = said[ACTION_WORDS[0]]
        vision = (said[VISION[0]], said[VISION[1]])
        answer = tuple(said[c] for c in CHARACTERS)
        if [said[w] for w in ACTION_WORDS] != list(range(first, first + TOKEN_ROWS)):
            raise KeyError("action tokens in another order")
    except KeyError as e:
        raise InputError(f"{folder / TOKENIZER} lacks {e}; copy or train the policy again") from None

    def keep(to: Path) -> None:
        if to != folder:
            (to / TOKENIZER).write_bytes((folder / TOKENIZER).read_bytes())

    return Language(words.encode, vision, (), answer, first, keep)


def checkpoint_language(folder: str, vocabulary: int) -> Language:
    """The tokenizer of a Qwen2.5-VL checkpoint. The action tokens are the free rows of its embedding.

    Raises InputError if there is no tokenizer, or fewer free rows than action tokens.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as e:
        raise InputError(f"the tokenizer of {folder} cannot be loaded: {str(e).splitlines()[0]}") from None
    first = max(tokenizer.get_vocab().values()) + 1
    if vocabulary - first < TOKEN_ROWS:
        raise InputError(
            f"{folder}: {vocabulary - first} rows of the embedding are free, but actions need {TOKEN_ROWS}"
        )

    def ids(text: str) -> list[int]:
        out: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return out

    def single(text: str) -> int:
        found = ids(text)
        if len(found) != 1:
            raise InputError(f"the tokenizer of {folder} has no token for {text!r}")
        return found[0]

    return Language(
        lambda text: ids("<|im_start|>user\n" + text),
        (single(VISION[0]), single(VISION[1])),
        tuple(ids("<|im_end|>\n<|im_start|>assistant\n")),
        tuple(single(c) for c in CHARACTERS),
        first,
        lambda to: tokenizer.save_pretrained(str(to)),
    )

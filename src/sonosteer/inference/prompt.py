"""The instruction of Zhang et al. 2026, Section III-F, word for word, and the vocabulary of the edge preset.

tokenizer.json is a file of the library tokenizers: one token a word, and one for any other character. It is read here
without that library, whose wheel brings a network client along. A test holds the two readings together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sonosteer.core.config import parse_json
from sonosteer.core.errors import InputError
from sonosteer.core.types import Task

INSTRUCTION = (
    "You are an ultrasound expert. The target position is {target}. The insertion technique is {technique}. Control "
    "the insertion based on visibility feedback: when visibility decreases, insert with a slower speed. Stop insertion "
    "upon reaching the target."
)
PROMPT_TECHNIQUES = ("in-plane-static", "in-plane-moving")
TOKENIZER = "tokenizer.json"


def instruction(task: Task) -> str:
    """Write the policy's instruction for a task.

    Pixels have four digits, so that every instruction has the same number of tokens.
    """
    x, y = (min(max(round(v), 0), 9999) for v in task.target_px)
    return INSTRUCTION.format(target=f"({x:04d}, {y:04d})", technique=task.technique)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number, and how text is cut into them."""

    vocabulary: dict[str, int]
    """Number of each token, no unit."""
    pattern: str
    """Regular expression that cuts text into tokens."""
    unknown: int
    """Number of the token for a character that the vocabulary lacks, no unit."""

    def encode(self, text: str) -> list[int]:
        """Turn text into the numbers of its tokens."""
        return [self.vocabulary.get(piece, self.unknown) for piece in re.findall(self.pattern, text)]


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the vocabulary of a policy that sonosteer made.

    Raises InputError if the file is missing or holds another kind of tokenizer.
    """
    try:
        said = parse_json(path.read_text(encoding="utf-8"), path)
        model, cut = said["model"], said["pre_tokenizer"]["pattern"]["Regex"]
        if model["type"] != "WordLevel":
            raise ValueError(f"a {model['type']} model")
        vocabulary = {str(k): int(v) for k, v in model["vocab"].items()}
        return Vocabulary(vocabulary, str(cut), vocabulary[model["unk_token"]])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: the policy's words are missing; copy them there") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{path} is no vocabulary that sonosteer made ({e!r}); copy or train the policy again"
        ) from None

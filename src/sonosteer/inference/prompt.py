"""The instruction of Paper V, Section III-F, word for word, and the words of the edge preset.

tokenizer.json is a file of the library tokenizers (a word a token, any other character one of its own). It is read
here without that library, whose wheel brings a network client along; a test holds the two readings together.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.types import Task

INSTRUCTION = (
    "You are an ultrasound expert. The target position is {target}. The insertion technique is {technique}. Control "
    "the insertion based on visibility feedback: when visibility decreases, insert with a slower speed. Stop insertion "
    "upon reaching the target."
)
TECHNIQUES = ("in-plane-static", "in-plane-moving")
TOKENIZER = "tokenizer.json"


def instruction(task: Task) -> str:
    """What the policy is told of a task; pixels of four digits, so that every instruction has as many tokens."""
    x, y = (min(max(round(v), 0), 9999) for v in task.target_px)
    return INSTRUCTION.format(target=f"({x:04d}, {y:04d})", technique=task.technique)


@dataclass(frozen=True)
class Words:
    """A vocabulary, and the pattern that cuts text into its tokens. unknown: of a character that it does not have."""

    vocabulary: dict[str, int]
    pattern: str
    unknown: int

    def encode(self, text: str) -> list[int]:
        """Text -> numbers of its tokens."""
        return [self.vocabulary.get(piece, self.unknown) for piece in re.findall(self.pattern, text)]


def read_words(path: Path) -> Words:
    """The words of a policy that sonosteer made. InputError if they are missing or another kind of tokenizer."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        model, cut = said["model"], said["pre_tokenizer"]["pattern"]["Regex"]
        if model["type"] != "WordLevel":
            raise ValueError(f"a {model['type']} model")
        vocabulary = {str(k): int(v) for k, v in model["vocab"].items()}
        return Words(vocabulary, str(cut), vocabulary[model["unk_token"]])
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: the policy's words are missing; copy them there") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} holds no words of ours ({e!r}); copy or train the policy again") from None

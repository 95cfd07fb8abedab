"""Sizes of the policy: `tiny` for tests, `edge` which ships, `base` for a GPU, and Qwen2.5-VL's own by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.learning.nets.action_tokens import Decode
from sonosteer.learning.nets.presets import QWEN


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """Shape of Qwen2.5-VL's language model. vocabulary: rows of its embedding; tied: the same rows read what comes out.

    sections: of a head's frequencies, for time, row and column.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int = 1024
    sections: tuple[int, int, int] = (8, 12, 12)
    theta: float = 1e6
    tied: bool = True
    epsilon: float = 1e-6

    def library_config(self) -> Any:
        """The library's configuration of the same shape."""
        from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

        rope = {"rope_type": "default", "rope_theta": self.theta, "mrope_section": list(self.sections)}
        return Qwen2_5_VLTextConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            rms_norm_eps=self.epsilon,
            rope_parameters=rope,
            bos_token_id=None,
            eos_token_id=None,
        )


@dataclass(frozen=True, slots=True)
class TrackerTokens:
    """What a tracker hands over: N tokens of a grid (rows, columns), then `register` tokens, `width` wide each."""

    grid: tuple[int, int]
    register: int
    width: int
    merge: int = 2

    @property
    def shape(self) -> tuple[int, int]:
        """(N + L, width)."""
        return self.grid[0] * self.grid[1] + self.register, self.width

    @property
    def merged(self) -> tuple[int, int]:
        """Grid behind the aligner."""
        return self.grid[0] // self.merge, self.grid[1] // self.merge

    @property
    def merged_register(self) -> tuple[int, int]:
        """The register as a picture of its own, as square as it gets."""
        n = self.register // self.merge**2
        rows = max((r for r in range(1, int(n**0.5) + 1) if n % r == 0), default=1)
        return rows, n // rows


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything that decides the policy's shape.

    text_tokens: of the instruction, behind which lies the first picture. vision: ids around a picture. turn: ids
    between the numbers and the answer. answer: ids of the characters that a text answer is made of. first_row: of the
    action tokens among the vocabulary's rows. decode: all numbers at once, one after the other, or as text. waves: of
    the sines beside a number's bin. checkpoint: whose weights it began with, "" for random ones.
    """

    preset: str
    llm: LanguageModel
    features: TrackerTokens = TrackerTokens((2, 2), 0, 1)
    text_tokens: int = 0
    vision: tuple[int, int] = (0, 1)
    turn: tuple[int, ...] = ()
    answer: tuple[int, ...] = ()
    first_row: int = 0
    decode: Decode = "parallel"
    waves: int = 5
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if self.decode not in ("parallel", "ar", "text"):
            raise InputError(f"model: decode is {self.decode!r}; parallel, ar and text are possible")


TINY = PolicyConfig("tiny", LanguageModel(64, 2, 2, 1, 128, sections=(4, 6, 6)))
EDGE = PolicyConfig("edge", LanguageModel(256, 3, 4, 2, 704))
BASE = PolicyConfig("base", LanguageModel(512, 8, 8, 2, 1408))
QWEN_3B = PolicyConfig("qwen3b", LanguageModel(2048, 36, 16, 2, 11008, 151936, (16, 24, 24)), checkpoint=QWEN["qwen3b"])
QWEN_7B = replace(
    QWEN_3B,
    preset="qwen7b",
    llm=LanguageModel(3584, 28, 28, 4, 18944, 152064, (16, 24, 24), tied=False),
    checkpoint=QWEN["qwen7b"],
)
PRESETS = {c.preset: c for c in (TINY, EDGE, BASE, QWEN_3B, QWEN_7B)}


def policy_preset(name: str) -> PolicyConfig:
    """A preset by name. InputError if there is none."""
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]

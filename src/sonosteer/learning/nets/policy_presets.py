"""Sizes of the policy: `tiny` for tests, `edge` which ships, `base` for a GPU, and Qwen2.5-VL's own by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.learning.nets.action_tokens import Decode
from sonosteer.learning.nets.presets import QWEN


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """Shape of Qwen2.5-VL's language model."""

    width: int
    """Width of a token: number of channels."""
    layers: int
    """Number of layers."""
    heads: int
    """Number of attention heads that ask."""
    kv_heads: int
    """Number of attention heads that answer (keys and values)."""
    mlp: int
    """Width of the hidden layer in a layer's MLP: number of channels."""
    vocabulary: int = 1024
    """Number of rows of the embedding."""
    sections: tuple[int, int, int] = (8, 12, 12)
    """Number of a head's frequencies that turn by time, row and column."""
    theta: float = 1e6
    """Base of the rotary frequencies, no unit."""
    tied: bool = True
    """Whether the rows of the embedding also read the output."""
    epsilon: float = 1e-6
    """Small number in the norms, no unit."""

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
    """Shape of what a tracker hands over: N tokens of a grid, then its register."""

    grid: tuple[int, int]
    """Number of rows and columns of the grid."""
    register: int
    """Number of register tokens."""
    width: int
    """Width of a token: number of channels."""
    merge: int = 2
    """Number of neighbours along each axis that the aligner merges to one."""

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
    """Everything that decides the policy's shape."""

    preset: str
    """Name of the preset that it began as."""
    llm: LanguageModel
    """Shape of the language model."""
    features: TrackerTokens = TrackerTokens((2, 2), 0, 1)
    """Shape of what the tracker hands over."""
    text_tokens: int = 0
    """Number of tokens of the instruction. The first picture lies behind them."""
    vision: tuple[int, int] = (0, 1)
    """Token ids before and after a picture."""
    turn: tuple[int, ...] = ()
    """Token ids between the numbers and the answer."""
    answer: tuple[int, ...] = ()
    """Token ids of the characters that a text answer is made of."""
    first_row: int = 0
    """Row of the vocabulary where the action tokens begin, an index."""
    decode: Decode = "parallel"
    """parallel: all numbers at once. ar: one after the other. text: as characters."""
    waves: int = 5
    """Number of sines beside a number's bin."""
    checkpoint: str = ""
    """Checkpoint whose weights it began with. Empty: random weights."""

    def __post_init__(self) -> None:
        if self.decode not in ("parallel", "ar", "text"):
            raise InputError(f"model: decode is {self.decode!r}; parallel, ar and text are possible")


POLICY_TINY = PolicyConfig("tiny", LanguageModel(width=64, layers=2, heads=2, kv_heads=1, mlp=128, sections=(4, 6, 6)))
POLICY_EDGE = PolicyConfig("edge", LanguageModel(width=256, layers=3, heads=4, kv_heads=2, mlp=704))
POLICY_BASE = PolicyConfig("base", LanguageModel(width=512, layers=8, heads=8, kv_heads=2, mlp=1408))
POLICY_QWEN_3B = PolicyConfig(
    "qwen3b",
    LanguageModel(width=2048, layers=36, heads=16, kv_heads=2, mlp=11008, vocabulary=151936, sections=(16, 24, 24)),
    checkpoint=QWEN["qwen3b"],
)
POLICY_QWEN_7B = PolicyConfig(
    "qwen7b",
    LanguageModel(
        width=3584,
        layers=28,
        heads=28,
        kv_heads=4,
        mlp=18944,
        vocabulary=152064,
        sections=(16, 24, 24),
        tied=False,
    ),
    checkpoint=QWEN["qwen7b"],
)
POLICY_PRESETS = {c.preset: c for c in (POLICY_TINY, POLICY_EDGE, POLICY_BASE, POLICY_QWEN_3B, POLICY_QWEN_7B)}


def policy_preset(name: str) -> PolicyConfig:
    """A preset by name. Raises InputError if there is none."""
    if name not in POLICY_PRESETS:
        raise InputError(f"there is no preset {name!r}; there are: {', '.join(POLICY_PRESETS)}")
    return POLICY_PRESETS[name]

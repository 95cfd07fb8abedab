"""The policy: the language model of Qwen2.5-VL reads what the tracker's encoder saw, and says an action.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), Sections III-B and III-F. The sequence,
in the order of its architecture figure:

| tokens | edge | from |
| --- | --- | --- |
| instruction with [TARGET] and [TECH] | 67 | the vocabulary; constant in an episode: its keys and values are kept |
| image E_v | 25 | the encoder's last block through the aligner, 2 x 2 patches to one token |
| register R_tra | 2 | the same, as a picture of its own |
| robot's state, tip's box, way to the target | 14 | one token a number |
| answer | 4 slots | parallel: all four in one pass; ar: [STOP] or not, then each reads the one before; text |

The aligner is Qwen2.5-VL's merger, a copy of its own: what adapts it leaves the tracking head's alone, also where that
one reads merged tokens.

Departs from the paper: a number is the mix of its two nearest bins, plus a linear map of it and its sines. Bins that
few demonstrations visited are rough. Action tokens are the vocabulary's
free rows, kept apart so that they can learn while the text's stay. Only the rows that an answer needs are multiplied.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonosteer.inference.action_encoding import ACTION_RANGES, BINS, INPUT_RANGES
from sonosteer.learning.nets import action_tokens as tokens
from sonosteer.learning.nets.policy_presets import PolicyConfig
from sonosteer.learning.nets.qwen_text import decode_tokens, image_places, rotation, text_places
from sonosteer.learning.nets.qwen_vision import in_groups


class PolicyAnswer(NamedTuple):
    """What a policy says in a batch of moments."""

    places: Tensor
    """Angle, insertion and probe speed, (B, 3), each 0 to 1 of its range in ACTIONS. NaN: the text was no answer."""
    stop: Tensor
    """How surely it is to stop, (B,), 0 to 1."""


class PolicyNet(nn.Module):
    """The policy of a configuration, with random weights.

    llm, aligner, head: modules of the library transformers. None: new ones.
    """

    def __init__(self, config: PolicyConfig, llm: Any = None, aligner: Any = None, head: Any = None) -> None:
        super().__init__()
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPatchMerger, Qwen2_5_VLTextModel

        self.config, shape, seen = config, config.llm, config.features
        self.llm = Qwen2_5_VLTextModel(shape.library_config()) if llm is None else llm
        self.aligner = Qwen2_5_VLPatchMerger(shape.width, seen.width, seen.merge) if aligner is None else aligner
        self.head = (
            (nn.Linear(shape.width, shape.vocabulary, bias=False) if head is None else head) if not shape.tied else None
        )
        self.actions = nn.Embedding(tokens.TOKEN_ROWS, shape.width)
        self.action_head = None if shape.tied else nn.Linear(shape.width, tokens.TOKEN_ROWS, bias=False)
        self.names = nn.Embedding(len(INPUT_RANGES), shape.width)
        self.number = nn.Linear(1 + 2 * config.waves, shape.width)
        nn.init.normal_(self.names.weight, 0.0, 0.02)
        nn.init.normal_(self.number.weight, 0.0, 0.02)
        nn.init.zeros_(self.number.bias)
        self._start_rows()
        with torch.device("cpu"):
            self._turn = self._rotations()

    def _start_rows(self) -> None:
        """Free rows of the checkpoint, where there is one. Else bins that are alike where they are near."""
        with torch.no_grad():
            rows = self.actions.weight
            if self.config.checkpoint:
                first = self.config.first_row
                rows.copy_(self.llm.embed_tokens.weight[first : first + tokens.TOKEN_ROWS])
                if self.action_head is not None and self.head is not None:
                    self.action_head.weight.copy_(self.head.weight[first : first + tokens.TOKEN_ROWS])
                return
            rows.normal_(0.0, 0.02)
            cycles = torch.exp(torch.linspace(math.log(0.25), math.log(40.0), rows.shape[1]))
            phase = 2 * math.pi * torch.rand(rows.shape[1])
            at = torch.linspace(0.0, 1.0, BINS)[:, None]
            rows[:BINS] = 0.02 * math.sqrt(2.0) * torch.cos(2 * math.pi * cycles * at + phase)

    def _rotations(self) -> tuple[Tensor, Tensor]:
        """Of the whole sequence, an answer's longest included. Its places are the same in every episode."""
        config, seen = self.config, self.config.features
        parts, at = [text_places(0, config.text_tokens + 1)], config.text_tokens + 1
        for grid, after in ((seen.merged, 2), (seen.merged_register, 1 + len(INPUT_RANGES) + len(config.turn))):
            if grid[0] * grid[1]:
                parts.append(image_places(at, grid))
                at += max(grid)
            parts.append(text_places(at, after))
            at += after
        parts.append(text_places(at, tokens.MAX_TEXT + 1))
        head = config.llm.width // config.llm.heads
        return rotation(torch.cat(parts, 1), head, config.llm.sections, config.llm.theta)

    def hold_rotations(self, device: torch.device) -> None:
        """Keep them on a device, so that a pass copies nothing from the host and can be captured as a CUDA graph."""
        self._turn = (self._turn[0].to(device), self._turn[1].to(device))

    # -- the sequence ------------------------------------------------------------------------------------------

    def _run(self, x: Tensor, first: int, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        cos, sin = self._turn
        part = slice(first, first + x.shape[1])
        return decode_tokens(self.llm, x, (cos[part].to(x.device), sin[part].to(x.device)), past)

    def prefix(self, ids: Tensor) -> Tensor:
        """Instruction (B, T) -> its keys and values (layers, 2, B, heads, T, head). Computed once an episode."""
        return self._run(self.llm.embed_tokens(ids), 0)[1]

    def numbers(self, places: Tensor) -> Tensor:
        """(B, K) in 0..1 -> a token each: its two nearest bins mixed, its name, a linear map of it and its sines."""
        at = places * (BINS - 1)
        low = at.detach().floor().clamp(0, BINS - 2)
        fraction = (at - low).unsqueeze(-1)
        k = low.long()
        binned = self.actions(k) * (1 - fraction) + self.actions(k + 1) * fraction
        rates = math.pi * 2.0 ** torch.arange(self.config.waves, device=places.device, dtype=places.dtype)
        waves = places.unsqueeze(-1) * rates
        said = torch.cat([2 * places.unsqueeze(-1) - 1, waves.sin(), waves.cos()], -1)
        out: Tensor = binned + self.number(said.to(self.number.weight.dtype)) + self.names.weight
        return out

    def aligned(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the tracker's encoder saw (B, N + L, width) -> image (B, N / 4, own width), register (B, L / 4, ...)."""
        seen = self.config.features
        n = seen.grid[0] * seen.grid[1]
        each = (in_groups(features[:, :n], seen.grid, seen.merge), features[:, n:])
        out = [
            self.aligner(x.reshape(-1, seen.width)).view(len(x), -1, self.config.llm.width) for x in each if x.shape[1]
        ]
        empty = out[0][:, :0]
        return out[0], out[1] if len(out) > 1 else empty

    def suffix(self, features: Tensor, numbers: Tensor) -> Tensor:
        """All tokens between instruction and answer."""
        image, register = self.aligned(features.to(self.aligner.mlp[0].weight.dtype))
        b = len(image)

        def words(*ids: int) -> Tensor:  # row by row: a list of them would be copied from the host each time
            rows = self.llm.embed_tokens.weight
            return torch.cat([rows[:0], *(rows[i : i + 1] for i in ids)]).expand(b, -1, -1)

        first, last = self.config.vision
        said = self.numbers(numbers).to(image.dtype)
        return torch.cat(
            [words(first), image, words(last, first), register, words(last), said, words(*self.config.turn)], 1
        )

    def _rows(self, count: int) -> Tensor:
        """The first action tokens' rows that read what comes out."""
        weight: Tensor = self.actions.weight if self.action_head is None else self.action_head.weight
        return weight[:count]

    def _classes(self, h: Tensor) -> Tensor:
        """Logits of a text answer's classes: its characters, STOP, END."""
        vocabulary = self.llm.embed_tokens.weight if self.head is None else self.head.weight
        own = self._rows(tokens.TOKEN_ROWS)
        return h @ torch.cat([vocabulary[list(self.config.answer)], own[[tokens.STOP_ROW, tokens.END_ROW]]]).T

    def _class_tokens(self, classes: Tensor) -> Tensor:
        """What the classes of a text answer are as tokens that are read."""
        own = self.actions.weight[[tokens.STOP_ROW, tokens.END_ROW]]
        return torch.cat([self.llm.embed_tokens.weight[list(self.config.answer)], own])[classes]

    def _slots(self, count: int, like: Tensor) -> Tensor:
        return self.actions.weight[tokens.SLOT_ROW : tokens.SLOT_ROW + count].to(like.dtype).expand(len(like), -1, -1)

    # -- learning ----------------------------------------------------------------------------------------------

    def forward(
        self, ids: Tensor, features: Tensor, numbers: Tensor, places: Tensor, text: Tensor
    ) -> dict[str, Tensor]:
        """Logits of the expert's answer, whose earlier parts are given where the decoding reads them.

        places: (B, 3) of the answer. text: (B, LONGEST) its classes, -1 behind their end. Returns `bins` (B, 3, 256)
        and `stop` (B,), or `text` (B, LONGEST, classes).
        """
        tasks, which = torch.unique(ids, dim=0, return_inverse=True)  # an instruction's keys serve all its moments
        before = self.suffix(features, numbers)
        answer = self._slots(tokens.SLOTS, before)
        if self.config.decode == "ar":
            given = places[:, :-1]
            if self.training:  # it will read its own numbers, which are as near as the labels are wide
                given = given + torch.randn_like(given) * tokens.SIGMA / (BINS - 1)
            said = self.actions(tokens.bin_of(given)).to(before.dtype)
            answer = torch.cat([answer[:, -1:], answer[:, :1], said], 1)
        elif self.config.decode == "text":
            answer = torch.cat([answer[:, :1], self._class_tokens(text[:, :-1].clamp(min=0)).to(before.dtype)], 1)
        kept = self.prefix(tasks)[:, :, which]
        x = torch.cat([before, answer], 1)
        h = self._run(x, self.config.text_tokens, kept)[0][:, before.shape[1] :]
        if self.config.decode == "text":
            return {"text": self._classes(h)}
        return self._read(h)

    def _read(self, h: Tensor) -> dict[str, Tensor]:
        logits = h @ self._rows(BINS + 1).T
        if self.config.decode == "ar":  # whether it is over comes first: numbers of a stop must not give it away
            return {"bins": logits[:, 1:, :BINS], "stop": tokens.stop_logit(logits[:, 0])}
        return {"bins": logits[:, :-1, :BINS], "stop": tokens.stop_logit(logits[:, -1])}

    def loss(
        self, raw: dict[str, Tensor], places: Tensor, stop: Tensor, text: Tensor, stop_weight: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, its parts by name) of a batch."""
        if self.config.decode == "text":
            each = F.cross_entropy(raw["text"].transpose(1, 2), text.long(), ignore_index=-1, reduction="none")
            worth = 1 + (stop_weight - 1) * stop
            parts = {"text": (each.sum(1) / (text >= 0).sum(1) * worth).sum() / worth.sum()}
        else:
            parts = tokens.losses(raw["bins"], raw["stop"], places, stop, stop_weight)
        return torch.stack(list(parts.values())).sum(), parts

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW: no decay on gains, biases and tokens."""
        kinds: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, p in self.named_parameters():
            if p.requires_grad:
                kinds[p.ndim > 1 and "actions" not in name and "names" not in name and "embed" not in name].append(p)
        return [
            {"params": params, "lr": lr, "base_lr": lr, "weight_decay": weight_decay if decays else 0.0}
            for decays, params in kinds.items()
            if params
        ]

    # -- acting ------------------------------------------------------------------------------------------------

    def act(self, prefix: Tensor, features: Tensor, numbers: Tensor) -> PolicyAnswer:
        """What is kept of an instruction, features (B, N + L, width), numbers (B, K) -> an answer."""
        before = self.suffix(features, numbers)
        how = {"parallel": self._act_parallel, "ar": self._act_in_turn, "text": self._act_in_words}
        return how[self.config.decode](before, prefix)

    def _act_parallel(self, before: Tensor, prefix: Tensor) -> PolicyAnswer:
        x = torch.cat([before, self._slots(tokens.SLOTS, before)], 1)
        raw = self._read(self._run(x, self.config.text_tokens, prefix)[0][:, before.shape[1] :])
        return PolicyAnswer(tokens.read_out(raw["bins"].float()), raw["stop"].float().sigmoid())

    def _act_in_turn(self, before: Tensor, prefix: Tensor) -> PolicyAnswer:
        slots = self._slots(tokens.SLOTS, before)
        h, past = self._run(torch.cat([before, slots[:, -1:]], 1), self.config.text_tokens, prefix)
        stop = tokens.stop_logit((h[:, -1] @ self._rows(BINS + 1).T).float())
        x, first, places = slots[:, :1], self.config.text_tokens + before.shape[1] + 1, []
        for _ in ACTION_RANGES:
            h, past = self._run(x, first, past)
            place = tokens.read_out((h[:, -1] @ self._rows(BINS).T).float())
            places.append(place)
            first += 1
            x = self.actions(tokens.bin_of(place)).to(before.dtype)[:, None]
        return PolicyAnswer(torch.stack(places, 1), stop.sigmoid())

    def _act_in_words(self, before: Tensor, prefix: Tensor) -> PolicyAnswer:
        x, first, past = torch.cat([before, self._slots(1, before)], 1), self.config.text_tokens, prefix
        said: list[Tensor] = []
        stop = before.new_zeros(len(before))
        for k in range(tokens.MAX_TEXT):
            h, past = self._run(x, first, past)
            logits = self._classes(h[:, -1]).float()
            if k == 0:
                stop = logits.softmax(-1)[:, tokens.STOP_CLASS]
                logits = logits.index_fill(1, logits.new_tensor([tokens.STOP_CLASS]).long(), -torch.inf)
            said.append(logits.argmax(-1))
            if all(tokens.END_CLASS in each for each in torch.stack(said, 1).tolist()):
                break
            first += x.shape[1]
            x = self._class_tokens(said[-1])[:, None].to(before.dtype)
        answers = [
            each[: each.index(tokens.END_CLASS)] if tokens.END_CLASS in each else []
            for each in torch.stack(said, 1).tolist()
        ]
        none = (math.nan,) * len(ACTION_RANGES)
        return PolicyAnswer(before.new_tensor([tokens.from_text(a) or none for a in answers]), stop)

"""A policy on disk: a folder with config.json, model.safetensors, its words, its card, and graphs where it has some."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sonosteer.core.config import from_dict, parse_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.inference.action_encoding import INPUT_RANGES
from sonosteer.inference.policy_network import ARCHITECTURE
from sonosteer.inference.prompt import TOKENIZER
from sonosteer.learning.checkpoints.graphs import GraphJob, write_graphs
from sonosteer.learning.checkpoints.tokenizer import Language, checkpoint_language, own_language, write_words
from sonosteer.learning.checkpoints.tracking import CONFIG, WEIGHTS, read_weights
from sonosteer.learning.nets.policy import PolicyNet
from sonosteer.learning.nets.policy_presets import LanguageModel, PolicyConfig


def save_policy(net: PolicyNet, language: Language, folder: Path, about: dict[str, Any], *, half: bool = False) -> None:
    """Write configuration, words, weights (half: in 16 bit) and what was done to get them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    said = {"architecture": ARCHITECTURE, "model": to_dict(net.config), "about": about}
    (folder / CONFIG).write_text(json.dumps(said, indent=1) + "\n")
    language.keep(folder)
    kind = torch.float16 if half else torch.float32
    state = {k: v.detach().to("cpu", kind).contiguous() for k, v in net.state_dict().items()}
    fresh = folder / (WEIGHTS + ".new")
    save_file(state, fresh, metadata={"format": "pt", "preset": net.config.preset})
    fresh.chmod(0o644)
    fresh.replace(folder / WEIGHTS)


def load_policy(folder: Path) -> tuple[PolicyNet, Language, dict[str, Any]]:
    """(network, its language, what was done). Raises InputError for what is no whole policy of ours."""
    try:
        said = parse_json((folder / CONFIG).read_text(), folder / CONFIG)
    except FileNotFoundError:
        raise InputError(f"{folder} holds no policy: it has no {CONFIG}; train one: sonosteer train policy") from None
    except (OSError, ValueError) as e:
        raise InputError(f"{folder / CONFIG} cannot be read: {e}") from None
    if said.get("architecture") != ARCHITECTURE:
        raise InputError(
            f"{folder} holds another model ({said.get('architecture')}); train one: sonosteer train policy"
        )
    config = from_dict(PolicyConfig, said["model"], f"{folder / CONFIG}")
    if config.checkpoint:
        language = checkpoint_language(str(folder), config.llm.vocabulary)
        config = dataclasses.replace(config, checkpoint="")  # the weights come from the folder, rows included
        net = PolicyNet(config)
        net.config = from_dict(PolicyConfig, said["model"], f"{folder / CONFIG}")
    else:
        language, net = own_language(folder), PolicyNet(config)
    state, own = read_weights(folder / WEIGHTS), net.state_dict()
    wrong = [k for k in own if k not in state or state[k].shape != own[k].shape]
    if wrong:
        raise InputError(
            f"{folder / WEIGHTS} holds the weights of another policy: {wrong[0]} does not fit; copy it again"
        )
    net.load_state_dict({k: state[k].to(own[k].dtype) for k in own})
    return net.eval(), language, said.get("about", {})


def fresh_policy(config: PolicyConfig) -> tuple[PolicyNet, Language]:
    """A policy to begin with: random weights and the own vocabulary, or a Qwen2.5-VL checkpoint's model and aligner."""
    if config.checkpoint:
        return _from_qwen(config)
    with tempfile.TemporaryDirectory() as folder:
        write_words(Path(folder) / TOKENIZER)
        text = (Path(folder) / TOKENIZER).read_bytes()
        language = own_language(Path(folder))

    def keep(to: Path) -> None:
        (to / TOKENIZER).write_bytes(text)

    language = dataclasses.replace(language, keep=keep)
    return PolicyNet(language.fit(config)), language


def _from_qwen(config: PolicyConfig) -> tuple[PolicyNet, Language]:
    from transformers import Qwen2_5_VLForConditionalGeneration

    try:
        whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(config.checkpoint, dtype="auto")
    except (OSError, ValueError, RuntimeError) as e:
        raise InputError(f"the weights of {config.checkpoint} cannot be loaded: {str(e).splitlines()[0]}") from None
    text = whole.config.get_text_config()
    rope = text.rope_parameters
    tied = bool(whole.config.tie_word_embeddings)
    time, row, column = rope["mrope_section"]
    shape = LanguageModel(
        width=text.hidden_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        mlp=text.intermediate_size,
        vocabulary=whole.model.language_model.embed_tokens.num_embeddings,
        sections=(time, row, column),
        theta=float(rope["rope_theta"]),
        tied=tied,
        epsilon=float(text.rms_norm_eps),
    )
    language = checkpoint_language(config.checkpoint, shape.vocabulary)
    fitting = language.fit(dataclasses.replace(config, llm=shape))
    head = None if tied else whole.lm_head
    kind = next(whole.parameters()).dtype
    return PolicyNet(fitting, whole.model.language_model, whole.model.visual.merger, head).to(kind), language


class _Prefix(nn.Module):
    def __init__(self, net: PolicyNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.net.prefix(ids)


class _Action(nn.Module):
    def __init__(self, net: PolicyNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, prefix: torch.Tensor, features: torch.Tensor, numbers: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        said = self.net.act(prefix, features[None], numbers[None])
        return said.places[0], said.stop[0]


def export_policy(net: PolicyNet, folder: Path) -> None:
    """Write prefix.onnx and action.onnx beside the weights, for parallel decoding only.

    prefix.onnx: ids (1, T) -> prefix (layers, 2, 1, heads, T, head). action.onnx: that, features (N + L, width) and
    numbers (K,) in 0..1 -> places (3,) in 0..1 and stop.
    """
    net.eval()
    ids = torch.zeros(1, net.config.text_tokens, dtype=torch.long)
    with torch.no_grad():
        prefix = net.prefix(ids)
    example = (prefix, torch.zeros(net.config.features.shape), torch.full((len(INPUT_RANGES),), 0.5))
    jobs = [
        GraphJob("prefix.onnx", _Prefix(net), (ids,), ("ids",), ("prefix",)),
        GraphJob("action.onnx", _Action(net), example, ("prefix", "features", "numbers"), ("places", "stop")),
    ]
    write_graphs(net, folder, jobs)

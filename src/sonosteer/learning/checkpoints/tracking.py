"""A tracking network on disk: a folder with config.json, model.safetensors and a card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonosteer.core.config import from_dict, parse_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.learning.nets.face import TipNet
from sonosteer.learning.nets.presets import Tower, TrackingConfig
from sonosteer.learning.nets.vla import VlaTracker

CONFIG, WEIGHTS, MODEL_CARD = "config.json", "model.safetensors", "README.md"


def save_pretrained(net: VlaTracker, folder: Path, about: dict[str, Any], *, half: bool = False) -> None:
    """Write configuration, weights (half: in 16 bit) and what was done to get them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"architecture": "sonosteer-vla-tracking", "model": to_dict(net.config), "about": about}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    kind = torch.float16 if half else torch.float32
    state = {k: v.detach().to("cpu", kind).contiguous() for k, v in net.state_dict().items()}
    fresh = folder / (WEIGHTS + ".new")
    save_file(state, fresh, metadata={"format": "pt", "preset": net.config.preset})
    fresh.chmod(0o644)
    fresh.replace(folder / WEIGHTS)


def read_config(folder: Path) -> tuple[TrackingConfig, dict[str, Any]]:
    """(shape, what was done) of a saved network. Raises InputError if it is none of ours."""
    try:
        said = parse_json((folder / CONFIG).read_text(), folder / CONFIG)
    except FileNotFoundError:
        raise InputError(f"{folder} holds no model: it has no {CONFIG}; train one: sonosteer train tracking") from None
    except (OSError, ValueError) as e:
        raise InputError(f"{folder / CONFIG} cannot be read: {e}") from None
    if said.get("architecture") != "sonosteer-vla-tracking":
        raise InputError(
            f"{folder} holds a checkpoint of another model ({said.get('architecture') or said.get('model_type')}); "
            "Qwen2.5-VL's own are named by --preset qwen3b or qwen7b, or by --checkpoint FOLDER"
        )
    return from_dict(TrackingConfig, said["model"], f"{folder / CONFIG}"), said.get("about", {})


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError if it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
        return weights
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: the model's weights are missing; copy them there") from None
    except (SafetensorError, OSError) as e:
        raise InputError(f"{path} is damaged or no safetensors file ({e}); copy or train it again") from None


def load_into(net: TipNet, state: dict[str, Tensor], where: Path, *, only: str = "") -> None:
    """Copy weights (of the parts whose names begin with `only`). Raises InputError if they do not fit."""
    own = {k: v for k, v in net.state_dict().items() if k.startswith(only)}
    missing = [k for k in own if k not in state]
    wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
    if missing or wrong:
        what = f"{missing[0]} is missing" if missing else f"{wrong[0]} has shape {tuple(state[wrong[0]].shape)}"
        raise InputError(f"{where} holds the weights of another model: {what}; check --preset and --set")
    net.load_state_dict({k: state[k].to(own[k].dtype) for k in own}, strict=False)


def from_pretrained(folder: Path, **changes: Any) -> VlaTracker:
    """A network as saved by `save_pretrained`. changes: fields of its configuration to replace."""
    config, _ = read_config(folder)
    net = VlaTracker(dataclasses.replace(config, **changes))
    load_into(net, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    return net.eval()


def tower_of(checkpoint: str) -> Tower:
    """Shape of the vision tower of a Qwen2.5-VL checkpoint, by name or folder. Raises InputError if there is none."""
    from transformers import AutoConfig

    try:
        library = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError) as e:
        first = str(e).split("\n")[0]
        raise InputError(
            f"there is no Qwen2.5-VL checkpoint {checkpoint!r} ({first}); name a folder with one"
        ) from None
    if library.model_type != "qwen2_5_vl":
        raise InputError(f"{checkpoint} is a {library.model_type}, but a qwen2_5_vl is needed")
    v = library.vision_config
    return Tower(
        width=v.hidden_size,
        depth=v.depth,
        heads=v.num_heads,
        mlp=v.intermediate_size,
        patch=v.patch_size,
        merge=v.spatial_merge_size,
        window_px=v.window_size,
        full_blocks=tuple(v.fullatt_block_indexes),
        out=v.out_hidden_size,
        stem="linear",
    )


def from_qwen(config: TrackingConfig) -> VlaTracker:
    """A network around the vision tower of config.checkpoint, whose shape config.tower has. Register and head are new.

    Raises InputError if its weights cannot be loaded.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    try:
        whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(config.checkpoint, dtype="auto")
    except (OSError, ValueError, RuntimeError) as e:
        raise InputError(f"the weights of {config.checkpoint} cannot be loaded: {str(e).splitlines()[0]}") from None
    return VlaTracker(config, whole.model.visual)

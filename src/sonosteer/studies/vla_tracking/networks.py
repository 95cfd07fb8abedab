"""The networks that the study trains: our network, the seven compared ones, and our network with parts changed.

Every compared network sees the same number of samples, drawn from the same videos by the same seed, in the same crops,
under the same optimiser. Ours spends two thirds of its samples on its encoder (stage 0), which then is frozen, and one
third on register and head. LoRAT, which the paper's authors freeze, too, gets the same encoder and the rest of the
samples. The ablations share that encoder, but for two: without stage 0 and without the pair of frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sonosteer.core.config import save_json
from sonosteer.datasets.videos import DataSet
from sonosteer.learning.checkpoints.tracking import from_pretrained, load_into, read_weights, save_pretrained
from sonosteer.learning.nets.face import TipNet
from sonosteer.learning.nets.presets import TrackingConfig
from sonosteer.learning.nets.table import NETS
from sonosteer.learning.nets.vla import VlaTracker
from sonosteer.learning.training.fit import Schedule, train_tip_network
from sonosteer.learning.training.options import Device
from sonosteer.learning.training.tracking_stages import samplers_for, take_encoder

SEVEN = ("siamrpn++", "siamcar", "siamban", "swintrack", "stmtrack", "mixformer", "lorat")
ENCODER, ENCODER_SINGLE = "encoder", "encoder, present frame only"


@dataclass(frozen=True, slots=True)
class Network:
    """One network to train."""

    name: str
    """Name in the tables."""
    net: str = "vla"
    """Architecture, by its name in the table of networks."""
    stage: str = "whole"
    """whole: all of it learns. encoder: all, without a register. head: all but the encoder."""
    encoder: str = ""
    """Network whose encoder it takes. random: none, left as it falls. Empty: its own."""
    fraction: float = 1.0
    """Fraction of the study's samples that it sees, 0 to 1."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration that are changed, by name."""

    @property
    def folder(self) -> str:
        """As a file system likes it."""
        return "".join(c if c.isalnum() else "-" for c in self.name)


def networks(*, quick: bool) -> list[Network]:
    """All of them, in the order of their training."""
    out = [
        Network(ENCODER, stage="encoder", fraction=2 / 3, model={"register": 0}),
        Network("vla", stage="head", encoder=ENCODER, fraction=1 / 3),
        *(Network(name, net=name) for name in SEVEN[:-1]),
        Network("lorat", net="lorat", encoder=ENCODER, fraction=1 / 3),
    ]
    if quick:
        return [n for n in out if n.name in (ENCODER, "vla", "siamcar")]
    third: dict[str, Any] = {"stage": "head", "encoder": ENCODER, "fraction": 1 / 3}
    return [
        *out,
        *(Network(f"register {n}", **third, model={"register": n}) for n in (4, 16, 32)),
        Network("no register", **third, model={"register": 0}),
        Network("only shallow", **third, model={"taps": "shallow"}),
        Network("only deep", **third, model={"taps": "deep"}),
        Network("fusion over positions", **third, model={"fusion": "position"}),
        Network("no stage 0", stage="head", encoder="random", fraction=1 / 3),
        Network(ENCODER_SINGLE, stage="encoder", fraction=2 / 3, model={"register": 0, "pair": False}),
        Network("present frame only", stage="head", encoder=ENCODER_SINGLE, fraction=1 / 3, model={"pair": False}),
    ]


def build_study_network(network: Network, base: TrackingConfig, folder: Path, seed: int) -> TipNet:
    """The network with its first weights. Its encoder's come from the folder of the network that it names."""
    torch.manual_seed(seed)
    encoder = folder / Network(network.encoder).folder if network.encoder not in ("", "random") else None
    if network.net != "vla":
        more = {"encoder": encoder} if network.net == "lorat" else {}
        made: TipNet = NETS.load(network.net)(base.search_px, base.template_px, **more)
        return made
    net = VlaTracker(dataclasses.replace(base, **network.model))
    if encoder is not None:
        take_encoder(net, encoder)
    if network.stage == "head":
        net.freeze_encoder()
    return net


def train_study_network(
    network: Network,
    *,
    data: DataSet,
    folder: Path,
    base: TrackingConfig,
    samples: int,
    batch: int,
    seed: int,
    device: Device,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Train one network into folder/NAME. Goes on where it stopped, and does nothing where it is done."""
    from safetensors.torch import save_file

    out = folder / network.folder
    net = build_study_network(network, base, folder, seed)
    steps = max(round(samples * network.fraction / batch), 1)
    look = max(steps // 6, 20)
    schedule = Schedule(
        steps=steps,
        batch=batch,
        lr=6e-4,
        shape="cosine",
        warmup=min(100, steps // 4),
        average=0.998 if steps > 400 else 0.98,
        save_every=look,
        look_every=look,
        look_samples=min(256, samples),
    )
    train_set, held = samplers_for([data], base.search_px, base.template_px, base.scale_mm, seed)
    done = train_tip_network(
        net,
        train_set,
        held,
        schedule,
        out,
        seed=seed,
        device=device,
        progress=lambda stage, at, total: progress(f"training {network.name}", at, total),
    )
    whole = sum(p.numel() for p in net.parameters())
    looked = done["log"][-1]["mean_mm"] if done["log"] else None
    about = {**done, "network": network.name, "parameters": whole, "validation_mean_mm": looked}
    if isinstance(net, VlaTracker):
        save_pretrained(net, out, {k: v for k, v in about.items() if k != "log"})
    else:
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, out / "model.safetensors")
    save_json(about, out / "training.json")
    return about


def load_study_network(network: Network, base: TrackingConfig, folder: Path) -> TipNet:
    """A trained network. Raises InputError if it is not there."""
    out = folder / network.folder
    if network.net == "vla":
        return from_pretrained(out)
    net = build_study_network(network, base, folder, 0)
    load_into(net, read_weights(out / "model.safetensors"), out / "model.safetensors")
    return net.eval()

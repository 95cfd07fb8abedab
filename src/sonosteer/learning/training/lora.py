"""Low-rank adaptation (Hu et al., LoRA, 2021) of a policy's language model and aligner, by the library peft.

Zhang et al. 2026, stage 2: these and nothing else learn. Vision encoder, register and tracking head are not even part
of the policy, which reads their features. Only where the action tokens are new, beside a published checkpoint, must
they and the numbers' map learn as well.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sonosteer.core.errors import MissingExtraError
from sonosteer.learning.nets.policy import PolicyNet

TARGETS = r"llm\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)|aligner\.mlp\.(0|2)"
#: what a published checkpoint has not learnt
NEW = ("actions.", "action_head.", "names.", "number.")


def adapt(net: PolicyNet, rank: int, *, new: bool = False) -> None:
    """Freeze all, put adapters beside the linear layers. new: the action tokens and numbers learn, too.

    Raises MissingExtraError without peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("adapting a policy", "peft", "vla") from None
    net.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS), net)
    for name, p in net.named_parameters():
        p.requires_grad_("lora_" in name or (new and name.startswith(NEW)))


def adapter_of(net: PolicyNet) -> dict[str, Tensor]:
    """The adapters' weights alone, by name."""
    return {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items() if "lora_" in k}


def merge(net: PolicyNet) -> None:
    """Add the adapters to the layers that they stand beside, and take them away."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(net.named_modules()):
        if isinstance(module, LoraLayer):
            adapted: Any = module
            adapted.merge()
            parent, _, last = name.rpartition(".")
            owner = net.get_submodule(parent)
            if isinstance(owner, nn.Sequential):
                owner[int(last)] = adapted.base_layer
            else:
                setattr(owner, last, adapted.base_layer)
    if hasattr(net, "peft_config"):
        del net.peft_config
    net.requires_grad_(True)

"""A trained policy run by PyTorch, behind the face that `policies/vla.py` knows: for GPUs, and for other decodings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sonosteer.core.arrays import F32
from sonosteer.inference.policy_network import PolicyReply
from sonosteer.learning.checkpoints.policy import load_policy
from sonosteer.learning.checkpoints.tokenizer import Language
from sonosteer.learning.nets.policy import PolicyNet


class TorchPolicyNetwork:
    """Answers with `net` on its own device."""

    def __init__(self, net: PolicyNet, language: Language) -> None:
        self.net, self.language = net.eval(), language
        self.features_shape = net.config.features.shape
        weight = net.llm.embed_tokens.weight
        self._device, self._kind = weight.device, weight.dtype

    @torch.inference_mode()
    def begin(self, text: str) -> F32:
        """Keys and values of an instruction."""
        ids = torch.tensor([self.language.encode(text)], device=self._device)
        kept: F32 = self.net.prefix(ids).float().cpu().numpy()
        return kept

    @torch.inference_mode()
    def act(self, prefix: F32, features: F32, numbers: F32) -> PolicyReply:
        """One action."""
        kept = torch.from_numpy(np.array(prefix)).to(self._device, self._kind)
        seen, said = (torch.from_numpy(np.array(v)).to(self._device)[None] for v in (features, numbers))
        answer = self.net.act(kept, seen, said)
        angle, insertion, probe = answer.places[0].tolist()
        return PolicyReply((angle, insertion, probe), float(answer.stop[0]))


def load_torch_policy(folder: Path, threads: int = 1) -> TorchPolicyNetwork:
    """The policy in a folder, on the GPU where there is one."""
    net, language, _ = load_policy(folder)
    if torch.cuda.is_available():
        net = net.to("cuda")
    else:
        torch.set_num_threads(threads)
    return TorchPolicyNetwork(net, language)

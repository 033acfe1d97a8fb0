"""`torch.compile`, made ready before it compiles."""

from __future__ import annotations

import torch._dynamo
import torch._inductor.config
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch._inductor.exc import InvalidCxxCompiler

from benchsuite.errors import UnavailableError, first_line


def require_compiler(device: str) -> None:
    """Raise UnavailableError where what `torch.compile` gives would not be compiled, or cannot be.

    On the CPU the width of the vectors becomes part of the key under which Inductor keeps kernels on disk. Left to
    itself it takes those that were made under another `ATEN_CPU_CAPABILITY`, and they write past their memory.
    """
    dynamo = torch._dynamo.config
    if dynamo.disable or dynamo.suppress_errors:
        raise UnavailableError(
            "torch.compile would run uncompiled: it is switched off (TORCH_COMPILE_DISABLE), or told to pass over what "
            "it cannot compile (TORCHDYNAMO_SUPPRESS_ERRORS); unset these"
        )
    if torch.device(device).type == "cpu":
        try:
            torch._inductor.config.cpp.simdlen = pick_vec_isa().bit_width()
        except InvalidCxxCompiler as error:
            raise UnavailableError(f"torch.compile finds no compiler: {first_line(error)}; install g++") from error

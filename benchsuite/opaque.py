"""Functions that `torch.compile` calls as they are, without looking inside.

Inductor of PyTorch 2.13 cannot take a weight in oneDNN's own layout that is no constant of the graph, it turns
`torch._int_mm` by a vector into a kernel whose result is wrong, and it calls the 4-bit product of a nested region with
a group size that is a tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
_LIBRARY = torch.library.Library("benchsuite", "FRAGMENT")  # type: ignore[no-untyped-call]


def opaque(shaped: Callable[..., Tensor]) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Make a function from tensors to a new tensor an operator to compilers; `shaped` gives an empty result for it.

    Outside of a compiler, and where gradients are wanted, the function is called directly. `torch.library.custom_op`
    would do the same, with twenty microseconds more in every call.
    """

    def wrap(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
        name = function.__name__.strip("_")
        schema = torch.library.infer_schema(function, mutates_args=())
        _LIBRARY.define(name + schema)  # type: ignore[no-untyped-call]
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"benchsuite::{name}", shaped, lib=_LIBRARY)
        operator: Callable[P, Tensor] = getattr(torch.ops.benchsuite, name).default

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            if torch.compiler.is_compiling() and not torch.is_grad_enabled():
                return operator(*args, **kwargs)
            return function(*args, **kwargs)

        return call

    return wrap

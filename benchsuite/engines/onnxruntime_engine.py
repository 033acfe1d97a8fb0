"""ONNX Runtime: GPT-2 as a graph with its KV cache as inputs and outputs, written from the weights, no exporter.

In int8 the products are those of `onnxruntime.quantization.quantize_dynamic`: weights with a scale per column,
activations with a scale and a zero point per call.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from benchsuite.engines import ignore
from benchsuite.engines.source import Source
from benchsuite.models import hub_layout
from benchsuite.models.gpt2 import GPT2Config

OPSETS = {"": 20, "com.microsoft": 1}  # 20: Gelu in its tanh form; com.microsoft: attention with a cache
IR_VERSION = 9  # of opset 20


class OnnxRuntimeEngine:
    """One graph for prompts and tokens; `positions` says which hidden states get logits."""

    def __init__(self, session: Any, config: GPT2Config) -> None:
        self.session, self.config = session, config
        outputs = [output.name for output in session.get_outputs()]
        self._outputs, self._cache_names = outputs, [name.replace("present", "past") for name in outputs[1:]]

    def prefill(self, ids: Sequence[int]) -> None:
        """The logits of every position."""
        self.logits(ids)

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The logits (T, V) of every position."""
        logits, _ = self._run(np.array([ids]), self._empty(1), 0, np.arange(len(ids)))
        first: NDArray[np.float32] = logits[0]
        return first

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Greedy, one run of the graph per token; keys and values go out and in again as ONNX Runtime's own tensors."""
        tokens, cache, start = np.array(prompts), self._empty(len(prompts)), 0  # (B, T)
        found = []
        for _ in range(new_tokens):
            logits, cache = self._run(tokens, cache, start, np.array([tokens.shape[1] - 1]))
            start += tokens.shape[1]
            tokens = logits.argmax(-1)  # (B, 1)
            found.append(tokens[:, 0])
            mark()
        rows: list[list[int]] = np.stack(found, axis=1).tolist()
        return rows

    def _empty(self, rows: int) -> list[Any]:
        config = self.config
        nothing = np.zeros((rows, config.n_head, 0, config.n_embd // config.n_head), np.float32)
        return [onnxruntime.OrtValue.ortvalue_from_numpy(nothing)] * len(self._cache_names)

    def _run(
        self, ids: NDArray[Any], cache: list[Any], start: int, positions: NDArray[Any]
    ) -> tuple[NDArray[np.float32], list[Any]]:
        """Logits (B, P, V) of `positions` (P,) of ids (B, T) behind `start` tokens, and the longer cache."""
        given = {
            "input_ids": ids.astype(np.int64),
            "position_ids": np.arange(start, start + ids.shape[1], dtype=np.int64),
            "positions": positions.astype(np.int64),
        }
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        feeds |= dict(zip(self._cache_names, cache, strict=True))
        logits, *longer = self.session.run_with_ort_values(self._outputs, feeds)
        return logits.numpy(), longer


def load(source: Source, form: str, threads: int, device: str) -> OnnxRuntimeEngine:  # noqa: ARG001  the CPU only
    """The graph in fp32, or with int8 products."""
    path = plain = source.converted("onnx-fp32", lambda folder: _write(source, folder))
    if form == "int8":
        path = source.converted("onnx-int8", lambda folder: _quantize(plain, folder))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path / "model.onnx", options, providers=["CPUExecutionProvider"])
    return OnnxRuntimeEngine(session, source.config)


def _quantize(plain: Path, folder: Path) -> None:
    own = Path(shutil.copytree(plain, folder / "fp32"))  # a file is written beside what is read, which others read too
    quantize_dynamic(
        own / "model.onnx", folder / "model.onnx",
        op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True,
        use_external_data_format=True,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},  # shapes behind its own attention are not inferred
    )  # fmt: skip
    shutil.rmtree(own)


def _write(source: Source, folder: Path) -> None:
    config, state = source.read()
    graph = _Graph()
    for name, tensor in state.items():
        # a product is x @ weight here: the weight stands as (in, out)
        graph.weight(name, tensor.t() if hub_layout.is_conv1d(name) else tensor)
    graph.weight("head", state["wte.weight"].t())
    x = graph.add("Gather", ["wte.weight", "input_ids"])  # (B, T, C)
    x = graph.add("Add", [x, graph.add("Gather", ["wpe.weight", "position_ids"])])
    for layer in range(config.n_layer):
        x = graph.block(x, layer, config)
    x = graph.norm(x, "ln_f", config)
    logits = graph.add("MatMul", [graph.add("Gather", [x, "positions"], axis=1), "head"], name="logits")

    def value(name: str, kind: int, shape: list[int | str]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def cache(when: str, length: str) -> list[Any]:
        shape: list[int | str] = ["rows", config.n_head, length, config.n_embd // config.n_head]
        return [
            value(f"{when}.{layer}.{part}", TensorProto.FLOAT, shape)
            for layer in range(config.n_layer)
            for part in ("key", "value")
        ]

    inputs = [
        value("input_ids", TensorProto.INT64, ["rows", "tokens"]),
        value("position_ids", TensorProto.INT64, ["tokens"]),
        value("positions", TensorProto.INT64, ["wanted"]),
        *cache("past", "seen"),
    ]
    outputs = [value(logits, TensorProto.FLOAT, ["rows", "wanted", config.vocab_size]), *cache("present", "all")]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "gpt2", inputs, outputs, graph.weights),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
    )
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights")


class _Graph:
    """Nodes and weights in the making."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, tensor: Tensor) -> None:
        """Keep a weight by name."""
        self.weights.append(numpy_helper.from_array(tensor.float().contiguous().numpy(), name))

    def add(self, operator: str, inputs: list[str], *, name: str = "", more: Sequence[str] = (), **said: Any) -> str:
        """A node; the name of its first output (`name`, or one of its own), `more` being the others."""
        name = name or f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name, *more], name=f"node:{name}", **said))
        return name

    def norm(self, x: str, name: str, config: GPT2Config) -> str:
        """A layer norm over the width."""
        epsilon = config.layer_norm_epsilon
        return self.add("LayerNormalization", [x, f"{name}.weight", f"{name}.bias"], axis=-1, epsilon=epsilon)

    def linear(self, x: str, name: str) -> str:
        """A product and its bias."""
        return self.add("Add", [self.add("MatMul", [x, f"{name}.weight"]), f"{name}.bias"])

    def block(self, x: str, layer: int, config: GPT2Config) -> str:
        """Attention over what was seen and what is new, then the feed-forward, each behind a norm and added."""
        name = f"h.{layer}"
        qkv = self.linear(self.norm(x, f"{name}.ln_1", config), f"{name}.attn.c_attn")  # (B, T, 3C)
        parts = [f"{name}.{part}" for part in "qkv"]
        self.add("Split", [qkv], name=parts[0], more=parts[1:], axis=-1, num_outputs=3)
        seen, now = ([f"{when}.{layer}.key", f"{when}.{layer}.value"] for when in ("past", "present"))
        y = self.add(
            "MultiHeadAttention", [*parts, "", "", "", *seen], more=now, domain="com.microsoft",
            num_heads=config.n_head, unidirectional=1,
        )  # fmt: skip
        x = self.add("Add", [x, self.linear(y, f"{name}.attn.c_proj")])
        y = self.linear(self.norm(x, f"{name}.ln_2", config), f"{name}.mlp.c_fc")
        y = self.add("Gelu", [y], approximate="tanh")
        return self.add("Add", [x, self.linear(y, f"{name}.mlp.c_proj")])

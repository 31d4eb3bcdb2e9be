"""int8 for a streaming step, with an activation scale for every row instead of one for the whole batch.

Dynamic quantisation as ONNX Runtime's tool writes it takes one scale from everything in a batch, so that a loud
stream coarsens its neighbours. Here each row of a matrix product (one frame of one stream) is divided by its own
largest magnitude, so a stream's outputs do not depend on who else is served; the weights have one scale per output.
The rows' scales leave the product again as a factor (Yao et al. 2022, "ZeroQuant", token-wise quantisation).

Recurrent layers become ONNX Runtime's int8 LSTM inside a loop over the streams: it would take its scales from the
batch too, and a stream at a time it is no slower, for its weights stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

WEIGHT_BITS = 7
"""Of range used: processors without VNNI add pairs of 8-bit products in 16 bits and saturate on more."""

_MICROSOFT = "com.microsoft"
_ZERO_POINT, _HALF_RANGE, _SMALLEST = 128, 127, 1e-8

Floats = npt.NDArray[np.float32]


def quantise(model: ModelProto, *, weight_bits: int = WEIGHT_BITS) -> ModelProto:
    """A copy whose products with constant matrices, and whose LSTMs, are computed in int8; see the module.

    Args:
        model: as `asr.model.export` writes it. Products of two activations, convolutions and GRUs stay in float.
        weight_bits: range of the weights, at most 8.
    """
    quantised = ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    weights = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    rows = _Rows(weight_bits)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            nodes += rows.product(node, weights[node.input[1]])
        elif node.op_type == "LSTM":
            nodes += rows.lstm(node, weights)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = set(_inputs(nodes))
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept + rows.initializers)
    if all(entry.domain != _MICROSOFT for entry in quantised.opset_import):
        quantised.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
    return quantised


class _Rows:
    """Makes the nodes; `initializers` collects the constants they need."""

    def __init__(self, weight_bits: int) -> None:
        self._top = 2 ** (weight_bits - 1) - 1
        self._quantised: dict[str, tuple[str, str]] = {}
        self.initializers: list[TensorProto] = []
        self._one = self._constant("rows.one", np.float32(1))
        self._step = self._constant("rows.step", np.float32(1 / _HALF_RANGE))
        self._smallest = self._constant("rows.smallest", np.float32(_SMALLEST))
        self._zero = self._constant("rows.zero", np.uint8(_ZERO_POINT))
        self._axis = self._constant("rows.axis", np.array([1], np.int64))
        self._axes = self._constant("rows.axes", np.array([1, 2], np.int64))

    def product(self, node: NodeProto, weight: npt.NDArray[np.generic]) -> list[NodeProto]:
        """``MatMul`` with a constant matrix (in, out) in int8."""
        name = node.name
        values, scales = self._weight(np.asarray(weight, np.float32), axis=0)
        nodes, (codes, step) = self._activation(node.input[0])
        inputs = [
            codes,
            self._constant(f"{name}.weight", values),
            self._one,
            self._constant(f"{name}.scale", scales),
            self._zero,
        ]
        return [
            *nodes,
            helper.make_node("MatMulIntegerToFloat", inputs, [f"{name}.product"], name=name, domain=_MICROSOFT),
            helper.make_node("Mul", [f"{name}.product", step], [node.output[0]], name=f"{name}.scaled"),
        ]

    def lstm(self, node: NodeProto, weights: dict[str, npt.NDArray[np.generic]]) -> list[NodeProto]:
        """``LSTM`` over (U, N, width) in int8, one stream at a time."""
        name = node.name
        sequence, bias, hidden, memory = node.input[0], node.input[3], node.input[5], node.input[6]
        constants = {}
        for key, matrix in (("input", weights[node.input[1]]), ("recurrent", weights[node.input[2]])):
            # (1, 4 H, K) -> (1, K, 4 H), as the int8 operator wants it.
            values, scales = self._weight(np.asarray(matrix, np.float32).transpose(0, 2, 1), axis=1)
            constants[key] = [
                self._constant(f"{name}.{key}", values),
                self._constant(f"{name}.{key}.scale", scales),
                self._constant(f"{name}.{key}.zero", np.zeros(scales.shape, np.int8)),
            ]
        (inner, *inner_scale), (recurrent, *recurrent_scale) = constants["input"], constants["recurrent"]
        width, size = weights[node.input[1]].shape[2], weights[node.input[2]].shape[2]
        inside = {part: f"{name}.{part}" for part in ("x", "h", "c", "y", "hn", "cn")}  # (T, 1, width) and the like
        one = {part: f"{value}.one" for part, value in inside.items()}  # without the axis of streams
        step = helper.make_node(
            "DynamicQuantizeLSTM",
            [
                *(inside["x"], inner, recurrent, bias, "", inside["h"], inside["c"], ""),
                *(*inner_scale, *recurrent_scale),
            ],
            [inside["y"], inside["hn"], inside["cn"]],
            name=f"{name}.step",
            domain=_MICROSOFT,
            hidden_size=size,
        )
        one_stream = helper.make_graph(
            [
                *(helper.make_node("Unsqueeze", [one[part], self._axis], [inside[part]]) for part in ("x", "h", "c")),
                step,
                helper.make_node("Squeeze", [inside["y"], self._axes], [one["y"]]),
                *(helper.make_node("Squeeze", [inside[part], self._axis], [one[part]]) for part in ("hn", "cn")),
            ],
            f"{name}.stream",
            [_floats(one["x"], None, width), _floats(one["h"], 1, size), _floats(one["c"], 1, size)],
            [_floats(one["y"], None, size), _floats(one["hn"], 1, size), _floats(one["cn"], 1, size)],
        )
        return [
            helper.make_node(
                "Scan",
                [sequence, hidden, memory],
                [f"{name}.all", *node.output[1:]],
                name=name,
                body=one_stream,
                num_scan_inputs=3,
                scan_input_axes=[1, 1, 1],
                scan_output_axes=[1, 1, 1],
            ),
            helper.make_node("Unsqueeze", [f"{name}.all", self._axis], [node.output[0]]),
        ]

    def _activation(self, value: str) -> tuple[list[NodeProto], tuple[str, str]]:
        """Nodes that turn ``value`` into codes (uint8) and the step between two codes (..., 1), once for all."""
        if value in self._quantised:
            return [], self._quantised[value]
        codes, step = f"{value}.codes", f"{value}.step"
        self._quantised[value] = codes, step
        nodes = [
            helper.make_node("Abs", [value], [f"{value}.magnitude"]),
            helper.make_node("ReduceMax", [f"{value}.magnitude"], [f"{value}.largest"], axes=[-1], keepdims=1),
            helper.make_node("Max", [f"{value}.largest", self._smallest], [f"{value}.range"]),
            helper.make_node("Mul", [f"{value}.range", self._step], [step]),
            helper.make_node("Div", [value, step], [f"{value}.steps"]),
            helper.make_node("QuantizeLinear", [f"{value}.steps", self._one, self._zero], [codes]),
        ]
        return nodes, (codes, step)

    def _weight(self, matrix: Floats, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
        """Codes and scales; ``axis`` is summed over, so that every output has a scale of its own."""
        largest = np.abs(matrix).max(axis=axis)
        scales = np.where(largest > 0, largest, 1.0) / self._top
        codes = np.rint(matrix / np.expand_dims(scales, axis))
        return codes.astype(np.int8), scales.astype(np.float32)

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _floats(name: str, *shape: int | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _inputs(nodes: Iterable[NodeProto]) -> Iterable[str]:
    """Names that nodes read, those inside loops included."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                body: GraphProto = attribute.g
                yield from _inputs(body.node)

"""The arithmetic of single operators, by hand; profiles check the sum over a whole model."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from engines.profiling.products import ort_flop, torch_flop


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "flop"),
    [
        ("MatMul", [[2, 7, 48], [48, 96]], [[2, 7, 96]], 2 * 2 * 7 * 48 * 96),
        ("FusedMatMul", [[1, 4, 7, 16], [1, 4, 7, 16]], [[1, 4, 7, 7]], 2 * 4 * 7 * 16 * 7),
        ("FusedMatMul", [[32, 4], [32, 16]], [[4, 16]], 2 * 4 * 32 * 16),  # its first factor is transposed
        ("MatMul", [[48], [48, 96]], [[96]], 2 * 48 * 96),
        ("DynamicQuantizeMatMul", [[1, 48], [96], [96], [96]], [[1, 96]], 2 * 48 * 96),  # packed weights
        ("Conv", [[1, 3, 8, 8], [32, 3, 2, 2], [32]], [[1, 32, 4, 4]], 2 * 32 * 16 * 3 * 4),
        (
            "QLinearConv",
            [[1, 8, 4, 4], [], [], [8, 1, 3, 3], []],
            [[1, 8, 4, 4]],
            2 * 8 * 16 * 9,
        ),  # depthwise
        ("Conv", [[1, 3, 8, 8]], [[1, 32, 4, 4]], None),
        ("MatMul", [], [], None),
        ("Softmax", [[1, 4, 7, 7]], [[1, 4, 7, 7]], 0),
    ],
)
def test_nodes_of_onnx_runtime(operator, inputs, outputs, flop):
    assert ort_flop(operator, inputs, outputs) == flop


def attention(heads):
    return torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)


@pytest.mark.parametrize(
    ("call", "tensors"),
    [
        (torch.mm, [(5, 48), (48, 96)]),
        (torch.bmm, [(3, 5, 48), (3, 48, 96)]),
        (torch.addmm, [(96,), (5, 48), (48, 96)]),
        (torch.baddbmm, [(3, 5, 96), (3, 5, 48), (3, 48, 96)]),
        (torch.nn.functional.linear, [(2, 5, 48), (96, 48), (96,)]),
        (torch.conv2d, [(2, 3, 9, 9), (8, 3, 3, 3)]),
        (lambda x, w: torch.conv2d(x, w, stride=2, padding=1, groups=8), [(1, 8, 9, 9), (8, 1, 3, 3)]),
        (lambda x, w: torch.conv2d(x, w, dilation=2), [(1, 8, 9, 9), (8, 8, 3, 3)]),
    ],
)  # fmt: skip
def test_operators_of_pytorch_as_its_own_counter_counts_them(call, tensors):
    inputs = [torch.zeros(shape) for shape in tensors]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        call(*inputs)
    assert profiled_flop(call, inputs) == counter.get_total_flops() > 0


def test_fused_attention_is_two_products_of_all_pairs():
    assert profiled_flop(attention, [torch.zeros(2, 4, 7, 16)]) == 2 * 2 * (2 * 4 * 7 * 7 * 16)


def profiled_flop(call, inputs):
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        call(*inputs)
    return sum(
        torch_flop(event.name, event.input_shapes, event.concrete_inputs) for event in profiler.events()
    )


@pytest.mark.parametrize(
    ("operator", "flop"),
    [("quantized::linear_dynamic", None), ("bitsandbytes::gemm_4bit", None), ("aten::gelu", 0)],
)
def test_packed_weights_do_not_tell_and_other_operators_do_nothing(operator, flop):
    assert torch_flop(operator, [[1, 8, 384], []], [None, None]) == flop

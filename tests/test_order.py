"""Where masks hold, and orders: against plain sorts."""

import pytest
import torch
from spatial_memory.memory.order import ascending, grouped, in_order
from spatial_memory.memory.which import which


@pytest.mark.parametrize("shape", [(0,), (1,), (5000,), (3, 7, 11)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_where_a_mask_holds(shape, share):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < share
    found = which(mask)
    assert found.dtype == torch.int64 and found.tolist() == [i for i, holds in enumerate(mask.flatten()) if holds]


def test_where_a_mask_holds_that_lies_otherwise_in_memory():
    mask = torch.tensor([[True, False, False], [True, True, False]])
    assert which(mask.T).tolist() == [0, 1, 3] and which(mask[:, 1]).tolist() == [1]
    assert which(mask[0].expand(2, 3)).tolist() == [0, 3]


def test_numbers_ascend():
    values = torch.randn(4000, generator=torch.Generator().manual_seed(1)).round(decimals=1)  # many are equal
    order = ascending(values)
    assert torch.equal(values[order], values.sort()[0]) and torch.equal(order.sort()[0], torch.arange(4000))
    assert torch.equal(in_order(values), values.sort()[0])
    assert ascending(values[:0]).tolist() == in_order(values[:0]).tolist() == []


@pytest.mark.parametrize("most", [7, 1 << 20])  # within what a radix sort of small numbers takes, and beyond
def test_equal_labels_come_together_in_their_order(most):
    labels = torch.randint(most, (3000,), generator=torch.Generator().manual_seed(2))
    assert torch.equal(grouped(labels), labels.argsort(stable=True))

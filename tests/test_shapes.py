"""``sizes`` binds names, checks numbers, and says what is wrong."""

import pytest
import torch
from spatial_memory.memory.shapes import sizes


def test_names_are_bound_in_order_of_first_appearance():
    assert sizes("N 3 | N C", points=torch.zeros(9, 3), latents=torch.zeros(9, 48)) == (9, 48)


def test_the_message_names_tensor_shape_and_expectation():
    with pytest.raises(ValueError, match=r"latents has shape \(7, 48\), expected \(N C\) given \{'N': 9\}"):
        sizes("N 3 | N C", points=torch.zeros(9, 3), latents=torch.zeros(7, 48))


@pytest.mark.parametrize("shape", [(9, 4), (9,), (1, 9, 3)])
def test_a_number_must_match_and_so_must_the_rank(shape):
    with pytest.raises(ValueError, match="points has shape"):
        sizes("N 3", points=torch.zeros(shape))


@pytest.mark.parametrize("batch", [(), (1,), (3, 1, 2)])
def test_leading_dots_take_any_batch(batch):
    assert sizes("... H W", depth=torch.zeros(*batch, 4, 6)) == (4, 6)


def test_dots_still_need_the_trailing_axes():
    with pytest.raises(ValueError, match=r"expected \(\.\.\. 4 4\)"):
        sizes("... 4 4", c2w=torch.zeros(4))

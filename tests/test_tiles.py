"""Observations cut into tiles: each point once, close together, and the same whether alone or with others."""

import pytest
import torch
from random_views import around, lifted, observed, random_cameras
from spatial_memory.memory.observation import tiled
from spatial_memory.memory.tiles import GROUP, TILE, compact, tiles_of


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, GROUP, GROUP + 1, 3 * GROUP + 700])
def test_tiles_hold_each_point_once_and_close_together(count):
    generator = torch.Generator().manual_seed(count)
    places = torch.rand(3, count, generator=generator)
    (order,) = compact([places])
    assert torch.equal(order.sort()[0], torch.arange(count))
    if count > 500:
        wide = [places[:, part].amax(1) - places[:, part].amin(1) for part in order.split(TILE)]
        even = (TILE / count) ** (1 / 3)  # the side of a cube that holds a tile's share
        assert torch.stack(wide).prod(1).median() < 2.5 * even**3
    o = observed(around(generator, count), random_cameras(generator, 1, 9, 13)[0])
    (tiles,) = tiles_of([o.planar], [o.camera])
    assert len(tiles) == -(-count // TILE) and torch.equal(tiles.order.long().sort()[0], torch.arange(count))


def test_tiles_that_are_made_together_are_those_that_are_made_alone():
    generator = torch.Generator().manual_seed(9)
    cameras = random_cameras(generator, 12, 13, 17)
    counts = [0, 1, 64, 65, 700, 700, 1000, GROUP, GROUP + 1, 3 * GROUP + 700, 0, 221]
    many = [
        around(generator, n) if n != 221 else lifted(generator, c).points for n, c in zip(counts, cameras, strict=True)
    ]
    alone = [tiles_of([points.T], [camera])[0] for points, camera in zip(many, cameras)]
    together = tiles_of([points.T for points in many], list(cameras))
    assert [t.ahead for t in together] == [*[False] * 11, True] and len(alone) == 12
    for mine, theirs in zip(together, alone, strict=True):
        for name in ("order", "low", "high", "hull"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert torch.equal(a, b) and a.dtype == b.dtype
            assert a.untyped_storage().nbytes() == a.numel() * a.element_size(), "no part of what others share"
    orders = compact([points.T.double() for points in many])
    for order, points in zip(orders, many, strict=True):
        assert torch.equal(order, compact([points.T.double()])[0])
        for part in order.split(TILE):
            assert (part[1:] > part[:-1]).all()
    observations = [observed(points, camera) for points, camera in zip(many, cameras)]
    kept = observations[4].tiles  # made before
    found = tiled(observations)
    assert found[4] is kept and all(torch.equal(a.order, b.order) for a, b in zip(found, alone))
    assert all(o.tiles is t for o, t in zip(observations, found, strict=True)) and tiled([]) == []


def test_groups_are_parted_at_the_middle_of_their_widest_side():
    generator = torch.Generator().manual_seed(10)
    places = torch.rand(3, 8 * TILE, generator=generator) * torch.tensor([[9.0], [4.0], [0.5]])

    def parted(index):  # the obvious way
        if len(index) <= TILE:
            return [index.sort()[0]]
        own = places[:, index]
        wide = int((own.amax(1) - own.amin(1)).argmax())
        turn = own[wide].argsort()
        return [t for half in index[turn].split(len(index) // 2) for t in parted(half)]

    assert torch.equal(compact([places])[0], torch.cat(parted(torch.arange(8 * TILE))))

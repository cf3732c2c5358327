"""Slow, obvious twins of what ``memory/`` computes: plain loops, float32 where bits are compared."""

import numpy as np

F = np.float32


def project_point(point, w2c, K):
    """One point in one camera: u, v, z in float32, the products in the order that the pack fixes."""
    x, y, z = (F(value) for value in point)
    a, b, c = (w2c[i, 0] * x + w2c[i, 1] * y + w2c[i, 2] * z + w2c[i, 3] for i in range(3))
    with np.errstate(all="ignore"):
        return a / c * K[0, 0] + K[0, 2], b / c * K[1, 1] + K[1, 2], c


def nearest(points, seniority, w2c, K, height, width):
    """Which point each cell sees: (h, w) indices, -1 = hole. ``seniority``: (chunk, frame, cell) a point."""
    winner = -np.ones((height, width), dtype=np.int64)
    best = {}
    for index, point in enumerate(points):
        u, v, z = project_point(point, w2c, K)
        if not (np.isfinite(z) and z > 0 and 0 <= u < width and 0 <= v < height):
            continue
        cell = int(np.floor(v)), int(np.floor(u))
        key = (float(z), *seniority[index])
        if cell not in best or key < best[cell]:
            best[cell], winner[cell] = key, index
    return winner


def discs(points, colours, radii, w2c, K, height, width, layers=5):
    """Nearest discs composited front to back: colours (C, h, w) and coverage (h, w). ``radii`` (N,) in pixels."""
    places = [project_point(point, w2c, K) for point in points]
    out, coverage = np.zeros((colours.shape[1], height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            over = []
            for index, (u, v, z) in enumerate(places):
                d2 = (column + 0.5 - u) ** 2 + (row + 0.5 - v) ** 2
                if np.isfinite(z) and z > 0 and d2 < radii[index] ** 2:
                    over.append((float(z), index, 1 - d2 / radii[index] ** 2))
            clear = 1.0
            for _, index, alpha in sorted(over)[:layers]:
                out[:, row, column] += clear * alpha * colours[index]
                clear *= 1 - alpha
            coverage[row, column] = 1 - clear
    return out, coverage


def one_surface(pairs, tolerance=0.05):
    """Mean of the (depth, weight) pairs near their weighted median; 0 where there is none."""
    pairs = sorted((d, w) for d, w in pairs if w > 0)
    if not pairs:
        return 0.0
    middle = median(pairs)
    near = [(d, w) for d, w in pairs if abs(d - middle) <= tolerance * middle]
    return sum(d * w for d, w in near) / sum(w for _, w in near)


def median(pairs):
    """The first depth, from near to far, that reaches half of the weight."""
    pairs = sorted((d, w) for d, w in pairs if w > 0)
    total, so_far = sum(w for _, w in pairs), 0.0
    for d, w in pairs:
        so_far += w
        if so_far >= 0.5 * total - 1e-6:
            return d
    return 0.0


def resample(depth, known, h, w, method):
    """Depth (H, W) on a grid of h x w cells, 0 where no depth that a cell looks at is known."""
    H, W = depth.shape
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            if method == "nearest":
                r, c = int((i + 0.5) * H / h), int((j + 0.5) * W / w)
                out[i, j] = depth[r, c] if known[r, c] else 0.0
                continue
            pairs = []
            if method == "bilinear":
                y, x = (i + 0.5) * H / h - 0.5, (j + 0.5) * W / w - 0.5
                y, x = min(max(y, 0), H - 1), min(max(x, 0), W - 1)
                for r in range(H):
                    for c in range(W):
                        weight = max(0, 1 - abs(r - y)) * max(0, 1 - abs(c - x))
                        pairs.append((depth[r, c], weight * known[r, c]))
            else:
                for r in range(H):
                    for c in range(W):
                        down = max(0.0, min((i + 1) * H / h, r + 1) - max(i * H / h, r))
                        right = max(0.0, min((j + 1) * W / w, c + 1) - max(j * W / w, c))
                        pairs.append((depth[r, c], down * right * known[r, c] if down * right > 1e-6 else 0))
            out[i, j] = one_surface(pairs) if method != "median" else median(pairs)
    return out


def overlap(a, b):
    """IoU of two sets."""
    return len(a & b) / len(a | b) if a | b else 0.0


def algorithm1(iou, k, threshold):
    """Algorithm 1 of the Spatia supplement, misprints corrected."""
    chosen = []
    for row in iou:
        best = max(range(len(row)), key=lambda i: (row[i], -i))
        if row[best] > threshold and best not in chosen and len(chosen) < k:
            chosen.append(best)
    return chosen


def set_cover(targets, candidates, k, threshold):
    """Greedy cover by the mean newly covered share of the targets; a set of indices."""
    left, chosen = [set(t) for t in targets], []
    able = [i for i, c in enumerate(candidates) if max(overlap(t, c) for t in targets) > threshold]
    while len(chosen) < k:
        gains = [(sum(len(u & candidates[i]) / max(1, len(t)) for u, t in zip(left, targets)), -i) for i in able]
        if not gains or max(gains)[0] <= 0:
            break
        best = -max(gains)[1]
        chosen.append(best)
        able.remove(best)
        left = [u - candidates[best] for u in left]
    return set(chosen)


def union_overlap(targets, candidates, k, threshold):
    """Mirage's rule: by falling overlap with all targets together, the first of equals before; a list of indices."""
    together = set().union(*targets)
    able = [(-overlap(together, c), i) for i, c in enumerate(candidates) if overlap(together, c) > threshold]
    return [i for _, i in sorted(able)[:k]]


def thin(points, colours, voxel):
    """One point a voxel: {index of the point nearest to its voxel's mean: mean colour of the voxel}."""
    groups = {}
    for index, point in enumerate(points):
        groups.setdefault(tuple(np.floor(point / F(voxel)).astype(int)), []).append(index)
    kept = {}
    for members in groups.values():
        mean = points[members].astype(np.float64).mean(0)
        off = [float(((points[m] - mean) ** 2).sum()) for m in members]
        kept[members[int(np.argmin(off))]] = colours[members].mean(0)
    return kept

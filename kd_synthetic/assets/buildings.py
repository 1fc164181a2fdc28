"""Houses and blocks: a painted atlas of facades, and boxes that wear it under flat or gabled roofs."""

import cv2
import numpy as np

from kd_synthetic.assets.mesh import Colour, Mesh, Size, box, from_triangles, join, quads, textured_quads
from kd_synthetic.assets.parts import bright, vary

FACADE_STYLES = 10
FACADE_PIXELS = 256
FACADE_METRES = (14.0, 12.8)  # width and height of one repeat: 4 x 4 windows


def facade_atlas(rng: np.random.Generator) -> np.ndarray:
    """Wall textures (styles, 256, 256, 4) uint8: gamma-coded reflectance relative to the wall's paint, and a fourth
    channel that is 255 on glass.
    """
    styles = []
    for style in range(FACADE_STYLES):
        image = np.zeros((FACADE_PIXELS, FACADE_PIXELS, 4), np.uint8)
        image[..., :3] = 215
        if style % 3 == 0:  # brick courses or panels
            for y in range(0, FACADE_PIXELS, 8 if style % 2 else 32):
                cv2.line(image, (0, y), (FACADE_PIXELS, y), (180, 178, 176, 0), 1)
        cell = FACADE_PIXELS // 4
        if style == FACADE_STYLES - 1:  # blind wall with a few doors' worth of panels
            for x in range(0, FACADE_PIXELS, 21):
                cv2.line(image, (x, 0), (x, FACADE_PIXELS), (190, 190, 190, 0), 1)
            styles.append(image)
            continue
        wide, tall = rng.uniform(0.35, 0.85), rng.uniform(0.42, 0.8)
        frame = int(rng.integers(60, 250))
        for row in range(4):
            for column in range(4):
                x0, y0 = int((column + (1 - wide) / 2) * cell), int((row + (1 - tall) / 2) * cell)
                x1, y1 = int(x0 + wide * cell), int(y0 + tall * cell)
                cv2.rectangle(image, (x0 - 3, y0 - 3), (x1 + 3, y1 + 4), (frame, frame, frame, 0), -1)
                shade = int(rng.choice((40, 60, 85, 150), p=(0.45, 0.25, 0.2, 0.1)))
                cv2.rectangle(
                    image, (x0, y0), (x1, y1), (shade, shade, int(shade * 0.95), 255 if shade < 100 else 80), -1
                )
                if rng.random() < 0.3:
                    cv2.rectangle(
                        image, (x0, y0), (x1, y0 + int(rng.uniform(0.2, 0.7) * (y1 - y0))), (170, 165, 150, 30), -1
                    )
                if style % 2:
                    cv2.line(image, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), (frame, frame, frame, 0), 2)
        if style in (2, 5):  # balconies
            for row in range(4):
                cv2.rectangle(
                    image, (4, (row + 1) * cell - 14), (FACADE_PIXELS - 4, (row + 1) * cell - 4), (150, 150, 150, 0), -1
                )
        styles.append(image)
    return np.stack(styles)


def build_house(size: Size, rng: np.random.Generator, *, layer: int, colour: Colour, gable: bool) -> Mesh:
    """A building with facades of atlas `layer`, a ground floor band, and a flat or gabled roof."""
    length, depth, height = size
    x, y = length / 2, depth / 2
    corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
    walls, uv = [], []
    shift = rng.integers(4, size=2) / 4
    for i in range(4):
        a, b = corners[i], corners[(i + 1) % 4]
        run = np.linalg.norm(b - a)
        walls.append([(*a, 0), (*b, 0), (*b, height), (*a, height)])
        u1, v1 = max(1, round(run / FACADE_METRES[0] * 4)) / 4, max(1, round(height / FACADE_METRES[1] * 4)) / 4
        uv.append(
            [(shift[0], shift[1] + v1), (shift[0] + u1, shift[1] + v1), (shift[0] + u1, shift[1]), (shift[0], shift[1])]
        )
    parts = [textured_quads(np.array(walls), np.array(uv), colour, layer)]
    if gable:
        ridge, eave, over = height + 0.35 * depth, height - 0.1, 0.4
        a, b, c, d = (
            (-x - over, -y - over, eave),
            (x + over, -y - over, eave),
            (x + over, y + over, eave),
            (-x - over, y + over, eave),
        )
        e, f = (-x - over, 0, ridge), (x + over, 0, ridge)
        tile = vary((0.2, 0.08, 0.05) if rng.random() < 0.5 else (0.1, 0.1, 0.11), rng)
        parts.append(quads(np.array([[a, b, f, e], [c, d, e, f]]), tile))
        parts.append(
            from_triangles(
                np.array(
                    [
                        [(-x, -y, height), (-x, y, height), (-x, 0, ridge - 0.1)],
                        [(x, -y, height), (x, y, height), (x, 0, ridge - 0.1)],
                    ]
                ),
                colour,
            )
        )
        parts.append(box((x * 0.4, y * 0.3, ridge - 0.3), (0.8, 0.8, 1.6), (0.2, 0.1, 0.08)))
    else:
        parts.append(box((0, 0, height + 0.15), (length + 0.5, depth + 0.5, 0.5), vary(colour, rng)))
        parts.append(box((rng.uniform(-0.2, 0.2) * length, 0, height + 1.2), (3.0, 3.0, 2.0), (0.3, 0.3, 0.3)))
        shop = bright(rng)
        parts.append(box((0, 0, 3.3), (length + 0.3, depth + 0.3, 0.5), shop))
        parts.append(box((0, 0, 0.35), (length + 0.12, depth + 0.12, 0.7), vary(tuple(np.array(colour) * 0.5), rng)))
    return join(parts)

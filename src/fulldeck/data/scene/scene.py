"""One scene, all of it by chance: ground, things, cards, hands, light and lens, and the truth about each card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fulldeck.data.deck.chance import between, chance, pick
from fulldeck.data.scene.arrange import HEIGHT, Pose, arrange
from fulldeck.data.scene.camera import View, choose_size, develop, light, look_at
from fulldeck.data.scene.faces import FACE
from fulldeck.data.scene.ground import make_ground
from fulldeck.data.scene.painting import Scene
from fulldeck.data.scene.things import draw_fingers, make_back, make_thing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fulldeck.data.scene.faces import Deck

MOST = 12
"""Cards a scene has at most."""

_EDGES = np.array([[0, 0], [FACE[0], 0], [FACE[0], FACE[1]], [0, FACE[1]]], np.float32)


def compose_scene(
    decks: Sequence[Deck],
    photographs: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
    *,
    side: int = 640,
    cards: tuple[int, int] | None = None,
) -> Scene:
    """Compose a scene.

    Args:
        decks: Whose cards may lie there; a scene shows one deck, seldom two.
        photographs: RGB pictures for grounds, prints and screens; there may be none.
        rng: Decides everything.
        side: The longer side of the picture, in pixels.
        cards: The fewest and the most; by default none to twelve, one and few being the most frequent.

    Returns:
        A scene whose picture is finished but for being encoded.
    """
    size = choose_size(side, rng)
    poses = arrange(_count(rng, cards), rng)
    view = look_at(poses, size, rng)
    scene = Scene.on(make_ground(size, photographs, rng))
    deck = pick(rng, decks)
    shadow = _shadow(view, poses, rng)
    for _ in range(int(rng.integers(1, 6)) if chance(rng, 0.45 if poses else 0.85) else 0):
        _strew(scene, view, photographs, shadow, rng)
    sleeved, gloss, bent = chance(rng, 0.15), chance(rng, 0.3), chance(rng, 0.3)
    own_back = deck.back(rng)
    back = own_back if own_back is not None and chance(rng, 0.5) else make_back(rng)
    for pose in poses:
        if chance(rng, 0.06):  # face down
            scene.lay(back, _EDGES, view.rectangle(pose, (1.0, HEIGHT)), shadow)
            scene.things.append("back")
            continue
        owner = pick(rng, decks) if chance(rng, 0.04) else deck
        label = pick(rng, owner.labels)
        texture, source = owner.face(label, rng), _EDGES
        if gloss:
            texture = _glossy(texture, rng)
        if bent:
            texture, source = _bent(texture, rng)
        elif sleeved:
            texture, source = _sleeved(texture, rng)
        scene.lay_card((label, owner.name), texture, source, view.rectangle(pose, (1.0, HEIGHT)), shadow)
    _hold(scene, view, poses, rng)
    if poses and chance(rng, 0.12):  # something on top
        _strew(scene, view, photographs, shadow, rng, at=pick(rng, poses))
    scene.picture = develop(light(scene.picture, rng), rng)
    return scene


def _count(rng: np.random.Generator, cards: tuple[int, int] | None) -> int:
    if cards is not None:
        return int(rng.integers(cards[0], cards[1] + 1))
    kind = rng.random()
    if kind < 0.08:
        return 0
    if kind < 0.38:
        return 1
    return int(rng.integers(2, 9)) if kind < 0.9 else int(rng.integers(9, MOST + 1))


def _shadow(view: View, poses: list[Pose], rng: np.random.Generator) -> tuple[float, float, float]:
    width = view.width_at(poses[0]) if poses else view.width_at(Pose(0, 0, 0))
    reach = width * (between(rng, 0.005, 0.03) if chance(rng, 0.75) else between(rng, 0.03, 0.12))
    t = between(rng, 0, 2 * np.pi)
    return between(rng, 0.15, 0.7), reach * np.cos(t), reach * np.sin(t)


def _strew(
    scene: Scene,
    view: View,
    photographs: Sequence[NDArray[np.uint8]],
    shadow: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    at: Pose | None = None,
) -> None:
    """Lay some thing somewhere in the picture, or on a card's edge."""
    name, texture, size = make_thing(rng, photographs)
    if at is None:
        height, width = scene.owner.shape
        pixel = rng.random(2) * [width, height]
        back = np.linalg.inv(view.matrix) @ np.array([*pixel, 1.0])
        if abs(back[2]) < 1e-9:
            return
        x, y = back[:2] / back[2]
    else:
        if max(size) > 1.0:
            return  # it would cover all of the card
        x, y = at.x + between(rng, -0.6, 0.6), at.y + between(rng, -0.8, 0.8)
    h, w = texture.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    target = view.rectangle(Pose(float(x), float(y), between(rng, -180, 180)), size)
    seen = np.linalg.norm(target - np.roll(target, 1, 0), axis=1)
    if not np.isfinite(target).all() or seen.max() > 3 * max(scene.owner.shape):
        return  # it lies near the camera's horizon
    scene.lay(texture, corners, target, shadow)
    scene.things.append(name)


def _hold(scene: Scene, view: View, poses: list[Pose], rng: np.random.Generator) -> None:
    """Fingers that hold the cards from below, or lie over an edge."""
    if not poses or not chance(rng, 0.22):
        return
    held = pick(rng, poses)
    corners = view.rectangle(held, (1.0, HEIGHT))
    centre = corners.mean(0)
    thick = view.width_at(held) * between(rng, 0.22, 0.36)
    first = int(rng.integers(4)) if chance(rng, 0.4) else 2  # mostly the lower edge
    edge = (corners[first] + corners[(first + 1) % 4]) / 2 + (corners[(first + 1) % 4] - corners[first]) * between(
        rng, -0.45, 0.45
    )
    away = edge - centre
    reach = between(rng, -0.25, 0.35)
    draw_fingers(scene, edge - away * reach, away, rng, thick=thick, count=int(rng.integers(1, 4)))


def _glossy(texture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A reflection of a lamp or a window on the varnish."""
    height, width = texture.shape[:2]
    spot = np.zeros((height // 4, width // 4), np.uint8)
    centre = (int(rng.integers(-10, width // 4 + 10)), int(rng.integers(-10, height // 4 + 10)))
    axes = (int(rng.integers(6, 40)), int(rng.integers(6, 60)))
    cv2.ellipse(spot, centre, axes, between(rng, 0, 180), 0, 360, int(rng.integers(50, 235)), -1)
    blur = 2 * int(rng.integers(3, 16)) + 1
    soft = cv2.resize(cv2.blur(spot, (blur, blur)), (width, height))
    shone = cv2.add(np.ascontiguousarray(texture[:, :, :3]), cv2.merge([soft, soft, soft]))
    return np.dstack([np.asarray(shone, np.uint8), texture[:, :, 3]])


def _bent(texture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A card that is curved: its long or its short edges bow, its corners stay where they were."""
    width, height = FACE
    bow = between(rng, -0.06, 0.06)
    pad = int(abs(bow) * height) + 2
    y, x = np.mgrid[0 : height + 2 * pad, 0 : width + 2 * pad].astype(np.float32)
    x, y = x - pad, y - pad
    if chance(rng, 0.5):
        y = y - np.float32(bow * height) * (1 - (2 * x / width - 1) ** 2)
        shade = 1 + 1.5 * bow * (2 * x / width - 1)
    else:
        x = x - np.float32(bow * width) * (1 - (2 * y / height - 1) ** 2)
        shade = 1 + 1.5 * bow * (2 * y / height - 1)
    colour = cv2.remap(np.ascontiguousarray(texture[:, :, :3]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(np.ascontiguousarray(texture[:, :, 3]), x, y, cv2.INTER_LINEAR)
    lit = np.clip(np.asarray(colour, np.float32) * np.clip(shade, 0.7, 1.3)[:, :, None], 0, 255).astype(np.uint8)
    return np.dstack([lit, np.asarray(alpha, np.uint8)]), (_EDGES + np.float32(pad)).astype(np.float32)


def _sleeved(texture: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A card in a sleeve: a clear margin around it, duller colours, a streak of light."""
    pad = int(between(rng, 6, 22))
    height, width = texture.shape[:2]
    colour = np.full((height + 2 * pad, width + 2 * pad, 3), int(between(rng, 150, 235)), np.uint8)
    alpha = np.full(colour.shape[:2], int(between(rng, 40, 130)), np.uint8)
    inside = slice(pad, pad + height), slice(pad, pad + width)
    outline = texture[:, :, 3:].astype(np.float32) / 255
    haze = np.float32(between(rng, 0.0, 0.2))
    face = texture[:, :, :3].astype(np.float32) * (1 - haze) + 210 * haze
    colour[inside] = (face * outline + colour[inside] * (1 - outline)).astype(np.uint8)
    alpha[inside] = np.maximum(alpha[inside], texture[:, :, 3])
    if chance(rng, 0.6):
        x = int(rng.integers(-width // 2, width))
        streak = np.zeros(colour.shape[:2], np.uint8)
        cv2.line(
            streak, (x, 0), (x + width // 2, colour.shape[0]), int(rng.integers(30, 130)), int(rng.integers(6, 60))
        )
        soft = cv2.blur(streak, (15, 15))
        colour = np.asarray(cv2.add(colour, cv2.merge([soft, soft, soft])), np.uint8)
    return np.dstack([colour, alpha]), (_EDGES + np.float32(pad)).astype(np.float32)

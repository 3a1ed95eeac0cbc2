"""Scenes: pictures like photographs with any number of cards in them, and the exact truth about each.

Knows decks only as faces (pictures of cards with an outline); nothing here knows about folders or training.
"""

from fulldeck.data.scene.faces import Deck, Drawn, FaceFolder, PhotoFolder
from fulldeck.data.scene.painting import Placed, Scene
from fulldeck.data.scene.scene import compose_scene

__all__ = ["Deck", "Drawn", "FaceFolder", "PhotoFolder", "Placed", "Scene", "compose_scene"]

"""The levels of an alert, from the least urgent to the most."""

from enum import IntEnum

__all__ = ["Level"]


class Level(IntEnum):
    """Level of a rule or of an open problem; a greater one is more urgent."""

    TECHNIQUE = 1
    ORANGE = 2
    ROUGE = 3

    @property
    def word(self) -> str:
        """What a nurse reads."""
        return self.name

    @property
    def meaning(self) -> str:
        """One French line that says what the level asks for."""
        return _MEANING[self]


_MEANING = {
    Level.TECHNIQUE: "à vérifier : la mesure ou l'appareil, pas encore le patient",
    Level.ORANGE: "à rappeler dans la journée",
    Level.ROUGE: "à rappeler tout de suite ; reste ouverte jusqu'à la clôture par une personne, avec un motif",
}

"""What the register refuses. No message holds more of an identity than the last three characters of an INS."""

from collections.abc import Sequence

from rules.errors import Mistake

__all__ = ["FieldError", "ImportRefusedError", "RegisterError"]


class FieldError(ValueError):
    """A field that is not legal: its name, what is wrong, what would be legal; never what it held."""

    def __init__(self, field: str, wrong: str, legal: str) -> None:
        self.field = field
        self.wrong = wrong
        self.legal = legal
        super().__init__(f"{field}: {wrong}; legal: {legal}")


class RegisterError(ValueError):
    """The register cannot do what it was asked."""


class ImportRefusedError(RegisterError):
    """A file of patients with its mistakes, in the order of its lines.

    Parameters
    ----------
    mistakes : sequence of Mistake
        At least one.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in self.mistakes]
        super().__init__("\n".join([*lines, "nothing was imported"]))

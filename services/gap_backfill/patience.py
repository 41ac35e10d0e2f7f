"""How long and how often something is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from services.shared.exchanges.history import SECOND_US


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often something is tried again. Times are microseconds."""

    first_us: int = SECOND_US
    most_us: int = 600 * SECOND_US
    absent_tries: int = 3
    """Answers in a row that lack a row before it is taken not to be served."""
    bad_tries: int = 6
    """Answers in a row that are none before a gap is given up. Refusals for load are not counted: they pass."""
    look_us: int = SECOND_US // 2
    """Between two looks whether what was published is in its table; it grows to twenty times that."""

    def pause_us(self, failures: int) -> int:
        """Return the pause after so many failures in a row, 1 and more."""
        return int(min(self.most_us, self.first_us * 2 ** min(failures - 1, 32)))

"""Keyed hashes and smooth noise: the generator's source of chance, so that any value can be asked for out of order.

Everything here is a pure function of its key. Floats are added and multiplied only, never put through a maths library:
two machines get the same digits.
"""

from __future__ import annotations

from hashlib import blake2b

_MASK = (1 << 64) - 1


def key_of(*parts: object) -> int:
    """Return a 64-bit key for a tuple of names and numbers, the same in every process."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def mix(key: int, n: int) -> int:
    """Return 64 hashed bits of the n-th draw under a key (the finaliser of splitmix64)."""
    x = (key + n * 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def unit(key: int, n: int) -> float:
    """Return the n-th draw under a key as a float in [0, 1)."""
    return (mix(key, n) >> 11) * (1.0 / (1 << 53))


class Noise:
    """A smooth random function of time: octaves of value noise, each with a period and an amplitude.

    Its value stays within the sum of the amplitudes around 0.
    """

    def __init__(self, key: int, octaves: tuple[tuple[int, float], ...]) -> None:
        """Take (period in microseconds, amplitude) pairs."""
        self.octaves = tuple((mix(key, index), period, height) for index, (period, height) in enumerate(octaves))
        """Key, period (us) and amplitude of each."""
        self._segments: list[tuple[int, float, float]] = [(-1, 0.0, 0.0)] * len(octaves)

    def at(self, time_us: int) -> float:
        """Return the value at a time (us); segments last used are kept, so that walking forward is cheap."""
        total = 0.0
        segments = self._segments
        for index, (key, period, height) in enumerate(self.octaves):
            cell = time_us // period
            held, start, rise = segments[index]
            if held != cell:
                start = (2.0 * unit(key, cell) - 1.0) * height
                rise = (2.0 * unit(key, cell + 1) - 1.0) * height - start
                segments[index] = (cell, start, rise)
            share = (time_us - cell * period) / period
            total += start + rise * share * share * (3.0 - 2.0 * share)
        return total


def wandering(per_root_second: float, shortest_s: int, longest_s: int) -> tuple[tuple[int, float], ...]:
    """Return octaves that together wander like a random walk: moves of about `per_root_second` times the root of time.

    The periods run from `shortest_s` to `longest_s` seconds in steps of four.
    """
    octaves = []
    period, root = shortest_s, 1.0
    while root * root < shortest_s:
        root += 0.25
    while period <= longest_s:
        octaves.append((period * 1_000_000, 0.7 * per_root_second * root))
        period, root = period * 4, root * 2.0
    return tuple(octaves)

"""Random numbers for data, addressed by what they are for: (seed, purpose) names one endless stream.

Number i of a stream depends on the address and on i alone, never on how many are drawn or on what was drawn
before elsewhere. So the first 100 points of a toy set of 100,000 are the toy set of 100, and a split stays
put.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """A generator at the start of the stream that belongs to `seed` and `purpose`.

    Args:
        seed: Any integer from 0 up.
        purpose: What the numbers are for; other words, other numbers.

    Returns:
        A NumPy generator on Philox, a counter-based bit generator.

    Raises:
        ValueError: `seed` is negative or not an integer.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"`seed` must be an integer from 0 up, but it is {seed!r}.")
    digest = hashlib.sha256("/".join((str(int(seed)), *purpose)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))

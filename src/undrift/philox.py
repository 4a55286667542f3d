"""Philox4x32-10: the counter-based generator of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

In tensor operations, some 120 of them; on a GPU, where each would be a launch of its own, in one kernel that torch.compile makes of them.
That kernel is asked first whether it gives the same bits, and where it does not, or there is no compiler, the operations are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # Philox's multipliers
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # and key increments
FUSED_ON = ("cuda",)  # kinds of devices on which launches cost more than the arithmetic

Words = tuple[Tensor, Tensor, Tensor, Tensor]
_fused: dict[torch.device, Callable[..., Words] | None] = {}


def philox(counter: Sequence[Tensor], key: tuple[int, int], rounds: int = 10) -> Words:
    """Philox4x32: four int64 counter words below 2^32, of shapes that broadcast, and two key words to four random words."""
    # int64 products wrap, and wrapped or not their 64 bits are those of the unsigned product, which is all we read. All is done
    # in place: on a CPU new memory costs more than the arithmetic.
    c0, c1, c2, c3 = (c.clone() for c in torch.broadcast_tensors(*counter))  # type: ignore[no-untyped-call]
    high = torch.empty_like(c0)
    k0, k1 = key
    for _ in range(rounds):
        for even, odd, m, k in ((c2, c1, _M1, k0), (c0, c3, _M0, k1)):
            torch.bitwise_right_shift(even.mul_(m), 32, out=high)
            odd.bitwise_xor_(high).bitwise_xor_(k).bitwise_and_(MASK)
        c0, c1, c2, c3 = c1, c2, c3, c0  # the products' upper halves are masked away wherever they go
        k0, k1 = (k0 + _W0) & MASK, (k1 + _W1) & MASK
    return c0, c1.bitwise_and_(MASK), c2, c3.bitwise_and_(MASK)


def words_of(blocks: Tensor, seeds: Tensor, key: tuple[int, int]) -> Words:
    """The words of counters `(block, 0, seed's lower half, its upper half)`, in as few launches as the device allows.

    Args:
        blocks: `(N,)` int64 numbers of the counters below 2^32.
        seeds: `(B, 1)` int64, not negative.
        key: Two words.

    Returns:
        Four tensors `(B, N)` int64, below 2^32.
    """
    device = seeds.device
    if device.type in FUSED_ON and not torch.compiler.is_compiling():
        if device not in _fused:
            _fused[device] = _made(device)
        if (fused := _fused[device]) is not None:
            return fused(blocks, seeds, *(torch.full((), k, dtype=torch.int64, device=device) for k in key))
    return philox((blocks, torch.zeros_like(blocks), seeds & MASK, seeds >> 32), key)


def _pure(blocks: Tensor, seeds: Tensor, k0: Tensor, k1: Tensor) -> Words:
    """The same without writing in place, and with the key in tensors: another path is no other program."""
    c0, c1, c2, c3 = blocks, blocks * 0, seeds & MASK, seeds >> 32
    for _ in range(10):
        even, odd = c2 * _M1, c0 * _M0
        c0, c1, c2, c3 = ((even >> 32) ^ c1 ^ k0) & MASK, even & MASK, ((odd >> 32) ^ c3 ^ k1) & MASK, odd & MASK
        k0, k1 = (k0 + _W0) & MASK, (k1 + _W1) & MASK
    return c0, c1, c2, c3


def _made(device: torch.device) -> Callable[..., Words] | None:
    """The one kernel for a device, if it can be made there and gives the same bits; else None."""
    try:
        fused: Callable[..., Words] = torch.compile(_pure, dynamic=True)
        blocks, seeds = torch.arange(5, device=device), torch.tensor([[0], [7], [2**62 + 3]], device=device)
        key = 0xDEADBEEF, 0xFFFFFFFF
        found = fused(blocks, seeds, *(torch.full((), k, dtype=torch.int64, device=device) for k in key))
        wanted = philox((blocks, torch.zeros_like(blocks), seeds & MASK, seeds >> 32), key)
        same = all(torch.equal(a.expand(3, 5), b) for a, b in zip(found, wanted, strict=True))
    except Exception:  # whatever a compiler may raise; without it the numbers are the same
        return None
    return fused if same else None

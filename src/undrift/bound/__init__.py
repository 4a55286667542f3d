"""The variational bound: `-log p(x)` from above, for discrete chains and in continuous time. Read `chain`, then `bound`."""

from undrift.bound.bins import Bins
from undrift.bound.bound import Bound, variational_bound
from undrift.bound.chain import Chain

__all__ = ["Bins", "Bound", "Chain", "variational_bound"]

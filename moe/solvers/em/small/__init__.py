"""EM of linear experts where a pass over the samples is short: in NumPy.

There it takes less time than torch needs to start its operations, and NumPy starts its own sooner;
no more where a pass is long, and that is left to torch (``moe.solvers.em.expectation`` and
``moe.solvers.em.maximisation``: the same steps).
"""

from moe.solvers.em.small.climb import SmallEnd, climb_small, is_small
from moe.solvers.em.small.expectation import SmallSamples

__all__ = ["SmallEnd", "SmallSamples", "climb_small", "is_small"]

"""The population L_4: all critical points, minima, conditioning (derived; book, chapter 5)."""

from moe.landscape.certificate import Certificate, certificate, lambda_that_bounds
from moe.landscape.critical import KINDS, CriticalPoints, classify, critical_points
from moe.landscape.exploration import Search, benign_share, match_points, search
from moe.landscape.minima import count_spurious_minima, largest_delta, only_truths
from moe.landscape.names import describe, describe_pattern, patterns
from moe.landscape.squares import (
    GlobalMinimum,
    coordinate_hessian,
    global_minimum,
    population_tensor,
    squares_gradient,
    squares_loss,
    squares_matrix,
)
from moe.landscape.stability import (
    ErrorBound,
    Weights,
    best_lambda,
    best_weights,
    conditioning,
    curvatures_at_truth,
    displacement_bound,
    error_norm,
    first_order_displacement,
    moment_error_tolerance,
)

__all__ = [
    "KINDS",
    "Certificate",
    "CriticalPoints",
    "ErrorBound",
    "GlobalMinimum",
    "Search",
    "Weights",
    "benign_share",
    "best_lambda",
    "best_weights",
    "certificate",
    "classify",
    "conditioning",
    "coordinate_hessian",
    "count_spurious_minima",
    "critical_points",
    "curvatures_at_truth",
    "describe",
    "describe_pattern",
    "displacement_bound",
    "error_norm",
    "first_order_displacement",
    "global_minimum",
    "lambda_that_bounds",
    "largest_delta",
    "match_points",
    "moment_error_tolerance",
    "only_truths",
    "patterns",
    "population_tensor",
    "search",
    "squares_gradient",
    "squares_loss",
    "squares_matrix",
]

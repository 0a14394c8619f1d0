"""L_4, of the population and of samples: all critical points, minima, conditioning (derived; book,
chapter 5)."""

from moe.landscape.certificate import Certificate, certificate, lambda_that_bounds
from moe.landscape.complete import CompleteList, critical_points_of, critical_points_of_each
from moe.landscape.critical import KINDS, CriticalPoints, classify, critical_points
from moe.landscape.exploration import Search, benign_share, match_points, search, stationary_points
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
    displacement_bound_of,
    error_norm,
    first_order_displacement,
    moment_error_tolerance,
    tolerance_of,
)
from moe.landscape.zeros import orbit_distances

__all__ = [
    "KINDS",
    "Certificate",
    "CompleteList",
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
    "critical_points_of",
    "critical_points_of_each",
    "curvatures_at_truth",
    "describe",
    "describe_pattern",
    "displacement_bound",
    "displacement_bound_of",
    "error_norm",
    "first_order_displacement",
    "global_minimum",
    "lambda_that_bounds",
    "largest_delta",
    "match_points",
    "moment_error_tolerance",
    "only_truths",
    "orbit_distances",
    "patterns",
    "population_tensor",
    "search",
    "squares_gradient",
    "squares_loss",
    "squares_matrix",
    "stationary_points",
    "tolerance_of",
]

"""Two mixtures that predict alike and are made of different parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.metrics import gating_error, regressor_error
from moe.model import MoE
from moe.nonlinearity import NONLINEARITIES
from moe.solvers.em import expectation_maximisation
from moe.transforms import gauss_hermite



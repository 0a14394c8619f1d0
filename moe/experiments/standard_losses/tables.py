"""Tables of the chapter on the standard losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moe.experiments.shown.tables import Table, table
from moe.experiments.standard_losses.lifted_trap import Lifted
from moe.experiments.standard_losses.population.newton_kantorovich import Enclosure
from moe.experiments.standard_losses.random_starts import Contest, EMShares
from moe.experiments.standard_losses.sigma_held import Record
from moe.experiments.standard_losses.squared_phase import UnitNorm

E_REG = r"$E_{\rm reg}$"


def contest(outcome: Mapping[str, Contest]) -> Table:
    """How often each method succeeds from random starts, and where it ends from the truth."""
    rows = [
        (
            name.replace("sigma", r"$\sigma$"),
            contest.share,
            contest.share.interval(),
            contest.errors.median(),
            contest.oracle.max(),
        )
        for name, contest in outcome.items()
    ]
    head = ("method", "random starts that succeed", "95 % interval", f"median {E_REG}")
    return table((*head, f"worst {E_REG} from the truth"), rows, (None, None, ".0%", ".1e", ".1e"))


def enclosures(points: Mapping[str, tuple[Enclosure, float]]) -> Table:
    """What each certificate rests on; name -> certificate, E_reg of the minimum."""
    head = [
        "certificate",
        "excess, at least",
        r"$\varepsilon$",
        r"$\kappa$",
        "$K$",
        "$h$",
        "radius",
    ]
    rows = []
    for name, (e, error) in points.items():
        bounds = (e.least_excess, e.gradient, e.curvature, e.lipschitz, e.quotient, e.radius)
        rows.append((name, *bounds, e.extra_curvature, error))
    forms = (None, ".4f", *[".1e"] * 5, ".3f", ".2f")
    return table((*head, r"$\E{\ell''}$, least", E_REG), rows, forms)


def unit_norms(tied: Mapping[str, UnitNorm]) -> Table:
    """Where descent over unit regressors ends."""
    rows = []
    for name, ends in tied.items():
        wrong = ends.spurious
        least = (
            (ends.excess[wrong].min(), ends.curvature[wrong].min()) if wrong.any() else (None,) * 2
        )
        at_truth = (ends.error < 0.01).double().mean()
        rows.append((name, len(wrong), at_truth, wrong.double().mean(), *least))
    head = ("truth", "starts", "at the truth", "at a strict wrong minimum")
    return table(
        (*head, "its least excess", "its least curvature"),
        rows,
        (None, "d", ".0%", ".0%", ".4f", ".4f"),
    )


def traps(held: Record) -> Table:
    """The population's trap with sigma held at the truth's and learned; EM's random starts."""
    level, excess, curvature, _ = held.learned
    starts = held.spec.starts
    rows = [
        ("held", held.excess, held.spec.sigma, held.branch[0, 2], held.shares["held"], starts),
        ("learned", excess, level, curvature, held.shares["learned"], starts),
    ]
    head = (r"$\sigma$", "the trap lies above the truth by (nats, population)", r"at $\sigma$")
    return table(
        (*head, "least curvature", "random starts of EM at the truth", "of"),
        rows,
        (None, ".2f", ".2f", ".3f", ".0%", "d"),
    )


def lifted_traps(traps: Sequence[Lifted]) -> Table:
    """The trap in five dimensions, on samples."""
    rows = [
        (trap.n, name, *numbers)
        for trap in traps
        for name, *numbers in zip(
            ("held", "learned"), trap.excess, trap.curvature, trap.error, trap.sigma, strict=True
        )
    ]
    head = ("$n$", r"$\sigma$", "nats a sample above the end from the truth", "least curvature")
    return table((*head, E_REG, r"at $\sigma$"), rows, (",", None, *[".3f"] * 4))


def em_shares(shares: EMShares) -> Table:
    """How often EM succeeds with sigma held, learned, and held from the truth."""
    rows = [
        (name, share, share.interval())
        for name, share in (
            ("held", shares.held),
            ("learned from 1", shares.learned),
            ("held, started at the truth", shares.oracle),
        )
    ]
    return table((r"$\sigma$", "succeeds", "95 % interval"), rows, (None, None, ".0%"))

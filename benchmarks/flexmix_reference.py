"""Log-likelihoods of R's flexmix on data like its NPreg: ``tests/estimator/flexmix.json``.

    python -m benchmarks.flexmix_reference

needs R with Debian's package r-cran-flexmix. Each data set: 200 samples, x uniform on (0, 10), one
half on y = 5 x, the other on y = 10 + 10 x - x^2, noise 3 (Leisch 2004, drawn anew). flexmix fits
two curves y ~ x + I(x^2), a noise level each, with constant weights, and with weights that depend
on x (a multinomial concomitant model): the best of 20 random starts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moe.randomness import numpy_stream

PLACE = Path(__file__).parents[1] / "tests" / "estimator" / "flexmix.json"
SETS = 8
_PROGRAM = """
suppressMessages(library(flexmix))
folder <- commandArgs(TRUE)[1]
cat(R.version.string, as.character(packageVersion("flexmix")), sep = "\\n")
control <- list(iter.max = 1000, tolerance = 1e-10, minprior = 0)
for (i in 0:%d) {
  data <- read.csv(file.path(folder, paste0(i, ".csv")))
  set.seed(i)
  for (weights in list(FLXPconstant(), FLXPmultinom(~ x))) {
    fit <- stepFlexmix(y ~ x + I(x^2), data = data, k = 2, nrep = 20, concomitant = weights,
                       control = control, verbose = FALSE)
    cat("\\n", i, " ", format(as.numeric(logLik(fit)), digits = 12), sep = "")
  }
}
"""


def data_set(index: int) -> NDArray[np.float64]:
    """x and y, (200, 2)."""
    rng = numpy_stream("data", index)
    x = rng.uniform(0, 10, 200)
    means = np.where(np.arange(200) < 100, 5 * x, 10 + 10 * x - x**2)
    return np.column_stack([x, means + 3 * rng.normal(size=200)])


def main() -> None:
    """Run R on all of them and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        for index in range(SETS):
            place = Path(folder) / f"{index}.csv"
            np.savetxt(place, data_set(index), delimiter=",", header="x,y", comments="")
        program = Path(folder) / "program.R"
        program.write_text(_PROGRAM % (SETS - 1), encoding="utf-8")
        command = ["Rscript", str(program), folder]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    r, flexmix, *lines = filter(None, told.splitlines())
    found: dict[str, Any] = {"made by": "benchmarks/flexmix_reference.py", "R": r}
    found |= {"flexmix": flexmix, "constant": [], "multinomial": []}
    for number, line in enumerate(lines):
        found[("constant", "multinomial")[number % 2]].append(float(line.split()[1]))
    PLACE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(PLACE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

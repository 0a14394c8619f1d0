"""What decides the claims about complete lists of samples (chapter 5)."""

from __future__ import annotations

from collections.abc import Sequence

from moe.experiments.common.claims import Finding, share
from moe.experiments.landscape.empirical.bootstrap import Row
from moe.experiments.landscape.empirical.lists import Record


def complete(records: Sequence[Record]) -> Finding:
    """Every list is complete. The number: how many, and how many paths were lost on the way."""
    lists = [case.listed for record in records for case in record.all]
    whole = sum(listed.complete for listed in lists)
    lost, paths = sum(listed.lost for listed in lists), sum(listed.paths for listed in lists)
    words = f"{whole} of {len(lists)} data sets; {lost} of {paths:,} paths lost on the way"
    return Finding(whole == len(lists), words)


def nothing_missed(records: Sequence[Record]) -> Finding:
    """The search met no point that a complete list lacks, and met some."""
    cases = [case for record in records for case in record.all if case.listed.complete]
    found, met = sum(case.found for case in cases), sum(case.met for case in cases)
    return Finding(found == met and found > 0, f"{found - met} of {found:,} different points found")


def fades(records: Sequence[Record]) -> Finding:
    """Minima beside the truth's, and lists without the truth's, occur at the smallest size and not
    at the largest; a truth's minimum is the lowest wherever there is one. The words: the largest
    size at which another minimum was met, and in how many of its data sets; then the share at the
    largest size, with Wilson's 95 % interval."""
    right, words = [], []
    for record in records:
        sizes = [n for n, cases in record.cases.items() if cases]
        last = [n for n in sizes if any(case.others for case in record.cases[n])]
        ends = [(case.others > 0 or case.truth < 0) for case in record.cases[sizes[-1]]]
        right.append(bool(last) and last[0] == sizes[0] and not any(ends))
        right.append(all(case.lowest for case in record.all if case.truth >= 0))
        if last:
            cases = record.cases[last[-1]]
            met = sum(case.others > 0 for case in cases)
            k = record.spec.problem.k
            upper = share(sum(ends), len(ends))[1][1]
            words.append(
                f"{k} experts: last met at n = {last[-1]:,}, in {met} of {len(cases)}; at"
                f" {sizes[-1]:,} {sum(ends)} of {len(ends)} (to {upper:.2f})"
            )
    return Finding(all(right), "; ".join(words) or "never met")


def silent(rows: Sequence[Row]) -> Finding:
    """At none of the sizes is a bound within the tolerance. The number: the n it would take, from
    the largest size."""
    return Finding(all(row.proved == 0 for row in rows), rows[-1].needed)

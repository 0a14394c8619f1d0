"""Sweeps of trials: run, kept, resumed; one idea for all chapters."""

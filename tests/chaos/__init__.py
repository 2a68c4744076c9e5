"""Faults, load and hostile input. A package, so that its world, and with it what its clients mean, ends with it."""

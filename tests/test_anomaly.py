"""Detectors and alarms: against an oracle that keeps every value, and what users are promised."""

import json

import naive
import numpy as np
import pytest
from daemon import Daemon, layers, wait_for

import streamrnn as sr
from streamrnn.kernels.anomaly import DETECTORS, alarm, detectors, envelope, memory, tail
from streamrnn.kernels.anomaly.memory import AMOUNTS_AT, CHANNELS_AT, COUNT, EVIDENCE_AT


def kernels(size, day, **options):
    """Settings and a stream's row."""
    plan = memory.plan(size, day, **({"threshold": 2.4, "alarms_per_day": 0.1, "normal": 0} | options))
    return plan.settings, np.zeros(plan.numbers)


def observed(settings, row, values, errors, scales, floors):
    """Amounts and evidence (size, detectors) after one frame."""
    envelope.enter(settings, row)
    for c in range(len(values)):
        detectors.observe(settings, row, c, values[c], errors[c], scales[c], floors[c])
    channels = row[CHANNELS_AT:].reshape(len(values), -1)
    return [channels[:, at : at + COUNT] for at in (AMOUNTS_AT, EVIDENCE_AT)]


@pytest.mark.parametrize("day", [24, 50, 700], ids=["24 frames", "50 frames", "more frames than places"])
def test_amounts_and_evidence_are_those_of_an_oracle_that_keeps_every_value(day):
    rng = np.random.default_rng(day)
    settings, row = kernels(2, day)
    oracles = [naive.Watched(day) for _ in range(2)]
    for t in range(1500):
        values = np.sin(2 * np.pi * t / day) + rng.standard_t(3, size=2) * [0.1, 1.0] + 3 * (t > 900)
        errors, scales, floors = rng.standard_t(3, size=2), np.array([1.5, 0.0 if t < 50 else 2.0]), np.array([0.1, 0.02])
        amounts, evidence = observed(settings, row, values, errors, scales, floors)
        wanted = [each.observe(*of) for each, *of in zip(oracles, values, errors, scales, floors, strict=True)]
        np.testing.assert_allclose(amounts, [each[0] for each in wanted], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(evidence, [each[1] for each in wanted], rtol=1e-6, atol=1e-6)


def test_a_tail_is_exact_as_long_as_it_is_kept_and_near_later():
    rng = np.random.default_rng(1)
    amounts, kept, oracle = rng.exponential(size=60_000), np.zeros(tail.TAIL), naive.Tail()
    for n, amount in enumerate(amounts, 1):
        tail.insert(kept, amount)
        if n in (100, 101, 149, 5_000, 12_800):
            oracle.amounts = amounts[:n].tolist()
            for asked in (3.0, 4.5, 9.0, 40.0):
                assert tail.evidence(kept, asked) == pytest.approx(oracle.evidence(asked), rel=1e-9)
    oracle.amounts = amounts.tolist()
    for asked in (4.5, 9.0):
        assert tail.evidence(kept, asked) == pytest.approx(oracle.evidence(asked), abs=0.15)

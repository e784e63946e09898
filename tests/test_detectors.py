"""The kernels of detectors and alarms, against an oracle that keeps every value."""

import naive
import numpy as np
import pytest

from streamrnn.kernels.anomaly import (
    BEGINS,
    DEPARTURE,
    ENDS,
    EVENT,
    FACTS,
    THRESHOLD,
    alarm,
    detectors,
    envelope,
    memory,
    tail,
)
from streamrnn.kernels.anomaly.memory import AMOUNTS_AT, CHANNELS_AT, COUNT, EVIDENCE_AT, FACTS_AT


def kernels(size, day, **options):
    """Settings and a stream's row."""
    plan = memory.plan(size, day, **({"threshold": 2.4, "alarms_per_day": 0.1, "normal": 0} | options))
    return plan.settings, np.zeros(plan.numbers)


def observed(settings, row, values, errors, scales, floors):
    """Amounts and evidence (size, detectors) after one frame."""
    envelope.enter(settings, row)
    for c in range(len(values)):
        if np.isnan(values[c]):
            detectors.miss(settings, row, c)
        else:
            detectors.observe(settings, row, c, values[c], errors[c], scales[c], floors[c])
    channels = row[CHANNELS_AT:].reshape(len(values), -1)
    return [channels[:, at : at + COUNT] for at in (AMOUNTS_AT, EVIDENCE_AT)]


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("day", [24, 50, 700], ids=["24 frames", "50 frames", "more frames than places"])
def test_amounts_and_evidence_are_those_of_an_oracle_that_keeps_every_value(day, missing):
    """missing: the share of values that are, and in stretches of 20 frames too."""
    rng = np.random.default_rng(day)
    settings, row = kernels(2, day, fills=missing > 0)
    oracles = [naive.Watched(day) for _ in range(2)]
    for t in range(1500):
        values = np.sin(2 * np.pi * t / day) + rng.standard_t(3, size=2) * [0.1, 1.0] + 3 * (t > 900)
        errors, scales, floors = (
            rng.standard_t(3, size=2),
            np.array([1.5, 0.0 if t < 50 else 2.0]),
            np.array([0.1, 0.02]),
        )
        gone = (rng.random(2) < missing / 2) | (np.random.default_rng(t // 20).random(2) < missing / 2)
        values[gone] = np.nan
        amounts, evidence = observed(settings, row, values, errors, scales, floors)
        wanted = [
            each.miss() if np.isnan(value) else each.observe(value, *of)
            for each, value, *of in zip(oracles, values, errors, scales, floors, strict=True)
        ]
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


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_facts_are_those_of_an_oracle(missing):
    """Score, rarity, threshold, event and its age; two channels that leave their normal state now and then."""
    rng = np.random.default_rng(3)
    settings, row = kernels(2, 50, normal=200, fills=missing > 0)
    oracles, judge = [naive.Watched(50) for _ in range(2)], naive.Judge(normal=200, threshold=2.4)
    events = []
    for t in range(3000):
        shift = np.array([3.0, -1.0]) * (t % 700 > 650 or 1500 < t < 1520)
        values = np.sin(t / 8) + rng.normal(size=2) * [0.3, 1.0] + shift
        errors = rng.normal(size=2)
        values[rng.random(2) < missing] = np.nan
        values[0] = np.nan if missing and t < 20 else values[0]
        amounts_and_evidence = [
            each.miss() if np.isnan(value) else each.observe(value, error, 1.0, 0.1)
            for each, value, error in zip(oracles, values, errors, strict=True)
        ]
        observed(settings, row, values, errors, np.ones(2), np.full(2, 0.1))
        alarm.decide(settings, row, values)
        wanted = judge.decide(values, [evidence for _, evidence in amounts_and_evidence])
        np.testing.assert_allclose(row[FACTS_AT : FACTS_AT + FACTS], wanted, rtol=1e-6, atol=1e-6)
        events.append(wanted[3])
    assert {BEGINS, ENDS} <= set(events)


def test_what_never_moves_is_left_out_of_the_normal_state():
    settings, row = kernels(2, 50, normal=200)
    rng = np.random.default_rng(4)
    for _ in range(400):
        values = np.array([rng.normal(), 7.0])
        observed(settings, row, values, np.zeros(2), np.array([1.0, 0.0]), np.zeros(2))
        alarm.decide(settings, row, values)
    assert np.isfinite(row[FACTS_AT : FACTS_AT + FACTS]).all()
    assert 0 < row[FACTS_AT + DEPARTURE] < 9


def test_a_rate_moves_the_threshold_with_each_alarm_and_frame():
    """Scores far beyond any threshold at every 200th frame, where one alarm in 400 frames is asked for."""
    settings, row = kernels(1, 100, threshold=None, alarms_per_day=0.25)
    first = 2 * (1.45e-3 * 400) ** 0.7
    alarms = 0
    for t in range(1, 2001):
        envelope.enter(settings, row)
        row[CHANNELS_AT + EVIDENCE_AT] = 60.0 if t % 200 == 0 else 0.0
        thresholds = first * max(0.1, 1 + 0.1 * (alarms - t / 400))
        alarm.decide(settings, row, np.zeros(1))
        facts = row[FACTS_AT : FACTS_AT + FACTS]
        assert facts[THRESHOLD] == pytest.approx(thresholds, rel=1e-5)
        alarms += facts[EVENT] == BEGINS
    assert alarms == 10


def test_a_report_holds_all_and_dismissed_evidence_counts_half_each_time():
    settings, row = kernels(2, 50)
    rng = np.random.default_rng(5)
    oracles = [naive.Watched(50) for _ in range(2)]
    for t in range(600):
        values = rng.normal(size=2) + 9 * (t > 590)
        if t == 300:
            for _ in range(2):
                alarm.be_patient(settings, row, 1 << COUNT | 0b1000000101)
            oracles[1].patience[[0, 2, 9]] = 4
        amounts, evidence = observed(settings, row, values, values, np.ones(2), np.zeros(2))
        alarm.decide(settings, row, values)
        wanted = [each.observe(value, value, 1.0, 0.0) for each, value in zip(oracles, values, strict=True)]
        np.testing.assert_allclose(evidence, [each[1] for each in wanted], rtol=1e-6, atol=1e-6)
    out = np.zeros(FACTS + 4 * COUNT)
    alarm.report(settings, row, out)
    np.testing.assert_array_equal(out[:FACTS], row[FACTS_AT : FACTS_AT + FACTS])
    np.testing.assert_array_equal(out[FACTS:].reshape(2, COUNT, 2), [evidence.T, amounts.T])
    assert (evidence > 0).all(axis=0).any()

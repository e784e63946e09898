"""What counts as divergence, and which checkpoint is from before it."""

from math import inf, log, nan, pi
from types import SimpleNamespace

import pytest

from streamrnn.storage.manifest import FORMAT, Manifest
from streamrnn.workers.publisher import RECENT
from streamrnn.workers.supervision.health import Health, usual_loss


def facts(loss, scored=RECENT):
    return {"scored": scored, "recent_loss": loss}


def manifest(loss):
    return Manifest(FORMAT, {}, [], [], {}, 0, {}, "", score={"recent_loss": loss})


def test_a_loss_that_rises_by_more_than_allowed_above_its_lowest_is_a_fault():
    health = Health()
    assert [health.fault(facts(loss), 1.0) for loss in (3.0, 2.0, 2.5, 2.0, 3.0)] == [""] * 5
    assert health.fault(facts(3.01), 1.0) == "the loss has risen from 2 to 3.01 nats"
    assert health.fault(facts(30.0), 0.0) == ""


@pytest.mark.parametrize("loss", [None, inf, nan])
def test_a_loss_that_is_not_finite_is_a_fault(loss):
    assert Health().fault(facts(loss), 1.0) == "the loss is not finite"


def test_there_must_be_enough_to_compare():
    health = Health()
    assert health.fault(facts(None, scored=RECENT - 1), 1.0) == ""
    health.fault(facts(1.0), 1.0)
    health.begin_anew(facts(9.0, scored=RECENT + 5))
    assert health.fault(facts(9.0, scored=2 * RECENT + 4), 1.0) == ""
    assert [health.fault(facts(loss, scored=2 * RECENT + 5), 1.0) for loss in (9.0, 9.5)] == ["", ""]


def test_a_checkpoint_is_good_before_the_loss_has_risen_by_half_of_what_is_allowed():
    health = Health()
    health.fault(facts(2.0), 1.0)
    assert [health.is_good(manifest(loss), 1.0) for loss in (2.0, 2.5, 2.6, None)] == [True, True, False, False]


def test_what_a_standardized_channel_costs_by_its_mean_and_deviation_is_never_too_much():
    config = SimpleNamespace(input=SimpleNamespace(standardize=True), readout=SimpleNamespace(kind="gaussian", size=2))
    usual = usual_loss(config)
    assert usual == pytest.approx(2 * 0.5 * (1 + log(2 * pi)))
    health = Health(usual)
    flat, moving = ({"scored": RECENT, "recent_loss": -99.0, "relative_loss": loss} for loss in (-20.0, usual + 0.9))
    assert [health.fault(facts, 1.0) for facts in (flat, moving)] == ["", ""]
    assert "has risen" in health.fault(moving | {"relative_loss": usual + 1.1}, 1.0)
    assert usual_loss(SimpleNamespace(input=SimpleNamespace(standardize=False))) == -inf

"""A daemon that reads a broker: each message once and in order, and the same parameters, whatever dies."""

import pytest

from benchmarks.reliability.chaos_brokers import chaos


@pytest.mark.long
@pytest.mark.parametrize("broker", ["mqtt", "kafka"])
def test_each_message_is_taken_once_whatever_dies(broker):
    found = chaos(broker, messages=1500, kills=4)
    assert found["deaths"] == {"daemon": 2, "worker": 1, "broker": 1}
    assert (found["frames"], found["lost"], found["same"]) == (1500, [], True)

"""What users are promised of anomalies and alarms, by the library and by a daemon."""

import msgspec
import numpy as np
import pytest
import zmq
from daemon import Daemon, layers, wait_for

import streamrnn as sr
from streamrnn.client.frame import dismissal_message
from streamrnn.client.lines import at_once
from streamrnn.kernels.anomaly import DETECTORS
from streamrnn.kernels.messages import ALARM, ALIVE
from streamrnn.protocol.wire import bytes_of, unpack


def network(size=1, **anomaly):
    readout = sr.Forecast(size, anomaly={"day": 48} | anomaly)
    return sr.Network([sr.GRU(size, 8)], readout, sr.Adam(2e-3), window=1, predict="next", standardize=True)


def daily(rng, days, size=1, day=48):
    t = np.arange(day * days)[:, None]
    return np.sin(2 * np.pi * t / day + np.arange(size)) + 0.1 * rng.normal(size=(day * days, size))


def raised(net, x, stream=""):
    """The frames at which an alarm begins, and the alarms."""
    found = [(k, net.alarm(net.step(each, stream), stream)) for k, each in enumerate(x)]
    return {k: alarm for k, alarm in found if alarm and alarm.event == "begins"}


def test_one_alarm_for_one_event_names_its_channels_and_says_why():
    x = daily(np.random.default_rng(5), 60, size=3)
    x[2000:2010, [0, 2]] += 4
    alarms = raised(network(3, threshold=3.0), x)
    (at,) = [k for k in alarms if 1990 < k < 2060]
    found = alarms[at]
    assert 2000 <= at < 2003
    assert set(found.channels) == {"channel 1", "channel 3"}
    assert "outside of what was usual at this time of day" in found.words
    assert found.score >= found.threshold == pytest.approx(3.0, abs=0.1)
    assert 0 < found.p_value < 0.02
    assert found.plain()["why"][0]["p_value"] == found.why[0].p_value <= found.why[-1].p_value


@pytest.mark.parametrize("asked", [0.1, 0.5, 1.0])
def test_as_many_alarms_come_as_were_asked_for(asked):
    """Four streams with spikes, 400 days in all."""
    count = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = daily(rng, 100, day=144) + (rng.random((14_400, 1)) < 0.004) * rng.standard_t(2, (14_400, 1))
        count += len(raised(network(day=144, alarms_per_day=asked), x))
    assert asked / 1.5 <= count / 400 <= asked * 1.5


def test_an_anomaly_does_not_become_normal_at_once_and_a_lasting_change_does_within_two_days():
    x = daily(np.random.default_rng(6), 80)
    x[2400:2406] += 3  # at noon
    x[2424:2430] += 3  # again, half a day later
    x[3000:] += 6  # from here on
    net = network(threshold=2.4)
    scores = np.array([float(net.readout.anomalies(net.step(each)).score) for each in x])
    assert scores[2400:2406].max() > 4
    assert scores[2424:2430].max() > 4
    assert scores[3000:3010].max() > 4
    assert (scores[3000 + 3 * 48 :] > 2.4).mean() < 0.02


def test_what_was_dismissed_counts_half_and_only_on_its_stream():
    rng = np.random.default_rng(7)
    x = daily(rng, 60)
    x[2000:2003] += 2
    x[2500:2503] += 2
    nets = [network(threshold=2.4) for _ in range(2)]
    for net, dismiss in zip(nets, (False, True), strict=True):
        for k, found in raised(net, x[:2400]).items():
            if dismiss and k >= 2000:
                net.dismiss(found)
    plain, patient = (net.readout.anomalies(net.run(x[2400:2502])[0][-1]) for net in nets)
    carried = plain.evidence > 0
    halves = np.isclose(patient.evidence[carried], plain.evidence[carried] / 2)
    assert halves.any()
    assert patient.score < plain.score
    for net in nets:
        assert raised(net, x, "other").keys() == raised(network(threshold=2.4), x).keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"day": 23}, "day"),
        ({"alarms_per_day": 0}, "alarms_per_day"),
        ({"threshold": 0}, "threshold"),
        ({"normal": 5}, "normal"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_without_detectors_nothing_is_read():
    net = sr.Network([sr.GRU(1, 2)], sr.Forecast(1), sr.Adam(0.01), predict="next", standardize=True)
    with pytest.raises(ValueError, match="no detectors"):
        net.readout.anomalies(net.step([1.0]))


CONFIG = {
    "predict": "next",
    "input": 'kind = "vector"\nsize = 2\nstandardize = true\nchannels = ["left", "right"]',
    "readout": 'kind = "forecast"\nsize = 2\nlags = 3',
    "layers": layers("gru 4"),
    "optimizer": 'kind = "adam"\nlearning_rate = 0.002',
    "learning": "window = 1\n[anomaly]\nday = 48\nthreshold = 2.0",
}


def configured():
    """The library's network of that config."""
    readout = sr.Forecast(2, lags=3, anomaly={"day": 48, "threshold": 2.0})
    return sr.Network([sr.GRU(2, 4)], readout, sr.Adam(0.002), window=1, predict="next", standardize=True)


@pytest.mark.parametrize("options", [(), ("--fused",)], ids=["piped", "fused"])
def test_a_daemon_raises_the_librarys_alarms_with_its_bits_and_takes_dismissals_also_after_kills(options):
    x = daily(np.random.default_rng(8), 16, size=2)
    x[600:604, 1] += 4
    net, expected = configured(), []
    with Daemon(**CONFIG) as daemon:
        daemon.start(*options)
        with daemon.client() as client, client.alarms(timeout=20.0) as alarms, zmq.Context() as context:
            raw = context.socket(zmq.SUB)
            raw.connect(client._outputs_endpoint)
            raw.subscribe(b"alarms\0")
            for k, frame in enumerate(x):
                output = client.step(frame, stream="a")
                wanted = net.step(frame, "a")
                np.testing.assert_array_equal(output.y, wanted, err_msg=f"frame {k}")
                if k in (250, 650):
                    daemon.workers()["stages-0" if options else "stages-1"].kill()
                if found := net.alarm(wanted, "a"):
                    said = next(alarms)
                    expected.append(said.seq)
                    assert said.seq == output.seq
                    assert (said.event, said.score, said.frames) == (found.event, found.score, found.frames)
                    if said.event == "begins" and k > 300:
                        client.dismiss(said)
                        net.dismiss(found)
            assert "right" in said.channels or said.event == "ends"
            message = None
            while message is None or message.kind == ALIVE:  # the answer to the subscription comes first
                assert raw.poll(20_000)
                message = unpack(raw.recv_multipart()[1])
            assert message.kind == ALARM
            assert msgspec.json.decode(bytes_of(message))["seq"] in expected
            raw.close(linger=0)
        error = daemon.stop()
        assert "outside of what was usual" in error or "alarm" in error
        assert sr.load(daemon.checkpoint()).parameters_sha256() == net.parameters_sha256()
    assert len(expected) >= 2


def test_a_dismissal_that_cannot_be_is_refused_and_changes_nothing():
    x = daily(np.random.default_rng(9), 3, size=2)
    with Daemon(**CONFIG) as daemon:
        daemon.start()
        with daemon.client() as client:
            outputs = [client.step(frame, stream="a") for frame in x[:100]]
            for said in ([2 << len(DETECTORS)], [-1]):
                number = at_once(client._requests.post("a", dismissal_message(said), 20.0))
                with pytest.raises(sr.FrameRefused, match="no such alarm"):
                    at_once(client._requests.wait_for(number, 20.0))
            with pytest.raises(sr.FrameRefused, match="alarms are published"):
                client.step(x[0], stream="alarms")
            outputs += [client.step(frame, stream="a") for frame in x[100:]]
        daemon.stop()
    net = configured()
    for output, frame in zip(outputs, x, strict=True):
        np.testing.assert_array_equal(output.y, net.step(frame))


def test_another_number_of_alarms_holds_from_the_next_start_on():
    x = daily(np.random.default_rng(10), 6, size=2)
    with Daemon(**CONFIG) as daemon:
        daemon.start()
        with daemon.client() as client:
            before = [client.step(frame, stream="a") for frame in x[:150]]
            assert client.readout.anomalies(before[-1].y).threshold < 2.0
        daemon.stop()
        daemon.config.write_text(daemon.config.read_text().replace("threshold = 2.0", "threshold = 9.0"))
        daemon.start()
        with daemon.client() as client:
            after = client.step(x[150], stream="a")
            assert 8.0 < client.readout.anomalies(after.y).threshold < 9.0
            wait_for(lambda: client.status()["frames"] == 151)
        daemon.stop()
    net = configured()
    wanted = [net.step(frame) for frame in x[:151]][-1]
    forecasts = net.readout.table.forecasts
    np.testing.assert_array_equal(after.y[:forecasts], wanted[:forecasts])

"""What a runner says of its detector, passed on."""

from promlstm.live.relay import Relay
from promlstm.serve.telemetry import Telemetry

UP, REASON = 'promlstm_detector_up', 'promlstm_detector_unscored'


def test_a_gauge_is_as_it_was_said_last():
    """It is passed on when it changes, or was taken off the page; what waits is said in its order when the relay opens."""
    telemetry = Telemetry(process=False)
    relay = Relay(telemetry, print, print)

    def shown(name, **labels):
        return telemetry.registry.get_sample_value(name, {'detector': 'd', **labels})

    for value in (0, 1, 1, 0, 1):
        relay.set(UP, value, 'd')
        assert shown(UP) == value
    relay.set(REASON, 1, 'd', 'query')
    relay.drop(REASON, 'd')
    assert shown(REASON, reason='query') is None and shown(UP) == 1
    relay.set(REASON, 1, 'd', 'query')
    assert shown(REASON, reason='query') == 1
    waiting = Relay(telemetry, print, print, take_over=print)
    for value in (0, 1, 0):
        waiting.set(UP, value, 'd')
    assert shown(UP) == 1
    waiting.open()
    assert shown(UP) == 0
    waiting.set(UP, 1, 'd')
    assert shown(UP) == 1

"""How far the clock of a server is from ours, by the Date of an answer. Pure.

Who calls it: prometheus, for every answer.
"""

import math
from email.message import Message
from email.utils import parsedate_to_datetime


def skew(headers: Message, sent: float, received: float) -> float:
    """How many seconds the server's clock is at least ahead of ours (below 0: behind); 0 where they may agree, NaN where there is no Date.

    sent, received  unix seconds of our clock, at the request and at the answer

    A Date is in whole seconds, cut off, and of some instant between the two (RFC 9110, section 6.6.1). One that comes out of a cache is older
    by its Age.

    >>> answer = Message()
    >>> answer['Date'] = 'Thu, 01 Jan 1970 00:02:00 GMT'
    >>> skew(answer, 120.5, 150), skew(answer, 150, 151), skew(answer, 100, 101), skew(Message(), 100, 101)
    (0.0, -29.0, 19.0, nan)
    """
    try:
        date = parsedate_to_datetime(headers['Date']).timestamp() + float(headers.get('Age') or 0)
    except (TypeError, ValueError, OverflowError, IndexError):  # none, or none that can be read
        return math.nan
    least, most = date - received, date + 1 - sent
    return max(least, 0.0) or min(most, 0.0)

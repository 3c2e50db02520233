"""Who may change something by way of the pages: nobody, unless `--web.enable-actions` is given.

Who calls it: what_if and feedback, before they do anything. A password has been asked for before, by serve.door, if the web configuration has users.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from promlstm.serve.handling import Forbidden
from promlstm.serve.messages import Request
from promlstm.serve.passwords import basic
from promlstm.serve.site import own_page
from promlstm.ui.jobs import Jobs

NOT_ENABLED = 'actions are disabled: promlstm runs without --web.enable-actions'


@dataclass(frozen=True, slots=True)
class Actions:
    """What is allowed.

    enabled  whether anything is
    host     name under which browsers reach the exporter, beside addresses and localhost
    users    gives {user: hash} of the web configuration; empty = no password is asked for
    """

    enabled: bool = False
    host: str = ''
    users: Callable[[], Mapping[str, str]] = dict
    jobs: Jobs = field(default_factory=Jobs)

    def permit(self, request: Request) -> None:
        """Forbidden unless a request may change something."""
        if not self.enabled:
            raise Forbidden(NOT_ENABLED)
        if not own_page(request.headers, self.host):
            raise Forbidden('the request comes from a page of another site, or uses a host name that promlstm does not know: set it with --web.external-url')

    def who(self, request: Request) -> str:
        """The user that a request is from, or its address where nobody has to say a name."""
        given = basic(request.header('authorization')) if self.users() else None
        return given[0] if given else request.client

"""Several hosts, one model: the first host by name keeps the tracker, all of them join it.

Twice: first every host, to learn which of them have data, then those that do.
"""

import logging
import socket
import sys

from retrying import retry
from sagemaker_algorithm_toolkit import exceptions as exc

from sagemaker_xgboost_container import _worker

LOCAL_HOSTNAME = "127.0.0.1"
_FIRST_PORT = 9099
_SECOND_PORT = 9100
_RESOLUTION_SECONDS = 15 * 60

logger = logging.getLogger(__name__)


@retry(stop_max_delay=_RESOLUTION_SECONDS * 1000, wait_exponential_multiplier=100, wait_exponential_max=30000)
def _dns_lookup(host):
    return socket.gethostbyname(host)


def wait_hostname_resolution(sm_hosts):
    """Returns when every host has an address; the containers of a job do not start at the same moment."""
    for host in sm_hosts:
        _dns_lookup(host)


def rabit_run(
    exec_fun,
    args,
    include_in_training,
    hosts,
    current_host,
    first_port=None,
    second_port=None,
    max_connect_attempts=None,
    connect_retry_timeout=_worker.RETRY_SECONDS,
    update_rabit_args=False,
):
    """Calls `exec_fun(**args)` on every host with data, joined; a host without data ends with exit code 0.

    With `update_rabit_args` it is also told `is_master`. Raises UserError where no host has data.
    """
    attempts = (max_connect_attempts, connect_retry_timeout)
    with Rabit(hosts, current_host, None, first_port or _FIRST_PORT, *attempts) as everybody:
        answers = everybody.synchronize({"host": current_host, "include_in_training": include_in_training})
    included = [each["host"] for each in answers if each["include_in_training"]]
    if not included:
        raise exc.UserError("no host has data to train on")
    if not include_in_training:
        logger.warning("'%s' has no data: it takes no part", current_host)
        sys.exit(0)
    if len(included) == 1:
        exec_fun(**_told(args, update_rabit_args, True))
        return
    with Rabit(included, current_host, None, second_port or _SECOND_PORT, *attempts) as group:
        exec_fun(**_told(args, update_rabit_args, group.is_master))


def _told(args, update_rabit_args, is_master):
    return dict(args, is_master=is_master) if update_rabit_args else args


class RabitHelper:
    """A joined host."""

    def __init__(self, is_master, current_host, master_port):
        self.is_master = is_master
        self.current_host = current_host
        self.master_port = master_port
        self.rank = _worker.rank()

    def synchronize(self, data):
        """What every host gave, by rank."""
        return [_worker.broadcast(data if self.rank == rank else None, rank) for rank in range(_worker.count())]


class Rabit:
    """Context: joins `hosts`; the first by name, or `master_host`, keeps the tracker at `port`."""

    def __init__(
        self,
        hosts,
        current_host=None,
        master_host=None,
        port=None,
        max_connect_attempts=None,
        connect_retry_timeout=_worker.RETRY_SECONDS,
    ):
        if max_connect_attempts is not None and max_connect_attempts <= 0:
            raise ValueError("max_connect_attempts is {}, it has to be positive or None".format(max_connect_attempts))
        self.hosts = sorted(hosts)
        self.current_host = current_host or LOCAL_HOSTNAME
        self.master_host = master_host or self.hosts[0]
        self.port = port or _FIRST_PORT
        self.attempts = max_connect_attempts or _worker.ATTEMPTS
        self.connect_retry_timeout = connect_retry_timeout
        self.is_master = self.current_host == self.master_host
        self._tracker = None

    def start(self):
        """A RabitHelper, when all hosts have joined."""
        address = _worker.Address(_dns_lookup(self.master_host), self.port)
        if self.is_master:
            self._tracker = _worker.start_tracker(address, len(self.hosts))
        _worker.join(address, self.current_host, _worker.Patience(self.attempts, self.connect_retry_timeout))
        return RabitHelper(self.is_master, self.current_host, self.port)

    def stop(self):
        """Leaves; the tracker's host waits until all have left."""
        _worker.leave()
        if self._tracker is not None:
            _worker.stop_tracker(self._tracker)
            self._tracker = None

    def __enter__(self):
        return self.start()

    def __exit__(self, exc_type, exc_value, exc_traceback):
        if exc_type is None or exc_type is SystemExit:
            self.stop()

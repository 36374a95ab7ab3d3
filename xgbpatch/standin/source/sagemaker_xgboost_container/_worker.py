"""This process among those that train together, through XGBoost's own tracker: rabit up to 1.7, collective later."""

import logging
import time
from collections import namedtuple

from xgboost.core import XGBoostError

from sagemaker_xgboost_container import _training_behaviour as behaviour

if behaviour.USES_RABIT:
    from xgboost import rabit as _group
else:
    from xgboost import collective as _group

ATTEMPTS = 60
RETRY_SECONDS = 3 if behaviour.USES_RABIT else 10

Address = namedtuple("Address", "ip port")
Patience = namedtuple("Patience", "attempts seconds")

logger = logging.getLogger(__name__)


def rank():
    """0 where a single host trains."""
    return _group.get_rank()


def count():
    return _group.get_world_size()


def broadcast(data, root):
    """What the process of rank `root` gave as `data`, anything that pickles."""
    return _group.broadcast(data, root)


def start_tracker(address, workers):
    """A tracker, listening. It raises OSError or XGBoostError where the port is taken."""
    from xgboost.tracker import RabitTracker

    if behaviour.USES_RABIT:
        tracker = RabitTracker(address.ip, workers, port=address.port, **_tracker_options(address.port))
        tracker.start(workers)
    else:
        tracker = RabitTracker(n_workers=workers, host_ip=address.ip, port=address.port, sortby="task")
        tracker.start()
    return tracker


def _tracker_options(port):
    """No port but this one; metric lines to the log, where trackers before 1.5 put them anyway."""
    only = {} if behaviour.XGBOOST >= (1, 7) else {"port_end": port + 1}
    return dict(only, use_logger=True) if behaviour.XGBOOST >= (1, 5) else only


def stop_tracker(tracker):
    if behaviour.USES_RABIT:
        tracker.join()
    else:
        tracker.wait_for()
        tracker.free()


def join(address, name, patience):
    """Returns when all workers have joined; `name` tells this one from the others."""
    if behaviour.USES_RABIT:
        _group.init(_rabit_arguments(address, name, patience))
    else:
        _join_collective(address, name, patience)


def leave():
    _group.finalize()


def _rabit_arguments(address, name, patience):
    """Rabit itself tries again, after two seconds more each time; a probe of ours would end the tracker's thread."""
    arguments = {
        "DMLC_TRACKER_URI": address.ip,
        "DMLC_TRACKER_PORT": address.port,
        "DMLC_TASK_ID": name,
        "DMLC_WORKER_CONNECT_RETRY": patience.attempts,
    }
    return ["{}={}".format(*pair).encode() for pair in arguments.items()]


def _join_collective(address, name, patience):
    for left in range(patience.attempts - 1, -1, -1):
        try:
            _group.init(
                dmlc_communicator="rabit",
                dmlc_tracker_uri=address.ip,
                dmlc_tracker_port=address.port,
                dmlc_task_id=name,
                dmlc_timeout=max(30, patience.seconds),
            )
            return
        except XGBoostError:
            if not left:
                raise
            logger.info("No tracker at %s:%d yet", *address)
            time.sleep(5)

"""Answers requests of the base's WSGI application in this process, hooked as the environment asks, and times them.

Runs in the packages of a base (`environments.py`): request_worker.py MODEL_FOLDER. It writes one JSON line when it is
ready, with the processor seconds of the start, one answer included, and the bytes it holds; then one for each line it
reads: `[rows, requests]` gives processor seconds a request, and a digest of the body.
"""

import gc
import hashlib
import io
import json
import os
import sys
import time

FEATURES = int(os.environ["BENCH_FEATURES"])


def body(rows):
    """CSV of random cells, the same in every process."""
    import numpy as np

    cells = np.random.RandomState(rows).rand(rows, FEATURES)
    return "\n".join(",".join("{:.6f}".format(cell) for cell in row) for row in cells).encode()


def started(folder):
    """The application of `serve`, as a gunicorn worker gets it."""
    from sagemaker_xgboost_container.algorithm_mode import serve
    from xgbpatch_overlays import settings

    serve.ScoringService.MODEL_PATH = folder
    config = settings.read(os.environ)
    if config.active:
        from xgbpatch_overlays import single_model

        single_model.install(config)
    serve.load_model()
    return serve.ScoringService.csdk_start()


def environ(content):
    """What gunicorn gives to the application, with the headers of SageMaker's client."""
    return {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/invocations", "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "text/csv", "CONTENT_LENGTH": str(len(content)), "HTTP_ACCEPT": "text/csv",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.multithread": False,
        "wsgi.multiprocess": True, "wsgi.run_once": False, "wsgi.input_terminated": True,
    }  # fmt: skip


def ask(application, content):
    """The answer's body; an error ends this process."""
    statuses = []
    request = dict(environ(content), **{"wsgi.input": io.BytesIO(content)})
    parts = application(request, lambda status, headers, error=None: statuses.append(status))
    answer = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    if statuses != ["200 OK"]:
        raise SystemExit("the answer is {}: {!r}".format(statuses, answer[:500]))
    return answer


def main():
    """Serve what is asked on standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr
    application = started(sys.argv[1])
    bodies = {}
    ask(application, body(1))
    with open("/proc/self/status") as file:
        resident = next(1024 * int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    answers.write(json.dumps({"seconds": time.process_time(), "resident": resident}) + "\n")
    answers.flush()
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        rows, requests = json.loads(line)
        content = bodies.setdefault(rows, body(rows))
        begun = time.process_time()
        for _ in range(requests):
            answer = ask(application, content)
        seconds = (time.process_time() - begun) / requests
        answers.write(json.dumps([seconds, hashlib.sha256(answer).hexdigest()]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

"""nginx and gunicorn as sagemaker_containers starts them, with gunicorn's log level and keep-alive by environment."""

import os
import subprocess
import sys

from sagemaker_containers import _env, _modules
from sagemaker_containers._server import (
    UNIX_SOCKET_BIND,
    _add_sigterm_handler,
    _create_nginx_config,
    next_safe_port,
    nginx_config_file,
)

__all__ = ["get_gunicorn_args", "next_safe_port", "start"]


def get_gunicorn_args(env, gunicorn_bind_address, pythonpath, module_app):
    """Gunicorn's command line for a ServingEnv."""
    workers = env.model_server_workers
    options = {
        "--timeout": env.model_server_timeout,
        "--keep-alive": os.getenv("SAGEMAKER_GUNICORN_KEEP_ALIVE", "2"),
        "-k": "gevent",
        "--pythonpath": pythonpath,
        "-b": gunicorn_bind_address,
        "--worker-connections": 1000 * workers,
        "-w": workers,
        "--log-level": os.getenv("SAGEMAKER_GUNICORN_LOG_LEVEL", "info"),
    }
    return ["gunicorn"] + [str(word) for pair in options.items() for word in pair] + [module_app]


def _start_nginx(env):
    if not env.use_nginx:
        return None
    _create_nginx_config(env)
    return subprocess.Popen(["nginx", "-c", nginx_config_file])


def start(module_app):
    """Serve `module:function`; returns when nginx or gunicorn ends."""
    env = _env.ServingEnv()
    nginx = _start_nginx(env)
    if env.module_name:
        _modules.import_module(env.module_dir, env.module_name)
    address = UNIX_SOCKET_BIND if nginx else "0.0.0.0:{}".format(env.http_port)
    gunicorn = subprocess.Popen(get_gunicorn_args(env, address, ",".join(sys.path + [_env.code_dir]), module_app))
    _add_sigterm_handler(nginx, gunicorn)
    children = {child.pid for child in (nginx, gunicorn) if child}
    while os.wait()[0] not in children:
        pass

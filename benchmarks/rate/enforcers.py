"""
Limiters that we did not write: nginx, HAProxy and Redis, each with a configuration of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["free_port", "haproxy", "nginx", "programs", "redis_server"]

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections 512; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 100000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  limit_req_status 429;
  limit_req_log_level info;
{servers}
}}
"""

_NGINX_SERVER = """
  limit_req_zone $server_port zone=z{port}:32k rate=10r/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      limit_req zone=z{port} {options};
      root {directory};
      try_files /status.json =404;
    }}
  }}
"""

_HAPROXY = """
global
  maxconn 512
defaults
  mode http
  timeout client 300s
  timeout connect 5s
  timeout server 5s
  timeout http-keep-alive 300s
"""

_HAPROXY_FRONTEND = """
frontend f{port}
  bind 127.0.0.1:{port}
  stick-table type ip size 1k expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 10 }}
  http-request return status 200 content-type application/json string "pending"
"""


def programs(install: bool = True) -> tuple[dict[str, str], list[str]]:  # noqa: FBT001, FBT002
    """Find the programs, with apt if need be: their paths, and what to say about the others."""
    packages = {"nginx": "nginx-light", "haproxy": "haproxy", "redis-server": "redis-server"}
    found = {name: path for name in packages if (path := shutil.which(name, path=_PATH))}
    missing = [name for name in packages if name not in found]
    if not missing:
        return found, []
    problem = "not installed"
    if install and shutil.which("apt-get"):
        names = [packages[name] for name in missing]
        commands = [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names],
        ]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for command in commands:
            done = subprocess.run(command, capture_output=True, env=environment, check=False)
            if done.returncode:
                problem = f"`{' '.join(command)}` failed"
                break
        found = {name: path for name in packages if (path := shutil.which(name, path=_PATH))}
    return found, [f"{name}: {problem}" for name in packages if name not in found]


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def nginx(program: str, directory: Path, servers: dict[int, str]) -> Iterator[None]:
    """Run nginx with one limit per port, each with options such as ``burst=9 nodelay``."""
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "status.json").write_text('{"apiStatus":"API_OPERATION_STATUS_PENDING"}')
    blocks = [
        _NGINX_SERVER.format(port=port, options=options, directory=directory)
        for port, options in servers.items()
    ]
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, servers="".join(blocks)))
    # As root, its workers would be nobody, who cannot read our directory.
    user = "user root;" if os.getuid() == 0 else ""
    with _running(
        [program, "-p", str(directory), "-c", str(config), "-g", user], list(servers)[:1]
    ):
        yield


@contextmanager
def haproxy(program: str, directory: Path, ports: list[int]) -> Iterator[None]:
    """Run HAProxy with one limit of 10 requests in a sliding second per port."""
    directory.mkdir()
    config = directory / "haproxy.cfg"
    config.write_text(_HAPROXY + "".join(_HAPROXY_FRONTEND.format(port=port) for port in ports))
    with _running([program, "-db", "-q", "-f", str(config)], ports[:1]):
        yield


@contextmanager
def redis_server(program: str, directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Redis that keeps nothing on disk."""
    directory.mkdir(exist_ok=True)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _running([*command, "--appendonly", "no", "--dir", str(directory)], [port]) as process:
        yield process


@contextmanager
def _running(command: list[str], ports: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for port in ports:
            _wait_for(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} does not start") from None
            time.sleep(0.02)
        else:
            return

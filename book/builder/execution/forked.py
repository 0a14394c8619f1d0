"""What Jupyter needs to know of a kernel that was forked."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from builder.execution.forking import fork, forkable


class ForkedProcess:
    """As far as Jupyter asks, a ``subprocess.Popen`` of a process that another one started.

    A signal to one that has ended is dropped, as it is there.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process: Any = None
        with suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        """None while it runs, 0 afterwards, however it ended: only its parent could know."""
        with suppress(psutil.NoSuchProcess):
            seen = self._process
            if seen and seen.is_running() and seen.status() != psutil.STATUS_ZOMBIE:
                return None
        return 0

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.05)
        return 0

    def send_signal(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess):
            if self._process:
                self._process.send_signal(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forked(LocalProvisioner):
    """Starts kernels by ``fork`` where they are ``forkable``."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        if not forkable(cmd):
            return await super().launch_kernel(cmd, **kwargs)
        self.cwd = kwargs.get("cwd") or Path.cwd()
        process: Any = ForkedProcess(fork(cmd, kwargs["env"], str(self.cwd)))
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        return self.connection_info


class ForkedKernel(AsyncKernelManager):
    """A kernel manager with that way to start them."""

    async def _async_pre_start_kernel(self, **kw: Any) -> Any:
        if self.provisioner is None:
            self.provisioner = Forked(kernel_id="", kernel_spec=self.kernel_spec, parent=self)
        return await super()._async_pre_start_kernel(**kw)

"""What Jupyter needs to know of a kernel that was forked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from builder.forking import fork, forkable


class ForkedProcess(psutil.Process):  # type: ignore[misc]  # psutil tells no types
    """As far as Jupyter asks, a ``subprocess.Popen`` of a process that another one started."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return None if self.is_running() else 0


class Forked(LocalProvisioner):
    """Starts kernels by ``fork`` where they are ``forkable``."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        if not forkable(cmd):
            return await super().launch_kernel(cmd, **kwargs)
        self.cwd = kwargs.get("cwd") or Path.cwd()
        self.process = ForkedProcess(fork(cmd, kwargs["env"], str(self.cwd)))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class ForkedKernel(AsyncKernelManager):
    """A kernel manager with that way to start them."""

    async def _async_pre_start_kernel(self, **kw: Any) -> Any:
        if self.provisioner is None:
            self.provisioner = Forked(kernel_id="", kernel_spec=self.kernel_spec, parent=self)
        return await super()._async_pre_start_kernel(**kw)

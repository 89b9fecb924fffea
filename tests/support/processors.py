"""The back ends without a device, as the tests use them: neither is compiled or opened before it computes."""

from __future__ import annotations

from rnnlimits.kernels.host import HostBackend
from rnnlimits.kernels.reference import NumpyBackend

host, reference = HostBackend(), NumpyBackend()

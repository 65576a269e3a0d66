"""The GPU's primary context, which TensorRT and PyTorch use, too, and the base of everything that is owned in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from engines.cuda.binding import CudaError, cuda_errors, forget_current_context, load_driver
from engines.cuda.ledger import Ledger

_Owned = TypeVar("_Owned", bound="Owned")


class CudaContext:
    """The primary context of one GPU, held until `close`; `ledger` counts what is owned in it.

    A context is current in a thread, not in a process: whatever calls CUDA does so within `active()`, which any number
    of threads may enter. Raises EngineError where there is no GPU or no pycuda.
    """

    def __init__(self, device: int = 0) -> None:
        self.driver: Any = load_driver()
        self.ledger = Ledger()
        with cuda_errors("opening the GPU"):
            found = self.driver.Device(device)
            self.capability: tuple[int, int] = found.compute_capability()
            self._context: Any = found.retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context the calling thread's current one for a while."""
        if self._context is None:
            raise CudaError("CUDA_ERROR_CONTEXT_IS_DESTROYED", "this CUDA context is closed; open another engine")
        self._context.push()
        try:
            yield
        finally:
            self.driver.Context.pop()

    def close(self) -> None:
        """Give the context back, from any thread. Calling it twice is harmless.

        Raises CudaError where something is still owned in it; the context is given back all the same.
        """
        if self._context is None:
            return
        context, self._context = self._context, None
        # pycuda gives a context back only in the thread that opened it, and from another one leaves it open without a
        # word, unless it is current. A primary context then stays on CUDA's own stack, so it is taken off that before.
        context.push()
        forget_current_context()
        with cuda_errors("closing the GPU's context"):
            context.detach()
        held = ", ".join(f"{count} {kind}" for kind, count in self.ledger.held.items())
        if held:
            raise CudaError("CUDA_ERROR_ALREADY_ACQUIRED", f"the GPU's context was closed before what it holds: {held}")

    def __enter__(self) -> CudaContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Owned(ABC):
    """Something that lives in a context and is given back by `close`, from any thread. No use after that."""

    kind = "resource"

    def __init__(self, context: CudaContext) -> None:
        self._context = context
        with context.active(), cuda_errors(f"making a {self.kind}"):
            self._make()
        context.ledger.took(self.kind)
        self._open = True

    @abstractmethod
    def _make(self) -> None:
        """Take it; the context is current."""

    @abstractmethod
    def _give_back(self) -> None:
        """Give it back; the context is current."""

    def close(self) -> None:
        """Give it back. Calling it twice is harmless. Raises CudaError."""
        if not self._open:
            return
        self._open = False
        # Counted first: whatever CUDA says, nobody can give it back a second time.
        self._context.ledger.gave_back(self.kind)
        with self._context.active(), cuda_errors(f"giving back a {self.kind}"):
            self._give_back()

    def __enter__(self: _Owned) -> _Owned:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

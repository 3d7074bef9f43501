"""`AnswerSheet`: the answers to all images, from several processes and after interruptions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import InvalidArgument
from zoo.evaluation.processes import gather_numbers, interleave, join_processes
from zoo.evaluation.state import read_rows, save_rows


class AnswerSheet:
    """A row of numbers for each image: those of a state file, then those of this run.

    Each process adds the rows of its own `indices`, every n-th image after the first `first`,
    in batches of `batch_size`. After each batch the file holds the rows of all processes.

    Args:
        total: Images in all; None for a stream that does not say.
        path: The state file, or None for none.
        identity: What the file must say that it belongs to.

    Raises:
        InvalidArgument: the file is of another evaluation, or processes see different files.
    """

    def __init__(
        self,
        width: int,
        total: int | None,
        batch_size: int,
        path: Path | None,
        identity: dict[str, str],
    ) -> None:
        self.total, self.batch_size = total, batch_size
        self.path, self.identity = path, identity
        self.processes = join_processes()
        found = read_rows(path, identity) if path is not None else None
        self.earlier = torch.zeros(0, width, dtype=torch.int) if found is None else found
        self.own = [torch.zeros(0, width, dtype=torch.int, device=self.processes.device)]
        self.done = len(range(self.processes.process_index, self.first, self._step))
        # Also waits until all processes have read the file, which the first one replaces.
        if gather_numbers(self.first).unique().numel() > 1:
            raise InvalidArgument(f"state: all processes must see the same file {path}")

    @property
    def first(self) -> int:
        """How many images were answered in earlier runs."""
        return len(self.earlier)

    @property
    def indices(self) -> range:
        """The images that this process has to answer."""
        assert self.total is not None
        return range(self.first + self.processes.process_index, self.total, self._step)

    @property
    def expected(self) -> int:
        """How many images this process answers in all, earlier runs included."""
        if self.total is None:
            return self.done
        return len(range(self.processes.process_index, self.total, self._step))

    def add(self, rows: Tensor) -> None:
        """Add the rows of the next batch."""
        self.own.append(rows.to(self.processes.device))
        self.done += len(rows)
        if self.path is None or self.total is None:
            return
        # As long as images are left after it, this batch was full in every process.
        answered = (len(self.own) - 1) * self.batch_size * self._step
        if self.first + answered < self.total:
            merged = self._merge(answered)
            if self.processes.is_main_process:
                save_rows(self.path, merged, self.identity)

    def finish(self) -> Tensor:
        """Return the rows of all images, and remove the file."""
        merged = self._merge(self.done if self.total is None else self.total - self.first)
        if self.path is not None and self.processes.is_main_process:
            self.path.unlink(missing_ok=True)
        return merged

    @property
    def _step(self) -> int:
        return self.processes.num_processes

    def _merge(self, answered: int) -> Tensor:
        return torch.cat([self.earlier, interleave(torch.cat(self.own), answered).cpu()])

"""Several processes that train one pair of networks: `torchrun --nproc-per-node N -m ganlab train …`.

Every process holds both networks whole and takes its share of each batch; gradients are averaged after each backward
pass. torch's DistributedDataParallel does the same by hooks, but it expects one forward pass a backward one, and
refuses second derivatives: a GAN's step has several, and gradient penalties need the latter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed


class World:
    """This process among all that train: `rank` of `size`. Rank 0 leads: it alone writes."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, batch: torch.Tensor, dim: int = 0) -> torch.Tensor:
        """This process's part of what was drawn for all: contiguous, as large as the others'."""
        return batch if self.size == 1 else batch.tensor_split(self.size, dim)[self.rank]

    def average_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Each gradient becomes its mean over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        self.average(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def average(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor becomes its mean over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def agree(self, value: Any) -> Any:
        """The leader's value, in every process. Waits for all."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]


@contextmanager
def world_of(device: torch.device) -> Iterator[World]:
    """The processes that torchrun started; one alone if it did not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    # Imported later, as the first optimiser does by way of torch._dynamo, its functions' default arguments would hold
    # the group for good: its threads would outlive the interpreter, which aborts the process now and then.
    import torch.distributed.nn  # noqa: F401

    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()

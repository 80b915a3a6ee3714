"""Writing files so that a crash at any moment loses nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` so that a reader, or a process killed at any moment, finds the old file or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

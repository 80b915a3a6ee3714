"""What readers ask of a worker through control.json: pause, go on, stop, and other values of live hyperparameters.

A change is written into the run's events and made from there, now and whenever its step comes again after a resume.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from ganlab.config import Config, changed
from ganlab.distributed import World
from ganlab.errors import ConfigError
from ganlab.rundir import RunDir, apply_change

POLL = 0.2  # seconds between two looks at control.json
POLL_STEPS = 10  # steps between two looks where several processes must agree


class Requests:
    """The newest request and the changes that are due. `started`: what was asked before that Unix time is history."""

    def __init__(self, run: RunDir, started: float, world: World) -> None:
        self.run, self.started, self.world = run, started, world
        self.command, self.until = "run", None
        self._seen, self._next_look = -1, 0.0
        self.replay()

    def replay(self) -> None:
        """Schedule, from the first step on, every change that the run's events tell of."""
        events = self.world.agree(self.run.read_events() if self.world.leads else None)
        self.pending: list[dict[str, Any]] = []
        for event in events:
            if event["event"] == "changed":
                self.schedule(event)
        self._answered = max((e.get("version", 0) for e in events), default=0)

    def obey(self, config: Config, step: int, waiting: bool = False) -> Config:
        """Look for a request now and then; returns the config with the changes that are due at this step."""
        if self._is_time(step) or waiting:
            self._look(config, step)
        if self.until is not None and step >= self.until and self.command == "run":
            self.command = "pause"
        while self.pending and self.pending[0]["step"] <= step:
            config = apply_change(config, self.pending.pop(0))
        return config

    def _is_time(self, step: int) -> bool:
        if self.world.size > 1:
            return self._seen < 0 or step % POLL_STEPS == 0
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + POLL
        return True

    def _look(self, config: Config, step: int) -> None:
        """Take what is new in control.json, once."""
        asked = self.run.read_control() if self.world.leads else None
        control, stale = self.world.agree((asked, asked is not None and asked.time < self.started))
        if control.version == self._seen:
            return
        self._seen = control.version
        self.command = "run" if stale else control.command
        self.until = None if stale and (control.until or 0) <= step else control.until
        if control.version != self._answered:
            self._answered = control.version
            self._record(config, step, dict(control.changes or {}))

    def _record(self, config: Config, step: int, asked: dict[str, Any]) -> None:
        """Write what is asked for into the events, and schedule it."""
        old = config
        for event in self.pending:  # what is already on its way, though its step has not come yet
            old = apply_change(old, event)
        live = {f.name for f in dataclasses.fields(Config) if f.metadata["live"]}
        if fixed := sorted(set(asked) - live):
            message = f"{', '.join(fixed)} can't change in a running run. These can: {', '.join(sorted(live))}."
            self._event("change refused", step, error=message)
            asked = {name: value for name, value in asked.items() if name in live}
        try:
            new = old.replace(**asked)
        except ConfigError as error:
            self._event("change refused", step, error=str(error))
            return
        if changes := changed(old, new):
            self.change(step, changes)

    def change(self, step: int, changes: dict[str, tuple[Any, Any]]) -> None:
        """Record a change {name: (old, new)} that is to be made at `step`."""
        self.schedule({"step": step, "changes": changes})
        self._event("changed", step, changes=changes)

    def _event(self, kind: str, step: int, **facts: Any) -> None:
        if self.world.leads:
            self.run.append_event(kind, step, version=self._answered, **facts)

    def schedule(self, change: dict[str, Any]) -> None:
        """Add a change in the order of steps. It overrules older ones of the same names whose step is yet to come."""
        for other in self.pending:
            if other["step"] > change["step"]:
                other["changes"] = {k: v for k, v in other["changes"].items() if k not in change["changes"]}
        self.pending.append(change)
        self.pending.sort(key=lambda event: event["step"])

"""The run directory: what readers find while a worker writes, crashes or is killed, and what they are told then."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from conftest import PATIENCE

from ganlab import worker
from ganlab.config import SCHEMA, Config, to_dict
from ganlab.errors import GanlabError, RunError
from ganlab.rundir import ACTIVE, Control, Reporter, RunDir, Status, best_of, list_runs, scored
from ganlab.worker import LOST_AFTER

REPO = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """An empty run directory."""
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


def steps(rows: list[dict]) -> list[int]:
    return [row["step"] for row in rows]


def child(program: str, *arguments: object) -> subprocess.Popen:
    """Another process, to be used in a `with`; it has said "ready"."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_from_any_offset_on(run: RunDir) -> None:
    assert run.read_metrics() == ([], 0)
    run.append_metrics({"step": 1, "loss_g": 0.1 + 0.2})
    rows, offset = run.read_metrics()
    assert rows == [{"step": 1, "loss_g": 0.1 + 0.2}]
    assert run.read_metrics(offset) == ([], offset)
    run.append_metrics({"step": 2})
    run.append_metrics({"step": 3})
    rows, end = run.read_metrics(offset)
    assert steps(rows) == [2, 3] and end == (run.path / "metrics.jsonl").stat().st_size
    assert steps(run.read_metrics()[0]) == [1, 2, 3]


def test_a_reader_at_any_moment_gets_every_line_once_and_whole(run: RunDir) -> None:
    """The file grows byte by byte, and the reader looks each time."""
    rows = [{"step": 1, "text": "a\nb"}, {"step": 22, "x": [1.5, None]}, {"step": 333}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    seen, offset = [], 0
    for end in range(len(content) + 1):
        (run.path / "metrics.jsonl").write_bytes(content[:end])
        new, offset = run.read_metrics(offset)
        seen += new
        assert seen == rows[: content[:end].count(b"\n")]
    assert seen == rows


def test_a_line_torn_by_a_crash_spoils_no_other(run: RunDir) -> None:
    file = run.path / "metrics.jsonl"
    run.append_metrics({"step": 1})
    whole = file.read_bytes()
    for torn in (b"{", b'{"step": 2, "loss', b'{"step": 2}', b"\xff\xfe"):  # the third lacks but its newline
        file.write_bytes(whole + torn)
        rows, offset = run.read_metrics()
        assert steps(rows) == [1]
        run.append_metrics({"step": 3})
        run.append_metrics({"step": 4})
        complete = [2] if torn.endswith(b"}") else []
        assert steps(run.read_metrics(offset)[0]) == [*complete, 3, 4]
        assert steps(run.read_metrics()[0]) == [1, *complete, 3, 4]


def test_numbers_that_are_none_become_null(run: RunDir) -> None:
    """A browser's JSON knows neither NaN nor Infinity."""
    run.append_metrics({"step": 1, "a": math.nan, "b": math.inf, "c": -math.inf, "d": 1e300, "e": 0})

    def forbidden(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((run.path / "metrics.jsonl").read_text(), parse_constant=forbidden)
    with pytest.raises(ValueError):
        run.append_metrics({"step": 2, "deep": [math.nan]})  # written by nobody, and not to be written by mistake
    assert run.read_metrics()[0] == [{"step": 1, "a": None, "b": None, "c": None, "d": 1e300, "e": 0}]


def test_a_file_that_shrank_is_read_from_its_start(run: RunDir) -> None:
    for step in range(1, 6):
        run.append_metrics({"step": step})
    _, offset = run.read_metrics()
    run.rewind(2)
    rows, again = run.read_metrics(offset)
    assert steps(rows) == [1, 2] and again < offset
    run.append_metrics({"step": 3})
    assert steps(run.read_metrics(again)[0]) == [3]


def test_events_are_kept_in_order_with_time_and_facts(run: RunDir) -> None:
    before = time.time()
    run.append_event("started", 0, device="cpu")
    run.append_event("changed", 7, changes={"learning_rate": [2e-4, 1e-3]})
    first, second = run.read_events()
    assert (first["event"], first["step"], first["device"]) == ("started", 0, "cpu")
    assert (second["event"], second["step"], second["changes"]) == ("changed", 7, {"learning_rate": [2e-4, 1e-3]})
    assert before <= first["time"] <= second["time"] <= time.time()


def test_the_best_step_has_the_lowest_score(run: RunDir) -> None:
    run.append_metrics({"step": 1})
    assert run.best_step() is None and best_of([]) is None
    run.append_metrics({"step": 5, "metric": "m", "score": math.nan})
    assert run.best_step() is None  # null is no score
    for step, score in ((10, 3.0), (20, -1.5), (30, -1.5), (40, math.inf), (50, 2.0)):
        run.append_metrics({"step": step, "metric": "m", "score": score})
        run.append_metrics({"step": step + 1})
        assert run.best_step() == (10 if step == 10 else 20)
    assert [row["score"] for row in scored(run.read_metrics()[0])] == [3.0, -1.5, -1.5, 2.0]
    run.append_metrics({"step": 60, "metric": "another", "score": 7.0})
    assert run.best_step() == 60  # figures of two metrics don't compare
    run.rewind(10)
    assert run.best_step() == 10


# --- rewinding and numbered files ------------------------------------------------------------------------------------


def fill(run: RunDir, *at: int) -> None:
    for step in at:
        run.append_metrics({"step": step, "metric": "m", "score": 100.0 - step})
        run.append_event("tick", step)
        files = (run.sample_file, run.pairs_file, run.snapshot_file, run.discriminator_file, run.state_file)
        for file in (of(step) for of in files):
            file.parent.mkdir(exist_ok=True)
            file.write_text(str(step))


def numbers(files: list[Path]) -> list[int]:
    return [int(file.read_text()) for file in files]


def test_rewind_forgets_what_will_be_computed_again(run: RunDir) -> None:
    fill(run, 0, 5, 10, 15, 20)
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2')  # the crash after which a run is rewound tore a line
    run.rewind(10)
    assert steps(run.read_metrics()[0]) == [0, 5, 10] and run.best_step() == 10
    assert numbers(run.samples()) == numbers(run.pairs()) == numbers(run.snapshots()) == [0, 5, 10]
    assert numbers(run.discriminators()) == [0, 5, 10]
    assert numbers(run.states()) == [0, 5, 10, 15, 20]  # states are dropped by what loads and saves them
    assert steps(run.read_events()) == [0, 5, 10, 15, 20]  # history stays
    run.append_metrics({"step": 11})
    assert steps(run.read_metrics()[0]) == [0, 5, 10, 11]


def test_rewind_clears_what_a_killed_worker_left_half_written(run: RunDir) -> None:
    """But not in the run's own folder, where readers write their requests in the same way."""
    fill(run, 5)
    folders = ("samples", "pairs", "snapshots", "discriminators", "state")
    torn = [run.path / folder / ".000010.x.77.88.tmp" for folder in folders]
    asked = run.path / ".control.json.77.88.tmp"
    for file in (*torn, asked):
        file.write_bytes(b"half")
    run.rewind(5)
    assert [file.exists() for file in (*torn, asked)] == [False] * 5 + [True]
    assert numbers(run.samples()) == numbers(run.snapshots()) == numbers(run.states()) == [5]


def test_rewind_of_a_new_run_writes_nothing(run: RunDir) -> None:
    run.rewind(0)
    assert list(run.path.iterdir()) == []


def test_numbered_files_are_in_order_of_their_steps(run: RunDir) -> None:
    """By name, a million comes before 999,999."""
    order = [0, 7, 20, 100, 999_999, 1_000_000, 20_000_000]
    fill(run, *order[::-1])
    for folder in ("samples", "pairs", "snapshots", "state"):
        for junk in (".000001.png.77.tmp", "note.png", "000003.txt", "note.safetensors", "-1.png", "1.5.safetensors"):
            (run.path / folder / junk).write_text("-1")
    assert numbers(run.samples()) == numbers(run.snapshots()) == numbers(run.states()) == order
    assert run.sample_file(7).name == "000007.png" and run.state_file(20_000_000).stem == "20000000"


# --- configuration ---------------------------------------------------------------------------------------------------


def stamp(run: RunDir) -> tuple[int, int, bytes]:
    file = run.path / "config.yaml"
    return file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()


def test_the_config_is_written_once(run: RunDir, tiny: Config) -> None:
    assert not run.exists
    assert run.open_config(tiny) == tiny
    assert run.exists and run.read_config() == tiny
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == {"schema": SCHEMA, **to_dict(tiny)}
    written = stamp(run)
    assert run.open_config(tiny) == tiny
    assert stamp(run) == written
    with pytest.raises(RunError, match=r"(?s)width: 8 in the run, 16 asked for.*--out"):
        run.open_config(tiny.replace(width=16))
    assert stamp(run) == written


def test_a_longer_run_is_the_same_run(run: RunDir, tiny: Config) -> None:
    run.open_config(tiny)
    longer = tiny.replace(steps=999, save_every=7)
    assert run.open_config(longer) == longer and run.read_config() == longer


def test_a_folder_without_a_run_says_so(run: RunDir) -> None:
    with pytest.raises(RunError, match="holds no run"):
        run.read_config()
    with pytest.raises(RunError, match="holds no run"):
        RunDir(run.path / "nowhere").read_config()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no hyperparameters"),
        (b"- width\n", "no hyperparameters"),
        (b"schema\n", "no hyperparameters"),
        (b"width: 8\n", "schema None"),
        (b"schema: 99\nwidth: 8\n", "schema 99"),
        (b"schema: 1\nwidth: 3\n", "width is 3"),
        (b"schema: 1\nwidth: wide\n", "width is 'wide'"),
        (b"schema: 1\nglitter: 3\n", "glitter"),
        (b"schema: 1\n3: 4\n", "Unknown hyperparameter: 3"),
        (b"schema: 1\nwidth: [\n", "line"),
        (b"schema: 1\nwidth: 8\x00", "config.yaml"),
        (b"\xff\xfe\xff", "config.yaml"),
        (b"schema: !!python/object/apply:os.getcwd []\n", "python/object"),
    ],
)
def test_a_damaged_config_is_named_with_the_reason(run: RunDir, content: bytes, reason: str) -> None:
    (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(RunError) as caught:
        run.read_config()
    assert str(run.path / "config.yaml") in str(caught.value) and reason in str(caught.value)


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_there_and_back(run: RunDir) -> None:
    assert run.read_status() == Status(state="stopped")  # never started
    status = Status(state="running", pid=7, host="h", heartbeat=1.5, step=3, total_steps=9, images=48, num_images=50,
                    images_per_s=1e3, steps_per_s=2.5, eta_s=60.0, seconds=4.5, device="cpu", error="ü")  # fmt: skip
    run.write_status(status)
    assert run.read_status() == status


@pytest.mark.parametrize("state", ["starting", "running", "paused"])
def test_a_worker_without_a_sign_of_life_is_interrupted(state: str) -> None:
    assert state in ACTIVE
    fresh = Status(state=state, heartbeat=time.time() - LOST_AFTER + 10)  # type: ignore[arg-type]
    stale = Status(state=state, heartbeat=time.time() - LOST_AFTER - 0.1)  # type: ignore[arg-type]
    assert fresh.alive and fresh.label == state
    assert not stale.alive and stale.label == "interrupted"


@pytest.mark.parametrize("state", ["stopped", "done", "failed"])
def test_a_run_that_ended_is_never_interrupted(state: str) -> None:
    for heartbeat in (0.0, time.time()):
        status = Status(state=state, heartbeat=heartbeat)  # type: ignore[arg-type]
        assert not status.alive and status.label == state


DAMAGED = [b"", b"{", b'{"step": 1', b"[]", b"[1]", b"3", b"null", b'"x"', b"\xff\xfe"]


@pytest.mark.parametrize("content", DAMAGED, ids=repr)
def test_a_damaged_status_or_request_is_named(run: RunDir, content: bytes) -> None:
    for name, read in (("status.json", run.read_status), ("control.json", run.read_control)):
        (run.path / name).write_bytes(content)
        with pytest.raises(GanlabError, match="damaged.*Delete it") as caught:
            read()
        assert str(run.path / name) in str(caught.value)
    with pytest.raises(GanlabError, match="control.json"):
        run.request("pause")  # nor is it written over
    assert (run.path / "control.json").read_bytes() == content


def test_files_of_another_version_are_not_misread(run: RunDir) -> None:
    for name, read in (("status.json", run.read_status), ("control.json", run.read_control)):
        (run.path / name).write_text('{"glitter": 1, "depth": 2}')
        with pytest.raises(GanlabError, match=f"{name} comes from another version of ganlab: it has depth, glitter"):
            read()
    (run.path / "status.json").write_text('{"state": "dreaming"}')
    with pytest.raises(GanlabError, match="status.json.*state is 'dreaming'"):
        run.read_status()
    (run.path / "control.json").write_text('{"command": "dance"}')
    with pytest.raises(GanlabError, match="control.json.*command is 'dance'"):
        run.read_control()


def test_the_heartbeat_beats_while_a_step_takes_long(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT", 0.01)
    with Reporter(run, Status(step=3)) as reporter:
        first = run.read_status()
        assert (first.state, first.step, first.pid) == ("starting", 3, os.getpid()) and first.alive
        reporter.update(write=False, state="running", step=4)
        deadline = time.monotonic() + PATIENCE
        while run.read_status().step != 4 or run.read_status().heartbeat - first.heartbeat < 0.05:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    reporter.update(state="done")
    last = run.read_status()
    time.sleep(0.05)
    assert run.read_status() == last and last.state == "done"


def test_the_heartbeat_outlives_a_full_disk(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT", 0.01)
    full = threading.Event()
    refused = threading.Event()
    honest = RunDir.write_status

    def write(self: RunDir, status: Status) -> None:
        if full.is_set():
            refused.set()
            raise OSError(28, "No space left on device")
        honest(self, status)

    monkeypatch.setattr(RunDir, "write_status", write)
    with Reporter(run, Status()):
        full.set()
        assert refused.wait(PATIENCE)
        before = run.read_status().heartbeat
        full.clear()
        deadline = time.monotonic() + PATIENCE
        while run.read_status().heartbeat <= before:
            assert time.monotonic() < deadline
            time.sleep(0.005)


# --- all runs --------------------------------------------------------------------------------------------------------


def test_runs_are_listed_the_most_recently_active_first(tmp_path: Path, tiny: Config) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    for name, heartbeat in (("b", 30.0), ("a", 10.0), ("d", 20.0), ("new", None), ("damaged", None)):
        run = RunDir(tmp_path / name)
        run.open_config(tiny)
        if heartbeat:
            run.write_status(Status(state="done", heartbeat=heartbeat))
    (tmp_path / "damaged" / "status.json").write_text("{")  # hides no other run
    (tmp_path / "no run").mkdir()
    (tmp_path / "a file").write_text("")
    names = [run.name for run in list_runs(tmp_path)]
    assert names[:3] == ["b", "d", "a"] and sorted(names[3:]) == ["damaged", "new"]


# --- requests --------------------------------------------------------------------------------------------------------


def test_versions_increase_and_changes_accumulate(run: RunDir) -> None:
    assert run.read_control() == Control()
    before = time.time()
    first = run.request("run", until=20, changes={"learning_rate": 1e-3, "d_steps": 2})
    second = run.request("run", changes={"learning_rate": 1e-4})
    third = run.request("pause")
    assert [c.version for c in (first, second, third)] == [1, 2, 3]
    assert before <= first.time <= second.time <= third.time <= time.time()
    assert (first.until, second.until, third.command) == (20, None, "pause")
    assert second.changes == third.changes == {"learning_rate": 1e-4, "d_steps": 2}
    assert run.read_control() == third


def test_what_the_worker_has_answered_is_not_asked_again(run: RunDir) -> None:
    """Else the next pause would bring back what a rollback, or a newer change, has overruled since."""
    run.request("run", changes={"learning_rate": 1e-3})
    run.append_event("started", 0)
    assert run.request("run", changes={"width": 8}).changes == {"learning_rate": 1e-3, "width": 8}
    run.append_event("change refused", 5, version=2)
    run.append_event("changed", 5, version=2, changes={"learning_rate": [2e-4, 1e-3]})
    assert run.request("pause").changes == {}
    assert run.request("run", changes={"d_steps": 2}).changes == {"d_steps": 2}
    assert run.request("pause").changes == {"d_steps": 2}  # not answered yet


def test_a_request_that_does_not_exist_is_not_written(run: RunDir) -> None:
    with pytest.raises(ValueError, match="dance"):
        run.request("dance")  # type: ignore[arg-type]
    assert run.read_control() == Control()


ASK = """
import sys
from ganlab.rundir import RunDir
run, name, num = RunDir(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for i in range(num):
    run.request("run", changes={f"{name}{i}": i})
"""


def test_requests_at_the_same_moment_lose_nothing(run: RunDir) -> None:
    """Two processes and three threads ask while a reader looks."""
    num = 12

    def ask(name: str) -> None:
        for i in range(num):
            RunDir(run.path).request("run", changes={f"{name}{i}": i})

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    with child(ASK, run.path, "d", num) as one, child(ASK, run.path, "e", num) as two:
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for thread in threads:
            thread.start()
        versions = []
        while any(thread.is_alive() for thread in threads) or one.poll() is None or two.poll() is None:
            versions.append(run.read_control().version)
            time.sleep(0.001)
    assert one.returncode == two.returncode == 0
    assert versions == sorted(versions)
    control = run.read_control()
    assert control.version == 5 * num
    assert control.changes == {f"{name}{i}": i for name in "abcde" for i in range(num)}


# --- one worker ------------------------------------------------------------------------------------------------------

HOLD = """
import os, sys
from ganlab.rundir import RunDir, Status
run = RunDir(sys.argv[1])
with run.claim():
    run.write_status(Status(state="running", pid=os.getpid()))
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_claim_is_refused_to_others_and_ends_with_its_process(run: RunDir) -> None:
    with child(HOLD, run.path) as holder:
        started = time.monotonic()
        with pytest.raises(RunError, match=f"another process .pid {holder.pid}.") as caught, run.claim():
            raise AssertionError("claimed twice")
        assert str(run.path) in str(caught.value) and time.monotonic() - started < 60
        holder.send_signal(signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
        with run.claim():
            pass


def test_a_claim_ends_with_its_block_however_that_ends(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "not" / "there" / "yet")
    with pytest.raises(ZeroDivisionError), run.claim():
        with pytest.raises(RunError), RunDir(run.path).claim():
            raise AssertionError("claimed twice")
        raise ZeroDivisionError
    with run.claim():
        assert run.path.is_dir()

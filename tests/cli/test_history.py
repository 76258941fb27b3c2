"""
What earlier runs took: kept unless somebody says no, shown, and forgotten on demand.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.cli._command_settings import HISTORY_VARIABLE, CommandSettings
from onehouse_tracker.cli._connectivity import Finding
from onehouse_tracker.cli._history import history_finding, history_of
from onehouse_tracker.history._file import HistoryFile
from onehouse_tracker.history._records import Lesson
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import run


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for what programs remember."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(HISTORY_VARIABLE, raising=False)
    return tmp_path


def file_in(state_home: Path) -> Path:
    """Where the history is if nobody chose another place."""
    return state_home / "onehouse-tracker" / "history.db"


def taught(path: Path) -> None:
    """Two runs of a job, and one of a statement that a user labeled oddly."""
    file = HistoryFile(path)
    file.add("project-1", [Lesson(("j:nightly",), 60.0, 60.0)] * 2, 0.1)
    file.add("project-1", [Lesson(("l:a\x1b[2Jb",), 5.0, 5.0)], 0.1)


def test_a_command_remembers_unless_somebody_says_no(
    state_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The option is for one call, the variable for always, or for another file.
    """
    kept = history_of(CommandSettings())
    assert kept is not None
    assert kept.path == file_in(state_home)
    assert history_of(CommandSettings(no_history=True)) is None

    monkeypatch.setenv(HISTORY_VARIABLE, str(state_home / "mine.db"))
    kept = history_of(CommandSettings())
    assert kept is not None
    assert kept.path == state_home / "mine.db"
    assert history_of(CommandSettings(no_history=True)) is None

    monkeypatch.setenv("HOME", str(state_home))
    monkeypatch.setenv(HISTORY_VARIABLE, "~/mine.db")
    assert str(state_home / "mine.db") in history_finding().found
    monkeypatch.setenv(HISTORY_VARIABLE, "~nobody-of-that-name/mine.db")
    assert history_of(CommandSettings()) is None
    assert history_finding().found == "none: there is no home directory to keep it in"

    for off in ("off", "OFF", " off ", "false", "False", "no", "none", "0"):
        monkeypatch.setenv(HISTORY_VARIABLE, off)
        assert history_of(CommandSettings()) is None
    assert history_finding().found == f"none: {HISTORY_VARIABLE} is off"

    for on in ("", "on", "ON", "true", "Yes", "1"):
        monkeypatch.setenv(HISTORY_VARIABLE, on)
        kept = history_of(CommandSettings())
        assert kept is not None
        assert kept.path == file_in(state_home)


@pytest.mark.parametrize("word", ["disabled", "fals", '"off"', '"/tmp/mine.db"'])
async def test_a_word_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """
    Who meant to switch it off would find a file of that name wherever a command was run.
    """
    monkeypatch.setenv(HISTORY_VARIABLE, word)
    monkeypatch.chdir(tmp_path)
    variables = {HISTORY_VARIABLE: word}

    shown = await run("history", variables=variables)
    waited = await run("wait", "r-1", variables=variables)
    examined = await run("doctor", "--output", "json", variables=variables)

    assert history_of(CommandSettings(no_history=True)) is None
    assert shown.code == waited.code == examined.code == 2
    for ended in (shown, waited):
        assert f"environment variable {HISTORY_VARIABLE}: " in ended.err
        assert "Traceback" not in ended.err
        assert ("quotes" in ended.err) == ('"' in word)
    (finding,) = [each for each in json.loads(examined.out) if each["check"] == "history"]
    assert finding["state"] == "error"
    assert HISTORY_VARIABLE in finding["found"]
    assert not os.listdir(tmp_path)  # noqa: PTH208 - pathlib blocks no less


@pytest.mark.parametrize("given", ["mine.db", "./mine", "sub/mine"])
def test_a_file_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """
    A separator or an ending says that it is one.
    """
    monkeypatch.setenv(HISTORY_VARIABLE, given)
    monkeypatch.chdir(tmp_path)

    kept = history_of(CommandSettings())

    assert kept is not None
    assert kept.path == Path(given)
    assert history_finding().state == "ok"
    assert not list(tmp_path.iterdir())


def test_without_a_place_there_is_none_and_only_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A container without a writable home must not warn at every command.
    """
    (tmp_path / "state").write_text("no directory")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(HISTORY_VARIABLE, raising=False)

    assert history_of(CommandSettings()) is None
    finding = history_finding()
    assert (finding.state, finding.check) == ("ok", "history")
    assert finding.found == f"none: {tmp_path / 'state'} cannot be written to"


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_home_of_somebody_else_stops_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A container may run as a user who cannot even look into the home that it was given.
    """
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(HISTORY_VARIABLE, raising=False)
    os.seteuid(65534)
    try:
        kept, finding = history_of(CommandSettings()), history_finding()
        monkeypatch.setenv(HISTORY_VARIABLE, str(tmp_path / "mine.db"))
        chosen = history_finding()
    finally:
        os.seteuid(0)

    assert kept is None
    assert finding.state == "ok"
    assert finding.found.startswith("none: ")
    assert str(tmp_path) in finding.found
    assert chosen.state == "warning"
    assert str(tmp_path / "mine.db") in chosen.found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that everybody may look into, unlike those of the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def finding_of_somebody_else() -> Finding:
    """What `doctor` says to a user who owns nothing."""
    os.seteuid(65534)
    try:
        return history_finding()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize("what", ["folder", "new folder", "file", "folder of a file"])
def test_doctor_says_that_the_chosen_file_cannot_be_written(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """
    Somebody chose it, and would wait in vain for something to be learned.
    """
    path = open_folder / "mine.db"
    if what == "new folder":
        path = open_folder / "new" / "mine.db"
    elif what in {"file", "folder of a file"}:
        taught(path)
        os.chown(path, 65534, 65534)
    if what == "file":
        path.chmod(0o400)
        os.chown(open_folder, 65534, 65534)
    monkeypatch.setenv(HISTORY_VARIABLE, str(path))

    finding = finding_of_somebody_else()

    assert finding.state == "warning"
    assert f"{path} cannot be written: Permission denied" in finding.found
    assert HISTORY_VARIABLE in (finding.advice or "")
    assert {each.name for each in open_folder.iterdir()} <= {"mine.db"}


@pytest.mark.parametrize("place", ["file/mine.db", "file/new/mine.db", "folder.d"])
def test_doctor_says_that_the_chosen_place_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """
    What is no directory holds no file, and a directory is none.
    """
    (tmp_path / "file").touch()
    (tmp_path / "folder.d").mkdir()
    monkeypatch.setenv(HISTORY_VARIABLE, str(tmp_path / place))

    finding = history_finding()

    assert finding.state == "warning"
    assert f"{tmp_path / place} cannot be written: " in finding.found


@pytest.mark.parametrize("method", ["exists", "is_dir"])
def test_a_place_that_cannot_be_looked_at_is_none(
    state_home: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """
    The same where nobody can become another user: whatever the system answers is no traceback.
    """

    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, method, refuse)

    assert history_of(CommandSettings()) is None
    assert history_finding().found.startswith("none: ")
    assert state_home.name in history_finding().found


async def test_what_is_known_is_shown_and_forgotten(state_home: Path) -> None:
    """
    In every format; what others wrote cannot steer the terminal.
    """
    taught(file_in(state_home))
    variables = {"XDG_STATE_HOME": str(state_home)}

    table = await run("history", variables=variables)
    lines = await run("history", "--output", "jsonl", variables=variables)
    forgotten = await run("history", "forget", variables=variables)
    after = await run("history", "--output", "csv", variables=variables)

    assert stat.S_IMODE(file_in(state_home).stat().st_mode) == 0o600
    assert table.code == lines.code == forgotten.code == after.code == 0
    assert table.out.splitlines()[0].split() == [
        "NAME", "KIND", "RUNS", "MEDIAN", "10", "%", "90", "%", "PROJECT",
    ]  # fmt: skip
    assert "a?[2Jb" in table.out
    assert "\x1b" not in table.out
    assert f"2 names in {file_in(state_home)}" in table.err
    (job,) = [each for each in lines.objects() if each["kind"] == "job"]
    assert (job["name"], job["runs"], job["project"]) == ("nightly", 2, "project-1")
    assert job["median_s"] == pytest.approx(60)
    assert job["low_s"] < 60 < job["high_s"]
    assert f"forgot 2 names in {file_in(state_home)}" in forgotten.err
    assert after.out.splitlines() == ["project,kind,name,runs,median_s,low_s,high_s"]


def several(path: Path) -> None:
    """A label and a job of one name in two projects, the second one of real credentials."""
    file = HistoryFile(path)
    for project in ("project-1", Credentials.from_env(environ=VARIABLES).project_key):
        for name in ("l:nightly", "l:hourly", "j:nightly", "s:0123"):
            file.add(project, [Lesson((name,), 60.0, 60.0)], 0.1)


VARIABLES = {
    "ONEHOUSE_BASE_URL": "https://api.example.com",
    "ONEHOUSE_PROJECT_UID": "uid-2",
    "ONEHOUSE_ACCOUNT_UID": "a",
    "ONEHOUSE_API_KEY": "k",
    "ONEHOUSE_API_SECRET": "s",
    "ONEHOUSE_LINK_UID": "l",
    "ONEHOUSE_REGION": "r",
    "ONEHOUSE_USER_UID": "u",
}


@pytest.mark.parametrize(
    ("options", "left", "said"),
    [
        (["--label", "nightly"], 6, "forgot 2 of 8 names"),
        (
            ["--label", "nightly", "--label", "hourly", "--job", "nightly"],
            2,
            "forgot 6 of 8 names",
        ),
        (["--job", "nightly", "--project", "uid-2"], 7, "forgot 1 of 8 names"),
        (["--project", "uid-2"], 4, "forgot 4 of 8 names"),
        (["--project", "project-"], 4, "forgot 4 of 8 names"),
    ],
)
async def test_only_what_is_named_is_forgotten(
    state_home: Path, options: list[str], left: int, said: str
) -> None:
    """
    A job that was changed has nothing to do with what it took before; all others have.
    """
    several(file_in(state_home))
    variables = VARIABLES | {"XDG_STATE_HOME": str(state_home)}

    forgotten = await run("history", "forget", *options, variables=variables)

    assert forgotten.code == 0
    assert f"{said} in {file_in(state_home)}" in forgotten.err
    assert len(HistoryFile(file_in(state_home)).rows()) == left


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["forget", "--label", "daily"], "nothing is remembered of label 'daily'"),
        (
            ["forget", "--label", "nightly", "--job", "hourly"],
            "nothing is remembered of job 'hourly'",
        ),
        (["forget", "--project", "uid-3"], "nothing is remembered of project 'uid-3'"),
        (["forget", "--project", "projec"], "nothing is remembered of project 'projec'"),
        (["forget", "--project", ""], "nothing is remembered of project ''"),
        (["forget", "--project", " "], "nothing is remembered of project ' '"),
        (["forget", "--project", "", "--job", "nightly"], "nothing is remembered of project ''"),
        (["forget", "--label", ""], "nothing is remembered of label ''"),
        (["forget", "--job", ""], "nothing is remembered of job ''"),
        (["--label", "nightly"], "--label, --job and --project belong to `history forget`"),
        (["--project", ""], "--label, --job and --project belong to `history forget`"),
    ],
)
async def test_what_is_not_known_is_named_and_nothing_is_forgotten(
    state_home: Path, options: list[str], said: str
) -> None:
    """
    A typing error must not look as if it had worked, nor a variable of the shell that is unset.
    """
    several(file_in(state_home))
    variables = VARIABLES | {"XDG_STATE_HOME": str(state_home)}

    ended = await run("history", *options, variables=variables)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(HistoryFile(file_in(state_home)).rows()) == 8


async def test_a_project_needs_no_credentials_if_its_key_is_given(state_home: Path) -> None:
    """
    And without them a UID means nothing: the message says what to do.
    """
    several(file_in(state_home))
    variables = {"XDG_STATE_HOME": str(state_home)}

    by_uid = await run("history", "forget", "--project", "uid-2", variables=variables)
    by_key = await run("history", "forget", "--project", "project-1", variables=variables)

    assert by_uid.code == 2
    assert "a UID needs the project's credentials" in by_uid.err
    assert by_key.code == 0
    assert "forgot 4 of 8 names" in by_key.err


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """
    It must not end in a traceback, and doctor says how to go on.
    """
    path = tmp_path / "history.db"
    path.write_bytes(b"no database" * 100)
    variables = {HISTORY_VARIABLE: str(path)}

    shown = await run("history", variables=variables)
    examined = await run("doctor", "--output", "json", variables=variables)
    switched_off = await run("history", variables={HISTORY_VARIABLE: "off"})

    assert (shown.code, shown.out) == (2, "")
    assert f"cannot read the history {path}" in shown.err
    (finding,) = [each for each in json.loads(examined.out) if each["check"] == "history"]
    assert finding["state"] == "warning"
    assert str(path) in finding["found"]
    assert HISTORY_VARIABLE in finding["advice"]
    assert "if nobody needs it" in finding["advice"]
    assert path.read_bytes() == b"no database" * 100
    assert (switched_off.code, switched_off.out) == (2, "")
    assert f"{HISTORY_VARIABLE} is off" in switched_off.err


async def test_a_project_on_loopback_leaves_nothing(state_home: Path) -> None:
    """
    A simulator would teach durations that nothing real has.
    """
    project = SimulatedProject()
    project.add("r-1", 0, label="RUN JOB")
    async with SimulatorServer(project) as server:
        variables = {**server.environment(), "XDG_STATE_HOME": str(state_home)}
        ended = await run("wait", "r-1", variables=variables)

    assert ended.code == 0
    assert not os.listdir(state_home)  # noqa: PTH208 - pathlib blocks no less

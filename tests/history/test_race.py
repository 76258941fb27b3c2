"""
Several processes meet a file at the same moment: all of them end up with one sound history.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onehouse_tracker.history import History, _whose
from onehouse_tracker.history._file import DamagedError, HistoryFile
from onehouse_tracker.history._records import Lesson

_LESSON = [Lesson(("l:x",), 1.0, 1.0)]


def _empty(path: Path) -> None:
    path.touch()


def _sound(path: Path) -> None:
    History(path).add("p", _LESSON, 0.04)


def _gone(_path: Path) -> None:
    """Nobody has begun it yet."""


@pytest.mark.parametrize("begun", [_empty, _sound, _gone])
def test_what_is_begun_anew_while_we_look_is_not_foreign(
    tmp_path: Path,
    begun: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Another process puts the damaged file aside between our look at its size and at its header.
    """
    path = tmp_path / "history.db"
    History(path).add("p", _LESSON, 0.04)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
    look = _whose._application_of

    def late(path: Path) -> int | None:
        monkeypatch.setattr(_whose, "_application_of", look)
        path.replace(path.with_name("history.db.broken"))
        begun(path)
        return look(path)

    monkeypatch.setattr(_whose, "_application_of", late)
    history = History(path)
    history.read("p")
    history.add("p", [Lesson(("l:y",), 1.0, 1.0)], 0.04)

    assert not caplog.records
    assert {known.name for known in history.remembered()} >= {"y"}
    assert {each.name for each in tmp_path.iterdir()} == {"history.db", "history.db.broken"}


def _set_aside(file: HistoryFile, damage: DamagedError) -> Path | None:
    aside = file.set_aside(damage)
    file.read("p")
    return aside


def test_all_who_find_the_damage_use_what_the_first_one_began(tmp_path: Path) -> None:
    """
    One puts it aside; none of the others takes the new file for the damaged one.
    """
    for number in range(10):
        path = tmp_path / str(number) / "history.db"
        History(path).add("p", _LESSON, 0.04)
        path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
        file = HistoryFile(path)
        with pytest.raises(DamagedError) as caught:
            file.read("p")
        with ThreadPoolExecutor(4) as pool:
            asides = list(pool.map(_set_aside, [file] * 4, [caught.value] * 4))
        assert len([aside for aside in asides if aside is not None]) == 1
        assert {each.name for each in path.parent.iterdir()} == {"history.db", "history.db.broken"}

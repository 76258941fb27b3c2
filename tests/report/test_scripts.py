"""
The scripts of the page: one file of many modules, and what they expect of Python.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import report
from onehouse_tracker.report._scripts import one_script
from tests.report.batches import batch

SCRIPTS = Path(report.__file__).parent / "page" / "scripts"
TESTS = Path(__file__).parent / "page"
NODE = shutil.which("node")
OLDEST_NODE = 20


def node_version() -> int:
    """The major version of Node.js, 0 where there is none."""
    if NODE is None:
        return 0
    done = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True)
    return int(done.stdout.strip().removeprefix("v").partition(".")[0])


needs_node = pytest.mark.skipif(
    node_version() < OLDEST_NODE, reason=f"there is no Node.js {OLDEST_NODE} or newer"
)


@needs_node
def test_what_the_page_computes() -> None:
    """
    Bins, percentiles, merging of changes, filters: the tests beside this one, in JavaScript.
    """
    assert NODE is not None
    files = [str(path) for path in sorted(TESTS.glob("*.test.mjs"))]
    done = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", *files],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 100


def test_lines_are_as_short_as_those_of_python() -> None:
    """
    The formatter breaks code, but no comments and no texts.
    """
    long = [
        f"{path.name}:{number}"
        for path in (*SCRIPTS.glob("*.mjs"), *TESTS.glob("*.mjs"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 99
    ]

    assert long == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("model", "Row"),
        ("model", "Column"),
        ("model", "Head"),
        ("model", "Outage"),
        ("budget", "Budget"),
    ],
)
def test_the_page_reads_only_what_python_writes(module: str, name: str) -> None:
    """
    A name that Python no longer writes would be `undefined` in the page, and nobody told.
    """
    recording, _, _ = batch(5, 1, trouble=True)
    view = recording.view()
    written: dict[str, Any] = {
        "Row": [column["name"] for column in view["columns"]],
        "Column": view["columns"][0],
        "Head": view["head"],
        "Outage": view["outages"][0],
        "Budget": view["budget"],
    }
    declared = properties((SCRIPTS / f"{module}.mjs").read_text(), name)

    assert declared
    assert set(declared) <= set(written[name])


def properties(text: str, name: str) -> list[str]:
    """What a type definition in a comment names."""
    definition = text.partition(f"@typedef {{object}} {name}\n")[2]
    lines = re.match(r"(?: \* @property .*\n)*", definition)
    assert lines is not None
    return re.findall(r"@property \{.*\} \[?(\w+)", lines[0])


# --- One script of many modules ------------------------------------------------------------

MODULES = {
    "main.mjs": 'import { twice } from "./a.mjs";\nimport {\n  one,\n} from "./b.mjs";\n'
    "globalThis.found = [twice(one), typeof hidden, typeof twiceOf];\n",
    "a.mjs": 'import { one } from "./b.mjs";\nconst hidden = 1;\n'
    "export function twice(x) {\n  return hidden * 2 * x * one;\n}\n",
    "b.mjs": "const hidden = 2;\nexport const one = hidden - 1;\n",
}


def test_a_module_is_there_once_and_after_what_it_imports() -> None:
    """
    Modules that two others import must not be two.
    """
    script = one_script("main.mjs", MODULES.__getitem__)

    assert re.findall(r'^modules\["(\w+\.mjs)"\] =', script, re.MULTILINE) == [
        "b.mjs",
        "a.mjs",
        "main.mjs",
    ]
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)


@needs_node
def test_one_script_does_what_the_modules_do() -> None:
    """
    Two modules may use one name for two things, and none becomes a name of the page.
    """
    assert NODE is not None
    script = one_script("main.mjs", MODULES.__getitem__)
    program = f"{script}\nconsole.log(JSON.stringify([globalThis.found, typeof modules]));"
    done = subprocess.run([NODE, "-e", program], capture_output=True, text=True, check=True)

    assert done.stdout == '[[2,"undefined","undefined"],"undefined"]\n'


def test_every_script_is_part_of_the_page() -> None:
    """
    One that nothing imports is dead.
    """
    read: list[str] = []

    def reading(name: str) -> str:
        read.append(name)
        return (SCRIPTS / name).read_text()

    one_script("main.mjs", reading)

    assert sorted(read) == sorted(path.name for path in SCRIPTS.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        'import a from "./a.mjs";\n',
        'import * as a from "./a.mjs";\n',
        'import "./a.mjs";\n',
        'import { a } from "elsewhere";\n',
        "export default 1;\n",
        "export let a = 1;\n",
        "export { a };\n",
        'export { a } from "./a.mjs";\n',
        'import { a as b } from "./a.mjs";\n',
    ],
)
def test_what_cannot_be_made_one_script_is_told(text: str) -> None:
    """
    And not written into a page that would be blank.
    """
    modules = {"main.mjs": text, "a.mjs": "export const a = 1;\n"}

    with pytest.raises(ValueError, match=r"main\.mjs: cannot be made part of one script"):
        one_script("main.mjs", modules.__getitem__)


def test_modules_that_import_each_other_are_told() -> None:
    """
    One of them would see nothing of the other.
    """
    modules = {
        "main.mjs": 'import { a } from "./a.mjs";\n',
        "a.mjs": 'import { b } from "./b.mjs";\nexport const a = 1;\n',
        "b.mjs": 'import { a } from "./a.mjs";\nexport const b = 1;\n',
    }

    with pytest.raises(ValueError, match=r"main\.mjs -> a\.mjs -> b\.mjs -> a\.mjs"):
        one_script("main.mjs", modules.__getitem__)

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr import debian
from asr.errors import MissingDependencyError


def _compile(folder: Path, name: str, source: str, *libraries: str) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    file = folder / f"{name}.c"
    file.write_text(source)
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(file)]
    subprocess.run([*command, f"-L{folder}", *(f"-l:{library}" for library in libraries)], check=True)


def test_a_library_of_the_system_is_preferred(tmp_path: Path) -> None:
    name = ctypes.util.find_library("m")
    assert name is not None
    assert debian.library(name, "libc6", root=tmp_path)._name == name


def test_an_unpacked_library_loads_after_what_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "usr" / "lib" / "machine-linux-gnu"
    folder.mkdir(parents=True)
    _compile(folder, "libdengarinner.so.1", "int inner(void) { return 41; }")
    _compile(
        folder, "libdengarouter.so.1", "int inner(void); int outer(void) { return inner() + 1; }", "libdengarinner.so.1"
    )
    code = (
        "from pathlib import Path; from asr import debian; "
        f"print(debian.library('libdengarouter.so.1', 'x', root=Path({str(tmp_path)!r})).outer())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "42"


def test_a_need_that_nobody_has_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "usr" / "lib" / "machine-linux-gnu"
    folder.mkdir(parents=True)
    _compile(folder, "libdengarlost.so.1", "int lost(void) { return 1; }")
    _compile(folder, "libdengarasks.so.1", "int lost(void); int asks(void) { return lost(); }", "libdengarlost.so.1")
    (folder / "libdengarlost.so.1").unlink()
    with pytest.raises(MissingDependencyError, match=r"libdengarasks.*does not load.*libdengarlost"):
        debian.library("libdengarasks.so.1", "x", root=tmp_path)


def test_a_missing_library_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="apt-get install speaks-well"):
        debian.library("libspeakswell.so.9", "speaks-well", root=tmp_path)


def test_find_looks_at_the_system_and_then_at_what_was_unpacked(tmp_path: Path) -> None:
    data = tmp_path / "usr" / "share" / "dengar-test-data"
    data.mkdir(parents=True)
    assert debian.find("usr/share/dengar-test-*", root=tmp_path) == data
    assert debian.find("usr/share", root=tmp_path) == Path("/usr/share")
    assert debian.find("usr/share/no-such-*", root=tmp_path) is None


def test_an_unpacked_program_starts_with_its_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "usr" / "lib" / "machine-linux-gnu"
    folder.mkdir(parents=True)
    _compile(folder, "libdengaranswer.so.1", "int answer(void) { return 42; }")
    source = tmp_path / "main.c"
    source.write_text("int answer(void); int main(void) { return answer(); }")
    (tmp_path / "usr" / "bin").mkdir()
    target = tmp_path / "usr" / "bin" / "dengar-answers"
    subprocess.run(["cc", "-o", str(target), str(source), f"-L{folder}", "-l:libdengaranswer.so.1"], check=True)
    program = debian.program("dengar-answers", "x", root=tmp_path)
    assert program.path == str(target)
    assert subprocess.run([program.path], env=program.environment, check=False).returncode == 42


def test_a_program_of_the_system_is_preferred_and_a_missing_one_named(tmp_path: Path) -> None:
    assert debian.program("sh", "dash", root=tmp_path) == debian.Program(shutil.which("sh") or "")
    with pytest.raises(MissingDependencyError, match="apt-get install speaks-well"):
        debian.program("speaks-well-9", "speaks-well", root=tmp_path)

"""Results appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from benchsuite.data import datasets
from benchsuite.data.files import named_by_task
from benchsuite.errors import FileFormatError, OutputError, UsageError
from benchsuite.files import (
    atomic_write,
    file_name,
    new_directory,
    read_machine_file,
    read_object,
    require_writable,
    writable_directory,
    write_json,
    write_machine_file,
)
from benchsuite.models import models
from benchsuite.training.run_directory import claim


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "out.txt"
    atomic_write(path, "first")
    atomic_write(path, "second")
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    atomic_write(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_a_link_to_itself_is_replaced_by_a_file_and_refused_as_a_directory(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    require_writable(loop, "--csv")
    with pytest.raises(OutputError, match="loop cannot be written"), new_directory(loop) as inside:
        (inside / "file").write_text("…")
    with pytest.raises(UsageError, match="no such directory"):
        models[f"{loop}/"]
    assert atomic_write(loop, "new").read_text() == "new"
    assert list(tmp_path.iterdir()) == [loop]


def test_a_name_that_no_system_takes_is_one_line(tmp_path: Path) -> None:
    name = "x" * 300
    for refused in (
        lambda: require_writable(tmp_path / name, "--csv"),
        lambda: claim(tmp_path / name, {}, finished="results.json", resume=False),
        lambda: models[name],
        lambda: models[f"{tmp_path}/{name}"],
        lambda: datasets[name],
        lambda: datasets[f"instructions:{name}.jsonl"],
    ):
        with pytest.raises(UsageError, match=r"name a shorter one|unknown|no such"):
            refused()
    with pytest.raises(UsageError, match="--task"):
        named_by_task([f"{name}.jsonl"], None)
    assert named_by_task([name], None) == [name]


def test_what_is_written_is_for_those_whom_the_user_lets_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "new", "…")
        with new_directory(tmp_path / "folder") as inside:
            atomic_write(inside / "file", "…")
        (tmp_path / "private").touch()
        (tmp_path / "private").chmod(0o600)
        atomic_write(tmp_path / "private", "…")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"new": 0o640, "folder": 0o750, "file": 0o640, "private": 0o600}


def test_a_name_of_any_length_is_a_file_and_its_own(tmp_path: Path) -> None:
    names = [file_name("모" * 80 + end) for end in ("a", "b", "/../c")]
    assert len(set(names)) == 3
    for name in names:
        assert atomic_write(tmp_path / f"{name}.jsonl", "…").parent == tmp_path


def test_a_pipe_is_written_as_it_stands(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from benchsuite.files import atomic_write, require_writable;"
        "require_writable(Path('/dev/stdout'), '--csv'); atomic_write('/dev/stdout', 'a,b')"
    )
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "a,b"
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert found.stdout == b"a,b"
    assert Path("/dev/stdout").is_symlink()


def test_a_directory_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fail_half_way() -> None:
        with new_directory(target) as inside:
            (inside / "half").write_text("…")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_appears_with_all_its_files(tmp_path: Path) -> None:
    with new_directory(tmp_path / "out") as inside:
        (inside / "whole").write_text("…")
        assert not (tmp_path / "out").exists()
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["whole"]


def test_a_directory_in_use_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("…")
    with pytest.raises(OutputError, match="not an empty directory"), new_directory(tmp_path):
        pytest.fail("it was opened")


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left"), new_directory(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_inside_a_new_directory_is_named_as_it_will_be(tmp_path: Path) -> None:
    def below_a_file() -> None:
        with new_directory(tmp_path / "out") as inside:
            (inside / "file").write_text("…")
            atomic_write(inside / "file" / "below", "…")

    with pytest.raises(OutputError, match=f"^{tmp_path / 'out' / 'file' / 'below'} cannot be written"):
        below_a_file()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("…")
    with pytest.raises(OutputError, match="cannot be written"):
        atomic_write(tmp_path / "file" / "out.txt", "…")


def test_nan_never_reaches_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "out.json", {"value": math.nan})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"[" * 100_000, None])
def test_a_file_that_holds_no_json_object_is_named_with_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "state.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"state\.json: .*; begin anew"):
        read_object(file, "begin anew")
    file.write_text('{"step": 1}')
    assert read_object(file, "begin anew") == {"step": 1}


def test_a_directory_that_an_option_names_is_made_or_a_usage_error_that_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"--samples .*taken: File exists"):
        writable_directory(str(tmp_path / "taken"), "--samples")
    with pytest.raises(UsageError, match="--profile-cells"):
        writable_directory(str(tmp_path / "taken" / "below"), "--profile-cells")
    assert writable_directory(str(tmp_path / "new" / "one"), "--samples") == tmp_path / "new" / "one"
    assert (tmp_path / "new" / "one").is_dir()


def test_a_directory_that_another_program_filled_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def both() -> None:
        with new_directory(target) as inside:
            (inside / "ours").write_text("…")
            target.mkdir()
            (target / "theirs").write_text("…")

    with pytest.raises(OutputError, match="filled by another program"):
        both()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("machine", ["m", "../../m", "m" * 300])
def test_what_is_kept_of_a_machine_is_found_again_inside_of_the_cache(machine: str, tmp_path: Path) -> None:
    assert read_machine_file("noise", machine, dict, "measure") is None
    path = write_machine_file("noise", machine, {"figure": 1})
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.resolve().parent == tmp_path / "cache" / "benchsuite" / "noise"
    found = read_machine_file("noise", machine, dict, "measure")
    assert found is not None
    assert found["figure"] == 1
    assert read_machine_file("limits", machine, dict, "measure") is None


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, "5", '{"schema": 0, "machine": "m"}', '{"schema": 1, "machine": "n"}']
)
def test_a_damaged_file_of_a_machine_says_what_writes_it_anew(text: str) -> None:
    path = write_machine_file("noise", "m", {})
    path.write_text(text)
    with pytest.raises(FileFormatError, match=f"^{path}: not the noise of this machine .*; run `measure` again"):
        read_machine_file("noise", "m", dict, "measure")
    path.unlink()
    path.mkdir()
    with pytest.raises(FileFormatError, match=f"^{path}: cannot be read: Is a directory; remove it and run `measure`"):
        read_machine_file("noise", "m", dict, "measure")


def test_a_directory_does_not_take_the_blame_for_what_fails_inside(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), new_directory(tmp_path / "out"):
        tmp_path.read_text()

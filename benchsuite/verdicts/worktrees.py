"""Revisions of the user's own repository in temporary git worktrees, which are gone afterwards whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchsuite.errors import OutputError, UsageError, last_line

# What git tells its hooks about the repository that it works on; a worktree is another one.
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
DIRTY = "."  # in place of a revision: the files as they are, untracked ones too, ignored ones not


def repository() -> Path:
    """The root of the repository that the current directory is in; UsageError where there is none."""
    try:
        return Path(_git("rev-parse", "--show-toplevel"))
    except _GitError as error:
        raise UsageError(f"{Path.cwd()} is in no git repository: {error}") from error


def commit_of(revision: str) -> str:
    """The full SHA of a revision; of a commit that no branch holds, made of the files as they are, for `.`.

    Raises UsageError where there is no such revision.
    """
    if revision == DIRTY:
        return _snapshot()
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except _GitError as error:
        raise UsageError(
            f"{revision!r} is no revision of {repository()}; name a branch, a tag, a commit, or `.` for the files here"
            f"{_shallow()}"
        ) from error


def commits_of(span: str) -> list[str]:
    """The commits of a range such as `v1.0..HEAD`, the oldest first; UsageError where git knows no such range."""
    try:
        return _git("rev-list", "--reverse", "--topo-order", "--end-of-options", span).split()
    except _GitError as error:
        raise UsageError(f"{span!r} is no range of commits here ({error}); such as v1.0..HEAD{_shallow()}") from error


@contextlib.contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """A detached worktree of `commit` in a temporary directory, removed at the end, interrupted or not."""
    folder = Path(tempfile.mkdtemp(prefix="benchsuite-"))
    path = folder / commit[:12]
    try:
        try:
            _git("worktree", "add", "--detach", "--quiet", str(path), commit)
        except _GitError as error:
            raise OutputError(f"no worktree of {commit[:12]} can be made in {folder}: {error}") from error
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(_GitError):  # nothing more to be done; `git worktree prune` by hand does the same
            _git("worktree", "prune")


def environment() -> dict[str, str]:
    """This process's variables, without those by which git in a hook would write to the user's own index."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}


class _GitError(Exception):
    """What git said."""


def _git(*arguments: str, more: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, env={**environment(), **(more or {})}
        )
    except FileNotFoundError as error:
        raise _GitError("git is not installed") from error
    if done.returncode:
        fatal = [line for line in done.stderr.splitlines() if line.startswith("fatal: ")]  # advice may follow it
        raise _GitError(fatal[0] if fatal else last_line(done.stderr, f"git {arguments[0]} failed"))
    return done.stdout.strip()


def _shallow() -> str:
    """What to do where the history may be missing; nothing where git knows of no repository."""
    with contextlib.suppress(_GitError):
        if _git("rev-parse", "--is-shallow-repository") == "true":
            return "; this clone is shallow: `git fetch --unshallow`, or `fetch-depth: 0` of actions/checkout, helps"
    return ""


def _snapshot() -> str:
    """A commit of the files as they are, made through an index of its own: the user's is not touched."""
    root = repository()
    with tempfile.TemporaryDirectory(prefix="benchsuite-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        author = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "benchsuite"), ("EMAIL", "benchsuite@localhost"))
        }
        try:
            _git("read-tree", "HEAD", more=index)
            _git("-C", str(root), "add", "--all", more=index)
            tree = _git("write-tree", more=index)
            return _git("commit-tree", tree, "-p", "HEAD", "-m", "the files as they are", more=author)
        except _GitError as error:
            raise OutputError(f"the files of {root} cannot be put into a worktree: {error}") from error

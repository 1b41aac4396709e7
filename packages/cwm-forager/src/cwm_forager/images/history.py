"""Git history without a future: what lies after a commit is gone, and is shown to be gone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from cwm_core.errors import DataError, RunError

BRANCH = "main"
_GIT = (
    "git",
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
)
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "cwm",
    "GIT_AUTHOR_EMAIL": "cwm@localhost",
    "GIT_COMMITTER_NAME": "cwm",
    "GIT_COMMITTER_EMAIL": "cwm@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00+0000",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00+0000",
}


def git(repository: Path, *arguments: str, stdin: str = "", timeout_s: float = 600) -> str:
    """Run git, untouched by the user's configuration and hooks; RunError when it fails."""
    try:
        done = subprocess.run(
            [*_GIT, "-C", str(repository), *arguments],
            env=_ENVIRONMENT,
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"git {arguments[0]} failed: {error}", "is git installed?") from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise RunError(f"git {arguments[0]} failed in {repository}: {reason}")
    return done.stdout.decode("utf-8", "surrogateescape")


def first_commit(directory: Path, message: str) -> str:
    """Make a repository of a directory's files, with one commit; returns its id.

    The commit's date and author are fixed, so that equal files give an equal id.
    """
    if (directory / ".git").exists():
        shutil.rmtree(directory / ".git")
    git(directory, "init", "--quiet", f"--initial-branch={BRANCH}")
    git(directory, "add", "--all", "--force")
    git(directory, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
    return git(directory, "rev-parse", "HEAD").strip()


def scrub(repository: Path) -> None:
    """Forget everything that HEAD does not come from; HEAD becomes the branch ``main``.

    Remotes, other branches, later tags, notes, stashes, reflogs, and all objects that only they
    reach are deleted.
    """
    head = git(repository, "rev-parse", "HEAD").strip()
    for remote in git(repository, "remote").split():
        git(repository, "remote", "remove", remote)
    git(repository, "checkout", "--quiet", "--force", "--detach", head)
    past = set(git(repository, "tag", "--merged", head).split())
    for reference in git(repository, "for-each-ref", "--format=%(refname)").split():
        if not (reference.startswith("refs/tags/") and reference[len("refs/tags/") :] in past):
            git(repository, "update-ref", "--no-deref", "-d", reference)
    git(repository, "checkout", "--quiet", "--force", "-B", BRANCH, head)
    inside = repository / ".git"
    for name in ("FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"):
        (inside / name).unlink(missing_ok=True)
    for name in ("hooks", "logs", "modules", "worktrees", "rr-cache", "lfs"):
        shutil.rmtree(inside / name, ignore_errors=True)
    for name in ("objects/info/alternates", "info/grafts", "shallow.lock"):
        (inside / name).unlink(missing_ok=True)
    git(repository, "reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    git(repository, "repack", "-a", "-d", "--quiet")
    git(repository, "prune", "--expire=now")
    git(repository, "pack-refs", "--all")
    shutil.rmtree(inside / "logs", ignore_errors=True)
    assert_no_future(repository)


def assert_no_future(repository: Path) -> None:
    """Raise DataError when anything is left that HEAD does not come from."""
    left = []
    if git(repository, "remote").split():
        left.append("remotes")
    head = git(repository, "rev-parse", "HEAD").strip()
    for line in git(repository, "for-each-ref", "--format=%(refname)").split():
        tip = git(repository, "rev-parse", f"{line}^{{}}").strip()
        if git(repository, "rev-list", "-n1", f"{head}..{tip}").strip():
            left.append(line)
    if git(repository, "reflog", "show", "--all").strip():
        left.append("reflogs")
    extra = _objects(repository) - _reachable(repository)
    if extra:
        left.append(f"{len(extra)} unreachable objects, such as {min(extra)}")
    if left:
        raise DataError(f"the history of {repository} still holds: {', '.join(left)}")


def _objects(repository: Path) -> set[str]:
    listed = git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listed.split())


def _reachable(repository: Path) -> set[str]:
    listed = git(repository, "rev-list", "--objects", "--no-object-names", "HEAD", "--tags")
    tags = git(repository, "for-each-ref", "--format=%(objectname)", "refs/tags").split()
    return {*listed.split(), *tags}

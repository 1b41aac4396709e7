"""Sandboxes that hold the repository of an instance, in the state that an agent starts from."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

from cwm_core.components import ComponentConfig
from cwm_core.errors import DataError
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError
from cwm_forager.tasks.instance import Instance

PREPARE_TIMEOUT_S = 300.0
_APPLY = "git apply --whitespace=nowarn"
_PREPARE = """
set -e
rm -rf .git
find . -name __pycache__ -type d -prune -exec rm -rf {} +
rm -rf "$HOME/.cache/pip" /root/.cache/pip 2>/dev/null || true
export GIT_CONFIG_GLOBAL=/dev/null
git init -q
git config user.name cwm && git config user.email cwm@localhost
git config core.hooksPath /dev/null && git config gc.auto 0
git config core.autocrlf false && git config core.fileMode true
"""
_COMMIT = """
git add -A
git commit -q --allow-empty --no-verify -m "Start of the task"
"""
_owners: dict[tuple[str, str], str] = {}
"""Who owns a repository, by image and place; images do not change under their name."""


async def open_repository(config: ComponentConfig, instance: Instance) -> Sandbox:
    """Make a sandbox with the repository as an agent finds it: broken, and without any history.

    The image's own ``.git`` holds the repaired files of an invented bug, and maybe later commits,
    so that it gives way to a new one with a single commit; compiled files and pip's cache go, too.

    Raises:
        SandboxError: the sandbox cannot be made, or has no git.
        DataError: the archive cannot be read, or the instance's patch does not apply.
    """
    sandbox = await _sandbox(config, instance)
    try:
        if instance.archive:
            await _unpack(sandbox, instance)
        await _checked(sandbox, _PREPARE, instance, "cannot prepare the repository")
        if instance.setup_patch:
            await apply_patch(sandbox, instance, instance.setup_patch)
        await _checked(sandbox, f"set -e\n{_COMMIT}", instance, "cannot commit the repository")
    except BaseException:
        await sandbox.close()
        raise
    return sandbox


async def _sandbox(config: ComponentConfig, instance: Instance) -> Sandbox:
    """Make a sandbox whose commands run as the user that the repository in its image belongs to.

    Our images give it to the user of sandboxes, published ones to root, whom sandboxes leave no
    power over the rest of the machine. A user that the configuration chooses stays.
    """
    chosen = image_config(config, instance)
    user = type(chosen).model_fields.get("user")
    key = (instance.image, instance.root)
    if not instance.image or instance.archive or user is None or chosen.user != user.default:
        return await asyncio.to_thread(chosen.build)
    if key not in _owners:
        sandbox: Sandbox = await asyncio.to_thread(chosen.build)
        try:
            looked = await sandbox.exec(["stat", "-c", "%u:%g", "--", instance.root], 60.0)
        except BaseException:
            await sandbox.close()
            raise
        _owners[key] = looked.text.strip() if looked.exit_code == 0 else chosen.user
        if _owners[key] == chosen.user:
            return sandbox
        await sandbox.close()
    return await asyncio.to_thread(chosen.model_copy(update={"user": _owners[key]}).build)


def image_config(config: ComponentConfig, instance: Instance) -> Any:
    """Return the sandbox's configuration with the image of an instance, where it has images."""
    if instance.image and "image" in type(config).model_fields:
        return config.model_copy(update={"image": instance.image})
    if instance.image and not instance.archive:
        raise SandboxError(
            f"{instance.id} needs the image {instance.image!r}, and the sandbox "
            f"'{config.name}' has no images",
            "choose sandbox=docker",
        )
    return config


async def apply_patch(sandbox: Sandbox, instance: Instance, patch: str, options: str = "") -> None:
    """Apply a git diff to the repository; DataError when it does not fit."""
    result = await git_apply(sandbox, instance, patch, options)
    if result.exit_code != 0:
        raise DataError(f"a patch of {instance.id} does not apply: {reason(result)}")


async def git_apply(
    sandbox: Sandbox, instance: Instance, patch: str, options: str = ""
) -> ExecResult:
    """Apply a git diff, given on standard input, and return how that went."""
    text = patch if patch.endswith("\n") else patch + "\n"
    data = text.encode("utf-8", "surrogateescape")
    return await command(sandbox, instance, f"{_APPLY} {options} -", data)


async def command(
    sandbox: Sandbox,
    instance: Instance,
    script: str,
    stdin: bytes = b"",
    timeout_s: float = PREPARE_TIMEOUT_S,
) -> ExecResult:
    """Run a shell script of ours in the repository."""
    return await sandbox.exec(script, timeout_s, cwd=instance.root, stdin=stdin)


def reason(result: ExecResult) -> str:
    """Return why a command of ours failed."""
    if result.timed_out:
        return f"it took more than {result.duration_s:.0f} s"
    text = (result.stderr or result.stdout).decode("utf-8", "backslashreplace").strip()
    return text[-1000:] or f"exit code {result.exit_code}"


async def _checked(sandbox: Sandbox, script: str, instance: Instance, what: str) -> None:
    result = await command(sandbox, instance, script)
    if result.exit_code != 0:
        why = reason(result)
        hint = "install git in the image" if "git: not found" in why else None
        raise SandboxError(f"{what} of {instance.id} in {instance.root}: {why}", hint)


async def _unpack(sandbox: Sandbox, instance: Instance) -> None:
    try:
        data = await asyncio.to_thread(Path(instance.archive).read_bytes)
    except OSError as error:
        raise DataError(f"cannot read the archive of {instance.id}: {error}") from error
    root = shlex.quote(instance.root)
    script = f"mkdir -p {root} && tar -xf - -C {root}"
    result = await sandbox.exec(script, PREPARE_TIMEOUT_S, stdin=data)
    if result.exit_code != 0:
        raise DataError(f"cannot unpack {instance.archive}: {reason(result)}")

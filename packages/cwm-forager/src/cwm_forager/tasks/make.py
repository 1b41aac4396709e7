"""`cwm forage tasks`: instances from whatever describes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from cwm_core.env.concurrency import run_sync
from cwm_core.errors import ConfigError
from cwm_forager.images.manifest import ImageManifest
from cwm_forager.tasks.config import TasksConfig
from cwm_forager.tasks.formats import read_format
from cwm_forager.tasks.instance import Instance, write_instances
from cwm_forager.tasks.mirror import history
from cwm_forager.tasks.mutants import mutant_instances
from cwm_forager.tasks.statements import written_statement


def make_tasks(config: TasksConfig) -> int:
    """Write the instances and return how many.

    Raises:
        ConfigError: something that the format needs is missing.
        DataError: the source cannot be read.
    """
    instances = islice(_instances(config), config.limit)
    if config.statements == "llm":
        return write_instances(config.out, _told(config, list(instances)))
    return write_instances(config.out, instances)


def _instances(config: TasksConfig) -> Iterator[Instance]:
    manifest = ImageManifest.read(config.manifest) if config.manifest else None
    if config.format == "history":
        archives = config.out.with_suffix(".archives") if manifest is None else None
        return history(
            config.source,
            archives=archives,
            manifest=manifest,
            python=config.python or _python(manifest),
            environment=config.environment,
            limit=config.limit,
        )
    if config.format == "mutants":
        if manifest is None:
            raise ConfigError("mutants need the manifest of their image", "give manifest=DIR")
        return mutant_instances(config.source, manifest, config.archive, config.python)
    return read_format(config.source, config.format)


def _python(manifest: ImageManifest | None) -> str:
    """Return the interpreter of an image's test command, where it names one."""
    command = manifest.test_command if manifest is not None else ()
    return command[0] if command and "python" in command[0] else "python"


def _told(config: TasksConfig, instances: list[Instance]) -> list[Instance]:
    """Let a model write the statements."""
    from cwm_core.engine.tokenizer import tokenizer_of

    if config.engine is None:
        raise ConfigError("statements=llm needs an engine", "give engine=openai")
    engine = config.engine.build()
    tokenizer = tokenizer_of(engine, config.engine.name, config.tokenizer, "tokenizer")

    async def tell() -> list[Instance]:
        try:
            texts = [await written_statement(each, "", engine, tokenizer) for each in instances]
        finally:
            await engine.close()
        return [
            each.model_copy(update={"problem_statement": text})
            for each, text in zip(instances, texts)
        ]

    return run_sync(tell())

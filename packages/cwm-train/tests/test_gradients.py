"""The two ways to a step's gradient agree."""

import multiprocessing
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import torch

from cwm_core.errors import RunError
from cwm_train.data.batch import Batch, collate
from cwm_train.data.document import Document
from cwm_train.loop.gradients import SerialGradients, SideBySideGradients
from cwm_train.model.config import CwmTiny
from cwm_train.model.transformer import CwmForCausalLM

ROWS, LENGTH, VOCABULARY = 5, 48, 64


@pytest.fixture
def parts() -> list[Batch]:
    """Rows of two documents each, the last row without any label."""
    generator = torch.Generator().manual_seed(0)

    def document(labelled: bool) -> Document:
        ids = torch.randint(VOCABULARY, (LENGTH // 2,), generator=generator).numpy()
        return Document(ids, torch.full((LENGTH // 2,), labelled).numpy())

    rows = [[document(row < ROWS - 1) for _ in range(2)] for row in range(ROWS)]
    return collate(rows, LENGTH).split(1)


def model() -> CwmForCausalLM:
    torch.manual_seed(0)
    return CwmTiny(hidden_size=32, intermediate_size=48).build(VOCABULARY)


def gradients(model: CwmForCausalLM) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@contextmanager
def side_by_side(
    model: CwmForCausalLM, parts: int = 2, bf16: bool = False
) -> Iterator[SideBySideGradients]:
    threads = torch.get_num_threads()
    with closing(SideBySideGradients(model, parts, bf16)) as computed:
        yield computed
    torch.set_num_threads(threads)


def test_side_by_side_gives_the_serial_gradient(parts: list[Batch]) -> None:
    serial, shared = model(), model()
    expected = SerialGradients(serial).add(parts, 0.01)
    with side_by_side(shared, 3) as computed:
        loss = computed.add(parts, 0.01)
    torch.testing.assert_close(loss, expected)
    assert len(gradients(shared)) == len(list(shared.parameters()))
    torch.testing.assert_close(gradients(shared), gradients(serial))


def test_side_by_side_computes_in_bf16_in_every_process(parts: list[Batch]) -> None:
    serial, shared = model(), model()
    expected = SerialGradients(serial, bf16=True).add(parts, 0.01)
    with side_by_side(shared, 2, bf16=True) as computed:
        loss = computed.add(parts, 0.01)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(shared), gradients(serial))
    exact = model()
    SerialGradients(exact).add(parts, 0.01)
    assert not all(torch.equal(a, b) for a, b in zip(gradients(shared), gradients(exact)))


def test_side_by_side_follows_the_parameters(parts: list[Batch]) -> None:
    serial, shared = model(), model()
    with side_by_side(shared) as computed:
        computed.add(parts, 0.01)
        for one in (serial, shared):
            with torch.no_grad():
                for parameter in one.parameters():
                    parameter.mul_(1.5)
            one.zero_grad(set_to_none=True)
        computed.add(parts, 0.01)
    SerialGradients(serial).add(parts, 0.01)
    torch.testing.assert_close(gradients(shared), gradients(serial))


def test_side_by_side_is_deterministic(parts: list[Batch]) -> None:
    found = []
    for _ in range(2):
        one = model()
        with side_by_side(one) as computed:
            computed.add(parts, 0.01)
        found.append(gradients(one))
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_a_dead_helper_is_an_error(parts: list[Batch]) -> None:
    with side_by_side(model()) as computed:
        for child in multiprocessing.active_children():
            if child.name == "gradients":
                child.kill()
                child.join()
        with pytest.raises(RunError, match="died"):
            computed.add(parts, 0.01)

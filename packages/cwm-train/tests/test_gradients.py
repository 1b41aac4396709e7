"""The two ways to a step's gradient agree."""

import pytest
import torch
from accelerate import Accelerator

from cwm_train.data.batch import Batch, collate
from cwm_train.data.document import Document
from cwm_train.loop.gradients import SerialGradients, ThreadedGradients
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


def test_threads_give_the_serial_gradient(parts: list[Batch]) -> None:
    serial, threaded = model(), model()
    expected = SerialGradients(Accelerator(cpu=True), serial).add(parts, 0.01)
    loss = ThreadedGradients(threaded, threads=3).add(parts, 0.01)
    torch.testing.assert_close(loss, expected)
    assert len(gradients(threaded)) == len(list(threaded.parameters()))
    torch.testing.assert_close(gradients(threaded), gradients(serial))


def test_threads_are_deterministic(parts: list[Batch]) -> None:
    found = []
    for _ in range(3):
        one = model()
        ThreadedGradients(one, threads=3).add(parts, 0.01)
        found.append(gradients(one))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other))

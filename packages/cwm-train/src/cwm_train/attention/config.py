"""Configuration of the attention backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_train.attention.base import Attention


class Reference(ComponentConfig):
    """Dense masks and an explicit softmax in fp32: slow; the others are checked against it."""

    def build(self) -> Attention:
        """Build the backend."""
        from cwm_train.attention.reference import ReferenceAttention

        return ReferenceAttention()


class Sdpa(ComponentConfig):
    """torch's scaled_dot_product_attention; on CPUs one causal call per packed document."""

    def build(self) -> Attention:
        """Build the backend."""
        from cwm_train.attention.sdpa import SdpaAttention

        return SdpaAttention()


class Chunked(ComponentConfig):
    """Blocks of queries for training small models on CPUs; elsewhere the same as `sdpa`."""

    def build(self) -> Attention:
        """Build the backend."""
        from cwm_train.attention.chunked import ChunkedAttention

        return ChunkedAttention()


class Flex(ComponentConfig):
    """torch's FlexAttention: block-sparse masks, compiled; meant for GPUs."""

    compile: bool = True
    """Compile the kernel (needs a C++ compiler on CPUs); otherwise it runs unfused."""
    block_size: int = 128
    """Side of the blocks in which masks are sparse, in tokens."""

    def build(self) -> Attention:
        """Build the backend."""
        from cwm_train.attention.flex import FlexAttention

        return FlexAttention(self.compile, self.block_size)


class Flash(ComponentConfig):
    """The library flash-attn on CUDA devices, in bf16 or fp16; cached generation goes to torch."""

    def build(self) -> Attention:
        """Build the backend; raises ConfigError without the library or a CUDA device."""
        from cwm_train.attention.flash import FlashAttention, load_kernel

        return FlashAttention(load_kernel())

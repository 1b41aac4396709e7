"""The chat and tool vocabulary and its wire format."""

from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.tools import ToolCall, ToolSpec

__all__ = ["ChatRole", "Dialog", "Message", "ToolCall", "ToolSpec"]

"""Names of the operators that ship, with a line each; imports nothing."""

from __future__ import annotations

OPERATORS: dict[str, str] = {
    "drop_argument": "f(a, b) becomes f(a).",
    "reorder_arguments": "f(a, b) becomes f(b, a).",
    "alter_argument": "An argument becomes another name, or None.",
    "swap_variables": "One local variable is used for another.",
    "break_chain": "a.b().c() becomes a.b().",
    "remove_call": "sorted(x) becomes x.",
    "replace_operator": "a + b becomes a - b, and becomes or.",
    "swap_operands": "a - b becomes b - a.",
    "replace_comparison": "< becomes <=, == becomes !=.",
    "change_constant": "Numbers, booleans, None and strings change.",
    "off_by_one": "An index, a bound or a compared number moves by one.",
    "invert_condition": "if a becomes if not a.",
    "empty_function": "A body becomes pass.",
    "delete_function": "A function goes.",
    "delete_statements": "One to three statements go.",
    "swap_statements": "Two neighbouring statements change places.",
    "delete_assignment": "An assignment goes.",
    "delete_return": "return a becomes a.",
    "remove_loop": "A loop goes.",
    "remove_conditional": "An if goes, or always holds.",
    "swap_branches": "The bodies of if and else change places.",
    "remove_wrapper": "The body of try or with stands alone; a decorator goes.",
    "change_jump": "break becomes continue, raise becomes pass.",
    "delete_import": "An import goes, or one of its names.",
    "remove_base": "A base class goes.",
    "remove_method": "A method goes.",
    "remove_attribute": "A class attribute goes.",
    "change_default": "A default changes, or two parameters change places.",
}

"""All operators by name."""

from __future__ import annotations

from cwm_forager.mutate.base import Scope
from cwm_forager.mutate.operators import calls, definitions, expressions, statements
from cwm_forager.mutate.operators.tree import Propose, TreeMutator

_OPERATORS: tuple[tuple[Propose, Scope], ...] = (
    (calls.drop_argument, "function"),
    (calls.reorder_arguments, "function"),
    (calls.alter_argument, "function"),
    (calls.swap_variables, "function"),
    (calls.break_chain, "function"),
    (calls.remove_call, "function"),
    (expressions.replace_operator, "function"),
    (expressions.swap_operands, "function"),
    (expressions.replace_comparison, "function"),
    (expressions.change_constant, "function"),
    (expressions.off_by_one, "function"),
    (expressions.invert_condition, "function"),
    (statements.empty_function, "function"),
    (statements.delete_function, "function"),
    (statements.delete_statements, "function"),
    (statements.swap_statements, "function"),
    (statements.delete_assignment, "function"),
    (statements.delete_return, "function"),
    (statements.remove_loop, "function"),
    (statements.remove_conditional, "function"),
    (statements.swap_branches, "function"),
    (statements.remove_wrapper, "function"),
    (statements.change_jump, "function"),
    (definitions.delete_import, "import"),
    (definitions.remove_base, "class"),
    (definitions.remove_method, "class"),
    (definitions.remove_attribute, "class"),
    (definitions.change_default, "function"),
)
OPERATORS: dict[str, TreeMutator] = {
    propose.__name__: TreeMutator(scope, propose) for propose, scope in _OPERATORS
}

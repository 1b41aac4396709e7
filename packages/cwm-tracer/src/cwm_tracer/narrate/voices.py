"""Ways to put facts into words; each sentence is true of every fact of its kind.

`{source}` and so on are filled with quoted code. A voice is used for a whole narration, so that
person and tense do not change within it.
"""

from __future__ import annotations

VOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "present": {
        "call": (
            "{function} is called with {pairs}.",
            "Execution enters {function}; {values}.",
            "A call of {function} begins: {values}.",
        ),
        "call_bare": ("{function} is called.", "Execution enters {function}."),
        "resume": (
            "{function} resumes; {values}.",
            "Execution is back inside {function}: {values}.",
        ),
        "resume_bare": ("{function} resumes.", "Execution is back inside {function}."),
        "run": (
            "Line {line} runs: {source}.",
            "Next is line {line}, {source}.",
            "Line {line} is {source}.",
        ),
        "effect": ("Now {values}.", "After that, {values}.", "This leaves {pairs}."),
        "line": (
            "Line {line}, {source}: now {values}.",
            "{source} (line {line}) runs, and then {values}.",
            "After line {line}, {source}, {values}.",
        ),
        "quiet": (
            "{source} (line {line}) leaves the state as it reads; line {next_line} follows.",
            "Line {line} runs: {source}. Then comes line {next_line}.",
            "From line {line}, {source}, execution goes to line {next_line}.",
        ),
        "return": ("{function} returns {value}.", "At line {line}, {function} returns {value}."),
        "yield": ("{function} hands out {value} and pauses.", "{function} pauses with {value}."),
        "leave": ("{function} is left.", "Execution leaves {function} at line {line}."),
        "exception": (
            "An exception reaches line {line}: {value}.",
            "At line {line}, {source}, there is an exception: {value}.",
        ),
        "print": ("Printed is {value}.", "The output grows by {value}."),
        "end_value": ("The result is {value}.", "So {value} is what it comes to."),
        "end_exception": ("The execution ends with {value}.", "In the end, {value} is raised."),
        "end_output": ("The program prints:\n{value}", "Its whole output is:\n{value}"),
        "end_silent": ("The program prints nothing.", "There is no output."),
    },
    "we": {
        "call": ("We call {function} with {pairs}.", "We enter {function}, where {values}."),
        "call_bare": ("We call {function}.", "We enter {function}."),
        "resume": ("We go on inside {function}, where {values}.",),
        "resume_bare": ("We go on inside {function}.",),
        "run": ("We run line {line}, {source}.", "We are at line {line}: {source}."),
        "effect": ("We now have {pairs}.", "As we go on, {values}."),
        "line": (
            "We run line {line}, {source}, and get {pairs}.",
            "With line {line}, {source}, we have {pairs}.",
        ),
        "quiet": (
            "We run line {line}, {source}, and continue at line {next_line}.",
            "Line {line} is {source}; it takes us to line {next_line}.",
        ),
        "return": ("We leave {function} with {value}.", "We return {value} from {function}."),
        "yield": ("We pause {function} and hand out {value}.",),
        "leave": ("We leave {function}.",),
        "exception": ("At line {line} we meet an exception: {value}.",),
        "print": ("We print {value}.",),
        "end_value": ("We end up with {value}.", "Our result is {value}."),
        "end_exception": ("We end with an exception: {value}.",),
        "end_output": ("What we have printed:\n{value}",),
        "end_silent": ("We have printed nothing.",),
    },
    "past": {
        "call": ("{function} was called with {pairs}.", "The call of {function} had {pairs}."),
        "call_bare": ("{function} was called.",),
        "resume": ("{function} went on with {pairs}.",),
        "resume_bare": ("{function} went on.",),
        "run": ("Line {line} was reached: {source}.", "Then came line {line}, {source}."),
        "effect": ("That left {pairs}.", "Afterwards the state had {pairs}."),
        "line": (
            "Line {line}, {source}, left {pairs}.",
            "{source} at line {line} was followed by a state with {pairs}.",
        ),
        "quiet": (
            "Line {line}, {source}, was followed by line {next_line}.",
            "{source} (line {line}) ran, then line {next_line} was reached.",
        ),
        "return": ("{function} returned {value}.",),
        "yield": ("{function} handed out {value} and paused.",),
        "leave": ("{function} was left.",),
        "exception": ("At line {line} there was an exception: {value}.",),
        "print": ("That printed {value}.", "Printed was {value}."),
        "end_value": ("The final value was {value}.",),
        "end_exception": ("The execution ended with {value}.",),
        "end_output": ("The output was:\n{value}",),
        "end_silent": ("Nothing was printed.",),
    },
}

CLAUSES = ("{name} is {text}", "{name} has a value too long to show", "{name} is no longer defined")
"""How `{values}` tells a variable and its value, one that is too long, and one that is gone."""
PHRASES = ("{name} = {text}", "a long value of {name}", "{name} no longer defined")
"""The same where `{pairs}` stands, after a preposition or a verb."""

QUESTIONS = {
    "value": (
        "What is the result of running {call} to its end? Follow the execution step by step.",
        "Trace {call} and give its result.",
        "Execute {call} in your head, line by line. What is the result?",
    ),
    "exception": (
        "What happens when {call} is executed? Follow it step by step.",
        "Trace {call} and say how it ends.",
    ),
    "output": (
        "What does this program print{given}? Follow the execution step by step.",
        "Trace this program{given} and give its output.",
    ),
}

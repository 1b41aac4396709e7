"""The chat format as a Jinja template, for `transformers` and inference servers.

It takes OpenAI message dicts (``tool_calls`` with arguments as dicts or text, ``reasoning_content``
or ``<think>`` tags in the content) and renders them as `from_openai` and `ChatTemplate` do in the
tag style, with the switches ``enable_thinking`` and ``preserve_previous_think`` (both default to
true). Known names: ``tools``, ``add_generation_prompt``.
"""

from typing import Final

_MACROS: Final = r"""
{%- macro text_of(content) -%}
    {%- if content is string -%}{{ content }}
    {%- elif content -%}{%- for part in content -%}{{ part.text }}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro header(role) -%}
    {{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}
{%- endmacro -%}
{%- macro shape(function) -%}
    {%- set names = ((function.parameters or {}).properties or {}) | list -%}
    {%- if function.name == 'edit' and names | sort == ['path', 'replace', 'search'] -%}
        {{ '[path]\n<<<<<<< SEARCH\n[search_lines]\n=======\n[replacement_lines]' }}
        {{- '\n>>>>>>> REPLACE' }}
    {%- elif function.name == 'create' and names | sort == ['content', 'path'] -%}
        {{ '[path]\n[content]' }}
    {%- elif names | length == 1 -%}{{ '[' + names[0] + ']' }}
    {%- else -%}{{ '[JSON object with ' + names | join(', ') + ']' }}
    {%- endif -%}
{%- endmacro -%}
{%- macro announcement() -%}
    {{ 'You have access to the following tools:' }}
    {%- for tool in tools -%}
        {{ '\n\n<tool: ' + tool.function.name + '>\n' + shape(tool.function) + '\n</tool>' }}
        {%- set description = tool.function.description or '' -%}
        {{ ('\n' + description).rstrip() }}
    {%- endfor -%}
{%- endmacro -%}
{%- macro call_content(call) -%}
    {%- set given = call.arguments -%}
    {%- if given is string -%}{{ given }}
    {%- elif call.name == 'edit' and given | list | sort == ['path', 'replace', 'search'] -%}
        {{ given.path + '\n<<<<<<< SEARCH\n' + given.search + '\n=======\n' + given.replace }}
        {{- '\n>>>>>>> REPLACE' }}
    {%- elif call.name == 'create' and given | list | sort == ['content', 'path'] -%}
        {{ given.path + '\n' + given.content }}
    {%- elif given | length == 1 and (given.values() | first) is string -%}
        {{ given.values() | first }}
    {%- else -%}{{ given | tojson }}
    {%- endif -%}
{%- endmacro -%}
"""

_ASSISTANT: Final = r"""
{%- macro assistant(message, keep_reasoning) -%}
    {%- set state = namespace(body=text_of(message.content), reasoning=none) -%}
    {%- if message.reasoning_content is defined and message.reasoning_content is not none -%}
        {%- set state.reasoning = message.reasoning_content -%}
    {%- elif state.body.startswith('<think>\n') and '\n</think>\n' in state.body -%}
        {%- set state.reasoning = state.body[8:].split('\n</think>\n', 1)[0] -%}
        {%- set state.body = state.body.split('\n</think>\n', 1)[1] -%}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
        {%- set text = '<tool: ' + call.function.name + '>\n' + call_content(call.function)
            + '\n</tool>' -%}
        {%- set state.body = state.body + '\n' + text if state.body else text -%}
    {%- endfor -%}
    {%- if keep_reasoning and state.reasoning is not none -%}
        {{ '<think>\n' + state.reasoning + '\n</think>\n' }}
    {%- endif -%}
    {{ state.body | trim }}
{%- endmacro -%}
"""

_DIALOG: Final = r"""
{{- '<|begin_of_text|>' -}}
{%- if tools and (not messages or messages[0].role not in ['system', 'developer']) -%}
    {{ header('system') + announcement() | trim + '<|eot_id|>' }}
{%- endif -%}
{%- set keep = preserve_previous_think is not defined or preserve_previous_think -%}
{%- for message in messages -%}
    {%- if message.role in ['system', 'developer'] -%}
        {%- set text = text_of(message.content) | trim -%}
        {%- if tools and loop.first -%}
            {%- set text = (text + '\n\n' + announcement()) | trim -%}
        {%- endif -%}
        {{ header('system') + text }}
    {%- elif message.role == 'user' -%}
        {{ header('user') + text_of(message.content) | trim }}
    {%- elif message.role == 'assistant' -%}
        {{ header('assistant') + assistant(message, keep or loop.last) }}
    {%- elif message.role == 'tool' -%}
        {%- set found = namespace(name=message.name) -%}
        {%- if not found.name -%}
            {%- for earlier in messages -%}
                {%- for call in earlier.tool_calls or [] -%}
                    {%- if call.id == message.tool_call_id -%}
                        {%- set found.name = call.function.name -%}
                    {%- endif -%}
                {%- endfor -%}
            {%- endfor -%}
        {%- endif -%}
        {{ header('tool: ' + found.name) + text_of(message.content) }}
    {%- else -%}
        {{ raise_exception('unknown role: ' + message.role) }}
    {%- endif -%}
    {{ '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ header('assistant') }}
    {%- if enable_thinking is not defined or enable_thinking -%}{{ '<think>\n' }}{%- endif -%}
{%- endif -%}
"""

CHAT_TEMPLATE: Final = (_MACROS + _ASSISTANT + _DIALOG).strip()
"""For the ``chat_template`` of a tokenizer_config.json."""

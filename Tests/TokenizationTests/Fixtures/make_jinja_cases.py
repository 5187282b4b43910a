"""Writes jinja_cases.json: templates of our own and what Python's jinja2 makes of them.

Run: python3 make_jinja_cases.py (jinja2 3.1.6, Python 3.11). The environment is the one that the documentation of
transformers' chat templates describes: an immutable sandbox, trimmed blocks, loop controls, json.dumps as tojson,
raise_exception, and a generation tag.
"""

import copy
import itertools
import json
import os
import platform
import random

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """The generation tag as a call block, so that its body has variables of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("write"), [], [], body).set_lineno(line)

    def write(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

VARIABLES = {'messages': [{'role': 'system', 'content': 'You are é nice.'}, {'role': 'user', 'content': ' Hi <b>\n'},
              {'role': 'assistant',
               'content': 'ok',
               'tool_calls': [{'function': {'name': 'f',
                                            'arguments': {'a': 1, 'b': [1.5, None, True, 'x"y']}}}]}],
 's': 'Hello, World',
 'u': 'Straße ÀÉΣΑΣ ǅx 𝒳y\xa0z',
 'e': '',
 'n': 7,
 'm': -3,
 'f': 2.5,
 'z': 0,
 't': True,
 'no': None,
 'l': [3, 1, 2],
 'ls': ['b', 'A', 'c', 'a'],
 'd': {'b': 1, 'a': 2, 'C': 'x'},
 'dd': [{'k': 'x', 'v': 1}, {'k': 'Y', 'v': 2}, {'k': 'x', 'v': 3}, {'v': 4}],
 'nested': {'a': {'b': [{'c': 5}, {'c': 6}]}},
 'mixed': [1, 'a', None, 2.5, True, [1], {'a': 1}],
 'big': 123456789012345678,
 'tiny': 1e-07,
 'huge': 1e+22,
 'fl': 0.1,
 'tab': 'a\tb\r\nc\x0bd\u2028e',
 'items': 'it',
 'pad': '  x  '}

# One template a line.
LINES = r"""
{% for m in messages %}{{ m.role }}{% if loop.first %}*{% endif %}{% endfor %}{{ m }}
{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = x + i %}{{ x }};{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}
{% for i in range(3) %}{% if i %}{% set y = i %}{% endif %}{{ y }}|{% endfor %}
{% for i in [1] %}{{ s }}{% endfor %}{% set s = 1 %}{{ s }}
{{ s }}{% for i in [1] %}{{ s }}{% endfor %}{% set s = 1 %}{{ s }}
{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 5 %}{{ m() }}
{% macro m() %}{{ q }}{% endmacro %}{{ m() }}{% set q = 5 %}{{ m() }}
{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1,c=3) }} {{ m(b=1) }} {{ m(1,2,3) }}
{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,3,x=4) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1,2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(a, b='d') m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
{% macro m() %}{{ caller() if caller else 'none' }}{% endmacro %}{{ m() }}{% call m() %}z{% endcall %}
{% macro outer() %}{% macro inner() %}in{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}{{ inner is defined }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro m(x) %}{{ x }}{{ m.name }}{% endmacro %}{{ m }}{{ m('a') }}{{ m is callable }}
{% filter upper %}abc {{ s }}{% endfilter %}
{% filter upper|replace('A','x') %}abc{% set q = 1 %}{{ q }}{% endfilter %}{{ q }}
{% set t %}hello {{ n }}{% endset %}{{ t }}{{ t|length }}
{% set t | upper | trim %} hello {% endset %}[{{ t }}]
{% set ns = namespace(a=1) %}{% for i in [1,2,3] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b is defined }}{{ ns }}
{% set ns = namespace() %}{% set ns.x %}blk{% endset %}{{ ns.x }}
{% set d.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, (e1, f1)) = (1, (2, 3)) %}{{ c }}{{ e1 }}{{ f1 }}
{% set a, b = [1, 2, 3] %}
{% set a = 1, %}{{ a }}{% set a = 1, 2 %}{{ a }}{% set a = () %}{{ a }}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}{% for k in d %}{{ k }}{% endfor %}
{% for k, v in d|items %}{{ k }}={{ v }},{% endfor %}{% for k, v in undef|items %}x{% endfor %}
{% for k, v in d|dictsort %}{{ k }}={{ v }},{% endfor %}
{% for x in [1,2,3,4] if x is even %}{{ loop.index }}/{{ loop.length }}:{{ x }} {{ loop.revindex }}{{ loop.revindex0 }}{{ loop.last }}{% else %}none{% endfor %}
{% for x in [1,3] if x is even %}{{ x }}{% else %}none{{ x }}{% endfor %}
{% set ns = namespace(done=false) %}{% for x in [1,2,3] if not ns.done %}{{ x }}{% if x == 2 %}{% set ns.done = true %}{% endif %}{% endfor %}
{% set ns = namespace(done=false) %}{% for x in [1,2,3] if not ns.done %}{{ x }}{{ loop.last }}{% if x == 2 %}{% set ns.done = true %}{% endif %}{% endfor %}
{% for x in [1,2,3] %}{{ loop.previtem }}-{{ loop.nextitem }} {{ loop.cycle('a','b') }} {{ loop.changed(x // 2) }} {{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for x in [1,2,3] %}{{ loop }}{% endfor %}{{ loop }}
{% for x in [1,2] %}{% for y in [3,4] %}{{ loop.index }}{{ x }}{{ y }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in [1,2] %}{% set outer = loop %}{% for y in [3,4] %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}
{% for x in [[1,[2]],[3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}
{% for x in [[1,[2]],[3]] recursive %}<{{ loop(x) if x is sequence else x }}>{% else %}E{% endfor %}
{% for x in [1,2] %}{{ loop([1]) }}{% endfor %}
{% for x in [1,2,3,4,5] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}
{% for x in [1,2] %}{% continue %}{% else %}E{% endfor %}
{% for x in [1,2] %}{% break %}{% else %}E{% endfor %}
{% break %}
{% for x in [1,2] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in [1,2] %}{% set q %}{{ x }}{% break %}{% endset %}{{ q }}{% endfor %}{{ q }}
{% for x in [1,2] %}{% filter upper %}a{% continue %}{% endfilter %}{% endfor %}z
{% for x in [1] %}{% else %}{% break %}{% endfor %}
{% for y in [1,2] %}{{ y }}{% for x in [] %}{% else %}{% break %}{% endfor %}{{ y }}{% endfor %}
{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with %}{% set z9 = 3 %}{{ z9 }}{% endwith %}{{ z9 }}
{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}
{% block foo %}x{{ n }}{% set n = 3 %}{{ n }}{% endblock %}{{ n }}
{% for i in [1,2] %}{% block foo %}x{{ i }}{% endblock %}{% endfor %}
{% for i in [1,2] %}{% block foo scoped %}x{{ i }}{% endblock foo %}{% endfor %}
{% set q = 2 %}{% block foo %}{{ q }}{% endblock %}
{% block a %}1{% endblock %}{% block a %}2{% endblock %}
{% raw %}{{ x }} {% if %}{% endraw %}!
  {%- raw -%}  a  {%- endraw -%}  b
{# c #}x{#- c -#} y
{% if a %}{% elif n %}7{% else %}8{% endif %}
{% if undef.x %}{% endif %}
{{ undef.x }}
{{ undef }}{{ undef.x is defined }}
{{ d.undef }}{{ d.undef is undefined }}{{ d.undef.x }}
{{ d.undef|default('D') }}{{ none|default('D') }}{{ none|default('D', true) }}
{{ messages[5] is defined }}{{ messages[5].role is defined }}
{{ foo() }}
{{ 'x' if n > 3 }}{{ 'x' if n > 30 }}{{ ('x' if n > 30).y }}
{{ 'a' if false else 'b' if false else 'c' }}
{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 == true }}{{ 2 in [1,2] in [[1,2]] }}
{{ not 1 in [1] }}{{ not (1 in [2]) }}{{ 1 not in [2] }}
{{ n is divisibleby 7 }}{{ n is divisibleby(3) }}{{ n is not divisibleby 3 }}{{ n is defined and n is number }}
{{ n is eq 7 }}{{ n is in [1,7] }}{{ 'a' is in 'abc' }}{{ n is sameas n }}
{{ -n|abs }}{{ -3|abs }}{{ (-3)|abs }}{{ 2**-1 }}{{ -2**2 }}{{ 2**3**2 }}{{ 7//-2 }}{{ -7%3 }}{{ 7.5//2 }}{{ -7.5%2 }}
{{ 1 ~ 2 ~ none ~ true ~ undef ~ [1] }}{{ 1 + 2 ~ 3 }}{{ 2 * 3 ~ 4 }}
{{ [1,2,3][-1] }}{{ [1,2,3].0 }}{{ d['b'] }}{{ d.b }}{{ 'abc'[1] }}{{ 'abc'.1 }}
{{ {'a': 1}.a }}{{ {'items': 1}.items }}{{ {'items': 1}['items'] }}
{{ m.items }}{{ d['items'] is callable }}
{{ "a\nb\t\"q\" \x41 \u00e9 \101 \q \\ \'" }}{{ 'it''s' 'joined' }}
{{ 0x1F }}{{ 0b101 }}{{ 0o17 }}{{ 1_000 }}{{ 1e3 }}{{ 1.5e-3 }}{{ 1_0.2_5 }}
{{ 1. }}
{{ 012 }}
{{ x.y }}
{% unknown %}
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{{ 1|nofilter }}
{% if false %}{{ 1|nofilter }}{% endif %}ok
{% if true %}{{ 1|nofilter }}{% endif %}
{{ 1|nofilter if false else 2 }}
{% if false %}{% for x in [1] %}{{ x|nofilter }}{% endfor %}{% endif %}
{{ 1 is notest }}
{% if 'foo' is filter %}{{ 1|foo }}{% endif %}{{ 'upper' is filter }}{{ 'odd' is test }}
{{ 1
{{ 1 }
{% if %}{% endif %}
{% if 1 %}
{% endif %}
{% for x in %}{% endfor %}
{% for x in [1] %}{% endif %}
{{ [1, 2 }}
{{ (1, 2] }}
{{ {'a' 1} }}
{{ 'abc }}
{# abc
{% raw %}
{{ }}
{{ () }}{{ [] }}{{ {} }}{{ (1) }}{{ (1,) }}
{{ a.b.c }}
{{ range(5)|list }}{{ range(1,10,3)|list }}{{ range(5,0,-1)|list }}{{ range(0) }}{{ range(3)[1] }}{{ range(10)[2:5] }}{{ 3 in range(5) }}{{ range(5)|length }}
{{ range(1000000) }}
{{ range(0,10,0) }}
{{ dict(a=1)|tojson }}{{ dict([('a',1),('b',2)]) }}{{ dict({'a':1}, b=2) }}
{{ cycler('a','b').next() }}{% set c = cycler(1,2,3) %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('|') %}{% for i in [1,2,3] %}{{ j() }}{{ i }}{% endfor %}
{{ raise_exception('boom') }}
{{ raise_exception('boom ' ~ n) if n }}
{{ messages|tojson }}{{ messages|tojson(indent=4) }}{{ d|tojson(sort_keys=true, separators=(',', ':')) }}
{{ d|tojson(indent=0) }}{{ d|tojson(indent='--') }}{{ {}|tojson(indent=2) }}{{ [[],{}]|tojson(indent=2) }}
{{ undef|tojson }}
{{ "é😀<>&'"|tojson }}{{ "é😀<>&'"|tojson(ensure_ascii=true) }}{{ "\x7f\x00\x1f\b\f"|tojson }}
{{ {1:2, true:3, none:4, 1.5:6}|tojson }}{{ {(1,2):3}|tojson }}
{{ namespace(a=1)|tojson }}
{{ [1,2]|map('string')|join('+') }}{{ dd|map(attribute='k', default='-')|join(',') }}{{ dd|map(attribute='k')|list }}
{{ dd|selectattr('k','defined')|map(attribute='v')|sum }}{{ dd|rejectattr('k')|list }}{{ dd|sum(attribute='v') }}
{{ dd|groupby('k', default='q')|list }}{% for g, items in dd|groupby('k', default='q') %}{{ g }}:{{ items|length }};{% endfor %}{{ (dd|groupby('v'))[0].grouper }}{{ (dd|groupby('v'))[0].list }}
{% set g = messages|selectattr('role','equalto','user') %}{% for x in g %}{{ x.role }}{% endfor %}{% for x in g %}{{ x.role }}{% endfor %}{{ 'T' if g else 'F' }}{{ g[0] }}
{% set g = messages|map(attribute='role') %}{{ g|first }}{{ g|list }}{{ g|list }}
{{ messages|map('attr','role')|list }}
{{ l|length }}{{ 5|length }}
{{ (messages|selectattr('role','equalto','user'))|length }}
{{ [1,2,3]|first }}{{ []|first }}{{ []|last }}{{ {}|first }}{{ none|first }}
{{ 'a' * 3 }}{{ [1] * 2 }}{{ 2 * 'ab' }}{{ 'a' * -1 }}{{ 'a' + 1 }}
{{ l|sort }}{{ ls|sort }}{{ ls|sort(case_sensitive=true) }}{{ ls|sort(reverse=true) }}{{ mixed|sort }}
{{ dd|sort(attribute='v', reverse=true)|map(attribute='v')|list }}{{ dd[:3]|sort(attribute='k,v')|map(attribute='v')|list }}
{{ [3,1,2]|max }}{{ ['a','B']|min }}{{ [] | max }}{{ dd|max(attribute='v') }}
{{ '%s and %s'|format('a', 1) }}{{ '%(x)s'|format(x=1) }}{{ '%d%%'|format(5) }}
{{ 'a,b'|replace(',', ';') }}{{ 5|replace(5, 6) }}{{ 'aaa'|replace('a','b',2) }}
{{ ('<b>'|safe) ~ '<i>' }}{{ ('<b>'|safe) + '<i>' }}{{ '<i>' + ('<b>'|safe) }}{{ '<b>'|e|e }}{{ '<b>'|e|upper }}{{ ('<b>'|safe)|replace('<','&') }}
{{ 'hello world foo bar'|truncate(11) }}{{ 'hello world foo bar'|truncate(9, true) }}{{ 'foo-bar baz'|title }}{{ "it's"|title }}{{ "it's".title() }}
{{ '  a b '|trim }}{{ 'xxaxx'|trim('x') }}{{ '  a'.strip() }}{{ 'abc'.strip('ac') }}
{{ 'a b  c'.split() }}{{ 'a b  c'.split(' ') }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'abc'.split('') }}
{{ [1,[2,[3]]]|string }}{{ 'x'|list }}{{ d|list }}{{ undef|list }}
{{ true and 'x' }}{{ '' or 'y' }}{{ none and 1 }}{{ not '' }}{{ 1 and 0 or 2 }}
{{ true + 1 }}{{ true == 1 }}{{ [true] == [1] }}{{ '1' == 1 }}{{ {'a':1} == {'a':1.0} }}{{ (1,) == [1] }}
{{ none == undef }}{{ undef == undef2 }}{{ none < 1 }}
{{ l + [4] }}{{ l ~ [4] }}{{ (1,) + (2,) }}{{ l + (1,) }}
{{ [1,2] < [1,3] }}{{ 'a' < 'b' }}{{ 1 < 'a' }}
{{ f|round }}{{ 2.5|round }}{{ 3.5|round }}{{ 2.567|round(2) }}{{ 5|round }}{{ 1234|round(-2) }}{{ 0.5|round|int }}{{ 1.005|round(2) }}
{{ '3.7'|int }}{{ '3'|int + 1 }}{{ 'x'|int(9) }}{{ '0xff'|int(base=16) }}{{ '10'|int(base=2) }}{{ none|int }}{{ 3.99|int }}{{ '1e3'|int }}{{ 'inf'|float }}{{ 'nan'|float }}{{ '1.5'|float }}
{{ 1e308 * 10 }}{{ 1/3 }}{{ 10/2 }}{{ 2**0.5 }}{{ 1e15 }}{{ 1e16 }}{{ 123456789.123456789 }}{{ 1e-4 }}{{ 1e-5 }}{{ 0.1 + 0.2 }}
{{ 1 // 0 }}
{{ 5 % 0 }}
{{ 'ab'|center(7) }}|{{ 'ab'.center(7,'*') }}|{{ 'abc'.center(6) }}|{{ 'abc'|indent }}|{{ 'a\nb\n\nc'|indent(2) }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}
{% generation %}abc{{ n }}{% endgeneration %}x{% for m in messages %}é{% generation %}{{ m.content }}{% set q = 1 %}{% endgeneration %}{{ q }}{% endfor %}
{% macro m() %}ab{% generation %}cd{% endgeneration %}{% endmacro %}xyz{{ m() }}
{% set t %}ab{% generation %}cd{% endgeneration %}{% endset %}q{{ t }}
{% print 1, 'a' %}{% print n %}
{% do 1 %}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for c in 'aé😀' %}{{ c }}-{% endfor %}
{% for loop in [1] %}{% endfor %}
{% for x in [1] %}{% set loop = 1 %}{% endfor %}
{% set loop = 1 %}{{ loop }}{% for x in [1] %}{{ loop.index }}{% endfor %}{{ loop }}
{% set none = 1 %}
{% set a.b.c = 1 %}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(a, a) %}{% endmacro %}
{{ m(1, a=2, 3) }}
{{ m(*[1,2], **{'x': 3}) }}{% macro m(a, b, x=0) %}{{ a }}{{ b }}{{ x }}{% endmacro %}
{% macro m(a, b, x=0) %}{{ a }}{{ b }}{{ x }}{% endmacro %}{{ m(*[1,2], **{'x': 3}) }}{{ m(1, *[2]) }}{{ m(**{'a': 1, 'b': 2}) }}
{{ 'a.b'.split('.')|map('upper')|list }}{{ ['a','b']|map('upper')|map('lower')|list }}
{{ x if x is defined else 'nope' }}{{ n if n is defined }}{{ 'y' if n is none else 'z' }}
{{ messages[0]['role'] + ': ' + messages[0].content|upper }}
{{ messages[0].get('role') }}{{ messages[0].get('zz', 'dflt') }}{{ messages[0].keys()|list }}{{ messages[0].values()|list }}
{{ messages|length > 2 and messages[-1].role == 'assistant' }}
{{ messages[1:]|map(attribute='role')|list }}{{ messages[::-1]|map(attribute='role')|list }}{{ messages|reverse|map(attribute='role')|list }}
{{ messages[-1].tool_calls[0].function.arguments|tojson }}
{{ messages[-1].tool_calls[0]['function']['name'] }}
{{ messages|last|attr('role') }}{{ namespace(a=3)|attr('a') }}
{{ '{} {}'.format(1, 'a') }}{{ '{0}{a}'.format(1, a=2) }}{{ '{:>5}'.format('x') }}{{ '{{}}'.format() }}{{ '{'.format() }}{{ '{}'.format() }}
{{ d.pop('a') }}
{{ l.append(1) }}
{{ d.update }}|{{ d.clear is defined }}|{{ l.sort is defined }}
{{ ''.__class__ }}{{ ''.__class__.__mro__ }}
{{ d.__class__ is defined }}{{ d._x is defined }}
{{ (x for x in l) }}
{{ l | map('nofilter') | list }}
{{ l | select('notest') | list }}
{{ 'abc' in s }}{{ 'World' in s }}{{ 1 in s }}
{{ undef in l }}{{ 1 in undef }}{{ undef in s }}
{{ [undef, none, true, 1.0, 'x', ('a',)] }}
{{ d.items() }}{{ d.keys() }}{{ d.values() }}{{ d.items()|length }}{{ d.items()[0] }}{{ d.items()|list|first }}{{ ('b', 1) in d.items() }}{{ 'b' in d.keys() }}{{ 1 in d.values() }}
{{ s|wordcount }}{{ s|length }}{{ u|length }}{{ '😀é'|length }}{{ '😀é'[::-1] }}{{ '😀é'|upper }}{{ 'ß'|upper }}{{ 'İ'|lower }}{{ 'İ'|lower|length }}
{{- n -}} x {{- n }} y {%- if true %} z {% endif -%} w
   {% if true %}   
 a
   {% endif %}   
b
  {%+ if true %}x{%+ endif %}y
a {{+ n }} b
{% if true +%}
x
{%- endif +%}
y
{%set x=1%}{{x}}{%if x%}{{x}}{%endif%}
{{n}}
   {{ n }}   
{% for i in l: %}{{ i }}{% endfor %}
{{ {'a':1,'b':2}.items()|map('first')|list }}{{ {'a':{'b':1}}.a.b }}{{ l[0:2] }}{{ l[:] }}{{ l[5:] }}{{ l[-100:100] }}
{{ l | batch(2) | list }}{{ l | batch(2, 0) | list }}{{ l | slice(2) | list }}{{ [1,1,2]|unique|list }}{{ ['a','A']|unique|list }}
{{ 'x'|attr('upper')() }}{{ ('a','b')|join }}{{ [1,none]|join(',') }}{{ dd|join(',', attribute='v') }}
{{ 1 if 0 else 2 if 0 else 3 }}{{ (1 if 1) + 1 }}
{{ n == 7 and 'yes' or 'no' }}{{ 'a' ~ ('b' if n else 'c') ~ 'd' }}
{{ s[7:] ~ s[:5] }}{{ s[::2] }}{{ s[-5:-1] }}{{ s[::-1][:3] }}
{{ 'a' 'b' ~ 'c' }}{{ ['a' 'b', 'c'] }}
{{ 5 is odd }}{{ 5 is even }}{{ 'a' is lower }}{{ 'A' is upper }}{{ 1 is boolean }}{{ 1.0 is float }}{{ 1 is integer }}{{ true is integer }}{{ true is number }}{{ 'x' is sequence }}{{ undef is sequence }}{{ d is sequence }}{{ undef is iterable }}{{ d.items() is iterable }}{{ d.items() is sequence }}{{ namespace() is mapping }}
"""

TEXTS = ['  {% for m in messages %}\n    {{ m.role }}\n  {% endfor %}\n',
 '{% for m in messages -%}\n   {{ m.role }}\n{%- endfor %}\n\n',
 'a\n  {# c #}\nb\n  {#- c -#}\n c {# d #} e\n', '{% if true %}\r\n x\r\n{% endif %}\r\ny\r\n\r\n',
 '{% if true %}\n\n x\n{% endif %}\n\n', '\n\n{% set x = 1 %}\n\n{{ x }}\n\n',
 'x {% if true %} y {% endif %} z\n', '   {% if true -%}   \n  y  \n {%- endif %}  z',
 "{{ 'a' }}\n{{ 'b' }}\n", '{% macro m() %}\n  x\n{% endmacro %}\n  {{ m() }}\n{{- m() -}}\n',
 '{% set t %}\n a\n{% endset %}\n[{{ t }}]', '\t{% if true %}\t\n\tx\n\t{% endif %}',
 'a{% raw %}\n b \n{% endraw %}\nc', '  {% raw %}\n b \n  {% endraw %}\nc',
 '  {%- raw %} {{ x }} {%- endraw %} c', '{% raw -%}\n  b {% endraw -%}\n c',
 '\xa0{%- if true %}x{% endif -%}\u3000y', '\u2003{% if true %}x{% endif %}',
 'a \n \n {%- if true %}x{% endif %}', "{{ 'a'\n ~ 'b' }}{% set x = [\n 1,\n 2,\n] %}{{ x }}",
 '{% if true %}a{% endif %}\n{% if true %}b{% endif %}\n', '{{ n }}{% if true %}\nq{% endif %}',
 '{% if true %}{{ n }}\n  {% endif %}\n', '{#- x -#}\n   a', 'a\n\n\n', 'a\n', '\n', '', 'a\r', '\r\n\r\n',
 "{{ 'a\\\nb' }}", "{{ '''x''' }}",
 '{% for i in range(3) %}\n{{ i }}\n{% if not loop.last %},{% endif %}\n{% endfor %}',
 '{%- for i in range(2) %}\n'
 '\n'
 '  {%- if i %}\n'
 '    {{- i }}\n'
 '  {%- else %}\n'
 "    {{- 'z' }}\n"
 '  {%- endif %}\n'
 '{%- endfor %}\n',
 '{% call(x) m() -%}\n {{ x }}\n{%- endcall %}', '{%\n if true\n%}x{%\nendif\n%}',
 "{% macro a() %}{{ caller('x') }}{% endmacro %}{% macro b() %}{% call(y) a() %}{{ y }}{{ y }}{% endcall "
 '%}{% endmacro %}{{ b() }}',
 '{% macro a() %}{{ caller() }}{% endmacro %}{% macro b() %}{% call a() %}{{ caller() }}{% endcall %}{% '
 'endmacro %}{% call b() %}q{% endcall %}',
 '{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}',
 '{% macro m(x) %}{% for i in range(x) %}{{ loop.index }}{{ x }}{% endfor %}{% endmacro %}{% for i in [1,2] '
 '%}{{ m(i) }}{{ i }}{% endfor %}',
 '{% for i in [1,2] %}{% macro m() %}{{ i }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}',
 '{% if n %}{% macro m() %}A{% endmacro %}{% else %}{% macro m() %}B{% endmacro %}{% endif %}{{ m() }}',
 '{% set x %}{% for i in l %}{{ i }}{% endfor %}{% endset %}{{ x }}{{ x is string }}{{ x is escaped }}',
 '{% for i in l %}{% set last = i %}{% endfor %}{{ last is defined }}',
 '{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i * 2] %}{% endfor %}{{ ns.l }}',
 "{% set _ = d.update({'z': 1}) %}",
 "{% set x = d.get('b') %}{{ x }}{% set x = dict(d, z=1) %}{{ x.z }}{{ d.z is defined }}"]

VALUES = ['s', 'u', 'e', 'n', 'm', 'f', 'z', 't', 'no', 'l', 'ls', 'd', 'dd', 'nested', 'mixed', 'big', 'tiny', 'huge',
 'fl', 'tab', 'undef', 'messages', '(1,2)', '(1,)', '()', 'range(3)', 'range(5,0,-2)', 'd.items()',
 'd.keys()', 'd.values()', 'namespace(a=1)', '\'<&>"\'|safe', "l|map('string')|list", '-0.0', '1e16',
 '123456.789', "'42'", "' 3.7 '", "'0x1f'", "'abc'", "'a,b,,c'", "'-5'", "'1_000'", '[none]', '[1.0,2]',
 "{'a':{'b':[1,(2,)]}}", 'true', 'false', 'messages[0]', "dict(a=1,b='x')", '1.5e300', '100000', '0.00001',
 '1/3', '2**62', "'ΑΣ'", "'ﬁx'", "'ab'*3", '[[1,2],[3]]', "{1:2,'1':3,none:4,true:5,1.5:6,(1,2):7}"]

FILTERS = ['abs', 'capitalize', 'count', 'd', 'default', 'dictsort', 'e', 'escape', 'filesizeformat', 'first', 'float',
 'forceescape', 'int', 'items|list', 'items', 'join', 'last', 'length', 'list', 'lower', 'max', 'min',
 'reverse|list', 'reverse', 'round', 'safe', 'sort', 'string', 'striptags', 'sum', 'title', 'tojson', 'trim',
 'unique|list', 'upper', 'urlencode', 'wordcount', 'xmlattr', 'batch(2)|list', 'slice(2)|list',
 "map('upper')|list", 'select|list', 'reject|list', 'center(9)', 'indent', "replace('a','b')", 'truncate(5)',
 'format', "groupby('k')", "map(attribute='k')|list", "selectattr('k')|list", "rejectattr('k')|list",
 'sort(reverse=true)', 'dictsort(reverse=true)', "dictsort(by='value')", 'tojson(indent=2)',
 'tojson(sort_keys=true)', 'round(1)', 'round(-1)', "round(2,'ceil')", "round(0,'floor')", 'int(5)',
 'float(1.5)', "default('x',true)", "join(',", "')", "join('-',attribute='k')", "sum(attribute='v')",
 "map('length')|list", "attr('a')", "batch(2,'x')|list", "slice(4,'z')|list", "trim('aHd", "')",
 'first|string|upper', 'tojson(ensure_ascii=true)', "tojson(separators=(',',':'))", "sort(attribute='v')",
 "max(attribute='v')", "min(attribute='k')", "unique(attribute='k')|list", 'int(0,16)', 'wordcount|string',
 'indent(2,true)', "indent('>',blank=true)", 'indent(width=3,first=true)', "truncate(9,true,'')",
 "truncate(4,false,'..',0)", "replace('','-')", "replace('l','L',1)", "replace('','.',2)",
 "select('string')|list", "reject('number')|list", "select('gt',1)|list", "map('tojson')|join",
 "map(attribute='a.b')|list", "map(attribute='0')|list", 'center', 'last|string', 'abs|string',
 "groupby('v')|length", 'title|lower', "selectattr('k','equalto','x')|list", "selectattr('k','defined')|list",
 "selectattr('v','>',1)|map(attribute='v')|list", 'string|length', 'list|length']

TESTS = ['boolean', 'callable', 'defined', 'divisibleby(2)', 'divisibleby(0)', 'eq(3)', 'escaped', 'even', 'false',
 'filter', 'float', 'ge(2)', 'gt(2)', "in([1,'a',7])", "in('Hello')", 'in(d)', 'integer', 'iterable', 'le(2)',
 'lower', 'lt(3)', 'mapping', 'ne(2)', 'none', 'number', 'odd', 'sameas(none)', 'sameas(true)', 'sequence',
 'string', 'test', 'true', 'undefined', 'upper', '==(7)', "equalto('x')"]

METHODS = ['strip()', 'lstrip()', 'rstrip()', "strip('Hd')", 'split()', "split(',')", "split('l',1)", "rsplit('l',1)",
 'rsplit(none,1)', 'split(none,1)', 'split(maxsplit=1)', "split(sep='o')", "startswith('He')",
 "endswith(('d','x'))", "startswith('l',2)", "endswith('o',0,5)", 'upper()', 'lower()', 'title()',
 'capitalize()', 'swapcase()', 'casefold()', "find('o')", "find('o',5)", "find('zz')", "rfind('o')",
 "index('H')", "index('zz')", "count('l')", "count('')", "replace('l','L')", "replace('l','',1)", 'isalpha()',
 'isdigit()', 'isalnum()', 'isspace()', 'isupper()', 'islower()', 'isnumeric()', 'isdecimal()', 'istitle()',
 'isidentifier()', 'isascii()', 'isprintable()', 'zfill(15)', 'zfill(3)', "ljust(14,'*')", 'rjust(14)',
 "center(15,'-')", 'splitlines()', 'splitlines(true)', "partition(',')", "rpartition('o')",
 "removeprefix('He')", "removesuffix('ld')", 'expandtabs()', 'expandtabs(4)', "join(['a','b'])",
 "join('xyz')", 'format(1)', 'keys()|list', 'values()|list', 'items()|list', "get('a')", "get('zz')",
 "get('zz',3)", 'copy()', 'index(1)', 'count(1)', "count('a')", 'append(1)', 'pop()', 'update({})', 'foo()',
 'is_integer()', 'bit_length()', "encode('x')", 'upper(1)', 'strip(1)', 'a', 'b', 'k', 'role', 'content',
 '_x', 'items', 'count']

SUBSCRIPTS = ["[0]", "[-1]", "['a']", "[1:]", "[:-1]", "[::-1]", "[::2]", "[-2:]", "[100]", "[none]", "[true]"]
OPERATORS = "+ - * / // % ** ~ == != < <= > >= in".split() + ["not in", "and", "or"]
PERCENT = ["%s", "%d", "%r", "%5.2f", "%-8s|", "%05d", "%x", "%+d", "%e", "%g", "%c", "%s %s", "%(a)s", "%10.3s|"]
FORMAT = ["{}", "{!r}", "{:>10}", "{:*^12}|", "{:05d}", "{:,}", "{:.2f}", "{:+}", "{:x}", "{:e}", "{:%}", "{0[a]}"]


def expressions():
    for value in VALUES:
        start = f"({value})"
        yield from (f"{start}|{name}" for name in FILTERS)
        yield from (f"{start} is {name}" for name in TESTS)
        yield from (f"{start}.{name}" for name in METHODS)
        yield from (f"{start}{subscript}" for subscript in SUBSCRIPTS)
        yield from (f"'{text}' % {start}" for text in PERCENT)
        yield from (f"'{text}'.format({value})" for text in FORMAT)
    # Views would become sets, and integers beyond 2**53 are divided exactly: neither is done here.
    operands = [value for value in VALUES if not value.startswith("d.") and value not in ("big", "2**62")]
    for left, right in itertools.product(operands, operands):
        yield from (f"({left}) {operator} ({right})" for operator in OPERATORS)


def render(template):
    try:
        return {"text": environment.from_string(template).render(**copy.deepcopy(VARIABLES))}
    except Exception as error:
        return {"error": type(error).__name__}


def is_comparable(case):
    """Short, without addresses, complex numbers, integers beyond 64 bits, and constants that cannot be sliced (jinja2 folds those)."""
    text = case.get("text", "")
    numbers = "".join(c if c.isdigit() else " " for c in text).split()
    is_folded = "[" in case["template"] and text == "" and "undef" not in case["template"]
    return len(text) < 1000 and " at 0x" not in text and not text.endswith("j)") and not is_folded and all(len(n) < 19 for n in numbers)


def main():
    templates = [line for line in LINES.strip("\n").split("\n")] + TEXTS
    every = list(expressions())
    templates += ["{{ " + e + " }}" for e in random.Random(1).sample(every, 2500)]
    cases = [{"template": template, **render(template)} for template in templates]
    cases = [case for case in cases if is_comparable(case)]
    versions = {"jinja2": jinja2.__version__, "python": platform.python_version()}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_cases.json")
    with open(path, "w") as file:
        file.write('{"versions": ' + json.dumps(versions) + ',\n"variables": ' + json.dumps(VARIABLES) + ',\n"cases": [\n')
        file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")


main()

"""Text to tokens, by ClickHouse's lexical rules, so that both read the same statement.

There are no keywords here: every bare word is a `word`, and the parsers decide from its place whether it is a
keyword. That is what lets a column be called `date`, `key` or `window`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from headrace.streaming_sql.script import Script, Span

SCRIPT_CHARS_MAX: Final = 1_000_000

TokenKind = Literal["word", "quoted", "number", "string", "symbol", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `text` is as written, except for a quoted identifier, where it is the name without its quotes."""

    kind: TokenKind
    text: str
    span: Span

    @property
    def keyword(self) -> str:
        """The upper-case word, to compare with keywords; empty for everything that is not a bare word."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def shown(self) -> str:
        """How an error message names this token."""
        if self.kind == "end":
            return "the end of the statement"
        text = self.text if len(self.text) <= 40 else self.text[:40] + "…"
        return f'"{text}"'


_TOKEN: Final = re.compile(
    r"""
      (?P<space>   \s+ | --[^\n]* | /\*.*?\*/ )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number>  0[xX][0-9A-Fa-f]+ | 0[bB][01]+
                 | [0-9][0-9_]* (?: \.[0-9]* )? (?: [eE][+-]?[0-9]+ )? )
    | (?P<string>  ' (?: [^'\\] | \\. | '' )* ' )
    | (?P<quoted>  ` (?: [^`\\] | \\. | `` )* ` | " (?: [^"\\] | \\. | "" )* " )
    | (?P<symbol>  -> | :: | == | != | <> | <= | >= | \|\| | [-+*/%=<>(),.;\[\]] )
    """,
    re.VERBOSE | re.DOTALL,
)
_INDEX: Final = re.compile(r"[0-9]+")
_WORD_START: Final = re.compile(r"[A-Za-z_]")

# What starts at a character that starts no token: (message, hint).
_REFUSED: Final = {
    "'": ("This string is never closed", "End it with '; write a quote inside a string as ''."),
    "`": ("This quoted name is never closed", "End it with `."),
    '"': ("This quoted name is never closed", 'End it with "; strings take single quotes.'),
    "/": ("This comment is never closed", "End it with */."),
    "{": ("A definition takes no parameters", "Parameters belong to query files; write the value itself here."),
    "?": ("The operator ? : is not supported", "Write if(condition, then, otherwise)."),
    "$": ("Strings in $$ are not supported", "Write the string in single quotes."),
}


def tokens(script: Script) -> list[Token]:
    """The tokens of a script, without spaces and comments, closed by one `end` token.

    Raises InvalidSQL at the first character that starts no token, for an unclosed string, name or comment, and
    for a script over a million characters or with characters that UTF-8 cannot hold.
    """
    _check_text(script)
    found: list[Token] = []
    position, text = 0, script.text
    while position < len(text):
        token, position = _next(script, position, found[-1] if found else None)
        if token is not None:
            found.append(token)
    found.append(Token("end", "", Span(len(text), len(text))))
    return found


def _next(script: Script, position: int, previous: Token | None) -> tuple[Token | None, int]:
    if previous is not None and previous.text == "." and (index := _INDEX.match(script.text, position)):
        # In `pair.1.2` the digits are two indices, not the number 1.2.
        return Token("number", index[0], Span(position, index.end())), index.end()
    match = _TOKEN.match(script.text, position)
    if match is None or (script.text.startswith("/*", position) and match.lastgroup != "space"):
        raise _refusal(script, position)
    kind, end = match.lastgroup, match.end()
    if kind == "space":
        return None, end
    span, written = Span(position, end), match[0]
    if kind == "number":
        if _WORD_START.match(script.text, end):
            raise script.error("A number runs into a name", Span(position, end + 1), "Put a space between them.")
        return Token("number", written, span), end
    if kind == "quoted":
        return Token("quoted", _unquoted(script, written, span), span), end
    if kind == "word":
        return Token("word", written, span), end
    return Token("string" if kind == "string" else "symbol", written, span), end


def _refusal(script: Script, position: int) -> Exception:
    character = script.text[position]
    span = Span(position, position + 1)
    if character in _REFUSED:
        message, hint = _REFUSED[character]
        return script.error(message, span, hint)
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return script.error(f"Unexpected character {shown}", span, "Quote names that hold other than a-z, 0-9 and _.")


def _unquoted(script: Script, written: str, span: Span) -> str:
    quote, body = written[0], written[1:-1]
    name = re.sub(rf"\\(.)|{quote}{quote}", lambda match: match[1] or quote, body, flags=re.DOTALL)
    if not name:
        raise script.error("A quoted name is empty", span)
    # ClickHouse would read \n in a name as a line break; names like that help nobody.
    if not name.isprintable() or re.search(r"(?<!\\)(?:\\\\)*\\[^\\`\"']", body):
        raise script.error("A quoted name holds a control character or an unknown escape", span)
    return name


def _check_text(script: Script) -> None:
    size = len(script.text)
    if size > SCRIPT_CHARS_MAX:
        message = f"The script has {size:,} characters; at most {SCRIPT_CHARS_MAX:,} are read"
        raise script.error(message, Span(0, 1), "Split it into several files.")
    for position, character in enumerate(script.text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            message = f"Unexpected character U+{ord(character):04X}"
            raise script.error(message, Span(position, position + 1), "Save the file as UTF-8 text.")

"""The parsers' place in the tokens: look, take, or say what was expected.

Holds no grammar. Everything that is refused passes through `fail`, so that every refusal names what stood there.
"""

from __future__ import annotations

from headrace.errors import InvalidSQL
from headrace.streaming_sql import ast
from headrace.streaming_sql.lexer import Token, tokens
from headrace.streaming_sql.precedence import RESERVED
from headrace.streaming_sql.script import Script, Span, did_you_mean


class Cursor:
    """Reads the tokens of one script from left to right. `nesting` counts the open levels of the expression parser."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.nesting = 0
        self._tokens = tokens(script)
        self._index = 0

    @property
    def token(self) -> Token:
        """The token to be read next."""
        return self._tokens[self._index]

    @property
    def last_span(self) -> Span:
        """Where the token read last stood."""
        return self._tokens[max(0, self._index - 1)].span

    def ahead(self, count: int) -> Token:
        """The token `count` places after the next one, or the end."""
        return self._tokens[min(self._index + count, len(self._tokens) - 1)]

    def advance(self) -> Token:
        """The next token, now read. The end is never passed."""
        token = self.token
        if token.kind != "end":
            self._index += 1
        return token

    def at_end(self) -> bool:
        """Whether everything is read."""
        return self.token.kind == "end"

    def at(self, *keywords: str) -> bool:
        """Whether the next words are these keywords, in this order."""
        return all(self.ahead(place).keyword == keyword for place, keyword in enumerate(keywords))

    def take(self, *keywords: str) -> bool:
        """Read these keywords if they all come next."""
        if not self.at(*keywords):
            return False
        self._index += len(keywords)
        return True

    def expect(self, *keywords: str) -> None:
        """Read these keywords, or fail at the first that is missing."""
        for keyword in keywords:
            if not self.take(keyword):
                raise self.fail([keyword])

    def at_symbol(self, symbol: str) -> bool:
        """Whether the next token is this symbol."""
        return self.token.kind == "symbol" and self.token.text == symbol

    def take_symbol(self, symbol: str) -> bool:
        """Read this symbol if it comes next."""
        if not self.at_symbol(symbol):
            return False
        self.advance()
        return True

    def expect_symbol(self, symbol: str) -> None:
        """Read this symbol, or fail."""
        if not self.take_symbol(symbol):
            raise self.fail([f'"{symbol}"'])

    def at_name(self) -> bool:
        """Whether a name comes next: a quoted one, or a word that is not reserved."""
        return self.token.kind == "quoted" or (self.token.kind == "word" and self.token.keyword not in RESERVED)

    def name(self, what: str) -> ast.Name:
        """Read a name; `what` says in the error what it would have been the name of."""
        if not self.at_name():
            hint = f"{self.token.text} is a keyword; quote it to use it as a name." if self.token.keyword else ""
            raise self.fail([what], hint)
        token = self.advance()
        return ast.Name(token.text, span=token.span)

    def string(self, what: str) -> Token:
        """Read a string literal; `what` says in the error what it would have held."""
        if self.token.kind != "string":
            raise self.fail([what])
        return self.advance()

    def fail(self, expected: list[str], hint: str = "") -> InvalidSQL:
        """The error to raise at the next token, where one of `expected` should stand."""
        token = self.token
        keywords = [word for word in expected if word.isupper()]
        hint = hint or (did_you_mean(token.text, keywords) if token.kind == "word" else "")
        *others, last = expected
        wanted = f"{', '.join(others)} or {last}" if others else last
        return self.script.error(f"Expected {wanted}, found {token.shown}", token.span, hint)

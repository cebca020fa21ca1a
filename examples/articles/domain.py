"""Articles: they are written and rewritten, liked by readers, and withdrawn."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from headrace import Command, Event, Rejected, decider

Id = Annotated[str, Meta(min_length=1, max_length=80)]


class WriteArticle(Command, stream="article-{article_id}", route="/write-article"):
    article_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    text: str


class LikeArticle(Command, stream="article-{article_id}", route="/like-article"):
    article_id: Id
    reader: Id


class WithdrawArticle(Command, stream="article-{article_id}", route="/withdraw-article"):
    article_id: Id


class ArticleEvent(Event):
    """What every event of an article's stream is."""

    article_id: str


class ArticleWritten(ArticleEvent):
    title: str
    text: str


class ArticleLiked(ArticleEvent):
    reader: str


class ArticleWithdrawn(ArticleEvent): ...


class Article(Struct, frozen=True):
    exists: bool = False
    readers: frozenset[str] = frozenset()

    def evolve(self, event: ArticleEvent) -> "Article":
        match event:
            case ArticleLiked():
                return Article(True, self.readers | {event.reader})
            case ArticleWithdrawn():
                return Article()
            case _:
                return Article(True, self.readers)


@decider(WriteArticle)
def write(command: WriteArticle, article: Article) -> Iterable[Event]:
    yield ArticleWritten(article_id=command.article_id, title=command.title, text=command.text)


@decider(LikeArticle)
def like(command: LikeArticle, article: Article) -> Iterable[Event]:
    check(article, command.article_id)
    if command.reader not in article.readers:
        yield ArticleLiked(article_id=command.article_id, reader=command.reader)


@decider(WithdrawArticle)
def withdraw(command: WithdrawArticle, article: Article) -> Iterable[Event]:
    check(article, command.article_id)
    yield ArticleWithdrawn(article_id=command.article_id)


def check(article: Article, article_id: str) -> None:
    if not article.exists:
        raise Rejected(f"There is no article {article_id}.")

"""The articles domain, in given, when, then; and its how-to, which shows what the files really say."""

from __future__ import annotations

from types import ModuleType

import pytest
from support.documentation import ROOT, blocks

from headrace.runtime.project import load_module
from headrace.testing.given_when_then import given

ARTICLES = ROOT / "examples" / "articles"


@pytest.fixture(scope="module")
def domain() -> ModuleType:
    return load_module(ARTICLES / "domain.py")


def test_article_is_written_and_written_again(domain: ModuleType) -> None:
    command = domain.WriteArticle(article_id="a", title="On dunes", text="Sand.")
    written = domain.ArticleWritten(article_id="a", title="On dunes", text="Sand.")
    given().when(command).then(written)
    given(written).when(command).then(written)


def test_reader_likes_an_article_once_until_it_is_withdrawn(domain: ModuleType) -> None:
    written = domain.ArticleWritten(article_id="a", title="On dunes", text="Sand.")
    liked, withdrawn = domain.ArticleLiked(article_id="a", reader="ada"), domain.ArticleWithdrawn(article_id="a")
    like = domain.LikeArticle(article_id="a", reader="ada")
    given(written).when(like).then(liked)
    given(written, liked).when(like).then()
    given(written, liked, withdrawn).when(like).then_rejected("no article")
    given(written, liked, withdrawn, written).when(like).then(liked)


def test_what_is_not_there_is_not_withdrawn(domain: ModuleType) -> None:
    given().when(domain.WithdrawArticle(article_id="a")).then_rejected("no article")


def test_how_to_shows_what_the_files_say() -> None:
    code = {line.strip() for path in ARTICLES.glob("*.py") for line in path.read_text().splitlines()}
    page = ROOT / "docs" / "how-to" / "build-other-read-models.md"
    fragments = [block for block in blocks(page) if block.language in ("python", "lua")]
    assert fragments
    for fragment in fragments:
        for line in fragment.text.splitlines():
            assert line.strip() in code, f"{fragment}: {line}"


def test_handlers_are_short() -> None:
    files = ("ranking.py", "search.py")
    assert sum(len((ARTICLES / file).read_text().splitlines()) for file in files) < 160
